"""The built-in server: what it answers, whose port it is, and what many clients get."""

from __future__ import annotations

import errno
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gds_metrics import PrometheusMetrics
from tests.helpers.pages import Page, read
from tests.helpers.web import Answer, fetch
from tests.services.process import accepts_tcp, wait_until

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
def metrics() -> Iterator[PrometheusMetrics]:
    with PrometheusMetrics(port=0, addr="127.0.0.1") as metrics:
        yield metrics


def scrape(metrics: PrometheusMetrics) -> Page:
    return read(fetch(metrics.port).text)


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("path", ["/metrics", "/", "/metrics?", "/metrics?other=x"])
def test_the_page_is_at_metrics_and_at_the_root(metrics: PrometheusMetrics, path: str) -> None:
    metrics.increment("n", 3)
    answer = fetch(metrics.port, path)
    assert (answer.status, answer.headers["content-type"]) == (200, TEXT)
    assert answer.headers["content-length"] == str(len(answer.body))
    assert read(answer.text).value("gds_n_total") == 3


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.4", TEXT),
        ("text/plain;q=0.4, application/openmetrics-text;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;q=0", TEXT),
        # Prometheus 2.x and 3.x.
        (
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
                "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
            ),
            OPENMETRICS,
        ),
        (
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
                "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
            ),
            OPENMETRICS,
        ),
        (
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
            ),
            OPENMETRICS,
        ),
        (";;;,,q=", TEXT),
    ],
)
def test_the_client_chooses_the_format(metrics: PrometheusMetrics, accept: str | None, content_type: str) -> None:
    metrics.increment("n")
    answer = fetch(metrics.port, headers={} if accept is None else {"Accept": accept})
    got = answer.headers["content-type"]
    # More may follow, such as an escaping scheme.
    assert got.startswith(content_type)
    assert read(answer.text, openmetrics=content_type == OPENMETRICS).value("gds_n_total") == 1
    assert {"accept", "accept-encoding"} <= set(answer.headers["vary"].lower().replace(" ", "").split(","))


@pytest.mark.parametrize(
    ("accepted", "zipped"), [("gzip", True), ("gzip, deflate", True), ("deflate", False), ("gzip;q=0", False)]
)
def test_a_large_page_is_zipped_for_who_takes_it(metrics: PrometheusMetrics, accepted: str, zipped: bool) -> None:
    for number in range(200):
        metrics.gauge("g", number, {"i": str(number)})
    answer = fetch(metrics.port, headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("content-encoding") == "gzip") is zipped
    assert read(answer.text).value("gds_g", {"i": "199"}) == 199
    if zipped:
        assert len(answer.body) < len(answer.text) / 3


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/nowhere"])
def test_head_is_get_without_the_body(metrics: PrometheusMetrics, path: str) -> None:
    get, head = fetch(metrics.port, path), fetch(metrics.port, path, method="HEAD")
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_health_is_told_in_a_word(metrics: PrometheusMetrics) -> None:
    answer = fetch(metrics.port, "/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/favicon.ico", "/metrics/", "/metricsx", "/healthz/x", "//"])
def test_other_paths_are_not_found_and_told_where_to_look(metrics: PrometheusMetrics, path: str) -> None:
    answer = fetch(metrics.port, path)
    assert answer.status == 404
    assert "/metrics" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_told_which_to_use(metrics: PrometheusMetrics, method: str) -> None:
    answer = fetch(metrics.port, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_names_choose_families(metrics: PrometheusMetrics) -> None:
    metrics.increment("a")
    metrics.increment("b")
    page = read(fetch(metrics.port, "/metrics?name[]=gds_a_total&name%5B%5D=process_threads").text)
    assert page.names == {"gds_a_total", "process_threads"}


def test_what_is_no_http_does_no_harm(metrics: PrometheusMetrics) -> None:
    for junk in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\x00" * 64 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", metrics.port), timeout=10) as client:
            client.sendall(junk)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    assert fetch(metrics.port, "/healthz").status == 200


def test_headers_without_end_are_refused(metrics: PrometheusMetrics) -> None:
    answer = fetch(metrics.port, headers={"X-Long": "x" * 20_000})
    assert answer.status == 431


