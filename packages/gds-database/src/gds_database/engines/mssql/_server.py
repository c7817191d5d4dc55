"""What all parts of the engine stand on: how statements run, over any connection, and what the server is."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from gds_database._calls import ended_by
from gds_database.engines._base import EngineBase, driver
from gds_database.engines._rows import dicts, driver_object
from gds_database.engines.mssql._azure import LACKS
from gds_database.engines.mssql._errors import error_for, text_of
from gds_database.engines.mssql._sql import only_reads, reading, spliced, to_format
from gds_database.engines.mssql.connection import MSSQLConnection
from gds_database.errors import ConfigurationError, PrivilegeError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gds_database.base import OperationResult
    from gds_database.config import EngineConfig

__all__ = ["AZURE_DATABASE", "SqlServerBase", "is_unknown"]

AZURE_DATABASE = 5
"""EngineEdition of Azure SQL Database, where much of an instance does not exist."""

_UNKNOWN = {207, 208, 195, 2812, 40515}
_READS = "EXEC sys.sp_executesql N'SET LOCK_TIMEOUT"


def is_unknown(error: BaseException) -> bool:
    """Whether the server has not the view, column, function or procedure that was asked for."""
    return (
        vars(error).get("number") in _UNKNOWN
        or "nvalid object name" in str(error)
        or "nvalid column name" in str(error)
    )


@dataclass(frozen=True)
class Server:
    """What the server is, which does not change while it runs."""

    version: str
    major: int
    edition: str
    engine_edition: int
    name: str
    has_groups: bool


class SqlServerBase(EngineBase):
    """Statements on SQL Server.

    Args:
        connection: Any connection.
        settings: As `EngineBase` has them; of the time for locks there is only that of what reads.
    """

    system = "microsoft.sql_server"
    extra = "mssql"
    default_lock_timeout_seconds = 5.0
    lock_timeout_seconds: float
    connection: Any
    _known: Server | None = None

    @classmethod
    def _open(cls, config: EngineConfig) -> MSSQLConnection:
        return MSSQLConnection.of(config)

    # ------------------------------------------------------------------ running
    def _run(self, statement: str, params: tuple[Any, ...] | None, timeout_seconds: float) -> Any:
        connection = self.connection
        if isinstance(connection, MSSQLConnection):
            raw = None if connection.autocommit else connection.connection
            # Of the drivers that give no way to end it, it ends by its time.
            with self._committing(raw, statement), ended_by(connection.cancel):
                return connection.run(statement, params, timeout_seconds=timeout_seconds, return_dict=True)
        raw = driver_object(connection, "cursor")
        if raw is not None and params:
            statement, params = _for_driver(raw, statement, params)
        with self._committing(raw, statement), _timed(raw, timeout_seconds):
            if raw is None or statement.startswith(_READS):
                return super()._run(statement, params, timeout_seconds)
            return _drained(raw, statement, params)

    @contextmanager
    def _committing(self, raw: Any, statement: str) -> Iterator[None]:
        """A connection that is not in autocommit is, for a statement that changes something.

        What was open on it is kept first. A read leaves it as it was.
        """
        if raw is None or statement.startswith(_READS) or _is_autocommit(raw):
            yield
            return
        raw.commit()
        _set_autocommit(raw, on=True)
        try:
            yield
        finally:
            with suppress(Exception):  # the connection may have ended with the statement
                _set_autocommit(raw, on=False)

    def _translate(self, error: Exception) -> Exception:
        return error_for(error, self._said(error))

    def _said(self, error: BaseException) -> str:
        return " ".join(self._secrets.redact(text_of(error)).split()) or type(error).__name__

    def _must_read(self, statement: Any) -> None:
        if not isinstance(statement, str) or not only_reads(statement):
            shown = " ".join(self._secrets.hide(str(statement)).split())[:40]
            raise ConfigurationError(f"statement: expected one SELECT that changes nothing, got {shown!r}")

    def _reading(
        self, statement: Any, params: tuple[Any, ...], columns: Sequence[str], timeout_seconds: float | None
    ) -> list[dict[str, Any]]:
        return self._read(statement, params, columns=columns, timeout_seconds=timeout_seconds)

    def _read(
        self,
        query: str,
        params: tuple[Any, ...] = (),
        *,
        columns: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of a query with ``@p1``, ``@p2`` ... for values, which waits for no lock for long.

        Args:
            query: One query.
            params: The values.
            columns: The names of its columns, in their order.
            timeout_seconds: Instead of the engine's.
        """
        limit = timeout_seconds or self.timeout_seconds
        wait_ms = max(1, int(min(self.lock_timeout_seconds, limit) * 1000))
        operation = query.split(None, 1)[0].upper()
        text = reading(query, params, wait_ms)
        return self._query(text, params or None, columns=columns, timeout_seconds=limit, operation=operation)

    def _try_read(
        self, query: str, params: tuple[Any, ...] = (), *, columns: Sequence[str] = ()
    ) -> list[dict[str, Any]] | None:
        """As `_read`; None where the server has no such view, or the login may not see it."""
        try:
            return self._read(query, params, columns=columns)
        except PrivilegeError:
            return None
        except QueryError as error:
            if is_unknown(error):
                return None
            raise

    # ------------------------------------------------------------------ what it is
    @property
    def _server(self) -> Server:
        if self._known is None:
            query = (
                "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version,"
                " CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition,"
                " CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine_edition,"
                " CAST(SERVERPROPERTY('ServerName') AS nvarchar(128)) AS name,"
                " CAST(SERVERPROPERTY('IsHadrEnabled') AS int) AS has_groups"
            )
            row = self._read(query, columns=("version", "edition", "engine_edition", "name", "has_groups"))[0]
            version = str(row["version"])
            self._known = Server(
                version=version,
                major=int(version.partition(".")[0]),
                edition=str(row["edition"] or ""),
                engine_edition=int(row["engine_edition"] or 0),
                name=str(row["name"] or ""),
                has_groups=bool(row["has_groups"]),
            )
        return self._known

    @property
    def _is_azure_database(self) -> bool:
        return self._server.engine_edition == AZURE_DATABASE

    def _azure_cannot(self, what: str) -> OperationResult:
        """A failure: Azure SQL Database has no such thing."""
        return self._cannot(what, LACKS[what].why, use=LACKS[what].use)

    def _zone(self) -> timezone:
        """The zone that the server's own times are in now. What it kept in another season is off by the difference."""
        row = self._read(
            "SELECT DATEDIFF(minute, SYSUTCDATETIME(), SYSDATETIME()) AS offset_minutes", columns=("offset_minutes",)
        )[0]
        # The two are read one after the other: a minute may have ended between them.
        return timezone(timedelta(minutes=round(int(row["offset_minutes"]) / 15) * 15))

    def get_version(self) -> str:
        """The version, such as ``16.0.4085.2``."""
        return self._server.version

    def get_server_time(self) -> datetime:
        """The server's clock, in UTC."""
        row = self._read("SELECT SYSUTCDATETIME() AS now", columns=("now",))[0]
        return utc(row["now"], timezone.utc)

    def _clock_skew(self) -> float:
        """The server's clock minus that of this machine, in seconds, at the middle of the question."""
        before = time.time()
        found = self.get_server_time().timestamp()
        return found - (before + time.time()) / 2


