"""`Heartbeat`: that a collector lives, told once a cycle whatever the cycle brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from gds_monitor.base import MonitoringResult

__all__ = ["Heartbeat", "heartbeat_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """How a cycle of a collector ended, as ``schemas/heartbeat.json`` has it but for the topic, which an output knows.

    Attributes:
        timestamp: When it ended, in UTC.
        collector: Which collector, by the name of its class.
        instance_id: Of which instance.
        database_type: Of which platform.
        status: ``ok``: all that was planned was measured; ``partial``: some of it was not; ``failed``: nothing was;
            ``skipped``: it was not begun.
        reason: Why not all is well, one of the reasons of `gds_monitor.MonitoringResult` or of a cycle that was left
            out; None if all is.
        interval_seconds: When the next one is to be expected, after this one.
        metrics: How many metrics the cycle brought.
        duration_seconds: How long it took.
        correlation_id: Of the cycle, as its metrics have it.
    """

    timestamp: datetime
    collector: str
    instance_id: str
    database_type: str
    status: Literal["ok", "partial", "failed", "skipped"]
    reason: str | None
    interval_seconds: float
    metrics: int = 0
    duration_seconds: float = 0.0
    correlation_id: str | None = None


def heartbeat_of(
    result: MonitoringResult, *, collector: str, database_type: str, interval_seconds: float, now: datetime
) -> Heartbeat:
    """The one for a cycle that ended with a result."""
    missing = [each.reason for each in result.outcomes if not (each.ok or each.skipped)]
    reason = max(missing, key=missing.count) if missing else "error" if result.error else None
    return Heartbeat(
        timestamp=now,
        collector=collector,
        instance_id=result.instance_id,
        database_type=database_type,
        status="ok" if reason is None else "partial" if result.succeeded else "failed",
        reason=reason,
        interval_seconds=interval_seconds,
        metrics=len(result.metrics),
        duration_seconds=result.duration_seconds,
        correlation_id=result.correlation_id,
    )
