"""Database monitoring: what is measured of databases, and where it goes.

Importing this package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

from gds_metrics import _lazy

TYPE_CHECKING = False  # `typing` is not imported for this: it would be most of the time this package takes to import

if TYPE_CHECKING:
    from gds_monitor.base import BaseMonitor, MetricCollector, MonitoringResult, Outcome
    from gds_monitor.collector_output import OtlpOutput, PrometheusOutput
    from gds_monitor.collectors.mongodb import MongoDBCollector
    from gds_monitor.collectors.postgresql import PostgreSQLCollector
    from gds_monitor.collectors.snowflake import SnowflakeCollector
    from gds_monitor.collectors.sqlserver import SQLServerCollector
    from gds_monitor.factory import DatabaseMonitorFactory, MonitorFactory
    from gds_monitor.heartbeat import Heartbeat
    from gds_monitor.metric import Metric
    from gds_monitor.output import EventHandler, KafkaOutput, OutputHandler, StdoutOutput, WriteResult
    from gds_monitor.scheduler import MonitoringScheduler
    from gds_monitor.subscriber import MetricSubscriber
    from gds_monitor.system import MonitoringSystem, MonitoringSystemBuilder

__all__ = [
    "BaseMonitor",
    "DatabaseMonitorFactory",
    "EventHandler",
    "Heartbeat",
    "KafkaOutput",
    "Metric",
    "MetricCollector",
    "MetricSubscriber",
    "MongoDBCollector",
    "MonitorFactory",
    "MonitoringResult",
    "MonitoringScheduler",
    "MonitoringSystem",
    "MonitoringSystemBuilder",
    "OtlpOutput",
    "Outcome",
    "OutputHandler",
    "PostgreSQLCollector",
    "PrometheusOutput",
    "SQLServerCollector",
    "SnowflakeCollector",
    "StdoutOutput",
    "WriteResult",
]

_HOME = {
    "BaseMonitor": "base",
    "DatabaseMonitorFactory": "factory",
    "EventHandler": "output",
    "Heartbeat": "heartbeat",
    "KafkaOutput": "output",
    "Metric": "metric",
    "MetricCollector": "base",
    "MetricSubscriber": "subscriber",
    "MongoDBCollector": "collectors.mongodb",
    "MonitorFactory": "factory",
    "MonitoringResult": "base",
    "MonitoringScheduler": "scheduler",
    "MonitoringSystem": "system",
    "MonitoringSystemBuilder": "system",
    "OtlpOutput": "collector_output",
    "Outcome": "base",
    "OutputHandler": "output",
    "PostgreSQLCollector": "collectors.postgresql",
    "PrometheusOutput": "collector_output",
    "SQLServerCollector": "collectors.sqlserver",
    "SnowflakeCollector": "collectors.snowflake",
    "StdoutOutput": "output",
    "WriteResult": "output",
}

# What a program does not use it does not load.
__getattr__, __dir__ = _lazy.exports(globals(), _HOME)
