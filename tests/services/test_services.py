"""The helpers themselves: each service starts, takes what plain Python sends it, and shows it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.services import install as install_module
from tests.services import process as process_module
from tests.services.catalog import Binary, DebianPackage, Service, ServiceUnavailable
from tests.services.fixtures import OtelCollectorFactory, PrometheusFactory, missing, require_service
from tests.services.process import LOOPBACK, Server
from tests.services.run import (
    OtelCollector,
    Prometheus,
    Pushgateway,
    ServerFailed,
    ServerTls,
    StatsdExporter,
    scrape_job,
    wait_until,
)

PAGE = b"""\
# HELP test_requests_total Requests.
# TYPE test_requests_total counter
test_requests_total{path="/a"} 3
"""
OPENMETRICS_PAGE = b"""\
# HELP test_requests Requests.
# TYPE test_requests counter
test_requests_total{path="/a"} 3 # {trace_id="abc"} 1.5
# EOF
"""


@contextmanager
def page_server(
    page: bytes,
    *,
    content_type: str = "text/plain; version=0.0.4",
    authorization: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve the page on a free port and give ``host:port``; 401 without the authorization."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = authorization in (None, self.headers["Authorization"])
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            if allowed:
                self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def make_certificate(folder: Path) -> ServerTls:
    """Make a self-signed certificate for the loopback address, which is its own authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("no openssl on the path to make a certificate with; install openssl")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(cert), "-days", "1"),
            *("-subj", "/CN=test", "-addext", f"subjectAltName=IP:{LOOPBACK}"),
        ],
        check=True,
        capture_output=True,
    )
    return ServerTls(cert=cert, key=key, client_ca=cert)


@pytest.fixture
def tls_files(tmp_path: Path) -> ServerTls:
    """Fresh files for one test."""
    return make_certificate(tmp_path)


def client_tls(files: ServerTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.cert)
    context.load_cert_chain(files.cert, files.key)
    return context


