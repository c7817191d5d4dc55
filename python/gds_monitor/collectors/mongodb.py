"""`MongoDBCollector`: one MongoDB, a mongod or a mongos, measured by packs over one connection.

A target is one server: of a replica set each member is a target of its own, and none is looked for. Beside the
connection that asks, the driver has one that only looks whether the server is alive, which needs no login.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gds_database.engines.mongodb.connection import PORT, MongoDBConnection
from gds_database.errors import ConfigurationError
from gds_monitor.collectors._link import APPLICATION, CONNECT_SECONDS, Link, needs
from gds_monitor.collectors._packs import PackCollector
from gds_monitor.collectors._replay import replayed
from gds_monitor.errors import CollectionError
from gds_monitor.packs.facts import mongodb_facts
from gds_monitor.packs.load import shipped_pack
from gds_monitor.secrets import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_database.config import EngineConfig
    from gds_monitor.packs.model import Pack
    from gds_monitor.packs.plan import ServerFacts
    from gds_monitor.secrets import SharedVault

__all__ = ["MongoDBCollector", "MongoDBSession"]

PROBE_SECONDS = 5.0
GRACE_SECONDS = 1.0
"""How much longer than the server allows a command its answer may take, and how long closing may take."""

_BY_CODE = {
    11: "authentication",  # UserNotFound
    13: "privilege",
    18: "authentication",
    24: "lock_timeout",
    26: "missing_object",  # NamespaceNotFound
    46: "lock_timeout",  # LockBusy
    50: "statement_timeout",
    59: "missing_object",  # CommandNotFound
    91: "connection",  # ShutdownInProgress
    262: "statement_timeout",
    8000: "authentication",  # of Atlas
    11600: "connection",  # InterruptedAtShutdown
}


class MongoDBSession(Link):
    """A client with one connection, which is opened when it is needed, kept, and replaced when it is lost.

    Args:
        credentials: Where the server is, and who asks.
        application_name: What the server shows of us.
    """

    def __init__(self, credentials: Credentials, *, application_name: str = APPLICATION) -> None:
        config = credentials.config
        self._arguments = MongoDBConnection.of(replace(config, user=None, password=None)).arguments()
        limit = self._arguments["connectTimeoutMS"] / 1000 if "connectTimeoutMS" in config.options else CONNECT_SECONDS
        super().__init__(credentials, application_name=application_name, connect_seconds=limit)
        self._one = len(config.hosts) <= 1 and config.scheme != "mongodb+srv"
        self._asked: asyncio.Future[Any] | None = None

    async def run(self, command: Mapping[str, Any], *, database: str, timeout_seconds: float) -> Mapping[str, Any]:
        """The answer to a command that reads.

        Args:
            command: It, with its name first.
            database: Where.
            timeout_seconds: After which the server ends it.

        Raises:
            CollectionError: There is none, and why.
        """
        async with self._turn:
            client = self._raw or await self._connect()
            limited = {**command, "maxTimeMS": max(1, int(timeout_seconds * 1000))}
            self._asked = _seen(client[database].command(limited))
            try:
                return await self._answer(self._asked, timeout_seconds + GRACE_SECONDS)
            except CollectionError as failed:
                if failed.reason in {"aborted", "authentication", "connection"} or not self._asked.done():
                    await self._drop()
                raise
            except asyncio.CancelledError:
                # The server ends the command by itself.
                self._asked.cancel()
                await self._drop()
                raise

    async def _answer(self, asked: asyncio.Future[Any], seconds: float) -> Mapping[str, Any]:
        """Await it, but not for longer."""
        await asyncio.wait({asked}, timeout=seconds)
        if not asked.done():
            asked.cancel()
            raise CollectionError("statement_timeout", f"no answer for {seconds:g} s")
        try:
            answer: Mapping[str, Any] = asked.result()
        except asyncio.CancelledError:
            failed = CollectionError("aborted")
        except Exception as error:  # noqa: BLE001 - the driver's own; translated, for it may hold a secret
            failed = self._failed(error)
        else:
            return answer
        raise failed

    async def _opened(self, place: str, current: tuple[str | None, str | None]) -> Any:  # noqa: ARG002 - it has no place
        import pymongo

        user, password = current
        config = replace(self.credentials.config, user=user, password=password)
        seconds = self.opening_seconds
        first_failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        settings = {
            **MongoDBConnection.of(config).arguments(),
            "appname": self.application_name,
            "maxPoolSize": 1,
            "maxConnecting": 1,
            "retryReads": False,
            "retryWrites": False,
            # One more connection to measure round trips is of no use here.
            "serverMonitoringMode": "poll",
            "serverSelectionTimeoutMS": int(seconds * 1000),
            "connectTimeoutMS": int(seconds * 1000),
        }
        if self._one:
            settings.setdefault("directConnection", "replicaSet" not in settings and not settings.get("loadBalanced"))
        if settings.get("directConnection"):
            settings["event_listeners"] = [_listener(first_failure)]
        client = None
        try:
            client = pymongo.AsyncMongoClient(**settings)
            await _first(client.admin.command("ping"), first_failure, seconds + GRACE_SECONDS)
        except Exception as error:  # noqa: BLE001 - as above
            failed = self._failed(error)
        except asyncio.CancelledError:
            await self._closed(client)
            raise
        else:
            return client
        await self._closed(client)
        raise failed

    def _failed(self, error: Exception) -> CollectionError:
        import pymongo.errors as known

        if isinstance(error, CollectionError):
            return error
        details = getattr(error, "details", None) or {}
        text = " ".join(str(details.get("errmsg") or error).split()).partition(", Timeout:")[0]
        said = self.credentials.redact(text.partition(" (configured timeouts")[0]) or type(error).__name__
        if isinstance(error, known.OperationFailure):
            return CollectionError(_BY_CODE.get(error.code or 0, "error"), said)
        if isinstance(error, (known.ConfigurationError, ConfigurationError)):
            return CollectionError("error", said)
        return CollectionError("connection" if isinstance(error, (known.PyMongoError, OSError)) else "error", said)

    async def _closed(self, raw: Any) -> None:
        if raw is None:
            return
        try:
            # It tells the server, which may not listen; the second time there is nothing left to tell.
            await asyncio.wait_for(raw.close(), GRACE_SECONDS)
        except Exception:  # noqa: BLE001 - as above
            with suppress(Exception):
                await asyncio.wait_for(raw.close(), GRACE_SECONDS)

    def abort(self) -> None:
        """Wake whoever waits for an answer; he closes the connection."""
        if self._asked is not None:
            self._asked.cancel()


def _listener(first_failure: asyncio.Future[Exception]) -> Any:
    """Tells at once that a server cannot be reached; the driver itself tries on until its time is over."""
    from pymongo.monitoring import ServerHeartbeatListener

    loop = asyncio.get_running_loop()

    class Listener(ServerHeartbeatListener):
        def started(self, event: Any) -> None: ...

        def succeeded(self, event: Any) -> None: ...

        def failed(self, event: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(set_failure, event.reply)

    def set_failure(error: Exception) -> None:
        if not first_failure.done():
            first_failure.set_result(error)

    return Listener()


def _seen(work: Any) -> asyncio.Future[Any]:
    """A task of which nobody has to ask whether it failed."""
    task: asyncio.Future[Any] = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def _first(work: Any, first_failure: asyncio.Future[Exception], seconds: float) -> None:
    """Await the work, but not for longer, and not after the first failure.

    Raises:
        Exception: What failed.
    """
    task = _seen(work)
    try:
        await asyncio.wait({task, first_failure}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        elif first_failure.done():
            raise first_failure.result()
        else:
            raise CollectionError("connection", f"no answer for {seconds:g} s")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE_SECONDS)


class MongoDBCollector(PackCollector):
    """Measures one MongoDB.

    Args:
        config: An address, a dict as `gds_database.EngineConfig` takes it, or one of these; user and password may be
            ``vault://path#field``.
        instance_id: None is ``host:port``.
        packs: What is measured; None is what comes with the package.
        vault: A client of Vault that targets share.
        application_name: What the server shows of us.
        more: As `PackCollector` takes it: ``tags``, ``disabled``, ``databases``, ``excluded``.

    Raises:
        ConfigurationError: The config is none.
        MissingExtraError: The driver is not installed.
    """

    def __init__(
        self,
        config: str | Mapping[str, Any] | EngineConfig,
        *,
        instance_id: str | None = None,
        packs: Sequence[Pack] | None = None,
        vault: SharedVault | None = None,
        application_name: str = APPLICATION,
        **more: Any,
    ) -> None:
        needs("pymongo", "mongodb")
        self._credentials = Credentials(config, vault)
        where = self._credentials.config
        super().__init__(
            instance_id or f"{where.host or 'localhost'}:{where.port or PORT}",
            "mongodb",
            [shipped_pack("mongodb")] if packs is None else packs,
            **more,
        )
        self.session = MongoDBSession(self._credentials, application_name=application_name)
        self._known: ServerFacts | None = None

    async def _begin(self) -> ServerFacts:
        self.session.begin_cycle(self.budget_seconds)
        await self.session.renew()
        self._known = await replayed(
            lambda run: mongodb_facts(run, known=self._known),
            lambda command: self._ask(command, "admin", self.session.allowed(PROBE_SECONDS)),
        )
        return self._known

    async def _ask(self, statement: Any, database: str, seconds: float) -> Sequence[Mapping[str, Any]]:
        return [await self.session.run(statement, database=database or "admin", timeout_seconds=seconds)]

    def abort(self) -> None:
        """Cut the connection."""
        self.session.abort()

    async def close(self) -> None:
        """Close the connection."""
        await self.session.close()
        self._credentials.close()
