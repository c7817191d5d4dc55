"""What is on the page: read by `prometheus_client`'s parsers and by promtool, and compared with a model."""

from __future__ import annotations

import gc
import math
import platform
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import format_span_id, format_trace_id

from gds_metrics import PrometheusMetrics
from gds_metrics.prometheus import DEFAULT_BUCKETS
from tests.helpers.pages import openmetrics_page, read, text_page
from tests.metrics.doubles import METHODS
from tests.services.process import wait_until


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(start_server=False, process_metrics=False)


def fill(metrics: PrometheusMetrics) -> None:
    """A little of everything."""
    for status in ("200", "500"):
        metrics.increment("http.requests", 3, {"status": status, "path": '/a"b\\c\nd'})
    metrics.increment("errors_total")
    metrics.gauge("queue size", -2.5)
    metrics.histogram("payload_bytes", 0.3, {"kind": "é"})
    metrics.timing("request_duration_seconds", 12.5)
    metrics.increment("errors", -1)


# ---------------------------------------------------------------- format


def test_a_small_page_in_full(metrics: PrometheusMetrics) -> None:
    metrics.describe("requests", help="Requests taken.")
    metrics.increment("requests", 2, {"path": "/"})
    metrics.gauge("depth", 0.5)
    names = ["gds_requests", "gds_depth"]
    assert metrics.render(names=names).decode().splitlines() == [
        "# HELP gds_depth Gauge depth.",
        "# TYPE gds_depth gauge",
        "gds_depth 0.5",
        "# HELP gds_requests_total Requests taken.",
        "# TYPE gds_requests_total counter",
        'gds_requests_total{path="/"} 2.0',
    ]
    assert metrics.render(openmetrics=True, names=names).decode().splitlines() == [
        "# HELP gds_depth Gauge depth.",
        "# TYPE gds_depth gauge",
        "gds_depth 0.5",
        "# HELP gds_requests Requests taken.",
        "# TYPE gds_requests counter",
        'gds_requests_total{path="/"} 2.0',
        "# EOF",
    ]


def test_an_empty_page_can_be_read(metrics: PrometheusMetrics) -> None:
    assert text_page(metrics).names == {"gds_metrics_series"}
    assert metrics.render(openmetrics=True, names=["nothing"]) == b"# EOF\n"


def test_promtool_accepts_the_page(promtool: Callable[[bytes], tuple[int, str]]) -> None:
    metrics = PrometheusMetrics(start_server=False)
    fill(metrics)
    metrics.render()
    assert promtool(metrics.render()) == (0, "")


def test_promtool_reads_a_page_with_one_name_as_two_types(promtool: Callable[[bytes], tuple[int, str]]) -> None:
    metrics = PrometheusMetrics(start_server=False)
    metrics.increment("x")
    metrics.gauge("x", 1)
    code, said = promtool(metrics.render())
    # It can be read (1 would be no); that the name tells its type is what the user is warned of.
    assert (code, said.count("\n")) == (3, 1)
    assert "gds_x_gauge" in said


def test_both_formats_say_the_same() -> None:
    metrics = PrometheusMetrics(start_server=False)
    fill(metrics)
    metrics.gauge("http.requests", 1)
    text, openmetrics = text_page(metrics), openmetrics_page(metrics)
    assert text.names | {"gds_metrics_scrape_duration_seconds"} == openmetrics.names
    for name in text.names:
        if name.startswith("gds_") and not name.startswith("gds_metrics"):
            for labels in text.labels(name):
                assert text.value(name, labels) == openmetrics.value(name, labels)
    types = {name: family.type for name, family in text.families.items()}
    assert types["gds_http_requests"] == types["gds_errors"] == "counter"
    assert types["gds_queue_size"] == types["gds_http_requests_gauge"] == "gauge"
    assert types["gds_payload_bytes"] == types["gds_request_duration_seconds"] == "histogram"


