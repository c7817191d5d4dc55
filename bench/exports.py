"""What one report costs a program that exports to OpenTelemetry."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from bench.harness import AT_LEAST, Bar, Call, Effort, Row, compare, expect, row
from gds_metrics import OpenTelemetryMetrics

__all__ = ["counter"]

LABELS = {"method": "GET", "status": "200"}

_CHECKED = 1_000


@contextmanager
def _receiver() -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP receiver that keeps what it is sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/metrics", bodies
        server.shutdown()
        thread.join()


def _check_ours() -> None:
    with _receiver() as (url, bodies):
        metrics = OpenTelemetryMetrics(
            endpoint=url, protocol="http/protobuf", compression="none", interval_seconds=3_600
        )
        Call('metrics.increment("requests", 1, labels)', metrics=metrics, labels=LABELS).run(_CHECKED)
        expect("the export", metrics.flush(), True)
        metrics.close()
    # NumberDataPoint.as_double is field 4, a fixed64: opentelemetry/proto/metrics/v1/metrics.proto.
    expect("our total is in the export", b"\x21" + struct.pack("<d", _CHECKED) in bodies[0], True)


def _total(reader: InMemoryMetricReader) -> float:
    data = reader.get_metrics_data()
    assert data is not None
    point = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    assert isinstance(point, NumberDataPoint)
    return point.value


def counter(effort: Effort) -> list[Row]:
    """A counter with two attributes, exported rarely, to nobody."""
    _check_ours()
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    peer_counter = provider.get_meter("bench").create_counter("requests")
    peer = Call("counter.add(1, labels)", counter=peer_counter, labels=dict(LABELS))
    peer.run(_CHECKED)
    expect("the peer's total", _total(reader), _CHECKED)
    # Port 9 is `discard`, which nobody offers any more.
    metrics = OpenTelemetryMetrics(endpoint="http://127.0.0.1:9", interval_seconds=3_600)
    ours = Call('metrics.increment("requests", 1, labels)', metrics=metrics, labels=dict(LABELS))
    rounds = compare(ours, peer, effort)
    metrics.close(0.1)
    provider.shutdown()
    said, against = "OpenTelemetry counter with a reader, two attributes", "opentelemetry-sdk"
    return [row(said, rounds, unit="ns", against=against, bar=Bar(AT_LEAST, 20))]
