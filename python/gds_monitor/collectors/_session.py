"""One session on one PostgreSQL, which never is what makes it slow.

All that is asked is read-only, waits at most a tenth of a second for a lock, and has a time after which the server ends
it; if even that does not happen, it is cancelled, and then its socket is closed. There is one connection at any time:
to read from another database it leaves the one it is in, and what is idle is idle in the database it began with, so
that no other can not be dropped because of us.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gds_database.engines.postgresql.connection import PostgreSQLConnection, parameters_of
from gds_database.errors import ConfigurationError
from gds_monitor.collectors._link import APPLICATION, Link
from gds_monitor.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gds_monitor.secrets import Credentials

__all__ = ["APPLICATION", "LOCK_TIMEOUT_MS", "Answer", "PostgreSQLSession"]

LOCK_TIMEOUT_MS = 100
CONNECT_SECONDS = 5.0
GRACE_SECONDS = 1.0
"""How much longer than the server allows a statement its answer may take, and how long a cancellation may take."""

_BY_CODE = {
    "25006": "error",
    "3D000": "database_gone",
    "42501": "privilege",
    "42703": "missing_object",
    "42883": "missing_object",
    "42P01": "missing_object",
    "53300": "too_many_connections",
    "55P03": "lock_timeout",
    "57014": "statement_timeout",
}
# A refusal at the door has no SQLSTATE in what libpq gives: its words are all there is, in English or not.
_BY_WORDS = (
    ("too many clients", "too_many_connections"),
    ("too many connections", "too_many_connections"),
    ("remaining connection slots", "too_many_connections"),
    ("authentication failed", "authentication"),
    ("not permitted to log in", "authentication"),
    ("no pg_hba.conf entry", "authentication"),
    ("no password supplied", "authentication"),
    ("permission denied for database", "privilege"),
    ("is not currently accepting connections", "database_gone"),
    ("the database system is", "connection"),
)


class Answer(NamedTuple):
    """What a query returned."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class PostgreSQLSession(Link):
    """A connection that is opened when it is needed, kept, and replaced when it is lost.

    Args:
        credentials: Where the server is, and who asks.
        application_name: What the server shows of us.
    """

    def __init__(self, credentials: Credentials, *, application_name: str = APPLICATION) -> None:
        super().__init__(credentials, application_name=application_name, connect_seconds=CONNECT_SECONDS)
        self.home = credentials.config.database or "postgres"
        """The database that it is idle in."""

    @property
    def database(self) -> str | None:
        """The database it is connected to; None if it is not connected."""
        return self._place if self._is_open() else None

    def _is_open(self) -> bool:
        return self._raw is not None and not self._raw.closed

    # ------------------------------------------------------------------ asking
    async def query(self, sql: str, *, timeout_seconds: float, database: str | None = None) -> Answer:
        """The rows of a statement.

        Args:
            sql: One statement that reads, or several of which the last one's rows are wanted.
            timeout_seconds: For the statement.
            database: Where; None is ``home``.

        Raises:
            CollectionError: There are none, and why.
        """
        async with self._turn:
            raw = await self._in(database or self.home)
            milliseconds = max(1, int(timeout_seconds * 1000))
            text = (
                f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; "
                f"SET LOCAL lock_timeout = {min(LOCK_TIMEOUT_MS, milliseconds)};\n{sql}\n;COMMIT"
            )
            try:
                answer: Answer = await self._bounded(raw, _asked(raw, text), milliseconds / 1000 + GRACE_SECONDS)
            except CollectionError:
                raise
            except Exception as error:  # noqa: BLE001 - the driver's own; translated, for it may hold a secret
                failed = self._failed(error)
            else:
                return answer
            if raw.closed or failed.reason == "connection":
                await self._drop()
            else:
                await self._bounded(raw, raw.rollback(), GRACE_SECONDS)
            raise failed

    async def go_home(self) -> None:
        """Leave the database that was visited."""
        async with self._turn:
            if self._place != self.home:
                await self._in(self.home)

    async def _bounded(self, raw: Any, work: Awaitable[Any], seconds: float) -> Any:
        """Await the server, but not for longer; a statement that still runs is cancelled there."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            await self._give_up(raw, task)
            raise
        if task.done():
            return task.result()
        await self._give_up(raw, task)
        raise CollectionError("statement_timeout", f"no answer for {seconds:g} s; the statement was cancelled")

    async def _give_up(self, raw: Any, task: asyncio.Future[Any]) -> None:
        with suppress(Exception):  # whether it worked is seen by the task
            await asyncio.wait_for(raw.cancel_safe(timeout=GRACE_SECONDS), GRACE_SECONDS)
        if not task.done():
            await asyncio.wait({task}, timeout=GRACE_SECONDS / 2)
        if not task.done():
            _cut(raw)
            await asyncio.wait({task}, timeout=GRACE_SECONDS / 2)
        if not task.done():
            task.cancel()
        else:
            task.exception()  # it is known that it failed
        await self._drop()

    # ------------------------------------------------------------------ connecting
    async def _in(self, database: str) -> Any:
        """The connection, to that database and with the credentials of today."""
        if self.database == database:
            return self._raw
        await self._drop()
        return await self._connect(database)

    async def _opened(self, place: str, current: tuple[str | None, str | None]) -> Any:
        import psycopg

        try:
            given = parameters_of(replace(self.credentials.config, database=place, user=None, password=None))
            options = {"connect_timeout": int(CONNECT_SECONDS), "client_encoding": "UTF8", **given}
            connection = PostgreSQLConnection(config={**options, "application_name": self.application_name})
            user, password = current
            who = {name: value for name, value in (("user", user), ("password", password)) if value is not None}
        except ConfigurationError as error:
            raise CollectionError("error", str(error)) from None
        try:
            raw = await asyncio.wait_for(
                psycopg.AsyncConnection.connect(
                    **{**connection.parameters(), **who}, autocommit=True, prepare_threshold=None
                ),
                CONNECT_SECONDS + GRACE_SECONDS,
            )
        except Exception as error:  # noqa: BLE001 - as above
            failed = self._failed(error, at_the_door=True)
        else:
            if raw.info.parameter_status("server_encoding") == "SQL_ASCII":
                # It holds whatever somebody wrote there, so its bytes come as they are.
                await self._bounded(raw, raw.execute("SET client_encoding = SQL_ASCII"), CONNECT_SECONDS)
            return raw
        raise failed

    def _failed(self, error: Exception, *, at_the_door: bool = False) -> CollectionError:
        code = getattr(error, "sqlstate", None) or ""
        diagnostics = getattr(error, "diag", None)
        said = self.credentials.redact(
            getattr(diagnostics, "message_primary", None) or " ".join(str(error).split()) or type(error).__name__
        )
        if code:
            kind = "authentication" if code.startswith("28") else "connection" if code.startswith(("08", "57P")) else ""
            return CollectionError(kind or _BY_CODE.get(code, "error"), said)
        if at_the_door:
            return CollectionError(_refused(said, error), said)
        lost = type(error).__name__ in {"OperationalError", "InterfaceError"} or isinstance(error, OSError)
        return CollectionError("connection" if lost else "error", said)

    # ------------------------------------------------------------------ the end
    def abort(self) -> None:
        """Cut the connection, also while somebody waits for it."""
        if self._raw is not None:
            _cut(self._raw)

    async def _closed(self, raw: Any) -> None:
        await raw.close()


async def _asked(raw: Any, text: str) -> Answer:
    cursor = await raw.execute(text)
    answer = Answer([], [])
    while True:
        if cursor.description is not None:
            rows = await cursor.fetchall()
            answer = Answer([column.name for column in cursor.description], [tuple(map(_text, row)) for row in rows])
        if not cursor.nextset():
            return answer


def _text(value: Any) -> Any:
    """Text also where it is not valid: nothing is dropped because of its name."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _refused(said: str, error: Exception) -> str:
    """Why the server did not let us in."""
    for words, reason in _BY_WORDS:
        if words in said:
            return reason
    if "database" in said and "does not exist" in said:
        return "database_gone"
    if "role" in said and "does not exist" in said:
        return "authentication"
    # Words of another language. Who was asked for a password and then refused may have a wrong one, and to try it on
    # and on would lock the account.
    used = False
    with suppress(Exception):
        used = bool(error.pgconn.used_password)  # type: ignore[attr-defined]
    return "authentication" if used else "connection"


def _cut(raw: Any) -> None:
    """End a connection so that whoever waits for it wakes up."""
    with suppress(Exception), socket.socket(fileno=os.dup(raw.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
