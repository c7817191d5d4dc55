"""When cycles run: `MonitoringScheduler`.

Each instance has its own place in the interval, by the hash of its name, so that a thousand do not begin at once and
each keeps its place over restarts. A cycle has nine tenths of its interval; one that is still running when the next is
due makes that one be skipped, and counted. Platforms have their own number of cycles at a time: slow ones of one leave
those of another alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gds_monitor._report import Report
from gds_monitor.base import BaseMonitor, MonitoringResult
from gds_monitor.heartbeat import Heartbeat, heartbeat_of
from gds_monitor.output import EventHandler, WriteResult, beat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gds_metrics import MetricsCollector
    from gds_monitor.base import MetricCollector
    from gds_monitor.output import OutputHandler

__all__ = ["DEADLINE", "Clock", "Job", "MonitoringScheduler", "splay"]

logger = logging.getLogger("gds_monitor")

DEADLINE = 0.9
"""The part of its interval that a cycle may take."""
GRACE_SECONDS = 2.0
"""How long a cycle that was cancelled may take to end, before its connection is closed under it."""
CONCURRENCY = 50
"""Cycles of one platform at a time."""
FIRST_SECONDS = 0.02
"""The first cycle is not waited for: each instance adds this to the time in which all have begun theirs."""
PATIENCE_INTERVALS = 3
"""For so many intervals no cycle may have ended until somebody should know."""


_HEARTBEATS: dict[str, Literal["failed", "skipped"]] = {
    "deadline": "failed",
    "late": "skipped",
    "no_room": "skipped",
    "still_running": "skipped",
}
"""How a cycle that brought no result ended, by why. One that was aborted was late for its deadline before."""


class Handle(Protocol):
    """What can be taken back."""

    def cancel(self) -> None:
        """Take it back."""
        ...


class Clock(Protocol):
    """Monotonic time, as an event loop of asyncio has it."""

    def time(self) -> float:
        """Seconds since some moment."""
        ...

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call when it is so late, in the thread of the event loop."""
        ...


def splay(instance_id: str) -> float:
    """The place of an instance in its interval, from 0 to 1; the same in each process."""
    return int.from_bytes(hashlib.blake2b(instance_id.encode(), digest_size=8).digest(), "big") / 2**64