def test_buckets_are_cumulative_and_end_with_the_count(metrics: PrometheusMetrics) -> None:
    for value in (0.001, 0.005, 0.3, 99):
        metrics.histogram("h", value)
    page = text_page(metrics)
    bounds = [*map(str, map(float, DEFAULT_BUCKETS)), "+Inf"]
    assert [labels["le"] for labels in page.labels("gds_h_bucket")] == bounds
    counts = [page.value("gds_h_bucket", {"le": le}) for le in bounds]
    assert counts == [2.0] * 6 + [2.0] + [3.0] * 7 + [4.0]
    assert page.value("gds_h_count") == 4
    assert page.value("gds_h_sum") == pytest.approx(99.306)


def test_a_sum_that_can_fall_is_left_out_of_openmetrics_alone(metrics: PrometheusMetrics) -> None:
    # OpenMetrics 1.0, "Histogram": a sum must not be negative or NaN, and the count stands beside a sum only.
    metrics.describe("degrees", buckets=[-10, 0, 10])
    metrics.histogram("degrees", 5)
    metrics.histogram("delta", -1)
    text, openmetrics = text_page(metrics), openmetrics_page(metrics)
    assert (text.value("gds_degrees_sum"), text.value("gds_delta_sum")) == (5, -1)
    assert not {"gds_degrees_sum", "gds_degrees_count", "gds_delta_sum", "gds_delta_count"} & openmetrics.names
    assert openmetrics.value("gds_degrees_bucket", {"le": "+Inf"}) == 1


def test_a_help_text_is_escaped(metrics: PrometheusMetrics) -> None:
    text = 'a "quoted" \\ back\nnew # line é'
    metrics.describe("g", help=text)
    metrics.gauge("g", 1)
    assert text_page(metrics).families["gds_g"].documentation == text
    assert openmetrics_page(metrics).families["gds_g"].documentation == text


def test_names_choose_families_by_any_of_their_samples(metrics: PrometheusMetrics) -> None:
    fill(metrics)
    for names, families in [
        (["gds_errors"], {"gds_errors"}),
        (["gds_errors_total", "gds_queue_size"], {"gds_errors", "gds_queue_size"}),
        (["gds_payload_bytes_bucket"], {"gds_payload_bytes"}),
        (["gds_payload_bytes_sum", "nothing"], {"gds_payload_bytes"}),
        (["queue size"], set()),
    ]:
        assert set(read(metrics.render(names=names).decode()).families) == families


def test_the_number_of_series_does_not_depend_on_the_names_asked_for(metrics: PrometheusMetrics) -> None:
    for number in range(5):
        metrics.gauge("g", 1, {"i": str(number)})
    page = read(metrics.render(names=["gds_metrics_series"]).decode())
    assert page.value("gds_metrics_series") == 5


@pytest.mark.parametrize("names", ["gds_errors", [3], [None]])
def test_names_that_are_no_names_are_told(metrics: PrometheusMetrics, names: Any) -> None:
    with pytest.raises(TypeError, match="names="):
        metrics.render(names=names)


# ---------------------------------------------------------------- against a model

NAMES = st.one_of(st.sampled_from(["a", "a.b", "a_b", "a_total", "b", "le", "a_sum", "a_bucket"]), st.text(min_size=1))
LABELS = st.dictionaries(
    st.one_of(st.sampled_from(["x", "y", "le", "quantile", "__x", "overflow"]), st.text(max_size=5)),
    st.one_of(st.sampled_from(["1", "2", ""]), st.text(max_size=5)),
    max_size=3,
)
VALUES = st.one_of(st.integers(-5, 1000).map(float), st.floats(-1e6, 1e6), st.sampled_from([math.inf, -math.inf]))


