"""A receiver that does not take what it is sent is told in the log: once when that begins, once when it ends."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gds_metrics import OpenTelemetryMetrics, StatsdMetrics
from tests.metrics.test_otlp_outage import refusing_port
from tests.metrics.test_statsd import Agent
from tests.services.process import LOOPBACK, wait_until

pytestmark = pytest.mark.timing

OFTEN_SECONDS = 0.02


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("OTEL_", "DD_")):
            monkeypatch.delenv(name)


class Receiver:
    """Takes OTLP over HTTP, and answers what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.answered = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)
                receiver.answered += 1

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self.server.server_port}/v1/metrics"

    def wait_for(self, count: int) -> None:
        wanted = self.answered + count
        wait_until(lambda: self.answered >= wanted, what=f"{count} answers")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.server as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def exporter(endpoint: str, **settings: Any) -> OpenTelemetryMetrics:
    return OpenTelemetryMetrics(endpoint=endpoint, protocol="http/protobuf", interval_seconds=OFTEN_SECONDS, **settings)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "gds_metrics")
    return lambda: [record.getMessage() for record in caplog.records]


def wait_until_told(told: Callable[[], list[str]], count: int) -> str:
    wait_until(lambda: len(told()) >= count, what=lambda: f"{count} sentences, got {told()}")
    assert len(told()) == count
    return told()[-1]


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_receiver_that_refuses_is_told_once_and_so_is_its_return(
    receiver: Receiver, told: Callable[[], list[str]], status: int
) -> None:
    receiver.status = status
    with exporter(receiver.url) as metrics:
        metrics.increment("jobs")
        began = wait_until_told(told, 1)
        assert began.startswith("metrics do not get through: ")
        assert receiver.url in began
        assert str(status) in began
        receiver.wait_for(3)
        assert len(told()) == 1
        receiver.status = 200
        assert wait_until_told(told, 2).startswith(f"metrics get through to {receiver.url} again, after ")
        receiver.wait_for(3)
    assert len(told()) == 2


def test_an_absent_receiver_is_told_while_the_program_runs(told: Callable[[], list[str]]) -> None:
    with refusing_port() as url:
        metrics = exporter(f"{url}/v1/metrics")
        metrics.increment("jobs")
        assert "refused" in wait_until_told(told, 1)
        wait_until(lambda: metrics.stats()["failed_attempts"] >= 4, what="four attempts in vain")
        assert len(told()) == 1
        metrics.close(0.1)


def test_points_that_a_receiver_rejects_are_told_once(receiver: Receiver, told: Callable[[], list[str]]) -> None:
    # ExportMetricsServiceResponse.partial_success, of rejected_data_points and error_message.
    receiver.body = b"\x0a\x0b\x08\x01\x12\x07too old"
    with exporter(receiver.url) as metrics:
        metrics.increment("jobs")
        assert "took the metrics, but not all: 1 points rejected: too old" in wait_until_told(told, 1)
        receiver.wait_for(3)
    assert len(told()) == 1


def test_who_is_told_may_ask_the_exporter_that_it_is_about(receiver: Receiver) -> None:
    receiver.status = 401
    answers: list[bool] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answers.append(metrics.flush(30))

    logger, handler = logging.getLogger("gds_metrics"), Asking()
    logger.addHandler(handler)
    try:
        with exporter(receiver.url) as metrics:
            metrics.increment("jobs")
            wait_until(lambda: answers, what="a handler that flushes")
    finally:
        logger.removeHandler(handler)
    assert answers[0] is False


@contextmanager
def statsd(port: int | None = None, socket_path: Path | None = None) -> Iterator[StatsdMetrics]:
    metrics = StatsdMetrics(
        None if port is None else LOOPBACK, port, socket_path=socket_path, flush_interval_seconds=OFTEN_SECONDS
    )
    yield metrics
    metrics.close()


def keep_counting(metrics: StatsdMetrics, told: Callable[[], list[str]], count: int) -> str:
    def counted() -> bool:
        metrics.increment("jobs")
        return len(told()) >= count

    wait_until(counted, what=lambda: f"{count} sentences, got {told()}")
    assert len(told()) == count
    return told()[-1]


def test_a_statsd_port_where_nobody_listens_is_told_once_and_so_is_its_return(
    told: Callable[[], list[str]], leased_udp_port: int
) -> None:
    server = f"udp://{LOOPBACK}:{leased_udp_port}"
    with statsd(leased_udp_port) as metrics:
        began = keep_counting(metrics, told, 1)
        assert began.startswith(f"metrics do not get through: cannot reach {server}: ")
        failed = metrics.stats()["flushes_failed"]
        wait_until(lambda: metrics.stats()["flushes_failed"] > failed + 3, what="more flushes in vain")
        assert len(told()) == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
            agent.bind((LOOPBACK, leased_udp_port))
            assert keep_counting(metrics, told, 2).startswith(f"metrics get through to {server} again")
            metrics.close()
    assert len(told()) == 2


@pytest.fixture
def path() -> Iterator[Path]:
    """For a socket: not under pytest's tmp_path, whose length leaves no room for one."""
    with tempfile.TemporaryDirectory(prefix="gds-") as folder:
        yield Path(folder, "agent.sock")


def test_a_statsd_socket_that_is_not_there_is_told_once_and_so_is_its_return(
    told: Callable[[], list[str]], path: Path
) -> None:
    with statsd(socket_path=path) as metrics:
        assert f"unixgram://{path}" in keep_counting(metrics, told, 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
            agent.bind(os.fspath(path))
            assert keep_counting(metrics, told, 2).startswith(f"metrics get through to unixgram://{path} again")
            metrics.close()


def test_a_socket_path_that_is_bound_anew_is_followed_while_the_old_socket_is_open(path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as before,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as after,
        StatsdMetrics(socket_path=path, flush_interval_seconds=3600) as metrics,
    ):
        before.bind(os.fspath(path))
        metrics.increment("jobs")
        assert metrics.flush() is True
        path.unlink()
        metrics.increment("jobs")
        assert metrics.flush() is True  # the agent that was there still reads
        after.bind(os.fspath(path))
        metrics.increment("jobs", 5)
        assert metrics.flush() is True
        assert Agent(before).lines() == ["jobs:1|c", "jobs:1|c"]
        assert Agent(after).lines() == ["jobs:5|c"]
