"""Statements on the server itself, and its procedures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from .errors import SqlError, said
from .reading import Reading
from .wire import Result


class ServerWide(Reading):
    """Ends sessions and the server, fails over, and calls procedures."""

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

    def _call(self) -> Result:
        if not self.tokens.take_words("EXEC"):
            self.tokens.take_words("EXECUTE")
        named = self.tokens.dotted_name()
        name = named[-1].lower()
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
        if len(named) == 3 and named[0].lower() != self.session.database.name.lower():
            return self._call_in(named[0], name, given)
        return self.call(name, given)

    def _call_in(self, database: str, name: str, given: Mapping[str, Any]) -> Result:
        """A procedure called by three names runs in that database, and the session stays where it is."""
        before = self.session.database
        self.session.use(self.instance.database(database), announce=False)
        try:
            return self.call(name, given)
        finally:
            self.session.use(before, announce=False)

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

    def _execute_text(self, given: Mapping[str, Any]) -> Result:
        """sp_executesql: what is set inside it, is as before after it."""
        session = self.session
        before = session.lock_timeout, session.deadlock_priority, session.implicit_transactions
        sql = str(given.get("@stmt", given.get("0", given.get("@statement", ""))))
        values = {name: value for name, value in given.items() if name.startswith("@")}
        declared = [part.split()[0] for part in str(given.get("1") or "").split(",") if part.strip()]
        values |= {name: given[str(at)] for at, name in enumerate(declared, 2) if str(at) in given}
        try:
            results = list(type(self)(session, sql, values).run())
        finally:
            session.lock_timeout, session.deadlock_priority, session.implicit_transactions = before
        return next((found for found in reversed(results) if found.columns), Result())

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
            raise SqlError(
                22004, "xp_readerrorlog() returned error 2, 'The system cannot find the file specified.'", 12
            )
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

    _PROCEDURES: Mapping[str, Callable[[Any, Mapping[str, Any]], Result]] = {
        "sp_configure": _configure,
        "sp_executesql": _execute_text,
        "sp_readerrorlog": lambda self, given: self._read_error_log(
            {name: value for name, value in given.items() if name in ("0", "1", "2", "3") or name.startswith("@p")}
        ),
        "xp_readerrorlog": _read_error_log,
    }


def _moment(value: Any) -> dt.datetime:
    """A datetime argument, which may be text."""
    return value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
