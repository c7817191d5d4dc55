"""The services, started on free loopback ports: each is a context manager with typed answers.

    with Prometheus([scrape_job("app", ["127.0.0.1:8000"])]) as prometheus:
        prometheus.wait_for('up{job="app"} == 1')

Constructing one installs it when needed, so it may raise ``ServiceUnavailable``; a server that
does not start raises ``ServerFailed`` with the end of its log.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_DGRAM
from typing import Any
from urllib.parse import urlencode

from .install import install
from .process import (
    LOOPBACK,
    WAIT_TIMEOUT_SECONDS,
    Server,
    ServerFailed,
    accepts_tcp,
    http_get,
    http_ready,
    http_text,
    wait_until,
)

__all__ = [
    "Exemplar",
    "OtelCollector",
    "Prometheus",
    "Pushgateway",
    "ReceivedMetric",
    "Sample",
    "ServerFailed",
    "ServerTls",
    "StatsdExporter",
    "Target",
    "promtool_check_metrics",
    "scrape_job",
    "wait_until",
]


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant query's answer.

    ``histogram`` is set for native histograms only, as the query API returns it; ``value`` is then
    not a number.
    """

    labels: Mapping[str, str]
    value: float
    timestamp_seconds: float
    histogram: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One exemplar, with the labels of the series it hangs on."""

    series_labels: Mapping[str, str]
    labels: Mapping[str, str]
    value: float
    timestamp_seconds: float


@dataclass(frozen=True, slots=True)
class Target:
    """A scrape target. ``health`` is ``up``, ``down`` or, before the first scrape, ``unknown``."""

    job: str
    scrape_url: str
    health: str
    last_error: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReceivedMetric:
    """One metric as the collector wrote it: protobuf's JSON mapping, 64-bit integers as strings."""

    resource: Mapping[str, Any]
    scope: Mapping[str, Any]
    metric: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files of a server; with ``client_ca`` it demands a client certificate signed by it."""

    cert: Path
    key: Path
    client_ca: Path | None = None


def scrape_job(
    name: str,
    targets: Sequence[str],
    *,
    scheme: str = "http",
    metrics_path: str = "/metrics",
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    server_name: str | None = None,
    bearer_token_file: Path | None = None,
    basic_auth: tuple[str, str] | None = None,
    **other: object,
) -> dict[str, object]:
    """One entry of ``scrape_configs``; ``other`` is passed on as it is, ``honor_labels=True`` say.

    ``targets`` are ``host:port``; ``basic_auth`` is user name and password.
    """
    job: dict[str, object] = {
        "job_name": name,
        "scheme": scheme,
        "metrics_path": metrics_path,
        "static_configs": [{"targets": list(targets)}],
        **other,
    }
    tls = {
        "ca_file": ca,
        "cert_file": cert,
        "key_file": key,
        "server_name": server_name,
    }
    given = {setting: str(value) for setting, value in tls.items() if value is not None}
    if given:
        job["tls_config"] = given
    if bearer_token_file is not None:
        job["authorization"] = {"credentials_file": str(bearer_token_file)}
    if basic_auth is not None:
        user, password = basic_auth
        job["basic_auth"] = {"username": user, "password": password}
    return job


class Prometheus(Server):
    """A Prometheus server with exemplar storage, scraping ``scrape_configs``.

    Entries are made by ``scrape_job`` or written out as mappings. ``scrape_interval_ms`` is also
    the time a scrape may take.

    The first scrape comes five seconds after the start: that is how long Prometheus gathers
    targets, and it has no setting below that. One server with many jobs is cheaper than many.
    """

    name = "prometheus"

    def __init__(
        self,
        scrape_configs: Sequence[Mapping[str, object]] = (),
        extra_flags: Sequence[str] = (),
        *,
        scrape_interval_ms: int = 500,
    ) -> None:
        super().__init__()
        self._binary = install("prometheus")["prometheus"]
        self._scrape_configs = scrape_configs
        self._extra_flags = extra_flags
        self._scrape_interval_ms = scrape_interval_ms
        self._port = 0

    @property
    def url(self) -> str:
        """``http://host:port``, without a final slash."""
        return f"http://{LOOPBACK}:{self._port}"

    def query(self, expression: str) -> list[Sample]:
        """Evaluate now; the answer must be an instant vector or a scalar."""
        data = self._api("query", query=expression)
        if data["resultType"] == "scalar":
            return [_sample({"metric": {}, "value": data["result"]})]
        if data["resultType"] != "vector":
            raise ServerFailed(f"{expression!r} gives a {data['resultType']}, expected a vector or a scalar")
        return [_sample(element) for element in data["result"]]

    def query_exemplars(
        self,
        expression: str,
        *,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> list[Exemplar]:
        """Exemplars of the series in the expression; by default of the last hour."""
        now = time.time()
        data = self._api(
            "query_exemplars",
            query=expression,
            start=str(now - 3600 if start_seconds is None else start_seconds),
            end=str(now + 60 if end_seconds is None else end_seconds),
        )
        return [
            Exemplar(
                series_labels=series["seriesLabels"],
                labels=exemplar["labels"],
                value=float(exemplar["value"]),
                timestamp_seconds=float(exemplar["timestamp"]),
            )
            for series in data
            for exemplar in series["exemplars"]
        ]

    def targets(self) -> list[Target]:
        """The active targets, with what went wrong at the last scrape."""
        return [
            Target(
                job=target["scrapePool"],
                scrape_url=target["scrapeUrl"],
                health=target["health"],
                last_error=target["lastError"],
                labels=target["labels"],
            )
            for target in self._api("targets", state="active")["activeTargets"]
        ]

    def wait_for(
        self,
        expression: str,
        predicate: Callable[[list[Sample]], bool] = bool,
        timeout_seconds: float = WAIT_TIMEOUT_SECONDS,
    ) -> list[Sample]:
        """Query until the predicate holds, by default until there is a sample; returns the samples.

        Raises ``TimeoutError`` with the last answer and the errors of the targets.
        """
        last: list[Sample] = []

        def holds() -> bool:
            nonlocal last
            last = self.query(expression)
            return predicate(last)

        def state() -> str:
            errors = [f"{t.scrape_url}: {t.last_error or t.health}" for t in self.targets()]
            return f"{expression!r}, last answer {last}, targets {errors}"

        wait_until(holds, timeout_seconds=timeout_seconds, what=state)
        return last

    def _api(self, endpoint: str, **parameters: str) -> Any:
        path = f"/api/v1/{endpoint}?{urlencode(parameters)}"
        status, body = http_get(self._port, path)
        if status != 200:
            raise ServerFailed(f"GET {path} answered {status}, expected 200: {body.decode()}")
        return json.loads(body)["data"]

    def _prepare(self) -> None:
        self._port = self._lease_port()
        interval = f"{self._scrape_interval_ms}ms"
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [dict(job) for job in self._scrape_configs],
        }
        # JSON is YAML.
        (self.folder / "prometheus.yml").write_text(json.dumps(configuration))

    def _command(self) -> Sequence[str | Path]:
        return [
            self._binary,
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={LOOPBACK}:{self._port}",
            "--enable-feature=exemplar-storage",
            *self._extra_flags,
        ]

    def _is_ready(self) -> bool:
        return http_ready(self._port, "/-/ready")


