"""What is known of engines and databases, and what they report: metrics, log lines, replication."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "BackupType",
    "DatabaseMetadata",
    "DatabaseState",
    "DatabaseType",
    "EngineMetadata",
    "LogEntry",
    "Metric",
    "ReplicationDetails",
    "ReplicationStatus",
]


class DatabaseType(str, Enum):
    """The platform of a database."""

    MSSQL = "mssql"
    POSTGRESQL = "postgresql"
    MONGODB = "mongodb"
    SNOWFLAKE = "snowflake"
    MYSQL = "mysql"
    ORACLE = "oracle"
    SQLITE = "sqlite"
    OTHER = "other"


class DatabaseState(str, Enum):
    """What a database is doing."""

    ONLINE = "online"
    OFFLINE = "offline"
    RESTORING = "restoring"
    RECOVERING = "recovering"
    SUSPECT = "suspect"
    EMERGENCY = "emergency"
    SINGLE_USER = "single_user"
    MULTI_USER = "multi_user"
    READ_ONLY = "read_only"
    UNKNOWN = "unknown"


class BackupType(str, Enum):
    """How much a backup holds."""

    FULL = "full"
    """Everything."""
    DIFFERENTIAL = "differential"
    """What changed since the last full one."""
    INCREMENTAL = "incremental"
    """What changed since the last one of any kind."""
    TRANSACTION_LOG = "transaction_log"
    """The transaction log."""
    LOG = "transaction_log"  # noqa: PIE796 - the shorter name
    """The same."""

    @classmethod
    def _missing_(cls, value: object) -> BackupType | None:
        return cls.TRANSACTION_LOG if value == "log" else None


class _Attributes:
    """``additional_attributes`` by name."""

    additional_attributes: dict[str, Any]

    def get_attribute(self, key: str, default: Any = None) -> Any:
        """An attribute that only some platforms have."""
        return self.additional_attributes.get(key, default)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set such an attribute."""
        self.additional_attributes[key] = value


@dataclass
class DatabaseMetadata(_Attributes):
    """What is known of a database; None where the platform does not tell.

    ``created_at`` is another name of ``created``.
    """

    name: str
    type: DatabaseType
    created: datetime | None = None
    size_bytes: int | None = None
    owner: str | None = None
    collation: str | None = None
    state: DatabaseState | None = None
    additional_attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def created_at(self) -> datetime | None:
        """When it was created."""
        return self.created

    @created_at.setter
    def created_at(self, value: datetime | None) -> None:
        self.created = value


@dataclass
class EngineMetadata(_Attributes):
    """What is known of a server, a cluster or an account; None where the platform does not tell."""

    name: str
    version: str
    edition: str | None = None
    host: str | None = None
    port: int | None = None
    status: str | None = None
    created_at: datetime | None = None
    decommissioned_at: datetime | None = None
    additional_attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Metric:
    """One value at one time.

    ``metric_name`` and ``tags`` are other names of ``name`` and ``labels``, and ``instance_id`` is the label of that
    name: the vocabulary of the messages that carry metrics.

    Attributes:
        name: Dotted, such as ``postgresql.backends``.
        value: A number.
        unit: In UCUM, such as ``By``, ``s`` or ``{connection}``.
        timestamp: When it was so; aware of its zone.
        labels: What tells it apart from others of the name.
    """

    name: str
    value: float
    unit: str
    timestamp: datetime
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def metric_name(self) -> str:
        """The name."""
        return self.name

    @metric_name.setter
    def metric_name(self, value: str) -> None:
        self.name = value

    @property
    def tags(self) -> dict[str, str]:
        """The labels."""
        return self.labels

    @tags.setter
    def tags(self, value: dict[str, str]) -> None:
        self.labels = value

    @property
    def instance_id(self) -> str | None:
        """The label ``instance_id``; None if there is none."""
        return self.labels.get("instance_id")

    @instance_id.setter
    def instance_id(self, value: str) -> None:
        self.labels["instance_id"] = value


@dataclass
class LogEntry:
    """One line of a server's log.

    Attributes:
        timestamp: When it was written; aware of its zone.
        level: In the server's words, such as ``ERROR``.
        message: The line.
        source: Where it was read, such as the name of a file.
        context: What else the server tells of it.
    """

    timestamp: datetime
    level: str
    message: str
    source: str
    context: dict[str, Any] = field(default_factory=dict)


@dataclass
class ReplicationStatus:
    """How far the copies of a server are.

    Attributes:
        enabled: Whether there are any, or it is one.
        mode: In the platform's words, such as ``streaming``.
        role: ``primary``, ``standby``, ``standalone`` or the platform's word for what it is.
        lag_seconds: Of the slowest copy; 0 if it has everything, whatever the clocks say; never negative.
        sync_state: ``sync``, ``async`` or the platform's word; ``unknown`` if it does not tell.
        partners: The other nodes, by name or address.
    """

    enabled: bool
    mode: str
    role: str
    lag_seconds: float = 0.0
    sync_state: str = "unknown"
    partners: list[str] = field(default_factory=list)


@dataclass
class ReplicationDetails(ReplicationStatus):
    """What our engines tell beyond it.

    Attributes:
        lag_bytes: How far the slowest copy is behind by position; None where positions are not in bytes.
        clock_skew_seconds: The server's clock minus that of the other node or of this machine; None if not known.
        nodes: A dict for each node, with ``name``, ``role``, ``state``, ``lag_seconds``, ``lag_bytes`` and
            ``sync_state`` as far as the platform tells.
    """

    lag_bytes: int | None = None
    clock_skew_seconds: float | None = None
    nodes: list[dict[str, Any]] = field(default_factory=list)
