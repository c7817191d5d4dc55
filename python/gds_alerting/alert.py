"""`Alert`: something that somebody has to look at, and that it is over."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["Alert", "AlertSeverity", "AlertState", "MeasuredMetric", "Seen"]


class MeasuredMetric(Protocol):
    """What rules look at: anything with these; `gds_monitor.Metric` is one."""

    @property
    def metric_name(self) -> str:
        """What was measured."""

    @property
    def value(self) -> float | int | Decimal:
        """The number."""

    @property
    def instance_id(self) -> str:
        """Of which instance."""

    @property
    def timestamp(self) -> datetime | float | str | None:
        """When."""

    @property
    def tags(self) -> Mapping[str, str] | None:
        """What tells series of one name apart."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A metric that is no more at hand, as far as it is remembered."""

    metric_name: str
    value: Any
    instance_id: str
    timestamp: datetime | float | None
    tags: dict[str, str]


class AlertSeverity(str, Enum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class AlertState(str, Enum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    NO_DATA = "no_data"
    FLAPPING = "flapping"
    RESOLVED = "resolved"


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it stands.

    A rule of your own may return one with the first few fields; the evaluator fills in the rest.

    Attributes:
        id: Of what has happened to it: the same in a replay, another when it is resolved. Receivers know duplicates by
            it.
        rule_id: The rule.
        severity: How bad it is.
        message: What is wrong, in a line.
        metric: The measurement that it is about.
        timestamp: When it came to where it stands, by the time of the metrics.
        state: Where it stands.
        key: What makes two alerts the same one: rule, instance and metric.
        correlation_id: The same for all that happens to it until it is resolved.
        started_at: When it began.
        reminder: Whether it was told before, and is still open.
        labels: Tags of the metric, and what the rule adds.
        description: What the rule is about.
        runbook_url: What to do.
        routing_key: Where receivers are to route it.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    rule_id: str = ""
    severity: AlertSeverity = AlertSeverity.WARNING
    message: str = ""
    metric: Any = None
    timestamp: datetime = field(default_factory=_now)
    state: AlertState = AlertState.FIRING
    key: str = ""
    correlation_id: str = ""
    started_at: datetime | None = None
    reminder: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""
    runbook_url: str | None = None
    routing_key: str | None = None

    @property
    def metric_name(self) -> str:
        """What was measured."""
        return str(getattr(self.metric, "metric_name", None) or self.labels.get("metric", ""))

    @property
    def instance_id(self) -> str:
        """Whom it is about."""
        return str(self.labels.get("instance_id") or getattr(self.metric, "instance_id", ""))

    @property
    def value(self) -> Any:
        """The number that was measured; None where there is none."""
        return getattr(self.metric, "value", None)

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.state is not AlertState.RESOLVED

    def __str__(self) -> str:
        return f"{self.state.value.upper()} {self.severity.value}: {self.message}"
