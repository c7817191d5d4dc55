"""Pushing to a Pushgateway, for jobs that end before they are scraped."""

from __future__ import annotations

import base64
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gds_metrics import PrometheusMetrics
from tests.helpers.certificates import make_pki
from tests.helpers.pages import Page, read
from tests.services.run import Pushgateway

SECRET = "hunter2"


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(start_server=False)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


def url_of(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def kept(gateway: Pushgateway) -> Page:
    return read(gateway.metrics())


@contextmanager
def answering(listening: socket.socket, answer: bytes) -> Iterator[list[bytes]]:
    """Take one request, give one answer; what was taken is in the list afterwards."""
    taken: list[bytes] = []

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            head, body = head.split(b"\r\n\r\n", 1)
            lines = head.lower().split(b"\r\n")
            # Deleting has no body.
            length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
            while len(body) < length:
                body += connection.recv(65_536)
            taken.extend([head, body])
            connection.sendall(answer)

    server = Thread(target=serve)
    server.start()
    yield taken
    server.join()


# ---------------------------------------------------------------- a real gateway


def test_a_push_arrives_with_the_process_and_all(metrics: PrometheusMetrics, pushgateway: Pushgateway) -> None:
    metrics.increment("rows", 42, {"table": "users"})
    metrics.timing("run", 1500)
    metrics.push(pushgateway.url, "import")
    page = kept(pushgateway)
    group = {"job": "import", "instance": ""}
    assert page.value("gds_rows_total", {**group, "table": "users"}) == 42
    assert page.value("gds_run_sum", group) == 1.5
    assert page.value("gds_run_bucket", {**group, "le": "2.5"}) == 1
    assert (page.value("process_resident_memory_bytes", group) or 0) > 1_000_000
    assert page.value("push_failure_time_seconds", group) == 0


def test_a_push_replaces_the_group(pushgateway: Pushgateway) -> None:
    group = {"job": "j", "instance": ""}
    for name in ("first", "second"):
        metrics = PrometheusMetrics(start_server=False, process_metrics=False)
        metrics.gauge(name, 1)
        metrics.push(pushgateway.url, "j")
    page = kept(pushgateway)
    assert page.value("gds_first", group) is None
    assert page.value("gds_second", group) == 1


def test_without_replacing_only_the_names_pushed_are_replaced(pushgateway: Pushgateway) -> None:
    group = {"job": "j", "instance": ""}
    for name, value in (("first", 1), ("second", 2), ("first", 3)):
        metrics = PrometheusMetrics(start_server=False, process_metrics=False)
        metrics.gauge(name, value)
        metrics.push(pushgateway.url, "j", replace=False)
    page = kept(pushgateway)
    assert (page.value("gds_first", group), page.value("gds_second", group)) == (3, 2)


@pytest.mark.parametrize(
    ("job", "key"),
    [
        ("j", {"instance": "db-1"}),
        ("j", {"path": "/var/tmp", "instance": "i"}),
        ("j/k", {"instance": ".."}),
        ("j k?#%&+", {"instance": "a=b;ü日"}),
        ("j", {"instance": "", "shard": "3"}),
        ("j", {"instance": "3"}),
        (".", {}),
    ],
)
def test_any_job_and_grouping_key_arrives(
    metrics: PrometheusMetrics, pushgateway: Pushgateway, job: str, key: dict[str, str]
) -> None:
    metrics.gauge("g", 1)
    metrics.push(pushgateway.url, job, key)
    assert kept(pushgateway).value("gds_g", {"job": job, "instance": "", **key}) == 1


def test_values_of_a_grouping_key_become_text(metrics: PrometheusMetrics, pushgateway: Pushgateway) -> None:
    metrics.gauge("g", 1)
    metrics.push(pushgateway.url + "/", "j", {"instance": 7})
    assert kept(pushgateway).value("gds_g", {"job": "j", "instance": "7"}) == 1


def test_a_pushed_group_is_deleted_and_others_stay(metrics: PrometheusMetrics, pushgateway: Pushgateway) -> None:
    metrics.gauge("g", 1)
    for instance in ("a", "b"):
        metrics.push(pushgateway.url, "j", {"instance": instance})
    metrics.delete_from_gateway(pushgateway.url, "j", {"instance": "a"})
    metrics.delete_from_gateway(pushgateway.url, "j", {"instance": "never there"})
    page = kept(pushgateway)
    assert page.value("gds_g", {"job": "j", "instance": "a"}) is None
    assert page.value("gds_g", {"job": "j", "instance": "b"}) == 1


def test_a_refusal_is_an_os_error_with_what_was_said(pushgateway: Pushgateway) -> None:
    first = PrometheusMetrics(start_server=False, process_metrics=False)
    first.describe("n", help="One.")
    first.gauge("n_total", 1)
    first.push(pushgateway.url, "one")
    second = PrometheusMetrics(start_server=False, process_metrics=False)
    second.increment("n", 1)
    with pytest.raises(OSError, match=r"answered 400: .*inconsistent") as raised:
        second.push(pushgateway.url, "two")
    assert not isinstance(raised.value, ConnectionError)
    assert pushgateway.url in str(raised.value)


ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
CALLS = [("push", b"PUT"), ("delete_from_gateway", b"DELETE")]


@pytest.mark.parametrize(("call", "method"), CALLS)
def test_headers_go_along(metrics: PrometheusMetrics, listening: socket.socket, call: str, method: bytes) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "X-Scope-OrgID": "7"}
    with answering(listening, ACCEPTED) as taken:
        getattr(metrics, call)(url_of(listening), "j", headers=headers)
    lines = taken[0].split(b"\r\n")
    assert lines[0] == method + b" /metrics/job/j HTTP/1.1"
    assert f"authorization: Bearer {SECRET}".encode() in lines
    assert b"x-scope-orgid: 7" in lines


