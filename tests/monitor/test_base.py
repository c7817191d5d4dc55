from __future__ import annotations

from collections.abc import Sequence

import pytest

from gds_monitor.base import BaseMonitor, MonitoringResult, Outcome
from gds_monitor.metric import Metric
from tests.monitor.doubles import Broken, Counting, Kept

pytestmark = pytest.mark.anyio


class Planning(Counting):
    def __init__(self, planned: int, outcomes: Sequence[Outcome]) -> None:
        super().__init__()
        self._planned, self._outcomes = planned, outcomes

    @property
    def planned(self) -> int:
        return self._planned

    @property
    def outcomes(self) -> Sequence[Outcome]:
        return self._outcomes


async def test_a_cycle_measures_and_writes() -> None:
    output = Kept()
    result = await BaseMonitor(Counting(), [output]).run_monitoring_cycle()
    assert result.success
    assert (result.planned, result.succeeded, result.failed) == (1, 1, 0)
    (metric,) = output.metrics
    assert (metric.value, metric.timestamp, metric.correlation_id) == (1, result.started, result.correlation_id)
    assert result.written[0].published == 1


async def test_what_a_collector_raises_is_a_result_with_its_reason() -> None:
    collector = Counting()
    collector.error = OSError("the server\nis away")
    result = await BaseMonitor(collector, [Kept()]).run_monitoring_cycle()
    assert not result.success
    assert result.error == "the server is away"
    assert result.reasons == {"error": 1}


async def test_outcomes_that_a_collector_lost_are_counted_as_missing() -> None:
    result = await BaseMonitor(Planning(3, [Outcome("a"), Outcome("b", reason="privilege")])).run_monitoring_cycle()
    assert (result.planned, result.succeeded, result.failed) == (3, 1, 2)
    assert result.reasons == {"privilege": 1, "unreported": 1}


async def test_one_broken_output_leaves_the_others_alone() -> None:
    output = Kept()
    result = await BaseMonitor(Counting(), [Broken(), output]).run_monitoring_cycle()
    assert len(output.metrics) == 1
    assert result.error == "Broken: nowhere to go"


async def test_hooks_decide_what_is_measured_and_written() -> None:
    class Mine(BaseMonitor):
        seen: MonitoringResult | None = None

        async def process_metrics(self, metrics: list[Metric]) -> list[Metric]:
            return [*metrics, Metric("more", 1, "one", "postgresql")]

        async def post_check(self, result: MonitoringResult) -> None:
            self.seen = result
            raise ValueError("too few")

    output = Kept()
    monitor = Mine(Counting(), [output])
    result = await monitor.run_monitoring_cycle()
    assert [metric.metric_name for metric in output.metrics] == ["calls", "more"]
    assert monitor.seen is result
    assert result.error == "too few"


async def test_a_pre_check_that_says_no_leaves_the_cycle_out() -> None:
    class Never(BaseMonitor):
        async def pre_check(self) -> bool:
            return False

    collector, output = Counting(), Kept()
    result = await Never(collector, [output]).run_monitoring_cycle()
    assert (collector.calls, output.metrics) == (0, [])
    assert result.reasons == {"pre_check": 1}
