"""Cycles of a collector, and what became of them."""

from __future__ import annotations

from datetime import datetime

from gds_monitor.base import BaseMonitor, MetricCollector, MonitoringResult

__all__ = ["cycle", "grown", "reasons", "values"]


async def cycle(collector: MetricCollector) -> MonitoringResult:
    """One; whatever happens, the sum of what became of it is the plan."""
    result = await BaseMonitor(collector).run_monitoring_cycle()
    assert result.succeeded + result.skipped + result.failed == result.planned == len(result.outcomes)
    return result


def reasons(result: MonitoringResult) -> dict[tuple[str, str | None], str]:
    """Why each collector of each database has nothing; empty where it has."""
    return {(each.collector, each.database): each.reason for each in result.outcomes}


def values(result: MonitoringResult, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by those of its tags, which are in the order of their names."""
    found = {}
    for metric in result.metrics:
        if metric.metric_name == name:
            found[tuple(value for _, value in sorted(metric.tags.items()))] = float(metric.value)
    return found


def grown(result: MonitoringResult, name: str) -> datetime | None:
    """Since when a counter counts."""
    return next(metric.start_timestamp for metric in result.metrics if metric.metric_name == name)
