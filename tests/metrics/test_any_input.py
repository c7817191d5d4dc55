"""Whatever a program passes, no collector raises, returns anything or takes another's measurement."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from gds_metrics import (
    CompositeMetrics,
    ConsoleMetrics,
    MetricsCollector,
    NoOpMetrics,
    OpenTelemetryMetrics,
    PrometheusMetrics,
    StatsdMetrics,
    timed,
    with_trace_context,
)
from tests.metrics.doubles import METHODS, Broken, Recorder, any_labels, anything


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class Deaf(NamedTuple):
    tcp_port: int
    udp_port: int


@pytest.fixture(scope="module")
def deaf() -> Iterator[Deaf]:
    """Ports that are taken and where nobody answers."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        stream.bind(("127.0.0.1", 0))
        datagrams.bind(("127.0.0.1", 0))
        yield Deaf(stream.getsockname()[1], datagrams.getsockname()[1])


MAKERS: dict[str, Callable[[Deaf], MetricsCollector]] = {
    "noop": lambda _: NoOpMetrics(),
    "console": lambda _: ConsoleMetrics(),
    "prometheus": lambda _: PrometheusMetrics(start_server=False, process_metrics=False),
    "prometheus with expiry": lambda _: PrometheusMetrics(start_server=False, expire_after_seconds=3600, max_series=3),
    "composite": lambda _: CompositeMetrics([Broken(), PrometheusMetrics(start_server=False), NoOpMetrics()]),
    "opentelemetry": lambda deaf: OpenTelemetryMetrics(
        endpoint=f"http://127.0.0.1:{deaf.tcp_port}", interval_seconds=3600
    ),
    "opentelemetry provider": lambda _: OpenTelemetryMetrics(
        meter_provider=MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    ),
    "statsd": lambda deaf: StatsdMetrics("127.0.0.1", deaf.udp_port, flush_interval_seconds=3600),
}


@pytest.fixture(scope="module", params=MAKERS)
def collector(request: pytest.FixtureRequest, quiet: None, deaf: Deaf) -> Iterator[MetricsCollector]:
    collector = MAKERS[request.param](deaf)
    yield collector
    if hasattr(collector, "close"):
        collector.close(timeout_seconds=0.1)


@settings(max_examples=150)
@given(st.sampled_from(METHODS), anything, anything, any_labels)
def test_no_argument_raises(collector: MetricsCollector, method: str, name: Any, value: Any, labels: Any) -> None:
    assert getattr(collector, method)(name, value, labels) is None


@given(
    st.sampled_from(METHODS),
    st.text(),
    st.one_of(st.floats(), st.integers()),
    st.dictionaries(st.text(), st.text(), max_size=5),
)
def test_no_name_value_or_label_raises(
    collector: MetricsCollector, method: str, name: str, value: float, labels: dict[str, str]
) -> None:
    before = dict(labels)
    assert getattr(collector, method)(name, value, labels) is None
    assert labels == before


@given(any_labels, st.booleans())
def test_labels_with_a_trace_can_be_made_of_anything(labels: Any, include: bool) -> None:
    assert isinstance(with_trace_context(labels, include), dict)


@given(anything, any_labels)
def test_timing_with_any_name_and_labels_keeps_the_result(collector: MetricsCollector, name: Any, labels: Any) -> None:
    with timed(collector, name, labels):
        result = 1
    assert result == 1


@given(st.text(min_size=1), st.integers(0, 1000), st.dictionaries(st.text(), st.text(), max_size=4))
def test_every_member_of_a_composite_gets_the_same(name: str, value: int, labels: dict[str, str]) -> None:
    first, second = Recorder(), Recorder()
    prometheus = PrometheusMetrics(start_server=False, process_metrics=False)
    composite = CompositeMetrics([first, Broken(), prometheus, second])
    for method in METHODS:
        getattr(composite, method)(name, value, labels)
    assert first.calls == second.calls
    assert [(call.method, call.name, call.value, call.labels) for call in first.calls] == [
        (method, name, value, labels) for method in METHODS
    ]
    assert prometheus.sample(name, labels) is not None


@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.integers(0, 100)), max_size=40))
def test_counters_of_any_name_add_up(calls: list[tuple[str, int]]) -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False)
    for name, value in calls:
        metrics.increment(name, value)
    # Names that look alike on the page are one counter, so each name has at least what was added to it.
    totals: dict[str, int] = {}
    for name, value in calls:
        totals[name] = totals.get(name, 0) + value
    for name, total in totals.items():
        assert (metrics.sample(name) or 0) >= total
