"""How the statements of an engine run over its connection: one at a time, timed, within limits, errors made ours."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from gds_database._calls import current
from gds_database._redact import Secrets
from gds_database._report import Report
from gds_database.base import ConfigurationError, DatabaseConnectionError, QueryError
from gds_database.engines._operation import OURS
from gds_database.engines._rows import dicts
from gds_database.engines._unsupported import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from gds_database._report import Metrics
    from gds_database.base import DatabaseConnection

__all__ = ["Statements"]


class Statements(Unsupported):
    """The part of `EngineBase` that has a connection and runs statements on it.

    Args:
        connection: Any.
        metrics: Any collector; None is none.
        timeout_seconds: How long one statement may take.
        lock_timeout_seconds: How long one may wait for locks; by default as ``default_lock_timeout_seconds`` says.
    """

    system: ClassVar[str]
    default_lock_timeout_seconds: ClassVar[float | None] = None
    """None where the platform has no such limit."""

    def __init__(
        self,
        connection: DatabaseConnection,
        metrics: Metrics | None,
        timeout_seconds: float,
        lock_timeout_seconds: float | None,
    ) -> None:
        for method in ("execute_query", "is_connected", "get_connection_info"):
            if not callable(getattr(connection, method, None)):
                raise ConfigurationError(
                    f"connection: expected a DatabaseConnection with {method}(), got {type(connection).__name__}"
                )
        if lock_timeout_seconds is None:
            lock_timeout_seconds = self.default_lock_timeout_seconds
        elif self.default_lock_timeout_seconds is None:
            raise ConfigurationError(f"lock_timeout_seconds: there is no such limit on {self.system}")
        _must_be_some("timeout_seconds", timeout_seconds)
        _must_be_some("lock_timeout_seconds", lock_timeout_seconds)
        super().__init__(connection)
        self.timeout_seconds = timeout_seconds
        self.lock_timeout_seconds = lock_timeout_seconds
        self._secrets = Secrets()
        self._secrets.add(_password(connection))
        # Reentrant: a step of an operation may ask something. Drivers take one statement at a time.
        self._lock = threading.RLock()
        self._opened = False
        self._opens = False
        self._in: str | None = None
        self._report = Report(metrics, self._attributes())

    # ------------------------------------------------------------------ open and close
    def connect(self) -> Any:
        """Open the connection if it is not open; then `close` closes it."""
        return self._connect(self.connection.connect)

    def _connect(self, connect: Callable[[], Any]) -> Any:
        """Open the connection by this if it is not open."""
        if self.connection.is_connected():
            return None
        with self._turn():
            try:
                opened = connect()
            except Exception as error:  # noqa: BLE001 - as with statements, below
                failed = self._translate(error)
            else:
                self._opened = True
                self._in = None
                return opened
        raise failed

    def _turn(self) -> AbstractContextManager[Any]:
        """The turn at the connection, which a call that nobody waits for any more does not wait for."""
        call = current()
        return self._lock if call is None else call.turn(self._lock)

    def close(self) -> None:
        """Close the connection if this engine has opened it."""
        if self._opened:
            self._opened = False
            with suppress(Exception):  # the server may be gone, and there is nothing left to do about it
                self.connection.disconnect()

    # ------------------------------------------------------------------ what a subclass may have its own way
    def _run(self, statement: Any, params: tuple[Any, ...] | None, timeout_seconds: float) -> Any:
        """Run one statement on the connection and return its rows in any form that ``dicts`` takes, or a cursor.

        What changed has to be kept, whether the connection is in autocommit or not.

        Args:
            statement: As given to ``_query`` or ``_execute``.
            params: Values that the driver binds.
            timeout_seconds: After it the server is made to end the statement.
        """
        del timeout_seconds
        run = getattr(self.connection, "execute_query_dict", None) or self.connection.execute_query
        return run(statement, params) if params else run(statement)

    def _translate(self, error: Exception) -> Exception:
        """The error to raise for one of the driver; never with a secret. `_said` has its text redacted."""
        if isinstance(error, OURS) and self._secrets.redact(str(error)) == str(error):
            return error
        if isinstance(error, DatabaseConnectionError):
            return DatabaseConnectionError(self._said(error))
        return QueryError(self._said(error))

    def _said(self, error: BaseException) -> str:
        """The text of an error, on one line, without secrets."""
        return " ".join(self._secrets.redact(str(error)).split()) or type(error).__name__

    def _attributes(self) -> dict[str, str]:
        """What OpenTelemetry wants to know of the server."""
        info = self._info()
        found = {"db.system.name": self.system}
        host = next((info[key] for key in ("host", "server", "account") if info.get(key)), None)
        if host:
            found["server.address"] = str(host)
        if info.get("port"):
            found["server.port"] = str(info["port"])
        return found

    def _namespace(self) -> str:
        """The database that the connection is in; asked for once after each `connect`."""
        return str(self._info().get("database") or "")

    def _info(self) -> Mapping[str, Any]:
        try:
            return self.connection.get_connection_info() or {}
        except Exception:  # noqa: BLE001 - some want to be connected first
            return {}

    # ------------------------------------------------------------------ statements
    def read(
        self,
        statement: Any,
        params: Sequence[Any] = (),
        *,
        columns: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of one statement that reads, within a time.

        Args:
            statement: SQL; on MongoDB a command as a dict, its name first, with ``$db`` where it is not for ``admin``.
            params: Values that the driver binds: ``%s`` on PostgreSQL and Snowflake, ``@p1``, ``@p2`` ... on SQL
                Server; MongoDB has none.
            columns: The names of the columns in their order, for connections that return tuples.
            timeout_seconds: After which the server is made to end it; by default the engine's.

        Raises:
            ConfigurationError: It is no statement that only reads, or the time is none.
            QueryError: The server refuses it.
            StatementTimeoutError: It took too long.
            DatabaseConnectionError: The server is away.
        """
        _must_be_some("timeout_seconds", timeout_seconds)
        self._must_read(statement)
        return self._reading(statement, tuple(params), columns, timeout_seconds)

    def _must_read(self, statement: Any) -> None:
        """Raise `ConfigurationError` unless it reads: by its first word, unless a subclass knows better."""
        word = _FIRST_WORD.match(statement) if isinstance(statement, str) else None
        if word is None or word[1].upper() not in _READS:
            shown = word[1] if word else self._secrets.hide(str(statement))[:40]
            raise ConfigurationError(f"statement: expected one that reads, such as SELECT ..., got {shown!r}")

    def _reading(
        self, statement: Any, params: tuple[Any, ...], columns: Sequence[str], timeout_seconds: float | None
    ) -> list[dict[str, Any]]:
        """Run what `_must_read` let pass."""
        return self._query(statement, params or None, columns=columns, timeout_seconds=timeout_seconds)

    def _query(
        self,
        statement: Any,
        params: tuple[Any, ...] | None = None,
        *,
        columns: Sequence[str] = (),
        timeout_seconds: float | None = None,
        operation: str | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of a statement.

        Args:
            statement: SQL, or whatever ``_run`` takes.
            params: Values that the driver binds.
            columns: The names of the columns in their order, for connections that return tuples.
            timeout_seconds: Instead of the engine's.
            operation: What it is called in metrics; by default its first word.
        """
        return dicts(self._statement(statement, params, timeout_seconds, operation), columns)

    def _execute(
        self,
        statement: Any,
        params: tuple[Any, ...] | None = None,
        *,
        timeout_seconds: float | None = None,
        operation: str | None = None,
    ) -> None:
        """Run a statement that has no rows; as `_query`."""
        self._statement(statement, params, timeout_seconds, operation)

    def _statement(
        self, statement: Any, params: tuple[Any, ...] | None, timeout_seconds: float | None, operation: str | None
    ) -> Any:
        if operation is None:
            operation = _operation_of(statement)
        with self._turn():
            if self._opens and not self._opened:
                self.connect()
            if self._in is None:
                self._in = self._namespace()
            limit = timeout_seconds or self.timeout_seconds
            try:
                return self._report.observe(operation, self._in, self._run, statement, params, limit)
            except Exception as error:  # noqa: BLE001 - drivers have errors of their own, which may hold a password
                failed = self._translate(error)
        # Outside of the handler: the driver's error is no context of this one, where a traceback would print it.
        raise failed


def _must_be_some(name: str, seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:
        raise ConfigurationError(f"{name}={seconds!r}: expected more than 0")


_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w{1,40})", re.DOTALL)
_READS = frozenset(("SELECT", "WITH", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "VALUES", "TABLE"))


def _operation_of(statement: Any) -> str:
    """What a statement is called in metrics: its first word."""
    text = statement if isinstance(statement, str) else str(statement)
    if text.startswith("SELECT "):  # as nearly all do that are asked often
        return "SELECT"
    word = _FIRST_WORD.match(text)
    return word[1].upper() if word else "UNKNOWN"


def _password(connection: Any) -> str | None:
    """The password that a connection keeps, so that it can be taken out of errors."""
    for holder in (connection, getattr(connection, "config", None)):
        found = holder.get("password") if isinstance(holder, dict) else getattr(holder, "password", None)
        if isinstance(found, str):
            return found
    return None