def test_a_connection_can_be_used_again(metrics: PrometheusMetrics) -> None:
    with socket.create_connection(("127.0.0.1", metrics.port), timeout=10) as client:
        reader = client.makefile("rb")
        for _ in range(3):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            while reader.readline() != b"\r\n":
                pass
            assert reader.read(3) == b"ok\n"


# ---------------------------------------------------------------- ports


def test_port_zero_takes_a_free_one_and_tells(metrics: PrometheusMetrics) -> None:
    with PrometheusMetrics(port=0, addr="127.0.0.1") as other:
        assert other.port != metrics.port
        assert 0 < other.port < 65_536
        assert repr(other) == f"PrometheusMetrics(prefix='gds', port={other.port})"
        assert str(other) == f"Prometheus Metrics (port {other.port})"
        other.increment("only_here")
        assert "gds_only_here_total" not in scrape(metrics).names


def test_a_second_collector_on_the_port_shares_server_and_page(metrics: PrometheusMetrics) -> None:
    same = PrometheusMetrics(port=metrics.port, addr="127.0.0.1")
    other = PrometheusMetrics("other", port=metrics.port, addr="127.0.0.1")
    for collector, value in ((metrics, 1), (same, 2), (other, 4)):
        collector.increment("n", value, {"x": "1"})
        collector.histogram("h", value)
    page = scrape(metrics)
    assert page.value("gds_n_total", {"x": "1"}) == 3
    assert page.value("gds_h_sum") == 3
    assert page.value("other_n_total", {"x": "1"}) == 4
    assert metrics.sample("n", {"x": "1"}) == same.sample("n", {"x": "1"}) == 3
    assert other.sample("n", {"x": "1"}) == 4
    assert other.render(names=["gds_n"]) == metrics.render(names=["gds_n"])


def test_closing_one_of_two_keeps_serving(leased_port: int) -> None:
    metrics = PrometheusMetrics(port=leased_port, addr="127.0.0.1")
    other = PrometheusMetrics("other", port=leased_port, addr="127.0.0.1")
    metrics.close()
    other.increment("n")
    metrics.increment("m")
    page = scrape(other)
    assert page.value("other_n_total") == 1
    assert page.value("gds_m_total") == 1
    other.close()
    assert not accepts_tcp(leased_port)


def test_close_frees_the_port(leased_port: int) -> None:
    metrics = PrometheusMetrics(port=leased_port, addr="127.0.0.1")
    fetch(leased_port)
    metrics.close()
    metrics.close()
    with PrometheusMetrics(port=leased_port, addr="127.0.0.1") as again:
        again.increment("n")
        assert scrape(again).value("gds_n_total") == 1


def test_a_collector_that_is_forgotten_frees_its_port(leased_port: int) -> None:
    metrics = PrometheusMetrics(port=leased_port, addr="127.0.0.1")
    assert accepts_tcp(metrics.port)
    del metrics
    gc.collect()
    assert not accepts_tcp(leased_port)


def test_a_closed_collector_can_serve_again() -> None:
    with PrometheusMetrics(port=0, addr="127.0.0.1") as metrics:
        metrics.increment("n")
        metrics.close()
        port = metrics.start_server()
        assert port == metrics.port
        assert scrape(metrics).value("gds_n_total") == 1


def test_a_server_may_be_started_later() -> None:
    with PrometheusMetrics(port=0, addr="127.0.0.1", start_server=False) as metrics:
        assert metrics.port == 0
        metrics.increment("n")
        port = metrics.start_server()
        assert port == metrics.port == metrics.start_server() != 0
        assert scrape(metrics).value("gds_n_total") == 1


def test_a_server_may_be_started_on_another_port() -> None:
    with (
        PrometheusMetrics(port=0, addr="127.0.0.1") as first,
        PrometheusMetrics(port=first.port, addr="127.0.0.1", start_server=False) as metrics,
    ):
        port = metrics.start_server(0)
        assert port not in (0, first.port)
        assert accepts_tcp(port)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("addr", "127.0.0.2"), ("expire_after_seconds", 5), ("process_metrics", False)],
)
def test_settings_that_one_port_cannot_serve_both_of_are_named(
    metrics: PrometheusMetrics, setting: str, value: object
) -> None:
    settings = {"addr": "127.0.0.1", setting: value}
    with pytest.raises(ValueError, match=f"port={metrics.port}: expected the same {setting}= .*or another port"):
        PrometheusMetrics(port=metrics.port, **settings)  # type: ignore[arg-type]


