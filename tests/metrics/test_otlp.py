"""What `OpenTelemetryMetrics` exports, as a real OpenTelemetry Collector receives it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from gds_metrics import CompositeMetrics, MetricsCollector, OpenTelemetryMetrics
from tests.metrics.doubles import METHODS, any_labels, anything
from tests.services.fixtures import OtelCollectorFactory
from tests.services.process import LOOPBACK
from tests.services.run import OtelCollector, wait_until

PROTOCOLS = ("grpc", "http/protobuf")
# Nothing is exported by itself during a test that asks for it.
NEVER_SECONDS = 3600.0
CUMULATIVE, DELTA = 2, 1


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def endpoint_of(collector: OtelCollector, protocol: str) -> str:
    return collector.grpc_endpoint if protocol == "grpc" else f"{collector.http_endpoint}/v1/metrics"


def exporter(collector: OtelCollector, protocol: str = "grpc", **settings: Any) -> OpenTelemetryMetrics:
    """Exports to the collector, and only when told to."""
    settings.setdefault("interval_seconds", NEVER_SECONDS)
    return OpenTelemetryMetrics(endpoint=endpoint_of(collector, protocol), protocol=protocol, **settings)


def attributes(block: Mapping[str, Any]) -> dict[str, str]:
    return {pair["key"]: pair["value"]["stringValue"] for pair in block.get("attributes", [])}


def data_points(metric: Mapping[str, Any]) -> list[dict[str, Any]]:
    [data] = [metric[kind] for kind in ("sum", "gauge", "histogram") if kind in metric]
    return list(data["dataPoints"])


def received_points(collector: OtelCollector, name: str) -> list[dict[str, Any]]:
    """Every point of that metric, oldest first, without waiting."""
    return [point for received in collector.metrics_named(name) for point in data_points(received.metric)]


def labels_of(point: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(attributes(point).items()))


def latest_values(collector: OtelCollector, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The value each series showed last; the total of a cumulative counter."""
    return {labels_of(point): float(point["asDouble"]) for point in received_points(collector, name)}


