"""Many collectors, their outputs and a scheduler: `MonitoringSystem`.

system = MonitoringSystemBuilder().database("postgresql://watcher@db1/postgres").output(StdoutOutput()).build()
await system.start()
...
await system.stop()
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gds_monitor.factory import DatabaseMonitorFactory
from gds_monitor.scheduler import MonitoringScheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from typing_extensions import Self

    from gds_metrics import MetricsCollector
    from gds_monitor.base import MetricCollector, MonitoringResult
    from gds_monitor.output import OutputHandler
    from gds_monitor.scheduler import Clock, Job

__all__ = ["INTERVAL_SECONDS", "MonitoringSystem", "MonitoringSystemBuilder"]

logger = logging.getLogger("gds_monitor")

INTERVAL_SECONDS = 30.0


class MonitoringSystem:
    """Collectors that run until it is stopped. Collectors and outputs may come and go meanwhile.

    Args:
        scheduler: What runs cycles; None is one of its own.
        interval: Seconds between two cycles of a collector that says nothing else.
    """

    def __init__(self, scheduler: MonitoringScheduler | None = None, *, interval: float = INTERVAL_SECONDS) -> None:
        self.scheduler = scheduler or MonitoringScheduler()
        self.interval = interval
        self.outputs: list[OutputHandler] = []
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def collectors(self) -> dict[str, MetricCollector]:
        """By the name of their jobs, which is that of the instance."""
        return {name: job.monitor.collector for name, job in self.scheduler.jobs.items()}

    def add_collector(self, collector: MetricCollector, interval: float | None = None) -> Job:
        """Run a collector from now on, instead of one of the same instance.

        Args:
            collector: What measures.
            interval: Seconds; None is that of the system.
        """
        before = self.scheduler.jobs.get(collector.instance_id)
        old = before.monitor.collector if before is not None else None
        # The list itself, so that outputs that come later are written to as well.
        job = self.scheduler.schedule_job(collector.instance_id, collector, interval or self.interval, [])
        job.monitor.outputs = self.outputs
        if old is not None and old is not collector:
            self._leave(job, old)
        return job

    def remove_collector(self, instance_id: str) -> None:
        """Run it no more; a cycle of it that is running comes to its end."""
        job = self.scheduler.jobs.get(instance_id)
        if job is not None:
            self.scheduler.remove_job(instance_id)
            self._leave(job, job.monitor.collector)

    def add_output(self, output: OutputHandler) -> None:
        """Write all metrics to it, too."""
        self.outputs.append(output)

    def remove_output(self, output: OutputHandler) -> None:
        """Write to it no more, and close it in a moment; one that counts who writes to it waits for them."""
        self.outputs.remove(output)
        self._later(output.close())

    async def start(self) -> None:
        """Begin."""
        await self.scheduler.start()

    async def stop(self) -> None:
        """Let running cycles come to their end, then close collectors and outputs."""
        await self.scheduler.stop()
        if self._leaving:
            await asyncio.wait(set(self._leaving))
        closing = [*(collector.close() for collector in self.collectors.values())]
        closing += [output.close() for output in self.outputs]
        for failed in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(failed, Exception):
                logger.warning("closing: %s", failed)

    def _leave(self, job: Job, collector: MetricCollector) -> None:
        """Close a collector after its last cycle."""

        async def leave() -> None:
            running = [task for task in (job.running, job.work) if task is not None]
            if running:
                await asyncio.wait(running)
            await collector.close()

        self._later(leave())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work.close()
            return  # nothing has run yet, so there is nothing to close
        task = loop.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class MonitoringSystemBuilder:
    """Says step by step what a system has."""

    def __init__(self) -> None:
        self._databases: list[tuple[Any, dict[str, Any], float | None]] = []
        self._collectors: list[tuple[MetricCollector, float | None]] = []
        self._outputs: list[OutputHandler] = []
        self._settings: dict[str, Any] = {}
        self._interval = INTERVAL_SECONDS
        self._factory = DatabaseMonitorFactory()

    def database(self, config: str | Mapping[str, Any], *, interval: float | None = None, **settings: Any) -> Self:
        """Watch a database, by its address; settings are those of its collector."""
        self._databases.append((config, settings, interval))
        return self

    def collector(self, collector: MetricCollector, interval: float | None = None) -> Self:
        """Run a collector."""
        self._collectors.append((collector, interval))
        return self

    def output(self, output: OutputHandler) -> Self:
        """Write to it."""
        self._outputs.append(output)
        return self

    def interval(self, seconds: float) -> Self:
        """Between two cycles of what says nothing else."""
        self._interval = seconds
        return self

    def metrics(self, metrics: MetricsCollector | None) -> Self:
        """Any `MetricsCollector`, for what the system says of itself."""
        self._settings["metrics"] = metrics
        return self

    def concurrency(self, cycles: int | Mapping[str, int]) -> Self:
        """Cycles of one platform at a time; or by platform."""
        self._settings["concurrency"] = cycles
        return self

    def clock(self, clock: Clock) -> Self:
        """Another clock than that of the event loop."""
        self._settings["clock"] = clock
        return self

    def on_result(self, callback: Callable[[Job, MonitoringResult], Awaitable[None]]) -> Self:
        """Awaited with each result."""
        self._settings["on_result"] = callback
        return self

    def factory(self, factory: DatabaseMonitorFactory) -> Self:
        """What makes the collectors of databases."""
        self._factory = factory
        return self

    def build(self) -> MonitoringSystem:
        """The system, not yet started.

        Raises:
            ConfigurationError: An address is none.
        """
        system = MonitoringSystem(MonitoringScheduler(**self._settings), interval=self._interval)
        for output in self._outputs:
            system.add_output(output)
        for config, settings, interval in self._databases:
            system.add_collector(self._factory.create_collector(config, **settings), interval)
        for collector, interval in self._collectors:
            system.add_collector(collector, interval)
        return system
