"""What ``monitor.yaml`` says, running: targets that come and go, and a configuration that changes meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_database.errors import ConfigurationError
from gds_monitor._report import Report
from gds_monitor.canary import Canary
from gds_monitor.collectors._packs import PackCollector
from gds_monitor.config.discovery import discovered
from gds_monitor.config.load import load_config
from gds_monitor.config.outputs import make_output
from gds_monitor.factory import COLLECTORS, DatabaseMonitorFactory
from gds_monitor.health import HealthServer
from gds_monitor.scheduler import CONCURRENCY, MonitoringScheduler
from gds_monitor.secrets import SharedVault
from gds_monitor.slot import Outputs
from gds_monitor.system import MonitoringSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from gds_metrics import MetricsCollector
    from gds_monitor.base import MetricCollector, MonitoringResult
    from gds_monitor.config.load import MonitorConfig, TargetConfig
    from gds_monitor.metric import Metric
    from gds_monitor.output import OutputHandler
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
            concurrency=dict(self.config.concurrency) or CONCURRENCY,
            on_result=self._observe_canary,
        )
        self.system = MonitoringSystem(scheduler, interval=self.config.interval)
        self._running: dict[str, tuple[TargetConfig, frozenset[str], list[Pack]]] = {}
        self._outputs = Outputs(self.system, self._make)
        self._found: dict[str, list[TargetConfig]] = {}
        self._finders: dict[str, asyncio.Task[None]] = {}
        self._seen: tuple[float, int] = self._stamp()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changing = asyncio.Lock()
        self._stopped = asyncio.Event()

    # ------------------------------------------------------------------ life
    async def start(self) -> None:
        """Begin, with what can be found at once."""
        async with self._changing:
            await self._find(self.config)
            self._apply()
            await self._outputs.change(self.config)
            await self.system.start()
            self._listen(self.config)
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Let running cycles come to their end, write what is left, and close everything."""
        tasks = {*self._tasks, *self._finders.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._finders = {}
        await self.system.stop()
        if self.health is not None:
            await asyncio.to_thread(self.health.close)
        self._vault.close()

    async def run(self) -> None:
        """Start, wait for SIGTERM or Ctrl-C, and stop."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload()))
        try:
            await self.start()
            await self._stopped.wait()
        finally:
            await self.stop()

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ the file
    async def reload(self) -> bool:
        """Read the file again and do as it says from the next cycle on; whether it could be used.

        One that cannot be used is told, and what runs goes on as it is. An output that is another now gets all that was
        written to the one before first; meanwhile cycles that have something to write wait.
        """
        async with self._changing:
            self._seen = self._stamp()
            before = self.config
            try:
                config = load_config(self.path)
                for target in config.targets:
                    packs_of(target, config)
                await self._outputs.change(config)
                try:
                    await self._relisten(config)
                except OSError:
                    await self._outputs.change(before)
                    raise
            except (ValueError, OSError) as error:
                logger.error("not reloaded: %s", error)  # noqa: TRY400 - no traceback, which may hold a secret
                self._report.metrics.increment("monitor.reloads", labels={"result": "refused"})
                return False
            if config.canary != before.canary:
                self._canary = _canary_of(config)
            if config.concurrency != before.concurrency:
                self.system.scheduler.limit(dict(config.concurrency) or CONCURRENCY)
            await self._find(config)
            self.config = config
            self._apply()
            self._report.metrics.increment("monitor.reloads", labels={"result": "success"})
            return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._stamp() != self._seen:
                await self.reload()

    def _stamp(self) -> tuple[float, int]:
        with suppress(OSError):
            found = os.stat(self.path)  # noqa: PTH116 - the same, and quicker
            return found.st_mtime, found.st_ino
        return 0.0, 0

    def _listen(self, config: MonitorConfig) -> None:
        if config.listen is not None:
            self.health = HealthServer(self._healthz, self._readyz, *config.listen, page=self._page)

    async def _relisten(self, config: MonitorConfig) -> None:
        """Answer elsewhere; if that cannot be, at the same place as before."""
        if config.listen == self.config.listen:
            return
        if self.health is not None:
            await asyncio.to_thread(self.health.close)
            self.health = None
        try:
            self._listen(config)
        except OSError as error:
            self._listen(self.config)
            raise OSError(f"listen: {error}") from None

    # ------------------------------------------------------------------ outputs
    async def _make(self, kind: str, given: Any, config: MonitorConfig) -> OutputHandler:
        output = await asyncio.to_thread(
            make_output,
            kind,
            given,
            config.environment,
            folder=config.folder,
            vault=self._vault,
            longest_interval_seconds=partial(_longest, config),
        )
        prepare, answer_probes = getattr(output, "prepare", None), getattr(output, "answer_probes", None)
        try:
            if prepare is not None:
                collectors = self.system.collectors.values()
                await prepare([(each.database_type, each.instance_id) for each in collectors])
        except BaseException:
            await output.close()
            raise
        if answer_probes is not None:
            answer_probes(self._probe)
        return output

    async def _probe(self, name: str) -> Sequence[Metric]:
        """The metrics of a cycle of an instance, now."""
        result = "failed"
        try:
            metrics = (await self.system.scheduler.trigger(name)).metrics
            result = "success"
        except KeyError:
            result = "unknown"
            raise
        except asyncio.CancelledError:
            result = "timeout"
            raise
        finally:
            self._report.metrics.increment("monitor.probes", labels={"result": result})
        return metrics

    # ------------------------------------------------------------------ targets
    async def _find(self, config: MonitorConfig) -> None:
        """Look in the places that are new, and no more in those that are gone."""
        wanted = {_name_of(source, config): source for source in config.discovery}
        for name in [name for name in self._finders if name not in wanted]:
            self._finders.pop(name).cancel()
            del self._found[name]
        fresh = {name: source for name, source in wanted.items() if name not in self._finders}
        await asyncio.gather(*(self._discover(name, source, config) for name, source in fresh.items()))
        for name, source in fresh.items():
            self._found.setdefault(name, [])
            self._finders[name] = asyncio.create_task(self._again(name, source, config))

    async def _again(self, name: str, source: Mapping[str, Any], config: MonitorConfig) -> None:
        while True:
            await asyncio.sleep(source.get("refresh", REFRESH_SECONDS))
            if await self._discover(name, source, config):
                self._apply()

    async def _discover(self, name: str, source: Mapping[str, Any], config: MonitorConfig) -> bool:
        """Look again; whether it is known what is there. If not, what was known stays."""
        try:
            self._found[name] = await discovered(source, config, self._vault)
        except (ValueError, OSError) as error:
            logger.warning("discovery: %s", error)
            self._report.metrics.increment("monitor.discoveries", labels={"result": "failed"})
            return False
        self._report.metrics.increment("monitor.discoveries", labels={"result": "success"})
        return True

    async def rediscover(self) -> None:
        """Look everywhere now."""
        sources = ((_name_of(source, self.config), source) for source in self.config.discovery)
        await asyncio.gather(*(self._discover(name, source, self.config) for name, source in sources))
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

    # ------------------------------------------------------------------ results and health
    async def _observe_canary(self, job: Job, result: MonitoringResult) -> None:
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


def _longest(config: MonitorConfig) -> float:
    """How rarely anything is measured, in seconds."""
    from gds_monitor.packs.load import shipped_pack

    packs = [*config.packs.values(), *map(shipped_pack, COLLECTORS)]
    intervals = (each.interval_seconds or 0.0 for pack in packs for each in pack.collectors)
    return max(*intervals, *(target.interval for target in config.targets), config.interval)


def _name_of(source: Mapping[str, Any], config: MonitorConfig) -> str:
    """A discovery by all that decides what it finds."""
    return json.dumps([source, config.interval, config.environment], sort_keys=True)
