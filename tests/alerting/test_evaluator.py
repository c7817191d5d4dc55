"""`AlertEvaluator`: rules of Python, evaluated by the engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gds_alerting import (
    AlertConfigurationError,
    AlertEvaluator,
    AlertRule,
    AlertSeverity,
    AlertState,
    ThresholdRule,
)
from gds_monitor import Metric

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Clock:
    def __init__(self) -> None:
        self.seconds = START.timestamp()

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Measured:
    """Not ours: anything with these is a metric."""

    metric_name: Any = "cpu_usage"
    value: Any = 92
    instance_id: Any = "db-1"
    timestamp: Any = None
    tags: Any = field(default_factory=dict)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cpu(clock: Clock, **settings: Any) -> AlertEvaluator:
    return AlertEvaluator([ThresholdRule("cpu_usage", ">", 80, AlertSeverity.WARNING)], clock=clock, **settings)


def test_what_breaches_a_threshold_is_told_once(clock: Clock) -> None:
    evaluator = cpu(clock)
    metric = Measured(tags={"environment": "production"})
    [alert] = evaluator.evaluate_metrics([metric])
    assert evaluator.evaluate_metrics([metric]) == []
    assert alert.metric is metric
    assert (alert.rule_id, alert.severity, alert.state) == ("cpu_usage > 80", AlertSeverity.WARNING, AlertState.FIRING)
    assert alert.message == "cpu_usage of db-1 is 92 (> 80)"
    assert (alert.metric_name, alert.instance_id, alert.value) == ("cpu_usage", "db-1", 92)
    assert alert.labels.items() >= {"environment": "production", "severity": "warning"}.items()
    assert list(evaluator.active_alerts) == [alert.key] == ["cpu_usage > 80:db-1:cpu_usage"]
    assert evaluator.active_alerts[alert.key].id == alert.id


def test_it_is_told_again_after_the_cooldown_while_it_is_open(clock: Clock) -> None:
    evaluator = cpu(clock, cooldown=timedelta(minutes=5))
    [first] = evaluator.evaluate_metrics([Measured()])
    clock.seconds += 299
    assert evaluator.evaluate_metrics([Measured()]) == []
    clock.seconds += 1
    [again] = evaluator.evaluate_metrics([Measured()])
    assert again.reminder
    assert (again.key, again.correlation_id) == (first.key, first.correlation_id)
    assert again.id != first.id


def test_what_opens_again_within_the_cooldown_is_not_told(clock: Clock) -> None:
    evaluator = cpu(clock, cooldown=60)
    assert len(evaluator.evaluate_metrics([Measured()])) == 1
    assert evaluator.evaluate_metrics([Measured(value=10)]) == []
    assert evaluator.active_alerts == {}
    assert evaluator.evaluate_metrics([Measured()]) == []
    clock.seconds += 61
    assert len(evaluator.evaluate_metrics([])) == 1


def test_its_end_is_told_with_an_id_of_its_own(clock: Clock) -> None:
    evaluator = cpu(clock)
    [fired] = evaluator.evaluate([Measured()])
    [over] = evaluator.evaluate([Measured(value=10)])
    assert over.state is AlertState.RESOLVED
    assert not over.is_open
    assert over.correlation_id == fired.correlation_id
    assert over.id != fired.id
    assert str(over).startswith("RESOLVED warning: over: cpu_usage of db-1")


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        (">", False, False, True),
        (">=", False, True, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_every_operator_compares_decimals_exactly(operator: str, below: bool, equal: bool, above: bool) -> None:
    rule = ThresholdRule(metric_name="ratio", operator=operator, threshold=Decimal("0.3"), severity=AlertSeverity.ERROR)
    for text, expected in (("0.2999999999999999999", below), ("0.3", equal), ("0.3000000000000000001", above)):
        metric = Measured("ratio", Decimal(text))
        found = AlertEvaluator([rule]).evaluate_metrics([metric])
        assert (len(found) == 1) is expected is rule.evaluate(metric), (operator, text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3), st.sampled_from([0.1, 5, "2.5", Decimal("-7.25")]))
@settings(max_examples=60, deadline=None)
def test_the_engine_and_the_rule_by_itself_say_the_same(value: Decimal, threshold: Any) -> None:
    rule = ThresholdRule("m", ">", threshold)
    assert bool(AlertEvaluator([rule]).evaluate_metrics([Measured("m", value)])) is rule.evaluate(Measured("m", value))


def test_instances_and_metrics_have_alerts_of_their_own(clock: Clock) -> None:
    evaluator = AlertEvaluator([ThresholdRule("cpu_usage", ">", 80), ThresholdRule("memory", ">", 80)], clock=clock)
    found = evaluator.evaluate_metrics([Measured(), Measured(instance_id="db-2"), Measured("memory"), Measured("disk")])
    assert sorted(alert.key for alert in found) == [
        "cpu_usage > 80:db-1:cpu_usage",
        "cpu_usage > 80:db-2:cpu_usage",
        "memory > 80:db-1:memory",
    ]


def test_a_tag_says_whose_alert_it_is(clock: Clock) -> None:
    [alert] = cpu(clock).evaluate_metrics([Measured(instance_id="collector", tags={"instance_id": "db-9"})])
    assert (alert.key, alert.instance_id) == ("cpu_usage > 80:db-9:cpu_usage", "db-9")


def test_it_fires_once_it_has_been_true_for_long_enough(clock: Clock) -> None:
    rule = ThresholdRule("cpu_usage", ">", 80, for_seconds=timedelta(minutes=5))
    evaluator = AlertEvaluator([rule], clock=clock)
    for minute, expected in enumerate([0, 0, 0, 0, 0, 1]):
        clock.seconds = (START + timedelta(minutes=minute)).timestamp()
        metric = Measured(timestamp=START + timedelta(minutes=minute))
        assert len(evaluator.evaluate_metrics([metric])) == expected
        assert len(evaluator.active_alerts) == expected


def test_times_are_taken_in_every_form(clock: Clock) -> None:
    forms = [
        START,
        START.isoformat(),
        "2026-03-01T12:00:00Z",
        START.timestamp(),
        START.astimezone().replace(tzinfo=None),
    ]
    for form in forms:
        [alert] = cpu(clock).evaluate_metrics([Measured(timestamp=form)])
        assert alert.timestamp == START, form


def test_metrics_of_the_monitor_are_metrics(clock: Clock) -> None:
    metric = Metric("cpu_usage", Decimal("80.5"), "db-1", "postgresql", timestamp=START)
    [alert] = cpu(clock).evaluate_metrics([metric])
    assert alert.labels["database_type"] == "postgresql"


def test_what_is_no_metric_is_counted_and_raises_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Hostile:
        @property
        def metric_name(self) -> str:
            raise RuntimeError("no")

    def metrics() -> Iterator[Any]:
        yield from [None, 7, Hostile(), Measured(value="92"), Measured(value=True), Measured(value=float("nan"))]
        yield from [Measured(""), Measured(instance_id=None), Measured(timestamp="soon"), Measured(tags=7)]
        yield from [Measured(tags={"a": "\ud800"}), Measured(timestamp=1e300), Measured(timestamp=2**62)]
        yield from [Measured(timestamp=float("inf")), Measured(value=10**400), Measured("\udfff")]
        # A clock that is wrong.
        yield Measured(timestamp=START + timedelta(days=1))
        yield Measured()
        raise OSError("the source ended")

    evaluator = cpu(clock)
    with caplog.at_level(logging.WARNING, "gds_alerting"):
        assert len(evaluator.evaluate_metrics(metrics())) == 1
    assert evaluator.counts["invalid"] == 18
    assert len(caplog.records) == 1


# ------------------------------------------------------------------ rules that come and go, and state
def test_rules_come_and_go_while_alerts_stay_open(clock: Clock) -> None:
    evaluator = cpu(clock)
    assert len(evaluator.evaluate_metrics([Measured()])) == 1
    evaluator.add_rule(ThresholdRule("cpu_usage", ">", 90, AlertSeverity.CRITICAL))
    [second] = evaluator.evaluate_metrics([Measured()])
    assert second.severity is AlertSeverity.CRITICAL
    assert len(evaluator.active_alerts) == 2
    evaluator.remove_rule("cpu_usage > 90")
    assert len(evaluator.active_alerts) == 2
    assert [rule.id for rule in evaluator.rules] == ["cpu_usage > 80"]


def test_another_goes_on_from_its_state(clock: Clock) -> None:
    before = cpu(clock)
    [fired] = before.evaluate([Measured()])
    after = cpu(clock, state=before.state)
    assert after.evaluate([Measured()]) == []
    assert list(after.active_alerts) == [fired.key]
    [over] = after.evaluate([Measured(value=1)])
    assert (over.state, over.correlation_id) == (AlertState.RESOLVED, fired.correlation_id)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ThresholdRule("cpu", "=>", 80), "operator='=>': expected one of > >= < <= == !="),
        (lambda: ThresholdRule("", ">", 80), "metric_name=''"),
        (lambda: ThresholdRule("cpu", ">", float("inf")), "threshold=inf: expected a finite number"),
        (lambda: ThresholdRule("cpu", ">", True), "threshold=True"),
        (lambda: ThresholdRule("cpu", ">", "eighty"), "threshold='eighty'"),
        (lambda: ThresholdRule("cpu", ">", 80, "grave"), "severity='grave': expected an AlertSeverity: info, warning"),
        (lambda: AlertEvaluator([AlertRule("a")]), "rule a: AlertRule has no evaluate"),
        (lambda: AlertEvaluator(["cpu > 80"]), "'cpu > 80' is no rule"),  # type: ignore[list-item]
        (lambda: AlertEvaluator("cpu"), "rules='cpu': expected a list"),  # type: ignore[arg-type]
        (lambda: AlertEvaluator([ThresholdRule("a", ">", 1)] * 2), "rule a > 1 is there twice"),
        (lambda: AlertEvaluator([ThresholdRule("a", ">", 1, for_seconds=-1)]), "for_seconds=-1: expected seconds"),
        (lambda: AlertEvaluator([ThresholdRule("a", ">", 1, labels={"a": 1})]), "labels="),
        (lambda: AlertEvaluator(cooldown=-1), "cooldown=-1: expected seconds"),
        (lambda: AlertEvaluator(state="{}"), "no state of an engine"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises(AlertConfigurationError) as refused:
        make()
    assert message in str(refused.value)


def test_importing_it_loads_nothing_that_waits() -> None:
    from tests.metrics.programs import run

    source = """
import sys
import gds_alerting
print(sorted({"asyncio", "concurrent.futures", "logging", "socket", "ssl", "threading", "typing"} & set(sys.modules)))
"""
    assert run(source) == "[]\n"