@pytest.mark.parametrize(("call", "method"), CALLS)
@pytest.mark.parametrize("known", [True, False])
def test_a_gateway_may_ask_for_a_certificate(
    metrics: PrometheusMetrics, listening: socket.socket, tmp_path: Path, known: bool, call: str, method: bytes
) -> None:
    pki = make_pki(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pki.server_cert, pki.server_key)
    certfile, keyfile = (pki.client_cert, pki.client_key) if known else (pki.stranger_cert, pki.stranger_key)
    url = f"https://{url_of(listening)}"
    ask = partial(getattr(metrics, call), url, "j", cafile=pki.ca, certfile=certfile, keyfile=keyfile)
    with context.wrap_socket(listening, server_side=True, suppress_ragged_eofs=True) as secure:
        if known:
            with answering(secure, ACCEPTED) as taken:
                ask()
            assert taken[0].startswith(method + b" /metrics/job/j ")
        else:
            with refusing(secure), pytest.raises(ConnectionError, match="cannot reach"):
                ask()


@contextmanager
def refusing(secure: ssl.SSLSocket) -> Iterator[None]:
    """Take no client whose certificate is of another authority."""

    def serve() -> None:
        with pytest.raises(ssl.SSLError):
            secure.accept()

    server = Thread(target=serve)
    server.start()
    yield
    server.join()


# ---------------------------------------------------------------- what goes wrong


def test_a_gateway_that_is_not_there_is_a_connection_error(
    metrics: PrometheusMetrics, listening: socket.socket
) -> None:
    url = url_of(listening)
    listening.close()
    with pytest.raises(ConnectionError, match=f"cannot reach http://{url}/metrics/job/j: .*refused"):
        metrics.push(f"http://user:{SECRET}@{url}", "j")


def test_a_name_that_nobody_has_is_a_connection_error(
    metrics: PrometheusMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("http", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)
    with pytest.raises(ConnectionError, match=r"cannot reach http://no.such.host.invalid"):
        metrics.push("http://no.such.host.invalid:9091", "j")


def test_a_gateway_that_does_not_answer_is_a_timeout(metrics: PrometheusMetrics, listening: socket.socket) -> None:
    with pytest.raises(TimeoutError, match=r"no answer within 200ms"):
        metrics.push(url_of(listening), "j", timeout_seconds=0.2)


def test_a_gateway_that_hangs_up_is_a_connection_error(metrics: PrometheusMetrics, listening: socket.socket) -> None:
    with answering(listening, b""), pytest.raises(ConnectionError, match="cannot reach"):
        metrics.push(url_of(listening), "j")


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500, 503])
def test_any_answer_but_success_is_an_os_error(
    metrics: PrometheusMetrics, listening: socket.socket, status: int
) -> None:
    answer = f"HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 7\r\n\r\nno dice".encode()
    url = url_of(listening)
    with answering(listening, answer), pytest.raises(OSError, match=f"answered {status}: no dice") as raised:
        metrics.push(f"http://user:{SECRET}@{url}", "j")
    assert SECRET not in str(raised.value)


