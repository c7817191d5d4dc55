"""What measures a database, and one cycle of it: `MetricCollector`, `BaseMonitor`, `MonitoringResult`.

class Queue(MetricCollector):
    async def collect(self) -> list[Metric]:
        return [Metric("jobs.waiting", await count(), self.instance_id, self.database_type)]

result = await BaseMonitor(Queue("shop", "postgresql"), [output]).run_monitoring_cycle()
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from gds_monitor._report import Report
from gds_monitor.errors import NOT_FOR_IT
from gds_monitor.output import tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gds_metrics import MetricsCollector
    from gds_monitor.metric import Metric
    from gds_monitor.output import OutputHandler, WriteResult
    from gds_monitor.packs.execute import TextEvent

__all__ = ["BaseMonitor", "MetricCollector", "MonitoringResult", "Outcome"]

logger = logging.getLogger("gds_monitor")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one thing that a cycle had planned.

    Attributes:
        collector: What was to be collected: the name of a query of a pack, or of a collector.
        database: Where; None is the instance.
        reason: Why there is nothing of it, one of a few words such as ``lock_timeout``; empty if it succeeded.
        detail: What the server said, without secrets.
        duration_seconds: How long it took.
        rows: How many rows came back.
        pack: Which pack it is of.
    """

    collector: str
    database: str | None = None
    reason: str = ""
    detail: str = ""
    duration_seconds: float = 0.0
    rows: int = 0
    pack: str = ""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return not self.reason

    @property
    def skipped(self) -> bool:
        """Whether it does not apply here, so that nothing is missing."""
        return self.reason in NOT_FOR_IT


