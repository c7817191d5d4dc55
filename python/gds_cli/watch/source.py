"""Who reads a server: one for each platform that tells more than all do, and one for every engine.

A source has one connection, which only reads, and asks one thing after the other. What one part of a reading fails at
stands in `Picture.missing`; only a server that is away ends the reading.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from gds_cli.watch.picture import Measure, Picture, Replica, Session, Space, Wait
from gds_database import ConfigurationError, DatabaseConnectionError, QueryError, open_engine
from gds_database.config import EngineConfig
from gds_native._lib import LogEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gds_database.engine import DatabaseEngine
    from gds_database.metadata import Metric

__all__ = ["EngineSource", "WatchSource", "open_source"]

TIMEOUT_SECONDS = 2.0
"""How long one question may take on the server."""

LOCK_TIMEOUT_SECONDS = 0.1
CONNECT_TIMEOUT_SECONDS = 3
SLOW_SECONDS = 30.0
"""How often is asked for what costs more and changes slowly."""

REMEMBERED = 60
"""Readings that the share of a wait is about."""

IDLE_WAITS = ("Activity:", "Client:ClientRead")
"""What sessions wait for that have nothing to do."""


class WatchSource(Protocol):
    """What a view is told by. Its methods are called by one thread."""

    name: str
    """Where it reads, without a password."""

    interval_seconds: float
    """How often to read unless somebody says otherwise."""

    def read(self) -> Picture:
        """All there is to show, now.

        Raises:
            DatabaseConnectionError: The server is away.
        """
        ...

    def end(self, session: Session, *, cancel: bool) -> str:
        """End a session, or only its statement; what was done, in a sentence.

        Raises:
            QueryError: It was not.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; the next reading opens it again."""
        ...


def open_source(address: str, password: str | None = None) -> WatchSource:
    """The source for an address. Nothing is connected yet.

    Raises:
        ConfigurationError: It is no address, or there is no such engine.
        MissingExtraError: A driver is not installed.
    """
    config = EngineConfig.parse(address)
    settings: dict[str, Any] = {"connect": False, "timeout_seconds": TIMEOUT_SECONDS}
    if password is not None:
        settings["password"] = password
    if config.engine == "postgresql":
        from gds_cli.watch.postgresql import PostgreSQLSource

        options = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "gds watch", **config.options}
        given = EngineConfig(**{**vars(config), "options": options})
        return PostgreSQLSource(
            open_engine(given, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS, **settings)  # type: ignore[arg-type]
        )
    if config.engine == "mssql":
        from gds_cli.watch.sqlserver import SQLServerSource

        limit = {} if "login_timeout" in config.options else {"login_timeout_seconds": CONNECT_TIMEOUT_SECONDS}
        options = {**limit, "application_name": "gds watch", **config.options}
        given = EngineConfig(**{**vars(config), "options": options})
        return SQLServerSource(
            open_engine(given, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS, **settings)  # type: ignore[arg-type]
        )
    if config.engine == "mongodb":
        from gds_cli.watch.mongodb import MongoDBSource

        given = EngineConfig(**{**vars(config), "options": {"appName": "gds watch", **config.options}})
        return MongoDBSource(open_engine(given, **settings))  # type: ignore[arg-type]
    source = EngineSource(open_engine(config, **settings), config.engine)
    # Each question starts a warehouse there, or keeps it awake.
    source.interval_seconds = 30.0 if config.engine == "snowflake" else 1.0
    return source


class EngineSource:
    """What every engine of gds_database tells.

    Args:
        engine: Not connected yet.
        system: The platform.
    """

    interval_seconds = 1.0
    tells = frozenset({"activity", "blocking", "waits", "replication", "space", "metrics"})

    def __init__(self, engine: DatabaseEngine, system: str) -> None:
        self.engine = engine
        self.system = system
        self.name = engine.name
        self.redact = LogEncoder().redact
        self._start()

    def _start(self) -> None:
        """Forget what readings are compared with: another server may answer from now on."""
        self._readings = 0
        self._version = ""
        self._waited: deque[Counter[str]] = deque(maxlen=REMEMBERED)
        self._slow: dict[str, tuple[float, Any]] = {}
        self._missing: dict[str, str] = {}
        self._sizes: dict[str, tuple[float, float]] = {}

    # ------------------------------------------------------------------ read
    def read(self) -> Picture:
        """All there is to show, now."""
        self._connected()
        self._readings += 1
        self._missing = {}
        return self._picture()

    def _connected(self) -> None:
        if not self.engine.connection.is_connected():
            self.engine.close()
            self.engine.connect()
            self._start()
        if not self._version:
            self._version = self.engine.get_version()

    def _picture(self) -> Picture:
        sessions: tuple[Session, ...] = ()
        with self.part("activity"):
            sessions = self.sessions()
        role, replicas = self.replication()
        return Picture(
            at=time.time(),
            system=self.system,
            name=self.engine.name,
            version=self._version,
            role=role,
            readings=self._readings,
            sessions=sessions,
            waits=self.waits(sessions),
            replicas=replicas,
            space=self.slowly("space", self._databases, ()),
            measures=self._measures(),
            missing=self._missing,
            tells=self.tells,
        )

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the reading: what is refused there leaves it out and says why."""
        try:
            yield
        except DatabaseConnectionError:
            raise
        except (QueryError, ConfigurationError) as error:
            self._missing[name] = " ".join(str(error).split())

    def slowly(self, name: str, ask: Any, nothing: Any, seconds: float = SLOW_SECONDS) -> Any:
        """What is asked for now and then; between, the last answer or the last refusal."""
        known = self._slow.get(name)
        now = time.monotonic()
        if known is None or now >= known[0] + seconds:
            answer = nothing
            with self.part(name):
                answer = ask()
            known = (now, (answer, self._missing.get(name)))
            self._slow[name] = known
        answer, refused = known[1]
        if refused is not None:
            self._missing[name] = refused
        return answer

    def sessions(self) -> tuple[Session, ...]:
        """Those that the engine tells of."""
        return tuple(self.session(row) for row in self.engine.list_processes())

    def session(self, row: Mapping[str, Any]) -> Session:
        """One of ``list_processes()``."""
        now = datetime.now(timezone.utc)
        connected = _aware(row.get("connected_at"))
        idle = _aware(row.get("idle_since"))
        return Session(
            id=str(row.get("id", row.get("pid", ""))),
            user=str(row.get("user") or ""),
            database=str(row.get("database") or ""),
            state=str(row.get("state") or ""),
            statement=self.redact(str(row.get("statement") or "")),
            seconds=_seconds(row.get("seconds")),
            transaction_seconds=_seconds(row.get("transaction_seconds")),
            connected_seconds=(now - connected).total_seconds() if connected else None,
            idle_seconds=(now - idle).total_seconds() if idle else None,
            connected_at=connected,
            wait=str(row["wait"]) if row.get("wait") else None,
            blocked_by=tuple(map(str, row.get("blocked_by") or ())),
            client=str(row.get("client") or ""),
            application=str(row.get("application") or ""),
            kind=str(row.get("backend_type") or row.get("command") or ""),
            background=row.get("backend_type", "client backend") != "client backend",
            own=bool(row.get("own")),
        )

    def waits(self, sessions: Sequence[Session]) -> tuple[Wait, ...]:
        """What they wait for, now and over the last readings."""
        now = Counter(each.wait for each in sessions if each.wait and not each.own and _is_busy(each.wait))
        self._waited.append(now)
        over = sum(self._waited, Counter[str]())
        found = [Wait(event, now[event], number / len(self._waited)) for event, number in over.items()]
        return tuple(sorted(found, key=lambda each: (-each.share, each.event)))

    def replication(self) -> tuple[str, tuple[Replica, ...]]:
        """The role of the server, and the other nodes."""
        role = ""
        nodes: Sequence[Mapping[str, Any]] = ()
        with self.part("replication"):
            status = self.engine.get_replication_status()
            role = status.role
            nodes = getattr(status, "nodes", None) or [{"name": name} for name in status.partners]
        return role, tuple(
            Replica(
                name=str(node.get("name") or ""),
                role=str(node.get("role") or ""),
                state=str(node.get("state") or ""),
                sync_state=str(node.get("sync_state") or ""),
                lag_seconds=_seconds(node.get("lag_seconds")),
                lag_bytes=_seconds(node.get("lag_bytes")),
                client=str(node.get("client") or ""),
            )
            for node in nodes
        )

    def _databases(self) -> tuple[Space, ...]:
        found = []
        for database in self.engine.list_databases():
            size = None
            with self.part("space"):
                size = _seconds(database.metadata.size_bytes)
            found.append(Space("database", database.name, size, self.growth(f"database {database.name}", size)))
        return tuple(sorted(found, key=lambda each: (-(each.size_bytes or 0), each.name)))

    def growth(self, name: str, size: float | None) -> float | None:
        """How fast it grew since it was asked for before, in bytes a second; what shrinks does so in negative ones."""
        if size is None:
            return None
        now, before = time.monotonic(), self._sizes.get(name)
        self._sizes[name] = (now, size)
        return (size - before[1]) / (now - before[0]) if before and now > before[0] else None

    def _measures(self) -> tuple[Measure, ...]:
        now = datetime.now(timezone.utc)
        found: list[Metric] = []
        with self.part("metrics"):
            found = self.engine.get_metrics(now - timedelta(minutes=1), now + timedelta(seconds=1))
        latest = {(each.name, tuple(sorted(each.labels.items()))): each for each in found}
        return tuple(
            Measure(
                each.name,
                {label: text for label, text in each.labels.items() if label != "instance_id"},
                each.value,
                each.unit,
            )
            for _, each in sorted(latest.items(), key=lambda pair: pair[0])
        )

    # ------------------------------------------------------------------ change
    def end(self, session: Session, *, cancel: bool) -> str:
        """End a session, or only its statement."""
        if cancel:
            raise QueryError(f"{self.system} has no way to end a statement alone; K ends the session")
        return self._ended(self.engine.kill_process(session.id))

    def still(self, session: Session) -> Session:
        """The session as it is now, and not another one that has got its number since.

        Raises:
            QueryError: It has ended.
        """
        now = next((each for each in self.sessions() if each.id == session.id), None)
        if now is None or now.connected_at != session.connected_at:
            raise QueryError(f"session {session.id} has ended meanwhile; nothing was done")
        return now

    def _ended(self, result: Any) -> str:
        if result.is_failure():
            raise QueryError(result.error or result.message)
        return str(result.message)

    def close(self) -> None:
        """Let go of the connection."""
        self.engine.close()


def _is_busy(wait: str) -> bool:
    return not wait.startswith(IDLE_WAITS)


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _aware(value: Any) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
