"""Each row of the table that every collector follows, as `PrometheusMetrics` keeps it."""

from __future__ import annotations

import logging
import math
import sys
from collections import OrderedDict, UserDict
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_metrics import (
    CompositeMetrics,
    ConsoleMetrics,
    MetricsCollector,
    NoOpMetrics,
    OpenTelemetryMetrics,
    PrometheusMetrics,
    StatsdMetrics,
)
from tests.helpers.pages import dropped, openmetrics_page, text_page
from tests.metrics.doubles import METHODS, Unprintable, any_labels, anything


class Color(str, Enum):
    RED = "red"


class Shade(Enum):
    DARK = 1


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(start_server=False, process_metrics=False)


def report(metrics: MetricsCollector, method: str, name: Any = "a", value: Any = 1, labels: Any = None) -> None:
    getattr(metrics, method)(name, value, labels)


# ---------------------------------------------------------------- names and families


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("vault.secret.fetch", "gds_vault_secret_fetch"),
        ("two-part name", "gds_two_part_name"),
        ("déjà", "U__gds__d_e9_j_e0_"),
        ("a:b", "gds_a:b"),
        ("9lives", "gds_9lives"),
        (".", "gds__"),
        ("ключ", "U__gds___43a__43b__44e__447_"),
    ],
)
def test_any_name_is_shown(metrics: PrometheusMetrics, given: str, shown: str) -> None:
    metrics.gauge(given, 3)
    assert text_page(metrics).value(shown) == 3
    assert metrics.sample(given) == metrics.sample(shown) == 3


def test_without_a_prefix_a_leading_digit_gets_an_underscore() -> None:
    metrics = PrometheusMetrics("", start_server=False, process_metrics=False)
    metrics.gauge("9lives", 1)
    assert text_page(metrics).value("_9lives") == 1


def test_a_prefix_is_sanitised_as_names_are() -> None:
    metrics = PrometheusMetrics("my-app.v2", start_server=False, process_metrics=False)
    metrics.gauge("a", 1)
    assert text_page(metrics).value("my_app_v2_a") == 1


def test_names_that_sanitise_to_one_share_a_family(metrics: PrometheusMetrics) -> None:
    metrics.increment("a.b")
    metrics.increment("a-b", 2)
    metrics.increment("a_b", 3, {"x": "y"})
    page = text_page(metrics)
    assert (page.value("gds_a_b_total"), page.value("gds_a_b_total", {"x": "y"})) == (3, 3)