def _sample(element: Mapping[str, Any]) -> Sample:
    if "histogram" in element:
        timestamp, histogram = element["histogram"]
        return Sample(element["metric"], math.nan, float(timestamp), histogram)
    timestamp, value = element["value"]
    # Python reads the spellings of the query API: "NaN", "+Inf", "-Inf".
    return Sample(element["metric"], float(value), float(timestamp))


def promtool_check_metrics(page: bytes) -> tuple[int, str]:
    """Let promtool read and lint an exposition page; returns exit code and what it printed.

    0 is a good page, 1 one that cannot be parsed, 3 one that breaks a naming convention.
    """
    answer = subprocess.run(
        [install("prometheus")["promtool"], "check", "metrics"],
        input=page,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=WAIT_TIMEOUT_SECONDS,
        check=False,
    )
    return answer.returncode, answer.stdout.decode(errors="replace")


class Pushgateway(Server):
    """A Pushgateway that keeps what it is sent in memory."""

    name = "pushgateway"

    def __init__(self, extra_flags: Sequence[str] = ()) -> None:
        super().__init__()
        self._binary = install("pushgateway")["pushgateway"]
        self._extra_flags = extra_flags
        self._port = 0

    @property
    def url(self) -> str:
        """``http://host:port``, without a final slash."""
        return f"http://{LOOPBACK}:{self._port}"

    def metrics(self) -> str:
        """Its own page: what was pushed, its bookkeeping, and metrics about itself."""
        return http_text(self._port, "/metrics")

    def _prepare(self) -> None:
        self._port = self._lease_port()

    def _command(self) -> Sequence[str | Path]:
        address = f"--web.listen-address={LOOPBACK}:{self._port}"
        return [self._binary, address, *self._extra_flags]

    def _is_ready(self) -> bool:
        return http_ready(self._port, "/-/ready")


