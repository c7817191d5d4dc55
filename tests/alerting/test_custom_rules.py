"""Rules of users: each in a thread of its own, with a deadline."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from gds_alerting import (
    Alert,
    AlertConfigurationError,
    AlertEvaluationStrategy,
    AlertEvaluator,
    AlertRule,
    AlertSeverity,
)
from tests.alerting.running import LONG_SECONDS
from tests.alerting.test_evaluator import Clock, Measured

pytestmark = pytest.mark.timing


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Doubled(AlertRule):
    severity = AlertSeverity.CRITICAL
    deadline_seconds = LONG_SECONDS

    def evaluate(self, metric: Any) -> bool:
        return bool(metric.value > 2 * 40)


class Worded(AlertRule):
    deadline_seconds = LONG_SECONDS

    def __init__(self) -> None:  # without calling that of its base
        self.id = "worded"

    def evaluate(self, metric: Any) -> Alert | None:
        return self.alert(metric, f"{metric.value} is far too many") if metric.value > 80 else None


def test_a_rule_of_ones_own_has_the_same_life_as_others(clock: Clock) -> None:
    evaluator = AlertEvaluator([Doubled(), Worded()], clock=clock)
    doubled, worded = evaluator.evaluate([Measured()])
    assert (doubled.rule_id, doubled.severity, doubled.key) == (
        "Doubled",
        AlertSeverity.CRITICAL,
        "Doubled:db-1:cpu_usage",
    )
    assert worded.message == "92 is far too many"
    assert worded.labels["metric"] == "cpu_usage"
    assert not [name for name in worded.labels if name.startswith("gds_")]
    assert evaluator.evaluate([Measured()]) == []
    over = evaluator.evaluate([Measured(value=1)])
    assert [alert.message for alert in over] == ["over: Doubled: cpu_usage of db-1", "over: 92 is far too many"]


def test_a_strategy_serves_rules(clock: Clock) -> None:
    class Odd(AlertEvaluationStrategy):
        def evaluate(self, metric: Any, rule: AlertRule) -> Alert | None:
            return rule.alert(metric, f"{rule.id}: {metric.value} is odd") if metric.value % 2 else None

    odd = Odd()
    evaluator = AlertEvaluator([AlertRule("a", strategy=odd), AlertRule("b", metric_name="other", strategy=odd)])
    assert [alert.message for alert in evaluator.evaluate_metrics([Measured(value=3)])] == ["a: 3 is odd"]


def test_a_rule_that_fails_is_counted_and_stops_no_other(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(AlertRule):
        deadline_seconds = LONG_SECONDS

        def evaluate(self, metric: Any) -> bool:
            raise SystemExit("a rule is no program")

    class Answering(AlertRule):
        deadline_seconds = LONG_SECONDS

        def evaluate(self, metric: Any) -> Any:
            class Never:
                def __bool__(self) -> bool:
                    raise ValueError("neither")

            return Never()

    class Misspelt(AlertRule):
        deadline_seconds = LONG_SECONDS

        def evaluate(self, metric: Any) -> Alert:
            return Alert(severity="grave", message="a severity that there is not")  # type: ignore[arg-type]

    evaluator = AlertEvaluator([Failing(), Answering(), Misspelt(), Doubled()], clock=clock)
    with caplog.at_level(logging.WARNING, "gds_alerting"):
        found = evaluator.evaluate_metrics([Measured(), Measured(instance_id="db-2")])
    assert [alert.rule_id for alert in found] == ["Doubled", "Doubled"]
    assert evaluator.failures == {name: {"raised": 2} for name in ("Failing", "Answering", "Misspelt")}
    assert len(caplog.records) == 3


def test_a_rule_that_hangs_holds_up_no_other(clock: Clock) -> None:
    goes_on = threading.Event()

    class Hanging(AlertRule):
        deadline_seconds = 0.05

        def evaluate(self, metric: Any) -> bool:
            goes_on.wait()
            return True

    evaluator = AlertEvaluator([Hanging(), Doubled()], clock=clock)
    assert [alert.rule_id for alert in evaluator.evaluate_metrics([Measured(), Measured("other", 1)])] == ["Doubled"]
    assert evaluator.failures == {"Hanging": {"deadline": 2}}
    assert evaluator.evaluate_metrics([Measured(instance_id="db-2")])[0].rule_id == "Doubled"
    assert evaluator.failures == {"Hanging": {"deadline": 2, "busy": 1}}
    goes_on.set()
    # What it said too late counts for nothing; it is asked again once it has come back.
    until = time.monotonic() + LONG_SECONDS
    while time.monotonic() < until:
        found = evaluator.evaluate_metrics([Measured(instance_id="db-3")])
        if any(alert.rule_id == "Hanging" for alert in found):
            break
    assert [key for key in evaluator.active_alerts if key.startswith("Hanging")] == ["Hanging:db-3:cpu_usage"]


def test_a_coroutine_function_is_no_rule() -> None:
    class Waiting(AlertRule):
        async def evaluate(self, metric: Any) -> bool:  # type: ignore[override]
            return True

    with pytest.raises(AlertConfigurationError, match="coroutine function"):
        AlertEvaluator([Waiting()])
