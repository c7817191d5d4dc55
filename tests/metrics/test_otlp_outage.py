"""A receiver that is away, dies, comes back or hangs: totals stay right, and nothing else notices."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from typing_extensions import Self

from gds_metrics import OpenTelemetryMetrics
from tests.metrics.test_otlp import (
    NEVER_SECONDS,
    PROTOCOLS,
    endpoint_of,
    exporter,
    latest_values,
    received_points,
    run_program,
    summed_values,
)
from tests.services.process import LOOPBACK
from tests.services.run import OtelCollector, wait_until

pytestmark = pytest.mark.timing


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@contextmanager
def hanging_receiver() -> Iterator[str]:
    """Takes connections, or lets the kernel take them, and says nothing."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield f"http://{LOOPBACK}:{server.getsockname()[1]}"


@contextmanager
def refusing_port() -> Iterator[str]:
    """A port that is taken, so that nobody else listens there, and refuses every connection."""
    with socket.socket() as owner:
        owner.bind((LOOPBACK, 0))
        yield f"http://{LOOPBACK}:{owner.getsockname()[1]}"


TOTALS: dict[str, Callable[[OtelCollector, str], dict[tuple[tuple[str, str], ...], float]]] = {
    "cumulative": latest_values,
    "delta": summed_values,
}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_totals_are_right_when_the_receiver_comes_up_later(
    otel_collector: OtelCollector, protocol: str, temporality: str
) -> None:
    otel_collector.stop()
    with exporter(otel_collector, protocol, temporality=temporality) as metrics:
        for number in range(1, 4):
            metrics.increment("jobs", number, {"queue": "a"})
            metrics.timing("query", number * 1000)
            assert metrics.flush() is False
        otel_collector.start()
        assert metrics.flush() is True, metrics.stats()
        metrics.increment("jobs", 10, {"queue": "a"})
        metrics.timing("query", 10_000)
    labels = (("queue", "a"),)
    wait_until(
        lambda: TOTALS[temporality](otel_collector, "jobs") == {labels: 16},
        what=lambda: f"the total, received {TOTALS[temporality](otel_collector, 'jobs')}",
    )
    queries = [(int(point["count"]), point["sum"]) for point in received_points(otel_collector, "query")]
    assert queries == ([(3, 6), (4, 16)] if temporality == "cumulative" else [(3, 6), (1, 10)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_export_resumes_by_itself(otel_collector: OtelCollector, protocol: str) -> None:
    otel_collector.stop()
    with exporter(otel_collector, protocol, interval_seconds=0.05) as metrics:
        metrics.increment("jobs", 3)
        wait_until(lambda: metrics.stats()["failed_attempts"] >= 2, what="two attempts in vain")
        otel_collector.start()
        otel_collector.wait_for("jobs")
        assert latest_values(otel_collector, "jobs") == {(): 3}


class Load:
    """Two threads that count as fast as they can, and one that flushes."""

    def __init__(self, metrics: OpenTelemetryMetrics) -> None:
        self.metrics = metrics
        self.counted = [0, 0]
        self._end = Event()
        self._threads = [Thread(target=self._count, args=(0,)), Thread(target=self._count, args=(1,))]
        self._threads.append(Thread(target=self._flush))

    def _count(self, number: int) -> None:
        labels = {"thread": str(number)}
        while not self._end.is_set():
            self.metrics.increment("jobs", 1, labels)
            self.counted[number] += 1

    def _flush(self) -> None:
        while not self._end.is_set():
            self.metrics.flush()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def totals(self) -> dict[tuple[tuple[str, str], ...], float]:
        return {(("thread", str(number)),): count for number, count in enumerate(self.counted)}

    def run_until(self, exports: str, more: int = 3) -> None:
        """Go on until the exporter counted that many more of its ``stats``."""
        begin = self.metrics.stats()[exports]
        wait_until(lambda: self.metrics.stats()[exports] >= begin + more, what=f"{more} more {exports}")


def crash(collector: OtelCollector) -> None:
    """Kill it, and remove the half of a line that it may have written last."""
    collector.kill()
    file = collector.folder / "received.jsonl"
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    file.write_bytes(whole + b"\n" if whole else b"")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_totals_are_right_after_the_receiver_was_killed_under_load(
    otel_collector: OtelCollector, protocol: str
) -> None:
    with exporter(otel_collector, protocol) as metrics, Load(metrics) as load:
        load.run_until("exports")
        crash(otel_collector)
        load.run_until("failed_attempts")
        otel_collector.start()
        load.run_until("exports")
    wait_until(
        lambda: latest_values(otel_collector, "jobs") == load.totals,
        what=lambda: f"{load.totals}, received {latest_values(otel_collector, 'jobs')}",
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_deltas_add_up_after_the_receiver_was_restarted_under_load(
    otel_collector: OtelCollector, protocol: str
) -> None:
    with exporter(otel_collector, protocol, temporality="delta") as metrics, Load(metrics) as load:
        load.run_until("exports")
        # In order, so that what it acknowledged is in its file: a crash loses that for good, with any exporter.
        otel_collector.stop()
        load.run_until("failed_attempts")
        otel_collector.start()
        load.run_until("exports")
    wait_until(
        lambda: summed_values(otel_collector, "jobs") == load.totals,
        what=lambda: f"{load.totals}, received {summed_values(otel_collector, 'jobs')}",
    )


MANY_INCREMENTS = """
import sys
import psutil
from gds_metrics import OpenTelemetryMetrics

metrics = OpenTelemetryMetrics(
    endpoint=sys.argv[1], protocol=sys.argv[2], temporality=sys.argv[3], interval_seconds=0.05, timeout_seconds=1
)
labels = [{"number": str(number)} for number in range(1000)]

def report(rounds):
    for _ in range(rounds):
        for each in labels:
            metrics.increment("jobs", 1, each)

report(10)
metrics.flush(1)
before = psutil.Process().memory_info().rss
report(990)
metrics.flush(1)
grown = psutil.Process().memory_info().rss - before
stats = metrics.stats()
assert stats["exports"] == 0, stats
assert stats["failed_attempts"] >= 1, stats
print(grown)

"""
# Queueing even one attempt in a hundred would take more: a request of 1,000 points is some 50 KB.
MOST_GROWTH_BYTES = 32 << 20


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("receiver", [refusing_port, hanging_receiver])
def test_memory_is_bounded_while_the_receiver_is_away(receiver: Any, protocol: str, temporality: str) -> None:
    with receiver() as url:
        program = run_program(MANY_INCREMENTS, url, protocol, temporality)
    assert program.returncode == 0, program.stderr
    assert int(program.stdout) < MOST_GROWTH_BYTES


def test_a_million_increments_made_during_an_outage_arrive(otel_collector: OtelCollector) -> None:
    otel_collector.stop()
    labels = [{"number": str(number)} for number in range(1000)]
    with exporter(otel_collector, interval_seconds=0.05) as metrics:
        for _ in range(1000):
            for each in labels:
                metrics.increment("jobs", 1, each)
        otel_collector.start()
    otel_collector.wait_for("jobs")
    values = latest_values(otel_collector, "jobs")
    assert len(values) == 1000
    assert set(values.values()) == {1000}


# What a caller may notice of a receiver that hangs: far less than its time-out, even on a busy machine.
UNNOTICED_SECONDS = 5.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_construction_and_reports_do_not_wait_for_a_receiver_that_hangs(protocol: str) -> None:
    with hanging_receiver() as url:
        begin = monotonic()
        metrics = OpenTelemetryMetrics(endpoint=url, protocol=protocol, interval_seconds=0.01, timeout_seconds=600)
        metrics.increment("jobs")
        metrics.increment("jobs")
        for number in range(10_000):
            metrics.timing("query", number)
        assert monotonic() - begin < UNNOTICED_SECONDS
        begin = monotonic()
        assert metrics.flush(0.2) is False
        metrics.close(0.2)
        assert monotonic() - begin < UNNOTICED_SECONDS
        metrics.increment("jobs")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_that_hangs_is_told_from_one_that_refuses(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    with hanging_receiver() as url:
        metrics = OpenTelemetryMetrics(
            endpoint=url, protocol=protocol, interval_seconds=NEVER_SECONDS, timeout_seconds=0.1
        )
        metrics.increment("jobs")
        assert metrics.flush() is False
        assert metrics.stats()["last_error"] == f"cannot reach {metrics._endpoint}: no answer within 0.1 s"
        metrics.close()
    with refusing_port() as url:
        metrics = OpenTelemetryMetrics(endpoint=url, protocol=protocol, interval_seconds=NEVER_SECONDS)
        metrics.increment("jobs")
        assert metrics.flush() is False
        assert "refused" in metrics.stats()["last_error"]
        metrics.close()
    last = [record for record in caplog.records if "the last metrics were not exported" in record.getMessage()]
    assert len(last) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_threads_that_flush_at_once_all_come_back(protocol: str) -> None:
    with hanging_receiver() as url:
        metrics = OpenTelemetryMetrics(endpoint=url, protocol=protocol, interval_seconds=NEVER_SECONDS)
        metrics.increment("jobs")
        answers: list[bool] = []
        threads = [Thread(target=lambda: answers.append(metrics.flush(0.2))) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        metrics.close(0.2)
    assert answers == [False] * 100


def test_export_goes_on_over_a_new_connection_when_the_receiver_restarts(otel_collector: OtelCollector) -> None:
    before = endpoint_of(otel_collector, "grpc")
    with exporter(otel_collector) as metrics:
        metrics.increment("jobs")
        assert metrics.flush()
        otel_collector.restart()
        assert endpoint_of(otel_collector, "grpc") == before
        metrics.increment("jobs")
        wait_until(metrics.flush, what=lambda: f"an export, {metrics.stats()}")
    wait_until(lambda: latest_values(otel_collector, "jobs") == {(): 2}, what="the total")
