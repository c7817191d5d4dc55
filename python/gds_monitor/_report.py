"""What the monitor says of itself, to any collector of ``gds_metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gds_metrics import MetricsCollector, NoOpMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gds_monitor.base import MetricCollector, MonitoringResult
    from gds_monitor.output import OutputHandler

__all__ = ["Report"]


class Report:
    """One place where all own metrics have their names.

    Args:
        metrics: Any `MetricsCollector`; None is nobody.
    """

    def __init__(self, metrics: MetricsCollector | None) -> None:
        self.metrics = metrics or NoOpMetrics()

    def cycle(self, collector: MetricCollector, result: MonitoringResult) -> None:
        """A cycle has ended."""
        to = self.metrics
        where = {"instance": collector.instance_id, "platform": collector.database_type}
        to.increment("monitor.cycles", labels={**where, "result": "success" if result.success else "partial"})
        to.timing("monitor.cycle", result.duration_seconds * 1000, labels={"platform": collector.database_type})
        to.gauge("monitor.planned", result.planned, labels=where)
        to.gauge("monitor.succeeded", result.succeeded, labels=where)
        to.increment("monitor.metrics", len(result.metrics), labels=where)
        for reason, count in result.reasons.items():
            to.increment("monitor.missing", count, labels={**where, "reason": reason})
        for each in result.outcomes:
            # What a query costs does not depend on where it was asked, and there may be thousands of instances.
            what = {"pack": each.pack, "collector": each.collector}
            to.increment("monitor.query.seconds", each.duration_seconds, labels=what)
            to.increment("monitor.query.rows", each.rows, labels=what)
            if each.reason:
                to.increment("monitor.query.errors", labels={**what, "reason": each.reason})
        for written in result.written:
            for reason, count in written.dropped.items():
                to.increment("monitor.dropped", count, labels={"reason": reason})

    def texts(self, sent: int, dropped: Mapping[str, int]) -> None:
        """An output was given texts that are told once."""
        if sent:
            self.metrics.increment("monitor.texts", sent)
        for reason, count in dropped.items():
            self.metrics.increment("monitor.texts_dropped", count, labels={"reason": reason})

    def heartbeat(self, status: str, dropped: Mapping[str, int]) -> None:
        """An output was given a heartbeat."""
        if not dropped:
            self.metrics.increment("monitor.heartbeats", labels={"status": status})
        for reason, count in dropped.items():
            self.metrics.increment("monitor.heartbeats_dropped", count, labels={"reason": reason})

    def skipped(self, instance: str, platform: str, reason: str, count: int = 1) -> None:
        """Cycles were left out: the one before runs, or there was no room."""
        self.metrics.increment(
            "monitor.skipped_cycles", count, labels={"instance": instance, "platform": platform, "reason": reason}
        )

    def late(self, platform: str, seconds: float) -> None:
        """A cycle began so long after its time."""
        self.metrics.timing("monitor.start_delay", seconds * 1000, labels={"platform": platform})

    def lost(self, output: OutputHandler, count: int) -> None:
        """An output raised instead of saying what became of metrics."""
        self.metrics.increment("monitor.dropped", count, labels={"reason": type(output).__name__})
