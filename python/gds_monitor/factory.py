"""Collectors and monitors by what they are for: `DatabaseMonitorFactory`, `MonitorFactory`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gds_monitor.base import BaseMonitor, MetricCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gds_database.config import EngineConfig
    from gds_metrics import MetricsCollector
    from gds_monitor.output import OutputHandler

__all__ = ["DatabaseMonitorFactory", "MonitorFactory"]

COLLECTORS = {
    "mongodb": "gds_monitor.collectors.mongodb:MongoDBCollector",
    "mssql": "gds_monitor.collectors.sqlserver:SQLServerCollector",
    "postgresql": "gds_monitor.collectors.postgresql:PostgreSQLCollector",
    "snowflake": "gds_monitor.collectors.snowflake:SnowflakeCollector",
}
"""The collector of each platform."""


class DatabaseMonitorFactory:
    """Makes collectors of databases by their address. Programs may register platforms of their own."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[..., MetricCollector]] = {}

    def register(self, platform: str, maker: Callable[..., MetricCollector]) -> None:
        """Make collectors of a platform with ``maker(config, **settings)``, also instead of ours."""
        self._makers[platform] = maker

    @property
    def platforms(self) -> list[str]:
        """Those it can make collectors for."""
        return sorted({*COLLECTORS, *self._makers})

    def create_collector(self, config: str | Mapping[str, Any] | EngineConfig, **settings: Any) -> MetricCollector:
        """The collector for an address.

        Args:
            config: As `gds_database.EngineConfig` takes it.
            settings: As the collector of the platform takes them.

        Raises:
            ConfigurationError: There is no collector for it, or it is no address.
        """
        from gds_database.config import EngineConfig
        from gds_database.errors import ConfigurationError

        parsed = config if isinstance(config, EngineConfig) else EngineConfig.parse(config)
        maker = self._makers.get(parsed.engine)
        if maker is None:
            if parsed.engine not in COLLECTORS:
                raise ConfigurationError(
                    f"{parsed.scheme}://: expected a platform that is monitored: {', '.join(self.platforms)}"
                )
            module, _, name = COLLECTORS[parsed.engine].partition(":")
            maker = getattr(import_module(module), name)
        return maker(parsed, **settings)


class MonitorFactory:
    """Makes monitors: a collector, its outputs, and what runs a cycle of them.

    Args:
        databases: What makes the collectors.
        monitor: The class of monitors.
    """

    def __init__(
        self, databases: DatabaseMonitorFactory | None = None, *, monitor: Callable[..., BaseMonitor] = BaseMonitor
    ) -> None:
        self.databases = databases or DatabaseMonitorFactory()
        self._monitor = monitor

    def create_monitor(
        self,
        config: str | Mapping[str, Any] | EngineConfig | MetricCollector,
        outputs: Sequence[OutputHandler] = (),
        *,
        metrics: MetricsCollector | None = None,
        **settings: Any,
    ) -> BaseMonitor:
        """The monitor for an address, or for a collector.

        Args:
            config: As in `DatabaseMonitorFactory.create_collector`, or a collector.
            outputs: Where metrics go.
            metrics: Any `MetricsCollector`, for what it says of itself.
            settings: Of the collector.
        """
        collector = (
            config if isinstance(config, MetricCollector) else self.databases.create_collector(config, **settings)
        )
        return self._monitor(collector, outputs, metrics=metrics)