def post(url: str, body: bytes, content_type: str, tls: ssl.SSLContext | None = None) -> int:
    """POST and return the status."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc) if tls is None else HTTPSConnection(parts.netloc, context=tls)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": content_type})
        with connection.getresponse() as response:
            response.read()
            return response.status
    finally:
        connection.close()


def otlp_gauge(name: str, value: int) -> bytes:
    """An OTLP JSON export request with one gauge."""
    gauge = {"dataPoints": [{"asInt": str(value), "timeUnixNano": "1700000000000000000"}]}
    attribute = {"key": "service.name", "value": {"stringValue": "test"}}
    block = {
        "resource": {"attributes": [attribute]},
        "scopeMetrics": [{"metrics": [{"name": name, "gauge": gauge}]}],
    }
    return json.dumps({"resourceMetrics": [block]}).encode()


EXPORT_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def protobuf_gauge(name: str, value: int) -> bytes:
    """The same export request in protobuf; each field is tag, length and content."""

    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128, "longer ones take a second length byte"
        return bytes([number << 3 | 2, len(content)]) + content

    # NumberDataPoint.as_int is field 6, of type sfixed64.
    point = bytes([6 << 3 | 1]) + value.to_bytes(8, "little", signed=True)
    metric = field(1, name.encode()) + field(5, field(1, point))
    return field(1, field(2, field(2, metric)))


def grpc_call(port: int, method: str, message: bytes) -> None:
    """Make one gRPC call, in HTTP/2 (RFC 9113) by hand; its status is not looked at."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
        return head + stream.to_bytes(4, "big") + payload

    def header(name: str, value: str) -> bytes:
        # A literal without indexing and without Huffman coding (RFC 7541, 6.2.2).
        assert len(value) < 127, "longer ones take a second length byte"
        return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    headers = [(":method", "POST"), (":scheme", "http"), (":path", method)]
    headers += [(":authority", LOOPBACK), ("content-type", "application/grpc"), ("te", "trailers")]
    block = b"".join(header(name, value) for name, value in headers)
    body = b"\0" + len(message).to_bytes(4, "big") + message
    settings, settings_ack = frame(4, 0, 0, b""), frame(4, 1, 0, b"")
    headers_kind, end_headers, end_stream = 1, 4, 1
    with socket.create_connection((LOOPBACK, port), timeout=10) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + settings_ack)
        client.sendall(frame(headers_kind, end_headers, 1, block) + frame(0, end_stream, 1, body))
        with client.makefile("rb") as answer:
            kind, flags = 0, 0
            # Read on to the trailers: a server drops a call whose connection closes early.
            while not (kind == headers_kind and flags & end_stream):
                size, (kind, flags) = int.from_bytes(answer.read(3), "big"), answer.read(2)
                answer.read(4 + size)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One server for all the ways to scrape, since each server waits before its first scrape."""
    require_service("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    files = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    context.load_verify_locations(files.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    token = folder / "token"
    token.write_text("opensesame")
    basic = "Basic " + b64encode(b"user:password").decode()
    openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    with (
        page_server(PAGE) as plain,
        page_server(OPENMETRICS_PAGE, content_type=openmetrics) as exemplars,
        page_server(PAGE, authorization="Bearer opensesame", tls=context) as mutual_tls,
        page_server(PAGE, authorization=basic) as basic_auth,
        page_server(PAGE, authorization="Bearer other") as refusing,
        Prometheus(
            [
                scrape_job("plain", [plain], honor_labels=True),
                scrape_job("exemplars", [exemplars]),
                scrape_job(
                    "mutual_tls",
                    [mutual_tls],
                    scheme="https",
                    ca=files.cert,
                    cert=files.cert,
                    key=files.key,
                    bearer_token_file=token,
                ),
                scrape_job("basic_auth", [basic_auth], basic_auth=("user", "password")),
                scrape_job("refusing", [refusing]),
            ]
        ) as server,
    ):
        yield server


@pytest.mark.parametrize("job", ["plain", "exemplars", "mutual_tls", "basic_auth"])
def test_prometheus_scrapes_a_page(prometheus: Prometheus, job: str) -> None:
    [sample] = prometheus.wait_for(f'test_requests_total{{job="{job}"}}')
    assert sample.value == 3
    assert sample.labels["path"] == "/a"
    [target] = [target for target in prometheus.targets() if target.job == job]
    assert target.health == "up"


def test_prometheus_keeps_exemplars(prometheus: Prometheus) -> None:
    prometheus.wait_for('test_requests_total{job="exemplars"}')
    [exemplar] = prometheus.query_exemplars("test_requests_total")
    assert exemplar.labels == {"trace_id": "abc"}
    assert exemplar.value == 1.5
    assert exemplar.series_labels["path"] == "/a"


def test_waiting_in_vain_names_the_scrape_error(prometheus: Prometheus) -> None:
    prometheus.wait_for('up{job="refusing"} == 0')
    with pytest.raises(TimeoutError, match="HTTP status 401"):
        prometheus.wait_for('test_requests_total{job="refusing"}', timeout_seconds=0)


def test_query_answers_vectors_and_scalars_only(prometheus_factory: PrometheusFactory) -> None:
    prometheus = prometheus_factory()
    assert [sample.value for sample in prometheus.query("scalar(vector(2))")] == [2]
    assert prometheus.query("vector(1) > 2") == []
    with pytest.raises(ServerFailed, match="answered 400"):
        prometheus.query("sum(")
    with pytest.raises(ServerFailed, match="expected a vector"):
        prometheus.query("up[1m]")


def test_promtool_tells_good_pages_from_bad(
    promtool: Callable[[bytes], tuple[int, str]],
) -> None:
    assert promtool(PAGE) == (0, "")
    code, output = promtool(b"test_requests_total three\n")
    assert code == 1
    assert "three" in output
    code, output = promtool(b"# TYPE test_requests counter\ntest_requests 3\n")
    assert code == 3
    assert "_total" in output


def test_pushgateway_shows_what_was_pushed(pushgateway: Pushgateway) -> None:
    assert post(f"{pushgateway.url}/metrics/job/batch", PAGE, "text/plain") == 200
    expected = 'test_requests_total{instance="",job="batch",path="/a"} 3'
    assert expected in pushgateway.metrics()


def test_collector_receives_over_http(otel_collector: OtelCollector) -> None:
    url = f"{otel_collector.http_endpoint}/v1/metrics"
    assert post(url, otlp_gauge("test.gauge", 7), "application/json") == 200
    [received] = otel_collector.wait_for("test.gauge")
    assert received.metric["gauge"]["dataPoints"][0]["asInt"] == "7"
    assert received.resource["attributes"][0]["value"] == {"stringValue": "test"}
    assert len(otel_collector.metrics()) == 1


def test_collector_receives_over_grpc(otel_collector: OtelCollector) -> None:
    port = urlsplit(otel_collector.grpc_endpoint).port
    assert port is not None
    grpc_call(port, EXPORT_METHOD, protobuf_gauge("test.gauge", 7))
    [received] = otel_collector.wait_for("test.gauge")
    assert received.metric["gauge"]["dataPoints"][0]["asInt"] == "7"


def test_collector_outage_keeps_port_and_history(otel_collector: OtelCollector) -> None:
    url = f"{otel_collector.http_endpoint}/v1/metrics"
    post(url, otlp_gauge("test.before", 1), "application/json")
    otel_collector.wait_for("test.before")
    otel_collector.stop()
    assert not otel_collector.running
    with pytest.raises(ConnectionRefusedError):
        post(url, otlp_gauge("test.during", 1), "application/json")
    otel_collector.start()
    otel_collector.restart()
    post(url, otlp_gauge("test.after", 1), "application/json")
    otel_collector.wait_for("test.after")
    assert len(otel_collector.metrics_named("test.before")) == 1
    with pytest.raises(TimeoutError, match=r"received \['test.after', 'test.before'\]"):
        otel_collector.wait_for("test.during", timeout_seconds=0)


def test_collector_demands_a_client_certificate(
    otel_collector_factory: OtelCollectorFactory, tls_files: ServerTls
) -> None:
    collector = otel_collector_factory(tls=tls_files)
    url = f"{collector.http_endpoint}/v1/metrics"
    stranger = ssl.create_default_context(cafile=tls_files.cert)
    # Under TLS 1.3 the refusal arrives with the first read, as an alert or a closed connection.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        post(url, otlp_gauge("test.gauge", 1), "application/json", stranger)
    post(url, otlp_gauge("test.gauge", 7), "application/json", client_tls(tls_files))
    assert len(collector.wait_for("test.gauge")) == 1


def test_statsd_receives_over_udp(statsd_exporter: StatsdExporter) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"test.requests:3|c|#path:/a", (LOOPBACK, statsd_exporter.udp_port))
    shows(statsd_exporter, 'test_requests{path="/a"} 3')


def test_statsd_receives_over_unixgram(statsd_exporter: StatsdExporter) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"test.level:2.5|g|#path:/a", str(statsd_exporter.unixgram_path))
    shows(statsd_exporter, 'test_level{path="/a"} 2.5')


def test_statsd_starts_again_after_a_crash(statsd_exporter: StatsdExporter) -> None:
    port = statsd_exporter.udp_port
    statsd_exporter.kill()
    statsd_exporter.start()
    assert statsd_exporter.udp_port == port
    test_statsd_receives_over_unixgram(statsd_exporter)


def shows(statsd: StatsdExporter, line: str) -> None:
    wait_until(lambda: line in statsd.metrics(), what=lambda: f"{line} in\n{statsd.metrics()}")


class Script(Server):
    """A server that is a line of Python."""

    name = "script"

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, "-c", self._code]

    def _is_ready(self) -> bool:
        return "ready" in self.log()


def test_server_that_dies_shows_its_log() -> None:
    with (
        pytest.raises(ServerFailed, match=r"(?s)script exited with 3 .*no luck today"),
        Script("import sys; sys.exit(print('no luck today') or 3)"),
    ):
        pytest.fail("expected the start to fail")


def test_server_that_ignores_the_request_to_stop_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "STOP_TIMEOUT_SECONDS", 0.1)
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True)"
    with Script(f"{code}; signal.pause()") as server:
        folder = server.folder
    assert not server.running
    assert not folder.exists()


MISSING = Service(
    name="missing",
    version="1.0",
    binaries=(Binary("gds-no-such-binary"),),
    recipe=DebianPackage("gds-no-such-package"),
)


@pytest.fixture
def missing_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A service in the catalog that a machine without apt cannot have; gives the empty path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GDS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(install_module, "SERVICES", {"missing": MISSING})
    monkeypatch.setattr(install_module, "_answers", {})
    return tmp_path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("missing_service")
def test_machine_without_apt_gets_a_reason() -> None:
    with pytest.raises(ServiceUnavailable, match="no apt-get on the path; put gds-no-such"):
        install_module.install("missing")


@pytest.mark.parametrize("said", ["missing, version {}+ds", "Missing v{} (abc)"])
@pytest.mark.parametrize(("version", "accepted"), [("0.9", False), ("1.0", True), ("1.0.1", True), ("1.10", True)])
def test_binary_on_the_path_is_used_when_new_enough(
    missing_service: Path, said: str, version: str, accepted: bool
) -> None:
    binary = missing_service / "gds-no-such-binary"
    script(binary, f"print({said.format(version)!r})")
    found = install_module.installed(MISSING)
    assert found == ({"gds-no-such-binary": binary} if accepted else None)


@pytest.mark.parametrize(("status", "accepted"), [(2, True), (127, False)])
def test_binary_that_tells_no_version_has_to_start(missing_service: Path, status: int, accepted: bool) -> None:
    script(missing_service / "gds-no-such-binary", f"exit({status})")
    service = replace(MISSING, binaries=(Binary("gds-no-such-binary", version_flag=None),))
    assert (install_module.installed(service) is not None) == accepted


def test_refusal_is_asked_for_once(missing_service: Path) -> None:
    calls = missing_service / "calls"
    record = f"open({str(calls)!r}, 'a').write('x')"
    script(missing_service / "apt-get", f"{record}; print('no network'); exit(100)")
    script(missing_service / "dpkg-deb", "")
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match=r"(?s)exited with 100.*no network"):
            install_module.install("missing")
    # One download with the lists of the machine, and one attempt at lists of our own.
    assert calls.read_text() == "xx"
    assert [path.name for path in (missing_service / "cache").iterdir()] == ["missing-1.0.lock"]


@pytest.mark.usefixtures("missing_service")
def test_unavailable_service_skips_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no apt-get"):
        require_service("missing")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no apt-get"):
        require_service("missing")


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GDS_CACHE_DIR", str(tmp_path))
    assert install_module.cache_folder() == tmp_path
    monkeypatch.delenv("GDS_CACHE_DIR")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert install_module.cache_folder() == tmp_path / ".cache" / "gds-telemetry"
