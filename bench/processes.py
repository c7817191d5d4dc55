"""What a scrape of many processes costs once many of them have died."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from bench.harness import AT_MOST, Bar, Effort, Row, alternate, clean, expect, row
from gds_metrics import PrometheusMetrics

__all__ = ["scrape"]

LIVE = 8
SERIES = 1_000
DEAD_SERIES = 50


def _collector(folder: Path) -> PrometheusMetrics:
    return PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)


def _count(folder: Path, series: int) -> PrometheusMetrics:
    """What one worker counts: eight counters to each gauge and timing."""
    metrics = _collector(folder)
    for number in range(series):
        labels = {"path": f"/item/{number}"}
        if number % 10 == 8:
            metrics.gauge("busy", 1, labels)
        elif number % 10 == 9:
            metrics.timing("took", 3, labels)
        else:
            metrics.increment("requests", 1, labels)
    return metrics


def _fork(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _live_worker(folder: Path) -> int:
    """A process that has counted, and waits."""
    ready, tell = os.pipe()

    def work() -> None:
        metrics = _count(folder, SERIES)
        os.write(tell, b"1")
        signal.pause()
        del metrics

    child = _fork(work)
    os.close(tell)
    expect("a worker that is ready", os.read(ready, 1), b"1")
    os.close(ready)
    return child


def _dead_worker(folder: Path) -> None:
    _, status = os.waitpid(_fork(lambda: _count(folder, DEAD_SERIES)), 0)
    expect("how a worker ended", status, 0)


@contextmanager
def _workers(folder: Path, dead: int) -> Iterator[PrometheusMetrics]:
    for _ in range(dead):
        _dead_worker(folder)
    living = [_live_worker(folder) for _ in range(LIVE)]
    try:
        yield _collector(folder)
    finally:
        for child in living:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _scrape(metrics: PrometheusMetrics) -> float:
    begun = perf_counter()
    metrics.render()
    return (perf_counter() - begun) * 1e3


def _check(metrics: PrometheusMetrics, dead: int) -> None:
    said = f"after {dead} dead workers"
    expect(f"a counter {said}", metrics.sample("requests", {"path": "/item/0"}), LIVE + dead)
    expect(f"a gauge {said}", metrics.sample("busy", {"path": "/item/8"}), LIVE)
    expect(f"a timing {said}", metrics.sample("took_count", {"path": "/item/9"}), LIVE + dead)
    counters = [line for line in clean(metrics.render()) if line.startswith("requests_total{")]
    expect(f"the counters {said}", len(counters), SERIES * 8 // 10)


def scrape(effort: Effort) -> list[Row]:
    """A scrape with eight live workers, after many dead ones and without."""
    root = Path(tempfile.mkdtemp(prefix="gds-bench-"))
    try:
        with _workers(root / "after", effort.dead) as after, _workers(root / "without", 0) as without:
            first = _scrape(after)
            _check(after, effort.dead)
            _check(without, 0)
            rounds = alternate(lambda: _scrape(after), lambda: _scrape(without), 10 * effort.long_rounds)
    finally:
        shutil.rmtree(root)
    said = f"{LIVE} live workers of {SERIES:,} series, after {effort.dead:,} dead ones"
    return [
        row(f"scrape: {said}", rounds, unit="ms", against="the same with none dead", bar=Bar(AT_MOST, 1.2)),
        Row(f"the first scrape, which folds the {effort.dead:,} dead", first, "ms"),
    ]
