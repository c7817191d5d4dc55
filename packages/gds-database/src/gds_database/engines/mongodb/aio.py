"""MongoDB for asyncio, over pymongo's own asynchronous client.

What is asked of the server is awaited natively. What changes it, and backups, run as in the synchronous engine, in the
threads of `AsyncDatabaseEngine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gds_database.aio import AsyncDatabase, AsyncDatabaseEngine
from gds_database.engines._base import OURS, aware, driver, only
from gds_database.engines.mongodb import _questions as questions
from gds_database.engines.mongodb._commands import Command, Question
from gds_database.engines.mongodb._replication import with_skew
from gds_database.engines.mongodb.connection import MongoDBConnection
from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from datetime import datetime

    from gds_database.engines.mongodb.engine import MongoDBEngine
    from gds_database.metadata import EngineMetadata, LogEntry, Metric, ReplicationStatus

__all__ = ["AsyncMongoDBEngine"]

T = TypeVar("T")


class AsyncMongoDBEngine(AsyncDatabaseEngine):
    """A `MongoDBEngine`, awaited.

    Args:
        engine: It; its connection is one of ours, which says how to connect.
        threads: How many of the calls that are not native run at a time.
    """

    engine: MongoDBEngine

    def __init__(self, engine: MongoDBEngine, *, threads: int = 4) -> None:
        super().__init__(engine, threads=threads)
        connection = engine.connection
        if not isinstance(connection, MongoDBConnection):
            raise ConfigurationError(
                f"engine: expected one over a MongoDBConnection of gds_database, got "
                f"{type(connection).__name__}; AsyncDatabaseEngine takes any"
            )
        self._arguments = connection.arguments
        self._client: Any = None

    async def connect(self) -> Any:
        """Open the client if it is not open."""
        if self._client is None:
            self._client = driver("pymongo", "mongodb").AsyncMongoClient(**self._arguments())
            await self._command(Command("ping"))
        return self._client

    async def close(self) -> None:
        """Close what this has opened."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await super().close()

    async def _command(self, command: Command) -> Mapping[str, Any]:
        """The reply to one command."""
        if self._client is None:
            await self.connect()
        try:
            # The time ends the command on the server as well, by maxTimeMS.
            with driver("pymongo", "mongodb").timeout(self.engine.timeout_seconds):
                reply = self._client[command.database].command(command.document)
                return await self.engine._report.observe_async(command.name, self.engine._namespace(), reply)
        except Exception as error:  # noqa: BLE001 - the driver's own, which may hold a password
            failed = self.engine._translate(error)
        raise failed

    async def _ask(self, question: Question[T]) -> T:
        """What the replies to a question mean."""
        try:
            command = next(question)
            while True:
                try:
                    reply = await self._command(command)
                except OURS as error:  # noqa: PERF203 - the question decides whether it can do without
                    command = question.throw(error)
                else:
                    command = question.send(reply)
        except StopIteration as end:
            found: T = end.value
            return found

    @property
    def metadata(self) -> Awaitable[EngineMetadata]:
        """What is known of the server: ``await engine.metadata``."""
        info = self.engine._info()
        return self._ask(questions.metadata(self.name, info.get("host"), info.get("port")))

    async def get_version(self) -> str:
        """The version of the server."""
        return await self._ask(questions.version())

    async def get_server_time(self) -> datetime:
        """The server's clock."""
        return await self._ask(questions.server_time())

    async def list_databases(self, **options: Any) -> list[AsyncDatabase]:
        """All databases that the login may see."""
        only(options, "list_databases")
        return [self.get_database(name) for name in await self._ask(questions.database_names())]

    async def list_users(self, *, database: str | None = "admin", **options: Any) -> list[str]:
        """The users that a database knows.

        Args:
            database: Which; None is all of them, and names are ``database.user`` then.
            options: Nothing; refused.
        """
        only(options, "list_users", "database")
        return await self._ask(questions.users(database))

    async def get_configuration(self) -> dict[str, Any]:
        """All parameters of the server."""
        return await self._ask(questions.configuration())

    async def get_setting(self, name: str) -> dict[str, Any]:
        """One parameter with what the server tells of it."""
        return await self._ask(questions.setting(name, self.name))

    async def list_processes(self, **options: Any) -> list[dict[str, Any]]:
        """Operations and idle connections."""
        only(options, "list_processes")
        return self.engine._redacted(await self._ask(questions.processes()))

    async def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """The figures of this moment; none if it is not in the range."""
        start, end = aware(start_time, end_time)
        return await self._ask(questions.all_metrics(self.name)) if questions.is_now(start, end) else []

    async def get_logs(
        self, start_time: datetime, end_time: datetime, *, level: str | None = None, **kwargs: Any
    ) -> list[LogEntry]:
        """What the server still has in memory of its log."""
        only(kwargs, "get_logs", "level")
        start, end = aware(start_time, end_time)
        return self.engine._without_secrets(await self._ask(questions.logs(start, end, level)))

    async def get_replication_status(self) -> ReplicationStatus:
        """How far the members are."""
        return await self._ask(with_skew())