@given(st.lists(st.tuples(st.sampled_from(METHODS), NAMES, VALUES, LABELS), max_size=30))
def test_whatever_is_reported_gives_pages_that_can_be_read(calls: list[tuple[str, str, float, dict[str, str]]]) -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False)
    for method, name, value, labels in calls:
        getattr(metrics, method)(name, value, labels)
    text, openmetrics = text_page(metrics), openmetrics_page(metrics)
    rejected = sum(1 for method, _, value, _ in calls if method == "increment" and value < 0)
    assert (text.value("gds_metrics_dropped_total", {"reason": "negative_increment"}) or 0) == rejected
    # The names are for the product to make; how often something was reported is not.
    reported: dict[str, float] = defaultdict(float)
    for family in text.families.values():
        if family.name.startswith("gds_metrics_"):
            continue
        for sample in family.samples:
            if family.type == "counter":
                reported["increment"] += sample.value
            elif sample.name == f"{family.name}_count":
                reported["distribution"] += sample.value
    taken = [value for method, _, value, _ in calls if method == "increment" and value >= 0]
    assert reported["increment"] == pytest.approx(sum(taken))
    assert reported["distribution"] == sum(method in ("histogram", "timing") for method, *_ in calls)
    # OpenMetrics lacks what it must not have, and nothing else; the second page tells the duration of the first.
    lacking = text.names - openmetrics.names
    assert all(name.endswith(("_sum", "_count")) for name in lacking)


def plain_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_:]", "_", name)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(METHODS),
            st.text("ab.-", min_size=1, max_size=3),
            st.integers(0, 50),
            st.dictionaries(st.sampled_from(["x", "y", "z"]), st.sampled_from(["1", "2", 'é\n"\\']), max_size=3),
        ),
        max_size=60,
    ),
    st.sampled_from(["", "gds", "my-app"]),
)
def test_the_page_equals_a_model(calls: list[tuple[str, str, int, dict[str, str]]], prefix: str) -> None:
    metrics = PrometheusMetrics(prefix, start_server=False, process_metrics=False)
    model: dict[tuple[str, str, frozenset[tuple[str, str]]], list[float]] = defaultdict(list)
    for method, name, value, labels in calls:
        # One name for each kind, so that no suffix for a clash is needed.
        getattr(metrics, method)(f"{name}_{method}", value, labels)
        shown = plain_name(f"{prefix}_{name}_{method}" if prefix else f"{name}_{method}")
        model[method, shown, frozenset(labels.items())].append(value)
    for page in (text_page(metrics), openmetrics_page(metrics)):
        for (method, shown, items), values in model.items():
            labels = dict(items)
            if method == "increment":
                assert page.value(f"{shown}_total", labels) == sum(values)
                assert metrics.sample(shown, labels) == sum(values)
            elif method == "gauge":
                assert page.value(shown, labels) == values[-1]
            else:
                scaled = [value / 1000 for value in values] if method == "timing" else [float(v) for v in values]
                assert page.value(f"{shown}_count", labels) == len(values)
                assert page.value(f"{shown}_sum", labels) == pytest.approx(sum(scaled))
                for bound in DEFAULT_BUCKETS:
                    le = {**labels, "le": str(float(bound))}
                    expected = sum(value <= bound for value in scaled)
                    assert page.value(f"{shown}_bucket", le) == metrics.sample(f"{shown}_bucket", le) == expected
        shown_names = {name for _, name, _ in model}
        assert {name for name in page.families if not name.startswith("gds_metrics_")} == shown_names


def test_totals_of_eight_threads_are_exact(metrics: PrometheusMetrics) -> None:
    rounds, threads = 5_000, 8

    def work(number: int) -> None:
        for step in range(rounds):
            metrics.increment("n")
            metrics.histogram("h", 0.5, {"i": str(step % 7)})
            metrics.increment("own", labels={"thread": str(number)})

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        text_page(metrics)
    page = text_page(metrics)
    assert page.value("gds_n_total") == rounds * threads
    assert sum(page.value("gds_h_count", labels) or 0 for labels in page.labels("gds_h_count")) == rounds * threads
    assert [page.value("gds_own_total", {"thread": str(number)}) for number in range(threads)] == [rounds] * threads


# ---------------------------------------------------------------- sample


def test_sample_reads_any_number_of_the_page(metrics: PrometheusMetrics) -> None:
    metrics.increment("c", 2, {"x": "1"})
    metrics.histogram("h", 0.3)
    metrics.histogram("h", 0.7)
    for name in ("c", "c_total", "gds_c", "gds_c_total"):
        assert metrics.sample(name, {"x": "1"}) == 2
    assert metrics.sample("h") == metrics.sample("gds_h_count") == 2
    assert metrics.sample("h_sum") == 1.0
    assert metrics.sample("h_bucket", {"le": "0.5"}) == 1
    assert metrics.sample("h_bucket", {"le": "1.0"}) == metrics.sample("h_bucket", {"le": "1"}) == 2
    assert metrics.sample("h_bucket", {"le": "+Inf"}) == metrics.sample("h_bucket", {"le": "Inf"}) == 2


