from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_metrics import CompositeMetrics, MetricsCollector, NoOpMetrics
from tests.metrics.doubles import METHODS, Unprintable, any_labels, anything


def test_is_a_true_collector() -> None:
    metrics = NoOpMetrics()
    assert isinstance(metrics, MetricsCollector)
    assert metrics
    assert (metrics or None) is metrics


def test_each_method_takes_the_arguments_of_a_collector_and_returns_nothing() -> None:
    metrics: Any = NoOpMetrics()
    assert metrics.increment("a") is None
    assert metrics.increment("a", 2) is None
    assert metrics.increment("a", value=2, labels={"x": "1"}) is None
    assert metrics.gauge("a", 1.5, {"x": "1"}) is None
    assert metrics.histogram(name="a", value=1.5, labels=None) is None
    assert metrics.timing("a", value_ms=1.5) is None
    assert metrics.describe("a", help="x", unit="s", buckets=[1], aggregation="max") is None


@given(st.sampled_from(METHODS), anything, anything, any_labels)
def test_nothing_that_is_passed_is_looked_at(method: str, name: Any, value: Any, labels: Any) -> None:
    getattr(NoOpMetrics(), method)(name, value, labels)


def test_labels_that_fail_when_read_are_not_read() -> None:
    NoOpMetrics().increment(Unprintable(), Unprintable(), Unprintable())  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [(), ("a", 1, None, 4)])
def test_a_call_with_the_wrong_number_of_arguments_is_a_mistake(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        NoOpMetrics().increment(*arguments)


def test_it_is_shown_as_what_it_is() -> None:
    assert repr(NoOpMetrics()) == "NoOpMetrics()"
    assert str(NoOpMetrics()) == "No-Op Metrics (disabled)"


def test_there_is_nothing_to_flush_or_close() -> None:
    with NoOpMetrics() as metrics:
        assert metrics.flush() is True
        assert metrics.flush(timeout_seconds=1.0) is True
        metrics.close()
        metrics.close(1.0)
    with pytest.raises(ZeroDivisionError), NoOpMetrics():
        _ = 1 / 0


def test_a_subclass_may_have_its_own_constructor() -> None:
    class Named(NoOpMetrics):
        def __init__(self, name: str) -> None:
            self.name = name

    metrics = Named("x")
    metrics.increment("a")
    assert metrics.name == "x"


def test_it_may_be_a_member_of_a_composite() -> None:
    composite = CompositeMetrics([NoOpMetrics()])
    composite.increment("a")
    assert composite.failures[0][1] == 0