def test_different_label_sets_are_series_of_one_family(metrics: PrometheusMetrics) -> None:
    for labels in (None, {}, {"a": "1"}, {"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        metrics.increment("n", labels=labels)
    page = text_page(metrics)
    assert page.value("gds_n_total") == 2
    assert page.value("gds_n_total", {"a": "1"}) == 1
    assert page.value("gds_n_total", {"a": "1", "b": "2"}) == 2
    assert len(page.families["gds_n"].samples) == 3


@pytest.mark.parametrize("name", ["requests", "requests_total", "requests.total"])
def test_a_counter_ends_in_total_exactly_once(metrics: PrometheusMetrics, name: str) -> None:
    metrics.increment(name)
    for page in (text_page(metrics), openmetrics_page(metrics)):
        assert page.value("gds_requests_total") == 1
        assert "gds_requests_total_total" not in page.names


def test_requests_and_requests_total_are_one_counter(metrics: PrometheusMetrics) -> None:
    metrics.increment("requests")
    metrics.increment("requests_total", 2)
    assert text_page(metrics).value("gds_requests_total") == 3


def test_one_name_as_two_types_is_shown_as_two_and_said_once(
    metrics: PrometheusMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    for value in (1, 2, 3):
        metrics.increment("x", value)
        metrics.gauge("x", value)
        metrics.gauge("x", value, {"a": str(value)})
    for page in (text_page(metrics), openmetrics_page(metrics)):
        assert (page.value("gds_x_total"), page.value("gds_x_gauge")) == (6, 3)
    said = [record for record in caplog.records if record.name == "gds_metrics"]
    assert len(said) == 1
    assert "gds_x_gauge" in said[0].getMessage()
    assert said[0].levelno == logging.WARNING


def test_one_name_as_all_four_types_gives_a_page_that_parses(metrics: PrometheusMetrics) -> None:
    for method in METHODS:
        report(metrics, method, "x")
    for page in (text_page(metrics), openmetrics_page(metrics)):
        assert page.value("gds_x_total") == 1
        assert page.value("gds_x_gauge") == 1
        assert page.value("gds_x_histogram_count") == 1
        assert page.value("gds_x_timing_count") == 1


@pytest.mark.parametrize("name", ["dropped", "series", "overflowed", "scrape_duration_seconds"])
def test_the_collectors_own_names_are_kept_from_the_program(name: str) -> None:
    metrics = PrometheusMetrics("gds_metrics", start_server=False)
    metrics.gauge(name, 42)
    metrics.increment(name, 42)
    metrics.increment("n", -1)
    page = openmetrics_page(metrics)
    assert page.value(f"gds_metrics_{name}_gauge") == 42
    assert dropped(metrics) == {"negative_increment": 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [("x_total", "x"), ("x_sum", "x"), ("x_bucket", "x"), ("x_created", "x"), ("x_count", "x")],
)
def test_names_that_end_like_a_sample_of_another_do_not_clash(
    metrics: PrometheusMetrics, first: str, second: str
) -> None:
    metrics.gauge(first, 1)
    metrics.increment(second, 2)
    metrics.histogram(second, 3)
    openmetrics_page(metrics)
    assert text_page(metrics).value(f"gds_{first}") == 1


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1.5, "1.5"),
        (Decimal("0.10"), "0.10"),
        (Color.RED, "red"),
        (Shade.DARK, "Shade.DARK"),
        (Loud("text"), "text"),
        (b"raw", "b'raw'"),
        ('quo"te\\ \n', 'quo"te\\ \n'),
        ("tab\t\r\x00\x85\u2028", "tab\t\r\x00\x85\u2028"),
        ("日本", "日本"),
    ],
)
def test_a_label_value_becomes_text(metrics: PrometheusMetrics, value: object, shown: str) -> None:
    labels: Any = {"x": value}
    metrics.increment("n", labels=labels)
    assert metrics.sample("n", labels) == 1
    assert dropped(metrics) == {}
    for page in (text_page(metrics), openmetrics_page(metrics)):
        assert page.value("gds_n_total", {"x": shown}) == 1