def test_sample_of_what_is_not_there_is_none(metrics: PrometheusMetrics) -> None:
    metrics.increment("c")
    metrics.histogram("h", 1)
    for name, labels in [
        ("missing", None),
        ("c", {"x": "1"}),
        ("c_count", None),
        ("h_bucket", None),
        ("h_bucket", {"le": "0.3"}),
        ("h_bucket", {"le": "x"}),
        ("", None),
    ]:
        assert metrics.sample(name, labels) is None


def test_sample_reads_the_process_and_the_interpreter_too() -> None:
    metrics = PrometheusMetrics(start_server=False)
    assert (metrics.sample("process_resident_memory_bytes") or 0) > 1_000_000
    assert metrics.sample("python_gc_collections_total", {"generation": "0"}) is not None
    assert metrics.sample("python_gc_collections_total") is None


@pytest.mark.parametrize(("name", "labels"), [(None, None), (3, None), ("c", [1]), ("c", {1: "x"})])
def test_sample_says_what_it_expects(metrics: PrometheusMetrics, name: Any, labels: Any) -> None:
    with pytest.raises(TypeError, match="expected a name that is a str and labels that are a dict"):
        metrics.sample(name, labels)


# ---------------------------------------------------------------- describe


def test_a_description_is_shown(metrics: PrometheusMetrics) -> None:
    metrics.describe("wait_seconds", help="Time in the queue.", unit="seconds", buckets=[0.1, 1])
    metrics.histogram("wait_seconds", 0.5)
    for page in (text_page(metrics), openmetrics_page(metrics)):
        family = page.families["gds_wait_seconds"]
        assert (family.documentation, family.type) == ("Time in the queue.", "histogram")
        assert [labels["le"] for labels in page.labels("gds_wait_seconds_bucket")] == ["0.1", "1.0", "+Inf"]
    assert openmetrics_page(metrics).families["gds_wait_seconds"].unit == "seconds"
    assert b"# UNIT" not in metrics.render()


def test_a_unit_is_shown_only_where_the_name_ends_in_it(metrics: PrometheusMetrics) -> None:
    for name in ("size", "size_bytes"):
        metrics.describe(name, unit="bytes")
        metrics.gauge(name, 1)
    families = openmetrics_page(metrics).families
    assert (families["gds_size"].unit, families["gds_size_bytes"].unit) == ("", "bytes")


def test_timings_have_seconds_as_their_unit(metrics: PrometheusMetrics) -> None:
    metrics.timing("call_seconds", 1)
    assert openmetrics_page(metrics).families["gds_call_seconds"].unit == "seconds"


def test_help_and_unit_may_come_late(metrics: PrometheusMetrics) -> None:
    metrics.gauge("size_bytes", 1)
    metrics.describe("size_bytes", help="Late.", unit="bytes")
    family = openmetrics_page(metrics).families["gds_size_bytes"]
    assert (family.documentation, family.unit) == ("Late.", "bytes")


def test_descriptions_add_up(metrics: PrometheusMetrics) -> None:
    metrics.describe("h", help="First.")
    metrics.describe("h", buckets=[1, 2])
    metrics.histogram("h", 1)
    page = text_page(metrics)
    assert page.families["gds_h"].documentation == "First."
    assert len(page.labels("gds_h_bucket")) == 3


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("histogram", {"buckets": [1, 2]}),
        ("timing", {"buckets": [1, 2]}),
        ("gauge", {"aggregation": "max"}),
        ("increment", {"max_series": 5}),
    ],
)
def test_what_decides_how_values_are_counted_must_come_first(
    metrics: PrometheusMetrics, method: str, settings: dict[str, Any]
) -> None:
    getattr(metrics, method)("n", 1)
    with pytest.raises(ValueError, match=r"name=n: .*describe the metric before its first use"):
        metrics.describe("n", **settings)