def test_user_and_password_of_the_url_are_sent_and_not_shown(
    metrics: PrometheusMetrics, listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.increment("n", 3)
    with answering(listening, b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n") as taken:
        metrics.push(f"http://us%40er:{SECRET}%2F@{url_of(listening)}/behind/", "j", {"a": "b"})
    head, body = taken
    assert head.split(b"\r\n")[0] == b"PUT /behind/metrics/job/j/a/b HTTP/1.1"
    credentials = base64.b64encode(f"us@er:{SECRET}/".encode())
    assert b"authorization: basic " + credentials.lower() in head.lower()
    assert credentials in head
    assert read(body.decode()).value("gds_n_total") == 3
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://user:hunter2@host",
        "http://user:hunter2@host/x?y=1",
        "http://user:hunter2@host/#x",
        "http://user:hun/hunter2@host",
        "http://user:hunter2@host:99999",
        "http://user:hunter2@",
    ],
)
def test_a_url_that_makes_no_sense_is_told_without_the_password(metrics: PrometheusMetrics, url: str) -> None:
    with pytest.raises(ValueError, match=r"gateway_url=.*expected a URL") as raised:
        metrics.push(url, "j")
    assert "hun" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        ({"gateway_url": None}, TypeError, "gateway_url=None: expected a str"),
        ({"job": ""}, ValueError, "job=: expected a name"),
        ({"job": None}, TypeError, "job=None: expected a str"),
        ({"grouping_key": {"a-b": "x"}}, ValueError, "grouping_key=a-b: expected label names"),
        ({"grouping_key": {"job": "x"}}, ValueError, "grouping_key=job: expected labels besides job"),
        ({"grouping_key": {1: "x"}}, TypeError, "grouping_key=1: expected a str"),
        ({"grouping_key": [("a", "b")]}, TypeError, "expected a dict of label names to values"),
        ({"timeout_seconds": 0}, ValueError, "timeout_seconds=0: expected a number of seconds"),
        ({"timeout_seconds": "1"}, TypeError, "timeout_seconds='1': expected a number of seconds"),
        ({"cafile": 3}, TypeError, "cafile=3: expected a path"),
        ({"cafile": "/nonexistent/ca.pem"}, FileNotFoundError, "cafile=/nonexistent/ca.pem: .*PEM file"),
        ({"keyfile": "/key.pem"}, ValueError, "keyfile=/key.pem: expected certfile"),
        ({"headers": "x: y"}, TypeError, "headers: expected a dict of str to str, got str"),
        ({"headers": {"host": "x"}}, ValueError, "headers=host: expected a header that"),
    ],
)
def test_settings_that_make_no_sense_are_told(
    metrics: PrometheusMetrics, arguments: dict[str, Any], error: type[Exception], expected: str
) -> None:
    settings: dict[str, Any] = {"gateway_url": "http://127.0.0.1:1", "job": "j", **arguments}
    with pytest.raises(error, match=expected):
        metrics.push(**settings)


def test_ctrl_c_ends_a_push_that_hangs(listening: socket.socket, tmp_path: Path) -> None:
    code = (
        "import sys; from gds_metrics import PrometheusMetrics\n"
        "metrics = PrometheusMetrics(start_server=False)\n"
        "try:\n"
        "    metrics.push(sys.argv[1], 'j', timeout_seconds=300)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    command = [sys.executable, "-c", code, url_of(listening)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(30)
            assert connection.recv(3) == b"PUT"
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
    assert time.monotonic() - begun < 15


def test_a_push_lets_other_threads_run(metrics: PrometheusMetrics, listening: socket.socket) -> None:
    failure: list[BaseException] = []

    def push() -> None:
        try:
            metrics.push(url_of(listening), "j", timeout_seconds=30)
        except BaseException as error:
            failure.append(error)

    pusher = Thread(target=push)
    pusher.start()
    connection, _ = listening.accept()
    metrics.increment("meanwhile")
    assert metrics.sample("meanwhile") == 1
    connection.close()
    pusher.join(timeout=30)
    assert len(failure) == 1
    assert isinstance(failure[0], ConnectionError)