def summed_values(collector: OtelCollector, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """What the values of each series add up to; the total of a delta counter."""
    totals: dict[tuple[tuple[str, str], ...], float] = {}
    for point in received_points(collector, name):
        totals[labels_of(point)] = totals.get(labels_of(point), 0) + float(point["asDouble"])
    return totals


def only(collector: OtelCollector, name: str) -> dict[str, Any]:
    """The one metric of that name that was received, in JSON."""
    [received] = collector.wait_for(name)
    return dict(received.metric)


def run_program(
    code: str, *arguments: str, environment: Mapping[str, str] | None = None, timeout_seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end, with warnings as errors and no variable of OpenTelemetry's but those given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**inherited, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


class Request:
    def __init__(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.path = path
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body


@contextmanager
def http_receiver(status: int = 200, body: bytes = b"") -> Iterator[tuple[str, list[Request]]]:
    """Takes OTLP over HTTP and keeps it as it came; gives ``http://host:port`` and the requests so far."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(Request(self.path, dict(self.headers.items()), content))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def test_is_a_collector(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        assert isinstance(metrics, MetricsCollector)
        assert bool(metrics)
        assert repr(metrics) == "OpenTelemetryMetrics(service_name='gds_service')"
        assert str(metrics) == "OpenTelemetry Metrics (gds_service)"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["vault.secret.fetch", "größe in €", "with-dash/and_line", "a" * 300])
def test_a_counter_is_a_monotonic_total_under_the_name_as_given(
    otel_collector: OtelCollector, protocol: str, name: str
) -> None:
    with exporter(otel_collector, protocol) as metrics:
        metrics.increment(name)
        metrics.increment(name, 2, {"path": "/"})
        metrics.increment(name, 0.5, {"path": "/"})
        assert metrics.flush()
        metrics.increment(name, 4, {"path": "/"})
        assert metrics.flush()
    wait_until(lambda: len(otel_collector.metrics_named(name)) >= 2, what="two exports")
    first, second = [received.metric["sum"] for received in otel_collector.metrics_named(name)][:2]
    for exported in first, second:
        assert exported["isMonotonic"] is True
        assert exported["aggregationTemporality"] == CUMULATIVE
    before = {labels_of(point): point for point in first["dataPoints"]}
    after = {labels_of(point): point for point in second["dataPoints"]}
    assert {labels: point["asDouble"] for labels, point in before.items()} == {(): 1, (("path", "/"),): 2.5}
    assert {labels: point["asDouble"] for labels, point in after.items()} == {(): 1, (("path", "/"),): 6.5}
    for labels, point in after.items():
        assert point["startTimeUnixNano"] == before[labels]["startTimeUnixNano"]
        assert int(point["startTimeUnixNano"]) <= int(before[labels]["timeUnixNano"]) < int(point["timeUnixNano"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_gauge_shows_what_was_set_last(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol) as metrics:
        metrics.gauge("connections", 5, {"pool": "a"})
        metrics.gauge("connections", -3.5, {"pool": "a"})
        metrics.gauge("connections", float("nan"), {"pool": "b"})
        metrics.gauge("connections", float("-inf"), {"pool": "c"})
        assert metrics.flush()
    [received, *_] = otel_collector.wait_for("connections")
    values = {attributes(point)["pool"]: point["asDouble"] for point in data_points(received.metric)}
    assert values == {"a": -3.5, "b": "NaN", "c": "-Infinity"}
    assert "gauge" in received.metric


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_histogram_has_the_description_it_was_given(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol) as metrics:
        metrics.describe("answer.size", help="Size of an answer.", unit="bytes", buckets=[10, 100])
        for value in (5, 10, 50, 500):
            metrics.histogram("answer.size", value, {"path": "/"})
    metric = only(otel_collector, "answer.size")
    assert (metric["description"], metric["unit"]) == ("Size of an answer.", "By")
    assert metric["histogram"]["aggregationTemporality"] == CUMULATIVE
    [point] = data_points(metric)
    assert attributes(point) == {"path": "/"}
    assert (point["count"], point["sum"]) == ("4", 565)
    assert point["explicitBounds"] == [10, 100]
    assert point["bucketCounts"] == ["2", "1", "1"]


def test_a_description_covers_counters_and_gauges_too(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        metrics.describe("requests", help="Requests answered.", unit="{request}")
        metrics.describe("uptime", help="Since the start.", unit="seconds")
        metrics.increment("requests")
        metrics.gauge("uptime", 12)
    requests, uptime = only(otel_collector, "requests"), only(otel_collector, "uptime")
    assert (requests["description"], requests["unit"]) == ("Requests answered.", "{request}")
    assert (uptime["description"], uptime["unit"]) == ("Since the start.", "s")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_timing_is_a_histogram_in_seconds(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol, buckets=(0.1, 0.5)) as metrics:
        metrics.timing("query", 250, {"table": "users"})
        metrics.timing("query", 750, {"table": "users"})
    metric = only(otel_collector, "query")
    assert metric["unit"] == "s"
    [point] = data_points(metric)
    assert attributes(point) == {"table": "users"}
    assert (point["count"], point["sum"]) == ("2", 1.0)
    assert point["explicitBounds"] == [0.1, 0.5]
    assert point["bucketCounts"] == ["0", "1", "1"]


def test_label_values_become_text(otel_collector: OtelCollector) -> None:
    labels: Any = {"none": None, "yes": True, "number": 7, "größe": "€", "empty": ""}
    with exporter(otel_collector) as metrics:
        metrics.increment("requests", labels=labels)
    [point] = data_points(only(otel_collector, "requests"))
    assert attributes(point) == {"none": "", "yes": "true", "number": "7", "größe": "€", "empty": ""}


def test_one_name_as_two_kinds_is_two_metrics(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        metrics.increment("load", 3)
        metrics.gauge("load", 7)
        assert metrics.flush()
    assert data_points(otel_collector.wait_for("load")[0].metric)[0]["asDouble"] == 3
    assert data_points(otel_collector.wait_for("load_gauge")[0].metric)[0]["asDouble"] == 7


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_resource_says_who_exports(otel_collector: OtelCollector, protocol: str) -> None:
    further: Any = {"deployment.environment": "test", "shard": 3}
    with exporter(
        otel_collector, protocol, service_name="billing", service_version="2.1", resource_attributes=further
    ) as metrics:
        metrics.increment("jobs")
    [received] = otel_collector.wait_for("jobs")
    resource = attributes(received.resource)
    assert resource.pop("telemetry.sdk.version")
    assert len(resource.pop("service.instance.id")) == 36
    assert resource == {
        "service.name": "billing",
        "service.version": "2.1",
        "deployment.environment": "test",
        "shard": "3",
        "telemetry.sdk.name": "gds-telemetry",
        "telemetry.sdk.language": "python",
    }
    assert received.scope["name"] == "gds_metrics"


def test_the_service_instance_may_be_given_and_is_otherwise_one_for_each_collector(
    otel_collector: OtelCollector,
) -> None:
    given_id: Any = {"service.instance.id": "worker-1"}
    for resource_attributes in (given_id, None, None):
        with exporter(otel_collector, resource_attributes=resource_attributes) as metrics:
            metrics.increment("jobs")
    wait_until(lambda: len(otel_collector.metrics_named("jobs")) == 3, what="three exports")
    ids = [attributes(r.resource)["service.instance.id"] for r in otel_collector.metrics_named("jobs")]
    assert ids[0] == "worker-1"
    assert len(set(ids)) == 3


def test_default_service_version_gives_way_to_resource_attributes(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector, resource_attributes={"service.version": "7.0"}) as metrics:
        metrics.increment("jobs")
    [received] = otel_collector.wait_for("jobs")
    assert attributes(received.resource)["service.version"] == "7.0"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_exemplar_names_the_active_span(otel_collector: OtelCollector, protocol: str) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with exporter(otel_collector, protocol) as metrics:
        with tracer.start_as_current_span("request") as span:
            metrics.increment("requests", 2)
            metrics.histogram("size", 0.3)
            metrics.timing("query", 300)
            context = span.get_span_context()
        metrics.increment("untraced")
    ids = trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
    for name, value in (("requests", 2), ("size", 0.3), ("query", 0.3)):
        [point] = data_points(only(otel_collector, name))
        [exemplar] = point["exemplars"]
        assert (exemplar["traceId"], exemplar["spanId"]) == ids
        assert exemplar["asDouble"] == value
        assert attributes(point) == {}
    [point] = data_points(only(otel_collector, "untraced"))
    assert "exemplars" not in point


def test_no_exemplar_without_trace_context_nor_of_spans_that_are_not_sampled(otel_collector: OtelCollector) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test")
    with exporter(otel_collector, include_trace_context=False) as metrics, tracer.start_as_current_span("request"):
        metrics.increment("off")
    with exporter(otel_collector) as metrics, unsampled.start_as_current_span("request"):
        metrics.increment("unsampled")
    for name in ("off", "unsampled"):
        assert "exemplars" not in data_points(only(otel_collector, name))[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_delta_temporality_exports_what_was_added(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol, temporality="delta") as metrics:
        for added in (3, 4):
            metrics.increment("jobs", added)
            metrics.timing("query", added * 1000)
            metrics.gauge("level", added)
            assert metrics.flush()
        assert metrics.flush()
    wait_until(lambda: len(otel_collector.metrics_named("level")) >= 3, what="three exports")
    jobs = [received.metric["sum"] for received in otel_collector.metrics_named("jobs")]
    assert [data["dataPoints"][0]["asDouble"] for data in jobs] == [3, 4]
    assert {data["aggregationTemporality"] for data in jobs} == {DELTA}
    [first], [second] = (data["dataPoints"] for data in jobs)
    assert second["startTimeUnixNano"] == first["timeUnixNano"]
    queries = received_points(otel_collector, "query")
    assert [(point["count"], point["sum"]) for point in queries] == [("1", 3), ("1", 4)]
    # A gauge has no changes, so its value is repeated.
    assert [point["asDouble"] for point in received_points(otel_collector, "level")][:3] == [3, 4, 4]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_gzip_and_headers_are_accepted(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol, compression="gzip", headers={"X-Tenant": "a"}) as metrics:
        metrics.increment("jobs", 3)
        assert metrics.flush()
    assert latest_values(otel_collector, "jobs") or otel_collector.wait_for("jobs")
    assert latest_values(otel_collector, "jobs") == {(): 3}


def test_headers_and_compression_are_on_every_request() -> None:
    with http_receiver() as (url, requests):
        metrics = OpenTelemetryMetrics(
            endpoint=f"{url}/otlp?tenant=a",
            protocol="http/protobuf",
            compression="gzip",
            headers={"Authorization": "Bearer abc", "X-Tenant": "a"},
            interval_seconds=NEVER_SECONDS,
        )
        metrics.increment("jobs")
        assert metrics.flush()
        metrics.close()
    assert len(requests) == 2
    for request in requests:
        assert request.path == "/otlp?tenant=a"
        assert request.headers["authorization"] == "Bearer abc"
        assert request.headers["x-tenant"] == "a"
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["content-encoding"] == "gzip"
        assert b"jobs" in gzip.decompress(request.body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_are_exported_on_the_interval_without_being_asked(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol, interval_seconds=0.05) as metrics:
        metrics.increment("jobs", 3)
        otel_collector.wait_for("jobs")
        metrics.increment("jobs", 4)
        wait_until(lambda: latest_values(otel_collector, "jobs") == {(): 7}, what="the second value")
        assert metrics.stats()["exports"] >= 2


def test_nothing_is_exported_before_the_interval_or_a_flush(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        metrics.increment("jobs")
        assert metrics.stats()["exports"] == 0
        assert otel_collector.metrics() == []


def test_flush_tells_whether_the_receiver_took_it(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        metrics.increment("jobs")
        assert metrics.flush() is True
        otel_collector.stop()
        assert metrics.flush() is False
        stats = metrics.stats()
        assert (stats["exports"], stats["failed_attempts"]) == (1, 1)
        assert stats["last_error"].startswith("cannot reach http://127.0.0.1:")
        otel_collector.start()
        assert metrics.flush() is True


def test_a_refusal_is_told_with_the_receivers_words() -> None:
    with http_receiver(status=400, body=b"") as (url, _):
        metrics = OpenTelemetryMetrics(endpoint=url, protocol="http/protobuf", interval_seconds=NEVER_SECONDS)
        metrics.increment("jobs")
        assert metrics.flush() is False
        assert "answered 400 Bad Request" in metrics.stats()["last_error"]
        metrics.close()


def test_points_that_the_receiver_rejects_are_counted() -> None:
    # ExportMetricsServiceResponse with a partial success: two points rejected, "no".
    with http_receiver(body=b"\x0a\x06\x08\x02\x12\x02no") as (url, _):
        metrics = OpenTelemetryMetrics(endpoint=url, protocol="http/protobuf", interval_seconds=NEVER_SECONDS)
        metrics.increment("jobs")
        assert metrics.flush() is True
        assert metrics.stats()["rejected_points"] == 2
        assert metrics.stats()["last_error"] == "2 points rejected: no"
        metrics.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_close_exports_what_was_not_exported_yet_and_may_be_repeated(
    otel_collector: OtelCollector, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = exporter(otel_collector, protocol)
    metrics.increment("jobs", 3)
    metrics.close()
    metrics.close()
    otel_collector.wait_for("jobs")
    assert latest_values(otel_collector, "jobs") == {(): 3}
    assert len(otel_collector.metrics()) == 1
    assert caplog.records == []


def test_a_closed_collector_takes_values_and_exports_none(otel_collector: OtelCollector) -> None:
    metrics = exporter(otel_collector)
    metrics.close()
    metrics.increment("late")
    metrics.gauge("late.level", 1)
    metrics.histogram("late.size", 1)
    metrics.timing("late.query", 1)
    metrics.describe("late.other", help="Never seen.")
    assert metrics.flush() is False
    metrics.close()
    assert metrics.stats()["exports"] == 0
    assert otel_collector.metrics() == []


def fail_after(metrics: MetricsCollector) -> None:
    metrics.increment("jobs")
    raise RuntimeError("on purpose")


def test_leaving_a_with_statement_closes_it(otel_collector: OtelCollector) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), exporter(otel_collector) as metrics:
        fail_after(metrics)
    otel_collector.wait_for("jobs")
    assert metrics.flush() is False


def test_many_series_arrive_in_requests_that_a_receiver_takes(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector, max_series=20_000) as metrics:
        for number in range(12_000):
            metrics.increment("jobs", number, {"number": str(number)})
        assert metrics.flush(30)
        assert metrics.stats()["exports"] == 1
    wait_until(lambda: len(latest_values(otel_collector, "jobs")) == 12_000, what="every series")
    values = latest_values(otel_collector, "jobs")
    assert all(value == int(dict(labels)["number"]) for labels, value in values.items())
    assert len(otel_collector.metrics()) > 2


def test_series_beyond_the_limit_go_to_one(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector, max_series=2) as metrics:
        for number in range(5):
            metrics.increment("jobs", 1, {"number": str(number)})
    otel_collector.wait_for("jobs")
    assert latest_values(otel_collector, "jobs") == {
        (("number", "0"),): 1,
        (("number", "1"),): 1,
        (("overflow", "true"),): 3,
    }


def test_totals_of_many_threads_are_exact_while_exports_run(otel_collector: OtelCollector) -> None:
    threads, increments = 8, 20_000
    with exporter(otel_collector, interval_seconds=0.02) as metrics:

        def report(number: int) -> None:
            labels = {"thread": str(number % 2)}
            for _ in range(increments):
                metrics.increment("jobs", 1, labels)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(report, range(threads)))
    wait_until(lambda: len(latest_values(otel_collector, "jobs")) == 2, what="both series")
    half = threads * increments / 2
    wait_until(
        lambda: latest_values(otel_collector, "jobs") == {(("thread", "0"),): half, (("thread", "1"),): half},
        what=lambda: f"the totals, received {latest_values(otel_collector, 'jobs')}",
    )


def test_what_is_refused_is_counted_by_reason(otel_collector: OtelCollector, caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = object()
    with exporter(otel_collector) as metrics:
        for _ in range(2):
            metrics.increment("jobs", -1)
            metrics.increment(wrong)
            metrics.gauge("level", wrong)
            metrics.histogram("size", 1, wrong)
        metrics.increment("jobs", float("nan"))
    otel_collector.wait_for("gds_metrics_dropped")
    dropped = {
        dict(labels)["reason"]: count for labels, count in latest_values(otel_collector, "gds_metrics_dropped").items()
    }
    assert sum(dropped.values()) == 9
    assert dropped["negative_increment"] >= 2
    assert dropped["invalid_name"] == 2
    assert dropped["invalid_labels"] == 2
    # Each kind of mistake at each method is mentioned once.
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records)
    assert all(record.name == "gds_metrics" for record in caplog.records)


def test_values_are_asked_for_at_each_export(otel_collector: OtelCollector) -> None:
    queues: dict[str, float] = {"a": 1, "b": 2}
    totals = iter(range(5, 100))
    with exporter(otel_collector) as metrics:
        metrics.describe("depth", help="Waiting tasks.")
        metrics.observable_gauge("depth", lambda: [(depth, {"queue": queue}) for queue, depth in queues.items()])
        metrics.observable_counter("done", lambda: next(totals), {"of": "x"})
        assert metrics.flush()
        del queues["b"]
        queues["a"] = 4
        assert metrics.flush()
    wait_until(lambda: len(otel_collector.metrics_named("depth")) >= 2, what="two exports")
    received = [received.metric for received in otel_collector.metrics_named("depth")][:2]
    assert [metric["description"] for metric in received] == ["Waiting tasks."] * 2
    shown = [{attributes(point)["queue"]: point["asDouble"] for point in data_points(metric)} for metric in received]
    assert shown == [{"a": 1, "b": 2}, {"a": 4}]
    first, second = [received.metric["sum"] for received in otel_collector.metrics_named("done")][:2]
    assert first["isMonotonic"] is True
    points = [points for exported in (first, second) for points in exported["dataPoints"]]
    assert [(labels_of(point), point["asDouble"]) for point in points] == [((("of", "x"),), 5), ((("of", "x"),), 6)]


def test_delta_temporality_exports_by_how_much_an_asked_total_grew(otel_collector: OtelCollector) -> None:
    totals = iter([5.0, 12.0, 12.0])
    with exporter(otel_collector, temporality="delta") as metrics:
        metrics.observable_counter("done", lambda: next(totals))
        assert metrics.flush()
        assert metrics.flush()
    wait_until(lambda: len(received_points(otel_collector, "done")) >= 2, what="two exports")
    assert summed_values(otel_collector, "done") == {(): 12}
    assert [point["asDouble"] for point in received_points(otel_collector, "done")][:2] == [5, 7]


@pytest.mark.timing
def test_callbacks_that_fail_or_hang_cost_their_own_values_and_are_counted(
    otel_collector: OtelCollector, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = Event()

    def fails() -> NoReturn:
        raise OSError("hunter2")

    with exporter(otel_collector) as metrics:
        metrics.observable_gauge("broken", fails)
        metrics.observable_gauge("hung", lambda: go_on.wait(60))
        metrics.observable_gauge("well", lambda: 7)
        try:
            assert metrics.flush()
            assert metrics.flush()
        finally:
            go_on.set()
    wait_until(lambda: len(otel_collector.metrics_named("well")) >= 2, what="two exports")
    assert latest_values(otel_collector, "well") == {(): 7}
    assert otel_collector.metrics_named("broken") == []
    second = [received.metric for received in otel_collector.metrics_named("gds_metrics_dropped")][1]
    dropped = {attributes(point)["reason"]: point["asDouble"] for point in data_points(second)}
    assert sorted(dropped) == ["callback_failed", "callback_timeout"]
    assert min(dropped.values()) >= 2
    assert [record.name for record in caplog.records] == ["gds_metrics"] * 2
    assert "OSError at test_otlp.py" in caplog.text
    assert "hunter2" not in caplog.text


def test_the_export_of_close_asks_too(otel_collector: OtelCollector, caplog: pytest.LogCaptureFixture) -> None:
    totals = iter(range(5, 100))
    with exporter(otel_collector) as metrics:
        metrics.observable_gauge("size", lambda: 7)
        metrics.observable_counter("done", lambda: next(totals))
    otel_collector.wait_for("size")
    assert latest_values(otel_collector, "size") == {(): 7}
    assert latest_values(otel_collector, "done") == {(): 5}
    assert len(otel_collector.metrics()) == 1
    assert otel_collector.metrics_named("gds_metrics_dropped") == []
    assert caplog.records == []
    metrics.gauge("size", 8)
    assert 'gauge("size") was dropped (closed)' in caplog.text


def test_a_gauge_goes_up_and_down(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        for change in (3, -1):
            metrics.gauge_add("busy", change, {"a": "b"})
        metrics.gauge("level", 10)
        metrics.gauge_add("level", 0.5)
        metrics.gauge_add("level", float("nan"))
    otel_collector.wait_for("busy")
    assert latest_values(otel_collector, "busy") == {(("a", "b"),): 2}
    assert latest_values(otel_collector, "level") == {(): 10.5}
    assert latest_values(otel_collector, "gds_metrics_dropped") == {(("reason", "invalid_value"),): 1}


def test_a_removed_series_is_exported_no_more_and_starts_anew(otel_collector: OtelCollector) -> None:
    with exporter(otel_collector) as metrics:
        for tenant in ("gone", "kept"):
            metrics.increment("requests", 5, {"tenant": tenant})
        assert metrics.flush()
        assert metrics.remove("requests", {"tenant": "gone"}) is True
        assert metrics.remove("requests", {"tenant": "gone"}) is False
        assert metrics.flush()
        metrics.increment("requests", 2, {"tenant": "gone"})
    wait_until(lambda: len(otel_collector.metrics_named("requests")) >= 3, what="three exports")
    exported = [data_points(received.metric) for received in otel_collector.metrics_named("requests")]
    shown = [{attributes(point)["tenant"]: point["asDouble"] for point in points} for points in exported]
    assert shown == [{"gone": 5, "kept": 5}, {"kept": 5}, {"gone": 2, "kept": 5}]
    begun = [{attributes(point)["tenant"]: int(point["startTimeUnixNano"]) for point in points} for points in exported]
    assert begun[2]["gone"] > begun[0]["gone"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_input_raises_or_spoils_the_export(otel_collector: OtelCollector, protocol: str) -> None:
    with exporter(otel_collector, protocol) as metrics:

        @settings(max_examples=150)
        @given(st.sampled_from(METHODS), anything, anything, any_labels)
        def report(method: str, name: Any, value: Any, labels: Any) -> None:
            getattr(metrics, method)(name, value, labels)

        @settings(max_examples=150)
        @given(st.sampled_from(METHODS), st.text(), st.floats(), st.dictionaries(st.text(), st.text(), max_size=4))
        def report_plausible(method: str, name: str, value: float, labels: dict[str, str]) -> None:
            getattr(metrics, method)(name, value, labels)

        report()
        report_plausible()
        metrics.increment("sound", 3)
        assert metrics.flush(), metrics.stats()
        assert metrics.stats()["rejected_points"] == 0
    otel_collector.wait_for("sound")
    assert latest_values(otel_collector, "sound") == {(): 3}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_totals_are_those_of_a_model(otel_collector: OtelCollector, temporality: str) -> None:
    names = ("a", "b.c", "größe")
    model: dict[str, dict[tuple[tuple[str, str], ...], float]] = {name: {} for name in names}
    labels_strategy = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["x", "y", "größe"]))
    with exporter(otel_collector, temporality=temporality, interval_seconds=0.01) as metrics:

        @given(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 1000), labels_strategy), max_size=30))
        def report(increments: list[tuple[str, int, dict[str, str]]]) -> None:
            for name, value, labels in increments:
                metrics.increment(name, value, labels)
                series = tuple(sorted(labels.items()))
                model[name][series] = model[name].get(series, 0) + value

        report()
        metrics.increment("end")
    # Requests come one after the other, and the last one names this.
    otel_collector.wait_for("end")
    totals = latest_values if temporality == "cumulative" else summed_values
    assert {name: totals(otel_collector, name) for name in names} == model


class Pipeline:
    """A provider of the program, and what arrives at its end."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        blocks = data.resource_metrics if data is not None else []
        return {m.name: m for block in blocks for scope in block.scope_metrics for m in scope.metrics}


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline()
    yield pipeline
    pipeline.provider.shutdown()


def test_a_meter_provider_takes_every_measurement(pipeline: Pipeline) -> None:
    metrics = OpenTelemetryMetrics("billing", meter_provider=pipeline.provider)
    assert isinstance(metrics, OpenTelemetryMetrics)
    assert isinstance(metrics, MetricsCollector)
    assert bool(metrics)
    assert repr(metrics) == "OpenTelemetryMetrics(service_name='billing')"
    assert str(metrics) == "OpenTelemetry Metrics (billing)"
    metrics.describe("size", help="Size of an answer.", unit="By", buckets=[10])
    metrics.increment("jobs", 2, {"queue": "a"})
    metrics.gauge("level", -1)
    metrics.histogram("size", 20)
    metrics.timing("query", 250)
    assert metrics.flush() is True
    exported = pipeline.metrics()
    assert sorted(exported) == ["jobs", "level", "query", "size"]
    [jobs] = exported["jobs"].data.data_points
    assert (jobs.value, dict(jobs.attributes)) == (2, {"queue": "a"})
    [level] = exported["level"].data.data_points
    assert level.value == -1
    [size] = exported["size"].data.data_points
    assert (exported["size"].description, exported["size"].unit) == ("Size of an answer.", "By")
    assert (tuple(size.explicit_bounds), tuple(size.bucket_counts)) == ((10,), (0, 1))
    [query] = exported["query"].data.data_points
    assert (exported["query"].unit, query.sum) == ("s", 0.25)


def test_closing_leaves_the_programs_meter_provider_open(pipeline: Pipeline) -> None:
    with OpenTelemetryMetrics(meter_provider=pipeline.provider) as metrics:
        metrics.increment("jobs")
    metrics.close()
    metrics.increment("jobs")
    pipeline.provider.get_meter("other").create_counter("other").add(1)
    exported = pipeline.metrics()
    assert exported["jobs"].data.data_points[0].value == 2
    assert "other" in exported


def test_what_a_meter_provider_does_not_take_is_counted(pipeline: Pipeline) -> None:
    metrics = OpenTelemetryMetrics(meter_provider=pipeline.provider)
    wrong: Any = None
    metrics.increment("jobs", -1)
    metrics.gauge(wrong, 1)
    assert metrics.stats() == {"dropped": {"negative_increment": 1, "invalid_name": 1}}


def test_a_meter_provider_asks_and_its_gauges_go_up_and_down(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> NoReturn:
        raise OSError("hunter2")

    metrics = OpenTelemetryMetrics(meter_provider=pipeline.provider)
    metrics.observable_gauge("size", lambda: 7, {"pool": "a"})
    metrics.observable_counter("done", lambda: 8)
    metrics.observable_gauge("broken", fails)
    metrics.gauge_add("busy", 3)
    metrics.gauge_add("busy", -1)
    exported = pipeline.metrics()
    assert sorted(exported) == ["busy", "done", "size"]
    assert [(point.value, dict(point.attributes)) for point in exported["size"].data.data_points] == [
        (7, {"pool": "a"})
    ]
    assert exported["done"].data.is_monotonic
    assert exported["done"].data.data_points[0].value == 8
    assert exported["busy"].data.data_points[0].value == 2
    assert metrics.remove("busy") is False, "OpenTelemetry's API cannot"
    assert metrics.stats() == {"dropped": {"callback_failed": 1}}
    assert [record.name for record in caplog.records] == ["gds_metrics"]
    assert "hunter2" not in caplog.text


def test_a_subclass_reports_to_the_meter_provider_as_well(pipeline: Pipeline) -> None:
    class Prefixed(OpenTelemetryMetrics):
        def __init__(self) -> None:
            super().__init__("billing", meter_provider=pipeline.provider)
            self.reported = 0

        def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
            self.reported += 1
            super().increment(f"billing.{name}", value, labels)

    metrics = Prefixed()
    metrics.increment("jobs", 3)
    metrics.gauge("level", 7)
    exported = pipeline.metrics()
    assert isinstance(metrics, Prefixed)
    assert metrics.reported == 1
    assert exported["billing.jobs"].data.data_points[0].value == 3
    assert exported["level"].data.data_points[0].value == 7


def test_a_meter_provider_is_a_member_like_any_other(pipeline: Pipeline, otel_collector: OtelCollector) -> None:
    with CompositeMetrics([exporter(otel_collector), OpenTelemetryMetrics(meter_provider=pipeline.provider)]) as both:
        both.increment("jobs", 3)
    otel_collector.wait_for("jobs")
    assert latest_values(otel_collector, "jobs") == {(): 3}
    assert pipeline.metrics()["jobs"].data.data_points[0].value == 3


WITH_METER_PROVIDER = """
import os, pathlib, sys
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from gds_metrics import OpenTelemetryMetrics

def state():
    descriptors = [pathlib.Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    # The descriptor of the listing itself is closed by now.
    sockets = [link for link in descriptors if link.is_symlink() and os.readlink(link).startswith("socket:")]
    return {*os.listdir("/proc/self/task"), *sockets}

provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
before = state()
metrics = OpenTelemetryMetrics(meter_provider=provider, endpoint=sys.argv[1], interval_seconds=0.01)
for method in (metrics.increment, metrics.gauge, metrics.histogram, metrics.timing):
    method(method.__name__, 1)
metrics.flush()
metrics.close()
# A thread in which the SDK looked for the resource may be at its end only now.
print(state() <= before)
"""


def test_with_a_meter_provider_nothing_is_started_or_exported(
    otel_collector: OtelCollector,
) -> None:
    program = run_program(WITH_METER_PROVIDER, otel_collector.grpc_endpoint)
    assert (program.stdout, program.stderr) == ("True\n", "")
    assert otel_collector.metrics() == []


def test_a_collector_of_its_own_starts_one_thread_and_no_python_thread(
    otel_collector_factory: OtelCollectorFactory, tmp_path: Path
) -> None:
    collector = otel_collector_factory()
    code = """
import os, sys, threading
from gds_metrics import OpenTelemetryMetrics
before = len(os.listdir("/proc/self/task"))
metrics = OpenTelemetryMetrics(endpoint=sys.argv[1], interval_seconds=3600)
metrics.increment("jobs")
print(before, len(os.listdir("/proc/self/task")), threading.active_count())
"""
    program = run_program(code, collector.grpc_endpoint)
    assert (program.stdout, program.stderr) == ("1 2 1\n", "")