def test_the_same_description_may_come_again(metrics: PrometheusMetrics) -> None:
    for _ in range(2):
        metrics.describe("n", buckets=[1, 2], max_series=7)
        metrics.histogram("n", 1)
    assert metrics.sample("n") == 2


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({"aggregation": "avg"}, ValueError, r'aggregation=avg: .*"sum", "min", "max", "last", "pid"'),
        ({"aggregation": 3}, TypeError, "aggregation=3: expected a str"),
        ({"buckets": []}, ValueError, r"buckets=\[\]: expected ascending finite bounds"),
        ({"buckets": [2, 1]}, ValueError, "ascending"),
        ({"buckets": [math.nan]}, ValueError, "finite"),
        ({"buckets": ["x"]}, TypeError, "numbers"),
        ({"max_series": 0}, ValueError, "max_series=0: expected a whole number from 1"),
        ({"help": 3}, TypeError, "help=3: expected a str"),
        ({"unit": b"s"}, TypeError, "unit=b's': expected a str"),
    ],
)
def test_a_description_that_makes_no_sense_is_told(
    metrics: PrometheusMetrics, settings: dict[str, Any], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        metrics.describe("n", **settings)


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), ("\ud800", ValueError), (None, TypeError), (3, TypeError)]
)
def test_a_description_needs_a_name(metrics: PrometheusMetrics, name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="name="):
        metrics.describe(name, help="x")


def test_settings_of_other_collectors_are_passed_over(metrics: PrometheusMetrics) -> None:
    metrics.describe("n", help="x", of_another_collector=3)


def test_the_constructors_buckets_are_the_default() -> None:
    metrics = PrometheusMetrics(start_server=False, buckets=(1, 2, math.inf))
    metrics.histogram("h", 1.5)
    assert [labels["le"] for labels in text_page(metrics).labels("gds_h_bucket")] == ["1.0", "2.0", "+Inf"]


# ---------------------------------------------------------------- expiry


def test_series_that_are_not_updated_leave_the_page() -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False, expire_after_seconds=0.2)
    labels = {"x": "1"}
    metrics.increment("gone", 5, labels)

    def only_the_other_is_left() -> bool:
        metrics.increment("kept")
        return "gds_gone_total" not in text_page(metrics).names

    wait_until(only_the_other_is_left, what="a series to expire")
    assert (metrics.sample("kept") or 0) > 1
    assert metrics.sample("gone", labels) is None
    metrics.increment("gone", 1, labels)
    assert metrics.sample("gone", labels) == 1


def test_without_expiry_series_stay(metrics: PrometheusMetrics) -> None:
    metrics.increment("n")
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 0.1, what="time to pass")
    assert metrics.sample("n") == 1


# ---------------------------------------------------------------- exemplars


def test_counters_and_buckets_carry_the_active_trace(metrics: PrometheusMetrics) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        metrics.increment("n", 2, {"x": "1"})
        metrics.histogram("h", 0.3)
        metrics.timing("t", 40)
        metrics.gauge("g", 1)
    context = span.get_span_context()
    ids = {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}
    page = openmetrics_page(metrics)
    for name, labels, value in [
        ("gds_n_total", {"x": "1"}, 2),
        ("gds_h_bucket", {"le": "0.5"}, 0.3),
        ("gds_t_bucket", {"le": "0.05"}, 0.04),
    ]:
        exemplar = page.exemplar(name, labels)
        assert (exemplar.labels, exemplar.value) == (ids, value)
        assert abs(float(exemplar.timestamp) - time.time()) < 60
    assert page.exemplar("gds_h_bucket", {"le": "0.25"}) is None
    assert page.exemplar("gds_h_bucket", {"le": "+Inf"}) is None
    assert page.exemplar("gds_g") is None
    assert b"trace_id" not in metrics.render()


