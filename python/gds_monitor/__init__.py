"""Database monitoring: what is measured of databases, and where it goes.

Importing this package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

from gds_metrics import _lazy

TYPE_CHECKING = False  # `typing` is not imported for this: it would be most of the time this package takes to import

if TYPE_CHECKING:
    from gds_monitor.base import BaseMonitor, MetricCollector, MonitoringResult, Outcome
    from gds_monitor.collectors.postgresql import PostgreSQLCollector
    from gds_monitor.factory import DatabaseMonitorFactory, MonitorFactory
    from gds_monitor.metric import Metric
    from gds_monitor.output import OutputHandler, WriteResult
    from gds_monitor.scheduler import MonitoringScheduler
    from gds_monitor.system import MonitoringSystem, MonitoringSystemBuilder

__all__ = [
    "BaseMonitor",
    "DatabaseMonitorFactory",
    "Metric",
    "MetricCollector",
    "MonitorFactory",
    "MonitoringResult",
    "MonitoringScheduler",
    "MonitoringSystem",
    "MonitoringSystemBuilder",
    "Outcome",
    "OutputHandler",
    "PostgreSQLCollector",
    "WriteResult",
]

_HOME = {
    "BaseMonitor": "base",
    "DatabaseMonitorFactory": "factory",
    "Metric": "metric",
    "MetricCollector": "base",
    "MonitorFactory": "factory",
    "MonitoringResult": "base",
    "MonitoringScheduler": "scheduler",
    "MonitoringSystem": "system",
    "MonitoringSystemBuilder": "system",
    "Outcome": "base",
    "OutputHandler": "output",
    "PostgreSQLCollector": "collectors.postgresql",
    "WriteResult": "output",
}

# What a program does not use it does not load.
__getattr__, __dir__ = _lazy.exports(globals(), _HOME)
