"""An engine whose server is a Python object: for tests of programs that take an engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_database.base import DatabaseConnection, DatabaseConnectionError, OperationResult, QueryError
from gds_database.capabilities import OPERATIONS, Capabilities, Capability, TestedAgainst
from gds_database.engines._base import DatabaseBase, EngineBase, aware, only, operation
from gds_database.errors import ConfigurationError, ObjectNotFoundError
from gds_database.metadata import (
    BackupType,
    DatabaseMetadata,
    DatabaseState,
    DatabaseType,
    EngineMetadata,
    LogEntry,
    Metric,
    ReplicationStatus,
)
from gds_database.plan import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gds_database.config import EngineConfig
    from gds_database.control import Control
    from gds_database.database import Database

__all__ = ["InMemoryConnection", "InMemoryDatabase", "InMemoryEngine", "InMemoryServer"]

VERSION = "1.0"


@dataclass
class InMemoryServer:
    """What an `InMemoryEngine` talks to; a test prepares it and looks at it.

    Attributes:
        databases: Contents by the names of databases.
        users: Options by the names of users; no passwords.
        processes: As ``list_processes`` returns them.
        settings: By name.
        metrics: All of them; the engine returns those of the time range.
        logs: All of them; the engine returns those of the time range.
        nodes: The nodes by name, the first of them is the primary.
        running: Whether it answers.
        failures: Errors by what the engine is about to do, such as ``DROP DATABASE``; raised instead.
        statements: What was run.
        clock: Its time.
    """

    databases: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=lambda: {"max_connections": 100})
    metrics: list[Metric] = field(default_factory=list)
    logs: list[LogEntry] = field(default_factory=list)
    nodes: list[str] = field(default_factory=lambda: ["memory"])
    running: bool = True
    failures: dict[str, Exception] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(timezone.utc), repr=False)

    def steps(self, action: str, *, force: bool = False, timeout_seconds: float = 60.0) -> Sequence[Step]:
        """Its own ``control=``."""
        del force, timeout_seconds
        changes: dict[str, Callable[[], None]] = {
            "start": lambda: setattr(self, "running", True),
            "stop": lambda: setattr(self, "running", False),
            "build": lambda: setattr(self, "running", True),
            "destroy": self._destroy,
        }
        if action not in changes:
            raise ConfigurationError(f"InMemoryServer has no way to {action}")
        return [Step(f"memory {action}", changes[action])]

    def _destroy(self) -> None:
        self.running = False
        self.databases.clear()
        self.users.clear()


@dataclass(frozen=True)
class _Call:
    """A statement of this server."""

    text: str
    call: Callable[[], Any]

    def __str__(self) -> str:
        return self.text


class InMemoryConnection(DatabaseConnection):
    """A connection to an `InMemoryServer`.

    Args:
        server: Which; by default one of its own.
    """

    def __init__(self, server: InMemoryServer | None = None) -> None:
        self.server = server or InMemoryServer()
        self._connected = False

    def connect(self) -> InMemoryServer:
        """Connect."""
        if not self.server.running:
            raise DatabaseConnectionError("memory: the server is not running")
        self._connected = True
        return self.server

    def disconnect(self) -> None:
        """Close."""
        self._connected = False

    def execute_query(self, query: Any, params: tuple[Any, ...] | None = None) -> list[Any]:
        """Run what an `InMemoryEngine` asks for."""
        del params
        if not self.server.running:
            self._connected = False
            raise DatabaseConnectionError("memory: the server is not running")
        text = str(query)
        self.server.statements.append(text)
        for beginning, error in self.server.failures.items():
            if text.startswith(beginning):
                raise error
        found = query.call() if isinstance(query, _Call) else None
        return found if isinstance(found, list) else []

    def is_connected(self) -> bool:
        """Whether it is open."""
        return self._connected

    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads."""
        return {"host": self.server.nodes[0], "user": "memory"}


