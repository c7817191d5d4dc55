from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

from gds_metrics import MetricsCollector
from gds_metrics._meter import SECONDS_BUCKETS, MeterCollector
from tests.metrics.doubles import METHODS, any_labels, anything
from tests.services.process import wait_until


class Pipeline:
    """A provider of the program, and what arrives at its end."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.metrics = MeterCollector(self.provider, version="9.9")

    def exported(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        return list(self.exported()[name].data.data_points)

    def values(self, name: str) -> dict[tuple[tuple[str, Any], ...], float]:
        return {tuple((p.attributes or {}).items()): p.value for p in self.points(name)}


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline()
    yield pipeline
    pipeline.provider.shutdown()


def test_is_a_collector(pipeline: Pipeline) -> None:
    assert isinstance(pipeline.metrics, MetricsCollector)
    assert bool(pipeline.metrics)


def test_increments_add_up_in_each_series(pipeline: Pipeline) -> None:
    pipeline.metrics.increment("requests")
    pipeline.metrics.increment("requests", 2.5, {"path": "/"})
    pipeline.metrics.increment("requests", 2, {"path": "/"})
    assert pipeline.values("requests") == {(): 1, (("path", "/"),): 4.5}
    counter: Any = pipeline.exported()["requests"].data
    assert counter.is_monotonic


def test_a_gauge_shows_what_was_set_last(pipeline: Pipeline) -> None:
    pipeline.metrics.gauge("connections", 5, {"pool": "a"})
    pipeline.metrics.gauge("connections", -3, {"pool": "a"})
    assert pipeline.values("connections") == {(("pool", "a"),): -3}


def test_a_histogram_keeps_its_unit(pipeline: Pipeline) -> None:
    pipeline.metrics.describe("size", help="Size of an answer.", unit="By", buckets=[100, 10])
    for value in (5, 50, 500):
        pipeline.metrics.histogram("size", value)
    metric = pipeline.exported()["size"]
    assert (metric.description, metric.unit) == ("Size of an answer.", "By")
    [point] = pipeline.points("size")
    assert (point.count, point.sum) == (3, 555)
    assert tuple(point.explicit_bounds) == (10, 100)
    assert tuple(point.bucket_counts) == (1, 1, 1)


def test_a_timing_is_a_histogram_in_seconds(pipeline: Pipeline) -> None:
    pipeline.metrics.describe("query", help="A query.", unit="ms")
    pipeline.metrics.timing("query", 250, {"table": "users"})
    metric = pipeline.exported()["query"]
    assert (metric.description, metric.unit) == ("A query.", "s")
    [point] = pipeline.points("query")
    assert point.attributes == {"table": "users"}
    assert (point.count, point.sum) == (1, 0.25)
    assert tuple(point.explicit_bounds) == SECONDS_BUCKETS


def test_the_meter_is_named_after_the_package(pipeline: Pipeline) -> None:
    pipeline.metrics.increment("a")
    data = pipeline.reader.get_metrics_data()
    assert data is not None
    scope = data.resource_metrics[0].scope_metrics[0].scope
    assert (scope.name, scope.version) == ("gds_metrics", "9.9")


@pytest.mark.parametrize(
    ("name", "instrument"),
    [
        ("vault.secret.fetch", "vault.secret.fetch"),
        ("with-dash/and_line", "with-dash/and_line"),
        ("with space", "with_space"),
        ("größe", "gr_f6__df_e"),
        ("5xx", "m_5xx"),
        ("a" * 300, "a" * 255),
    ],
)
def test_names_are_kept_as_far_as_opentelemetry_allows(pipeline: Pipeline, name: str, instrument: str) -> None:
    pipeline.metrics.increment(name)
    assert pipeline.values(instrument) == {(): 1}
    assert pipeline.metrics.dropped == {}


def test_names_that_become_the_same_share_an_instrument(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipeline.metrics.increment("a b")
    pipeline.metrics.increment("a_b")
    assert pipeline.values("a_b") == {(): 2}
    assert caplog.records == []


def test_one_name_as_two_kinds_is_two_instruments_and_mentioned_once(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        pipeline.metrics.increment("a", 3)
        pipeline.metrics.gauge("A", 7)
        pipeline.metrics.timing("a", 1000)
    # Read in one go, for the SDK shows a gauge once for each time it was set. It makes names lower-case.
    exported: dict[str, Any] = pipeline.exported()
    assert sorted(exported) == ["a", "a_gauge", "a_timing"]
    assert exported["a"].data.data_points[0].value == 6
    assert exported["a_gauge"].data.data_points[0].value == 7
    assert exported["a_timing"].data.data_points[0].sum == 2
    [record] = caplog.records
    assert record.name == "gds_metrics"
    assert "metric 'A' is a counter and now also a gauge" in record.getMessage()


def test_label_values_become_text(pipeline: Pipeline) -> None:
    pipeline.metrics.increment("a", labels={"none": None, "flag": True, "number": 7})
    [point] = pipeline.points("a")
    assert point.attributes == {"none": "", "flag": "true", "number": "7"}


def test_labels_that_exporters_refuse_are_adapted(pipeline: Pipeline) -> None:
    pipeline.metrics.increment("a", labels={"": "nameless", "größe": "\ud800x"})
    [point] = pipeline.points("a")
    assert point.attributes == {"_": "nameless", "größe": "\ufffdx"}


def test_a_description_after_the_first_report_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.metrics.increment("a")
    pipeline.metrics.describe("a", help="Too late.", unit="By")
    pipeline.metrics.increment("a")
    metric = pipeline.exported()["a"]
    assert (metric.description, metric.unit) == ("", "")
    assert pipeline.values("a") == {(): 2}


@pytest.mark.parametrize(
    "settings",
    [
        {"help": 5},
        {"unit": 5},
        {"unit": "grüße"},
        {"unit": "x" * 64},
        {"buckets": ["wide"]},
        {"buckets": 5},
    ],
)
def test_a_bad_description_is_counted_and_the_metric_goes_on_without(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    pipeline.metrics.describe("a", **settings)
    pipeline.metrics.histogram("a", 1)
    assert sum(pipeline.metrics.dropped.values()) == 1
    assert len(caplog.records) == 1
    assert pipeline.points("a")[0].count == 1


@pytest.mark.parametrize(
    ("method", "name", "value", "labels", "reason"),
    [
        ("increment", "a", -1, None, "negative_increment"),
        ("increment", "a", math.nan, None, "negative_increment"),
        ("increment", "a", math.inf, None, "invalid_value"),
        ("gauge", "a", math.nan, None, "invalid_value"),
        ("histogram", "a", -1, None, "invalid_value"),
        ("timing", "a", math.inf, None, "invalid_value"),
        ("timing", "a", "1", None, "invalid_value"),
        ("gauge", None, 1, None, "invalid_name"),
        ("gauge", "a", 1, ["l"], "invalid_labels"),
    ],
)
def test_bad_input_is_dropped_counted_and_mentioned_once(
    pipeline: Pipeline,
    caplog: pytest.LogCaptureFixture,
    method: str,
    name: Any,
    value: Any,
    labels: Any,
    reason: str,
) -> None:
    for _ in range(3):
        getattr(pipeline.metrics, method)(name, value, labels)
    assert pipeline.exported() == {}
    assert pipeline.metrics.dropped == {reason: 3}
    assert [record.name for record in caplog.records] == ["gds_metrics"]


class OldMeter:
    """A meter as it was before API 1.23: no gauge that is set, no advice on buckets."""

    def __init__(self, meter: Any) -> None:
        self._meter = meter

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._meter.create_counter(name, unit, description)

    def create_histogram(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._meter.create_histogram(name, unit, description)

    def create_observable_gauge(self, name: str, callbacks: Any, unit: str = "", description: str = "") -> Any:
        return self._meter.create_observable_gauge(name, callbacks, unit, description)


class OldProvider:
    def __init__(self, provider: MeterProvider) -> None:
        self._provider = provider

    def get_meter(self, name: str, version: str | None = None) -> OldMeter:
        return OldMeter(self._provider.get_meter(name, version))


def test_an_old_api_shows_gauges_and_timings_too(pipeline: Pipeline) -> None:
    provider: Any = OldProvider(pipeline.provider)
    metrics = MeterCollector(provider)
    metrics.describe("a", help="A.", unit="By")
    metrics.gauge("a", 1, {"x": "1", "y": "2"})
    metrics.gauge("a", 5, {"y": "2", "x": "1"})
    metrics.gauge("a", 7)
    metrics.timing("b", 500)
    assert metrics.dropped == {}
    assert pipeline.values("a") == {(("x", "1"), ("y", "2")): 5, (): 7}
    metric = pipeline.exported()["a"]
    assert (metric.description, metric.unit) == ("A.", "By")
    assert pipeline.points("b")[0].sum == 0.5
    assert metrics.flush()


class FailingProvider:
    """Gives a meter that has nothing and fails to flush."""

    def get_meter(self, name: str, version: str | None = None) -> object:
        return object()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        raise RuntimeError("broken on purpose")


def test_a_meter_that_fails_never_reaches_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    provider: Any = FailingProvider()
    metrics = MeterCollector(provider)
    for method in METHODS:
        for _ in range(2):
            getattr(metrics, method)(method, 1)
    assert not metrics.flush()
    metrics.close()
    assert metrics.dropped == {"meter_failed": 10}
    assert len(caplog.records) == len(METHODS) + 1


def test_closing_flushes_and_leaves_the_provider_to_the_program(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float] = []
    force_flush = pipeline.provider.force_flush

    def flush(timeout_millis: float = 10_000) -> bool:
        timeouts.append(timeout_millis)
        return force_flush(timeout_millis)

    monkeypatch.setattr(pipeline.provider, "force_flush", flush)
    with pipeline.metrics:
        pipeline.metrics.increment("a")
    assert timeouts == [5000]
    assert pipeline.metrics.flush(timeout_seconds=1)
    pipeline.metrics.increment("a")
    assert pipeline.values("a") == {(): 2}


def test_a_provider_that_does_nothing_is_fine(caplog: pytest.LogCaptureFixture) -> None:
    metrics = MeterCollector(NoOpMeterProvider())
    for method in METHODS:
        getattr(metrics, method)(method, 1)
    assert metrics.dropped == {}
    assert caplog.records == []


@pytest.mark.parametrize("provider", [None, 5, "provider"])
def test_what_is_no_provider_is_refused(provider: Any) -> None:
    with pytest.raises(TypeError, match="has no get_meter; pass opentelemetry"):
        MeterCollector(provider)


def test_repr_and_str_name_the_provider(pipeline: Pipeline) -> None:
    assert repr(pipeline.metrics) == "MeterCollector(meter_provider=MeterProvider)"
    assert str(pipeline.metrics) == "OpenTelemetry Metrics (meter provider)"


# ---------------------------------------------------------------- asked for, up and down


def test_values_are_asked_for_by_each_reading(pipeline: Pipeline) -> None:
    asked: list[int] = []

    def total() -> int:
        asked.append(1)
        return len(asked)

    pipeline.metrics.describe("pool.size", help="Size of a pool.", unit="1")
    pipeline.metrics.observable_gauge("pool.size", lambda: [(7, {"pool": "a"}), (8, None)], {"of": "x"})
    pipeline.metrics.observable_counter("asked", total, {"ö": "\ud800"})
    assert asked == []
    exported: dict[str, Any] = pipeline.exported()
    assert len(asked) == 1
    assert (exported["pool.size"].description, exported["pool.size"].unit) == ("Size of a pool.", "1")
    values = {tuple(sorted(point.attributes.items())): point.value for point in exported["pool.size"].data.data_points}
    assert values == {(("of", "x"), ("pool", "a")): 7, (("of", "x"),): 8}
    assert exported["asked"].data.is_monotonic
    assert pipeline.values("asked") == {(("ö", "\ufffd"),): 2}
    assert pipeline.metrics.dropped == {}


def test_callbacks_of_one_name_share_its_instrument(pipeline: Pipeline) -> None:
    pipeline.metrics.observable_gauge("depth", lambda: 1, {"queue": "a"})
    pipeline.metrics.observable_gauge("Depth", lambda: 2, {"queue": "b"})
    assert pipeline.values("depth") == {(("queue", "a"),): 1, (("queue", "b"),): 2}


def test_a_callback_that_fails_is_counted_and_said_once_without_its_text(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> NoReturn:
        raise OSError("hunter2")

    pipeline.metrics.observable_gauge("broken", fails)
    pipeline.metrics.observable_counter("sinking", lambda: -1)
    pipeline.metrics.observable_gauge("endless", lambda: [(math.inf, {"a": "b"}), (1, None)])
    pipeline.metrics.observable_gauge("well", lambda: 1)
    for _ in range(2):
        exported: dict[str, Any] = pipeline.exported()
        assert sorted(exported) == ["endless", "well"]
        assert len(exported["endless"].data.data_points) == 1
    assert pipeline.metrics.dropped == {"callback_failed": 4, "invalid_value": 2}
    assert [record.name for record in caplog.records] == ["gds_metrics"] * 3
    assert "callback of gauge 'broken' failed: OSError at test_meter_provider.py" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.timing
def test_a_callback_that_hangs_does_not_hold_the_reader(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    go_on, calls = threading.Event(), []

    def hangs() -> int:
        calls.append(1)
        assert go_on.wait(60)
        return 1

    pipeline.metrics.observable_gauge("hung", hangs)
    pipeline.metrics.observable_gauge("well", lambda: 1)
    try:
        for _ in range(2):
            assert sorted(pipeline.exported()) == ["well"]
        assert calls == [1], "one that is busy is not called again"
        assert pipeline.metrics.dropped == {"callback_timeout": 2}
        assert len(caplog.records) == 1
    finally:
        go_on.set()
    wait_until(lambda: "hung" in pipeline.exported(), what="a callback that is asked again")


@pytest.mark.timing
def test_callbacks_have_their_time_together(pipeline: Pipeline) -> None:
    together = threading.Barrier(3)
    for name in "abc":
        pipeline.metrics.observable_gauge(name, lambda: together.wait(60) >= 0)
    for _ in range(2):
        assert sorted(pipeline.exported()) == ["a", "b", "c"]
    assert pipeline.metrics.dropped == {}


def test_a_callback_may_report(pipeline: Pipeline) -> None:
    def reports() -> int:
        pipeline.metrics.increment("reported")
        return 1

    pipeline.metrics.observable_gauge("value", reports)
    assert pipeline.values("value") == {(): 1}
    assert pipeline.values("reported") == {(): 2}


def test_what_cannot_be_asked_is_refused(pipeline: Pipeline) -> None:
    callback: Any = 5
    with pytest.raises(TypeError, match="expected a function without arguments"):
        pipeline.metrics.observable_gauge("x", callback)
    labels: Any = 5
    with pytest.raises(TypeError, match="labels are int"):
        pipeline.metrics.observable_counter("x", lambda: 1, labels)
    pipeline.metrics.observable_gauge("", lambda: 1)
    assert pipeline.metrics.dropped == {"invalid_name": 1}
    assert pipeline.exported() == {}


def test_a_meter_without_instruments_that_are_asked_is_counted() -> None:
    provider: Any = FailingProvider()
    metrics = MeterCollector(provider)
    metrics.observable_gauge("x", lambda: 1)
    assert metrics.dropped == {"meter_failed": 1}


def test_a_gauge_goes_up_and_down(pipeline: Pipeline) -> None:
    pipeline.metrics.gauge_add("busy", 3, {"a": "b"})
    pipeline.metrics.gauge_add("busy", -1, {"a": "b"})
    assert pipeline.values("busy") == {(("a", "b"),): 2}
    pipeline.metrics.gauge("busy", 10, {"a": "b"})
    pipeline.metrics.gauge_add("busy", 0.5, {"a": "b"})
    pipeline.metrics.gauge_add("busy", 1)
    assert pipeline.values("busy") == {(("a", "b"),): 10.5, (): 1}
    pipeline.metrics.gauge_add("busy", math.nan)
    assert pipeline.metrics.dropped == {"invalid_value": 1}


@given(st.lists(st.tuples(st.sampled_from(METHODS), anything, anything, any_labels), max_size=5))
def test_nothing_raises_and_the_sdk_says_nothing(
    reports: list[tuple[str, Any, Any, Any]],
) -> None:
    said: list[logging.LogRecord] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record)

    handler = Listening()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(handler)
    pipeline = Pipeline()
    try:
        for method, name, value, labels in reports:
            getattr(pipeline.metrics, method)(name, value, labels)
        pipeline.reader.get_metrics_data()
    finally:
        logger.removeHandler(handler)
        pipeline.provider.shutdown()
    assert [record.getMessage() for record in said] == []
    assert "meter_failed" not in pipeline.metrics.dropped


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(min_value=0, max_value=2**40),
            st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"])),
        )
    )
)
def test_totals_are_those_of_a_model(reports: list[tuple[str, int, dict[str, str]]]) -> None:
    pipeline = Pipeline()
    model: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for name, value, labels in reports:
        pipeline.metrics.increment(name, value, labels)
        series = (name, frozenset(labels.items()))
        model[series] = model.get(series, 0) + value
    data = pipeline.exported()
    totals = {
        (name, frozenset((point.attributes or {}).items())): point.value  # type: ignore[union-attr]
        for name, metric in data.items()
        for point in metric.data.data_points
    }
    pipeline.provider.shutdown()
    assert totals == model
