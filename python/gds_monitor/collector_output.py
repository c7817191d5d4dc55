"""Metrics for those who scrape or receive: `PrometheusOutput` is a page, `OtlpOutput` a receiver of OpenTelemetry."""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import TYPE_CHECKING, Any

from gds_metrics import OpenTelemetryMetrics, PrometheusMetrics
from gds_monitor.output import WriteResult
from gds_native._lib import LogEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_monitor.metric import Metric

__all__ = ["OtlpOutput", "PrometheusOutput"]


class _CollectorOutput:
    """Metrics told to a collector of `gds_metrics`: gauges as they are, counters by what they grew."""

    def __init__(self, collector: PrometheusMetrics | OpenTelemetryMetrics, redact: Sequence[str]) -> None:
        self._collector = collector
        self._scrub = LogEncoder(redact=list(redact)).redact
        self._counters: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._closed = False

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Tell the collector of a batch; what it cannot take is dropped and counted there as well."""
        published = scrubbed = 0
        dropped: dict[str, int] = {}
        for metric in metrics:
            if (reason := "closed" if self._closed else _fault(metric)) is not None:
                dropped[reason] = dropped.get(reason, 0) + 1
                continue
            scrubbed += self._tell(metric)
            published += 1
        return WriteResult(published=published, dropped=dropped, scrubbed=scrubbed)

    def _tell(self, metric: Metric) -> bool:
        given = {"instance_id": metric.instance_id, "database_type": metric.database_type} | metric.tags
        labels = {name: self._scrub(f"{name}={value}").removeprefix(f"{name}=") for name, value in given.items()}
        value = float(metric.value)
        if metric.metric_type == "counter":
            series = metric.metric_name, frozenset(labels.items())
            before = self._counters.get(series, 0.0)
            self._counters[series] = value
            # One that is lower than before began anew.
            self._collector.increment(metric.metric_name, value - before if value >= before else value, labels)
        else:
            self._collector.gauge(metric.metric_name, value, labels)
        return labels != given

    async def close(self) -> None:
        """Let go of the collector. A second call does nothing."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._collector.close)


class PrometheusOutput(_CollectorOutput):
    """Shows metrics on a page for Prometheus, with `gds_metrics.PrometheusMetrics`.

    Labels are the tags, ``instance_id`` and ``database_type``. Counters grow by what they grew in the database.

    Args:
        port: Where the page is; 0 picks a free port, which `port` then tells.
        redact: Regular expressions of further secrets.
        expire_after_seconds: Series that no cycle has measured for this long leave the page; 5 minutes by default.
        settings: As `gds_metrics.PrometheusMetrics` has them: ``addr``, ``certfile``, ``bearer_token_file`` and others.
    """

    def __init__(
        self, port: int = 9187, *, redact: Sequence[str] = (), expire_after_seconds: float | None = 300, **settings: Any
    ) -> None:
        # Names are those of the databases' metrics, so there is no prefix.
        given: dict[str, Any] = {"prefix": "", "process_metrics": False, "multiprocess_dir": ""} | settings
        self._page = PrometheusMetrics(port=port, expire_after_seconds=expire_after_seconds, **given)
        super().__init__(self._page, redact)

    @property
    def port(self) -> int:
        """Where the page is."""
        return self._page.port

    def render(self) -> bytes:
        """The page."""
        return self._page.render()


class OtlpOutput(_CollectorOutput):
    """Sends metrics to a receiver of OpenTelemetry, with `gds_metrics.OpenTelemetryMetrics`.

    Args:
        redact: Regular expressions of further secrets.
        settings: As `gds_metrics.OpenTelemetryMetrics` has them: ``endpoint``, ``protocol``, ``headers`` and others.
    """

    def __init__(self, *, redact: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(OpenTelemetryMetrics(**({"service_name": "gds_monitor"} | settings)), redact)


def _fault(metric: Metric) -> str | None:
    try:
        value = float(metric.value)
    except (TypeError, ValueError, OverflowError):
        return "invalid_value"
    return "invalid_value" if metric.metric_type == "counter" and not (isfinite(value) and value >= 0) else None
