"""Statements on logins, users and roles."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from .errors import SqlError, said
from .instance import Principal, hashed
from .reading import Reading
from .wire import Result


class Logins(Reading):
    """Creates, changes and drops them, and says what they may do."""

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
        while not any(self.tokens.at_words(word) for word in ("ON", "TO", "FROM")):
            permission.append(self.tokens.next().value.upper())
        if self.tokens.take_words("ON"):
            named = ".".join([self.session.database.name, *self.tokens.dotted_name()]).lower()
            permission += ["ON", named]
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