class MetricCollector(ABC):
    """Measures one instance.

    Args:
        instance_id: The instance; metrics of one instance keep their order.
        database_type: ``postgresql``, ``mongodb``, ``mssql``, ``snowflake`` or another word.
    """

    def __init__(self, instance_id: str, database_type: str) -> None:
        self.instance_id = instance_id
        self.database_type = database_type
        self.events: list[TextEvent] = []
        """Texts of the last `collect` that were not told before; a monitor takes them out when it has written them."""
        self.budget_seconds: float | None = None
        """How long one `collect` may take, as the scheduler says; None is as long as it likes."""

    @abstractmethod
    async def collect(self) -> list[Metric]:
        """Measure. What raises is a failed cycle; what is left out is among the `outcomes`."""

    async def validate_connection(self) -> bool:
        """Whether the instance can be reached and lets us in."""
        return True

    def get_metadata(self) -> dict[str, Any]:
        """What is known of the instance; no secrets."""
        return {"instance_id": self.instance_id, "database_type": self.database_type}

    @property
    def planned(self) -> int | None:
        """How many outcomes the last `collect` had to have; None for a collector that does not plan."""
        return None

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """What became of each thing that the last `collect` had planned."""
        return ()

    def abort(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of the connection at once, also while `collect` is waiting for it. Never waits and never raises."""

    async def close(self) -> None:  # noqa: B027 - as above
        """Let go of everything. A second call does nothing."""


@dataclass
class MonitoringResult:
    """What a cycle did.

    Attributes:
        instance_id: Of which instance.
        started: When, in UTC.
        duration_seconds: How long it took.
        correlation_id: What all of its metrics carry.
        metrics: What was measured, as it was written.
        planned: How many outcomes there have to be.
        outcomes: One for each thing that was planned.
        written: What the outputs did with the metrics, output by output.
        error: Why the whole cycle failed; empty if it did not.
    """

    instance_id: str
    started: datetime
    correlation_id: str
    duration_seconds: float = 0.0
    metrics: list[Metric] = field(default_factory=list)
    planned: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    written: list[WriteResult] = field(default_factory=list)
    error: str = ""

    @property
    def succeeded(self) -> int:
        """How many of the outcomes are successes."""
        return sum(each.ok for each in self.outcomes)

    @property
    def skipped(self) -> int:
        """How many do not apply, to this version or role for example."""
        return sum(each.skipped for each in self.outcomes)

    @property
    def failed(self) -> int:
        """How many are missing; with ``succeeded`` and ``skipped`` it is ``planned``."""
        return len(self.outcomes) - self.succeeded - self.skipped

    @property
    def success(self) -> bool:
        """Whether nothing is missing."""
        return not self.error and not self.failed

    @property
    def reasons(self) -> dict[str, int]:
        """Why things are missing, and how many of each."""
        found: dict[str, int] = {}
        for each in self.outcomes:
            if each.reason:
                found[each.reason] = found.get(each.reason, 0) + 1
        return found


class BaseMonitor:
    """Runs the cycles of one collector: check, collect, process, write, check.

    A subclass replaces hooks. What a hook, the collector or an output raises is in the result.

    Args:
        collector: What measures.
        outputs: Where metrics go.
        metrics: Any `MetricsCollector`, for what the monitor says of itself.
    """

    def __init__(
        self,
        collector: MetricCollector,
        outputs: Sequence[OutputHandler] = (),
        *,
        metrics: MetricsCollector | None = None,
    ) -> None:
        self.collector = collector
        self.outputs = list(outputs)
        self._report = Report(metrics)

    # ------------------------------------------------------------------ hooks
    async def pre_check(self) -> bool:
        """Before anything is measured; False leaves the cycle out, with the reason ``pre_check``."""
        return True

    async def collect_metrics(self) -> list[Metric]:
        """Measure."""
        return await self.collector.collect()

    async def process_metrics(self, metrics: list[Metric]) -> list[Metric]:
        """Change, add or leave out metrics before they are written."""
        return metrics

    async def post_check(self, result: MonitoringResult) -> None:
        """After everything is written."""

    # ------------------------------------------------------------------ a cycle
    async def run_monitoring_cycle(self) -> MonitoringResult:
        """One cycle; raises nothing but that the task was cancelled."""
        result = MonitoringResult(self.collector.instance_id, datetime.now(timezone.utc), uuid.uuid4().hex)
        # Those of a cycle that was cancelled before it had written them: they are told once, so they are kept.
        left, self.collector.events = self.collector.events, []
        began = time.monotonic()
        reason = ""
        try:
            if await self.pre_check():
                collected = await self.collect_metrics()
                self._stamp(collected, result, time.monotonic() - began)
                result.metrics = await self.process_metrics(collected)
            else:
                reason, result.error = "pre_check", "pre_check() said no"
        except asyncio.CancelledError:
            self.collector.events = [*left, *self.collector.events]
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the next cycle has to run
            reason, result.error = _reason(error), _text(error)
        self._account(result, reason)
        self.collector.events = [*left, *self.collector.events]
        await self._write(result)
        try:
            await self.post_check(result)
        except Exception as error:  # noqa: BLE001 - as above
            result.error = result.error or _text(error)
        result.duration_seconds = time.monotonic() - began
        self._report.cycle(self.collector, result)
        return result

    @staticmethod
    def _stamp(metrics: list[Metric], result: MonitoringResult, seconds: float) -> None:
        """What all metrics of a cycle have in common, where a collector said nothing."""
        for metric in metrics:
            metric.timestamp = metric.timestamp or result.started
            metric.correlation_id = metric.correlation_id or result.correlation_id
            metric.collection_duration_ms = metric.collection_duration_ms or seconds * 1000

    def _account(self, result: MonitoringResult, reason: str) -> None:
        """One outcome for each thing planned, whatever happened."""
        result.outcomes = list(self.collector.outcomes) if reason != "pre_check" else []
        planned = self.collector.planned
        if planned is None:
            name = type(self.collector).__name__
            result.outcomes = [Outcome(name, None, reason, result.error, rows=len(result.metrics))]
            planned = 1
        missing = planned - len(result.outcomes)
        # A collector that lost count would be half a picture that looks whole.
        result.outcomes += [Outcome("", None, reason or "unreported", result.error)] * max(0, missing)
        if missing < 0:
            logger.error("%s: %d outcomes for %d planned", result.instance_id, len(result.outcomes), planned)
        result.planned = max(planned, len(result.outcomes))

    async def _write(self, result: MonitoringResult) -> None:
        outputs, texts = list(self.outputs), self.collector.events
        if result.metrics:
            for output, written in await _all(outputs, lambda output: output.write(result.metrics)):
                if isinstance(written, Exception):
                    result.error = result.error or f"{type(output).__name__}: {_text(written)}"
                    self._report.lost(output, len(result.metrics))
                else:
                    result.written.append(written)
        if texts:
            for output, written in await _all(outputs, lambda output: tell(output, texts)):
                lost = {type(output).__name__: len(texts)} if isinstance(written, Exception) else written.dropped
                self._report.texts(len(texts) - sum(lost.values()), lost)
            self.collector.events = []


async def _all(
    outputs: Sequence[OutputHandler], write: Callable[[OutputHandler], Awaitable[WriteResult]]
) -> list[tuple[OutputHandler, WriteResult | Exception]]:
    """What each output did, or raised."""
    done = await asyncio.gather(*map(write, outputs), return_exceptions=True)
    for written in done:
        if isinstance(written, BaseException) and not isinstance(written, Exception):
            raise written
    return list(zip(outputs, done, strict=True))  # type: ignore[arg-type] # what is no Exception was raised


def _reason(error: Exception) -> str:
    return getattr(error, "reason", "") or "error"


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
