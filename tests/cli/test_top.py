"""`gds top` against pages and hubs that are real, and against those that are not there."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gds_cli.live.model import quantile
from gds_cli.live.page import parse
from gds_cli.live.sources import checked_url, fetch
from gds_kafka import KafkaConsumerClient, KafkaLoggingHandler, KafkaProducerClient
from gds_metrics import PrometheusMetrics
from tests.cli.commands import gds, objects, started
from tests.services.fixtures import PrometheusFactory
from tests.services.kafka import KafkaBroker
from tests.services.run import scrape_job

GONE = "127.0.0.1:1"


@pytest.fixture
def metrics() -> Iterator[PrometheusMetrics]:
    """A page with something on it."""
    with PrometheusMetrics(prefix="shop", port=0, addr="127.0.0.1") as collector:
        for number in range(200):
            collector.increment("orders", labels={"kind": "book"})
            collector.timing("order.time", number / 2)
        collector.increment("orders.failed", 3, {"reason": "paid twice"})
        collector.gauge("stock", 42)
        yield collector


def page_of(metrics: PrometheusMetrics) -> str:
    return f"http://127.0.0.1:{metrics.port}/metrics"


def test_a_page_of_ours(metrics: PrometheusMetrics) -> None:
    done = gds("top", "--metrics", f"127.0.0.1:{metrics.port}", "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [shown] = objects(done)
    assert shown["sources"] == [{"kind": "page", "name": page_of(metrics), "reachable": True, "error": None}]
    assert shown["counters"]["shop_orders_total"] == {"total": 200.0, "per_second": 0.0}
    assert shown["errors"] == [
        {"name": "shop_orders_failed_total", "labels": {"reason": "paid twice"}, "total": 3.0, "per_second": 0.0}
    ]
    assert shown["distributions"]["shop_order_time"]["count"] == 200.0
    assert shown["distributions"]["shop_order_time"]["unit"] == "seconds"
    assert {"name": "shop_stock", "labels": {}, "value": 42.0} in shown["gauges"]


def test_prometheus_reckons_the_same(metrics: PrometheusMetrics, prometheus_factory: PrometheusFactory) -> None:
    server = prometheus_factory([scrape_job("shop", [f"127.0.0.1:{metrics.port}"])])
    server.wait_for("shop_order_time_count")
    buckets = {
        float(dict(labels)["le"]): value
        for (suffix, labels), value in parse(fetch(page_of(metrics)))["shop_order_time"].samples.items()
        if suffix == "_bucket"
    }
    for wanted in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0):
        [answer] = server.query(f"histogram_quantile({wanted}, shop_order_time_bucket)")
        assert quantile(wanted, buckets) == pytest.approx(answer.value)
    # Its own page is one that is not ours, with summaries and many families.
    url = f"{server.url}/metrics"
    text = fetch(url)
    assert {
        (family.name + suffix, frozenset(labels)): value
        for family in parse(text).values()
        for (suffix, labels), value in family.samples.items()
        if not math.isnan(value)
    } == {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not math.isnan(sample.value)
    }
    done = gds("top", "--metrics", url, "--metrics", page_of(metrics), "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [shown] = objects(done)
    assert shown["counters"]["shop_orders_total"]["total"] == 200.0
    # It is asked, and asks itself nothing, so each look is one more request.
    assert shown["counters"]["prometheus_http_requests_total"]["per_second"] > 0
    assert shown["distributions"]["prometheus_http_request_duration_seconds"]["p50"] > 0
    assert "go_gc_duration_seconds" in shown["distributions"]
    people = gds("top", "--metrics", url, "--once", COLUMNS="80")
    assert people.returncode == 0
    assert max(map(len, people.stdout.splitlines())) <= 80
    assert "prometheus_http_requests" in people.stdout


def test_topics_lag_and_log_lines_of_a_kafka(kafka: KafkaBroker) -> None:
    servers = kafka.bootstrap_servers
    with KafkaProducerClient(servers) as producer:
        producer.send_many("top-orders", list(range(10)))
        handler = KafkaLoggingHandler(producer, "top-logs")
        for number in range(30):
            handler.emit(record(f"order {number} with token=hunter2-hunter2-hunter2"))
        producer.send_many("top-logs", [b"\x00\x01", "just a text with password=hunter2-hunter2"])
    with KafkaConsumerClient("top-orders", servers, "top-billing", auto_offset_reset="earliest") as consumer:
        for _, message in zip(range(4), consumer, strict=False):
            consumer.commit({("top-orders", message["partition"]): message["offset"] + 1})
            if sum(part["lag"] for part in consumer.lag()) <= 6:
                break
    done = gds("top", "-b", servers, "--group", "top-billing", "--logs-topic", "top-logs", "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [shown] = objects(done)
    assert {source["kind"]: source["reachable"] for source in shown["sources"]} == {"hub": True, "logs": True}
    assert shown["topics"]["top-orders"] == {"messages": 10, "per_second": 0.0}
    assert shown["topics"]["top-logs"]["messages"] == 32
    [group] = shown["groups"]
    assert (group["group"], group["topic"]) == ("top-billing", "top-orders")
    assert 0 < group["lag"] < 10
    messages = [line["message"] for line in shown["logs"]]
    assert len(messages) == 20
    assert any(message.startswith("order 29") for message in messages)
    assert "hunter2" not in done.stdout


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("shop", logging.INFO, __file__, 1, message, None, None)


def test_what_is_not_there_is_shown_as_such_and_the_rest_goes_on(metrics: PrometheusMetrics) -> None:
    arguments = ("--metrics", page_of(metrics), "--metrics", GONE, "-b", GONE, "--logs-topic", "logs")
    done = gds("top", *arguments, "--once", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    [shown] = objects(done)
    found = {(source["kind"], source["reachable"]) for source in shown["sources"]}
    assert found >= {("page", True), ("page", False), ("hub", False)}
    assert all(source["error"] for source in shown["sources"] if source["reachable"] is False)
    assert shown["counters"]["shop_orders_total"]["total"] == 200.0


def test_a_source_that_comes_back_is_seen_again(leased_port: int) -> None:
    with PrometheusMetrics(port=leased_port, addr="127.0.0.1") as first:
        first.increment("hits", 5)
        with started("top", "--metrics", f"127.0.0.1:{leased_port}", "--json") as process:
            assert process.stdout is not None

            def wait_for(reachable: bool) -> None:
                assert any(f'"reachable":{str(reachable).lower()}' in line for line in process.stdout or ())

            wait_for(True)
            first.close()
            wait_for(False)
            with PrometheusMetrics(port=leased_port, addr="127.0.0.1"):
                wait_for(True)
                process.send_signal(signal.SIGINT)
                assert process.wait() == 0


class Strange(BaseHTTPRequestHandler):
    """A page that is none, one that refuses, and one that wants a password."""

    def do_GET(self) -> None:
        known = self.headers.get("authorization") == "Basic YW5uOmEgc2VjcmV0"
        status = {"/refused": 503, "/private": 200 if known else 401}.get(self.path, 200)
        body = b"known_total 1\n" if self.path == "/private" else b"<html>hello</html>"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_pages_that_are_none_say_why_and_passwords_are_not_shown() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Strange)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        host = f"127.0.0.1:{server.server_address[1]}"
        urls = [f"http://{host}/html", f"http://{host}/refused", f"http://ann:a%20secret@{host}/private"]
        done = gds("top", *(each for url in urls for each in ("--metrics", url)), "--once", "--json")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    [shown] = objects(done)
    assert [(source["name"], source["reachable"], source["error"]) for source in shown["sources"]] == [
        (urls[0], False, "it answers, but not with metrics; expected Prometheus text"),
        (urls[1], False, "answers 503 Service Unavailable"),
        (f"http://{host}/private", True, None),
    ]
    assert "secret" not in done.stdout + done.stderr


def test_in_lines_where_there_is_no_terminal(metrics: PrometheusMetrics) -> None:
    done = gds("top", "--metrics", page_of(metrics), "--seconds", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2
    assert "errors" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected --metrics URL or --bootstrap-servers"),
        (("--metrics", "h:1", "--group", "g"), "expected --bootstrap-servers"),
        (("--metrics", "ftp://ann:hunter2@h"), "is no URL of a page"),
        (("--metrics", "http://h:port"), "is no URL of a page"),
        (("--metrics", "h:1", "--seconds", "-1"), "--seconds"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: tuple[str, ...], said: str) -> None:
    done = gds("top", *arguments, COLUMNS="200")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("localhost:8080", "http://localhost:8080/metrics"),
        ("http://h", "http://h/metrics"),
        ("https://h:1/federate?match=x", "https://h:1/federate?match=x"),
        ("[::1]:9090", "http://[::1]:9090/metrics"),
    ],
)
def test_what_people_leave_out_of_a_url_is_added(given: str, expected: str) -> None:
    assert checked_url(given) == expected
