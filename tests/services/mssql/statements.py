"""Statements that are no queries: transactions, settings of the session, databases, logins, sessions, groups.

The grammar is that of SQL Server as far as it goes: what may only be a constant there may only be one here, and what
may not run inside a transaction does not. A word that is not expected is a syntax error, never skipped.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import backups, query
from .errors import SqlError, said
from .instance import Database, Principal, hashed
from .tokens import Token, Tokens, tokens_of
from .wire import Result

if TYPE_CHECKING:
    from .session import Session

_STARTS = {
    *("ALTER", "BACKUP", "BEGIN", "COMMIT", "CREATE", "DELETE", "DENY", "DROP", "EXEC", "EXECUTE", "GRANT", "IF"),
    *("INSERT", "KILL", "PRINT", "RAISERROR", "RECONFIGURE", "RESTORE", "REVOKE", "ROLLBACK", "SELECT", "SET"),
    *("SHUTDOWN", "TRUNCATE", "UPDATE", "USE", "WAITFOR", "WITH"),
}
_OPENS_TRANSACTION = {
    "ALTER",
    "CREATE",
    "DELETE",
    "DROP",
    "GRANT",
    "INSERT",
    "REVOKE",
    "SELECT",
    "TRUNCATE",
    "UPDATE",
    "WITH",
}
_RECOVERY = {"FULL", "SIMPLE", "BULK_LOGGED"}


class Batch:
    """The statements of one batch or call, run in order."""

    def __init__(self, session: Session, sql: str, parameters: Mapping[str, Any]) -> None:
        self.session = session
        self.instance = session.instance
        self.tokens = Tokens(sql)
        self.parameters = parameters

    def run(self) -> Iterator[Result]:
        """The result of each statement, as it ends."""
        while True:
            self.tokens.skip_separators()
            if self.tokens.is_done:
                return
            result = self._statement()
            if result is not None:
                yield result

    def _statement(self) -> Result | None:
        first = self.tokens.peek()
        assert first is not None
        word = first.value.upper() if first.kind == "word" else ""
        self.session.command = word
        self._open_transaction(word)
        special = self._STATEMENTS.get(word)
        made = special(self) if special is not None else NotImplemented
        if made is NotImplemented:
            if word not in _STARTS:
                return self._implied_call(first)
            return query.run(self.session, self.tokens.rest_of_statement(), self.parameters)
        result: Result | None = made
        return result

    def _open_transaction(self, word: str) -> None:
        session = self.session
        if not session.implicit_transactions or session.transactions or word not in _OPENS_TRANSACTION:
            return
        reads_nothing = word == "SELECT" and not any(token.is_word("FROM") for token in tokens_of(self.tokens.sql))
        if not reads_nothing:
            session.begin()

    def _implied_call(self, first: Token) -> Result | None:
        """The first statement of a batch may be a procedure without EXEC."""
        if first.kind in ("word", "name") and first.start == 0:
            return self._call()
        raise SqlError(102, f"Incorrect syntax near '{first.value}'.", 15)

    # -------------------------------------------------------------- values
    def _constant(self) -> Any:
        """A constant, or NULL. What takes no variable asks for this."""
        negative = self.tokens.take_mark("-")
        token = self.tokens.next()
        if token.kind == "number":
            number = float(token.value) if "." in token.value else int(token.value)
            return -number if negative else number
        if token.kind == "string" and not negative:
            return token.value
        if token.kind == "hex" and not negative:
            return bytes.fromhex(token.value[2:])
        if token.is_word("NULL", "DEFAULT"):
            return None
        raise SqlError(102, f"Incorrect syntax near '{token.value}'.", 15)

    def value(self) -> Any:
        """A constant or a variable."""
        token = self.tokens.peek()
        if token is not None and token.kind == "variable":
            self.tokens.next()
            return self._variable(token.value)
        return self._constant()

    def _variable(self, name: str) -> Any:
        for given, value in self.parameters.items():
            if given.lower() == name.lower():
                return value
        raise SqlError(137, f'Must declare the scalar variable "{name}".', 15, 2)

    def database_name(self) -> str:
        """A name, or a variable that holds one."""
        token = self.tokens.peek()
        return str(self.value()) if token is not None and token.kind == "variable" else self.tokens.name()

    # -------------------------------------------------------------- transactions and settings
    def _no_transaction(self, words: str, number: int = 226) -> None:
        if self.session.transactions:
            raise SqlError(number, f"{words} statement not allowed within multi-statement transaction.", 16, 6)

    def _begin(self) -> Result:
        self.tokens.next()
        if not (self.tokens.take_words("TRAN") or self.tokens.take_words("TRANSACTION")):
            raise SqlError(102, "Incorrect syntax near 'BEGIN'.", 15)
        self.session.begin()
        return Result()

    def _commit(self) -> Result:
        self._end_of_transaction()
        if not self.session.transactions:
            raise SqlError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.session.commit()
        return Result()

    def _rollback(self) -> Result:
        self._end_of_transaction()
        if not self.session.transactions:
            raise SqlError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.session.rollback()
        return Result()

    def _end_of_transaction(self) -> None:
        self.tokens.next()
        if not (self.tokens.take_words("TRAN") or self.tokens.take_words("TRANSACTION")):
            self.tokens.take_words("WORK")

    def _if(self) -> Result | None:
        self.tokens.next()
        start, depth = self.tokens.peek(), 0
        end = start
        while (token := self.tokens.peek()) is not None:
            depth += {"(": 1, ")": -1}.get(token.value, 0) if token.kind == "mark" else 0
            if depth == 0 and token.kind == "word" and token.value.upper() in _STARTS:
                break
            end = self.tokens.next()
        assert start is not None
        assert end is not None
        condition = self.tokens.sql[start.start : end.end]
        answer = query.run(self.session, f"SELECT CASE WHEN {condition} THEN 1 ELSE 0 END AS c", self.parameters)
        if answer.rows[0][0]:
            return self._statement()
        self.tokens.rest_of_statement()
        return None

    def _set(self) -> Result:
        self.tokens.next()
        if self.tokens.take_words("LOCK_TIMEOUT"):
            self.session.lock_timeout = int(self.value())
        elif self.tokens.take_words("DEADLOCK_PRIORITY"):
            word = self.tokens.next()
            self.session.deadlock_priority = {"LOW": -5, "NORMAL": 0, "HIGH": 5}.get(word.value.upper(), 0)
        elif self.tokens.take_words("IMPLICIT_TRANSACTIONS"):
            self.session.implicit_transactions = self.tokens.next().is_word("ON")
        elif self.tokens.take_words("TRANSACTION", "ISOLATION", "LEVEL"):
            self.tokens.next()
            for second in ("COMMITTED", "UNCOMMITTED", "READ"):
                self.tokens.take_words(second)
        else:
            self._option()
        return Result()

    def _option(self) -> None:
        """An option that changes nothing here: names, then ON, OFF or a constant."""
        self.tokens.name()
        while self.tokens.take_mark(","):
            self.tokens.name()
        token = self.tokens.peek()
        if (token is not None and token.is_word("ON", "OFF")) or (token is not None and token.kind == "word"):
            self.tokens.next()
        else:
            self._constant()

    def _use(self) -> Result:
        self.tokens.next()
        self.session.use(self.instance.database(self.tokens.name()))
        return Result()

    def _wait_for(self) -> Result:
        self.tokens.next()
        self.tokens.expect_words("DELAY")
        hours, minutes, seconds = str(self.value()).split(":")
        self.session.wait((int(hours) * 60 + int(minutes)) * 60 + float(seconds), "WAITFOR")
        return Result()

    def _print(self) -> Result:
        self.tokens.next()
        return Result(messages=[str(self.value())])

    def _raise(self) -> Result:
        self.tokens.next()
        self.tokens.expect_mark("(")
        text, severity, state = self._constant(), 16, 1
        if self.tokens.take_mark(","):
            severity = self._constant()
        if self.tokens.take_mark(","):
            state = self._constant()
        self.tokens.expect_mark(")")
        if severity <= 10:
            return Result(messages=[str(text)])
        raise SqlError(50000, str(text), severity, state)

    # -------------------------------------------------------------- databases
    def _create(self) -> Any:
        words = self._second_word()
        made = {"DATABASE": self._create_database, "LOGIN": self._create_login, "USER": self._create_user}.get(words)
        return made() if made is not None else NotImplemented

    def _second_word(self) -> str:
        second = self.tokens.peek(1)
        return second.value.upper() if second is not None else ""

    def _create_database(self) -> Result:
        self.tokens.expect_words("CREATE", "DATABASE")
        name = self.tokens.name()
        collation = self.tokens.name() if self.tokens.take_words("COLLATE") else ""
        self.expect_end()
        self._no_transaction("CREATE DATABASE")
        self._need(
            "CREATE ANY DATABASE",
            "CREATE DATABASE",
            SqlError(262, "CREATE DATABASE permission denied in database 'master'.", 14),
        )
        with self.instance.lock:
            self.instance.create_database(name, collation)
        return Result()

    def expect_end(self) -> None:
        token = self.tokens.peek()
        if (
            not self.tokens.ends_statement
            and token is not None
            and not (token.kind == "word" and token.value.upper() in _STARTS)
        ):
            raise SqlError(102, f"Incorrect syntax near '{token.value}'.", 15)

    def _need(self, permission: str, _words: str, refused: SqlError) -> None:
        if not self.instance.may(self.session.login, permission, "CONTROL SERVER"):
            raise refused

    def _drop(self) -> Any:
        second = self._second_word()
        made = {"DATABASE": self._drop_database, "LOGIN": self._drop_login, "USER": self._drop_user}.get(second)
        return made() if made is not None else NotImplemented

    def _drop_database(self) -> Result:
        self.tokens.expect_words("DROP", "DATABASE")
        lenient = self.tokens.take_words("IF", "EXISTS")
        name = self.tokens.name()
        self.expect_end()
        self._no_transaction("DROP DATABASE")
        with self.instance.lock:
            found = self.instance.databases.get(name.lower())
            if found is None:
                if lenient:
                    return Result()
                raise SqlError(
                    3701,
                    f"Cannot drop the database '{name}', because it does not exist or you do not have permission.",
                    11,
                )
            if found.database_id <= 4:
                raise SqlError(3708, f"Cannot drop the database '{name}' because it is a system database.")
            if self.session.database is found or self.instance.users_of(found, self.session):
                raise SqlError(3702, f'Cannot drop database "{found.name}" because it is currently in use.', 16, 3)
            self.instance.drop_database(found)
        return Result()

    def _alter(self) -> Any:
        second = self._second_word()
        made = {
            "DATABASE": self._alter_database,
            "LOGIN": self._alter_login,
            "SERVER": self._alter_server_role,
            "ROLE": self._alter_role,
            "AVAILABILITY": self._alter_group,
        }.get(second)
        return made() if made is not None else NotImplemented

    def _alter_database(self) -> Result:
        self.tokens.expect_words("ALTER", "DATABASE")
        found = self.session.database if self.tokens.take_words("CURRENT") else self._existing(self.tokens.name())
        self._no_transaction("ALTER DATABASE")
        self.tokens.expect_words("SET")
        with self.instance.lock:
            word = self.tokens.next().value.upper()
            if word == "RECOVERY":
                found.model = self.tokens.expect(lambda token: token.is_word(*_RECOVERY)).value.upper()
            elif word in ("SINGLE_USER", "MULTI_USER", "RESTRICTED_USER"):
                self._termination(found)
                found.access = word
                if word == "SINGLE_USER":
                    self.session.use(found, announce=False) if self.session.database is found else None
            elif word in ("OFFLINE", "ONLINE"):
                self._termination(found)
                found.state = word
            else:
                raise SqlError(102, f"Incorrect syntax near '{word}'.", 15)
        self.expect_end()
        return Result()

    def _existing(self, name: str) -> Database:
        found = self.instance.databases.get(name.lower())
        if found is None:
            raise said(5011, name)
        return found

    def _termination(self, found: Database) -> None:
        users = self.instance.users_of(found, self.session)
        if self.tokens.take_words("WITH", "ROLLBACK", "IMMEDIATE"):
            for session in users:
                session.end_by_force()
                self.instance.sessions.pop(session.spid, None)
        elif self.tokens.take_words("WITH", "NO_WAIT"):
            if users:
                raise SqlError(
                    5070,
                    f"Database state cannot be changed while other users are using the database '{found.name}'",
                    16,
                    2,
                )
        elif users:
            self.session.wait_until(lambda: not self.instance.users_of(found, self.session), "LCK_M_X", users[0])

    def _backup(self) -> Result:
        return backups.backup(self)

    def _restore(self) -> Result:
        return backups.restore(self)

    # -------------------------------------------------------------- logins, users, roles
    def _create_login(self) -> Result:
        self.tokens.expect_words("CREATE", "LOGIN")
        name = self.tokens.name()
        self.tokens.expect_words("WITH")
        with self.instance.lock:
            login = Principal(name, self.instance.new_principal_id(), "S", self.instance.now())
            self._login_options(login, must_have_password=True)
            self._need("ALTER ANY LOGIN", "", SqlError(15247, "User does not have permission to perform this action."))
            if name.lower() in self.instance.logins:
                raise SqlError(15025, f"The server principal '{name}' already exists.")
            login.sid = login.sid or b"\2" + login.principal_id.to_bytes(4, "big")
            self.instance.logins[name.lower()] = login
        return Result()

    def _login_options(self, login: Principal, *, must_have_password: bool) -> None:
        named = set()
        while True:
            option = self.tokens.next().value.upper()
            named.add(option)
            self.tokens.expect_mark("=")
            if option == "PASSWORD":
                self._password(login)
            elif option in ("CHECK_POLICY", "CHECK_EXPIRATION"):
                on = self.tokens.expect(lambda token: token.is_word("ON", "OFF")).is_word("ON")
                setattr(login, "is_policy_checked" if option == "CHECK_POLICY" else "is_expiration_checked", on)
            elif option == "DEFAULT_DATABASE":
                login.default_database = self.instance.database(self.tokens.name()).name
            elif option == "DEFAULT_LANGUAGE":
                self.tokens.name()
            elif option == "SID":
                login.sid = self.tokens.expect(lambda token: token.kind == "hex").value.encode()
            else:
                raise SqlError(102, f"Incorrect syntax near '{option}'.", 15)
            if not self.tokens.take_mark(","):
                break
        if must_have_password and "PASSWORD" not in named:
            raise SqlError(102, "Incorrect syntax near 'WITH'.", 15)
        if login.is_expiration_checked and not login.is_policy_checked:
            raise SqlError(15122, "The CHECK_EXPIRATION option cannot be used when CHECK_POLICY is OFF.")
        self.expect_end()

    def _password(self, login: Principal) -> None:
        """``'text'``, or a hash with HASHED. A variable is a syntax error, as it is in SQL Server."""
        token = self.tokens.expect(lambda token: token.kind in ("string", "hex"))
        if self.tokens.take_words("HASHED"):
            if self.instance.engine_edition == 5:
                raise SqlError(
                    40517, "Keyword or statement option 'hashed' is not supported in this version of SQL Server."
                )
            raw = bytes.fromhex(token.value[2:]) if token.kind == "hex" else b""
            if raw[:2] not in (b"\1\0", b"\2\0") or len(raw) != {b"\1\0": 26, b"\2\0": 70}[raw[:2]]:
                raise SqlError(
                    15021, "Invalid value given for parameter PASSWORD. Specify a valid parameter value.", 16, 2
                )
            login.password_hash = raw
        elif token.kind == "string":
            login.password_hash = hashed(token.value, secrets.token_bytes(4))
            if login.is_policy_checked and len(token.value) < 8:
                raise said(15116)
        else:
            raise SqlError(102, f"Incorrect syntax near '{token.value}'.", 15)
        self.tokens.take_words("MUST_CHANGE")

    def _alter_login(self) -> Result:
        self.tokens.expect_words("ALTER", "LOGIN")
        login = self._existing_login(self.tokens.name())
        with self.instance.lock:
            if self.tokens.take_words("ENABLE"):
                login.is_disabled = False
            elif self.tokens.take_words("DISABLE"):
                login.is_disabled = True
            else:
                self.tokens.expect_words("WITH")
                self._login_options(login, must_have_password=False)
        self.expect_end()
        return Result()

    def _existing_login(self, name: str) -> Principal:
        found = self.instance.logins.get(name.lower())
        if found is None:
            raise SqlError(
                15151, f"Cannot find the login '{name}', because it does not exist or you do not have permission."
            )
        return found

    def _drop_login(self) -> Result:
        self.tokens.expect_words("DROP", "LOGIN")
        login = self._existing_login(self.tokens.name())
        self.expect_end()
        with self.instance.lock:
            if any(session.login is login for session in self.instance.sessions.values()):
                raise SqlError(15434, f"Could not drop login '{login.name}' as the user is currently logged in.")
            del self.instance.logins[login.name.lower()]
            for role in self.instance.logins.values():
                role.members.discard(login.principal_id)
        return Result()

    def _alter_server_role(self) -> Result:
        self.tokens.expect_words("ALTER", "SERVER", "ROLE")
        name = self.tokens.name()
        role = self.instance.logins.get(name.lower())
        if role is None or role.kind != "R":
            raise SqlError(
                15151, f"Cannot find the server role '{name}', because it does not exist or you do not have permission."
            )
        return self._membership(role, self.instance.logins, "server principal")

    def _alter_role(self) -> Result:
        self.tokens.expect_words("ALTER", "ROLE")
        principals = self.session.database.principals
        name = self.tokens.name()
        role = principals.get(name.lower())
        if role is None or role.kind != "R":
            raise SqlError(
                15151, f"Cannot find the role '{name}', because it does not exist or you do not have permission."
            )
        return self._membership(role, principals, "user")

    def _membership(self, role: Principal, principals: Mapping[str, Principal], what: str) -> Result:
        adding = self.tokens.expect(lambda token: token.is_word("ADD", "DROP")).is_word("ADD")
        self.tokens.expect_words("MEMBER")
        name = self.tokens.name()
        member = principals.get(name.lower())
        if member is None:
            raise SqlError(
                15151, f"Cannot add the {what} '{name}', because it does not exist or you do not have permission."
            )
        (role.members.add if adding else role.members.discard)(member.principal_id)
        self.expect_end()
        return Result()

    def _create_user(self) -> Result:
        self.tokens.expect_words("CREATE", "USER")
        name = self.tokens.name()
        login = name
        if self.tokens.take_words("FOR", "LOGIN") or self.tokens.take_words("FROM", "LOGIN"):
            login = self.tokens.name()
        self.expect_end()
        database = self.session.database
        found = self.instance.logins.get(login.lower())
        if found is None:
            raise SqlError(15007, f"'{login}' is not a valid login or you do not have permission.")
        if name.lower() in database.principals:
            raise SqlError(15023, f"User, group, or role '{name}' already exists in the current database.")
        user = Principal(name, self.instance.new_principal_id(), "S", self.instance.now(), sid=found.sid)
        database.principals[name.lower()] = user
        return Result()

    def _drop_user(self) -> Result:
        self.tokens.expect_words("DROP", "USER")
        lenient = self.tokens.take_words("IF", "EXISTS")
        name = self.tokens.name()
        self.expect_end()
        if self.session.database.principals.pop(name.lower(), None) is None and not lenient:
            raise SqlError(
                15151, f"Cannot drop the user '{name}', because it does not exist or you do not have permission."
            )
        return Result()

    def _grant(self) -> Result:
        giving = self.tokens.next().is_word("GRANT")
        permission = []
        while not self.tokens.at_words("TO") and not self.tokens.at_words("FROM"):
            permission.append(self.tokens.next().value.upper())
        self.tokens.next()
        login = self._existing_login(self.tokens.name())
        self.expect_end()
        words = " ".join(permission)
        if "PERFORMANCE" in permission and self.instance.version < 16:
            raise SqlError(102, f"Incorrect syntax near '{words}'.", 15)
        if giving:
            login.permissions.append(words)
        elif words in login.permissions:
            login.permissions.remove(words)
        return Result()

    # -------------------------------------------------------------- the server
    def _kill(self) -> Result:
        self.tokens.next()
        number = self._constant()
        self.expect_end()
        if not isinstance(number, int):
            raise SqlError(102, f"Incorrect syntax near '{number}'.", 15)
        if self.session.transactions:
            raise SqlError(6115, "KILL command cannot be used inside user transactions.")
        self._need(
            "ALTER ANY CONNECTION", "", SqlError(6102, "User does not have permission to use the KILL statement.", 14)
        )
        if number == self.session.spid:
            raise SqlError(6104, "Cannot use KILL to kill your own process.")
        if number <= 50:
            raise SqlError(6107, "Only user processes can be killed.", 14)
        with self.instance.lock:
            found = self.instance.sessions.pop(number, None)
        if found is None:
            raise SqlError(6106, f"Process ID {number} is not an active process ID.", 16, 2)
        found.end_by_force()
        return Result()

    def _reconfigure(self) -> Result:
        self.tokens.next()
        self.tokens.take_words("WITH", "OVERRIDE")
        if self.session.transactions:
            raise SqlError(574, "CONFIG statement cannot be used inside a user transaction.", 16, 0)
        for setting in self.instance.settings.values():
            if setting.is_dynamic:
                setting.in_use = setting.value
        self.instance.advanced_shown = bool(self.instance.settings["show advanced options"].in_use)
        return Result()

    def _shutdown(self) -> Result:
        self.tokens.next()
        self.tokens.take_words("WITH", "NOWAIT")
        self.expect_end()
        self._need("SHUTDOWN", "", SqlError(6004, "User does not have permission to perform this action.", 10))
        self.session.shut_down()
        return Result(messages=["Server shut down by request from login sa."])

    def _alter_group(self) -> Result:
        self.tokens.expect_words("ALTER", "AVAILABILITY", "GROUP")
        name = self.tokens.name()
        forced = self.tokens.take_words("FORCE_FAILOVER_ALLOW_DATA_LOSS")
        if not forced:
            self.tokens.expect_words("FAILOVER")
        self.expect_end()
        self._no_transaction("ALTER AVAILABILITY GROUP")
        with self.instance.lock:
            self._fail_over(name, forced=forced)
        return Result()

    def _fail_over(self, name: str, *, forced: bool) -> None:
        put = self.instance.put_rows
        group = next(
            (row for row in put.get("sys.availability_groups", ()) if row["name"].lower() == name.lower()), None
        )
        if group is None:
            raise said(15151, name)
        replicas = [
            row for row in put["sys.dm_hadr_availability_replica_states"] if row["group_id"] == group["group_id"]
        ]
        local = next(row for row in replicas if row["is_local"])
        if local["role_desc"] == "PRIMARY":
            raise said(41122, name)
        mine = [
            row
            for row in put["sys.dm_hadr_database_replica_cluster_states"]
            if row["replica_id"] == local["replica_id"]
        ]
        if not forced and not all(row["is_failover_ready"] for row in mine):
            raise said(41142, name)
        for row in replicas:
            row["role"], row["role_desc"] = (1, "PRIMARY") if row is local else (2, "SECONDARY")
        for row in put.get("sys.dm_hadr_database_replica_states", ()):
            if row["group_id"] == group["group_id"]:
                row["is_primary_replica"] = row["replica_id"] == local["replica_id"]
        self.instance.write_log(
            "spid",
            f"The state of the local availability replica in availability group '{name}' has changed"
            " from 'RESOLVING_NORMAL' to 'PRIMARY_PENDING'.",
        )

    # -------------------------------------------------------------- procedures
    def _call(self) -> Result:
        if not self.tokens.take_words("EXEC"):
            self.tokens.take_words("EXECUTE")
        name = self.tokens.dotted_name()[-1].lower()
        given: dict[str, Any] = {}
        while not self.tokens.ends_statement:
            token = self.tokens.peek()
            after = self.tokens.peek(1)
            if token is not None and token.kind == "variable" and after is not None and after.value == "=":
                self.tokens.next()
                self.tokens.next()
                given[token.value.lower()] = self._argument()
            else:
                given[str(len(given))] = self._argument()
            if not self.tokens.take_mark(","):
                break
        return self.call(name, given)

    def _argument(self) -> Any:
        token = self.tokens.peek()
        if token is not None and token.kind == "word" and not token.is_word("NULL", "DEFAULT"):
            return self.tokens.next().value
        return self.value()

    def call(self, name: str, given: Mapping[str, Any]) -> Result:
        """Run a procedure; arguments are under their name or their place."""
        made = self._PROCEDURES.get(name.lower().rpartition(".")[2])
        if made is None:
            raise SqlError(2812, f"Could not find stored procedure '{name}'.", 16, 62)
        return made(self, given)

    def _configure(self, given: Mapping[str, Any]) -> Result:
        name = given.get("@configname", given.get("0"))
        value = given.get("@configvalue", given.get("1"))
        settings = self.instance.settings
        visible = [found for found in settings.values() if self.instance.advanced_shown or not found.is_advanced]
        if name is None:
            columns = [
                ("name", "nvarchar"),
                ("minimum", "int"),
                ("maximum", "int"),
                ("config_value", "int"),
                ("run_value", "int"),
            ]
            return Result(
                columns, [(found.name, found.minimum, found.maximum, found.value, found.in_use) for found in visible]
            )
        found = next((found for found in visible if found.name.lower() == str(name).lower()), None)
        if found is None:
            raise SqlError(15123, f"The configuration option '{name}' does not exist, or it may be an advanced option.")
        if value is None:
            return Result()
        if self.session.transactions:
            raise SqlError(15002, "The procedure 'sys.sp_configure' cannot be executed within a transaction.")
        if not isinstance(value, int) or not found.minimum <= value <= found.maximum:
            raise SqlError(15129, f"'{value}' is not a valid value for configuration option '{found.name}'.")
        old, found.value = found.value, value
        return Result(
            messages=[f"Configuration option '{found.name}' changed from {old} to {value}. Run RECONFIGURE to install."]
        )

    def _read_error_log(self, given: Mapping[str, Any]) -> Result:
        values = [given.get(f"@p{at + 1}", given.get(str(at))) for at in range(7)]
        number, _kind, first, second, since, until, order = values
        if not self.instance.may(self.session.login, "VIEW ANY ERROR LOG", "VIEW SERVER STATE"):
            raise said(229)
        if number:
            raise SqlError(22004, f"Failed to open loopback connection. The error log {number} does not exist.")
        columns = [("LogDate", "datetime"), ("ProcessInfo", "nvarchar"), ("Text", "nvarchar")]
        rows = [
            row
            for row in self.instance.log
            if (not first or str(first).lower() in row[2].lower())
            and (not second or str(second).lower() in row[2].lower())
            and (since is None or row[0] >= _moment(since))
            and (until is None or row[0] <= _moment(until))
        ]
        return Result(columns, sorted(rows, key=lambda row: row[0], reverse=str(order or "asc").lower() == "desc"))

    _PROCEDURES: Mapping[str, Callable[[Batch, Mapping[str, Any]], Result]] = {
        "sp_configure": _configure,
        "sp_readerrorlog": lambda self, given: self._read_error_log(
            {name: value for name, value in given.items() if name in ("0", "1", "2", "3") or name.startswith("@p")}
        ),
        "xp_readerrorlog": _read_error_log,
    }
    _STATEMENTS: Mapping[str, Callable[[Batch], Any]] = {
        "ALTER": _alter,
        "BACKUP": _backup,
        "BEGIN": _begin,
        "COMMIT": _commit,
        "CREATE": _create,
        "DROP": _drop,
        "EXEC": _call,
        "EXECUTE": _call,
        "GRANT": _grant,
        "IF": _if,
        "KILL": _kill,
        "PRINT": _print,
        "RAISERROR": _raise,
        "RECONFIGURE": _reconfigure,
        "RESTORE": _restore,
        "REVOKE": _grant,
        "ROLLBACK": _rollback,
        "SET": _set,
        "SHUTDOWN": _shutdown,
        "USE": _use,
        "WAITFOR": _wait_for,
    }


def _moment(value: Any) -> dt.datetime:
    """A datetime argument, which may be text."""
    return value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
