"""Metrics for Python programs, counted in Rust.

    from gds_metrics import PrometheusMetrics

    metrics = PrometheusMetrics(port=8080)
    metrics.increment("requests", labels={"path": "/"})

Code that reports metrics takes any `MetricsCollector` and never asks which. Importing this package starts nothing: no
thread, no socket, no logger.
"""

from __future__ import annotations

from gds_metrics import _lazy

TYPE_CHECKING = False  # `typing` is not imported for this: it would be most of the time this package takes to import

if TYPE_CHECKING:
    from gds_metrics._timed import timed
    from gds_metrics.base import MetricsCollector
    from gds_metrics.composite import CompositeMetrics
    from gds_metrics.console import ConsoleMetrics
    from gds_metrics.noop import NoOpMetrics
    from gds_metrics.opentelemetry import OpenTelemetryMetrics
    from gds_metrics.prometheus import PrometheusMetrics
    from gds_metrics.statsd import StatsdMetrics
    from gds_metrics.trace import get_current_trace_context, with_trace_context

__all__ = [
    "CompositeMetrics",
    "ConsoleMetrics",
    "MetricsCollector",
    "NoOpMetrics",
    "OpenTelemetryMetrics",
    "PrometheusMetrics",
    "StatsdMetrics",
    "get_current_trace_context",
    "timed",
    "with_trace_context",
]

_HOME = {
    "CompositeMetrics": "composite",
    "ConsoleMetrics": "console",
    "MetricsCollector": "base",
    "NoOpMetrics": "noop",
    "OpenTelemetryMetrics": "opentelemetry",
    "PrometheusMetrics": "prometheus",
    "StatsdMetrics": "statsd",
    "get_current_trace_context": "trace",
    "timed": "_timed",
    "with_trace_context": "trace",
}

# What a program does not use it does not load.
__getattr__, __dir__ = _lazy.exports(globals(), _HOME)