class InMemoryEngine(EngineBase):
    """An engine in memory.

    Args:
        connection: To which server; by default to one of its own.
        settings: As `EngineBase` takes them. ``control`` is the server's own unless given.

    Attributes:
        server: The `InMemoryServer`.
    """

    system = "memory"
    extra = ""

    def __init__(
        self, connection: InMemoryConnection | None = None, *, control: Control | None = None, **settings: Any
    ) -> None:
        if "connection_string" not in settings:
            connection = connection or InMemoryConnection()
        super().__init__(connection, **settings)
        self.server: InMemoryServer = self.connection.server  # type: ignore[attr-defined]
        self.control = control or self.server
        self._opens = True

    @classmethod
    def _open(cls, config: EngineConfig) -> InMemoryConnection:
        return InMemoryConnection(InMemoryServer(nodes=[config.host or "memory"]))

    def capabilities(self) -> Capabilities:
        """Everything, and nothing of it real."""
        return Capabilities(Capability(name, True, "in memory", TestedAgainst.REAL) for name in OPERATIONS)

    def _ask(self, text: str, call: Callable[[], list[Any]]) -> list[dict[str, Any]]:
        return self._query(_Call(text, lambda: [{"value": each} for each in call()]))

    def _values(self, text: str, call: Callable[[], list[Any]]) -> list[Any]:
        return [row["value"] for row in self._ask(text, call)]

    def _change(self, text: str, call: Callable[[], Any]) -> Step:
        return self._step(_Call(text, call))

    # ------------------------------------------------------------------ the server
    @property
    def metadata(self) -> EngineMetadata:
        """What is known of the server."""
        status = "running" if self.server.running else "stopped"
        return EngineMetadata(self.name, VERSION, edition="memory", host=self.server.nodes[0], status=status)

    def get_version(self) -> str:
        """Its version."""
        return str(self._values("VERSION", lambda: [VERSION])[0])

    def get_server_time(self) -> datetime:
        """Its clock."""
        now: datetime = self._values("TIME", lambda: [self.server.clock()])[0]
        return now

    def list_databases(self) -> list[Database]:
        """All databases."""
        return [self.get_database(name) for name in self._values("DATABASES", lambda: sorted(self.server.databases))]

    def get_database(self, name: str) -> InMemoryDatabase:
        """The database of a name."""
        return InMemoryDatabase(self, name)

    # ------------------------------------------------------------------ users and sessions
    def list_users(self) -> list[str]:
        """All users."""
        return self._values("USERS", lambda: sorted(self.server.users))

    @operation
    def create_user(self, name: str, password: str, **kwargs: Any) -> OperationResult:
        """Create a user; its password is kept nowhere."""
        only(kwargs, "create_user", "roles", "valid_until")
        if not password:
            raise ConfigurationError("password: expected one, got an empty one")
        with self._secrets.during(password):
            if name in self.list_users():
                raise QueryError(f"user {name!r} exists on {self.name}")
            step = self._change(f"CREATE USER {name!r}", lambda: self.server.users.__setitem__(name, kwargs))
            return self._carry_out(f"created user {name}", [step])

    @operation
    def drop_user(self, name: str, *, dry_run: bool = False) -> OperationResult:
        """Drop a user."""
        self._must_exist("user", name, self.list_users())
        step = self._change(f"DROP USER {name!r}", lambda: self.server.users.pop(name))
        return self._carry_out(f"dropped user {name}", [step], dry_run=dry_run)

    def list_processes(self) -> list[dict[str, Any]]:
        """All sessions."""
        return self._values("PROCESSES", lambda: [dict(each) for each in self.server.processes])

    @operation
    def kill_process(self, process_id: str, *, dry_run: bool = False) -> OperationResult:
        """End a session."""
        self._must_exist("process", str(process_id), [str(each["id"]) for each in self.list_processes()])

        def end() -> None:
            self.server.processes[:] = [each for each in self.server.processes if str(each["id"]) != str(process_id)]

        return self._carry_out(f"ended {process_id}", [self._change(f"KILL {process_id}", end)], dry_run=dry_run)

    # ------------------------------------------------------------------ settings
    def get_configuration(self) -> dict[str, Any]:
        """All settings."""
        return dict(self._values("SETTINGS", lambda: list(self.server.settings.items())))

    def get_setting(self, name: str) -> dict[str, Any]:
        """One setting with what there is to know of it."""
        settings = self.get_configuration()
        self._must_exist("setting", name, settings)
        return {"name": name, "value": settings[name], "unit": None, "source": "memory", "restart_required": False}

    @operation
    def set_configuration(self, key: str, value: Any, *, dry_run: bool = False) -> OperationResult:
        """Change a setting."""
        self.get_setting(key)
        step = self._change(f"SET {key} = {value!r}", lambda: self.server.settings.__setitem__(key, value))
        return self._carry_out(f"set {key}", [step], dry_run=dry_run, data={"restart_required": False})

    # ------------------------------------------------------------------ what it reports
    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """The metrics of a time range."""
        first, last = aware(start_time, end_time)
        return self._values("METRICS", lambda: [e for e in self.server.metrics if first <= e.timestamp <= last])

    def get_logs(self, start_time: datetime, end_time: datetime, **kwargs: Any) -> list[LogEntry]:
        """The log of a time range; ``level`` chooses among its lines."""
        only(kwargs, "get_logs", "level")
        first, last = aware(start_time, end_time)
        level = kwargs.get("level")
        found = self._values("LOGS", lambda: [e for e in self.server.logs if first <= e.timestamp <= last])
        return sorted((e for e in found if level in {None, e.level}), key=lambda entry: entry.timestamp)

    # ------------------------------------------------------------------ nodes
    def get_replication_status(self) -> ReplicationStatus:
        """Which nodes there are."""
        nodes = self._values("NODES", lambda: list(self.server.nodes))
        if len(nodes) == 1:
            return ReplicationStatus(enabled=False, mode="none", role="standalone")
        return ReplicationStatus(enabled=True, mode="memory", role="primary", sync_state="sync", partners=nodes[1:])

    @operation
    def failover(self, target_node: str | None = None, *, dry_run: bool = False, **kwargs: Any) -> OperationResult:
        """Let another node be the first."""
        only(kwargs, "failover", "dry_run")
        partners = self.get_replication_status().partners
        if not partners:
            raise QueryError(f"{self.name} has no other node; add one to server.nodes")
        target = target_node or partners[0]
        self._must_exist("node", target, partners)

        def promote() -> None:
            self.server.nodes.remove(target)
            self.server.nodes.insert(0, target)

        step = self._change(f"PROMOTE {target!r}", promote)
        return self._carry_out(f"promoted {target}", [step], dry_run=dry_run, data={"primary": target})