def utc(value: Any, zone: timezone) -> datetime:
    """A time of the server, which has no zone, in UTC."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    local: datetime = found if found.tzinfo is not None else found.replace(tzinfo=zone)
    return local.astimezone(timezone.utc)


def _for_driver(raw: Any, statement: str, params: tuple[Any, ...]) -> tuple[str, tuple[Any, ...] | None]:
    """A statement with ``?`` for values as the driver of this connection takes it."""
    module = type(raw).__module__.partition(".")[0]
    if module == "pymssql":
        return spliced(statement, params, driver("pymssql", "mssql")._mssql.substitute_params), None
    return (to_format(statement) if module == "pytds" else statement), params


def _is_autocommit(raw: Any) -> bool:
    found = getattr(raw, "autocommit_state", None)  # pymssql: there autocommit is a method
    if found is None:
        found = getattr(raw, "autocommit", True)
    return bool(found) if not callable(found) else True


def _set_autocommit(raw: Any, *, on: bool) -> None:
    change: Callable[[bool], object] | bool = raw.autocommit
    if callable(change):
        change(on)
    else:
        raw.autocommit = on


@contextmanager
def _timed(raw: Any, seconds: float) -> Iterator[None]:
    """The time of a driver that has one for its connection, as those of ODBC have, in whole seconds."""
    before = getattr(raw, "timeout", None)
    if not isinstance(before, int):
        yield
        return
    raw.timeout = max(1, math.ceil(seconds))
    try:
        yield
    finally:
        with suppress(Exception):
            raw.timeout = before


def _drained(raw: Any, statement: str, params: tuple[Any, ...] | None) -> list[dict[str, Any]]:
    """Run a statement to its end: ODBC cancels what is left when a cursor is closed before."""
    cursor = raw.cursor()
    try:
        cursor.execute(statement, params) if params else cursor.execute(statement)
        rows: list[dict[str, Any]] = []
        while True:
            if cursor.description:
                rows = dicts(cursor)
            if not cursor.nextset():
                return rows
    finally:
        cursor.close()
