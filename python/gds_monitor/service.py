"""What ``monitor.yaml`` says, running: targets that come and go, and a configuration that changes meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_database.errors import ConfigurationError
from gds_monitor._report import Report
from gds_monitor.canary import Canary
from gds_monitor.collectors._packs import PackCollector
from gds_monitor.config.discovery import discovered
from gds_monitor.config.load import load_config
from gds_monitor.config.outputs import make_output
from gds_monitor.factory import DatabaseMonitorFactory
from gds_monitor.health import HealthServer
from gds_monitor.scheduler import MonitoringScheduler
from gds_monitor.secrets import SharedVault
from gds_monitor.system import MonitoringSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_metrics import MetricsCollector
    from gds_monitor.base import MetricCollector, MonitoringResult
    from gds_monitor.config.load import MonitorConfig, TargetConfig
    from gds_monitor.packs.model import Pack
    from gds_monitor.scheduler import Job

__all__ = ["MonitorService", "collector_of", "packs_of"]

logger = logging.getLogger("gds_monitor")

LOOK_SECONDS = 5.0
"""How often the file is looked at."""
REFRESH_SECONDS = 60.0


def packs_of(target: TargetConfig, config: MonitorConfig, *, canary: bool = False) -> list[Pack]:
    """What is measured of a target.

    Args:
        target: It.
        config: What it stands in.
        canary: Whether the pack that is tried belongs to it.
    """
    from gds_monitor.packs.load import shipped_pack

    engine = target.engine.engine
    if target.packs is not None:
        found = [config.packs[name] for name in target.packs]
    else:
        shared = (config.packs[name] for name in config.shared)
        found = [shipped_pack(engine), *(pack for pack in shared if pack.engine == engine)]
    if canary and config.canary is not None:
        new = config.packs[config.canary["pack"]]
        if new.engine == engine:
            found = [*(pack for pack in found if pack.name != new.name), new]
    return found


def collector_of(
    target: TargetConfig,
    config: MonitorConfig,
    *,
    vault: SharedVault | None = None,
    factory: DatabaseMonitorFactory | None = None,
    canary: bool = False,
) -> MetricCollector:
    """The collector of a target.

    Raises:
        ConfigurationError: There is none for its platform, or its address is none.
    """
    settings: dict[str, Any] = {
        "instance_id": target.name,
        "packs": packs_of(target, config, canary=canary),
        "tags": target.tags,
        "disabled": config.disabled,
        "databases": target.databases,
        "excluded": target.excluded,
    }
    if vault is not None:
        settings["vault"] = vault
    return (factory or DatabaseMonitorFactory()).create_collector(target.engine, **settings)


class MonitorService:
    """Runs what a file says, until it is stopped.

    Args:
        path: ``monitor.yaml``.
        metrics: Any `MetricsCollector`, for what it says of itself.
        page: Gives the page of these metrics, for ``/metrics`` beside the health checks.
        vault: A client of ``gds_vault``; None is one from the environment, if a value is in Vault.
        factory: What makes collectors.

    Raises:
        ValueError: Something of the file is wrong; the message says where.
        OSError: It cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        metrics: MetricsCollector | None = None,
        page: Callable[[], bytes] | None = None,
        vault: Any = None,
        factory: DatabaseMonitorFactory | None = None,
    ) -> None:
        self.path = Path(path)
        self.config = load_config(self.path)
        self.health: HealthServer | None = None
        self._metrics = metrics
        self._report = Report(metrics)
        self._page = page
        self._vault = SharedVault(vault)
        self._factory = factory or DatabaseMonitorFactory()
        self._canary = _canary_of(self.config)
        scheduler = MonitoringScheduler(
            metrics=metrics,
            concurrency=dict(self.config.concurrency) or 50,
            on_result=self._told,
        )
        self.system = MonitoringSystem(scheduler, interval=self.config.interval)
        self._running: dict[str, tuple[TargetConfig, frozenset[str], list[Pack]]] = {}
        self._found: dict[int, list[TargetConfig]] = {}
        self._seen: tuple[float, int] = self._stamp()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    # ------------------------------------------------------------------ life
    async def start(self) -> None:
        """Begin, with what can be found at once."""
        for kind, given in self.config.outputs:
            self.system.add_output(make_output(kind, given, self.config.environment))
        await asyncio.gather(*(self._discover(at) for at in range(len(self.config.discovery))))
        self._apply()
        await self.system.start()
        if self.config.listen is not None:
            self.health = HealthServer(self._healthz, self._readyz, *self.config.listen, page=self._page)
        self._tasks = [asyncio.create_task(self._watch())]
        self._tasks += [asyncio.create_task(self._again(at)) for at in range(len(self.config.discovery))]

    async def stop(self) -> None:
        """Let running cycles come to their end, write what is left, and close everything."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        await self.system.stop()
        if self.health is not None:
            await asyncio.to_thread(self.health.close)
        self._vault.close()

    async def run(self) -> None:
        """Start, wait for SIGTERM or Ctrl-C, and stop."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            await self.start()
            await self._stopped.wait()
        finally:
            await self.stop()

    # ------------------------------------------------------------------ the file
    def reload(self) -> bool:
        """Read the file again and do as it says from the next cycle on; whether it could be used.

        One that cannot be used is told, and what runs goes on as it is. Outputs, discovery, ``listen`` and
        ``concurrency`` are those of the start.
        """
        self._seen = self._stamp()
        try:
            config = load_config(self.path)
            for target in config.targets:
                packs_of(target, config)
        except (ValueError, OSError) as error:
            logger.error("not reloaded: %s", error)  # noqa: TRY400 - no traceback, which may hold a secret
            self._report.metrics.increment("monitor.reloads", labels={"result": "refused"})
            return False
        if config.canary != self.config.canary:
            self._canary = _canary_of(config)
        self.config = config
        self._apply()
        self._report.metrics.increment("monitor.reloads", labels={"result": "success"})
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._stamp() != self._seen:
                self.reload()

    def _stamp(self) -> tuple[float, int]:
        with suppress(OSError):
            found = os.stat(self.path)  # noqa: PTH116 - the same, and quicker
            return found.st_mtime, found.st_ino
        return 0.0, 0

    # ------------------------------------------------------------------ targets
    async def _again(self, at: int) -> None:
        while True:
            await asyncio.sleep(self.config.discovery[at].get("refresh", REFRESH_SECONDS))
            if await self._discover(at):
                self._apply()

    async def _discover(self, at: int) -> bool:
        """Look again; whether it is known what is there. If not, what was known stays."""
        try:
            self._found[at] = await discovered(self.config.discovery[at], self.config, self._vault)
        except (ValueError, OSError) as error:
            logger.warning("discovery: %s", error)
            self._report.metrics.increment("monitor.discoveries", labels={"result": "failed"})
            return False
        self._report.metrics.increment("monitor.discoveries", labels={"result": "success"})
        return True

    async def rediscover(self) -> None:
        """Look everywhere now."""
        await asyncio.gather(*(self._discover(at) for at in range(len(self.config.discovery))))
        self._apply()

    def _apply(self) -> None:
        """Run what is wanted, and nothing else; what is as before is left alone."""
        wanted: dict[str, TargetConfig] = {}
        for target in (*self.config.targets, *(each for found in self._found.values() for each in found)):
            wanted.setdefault(target.name, target)
        for name in [name for name in self._running if name not in wanted]:
            self.system.remove_collector(name)
            del self._running[name]
        for name, target in wanted.items():
            try:
                self._one(name, target)
            except (ConfigurationError, ValueError) as error:  # noqa: PERF203 - it leaves the others alone
                logger.error("%s: %s", name, error)  # noqa: TRY400 - as above
                self._report.metrics.increment("monitor.bad_targets")
        self._report.metrics.gauge("monitor.targets", len(self._running))

    def _one(self, name: str, target: TargetConfig) -> None:
        trying = self._canary is not None and self._canary.chosen(name)
        packs = packs_of(target, self.config, canary=trying)
        now = (target, self.config.disabled, packs)
        before = self._running.get(name)
        if before == now:
            return
        known = self.system.collectors.get(name)
        if before is not None and before[:2] == now[:2] and isinstance(known, PackCollector):
            known.use(packs)  # with the connection that it has
        else:
            collector = collector_of(target, self.config, vault=self._vault, factory=self._factory, canary=trying)
            self.system.add_collector(collector, target.interval)
        self._running[name] = now

    # ------------------------------------------------------------------ what is told
    async def _told(self, job: Job, result: MonitoringResult) -> None:
        del job
        canary = self._canary
        if canary is None or not canary.chosen(result.instance_id) or not canary.observe(result):
            return
        logger.warning("canary %s: %s %s", canary.pack, canary.state, canary.why)
        self._report.metrics.increment("monitor.canaries", labels={"pack": canary.pack, "result": canary.state})
        self._apply()

    def _healthz(self) -> tuple[bool, dict[str, Any]]:
        why = self.system.scheduler.alive()
        return not why, {"alive": not why, **({"why": why} if why else {})}

    def _readyz(self) -> tuple[bool, dict[str, Any]]:
        jobs = list(self.system.scheduler.jobs.values())
        waiting = [job.job_id for job in jobs if job.last is None]
        stalled = self.system.scheduler.stalled()
        good = not waiting and not stalled and not self.system.scheduler.alive()
        return good, {"ready": good, "targets": len(jobs), "without_a_cycle": waiting[:20], "stalled": stalled[:20]}


def _canary_of(config: MonitorConfig) -> Canary | None:
    if config.canary is None:
        return None
    given = {name: value for name, value in config.canary.items() if name != "pack"}
    return Canary(config.packs[config.canary["pack"]].name, **given)