def test_an_empty_label_value_is_the_series_without_it(metrics: PrometheusMetrics) -> None:
    # As in Prometheus, where a label with an empty value is a label that is not there.
    metrics.increment("n", labels={"x": ""})
    metrics.increment("n")
    assert len(text_page(metrics).families["gds_n"].samples) == 1
    assert metrics.sample("n") == 2


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a-b", "a_b"),
        ("a.b", "a_b"),
        ("a:b", "a_b"),
        ("1st", "_1st"),
        ("", "_"),
        ("é", "U___e9_"),
        ("le", "exported_le"),
        ("quantile", "exported_quantile"),
        ("__x", "exported___x"),
        ("--x", "exported___x"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_an_invalid_or_reserved_label_name_is_changed(
    metrics: PrometheusMetrics, method: str, given: str, shown: str
) -> None:
    report(metrics, method, "n", 1, {given: "v"})
    for page in (text_page(metrics), openmetrics_page(metrics)):
        labels = [labels for name in page.names if name.startswith("gds_n") for labels in page.labels(name)]
        assert labels
        assert all(found.get(shown) == "v" for found in labels)


def test_label_names_that_become_one_are_joined(metrics: PrometheusMetrics) -> None:
    metrics.increment("n", labels={"a.b": "2", "a-b": "1"})
    metrics.increment("n", labels={"a-b": "1", "a.b": "2"})
    assert text_page(metrics).value("gds_n_total", {"a_b": "1;2"}) == 2


@pytest.mark.parametrize("count", [20, 100])
def test_many_labels_are_kept_in_any_order(metrics: PrometheusMetrics, count: int) -> None:
    labels = {f"label_{number}": str(number) for number in range(count)}
    metrics.increment("n", labels=labels)
    metrics.increment("n", labels=dict(reversed(labels.items())))
    assert text_page(metrics).value("gds_n_total", labels) == 2


def test_very_long_names_and_values_are_kept(metrics: PrometheusMetrics) -> None:
    name, labels = "n" * 10_000, {"l" * 5_000: "é" * 200_000}
    metrics.increment(name, labels=labels)
    assert text_page(metrics).value(f"gds_{name}_total", labels) == 1


def test_a_lone_surrogate_is_replaced(metrics: PrometheusMetrics) -> None:
    metrics.increment("n\ud800", labels={"a\udfff": "b\ud83dc"})
    page = text_page(metrics)
    (name,) = (name for name in page.names if name.startswith("U__gds__n"))
    ((label, value),) = page.labels(name)[0].items()
    assert label.startswith("U__a_fffd_")
    assert value.replace("\ufffd", "") == "bc"
    assert metrics.sample("n\ud800", {"a\udfff": "b\ud83dc"}) == 1


@pytest.mark.parametrize("make", [dict, OrderedDict, UserDict, MappingProxyType], ids=lambda make: make.__name__)
def test_any_mapping_will_do_for_labels(metrics: PrometheusMetrics, make: Any) -> None:
    for _ in range(3):
        metrics.increment("n", 1, make({"a": "b"}))
    assert metrics.sample("n", {"a": "b"}) == 3


def test_labels_changed_between_calls_lead_to_other_series(metrics: PrometheusMetrics) -> None:
    labels = {"i": "0"}
    for _ in range(3):
        metrics.increment("n", labels=labels)
    labels["i"] = "1"
    metrics.increment("n", labels=labels)
    assert [metrics.sample("n", {"i": i}) for i in "01"] == [3, 1]


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("value", [-1, -1e-300, -math.inf, math.nan])
def test_an_increment_below_zero_or_nan_is_dropped_and_counted(metrics: PrometheusMetrics, value: float) -> None:
    metrics.increment("n", 2)
    for _ in range(3):
        metrics.increment("n", value)
    assert metrics.sample("n") == 2
    assert dropped(metrics) == {"negative_increment": 3}


@pytest.mark.parametrize("value", [0, 0.0, -0.0, False])
def test_an_increment_of_zero_makes_the_series(metrics: PrometheusMetrics, value: float) -> None:
    metrics.increment("n", value)
    assert metrics.sample("n") == 0
    assert dropped(metrics) == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, 1), (Decimal("1.5"), 1.5), (Fraction(1, 4), 0.25), (2**70, float(2**70)), (5e-324, 5e-324)],
)
@pytest.mark.parametrize("method", ["increment", "gauge"])
def test_any_real_number_will_do(metrics: PrometheusMetrics, method: str, value: Any, shown: float) -> None:
    report(metrics, method, "n", value)
    assert metrics.sample("n") == shown


def test_a_value_is_one_by_default(metrics: PrometheusMetrics) -> None:
    metrics.increment("n")
    metrics.increment(name="n", labels=None)
    metrics.increment("n", value=3, labels={})
    assert metrics.sample("n") == 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.5])
def test_a_gauge_takes_every_number(metrics: PrometheusMetrics, value: float) -> None:
    metrics.gauge("g", value)
    for shown in (metrics.sample("g"), text_page(metrics).value("gds_g"), openmetrics_page(metrics).value("gds_g")):
        assert shown == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("method", ["histogram", "timing"])
