"""PostgreSQL for asyncio, over psycopg's own asynchronous connection.

What is asked of the server is awaited natively. What changes it, backups, logs and metrics run as in the synchronous
engine, in the threads of `AsyncDatabaseEngine`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from gds_database.aio import AsyncDatabase, AsyncDatabaseEngine
from gds_database.engines._base import driver, only
from gds_database.engines._rows import dicts
from gds_database.engines.postgresql import _replication, _server, _session, _sessions, _settings, _users
from gds_database.engines.postgresql.connection import PostgreSQLConnection, is_pooled
from gds_database.errors import ConfigurationError, DatabaseConnectionError
from gds_database.metadata import BackupType

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Sequence
    from datetime import datetime

    from gds_database.base import OperationResult
    from gds_database.engines.postgresql._asking import Ask, Question
    from gds_database.engines.postgresql.engine import PostgreSQLEngine
    from gds_database.metadata import EngineMetadata, ReplicationDetails

__all__ = ["AsyncPostgreSQLEngine"]

T = TypeVar("T")


class AsyncPostgreSQLEngine(AsyncDatabaseEngine):
    """A `PostgreSQLEngine`, awaited.

    Args:
        engine: It; its connection is one of ours, which says how to connect.
        threads: How many of the calls that are not native run at a time.
    """

    engine: PostgreSQLEngine

    def __init__(self, engine: PostgreSQLEngine, *, threads: int = 4) -> None:
        super().__init__(engine, threads=threads)
        connection = engine.connection
        if not isinstance(connection, PostgreSQLConnection):
            raise ConfigurationError(
                f"engine: expected one over a PostgreSQLConnection of gds_database, got "
                f"{type(connection).__name__}; AsyncDatabaseEngine takes any"
            )
        self._connection = connection
        self._raw: Any = None
        self._limits: tuple[int, int] | None = None
        self._pooled = False
        # One statement at a time, and one connection.
        self._turn = asyncio.Lock()

    async def connect(self) -> Any:
        """Open the connection if it is not open."""
        async with self._turn:
            return await self._connected()

    async def close(self) -> None:
        """Close what this has opened."""
        raw, self._raw = self._raw, None
        if raw is not None:
            await raw.close()
        await super().close()

    async def _connected(self) -> Any:
        if self._raw is None or self._raw.closed:
            connect = driver("psycopg", "postgresql").AsyncConnection.connect
            try:
                self._raw = await connect(
                    **self._connection.parameters(),
                    password=self._connection.password,
                    autocommit=True,
                    prepare_threshold=None,
                )
            except Exception as error:  # noqa: BLE001 - the driver's own, which may hold a password
                failed = await asyncio.to_thread(self._connection._refused, error)
            else:
                self._limits = None
                cursor = await self._raw.execute("SELECT pg_backend_pid()")
                self._pooled = is_pooled(self._raw, (await cursor.fetchone())[0])
                return self._raw
            raise failed
        return self._raw

    async def _rows(self, ask: Ask) -> list[dict[str, Any]]:
        """The rows of one statement, within the limits of the engine."""
        engine = self.engine
        async with self._turn:
            raw = await self._connected()
            timeout = engine.timeout_seconds + _session.GRACE_SECONDS
            try:
                # The session is the engine's alone, so what is set once stays.
                bounded = asyncio.wait_for(self._run(raw, ask), timeout)
                return await engine._report.observe_async("SELECT", engine._namespace(), bounded)
            except asyncio.TimeoutError:
                with suppress(Exception):
                    await raw.close()
                failed: Exception = DatabaseConnectionError(
                    f"the server was silent for {timeout:g} s, so the connection was closed"
                )
            except Exception as error:  # noqa: BLE001 - the driver's own, which may hold a password
                failed = engine._translate(error)
        raise failed

    async def _run(self, raw: Any, ask: Ask) -> list[dict[str, Any]]:
        limits = _session.limits(self.engine.timeout_seconds, self.engine.lock_timeout_seconds)
        if self._pooled:
            async with raw.transaction():
                await raw.execute(f"SET TRANSACTION READ ONLY; {_session.set_local(limits)}")
                cursor = await raw.execute(ask.statement, ask.params)
                return dicts(await cursor.fetchall(), ask.columns)
        if self._limits != limits:
            await raw.execute(_session.READ_ONLY, (*map(str, limits), "on"))
            self._limits = limits
        cursor = await raw.execute(ask.statement, ask.params)
        return dicts(await cursor.fetchall(), ask.columns)

    async def _ask(self, question: Question[T]) -> T:
        """What the server says to a question."""
        try:
            ask = next(question)
            while True:
                ask = question.send(await self._rows(ask))
        except StopIteration as end:
            answer: T = end.value
            return answer

    # ------------------------------------------------------------------ what is native
    @property
    def metadata(self) -> Awaitable[EngineMetadata]:
        """What is known of the server: ``await engine.metadata``."""
        info = self.engine._info()
        return self._ask(_server.metadata(self.name, info.get("host"), info.get("port")))

    async def get_version(self) -> str:
        """The version of the server."""
        return await self._ask(_server.version())

    async def get_server_time(self) -> datetime:
        """The server's clock."""
        return await self._ask(_server.server_time())

    async def list_databases(self, *, templates: bool = False, **options: Any) -> list[AsyncDatabase]:
        """All databases by name; templates only if asked for."""
        only(options, "list_databases", "templates")
        names = await self._ask(_server.databases(templates=templates))
        return [self.get_database(name) for name in names]

    async def list_users(self, **options: Any) -> list[str]:
        """Roles that may log in, by name."""
        only(options, "list_users")
        return await self._ask(_users.users())

    async def list_processes(self, *, background: bool = False, **options: Any) -> list[dict[str, Any]]:
        """Sessions, the longest statement first.

        Args:
            background: The server's own processes as well.
            options: Nothing; refused.
        """
        only(options, "list_processes", "background")
        return await self._ask(_sessions.sessions(self.engine._secrets.redact, background=background))

    async def get_configuration(self) -> dict[str, Any]:
        """All settings by name."""
        return await self._ask(_settings.values(self.engine._secrets.redact))

    async def get_setting(self, name: str) -> dict[str, Any]:
        """One setting with all that the server tells of it."""
        row = await self._ask(_settings.find(name, self.name))
        return _settings.told(row, self.engine._secrets.redact)

    async def get_replication_status(self) -> ReplicationDetails:
        """How far the copies are, seen from this server."""
        return await self._ask(_replication.status(self.name))

    # ------------------------------------------------------------------ in threads: backups of the server
    async def backup(
        self, path: str | os.PathLike[str], backup_type: BackupType = BackupType.FULL, **options: Any
    ) -> OperationResult:
        """Copy the whole server to a folder of this machine."""
        return await self._cancellable(self.engine.backup, path, backup_type, **options)

    async def restore(
        self, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **options: Any
    ) -> OperationResult:
        """Make a data directory of such copies, on this machine."""
        return await self._cancellable(self.engine.restore, path, **options)
