"""What one report costs the program that makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from bench.harness import AT_LEAST, AT_MOST, Bar, Call, Effort, Row, compare, expect, row
from gds_metrics import NoOpMetrics, PrometheusMetrics
from gds_metrics.noop import empty_call

__all__ = ["distributions", "increment_bare", "increment_labels", "increment_tracing", "noop", "set_gauge"]

LABELS = {"method": "GET", "status": "200"}
PEER = "prometheus_client"
EMPTY = "an empty native call"

# More than a collector remembers call sites, so that equal text in other objects never takes their short cut.
_COPIES = 4_096
_CHECKED = 1_000


def collector() -> PrometheusMetrics:
    return PrometheusMetrics(prefix="", start_server=False)


def _copies() -> Iterable[dict[str, str]]:
    return cycle([{"method": _copy("GET"), "status": _copy("200")} for _ in range(_COPIES)])


def _copy(text: str) -> str:
    """Equal text in an object of its own, as if it had been read from a request."""
    return "".join(list(text))


def _counter() -> tuple[prometheus_client.CollectorRegistry, prometheus_client.Counter]:
    registry = prometheus_client.CollectorRegistry()
    return registry, prometheus_client.Counter("requests", "Requests.", list(LABELS), registry=registry)


# How the labels of a call come about: what is said about it, and the expression, whose cost is taken off both sides.
_SOURCES = (
    ("the same label text objects each time", "labels"),
    ("equal label text in other objects each time", "next(copies)"),
    ("label text made for each call", '{"method": method, "status": f"{code}"}'),
)


def _names() -> dict[str, Any]:
    return {"labels": dict(LABELS), "copies": _copies(), "method": "GET", "code": 200}


def _returned(call: Callable[..., object]) -> object:
    return call("requests", 1, LABELS)


def increment_labels(effort: Effort) -> list[Row]:
    """Increment of a series that exists, two labels given as a dict."""
    rows = []
    for said, labels in _SOURCES:
        metrics, (registry, counter) = collector(), _counter()
        ours = Call(f'metrics.increment("requests", 1, {labels})', spent=labels, metrics=metrics, **_names())
        peer = Call(f"counter.labels(**{labels}).inc()", spent=labels, counter=counter, **_names())
        empty = Call(f'empty("requests", 1, {labels})', spent=labels, empty=empty_call, **_names())
        # The same call as `ours`, but found beforehand, as the empty one is.
        bound = Call(f'found("requests", 1, {labels})', spent=labels, found=metrics.increment, **_names())
        ours.run(_CHECKED)
        peer.run(_CHECKED)
        expect("our counter", metrics.sample("requests", LABELS), _CHECKED)
        expect("the peer's counter", registry.get_sample_value("requests_total", LABELS), _CHECKED)
        expect("the empty call", _returned(empty_call), None)
        name = f"increment, two labels: {said}"
        rows.append(row(name, compare(ours, peer, effort), unit="ns", against=PEER, bar=Bar(AT_LEAST, 12)))
        rows.append(row(name, compare(bound, empty, effort), unit="ns", against=EMPTY, bar=Bar(AT_MOST, 3)))
    return rows


def increment_tracing(effort: Effort) -> list[Row]:
    """The same in a program that has loaded OpenTelemetry: each increment asks for the active trace."""
    import opentelemetry.trace  # noqa: F401 - what is measured

    metrics, (registry, counter) = collector(), _counter()
    ours = Call('metrics.increment("requests", 1, labels)', metrics=metrics, **_names())
    peer = Call("counter.labels(**labels).inc()", counter=counter, **_names())
    ours.run(_CHECKED)
    peer.run(_CHECKED)
    expect("our counter", metrics.sample("requests", LABELS), _CHECKED)
    expect("the peer's counter", registry.get_sample_value("requests_total", LABELS), _CHECKED)
    name = "increment, two labels: opentelemetry.trace is loaded, no span is active (the peer looks for none)"
    return [row(name, compare(ours, peer, effort), unit="ns", against=PEER)]


def increment_bare(effort: Effort) -> list[Row]:
    """Increment without labels."""
    metrics, registry = collector(), prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("requests", "Requests.", registry=registry)
    ours = Call('metrics.increment("requests")', metrics=metrics)
    peer = Call("counter.inc()", counter=counter)
    ours.run(_CHECKED)
    peer.run(_CHECKED)
    expect("our counter", metrics.sample("requests"), _CHECKED)
    expect("the peer's counter", registry.get_sample_value("requests_total"), _CHECKED)
    rounds = compare(ours, peer, effort)
    return [row("increment without labels", rounds, unit="ns", against=PEER, bar=Bar(AT_LEAST, 5))]


def set_gauge(effort: Effort) -> list[Row]:
    """Gauge with two labels."""
    metrics, registry = collector(), prometheus_client.CollectorRegistry()
    gauge = prometheus_client.Gauge("level", "Level.", list(LABELS), registry=registry)
    ours = Call('metrics.gauge("level", 7.5, labels)', metrics=metrics, **_names())
    peer = Call("gauge.labels(**labels).set(7.5)", gauge=gauge, **_names())
    ours.run(_CHECKED)
    peer.run(_CHECKED)
    expect("our gauge", metrics.sample("level", LABELS), 7.5)
    expect("the peer's gauge", registry.get_sample_value("level", LABELS), 7.5)
    rounds = compare(ours, peer, effort)
    return [row("gauge, two labels", rounds, unit="ns", against=PEER, bar=Bar(AT_LEAST, 8))]


def distributions(effort: Effort) -> list[Row]:
    """Histogram and timing with two labels, the same buckets on both sides."""
    rows = []
    for method, call, argument in (
        ("histogram", 'metrics.histogram("took", 0.3, labels)', "0.3"),
        ("timing", 'metrics.timing("took", value_ms, labels)', "value_ms / 1000"),
    ):
        metrics, registry = collector(), prometheus_client.CollectorRegistry()
        histogram = prometheus_client.Histogram("took", "Took.", list(LABELS), registry=registry)
        ours = Call(call, metrics=metrics, value_ms=300.0, **_names())
        peer = Call(f"histogram.labels(**labels).observe({argument})", histogram=histogram, value_ms=300.0, **_names())
        ours.run(_CHECKED)
        peer.run(_CHECKED)
        expect("buckets", _buckets(metrics.render()), _buckets(prometheus_client.generate_latest(registry)))
        rounds = compare(ours, peer, effort)
        rows.append(row(f"{method}, two labels", rounds, unit="ns", against=PEER, bar=Bar(AT_LEAST, 10)))
    return rows


def _buckets(page: bytes) -> dict[str, float]:
    samples = (sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples)
    return {sample.labels["le"]: sample.value for sample in samples if sample.name == "took_bucket"}


def noop(effort: Effort) -> list[Row]:
    """`NoOpMetrics`."""
    metrics = NoOpMetrics()
    expect("NoOpMetrics.increment", _returned(metrics.increment), None)
    found = Call('found("requests", 1, labels)', found=metrics.increment, **_names())
    empty = Call('empty("requests", 1, labels)', empty=empty_call, **_names())
    rounds = compare(found, empty, effort)
    return [row("NoOpMetrics.increment, two labels", rounds, unit="ns", against=EMPTY, bar=Bar(AT_MOST, 1.2))]