class OtelCollector(Server):
    """An OpenTelemetry collector that takes metrics over gRPC and HTTP and keeps them in a file.

    What it received survives ``stop`` and ``restart``; after ``kill`` the last 50 ms may be gone.
    """

    name = "otelcol"

    def __init__(self, *, tls: ServerTls | None = None) -> None:
        super().__init__()
        self._binary = install("otelcol")["otelcol"]
        self._tls = tls
        self._grpc_port = 0
        self._http_port = 0

    @property
    def grpc_endpoint(self) -> str:
        """``scheme://host:port`` of the gRPC receiver."""
        return f"{self._scheme}://{LOOPBACK}:{self._grpc_port}"

    @property
    def http_endpoint(self) -> str:
        """``scheme://host:port`` of the HTTP receiver, to which ``/v1/metrics`` is added."""
        return f"{self._scheme}://{LOOPBACK}:{self._http_port}"

    def metrics(self) -> list[dict[str, Any]]:
        """Every export request received so far, oldest first, each parsed from OTLP JSON."""
        try:
            lines = self._received_file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        # What follows the last newline is empty, or a line that is being written.
        return [json.loads(line) for line in lines[:-1]]

    def metrics_named(self, name: str) -> list[ReceivedMetric]:
        """Every metric of that name received so far, oldest first, with resource and scope."""
        return [
            ReceivedMetric(block.get("resource", {}), scoped.get("scope", {}), metric)
            for request in self.metrics()
            for block in request.get("resourceMetrics", [])
            for scoped in block.get("scopeMetrics", [])
            for metric in scoped.get("metrics", [])
            if metric["name"] == name
        ]

    def wait_for(self, name: str, timeout_seconds: float = WAIT_TIMEOUT_SECONDS) -> list[ReceivedMetric]:
        """``metrics_named``, once there is one; raises ``TimeoutError`` with the names received."""

        def state() -> str:
            names = {
                metric["name"]
                for request in self.metrics()
                for block in request.get("resourceMetrics", [])
                for scoped in block.get("scopeMetrics", [])
                for metric in scoped.get("metrics", [])
            }
            return f"metric {name!r}, received {sorted(names)}"

        return wait_until(lambda: self.metrics_named(name), timeout_seconds=timeout_seconds, what=state)

    @property
    def _scheme(self) -> str:
        return "http" if self._tls is None else "https"

    @property
    def _received_file(self) -> Path:
        return self.folder / "received.jsonl"

    def _prepare(self) -> None:
        self._grpc_port = self._lease_port()
        self._http_port = self._lease_port()
        tls: dict[str, object] = {}
        if self._tls is not None:
            files = {
                "cert_file": str(self._tls.cert),
                "key_file": str(self._tls.key),
            }
            if self._tls.client_ca is not None:
                files["client_ca_file"] = str(self._tls.client_ca)
            tls = {"tls": files}
        protocols = {
            "grpc": {"endpoint": f"{LOOPBACK}:{self._grpc_port}", **tls},
            "http": {"endpoint": f"{LOOPBACK}:{self._http_port}", **tls},
        }
        configuration = {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {
                "file": {
                    "path": str(self._received_file),
                    # A restart is not to forget what came before it.
                    "append": True,
                    "flush_interval": "50ms",
                }
            },
            "service": {
                # Its own metrics would be served on a fixed port.
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        }
        # JSON is YAML.
        (self.folder / "otelcol.yaml").write_text(json.dumps(configuration))

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, "--config=file:otelcol.yaml"]

    def _is_ready(self) -> bool:
        # It has no page that says so without a further extension; the line follows the start of
        # every component, and the ports show that the receivers are among them.
        return "Everything is ready" in self.log() and accepts_tcp(self._grpc_port) and accepts_tcp(self._http_port)


class StatsdExporter(Server):
    """A StatsD server that understands DogStatsD tags and shows what it received as metrics.

    Dots in names become underscores, tags become labels, timings become seconds.
    """

    name = "statsd_exporter"

    def __init__(self, extra_flags: Sequence[str] = ()) -> None:
        super().__init__()
        self._binary = install("statsd_exporter")["statsd_exporter"]
        self._extra_flags = extra_flags
        self._web_port = 0
        self._udp_port = 0

    @property
    def udp_port(self) -> int:
        """The loopback port that takes StatsD datagrams."""
        return self._udp_port

    @property
    def unixgram_path(self) -> Path:
        """The unix datagram socket that takes the same."""
        return self._unix_path("statsd.sock")

    def metrics(self) -> str:
        """What it received, in the Prometheus text format, and metrics about itself."""
        return http_text(self._web_port, "/metrics")

    def start(self) -> None:
        # It refuses to start over the socket that an earlier, killed process left.
        self.stop()
        self.unixgram_path.unlink(missing_ok=True)
        super().start()

    def _prepare(self) -> None:
        self._web_port = self._lease_port()
        self._udp_port = self._lease_port(SOCK_DGRAM)

    def _command(self) -> Sequence[str | Path]:
        return [
            self._binary,
            f"--web.listen-address={LOOPBACK}:{self._web_port}",
            f"--statsd.listen-udp={LOOPBACK}:{self._udp_port}",
            f"--statsd.listen-unixgram={self.unixgram_path}",
            "--statsd.listen-tcp=",
            "--statsd.event-flush-interval=20ms",
            *self._extra_flags,
        ]

    def _is_ready(self) -> bool:
        return http_ready(self._web_port, "/-/ready")