@pytest.fixture
def port_of_another_process() -> Iterator[int]:
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


@pytest.mark.parametrize("addr", ["127.0.0.1", "0.0.0.0"])
def test_a_port_of_another_process_is_told_with_the_remedy(port_of_another_process: int, addr: str) -> None:
    with pytest.raises(OSError, match=f"port {port_of_another_process}: ") as raised:
        PrometheusMetrics(port=port_of_another_process, addr=addr)
    assert raised.value.errno == errno.EADDRINUSE
    assert "choose another port=, use port=0, or stop the process that has it" in str(raised.value)
    metrics = PrometheusMetrics(port=port_of_another_process, addr=addr, start_server=False)
    with pytest.raises(OSError, match="choose another port=") as raised:
        metrics.start_server()
    assert raised.value.errno == errno.EADDRINUSE
    metrics.increment("n")
    assert metrics.sample("n") == 1


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("addr", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("localhost", "localhost"),
        *(
            pytest.param(addr, host, marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6"))
            for addr, host in (("::1", "::1"), ("[::1]", "::1"), ("::", "::1"), ("::", "127.0.0.1"))
        ),
    ],
)
def test_it_listens_where_it_is_told(addr: str, host: str) -> None:
    with PrometheusMetrics(port=0, addr=addr) as metrics:
        assert fetch(metrics.port, "/healthz", host=host).status == 200


def test_all_ipv4_addresses_are_the_default() -> None:
    with PrometheusMetrics(port=0) as metrics:
        assert fetch(metrics.port, "/healthz", host="127.0.0.2").status == 200


# ---------------------------------------------------------------- many at once


def test_a_scrape_while_four_threads_write_is_whole(metrics: PrometheusMetrics) -> None:
    rounds = 3_000

    def work(number: int) -> None:
        for step in range(rounds):
            metrics.increment("n", labels={"thread": str(number)})
            metrics.timing("t", step, {"i": str(step)})

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(work, number) for number in range(4)]
        last = 0.0
        while not all(writer.done() for writer in writers):
            page = scrape(metrics)
            total = sum(page.value("gds_n_total", labels) or 0 for labels in page.labels("gds_n_total"))
            assert total >= last
            last = total
    for writer in writers:
        writer.result()
    page = scrape(metrics)
    assert [page.value("gds_n_total", {"thread": str(number)}) for number in range(4)] == [rounds] * 4
    assert sum(page.value("gds_t_count", labels) or 0 for labels in page.labels("gds_t_count")) == 4 * rounds


def test_many_clients_at_once_all_get_the_page(metrics: PrometheusMetrics) -> None:
    for number in range(500):
        metrics.gauge("g", number, {"i": str(number)})
    with ThreadPoolExecutor(16) as pool:
        answers: list[Answer] = list(pool.map(lambda _: fetch(metrics.port), range(64)))
    assert {answer.status for answer in answers} == {200}
    assert all(read(answer.text).value("gds_g", {"i": "499"}) == 499 for answer in answers)


def test_clients_beyond_the_limit_are_turned_away_until_others_leave(metrics: PrometheusMetrics) -> None:
    def status() -> int:
        try:
            return fetch(metrics.port, "/healthz").status
        except ConnectionError:  # turned away before the request was written
            return 0

    idle = [socket.create_connection(("127.0.0.1", metrics.port), timeout=10) for _ in range(64)]
    try:
        wait_until(lambda: status() == 503, what="the limit of connections")
    finally:
        for client in idle:
            client.close()
    wait_until(lambda: status() == 200, what="a connection to be taken again")


def test_reporting_does_not_wait_for_a_client_that_does_not_read(metrics: PrometheusMetrics) -> None:
    for number in range(5_000):
        metrics.gauge("g", number, {"i": str(number), "padding": "x" * 200})

    def report() -> None:
        for _ in range(1_000):
            metrics.increment("n")

    with socket.create_connection(("127.0.0.1", metrics.port), timeout=10) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        reporter = threading.Thread(target=report)
        reporter.start()
        reporter.join(timeout=30)
        assert not reporter.is_alive()
        assert scrape(metrics).value("gds_n_total") == 1_000