class Room:
    """Cycles of one platform at a time. How many may change while they run; who waits longest comes first.

    Args:
        limit: 1 or more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for room, and take it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it came in the same moment
            raise

    def release(self) -> None:
        """Give it to the next."""
        self._taken -= 1
        self._next()

    def resize(self, limit: int) -> None:
        """Let so many run from now on; those that are running come to their end."""
        self._limit = limit
        self._next()

    def _next(self) -> None:
        while self._waiting and self._taken < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)


class Job:
    """One collector and its interval.

    Attributes:
        job_id: Its name.
        monitor: What runs its cycles.
        interval: Seconds.
        cycles: How many have ended.
        skipped: How many were left out, by reason.
        last: The result of the latest; None before it.
    """

    def __init__(self, job_id: str, monitor: BaseMonitor, interval: float) -> None:
        self.job_id = job_id
        self.monitor = monitor
        self.interval = interval
        self.cycles = 0
        self.skipped: dict[str, int] = {}
        self.last: MonitoringResult | None = None
        self.due = math.nan
        self.handle: Handle | None = None
        self.ended = math.nan
        self.running: asyncio.Task[MonitoringResult | None] | None = None
        self.work: asyncio.Task[MonitoringResult] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_id!r}, every {self.interval:g} s)"


class MonitoringScheduler:
    """Runs the cycles of many collectors in one event loop.

    Args:
        clock: None is the running event loop.
        concurrency: Cycles of one platform at a time; or by platform, with ``""`` for those not named.
        metrics: Any `MetricsCollector`, for what it says of itself.
        monitor: What makes the `BaseMonitor` of a collector and its outputs.
        on_result: Awaited with a job and its result after each cycle.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        concurrency: int | Mapping[str, int] = CONCURRENCY,
        metrics: MetricsCollector | None = None,
        monitor: Callable[..., BaseMonitor] = BaseMonitor,
        on_result: Callable[[Job, MonitoringResult], Awaitable[None]] | None = None,
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self._clock = clock
        self._limits = _limits(concurrency)
        self._rooms: dict[str, Room] = {}
        self._metrics = metrics
        self._report = Report(metrics)
        self._monitor = monitor
        self._on_result = on_result
        self._running = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = math.nan

    # ------------------------------------------------------------------ jobs
    def schedule_job(
        self, job_id: str, collector: MetricCollector, interval: float, outputs: Sequence[OutputHandler]
    ) -> Job:
        """Run a collector every so many seconds.

        A job of that name gets the new collector, from its next cycle on, and none is lost between.

        Args:
            job_id: Its name.
            collector: What measures.
            interval: Seconds, more than 0.
            outputs: Where metrics go.
        """
        if not interval > 0 or math.isinf(interval):
            raise ValueError(f"interval={interval!r} of {job_id}: expected seconds, more than 0")
        monitor = self._monitor(collector, outputs, metrics=self._metrics)
        collector.budget_seconds = interval * DEADLINE
        job = self.jobs.get(job_id)
        if job is None:
            job = self.jobs[job_id] = Job(job_id, monitor, interval)
            if self._running:
                self._first(job)
        else:
            job.monitor = monitor
            if job.interval != interval:
                job.interval = interval
                if self._running:
                    self._plan(job)
        return job

    def remove_job(self, job_id: str) -> None:
        """Run it no more; a cycle that is running comes to its end."""
        job = self.jobs.pop(job_id, None)
        if job is not None and job.handle is not None:
            job.handle.cancel()

    def limit(self, concurrency: int | Mapping[str, int]) -> None:
        """Let so many cycles run at a time from now on; those that are running come to their end.

        Args:
            concurrency: As of the constructor.
        """
        self._limits = _limits(concurrency)
        for platform, room in self._rooms.items():
            room.resize(self._limits.get(platform, self._limits[""]))

    async def trigger(self, job_id: str) -> MonitoringResult:
        """A cycle now, beside the plan; the one that is running, if one is.

        Raises:
            KeyError: There is no such job.
            RuntimeError: It was cancelled, or there was no room for it.
        """
        job = self.jobs[job_id]
        if job.running is None and job.work is not None and not job.work.done():
            raise RuntimeError(f"{job_id}: a cycle that was given up has not ended yet")
        result = await asyncio.shield(job.running or self._begin(job))
        if result is None:
            raise RuntimeError(f"{job_id}: the cycle did not run to its end; skipped: {job.skipped}")
        return result

    # ------------------------------------------------------------------ life
    async def start(self) -> None:
        """Begin."""
        if self._running:
            return
        self._running = True
        self._clock = self._clock or asyncio.get_running_loop()
        self._ended = self._clock.time()
        for job in self.jobs.values():
            self._first(job)

    async def stop(self, timeout_seconds: float = 10.0) -> None:
        """Begin no more cycles; those that are running have so long to come to their end."""
        self._running = False
        for job in self.jobs.values():
            if job.handle is not None:
                job.handle.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_seconds)
        left = set(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=GRACE_SECONDS)

    # ------------------------------------------------------------------ health
    def alive(self) -> str:
        """Why it is not alive; empty if it is. May be asked from any thread.

        Cycles end also where every server is away. So if none has ended for three of the shortest intervals, the event
        loop is stuck or something is broken, and a restart is what helps.
        """
        if self._clock is None or not self._running:
            return "not running"
        jobs = list(self.jobs.values())
        if not jobs:
            return ""
        silent = self._clock.time() - self._ended
        limit = PATIENCE_INTERVALS * min(job.interval for job in jobs)
        return f"no cycle has ended for {silent:.0f} s, expected one in {limit:.0f} s" if silent > limit else ""

    def stalled(self) -> list[str]:
        """The jobs of which no cycle ended for three of their intervals."""
        now = self._clock.time() if self._clock is not None else math.nan
        return [job.job_id for job in self.jobs.values() if now - job.ended > PATIENCE_INTERVALS * job.interval]

    # ------------------------------------------------------------------ time
    def _time(self) -> float:
        return (self._clock or asyncio.get_running_loop()).time()

    def _first(self, job: Job) -> None:
        """The first cycle comes soon, the further ones at the place of the instance."""
        soon = min(job.interval, FIRST_SECONDS * len(self.jobs)) * splay(job.job_id)
        self._at(job, self._time() + soon)

    def _plan(self, job: Job) -> None:
        """The next time at the place of the instance that is not too close to the last."""
        now = self._time()
        if job.handle is not None:
            job.handle.cancel()
        place = splay(job.job_id) * job.interval
        number = math.ceil((now - place) / job.interval)
        due = place + number * job.interval
        while due - now < job.interval / 2:
            due += job.interval
        self._at(job, due)

    def _at(self, job: Job, due: float) -> None:
        clock = self._clock or asyncio.get_running_loop()
        job.due = due
        job.ended = self._time() if math.isnan(job.ended) else job.ended
        job.handle = clock.call_at(due, self._due, job)

    def _due(self, job: Job) -> None:
        if not self._running or self.jobs.get(job.job_id) is not job:
            return
        late = max(0.0, self._time() - job.due)
        self._report.late(job.monitor.collector.database_type, late)
        if missed := int(late / job.interval):
            self._skip(job, "late", missed)
        if job.running is not None or (job.work is not None and not job.work.done()):
            self._skip(job, "still_running")
        else:
            _ = self._begin(job)
        self._plan(job)

    def _skip(self, job: Job, reason: str, count: int = 1) -> None:
        job.skipped[reason] = job.skipped.get(reason, 0) + count
        collector = job.monitor.collector
        self._report.skipped(collector.instance_id, collector.database_type, reason, count)
        if reason in _HEARTBEATS:
            told = asyncio.get_running_loop().create_task(self._beat(job, self._skipped(job, reason)))
            self._tasks.add(told)
            told.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ heartbeats
    @staticmethod
    def _skipped(job: Job, reason: str) -> Heartbeat:
        collector = job.monitor.collector
        return Heartbeat(
            timestamp=datetime.now(timezone.utc),
            collector=type(collector).__name__,
            instance_id=collector.instance_id,
            database_type=collector.database_type,
            status=_HEARTBEATS[reason],
            reason=reason,
            interval_seconds=job.interval,
        )

    async def _beat(self, job: Job, heartbeat: Heartbeat) -> None:
        """Tell all outputs that have a place for it."""
        outputs = [output for output in job.monitor.outputs if isinstance(output, EventHandler)]
        done = await asyncio.gather(*(beat(output, [heartbeat]) for output in outputs), return_exceptions=True)
        for output, written in zip(outputs, done, strict=True):
            if isinstance(written, WriteResult):
                if written.published or written.dropped:
                    self._report.heartbeat(heartbeat.status, written.dropped)
            elif isinstance(written, Exception):
                self._report.heartbeat(heartbeat.status, {type(output).__name__: 1})
            else:
                raise written

    # ------------------------------------------------------------------ cycles
    def _begin(self, job: Job) -> asyncio.Task[MonitoringResult | None]:
        task = asyncio.get_running_loop().create_task(self._cycle(job), name=f"gds-monitor {job.job_id}")
        job.running = task
        self._tasks.add(task)

        def ended(task: asyncio.Task[MonitoringResult | None]) -> None:
            self._tasks.discard(task)
            job.running = None
            self._ended = job.ended = self._time()
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("%s: the cycle raised %s", job.job_id, type(error).__name__)

        task.add_done_callback(ended)
        return task

    async def _cycle(self, job: Job) -> MonitoringResult | None:
        platform = job.monitor.collector.database_type
        room = self._rooms.setdefault(platform, Room(self._limits.get(platform, self._limits[""])))
        deadline = self._time() + job.interval * DEADLINE
        # The wait for room is part of the time that a cycle has.
        if not await self._until(deadline, room.acquire()):
            self._skip(job, "no_room")
            return None
        try:
            return await self._bounded(job, deadline)
        finally:
            room.release()

    async def _bounded(self, job: Job, deadline: float) -> MonitoringResult | None:
        """A cycle, ended at its deadline whatever it does."""
        monitor = job.monitor
        work = job.work = asyncio.create_task(monitor.run_monitoring_cycle())
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)
        try:
            if not await self._finished(work, deadline):
                self._skip(job, "deadline")
                work.cancel()
                if not await self._finished(work, deadline + GRACE_SECONDS):
                    # It does not even listen. Its permit goes to others, and without its socket it ends.
                    self._skip(job, "aborted")
                    monitor.collector.abort()
        except asyncio.CancelledError:
            work.cancel()
            monitor.collector.abort()
            raise
        if not work.done() or work.cancelled():
            return None
        job.cycles += 1
        job.last = work.result()
        collector = monitor.collector
        await self._beat(
            job,
            heartbeat_of(
                job.last,
                collector=type(collector).__name__,
                database_type=collector.database_type,
                interval_seconds=job.interval,
                now=datetime.now(timezone.utc),
            ),
        )
        if self._on_result is not None:
            await self._on_result(job, job.last)
        return job.last

    async def _until(self, deadline: float, awaitable: Awaitable[object]) -> bool:
        """Await something, but not for longer; whether it came to its end."""
        task = asyncio.ensure_future(awaitable)
        try:
            if await self._finished(task, deadline):
                return True
        except asyncio.CancelledError:
            task.cancel()
            raise
        task.cancel()
        await asyncio.wait({task})
        # It may have come in the same moment.
        return not task.cancelled()

    async def _finished(self, task: asyncio.Future[Any], deadline: float) -> bool:
        """Wait for a task until a time of the clock; never cancels it."""
        if task.done():
            return True
        clock = self._clock or asyncio.get_running_loop()
        woken = asyncio.get_running_loop().create_future()

        def wake(*_: object) -> None:
            if not woken.done():
                woken.set_result(None)

        timer = clock.call_at(deadline, wake)
        task.add_done_callback(wake)
        try:
            await woken
        finally:
            timer.cancel()
            task.remove_done_callback(wake)
        return task.done()


def _limits(concurrency: int | Mapping[str, int]) -> dict[str, int]:
    limits = {"": concurrency} if isinstance(concurrency, int) else {"": CONCURRENCY, **concurrency}
    for platform, limit in limits.items():
        if limit < 1:
            raise ValueError(f"concurrency={limit!r} of {platform or 'a platform'}: expected 1 or more")
    return limits