class InMemoryDatabase(DatabaseBase):
    """A database of an `InMemoryEngine`; its content is ``engine.server.databases[name]``, which JSON can hold."""

    engine: InMemoryEngine

    @property
    def _all(self) -> dict[str, dict[str, Any]]:
        return self.engine.server.databases

    def _read_metadata(self) -> DatabaseMetadata:
        self._must_exist()
        size = len(json.dumps(self._all[self.name]))
        return DatabaseMetadata(self.name, DatabaseType.OTHER, size_bytes=size, state=DatabaseState.ONLINE)

    def exists(self) -> bool:
        """Whether the server has it."""
        return self.name in self.engine._values("DATABASES", lambda: list(self._all))

    @operation
    def create(self, **options: Any) -> OperationResult:
        """Create it."""
        only(options, "create")
        if not self.name:
            raise ConfigurationError("name: expected one, got an empty one")
        if self.exists():
            raise QueryError(f"database {self.name!r} exists on {self.engine.name}")
        step = self.engine._change(f"CREATE DATABASE {self.name!r}", lambda: self._all.__setitem__(self.name, {}))
        return self.engine._carry_out(f"created database {self.name}", [step])

    @operation
    def drop(self, force: bool = False, *, dry_run: bool = False) -> OperationResult:
        """Drop it; nothing has to be forced."""
        del force
        self._must_exist()
        step = self.engine._change(f"DROP DATABASE {self.name!r}", lambda: self._all.pop(self.name))
        return self.engine._carry_out(f"dropped database {self.name}", [step], dry_run=dry_run)

    @operation
    def backup(self, path: str, backup_type: BackupType = BackupType.FULL, **options: Any) -> OperationResult:
        """Write its content to a file, as JSON."""
        only(options, "backup", "progress", "cancelled", "timeout_seconds")
        self._must_exist()
        text = json.dumps({"type": BackupType(backup_type).value, "content": self._all[self.name]})
        step = self.engine._change(
            f"BACKUP {self.name!r} TO {str(path)!r}", lambda: Path(path).write_text(text, "utf-8")
        )
        return self.engine._carry_out(
            f"backed up {self.name}", [step], data={"path": str(path), "size_bytes": len(text)}
        )

    @operation
    def restore(self, path: str, *, dry_run: bool = False, **options: Any) -> OperationResult:
        """Read its content from a file; what it had is replaced."""
        only(options, "restore", "progress", "cancelled", "timeout_seconds")
        if not Path(path).is_file():
            raise ObjectNotFoundError("backup", str(path))
        content = json.loads(Path(path).read_text("utf-8"))["content"]
        step = self.engine._change(
            f"RESTORE {self.name!r} FROM {str(path)!r}", lambda: self._all.__setitem__(self.name, content)
        )
        return self.engine._carry_out(f"restored {self.name}", [step], dry_run=dry_run)
