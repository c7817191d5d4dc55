"""What was read of a server at one time, as every platform has it; what it does not tell is None."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

__all__ = [
    "Alert",
    "Lock",
    "Measure",
    "Number",
    "Picture",
    "Progress",
    "Replica",
    "Session",
    "Space",
    "Statement",
    "Wait",
]


@dataclass(frozen=True)
class Lock:
    """What a session waits for."""

    mode: str
    target: str
    """A table, say, or a transaction."""


@dataclass(frozen=True)
class Session:
    """A session, or a process of the server itself.

    Attributes:
        id: As the engine ends it by.
        seconds: How long its statement runs; None if none does.
        transaction_seconds: How long its transaction is open.
        connected_seconds: How long it is there.
        idle_seconds: How long it has done nothing.
        connected_at: Tells it apart from a later one that has got its id.
        wait: ``type:event``, or the platform's word.
        blocked_by: Ids of those that it waits for.
        lock: What it waits for, where it waits for a lock.
        background: Whether it is the server's own.
        own: Whether it is that of this view.
    """

    id: str
    user: str = ""
    database: str = ""
    state: str = ""
    statement: str = ""
    seconds: float | None = None
    transaction_seconds: float | None = None
    connected_seconds: float | None = None
    idle_seconds: float | None = None
    connected_at: datetime | None = None
    wait: str | None = None
    blocked_by: tuple[str, ...] = ()
    lock: Lock | None = None
    client: str = ""
    application: str = ""
    kind: str = ""
    background: bool = False
    own: bool = False

    @property
    def running(self) -> bool:
        """Whether it does something, or waits in the middle of it."""
        return self.seconds is not None or self.state not in ("", "idle", "sleeping", "inactive")

    @property
    def in_transaction(self) -> bool:
        """Whether it has a transaction open and does nothing."""
        return self.state.startswith("idle in transaction")


@dataclass(frozen=True)
class Statement:
    """A statement, whoever ran it: what it took since the statistics began, and in each second lately."""

    id: str
    text: str
    database: str
    calls: float
    seconds: float
    rows: float
    read_blocks: float
    hit_blocks: float
    calls_per_second: float | None = None
    seconds_per_second: float | None = None
    rows_per_second: float | None = None
    """None before the second reading."""


@dataclass(frozen=True)
class Replica:
    """Another node, or this one where it follows another."""

    name: str
    role: str
    state: str
    sync_state: str
    lag_seconds: float | None
    lag_bytes: float | None
    client: str = ""


@dataclass(frozen=True)
class Space:
    """A database or a table and how large it is."""

    kind: str
    name: str
    size_bytes: float | None
    growth_bytes_per_second: float | None = None
    rows: float | None = None
    dead_rows: float | None = None
    vacuumed_seconds: float | None = None
    """How long ago; None if never, or not known."""
    scans: float | None = None
    """Sequential ones since the statistics began."""


@dataclass(frozen=True)
class Wait:
    """What sessions waited for, over the last readings."""

    event: str
    sessions: int
    """Now."""
    share: float
    """Sessions that waited for it at a reading, on average."""


@dataclass(frozen=True)
class Progress:
    """How far a long command is."""

    session: str
    command: str
    target: str
    phase: str
    done: float | None
    """From 0 to 1."""


@dataclass(frozen=True)
class Number:
    """A number that stands above all: how it is called, what it is now, and its unit."""

    name: str
    value: float | None
    unit: str = ""
    """``/s``, ``By``, ``By/s``, ``s``, ``%``, or nothing for a count."""
    trouble: bool = False


@dataclass(frozen=True)
class Measure:
    """A metric of an engine that tells no more than these."""

    name: str
    labels: Mapping[str, str]
    value: float
    unit: str


@dataclass(frozen=True)
class Alert:
    """An alert of this server that is not over.

    Attributes:
        key: What tells it apart.
        rule: By which rule.
        state: ``pending``, ``firing``, ``acknowledged``.
        severity: How bad it is.
        value: What was measured when it began.
        text: What the rule says about it.
        seconds: How long it lasts.
        muted: What keeps it quiet; empty if nothing does.
    """

    key: str
    rule: str
    state: str
    severity: str
    value: str
    text: str
    seconds: float
    muted: str = ""

    @property
    def loud(self) -> bool:
        """Whether it is for somebody to act on now."""
        return self.state == "firing" and not self.muted


@dataclass(frozen=True)
class Picture:
    """All of it.

    Attributes:
        at: When it was read, by this machine's clock, in seconds since 1970.
        system: The platform.
        name: Where it is.
        readings: How many there were since the view began; rates need two.
        missing: Why a part is not there, by the part's name.
        tells: The parts that the platform can tell of.
    """

    at: float
    system: str
    name: str
    version: str = ""
    role: str = ""
    uptime_seconds: float | None = None
    readings: int = 1
    max_sessions: int | None = None
    numbers: tuple[Number, ...] = ()
    sessions: tuple[Session, ...] = ()
    statements: tuple[Statement, ...] = ()
    replicas: tuple[Replica, ...] = ()
    space: tuple[Space, ...] = ()
    waits: tuple[Wait, ...] = ()
    progress: tuple[Progress, ...] = ()
    measures: tuple[Measure, ...] = ()
    alerts: tuple[Alert, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    tells: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """It for scripts; times are in seconds, sizes in bytes."""
        fields: dict[str, Any] = _plain(dataclasses.asdict(self))
        return fields


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(_plain(each) for each in value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and value != value:
        return None
    return value
