"""Pages are read as `prometheus_client` reads them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from gds_cli.live.page import parse
from gds_metrics import PrometheusMetrics


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """By the full name of each sample."""
    return {
        (family.name + suffix, frozenset(labels)): value
        for family in parse(page).values()
        for (suffix, labels), value in family.samples.items()
    }


def by_the_peer(families: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.mark.parametrize("is_openmetrics", [False, True])
@given(values=st.lists(st.text(max_size=12), max_size=6))
def test_our_own_page_is_read_as_the_peer_reads_it(is_openmetrics: bool, values: list[str]) -> None:
    metrics = PrometheusMetrics(start_server=False, process_metrics=False)
    for value in ['quote "', "back\\slash", "new\nline", "} , {", "# no comment", *values]:
        metrics.increment("hits", labels={"path": value, "b": "1"})
        metrics.timing("fetch", 12.5, {"path": value})
        metrics.gauge("level", math.inf, {"path": value})
    page = metrics.render(openmetrics=is_openmetrics).decode()
    peer = by_the_peer((openmetrics if is_openmetrics else text)(page))
    assert samples(page) == peer
    assert len(peer) > 50


def test_kinds_and_units_are_found() -> None:
    page = parse(
        "# HELP a_fetch Timing a.fetch in seconds.\n# TYPE a_fetch histogram\n"
        'a_fetch_bucket{le="1.0"} 1\na_fetch_bucket{le="+Inf"} 1\na_fetch_sum 1\na_fetch_count 1\n'
        "# TYPE rss_bytes gauge\nrss_bytes 1\n# TYPE cpu_seconds_total counter\ncpu_seconds_total 1\n"
        "alone 1 1700000000000\n"
    )
    assert {(family.name, family.kind, family.unit) for family in page.values()} == {
        ("a_fetch", "histogram", "seconds"),
        ("rss_bytes", "gauge", "bytes"),
        ("cpu_seconds_total", "counter", "seconds"),
        ("alone", "untyped", ""),
    }


def test_names_of_prometheus_3_may_be_quoted() -> None:
    page = '# TYPE "my.metric" gauge\n{"my.metric","a.b"="c"} 7\n'
    assert samples(page) == {("my.metric", frozenset({("a.b", "c")})): 7.0}


@given(st.text(max_size=200))
def test_what_is_no_page_is_nothing_and_never_an_error(page: str) -> None:
    assert all(family.samples for family in parse(page).values())


def test_html_is_no_page() -> None:
    assert parse("<html><body>Hello</body></html>") == {}
