"""Engines for asyncio: the same names, awaited.

`AsyncDatabaseEngine` runs any engine in threads of its own, a few at a time, so that the event loop never waits. An
engine whose driver is native inherits from it and replaces methods. What an engine has beyond the contract, be it a
method or an option, its twin has too.

A call that is cancelled is no longer waited for, and gives its thread back: what it was doing on the server is ended
where the driver can, else by its ``timeout_seconds``; a backup or a restore is told by ``cancelled=``. See ``_calls``.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from gds_database._calls import Call, entered
from gds_database.errors import ConfigurationError
from gds_database.metadata import BackupType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from gds_database.base import OperationResult
    from gds_database.capabilities import Capabilities
    from gds_database.database import Database
    from gds_database.engine import DatabaseEngine
    from gds_database.metadata import DatabaseMetadata, EngineMetadata, LogEntry, Metric, ReplicationStatus

__all__ = ["AsyncDatabase", "AsyncDatabaseEngine"]

T = TypeVar("T")

THREADS = 4


class AsyncDatabaseEngine:
    """An engine for asyncio.

    A public method that the engine has beyond `DatabaseEngine` is here under its name as well, with its parameters, and
    is awaited: ``await twin.backup(folder)`` over a `PostgreSQLEngine`. It runs in a thread, and what it returns is as
    the engine has it. Attributes are at ``twin.engine``.

    Args:
        engine: Any engine.
        threads: How many calls run at a time; further ones wait for their turn.
    """

    def __init__(self, engine: DatabaseEngine, *, threads: int = THREADS) -> None:
        if threads < 1:
            raise ConfigurationError(f"threads={threads!r}: expected 1 or more")
        self.engine = engine
        # Threads begin with the first call.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="gds-database")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.engine!r})"

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return _beyond(self, "engine", name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_methods(self.engine)})

    async def _call(self, method: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run a method of the engine in a thread, with the context of the caller."""
        context, call = contextvars.copy_context(), Call()
        context.run(entered, call)
        run = functools.partial(context.run, method, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        except asyncio.CancelledError:
            call.abandon()
            raise

    async def _cancellable(self, method: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """As `_call`; a method that takes ``cancelled`` is told when nobody waits any more."""
        if "cancelled" in kwargs or not _takes_cancelled(method):
            return await self._call(method, *args, **kwargs)
        cancelled = threading.Event()
        try:
            return await self._call(method, *args, **kwargs, cancelled=cancelled)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    # ------------------------------------------------------------------ open and close
    @classmethod
    async def opened(cls, engine: Any, *, threads: int = THREADS) -> Self:
        """One that is connected."""
        twin = cls(engine, threads=threads)
        try:
            await twin.connect()
        except BaseException:
            await twin.close()
            raise
        return twin

    async def connect(self) -> Any:
        """Open the connection if it is not open."""
        return await self._call(self.engine.connect)

    async def close(self) -> None:
        """Close what this has opened; calls that are under way come to their end first."""
        try:
            await self._call(self.engine.close)
        finally:
            self._threads.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ------------------------------------------------------------------ the engine
    @property
    def name(self) -> str:
        """Where it is."""
        return self.engine.name

    @property
    def metadata(self) -> Awaitable[EngineMetadata]:
        """What is known of the server: ``await engine.metadata``."""
        return self._call(lambda: self.engine.metadata)

    async def capabilities(self) -> Capabilities:
        """What the engine can do."""
        return await self._call(self.engine.capabilities)

    async def build(self, **kwargs: Any) -> OperationResult:
        """Make the server."""
        return await self._call(self.engine.build, **kwargs)

    async def destroy(self, force: bool = False, **kwargs: Any) -> OperationResult:
        """Remove the server with all that it holds."""
        return await self._call(self.engine.destroy, force, **kwargs)

    async def get_version(self) -> str:
        """The version of the server."""
        return await self._call(self.engine.get_version)

    async def get_server_time(self) -> datetime:
        """The server's clock."""
        return await self._call(self.engine.get_server_time)

    async def list_databases(self, **options: Any) -> list[AsyncDatabase]:
        """All databases that the login may see.

        Args:
            options: Those of the platform, such as PostgreSQL's ``templates``.
        """
        return [AsyncDatabase(self, each) for each in await self._call(self.engine.list_databases, **options)]

    def get_database(self, name: str) -> AsyncDatabase:
        """The database of a name, whether it exists or not; nothing to wait for."""
        return AsyncDatabase(self, self.engine.get_database(name))

    async def create_database(self, name: str, **options: Any) -> AsyncDatabase:
        """Create a database."""
        return AsyncDatabase(self, await self._call(self.engine.create_database, name, **options))

    async def startup(self, **kwargs: Any) -> OperationResult:
        """Start the server."""
        return await self._call(self.engine.startup, **kwargs)

    async def shutdown(self, force: bool = False, **kwargs: Any) -> OperationResult:
        """Stop the server."""
        return await self._call(self.engine.shutdown, force, **kwargs)

    async def read(
        self,
        statement: Any,
        params: Sequence[Any] = (),
        *,
        columns: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of one statement that reads, within a time."""
        return await self._call(self.engine.read, statement, params, columns=columns, timeout_seconds=timeout_seconds)

    async def list_users(self, **options: Any) -> list[str]:
        """The names of all users.

        Args:
            options: Those of the platform, such as MongoDB's ``database``.
        """
        return await self._call(self.engine.list_users, **options)

    async def create_user(self, name: str, password: str, **kwargs: Any) -> OperationResult:
        """Create a user."""
        return await self._call(self.engine.create_user, name, password, **kwargs)

    async def drop_user(self, name: str, **kwargs: Any) -> OperationResult:
        """Drop a user."""
        return await self._call(self.engine.drop_user, name, **kwargs)

    async def list_processes(self, **options: Any) -> list[dict[str, Any]]:
        """The sessions of the server.

        Args:
            options: Those of the platform, such as PostgreSQL's ``background``.
        """
        return await self._call(self.engine.list_processes, **options)

    async def kill_process(self, process_id: str, **kwargs: Any) -> OperationResult:
        """End a session."""
        return await self._call(self.engine.kill_process, process_id, **kwargs)

    async def get_configuration(self) -> dict[str, Any]:
        """The settings of the server."""
        return await self._call(self.engine.get_configuration)

    async def get_setting(self, name: str) -> dict[str, Any]:
        """One setting with its unit and source, on engines that tell."""
        return await self._call(self.engine.get_setting, name)

    async def set_configuration(self, key: str, value: Any, **kwargs: Any) -> OperationResult:
        """Change a setting."""
        return await self._call(self.engine.set_configuration, key, value, **kwargs)

    async def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """The metrics of a time range."""
        return await self._call(self.engine.get_metrics, start_time, end_time)

    async def get_logs(self, start_time: datetime, end_time: datetime, **kwargs: Any) -> list[LogEntry]:
        """The log of a time range."""
        return await self._call(self.engine.get_logs, start_time, end_time, **kwargs)

    async def get_replication_status(self) -> ReplicationStatus:
        """How far the copies of the server are."""
        return await self._call(self.engine.get_replication_status)

    async def failover(self, target_node: str | None = None, **kwargs: Any) -> OperationResult:
        """Let another node take over."""
        return await self._call(self.engine.failover, target_node, **kwargs)


class AsyncDatabase:
    """A database of an `AsyncDatabaseEngine`; what it has beyond `Database` is here as well, as with the engine.

    Args:
        engine: The server it is on.
        database: The database as the engine below has it.
    """

    def __init__(self, engine: AsyncDatabaseEngine, database: Database) -> None:
        self.engine = engine
        self.database = database

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.database!r})"

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return _beyond(self, "database", name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_methods(self.database)})

    @property
    def name(self) -> str:
        """Its name."""
        return self.database.name

    @property
    def metadata(self) -> Awaitable[DatabaseMetadata]:
        """What is known of it: ``await database.metadata``."""
        return self.engine._call(lambda: self.database.metadata)

    async def refresh_metadata(self) -> DatabaseMetadata:
        """Read it anew, on engines that keep it."""
        return await self.engine._call(self.database.refresh_metadata)

    async def exists(self) -> bool:
        """Whether the server has it."""
        return await self.engine._call(self.database.exists)

    async def create(self, **options: Any) -> OperationResult:
        """Create it."""
        return await self.engine._call(self.database.create, **options)

    async def drop(self, force: bool = False, **kwargs: Any) -> OperationResult:
        """Drop it."""
        return await self.engine._call(self.database.drop, force, **kwargs)

    async def backup(self, path: str, backup_type: BackupType = BackupType.FULL, **options: Any) -> OperationResult:
        """Write a backup."""
        return await self.engine._cancellable(self.database.backup, path, backup_type, **options)

    async def restore(self, path: str, **options: Any) -> OperationResult:
        """Read a backup."""
        return await self.engine._cancellable(self.database.restore, path, **options)


def _methods(plain: object) -> set[str]:
    """The public methods of an engine or database; those that make one, and properties, are not among them."""
    return {name for name in dir(plain) if _method(plain, name)}


def _method(plain: object, name: str) -> bool:
    # Nothing is evaluated: a property may ask the server.
    found = inspect.getattr_static(plain, name, None)
    return not name.startswith("_") and isinstance(found, FunctionType | MethodType)


def _beyond(twin: AsyncDatabaseEngine | AsyncDatabase, below: str, name: str) -> Callable[..., Awaitable[Any]]:
    """A method that only what is below the twin has, awaited.

    Raises:
        AttributeError: There is none of that name.
    """
    plain = vars(twin).get(below)  # not there yet while the twin is made or copied
    if plain is None or not _method(plain, name):
        what = f"{type(twin).__name__!r} object has no attribute {name!r}"
        if plain is not None and not name.startswith("_"):
            kind = type(plain).__name__
            there = inspect.getattr_static(plain, name, plain) is not plain
            what += f"; it is one of {kind}: .{below}.{name}" if there else f", nor has {kind} such a method"
        raise AttributeError(what, name=name, obj=twin)
    method = getattr(plain, name)
    engine = twin if isinstance(twin, AsyncDatabaseEngine) else twin.engine

    @functools.wraps(method)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await engine._cancellable(method, *args, **kwargs)

    return awaited


def _takes_cancelled(method: Callable[..., Any]) -> bool:
    return "cancelled" in inspect.signature(method).parameters