def test_an_observation_of_nan_is_dropped_and_counted(metrics: PrometheusMetrics, method: str) -> None:
    for value in (math.nan, 1, math.nan, 1):
        report(metrics, method, "h", value)  # the last by the short cut of a call that repeats itself
    assert metrics.sample("h_sum") == (2 if method == "histogram" else 0.002)
    assert metrics.sample("h_count") == 2
    assert dropped(metrics) == {"invalid_value": 2}


@pytest.mark.parametrize(("value", "in_first_bucket", "sum_"), [(math.inf, 0, math.inf), (-math.inf, 1, -math.inf)])
@pytest.mark.parametrize("method", ["histogram", "timing"])
def test_a_distribution_takes_infinities(
    metrics: PrometheusMetrics, method: str, value: float, in_first_bucket: float, sum_: float
) -> None:
    report(metrics, method, "h", value)
    assert metrics.sample("h_bucket", {"le": "0.005"}) == in_first_bucket
    assert metrics.sample("h_bucket", {"le": "+Inf"}) == metrics.sample("h_count") == 1
    assert metrics.sample("h_sum") == pytest.approx(sum_, nan_ok=True)
    page = text_page(metrics)
    assert page.value("gds_h_sum") == pytest.approx(sum_, nan_ok=True)
    assert openmetrics_page(metrics).value("gds_h_bucket", {"le": "+Inf"}) == 1


def test_timings_are_shown_in_seconds(metrics: PrometheusMetrics) -> None:
    metrics.timing("t", 1500)
    assert metrics.sample("t_sum") == 1.5
    assert metrics.sample("t_bucket", {"le": "1.0"}) == 0
    assert metrics.sample("t_bucket", {"le": "2.5"}) == 1


# ---------------------------------------------------------------- what cannot be used


class BadMapping(dict[str, str]):
    def items(self) -> NoReturn:
        raise RuntimeError("no items")

    __iter__ = keys = __getitem__ = items  # type: ignore[assignment]


BAD = [
    ("invalid_name", {"name": None}),
    ("invalid_name", {"name": ""}),
    ("invalid_name", {"name": 3}),
    ("invalid_name", {"name": b"n"}),
    ("invalid_name", {"name": ["n"]}),
    ("invalid_value", {"value": None}),
    ("invalid_value", {"value": "1"}),
    ("invalid_value", {"value": b"1"}),
    ("invalid_value", {"value": 1j}),
    ("invalid_value", {"value": [1]}),
    ("invalid_value", {"value": 10**400}),
    ("invalid_value", {"value": Unprintable()}),
    ("invalid_labels", {"labels": [("a", "b")]}),
    ("invalid_labels", {"labels": "a=b"}),
    ("invalid_labels", {"labels": 3}),
    ("invalid_labels", {"labels": {1: "x"}}),
    ("invalid_labels", {"labels": {None: "x"}}),
    ("invalid_labels", {"labels": {"x": Unprintable()}}),
    ("invalid_labels", {"labels": BadMapping(a="b")}),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("reason", "arguments"), BAD, ids=lambda part: str(part)[:40] if isinstance(part, str) else "")
def test_what_cannot_be_used_is_dropped_counted_and_said_once(
    metrics: PrometheusMetrics,
    caplog: pytest.LogCaptureFixture,
    method: str,
    reason: str,
    arguments: dict[str, Any],
) -> None:
    for _ in range(3):
        report(metrics, method, **arguments)
    assert dropped(metrics) == {reason: 3}
    assert {name for name in text_page(metrics).names if not name.startswith("gds_metrics_")} == set()
    said = [record.getMessage() for record in caplog.records if record.name == "gds_metrics"]
    assert len(said) == 1
    assert reason in said[0]


