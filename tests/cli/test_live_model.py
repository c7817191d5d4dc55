"""What can be said of the samples that a model was fed: rates, percentiles, errors, lag."""

from __future__ import annotations

import json
import math

import pytest

from gds_cli.live.model import Model, Snapshot, quantile
from gds_cli.live.page import parse


def fed(*pages: tuple[float, str], first: str = "") -> Model:
    model = Model(first)
    model.add("page", "p")
    for at_seconds, page in pages:
        model.page("p", at_seconds, parse(page))
        model.reached("p")
    return model


def counter(value: float, name: str = "hits_total", labels: str = "") -> str:
    return f"# TYPE {name} counter\n{name}{labels} {value}\n"


def rates(shown: Snapshot) -> dict[str, float | None]:
    return {row.name: row.per_second for row in shown.counters}


def test_one_page_has_totals_and_no_rates() -> None:
    shown = fed((0.0, counter(1000))).snapshot(0.0)
    assert [(row.total, row.per_second) for row in shown.counters] == [(1000.0, None)]


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    pages = [(float(at), counter(100 * at if at < 20 else 2000 + 10 * (at - 20))) for at in range(41)]
    assert rates(fed(*pages).snapshot(40.0)) == {"hits_total": pytest.approx(10.0)}


def test_a_counter_that_begins_anew_counts_on() -> None:
    shown = fed((0.0, counter(1000)), (1.0, counter(1010)), (2.0, counter(30))).snapshot(2.0)
    assert rates(shown) == {"hits_total": pytest.approx(20.0)}


def test_a_series_that_is_new_began_at_nothing() -> None:
    pages = (0.0, counter(5, labels='{a="1"}')), (1.0, counter(5, labels='{a="1"}') + 'hits_total{a="2"} 8\n')
    assert rates(fed(*pages).snapshot(1.0)) == {"hits_total": pytest.approx(8.0)}


def test_series_that_come_and_go_are_not_kept_for_ever() -> None:
    model = Model()
    model.add("page", "p")
    for at in range(5000):
        model.page("p", float(at), parse(counter(1, labels=f'{{id="{at}"}}')))
    rising = model._pages["p"].rising
    assert len(list(rising)) <= 1002


def test_what_is_bad_has_a_row_for_each_series_and_is_no_rate() -> None:
    page = (
        counter(3, "app_errors_total", '{type="A"}')
        + 'app_errors_total{type="B"} 0\n'
        + counter(2, "http_requests_total", '{code="503"}')
        + 'http_requests_total{code="200"} 9\n'
    )
    shown = fed((0.0, page)).snapshot(0.0)
    assert {(row.name, row.labels, row.total) for row in shown.errors} == {
        ("app_errors_total", (("type", "A"),), 3.0),
        ("http_requests_total", (("code", "503"),), 2.0),
    }
    assert {row.name: row.total for row in shown.counters} == {"http_requests_total": 9.0}


def histogram(counts: dict[str, int]) -> str:
    lines = [f'h_bucket{{le="{bound}"}} {count}' for bound, count in counts.items()]
    return "\n".join(["# TYPE h histogram", *lines, f"h_count {counts['+Inf']}", "h_sum 1", ""])


def test_percentiles_are_of_what_was_observed_lately() -> None:
    before, now = {"1": 500, "2": 500, "+Inf": 500}, {"1": 500, "2": 600, "+Inf": 600}
    [row] = fed((0.0, histogram(before)), (1.0, histogram(now))).snapshot(1.0).distributions
    assert (row.count, row.per_second, row.highest_bound) == (600.0, 100.0, 2.0)
    assert row.quantiles == pytest.approx((1.5, 1.9, 1.99))


def test_without_observations_there_are_no_percentiles() -> None:
    page = histogram({"1": 500, "+Inf": 500})
    [row] = fed((0.0, page), (1.0, page)).snapshot(1.0).distributions
    assert row.quantiles == (None, None, None)


def test_beyond_the_last_bound_is_said_as_such() -> None:
    assert quantile(0.5, {1.0: 0.0, math.inf: 10.0}) == math.inf
    assert quantile(0.5, {}) is None
    [row] = fed((0.0, histogram({"1": 0, "+Inf": 0})), (1.0, histogram({"1": 0, "+Inf": 4}))).snapshot(1).distributions
    assert row.highest_bound == 1.0
    assert row.quantiles[0] == math.inf


def test_the_quantiles_of_a_summary_are_its_own() -> None:
    page = '# TYPE s summary\ns{quantile="0.5"} 0.2\ns{quantile="0.99"} NaN\ns_count 4\ns_sum 1\n'
    [row] = fed((0.0, page)).snapshot(0).distributions
    assert row.quantiles == (0.2, None, None)


def test_pages_are_added_up_and_one_that_is_lost_is_left_out() -> None:
    model = Model()
    for name in ("a", "b"):
        model.add("page", name)
        model.page(name, 0.0, parse(counter(10)))
        model.page(name, 1.0, parse(counter(15)))
        model.reached(name)
    assert [(row.total, row.per_second) for row in model.snapshot(1.0).counters] == [(30.0, 10.0)]
    model.lost("b", "connection refused")
    shown = model.snapshot(1.0)
    assert [(row.total, row.per_second) for row in shown.counters] == [(15.0, 5.0)]
    assert [(state.name, state.reachable, state.error) for state in shown.sources] == [
        ("a", True, ""),
        ("b", False, "connection refused"),
    ]


def test_topics_and_groups() -> None:
    model = Model()
    model.add("hub", "h")
    for at_seconds, end in ((0.0, 100), (2.0, 300)):
        model.topics("h", at_seconds, {"orders": end, "idle": 5})
        model.group("h", "billing", at_seconds, [{"topic": "orders", "position": end - 40, "lag": 40}])
        model.group("h", "new", at_seconds, [])
    model.reached("h")
    shown = model.snapshot(2.0)
    assert [(topic.name, topic.messages, topic.per_second) for topic in shown.topics] == [
        ("orders", 300, 100.0),
        ("idle", 5, 0.0),
    ]
    assert [(group.name, group.topic, group.lag, group.per_second) for group in shown.groups] == [
        ("billing", "orders", 40, 100.0),
        ("new", "", None, None),
    ]


def test_what_was_asked_for_first_is_first() -> None:
    page = counter(1, "aaa_total") + counter(1, "gds_vault_hits_total")
    shown = fed((0.0, page), (1.0, page), first="gds_vault_").snapshot(1.0)
    assert [row.name for row in shown.counters] == ["gds_vault_hits_total", "aaa_total"]


def test_json_has_no_infinities_and_only_new_log_lines() -> None:
    page = counter(math.inf) + "# TYPE g gauge\ng NaN\n" + histogram({"1": 0, "+Inf": 4})
    model = fed((0.0, histogram({"1": 0, "+Inf": 0})), (1.0, page))
    for number in range(3):
        model.log(float(number), "INFO", "shop", f"line {number}")
    told = json.loads(json.dumps(model.snapshot(1.0).as_json(1), allow_nan=False))
    assert [line["message"] for line in told["logs"]] == ["line 1", "line 2"]
    assert told["counters"]["hits_total"]["total"] is None
    assert told["distributions"]["h"]["p50"] is None
    assert told["gauges"] == [{"name": "g", "labels": {}, "value": None}]