def test_the_latest_trace_of_each_bucket_is_kept(metrics: PrometheusMetrics) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    for value in (0.3, 0.4, 2.0):
        with tracer.start_as_current_span("work"):
            metrics.histogram("h", value)
    page = openmetrics_page(metrics)
    assert page.exemplar("gds_h_bucket", {"le": "0.5"}).value == 0.4
    assert page.exemplar("gds_h_bucket", {"le": "2.5"}).value == 2.0


def test_a_span_that_is_not_sampled_leaves_no_exemplar(metrics: PrometheusMetrics) -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work"):
        metrics.increment("n")
        metrics.histogram("h", 1)
    assert b"trace_id" not in metrics.render(openmetrics=True)


def test_exemplars_can_be_turned_off() -> None:
    metrics = PrometheusMetrics(start_server=False, exemplars=False)
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("work"):
        metrics.increment("n")
    assert b"trace_id" not in metrics.render(openmetrics=True)


# ---------------------------------------------------------------- the process


def test_the_page_tells_of_the_process() -> None:
    metrics = PrometheusMetrics(start_server=False)
    page = text_page(metrics)
    assert (page.value("process_resident_memory_bytes") or 0) > 1_000_000
    assert (page.value("process_virtual_memory_bytes") or 0) > (page.value("process_resident_memory_bytes") or 0)
    assert 0 < (page.value("process_open_fds") or 0) <= (page.value("process_max_fds") or 0)
    assert (page.value("process_threads") or 0) >= 1
    assert 0 < time.time() - (page.value("process_start_time_seconds") or 0) < 86_400
    info = {"implementation": platform.python_implementation(), "version": platform.python_version()}
    assert page.value("python_info", info) == 1


def test_cpu_time_is_told_to_the_fraction_of_a_second() -> None:
    metrics = PrometheusMetrics(start_server=False)
    before = time.process_time()
    told = metrics.sample("process_cpu_seconds_total")
    assert told is not None
    assert before <= told <= time.process_time()


def test_garbage_collections_are_counted() -> None:
    metrics = PrometheusMetrics(start_server=False)
    oldest = {"generation": "2"}
    before = metrics.sample("python_gc_collections_total", oldest)
    assert before is not None
    gc.collect()
    gc.collect()
    assert metrics.sample("python_gc_collections_total", oldest) == before + 2
    assert metrics.sample("python_gc_collections_total", oldest) == gc.get_stats()[2]["collections"]


def test_the_process_can_be_left_out(metrics: PrometheusMetrics) -> None:
    assert not [name for name in text_page(metrics).names if name.startswith(("process_", "python_"))]


# ---------------------------------------------------------------- textfile


def test_the_page_becomes_a_file_in_one_step(tmp_path: Path, metrics: PrometheusMetrics) -> None:
    path = tmp_path / "job.prom"
    path.write_text("old")
    reader = path.open()
    metrics.increment("n", 3)
    metrics.write_to_textfile(path)
    with reader:
        assert reader.read() == "old"
    assert read(path.read_text()).value("gds_n_total") == 3
    assert [file.name for file in tmp_path.iterdir()] == ["job.prom"]
    assert path.stat().st_mode & 0o777 == 0o644
    metrics.write_to_textfile(str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["job.prom"]


def test_readers_of_the_file_never_see_a_part_of_it(tmp_path: Path, metrics: PrometheusMetrics) -> None:
    path = tmp_path / "job.prom"
    for number in range(2000):
        metrics.gauge("g", number, {"i": str(number)})
    metrics.write_to_textfile(path)
    done = threading.Event()

    def write() -> None:
        for _ in range(10):
            metrics.write_to_textfile(path)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    sizes = set()
    while not done.is_set():
        sizes.add(path.read_text().count("\ngds_g{"))
    writer.join()
    assert sizes <= {2000}


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path, metrics: PrometheusMetrics) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing.*create its folder first"):
        metrics.write_to_textfile(tmp_path / "missing" / "job.prom")
    with pytest.raises(IsADirectoryError, match="give a file"):
        metrics.write_to_textfile(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        metrics.write_to_textfile(tmp_path / "file" / "job.prom")
    with pytest.raises(TypeError, match="path=3: expected a path"):
        metrics.write_to_textfile(3)  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