def test_each_method_and_each_reason_is_said_once(metrics: PrometheusMetrics, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        for method in METHODS:
            report(metrics, method, name=None)
            report(metrics, method, value="x")
            report(metrics, method, labels=3)
    assert len(caplog.records) == len(METHODS) * 3
    assert dropped(metrics) == {"invalid_name": 8, "invalid_value": 8, "invalid_labels": 8}


def test_a_warning_shows_types_and_no_values(metrics: PrometheusMetrics, caplog: pytest.LogCaptureFixture) -> None:
    metrics.gauge("g", "hunter2")  # type: ignore[arg-type]
    metrics.gauge("g", 1, "hunter2")  # type: ignore[arg-type]
    metrics.gauge("g", 1, {"x": "hunter2", 1: "y"})  # type: ignore[dict-item]
    assert len(caplog.records) == 2
    assert "hunter2" not in caplog.text


@given(st.sampled_from(METHODS), anything, anything, any_labels)
def test_nothing_that_is_passed_raises(method: str, name: Any, value: Any, labels: Any) -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False)
    report(metrics, method, name, value, labels)
    text_page(metrics)
    openmetrics_page(metrics)


class Interrupting:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    def __float__(self) -> float:
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_inside_a_value_or_label_goes_on(
    metrics: PrometheusMetrics, method: str, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        report(metrics, method, labels={"x": Interrupting(error)})
    with pytest.raises(error):
        report(metrics, method, value=Interrupting(error))
    report(metrics, method, "after")
    assert metrics.sample("after") == 1 if method == "gauge" else metrics.sample("after") is not None
    assert dropped(metrics) == {}


class BrokenHandler(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("the log is full")


@pytest.fixture
def broken_log() -> Iterator[None]:
    logger, handler = logging.getLogger("gds_metrics"), BrokenHandler()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("broken_log")
def test_a_log_that_raises_is_not_the_programs_business(metrics: PrometheusMetrics) -> None:
    metrics.increment("n", -1)
    metrics.increment("x")
    metrics.gauge("x", 5)
    assert metrics.sample("x_gauge") == 5
    assert dropped(metrics) == {"negative_increment": 1}


# ---------------------------------------------------------------- the limit of series


@pytest.mark.parametrize("method", METHODS)
def test_series_beyond_the_limit_share_one(method: str) -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False, max_series=3)
    for number in range(10):
        report(metrics, method, "n", 1, {"i": str(number)})
        report(metrics, method, "n", 1, {"i": "0"})
    suffix = {"increment": "_total", "gauge": ""}.get(method, "_count")
    for page in (text_page(metrics), openmetrics_page(metrics)):
        name = f"gds_n{suffix}"
        assert len(page.labels(name)) == 4
        assert page.value(name, {"overflow": "true"}) == (1 if method == "gauge" else 7)
        assert page.value(name, {"i": "0"}) == (1 if method == "gauge" else 11)
        assert page.value("gds_metrics_overflowed_total") == 7
    assert metrics.sample("n", {"overflow": "true"}) is not None


def test_the_limit_is_of_one_name_and_can_be_described() -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False, max_series=2)
    metrics.describe("wide", max_series=5)
    for number in range(5):
        metrics.increment("wide", labels={"i": str(number)})
        metrics.increment("narrow", labels={"i": str(number)})
    page = text_page(metrics)
    assert page.value("gds_wide_total", {"overflow": "true"}) is None
    assert page.value("gds_narrow_total", {"overflow": "true"}) == 3
    assert page.value("gds_metrics_overflowed_total") == 3


def test_ten_thousand_series_are_the_default(metrics: PrometheusMetrics) -> None:
    for number in range(10_005):
        metrics.gauge("g", number, {"i": str(number)})
    assert metrics.sample("g", {"i": "9999"}) == 9999
    assert metrics.sample("g", {"i": "10000"}) is None
    assert metrics.sample("gds_metrics_overflowed_total") == 5


