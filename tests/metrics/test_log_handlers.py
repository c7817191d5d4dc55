"""What is said in the log is said when nothing is held.

A handler may report to the very metric it is told about, and change the labels of the call that it is told during.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gds_metrics import OpenTelemetryMetrics, PrometheusMetrics
from tests.metrics.programs import run

pytestmark = pytest.mark.timing


@contextmanager
def told(handle: Callable[[str], object]) -> Iterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handle(record.getMessage())

    handler, logger = Handler(), logging.getLogger("gds_metrics")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


FULL = """
import logging, resource, signal
from gds_metrics import PrometheusMetrics

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))
metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir={folder!r})

class Handler(logging.Handler):
    def emit(self, record):
        metrics.increment("requests", labels={{"said": "yes"}})
        print(record.getMessage().partition(":")[0])

logging.getLogger("gds_metrics").addHandler(Handler())
logging.getLogger("gds_metrics").propagate = False
for n in range(2_000):
    metrics.increment("requests", labels={{"n": str(n)}})
print(metrics.sample("gds_metrics_dropped_total", {{"reason": "storage_full"}}) > 100)
"""


def test_a_handler_may_report_to_the_family_whose_folder_is_full(tmp_path: Path) -> None:
    lines = run(FULL.format(folder=str(tmp_path))).splitlines()
    assert "new series are dropped" in lines
    assert lines[-1] == "True"


@pytest.mark.parametrize("collector", ["prometheus", "opentelemetry"])
def test_a_handler_may_change_the_labels_that_are_being_reported(collector: str) -> None:
    metrics: PrometheusMetrics | OpenTelemetryMetrics
    if collector == "prometheus":
        metrics = PrometheusMetrics(prefix="", start_server=False, process_metrics=False)
    else:
        metrics = OpenTelemetryMetrics(endpoint="http://127.0.0.1:1", interval_seconds=1000)
    labels: dict[str, str] = {}
    said: list[str] = []

    def handle(message: str) -> None:
        said.append(message)
        labels.clear()
        said.extend(chr(97 + n % 26) * 40 for n in range(50))  # in the place of what was freed
        metrics.gauge(f"from_the_log_{len(said)}", 1)

    with told(handle):
        for n in range(200):
            metrics.increment(f"name.{n}", 1)
            for part in ("one", "two"):
                labels[f"label_{part}_{n}"] = f"value-{part}-{n}-{'x' * 20}"
            metrics.gauge(f"name.{n}", n, labels)
    assert sum("under a name that is taken" in message for message in said) == 200
    if isinstance(metrics, PrometheusMetrics):
        for n in range(200):
            expected = {f"label_{part}_{n}": f"value-{part}-{n}-{'x' * 20}" for part in ("one", "two")}
            assert metrics.sample(f"name.{n}_gauge", expected) == n
    metrics.close()


def test_the_text_of_a_label_may_change_the_labels_that_are_being_reported() -> None:
    metrics = PrometheusMetrics(prefix="", start_server=False, process_metrics=False)
    labels: dict[str, object] = {}

    class Changes:
        def __str__(self) -> str:
            labels.clear()
            return "text"

    for n in range(2_000):
        # Made anew, so that nothing but the dict keeps them alive.
        labels["".join(("a", "b"))] = Changes()
        labels["".join(("c", str(n % 3)))] = "".join(("d", str(n % 3)))
        metrics.increment("requests", 1, labels)  # type: ignore[arg-type]
    total = sum(metrics.sample("requests", {"ab": "text", f"c{n}": f"d{n}"}) or 0 for n in range(3))
    assert total == 2_000


def test_a_handler_that_closes_the_collector_is_no_deadlock() -> None:
    metrics = PrometheusMetrics(prefix="", port=0, process_metrics=False)
    metrics.increment("name", 1)
    with told(lambda _message: metrics.close()):
        metrics.gauge("name", 1)
    assert metrics.sample("name_gauge") == 1
