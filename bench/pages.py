"""What a page of 100,000 series costs: time, memory, and the writers who go on meanwhile."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from itertools import islice
from statistics import median
from time import perf_counter, perf_counter_ns

import prometheus_client
import psutil

from bench.harness import AT_LEAST, AT_MOST, Bar, Effort, Row, alternate, clean, expect, percentile, row
from gds_metrics import PrometheusMetrics

__all__ = ["measure_memory", "memory", "render", "writers"]

SERIES = 100_000
PEER = "prometheus_client"

_PHASE_SECONDS = 0.5


def _labels(number: int) -> dict[str, str]:
    """Both values are made here, so that neither side finds its text in memory already."""
    return {"path": f"/item/{number}", "status": f"{200 + number % 5}"}


def _ours(start_server: bool = False) -> PrometheusMetrics:
    return PrometheusMetrics(
        prefix="", port=0, addr="127.0.0.1", start_server=start_server, max_series=SERIES, process_metrics=False
    )


def _fill_ours(metrics: PrometheusMetrics) -> None:
    for number in range(SERIES):
        metrics.increment("requests", number % 7, _labels(number))


def _fill_peer(registry: prometheus_client.CollectorRegistry) -> prometheus_client.Counter:
    counter = prometheus_client.Counter("requests", "Requests.", ["path", "status"], registry=registry)
    for number in range(SERIES):
        counter.labels(**_labels(number)).inc(number % 7)
    return counter


def render(effort: Effort) -> list[Row]:
    """The page, with the same samples on both sides."""
    # The peer would otherwise write a second line for each counter, which takes it twice as long.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics, registry = _ours(), prometheus_client.CollectorRegistry()
    _fill_ours(metrics)
    _fill_peer(registry)
    wanted = sorted(clean(prometheus_client.generate_latest(registry)))
    got = sorted(line for line in clean(metrics.render()) if line.startswith("requests_total{"))
    expect("number of series", len(got), SERIES)
    expect("the samples", got == wanted, True)

    def ours() -> float:
        # The peer takes long enough for one to be typical.
        return median(_milliseconds(metrics.render) for _ in range(5))

    def peer() -> float:
        return _milliseconds(lambda: prometheus_client.generate_latest(registry))

    gc.freeze()
    rounds = alternate(ours, peer, effort.long_rounds)
    name = f"page of {SERIES:,} series"
    return [row(name, rounds, unit="ms", against=PEER, bar=Bar(AT_LEAST, 40))]


def _milliseconds(call: Callable[[], object]) -> float:
    begun = perf_counter()
    call()
    return (perf_counter() - begun) * 1e3


def memory(effort: Effort) -> list[Row]:
    """Resident memory of a series, each side in new processes."""

    def resident(side: str) -> float:
        done = subprocess.run([sys.executable, "-m", "bench.pages", side], check=True, capture_output=True, text=True)
        return float(done.stdout)

    rounds = alternate(lambda: resident("ours"), lambda: resident("peer"), max(2, effort.long_rounds // 5))
    name = f"resident memory of each of {SERIES:,} series"
    return [row(name, rounds, unit="bytes", against=PEER, bar=Bar(AT_MOST, 0.25))]


def measure_memory(side: str) -> float:
    """Bytes that this process grows by for each series."""
    process = psutil.Process()
    metrics, registry = _ours(), prometheus_client.CollectorRegistry()
    last = _labels(SERIES - 1)
    gc.collect()
    before = process.memory_info().rss
    if side == "ours":
        _fill_ours(metrics)
    else:
        _fill_peer(registry)
    gc.collect()
    grown = process.memory_info().rss - before
    value = metrics.sample("requests", last) if side == "ours" else registry.get_sample_value("requests_total", last)
    expect("the last series", value, (SERIES - 1) % 7)
    return grown / SERIES


class _Scraper(threading.Thread):
    """Fetches the page over HTTP, one scrape after the other."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._ended = threading.Event()
        self.began = threading.Event()
        self.sizes: list[int] = []

    def run(self) -> None:
        while not self._ended.is_set():
            self.began.set()
            with urllib.request.urlopen(self._url, timeout=60) as response:
                self.sizes.append(len(response.read()))

    def end(self) -> None:
        self._ended.set()
        self.join()


def writers(effort: Effort) -> list[Row]:
    """How long one in a hundred increments takes while the page is scraped all the time, and while it is not."""
    with _ours(start_server=True) as metrics:
        _fill_ours(metrics)
        # Other objects than those the series were made with: the ordinary way, through the index that scrapes share.
        labels = [_labels(number) for number in islice(range(0, SERIES, 13), 4_096)]
        page = metrics.render()
        expect("the page", sum(line.startswith("requests_total{") for line in clean(page)), SERIES)
        before = metrics.sample("requests", labels[0])
        url, sizes = f"http://127.0.0.1:{metrics.port}/metrics", []
        rounds: dict[int, list[tuple[float, float]]] = {50: [], 99: []}
        slowest: list[tuple[float, float]] = []
        times = 0
        for _ in range(effort.long_rounds):
            quiet = _write(metrics, labels)
            scraper = _Scraper(url)
            scraper.start()
            scraper.began.wait()
            busy = _write(metrics, labels)
            scraper.end()
            sizes += scraper.sizes
            times += len(quiet) + len(busy)
            for percent, pairs in rounds.items():
                pairs.append((percentile(busy, percent), percentile(quiet, percent)))
            slowest.append((busy[-len(busy) // 10_000], quiet[-len(quiet) // 10_000]))
        expect("scrapes in each round", len(sizes) >= effort.long_rounds, True)
        expect("scrapes that were short", [size for size in sizes if size < 0.99 * len(page)], [])
        after = metrics.sample("requests", labels[0])
        expect("a series that was counted", before is not None and after is not None and after > before, True)
    said = f"while a page of {SERIES:,} series is scraped without pause"
    against = "the same without scrapes"
    return [
        row(f"p99 of increments {said}", rounds[99], unit="ns", against=against, bar=Bar(AT_MOST, 3)),
        row(f"median of increments {said}", rounds[50], unit="ns", against=against, sense=AT_MOST),
        row(f"p99.99 of increments {said}", slowest, unit="ns", against=against, sense=AT_MOST),
    ]


def _write(metrics: PrometheusMetrics, labels: list[dict[str, str]]) -> list[float]:
    """Nanoseconds of each increment of a phase, ascending."""
    took: list[float] = []
    keep, now = took.append, perf_counter_ns
    end = now() + int(_PHASE_SECONDS * 1e9)
    while now() < end:
        for each in labels:
            begun = now()
            metrics.increment("requests", 1, each)
            keep(now() - begun)
    return sorted(took)


if __name__ == "__main__":
    print(measure_memory(sys.argv[1]))