@pytest.mark.parametrize("first", [True, False])
def test_a_programs_own_overflow_label_is_not_shown_twice(first: bool) -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False, max_series=2)
    own = {"overflow": "true"}
    if first:
        metrics.increment("n", labels=own)
    for number in range(4):
        metrics.increment("n", labels={"i": str(number)})
    metrics.increment("n", labels=own)
    assert text_page(metrics).value("gds_n_total", own) == (4 if first else 3)


def test_the_collectors_health_is_on_the_page(metrics: PrometheusMetrics) -> None:
    metrics.increment("n", -1)
    metrics.gauge("g", 1)
    metrics.render()
    page = text_page(metrics)
    assert page.value("gds_metrics_dropped_total", {"reason": "negative_increment"}) == 1
    assert page.value("gds_metrics_series") == metrics.sample("gds_metrics_series") == 3
    duration = page.value("gds_metrics_scrape_duration_seconds")
    assert duration is not None
    assert 0 < duration < 60


# ---------------------------------------------------------------- the object


def collectors() -> list[MetricsCollector]:
    return [
        NoOpMetrics(),
        ConsoleMetrics(),
        PrometheusMetrics(start_server=False),
        CompositeMetrics(),
        OpenTelemetryMetrics(),
        StatsdMetrics(),
    ]


def test_every_collector_is_a_true_collector() -> None:
    for collector in collectors():
        assert isinstance(collector, MetricsCollector)
        # What callers write; a protocol promises no truth, so only the test can.
        assert (collector or NoOpMetrics()) is collector  # type: ignore[truthy-bool]


def test_repr_names_class_and_settings(metrics: PrometheusMetrics) -> None:
    assert repr(metrics) == "PrometheusMetrics(prefix='gds', port=8080)"
    assert str(metrics) == "Prometheus Metrics (port 8080)"


def test_leaving_a_with_block_closes_and_counting_goes_on() -> None:
    with PrometheusMetrics(port=0, addr="127.0.0.1") as metrics:
        assert metrics.port > 0
        metrics.increment("n")
    metrics.increment("n")
    metrics.close()
    assert metrics.sample("n") == 2


def test_a_with_block_lets_its_error_go_on() -> None:
    with pytest.raises(ZeroDivisionError), PrometheusMetrics(start_server=False):
        _ = 1 / 0


class Tagged(PrometheusMetrics):
    def __init__(self, team: str, *, region: str) -> None:
        super().__init__("tagged", start_server=False, process_metrics=False)
        self.tags = {"team": team, "region": region}

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        super().increment(name, value, {**self.tags, **(labels or {})})


def test_a_subclass_may_have_its_own_constructor_and_methods() -> None:
    metrics = Tagged("db", region="eu")
    metrics.increment("n")
    assert text_page(metrics).value("tagged_n_total", {"team": "db", "region": "eu"}) == 1
    assert repr(metrics) == "Tagged(prefix='tagged', port=8080)"
    assert isinstance(metrics, MetricsCollector)


class Unopened(PrometheusMetrics):
    def __init__(self) -> None:
        pass


def test_a_subclass_that_forgot_its_base_counts_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Unopened()
    metrics.increment("n")
    assert len(caplog.records) == 1
    assert repr(metrics) == "<Unopened without settings>"
    with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
        metrics.render()


def test_settings_cannot_be_changed_by_a_second_construction(metrics: PrometheusMetrics) -> None:
    with pytest.raises(RuntimeError, match="make a new collector"):
        metrics.__init__(start_server=False)  # type: ignore[misc]
    metrics.increment("n")
    assert metrics.sample("n") == 1


def test_arguments_are_not_kept_alive(metrics: PrometheusMetrics) -> None:
    value = "".join(["a", "fresh", "text"])
    before = sys.getrefcount(value)
    metrics.increment("n", labels={"x": value})
    assert sys.getrefcount(value) == before


def test_flush_has_nothing_to_do(metrics: PrometheusMetrics) -> None:
    assert metrics.flush() is True
    assert metrics.flush(timeout_seconds=0.1) is True
