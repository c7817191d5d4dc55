"""Packs of other monitors are read as they are, and are the same once they are converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from gds_monitor.packs import Pack, PackError, Target, dump, load_pack, parse_pack, plan, postgresql_facts, run_query
from tests.services.postgresql import PostgreSQL

FILES = Path(__file__).parent / "dialects"
DIALECTS = sorted(FILES.iterdir())

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def session(postgresql: PostgreSQL) -> Iterator[Any]:
    with psycopg.connect(**postgresql.address(autocommit=True, row_factory=dict_row)) as connection:
        yield connection


def series(session: Any, pack: Pack) -> tuple[Series, list[Any], set[tuple[str, str]]]:
    """What a pack tells of a server: its series, their metrics, and why the rest is not told."""

    def run(sql: Any) -> Any:
        return session.execute(sql).fetchall()

    facts = postgresql_facts(run, tags=["chosen"])
    todo = plan(pack, facts)
    metrics = []
    reasons: set[tuple[str, str]] = {(each.collector, each.reason) for each in todo.skipped}
    for planned in todo.queries:
        target = Target(instance_id="one", database_type=pack.engine, now=datetime(2026, 1, 1, tzinfo=timezone.utc))
        outcome = run_query(planned, run, target)
        metrics += outcome.metrics
        if outcome.status == "skipped":
            reasons.add((planned.collector.name, outcome.reason))
    named = {(each.metric_name, tuple(sorted(each.tags.items()))): float(each.value) for each in metrics}
    assert len(named) == len(metrics)
    return named, metrics, reasons


@pytest.mark.parametrize("path", DIALECTS, ids=lambda path: path.stem)
def test_a_converted_pack_is_the_same_pack(path: Path) -> None:
    pack = load_pack(path)
    assert parse_pack(dump(pack), "converted.yaml") == pack


@pytest.mark.parametrize("path", DIALECTS, ids=lambda path: path.stem)
def test_a_converted_pack_tells_the_same_of_a_server(path: Path, session: Any) -> None:
    before = series(session, load_pack(path))
    after = series(session, parse_pack(dump(load_pack(path)), "converted.yaml"))
    assert before[0]
    assert before[0] == after[0]
    assert before[2] == after[2]


def test_a_collector_of_sql_exporter_tells_what_it_says(session: Any) -> None:
    pack = load_pack(FILES / "sql_exporter.yml")
    named, metrics, _ = series(session, pack)
    env = (("env", "test"), ("shard", "7"))
    assert named == {
        ("shop_orders", (*env, ("state", "open"))): 2,
        ("shop_orders", (*env, ("state", "paid"))): 1,
        ("shop_money_total", (("currency", "EUR"), ("kind", "paid"))): 12.5,
        ("shop_money_total", (("currency", "CHF"), ("kind", "paid"))): 3,
        ("shop_money_total", (("currency", "CHF"), ("kind", "refunded"))): 1,
        ("shop_currencies_info", (("currency", "EUR"),)): 1,
        ("shop_currencies_info", (("currency", "CHF"),)): 1,
    }
    paid = next(each for each in metrics if each.tags == {"currency": "EUR", "kind": "paid"})
    assert (paid.metric_type, paid.timestamp) == ("counter", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))
    assert pack.collectors[0].interval_seconds == 90
    assert Counter(query.name for query in pack.collectors[0].queries) == {"shop_orders": 1, "money": 1}


def test_queries_of_postgres_exporter_tell_what_they_say(session: Any) -> None:
    named, metrics, reasons = series(session, load_pack(FILES / "postgres_exporter.yaml"))
    shop = ("shop", "a")
    assert named == {
        ("pg_shop_opened", (shop,)): 3,
        ("pg_shop_doors", (shop,)): 2,
        ("pg_shop_light", (shop,)): 1,
        ("pg_shop_pause_milliseconds", (shop,)): 90_000,
        ("pg_shop_unlisted", (shop,)): 5,
        ("pg_shop_wait_bucket", (("le", "1"), shop)): 2,
        ("pg_shop_wait_bucket", (("le", "5"), shop)): 3,
        ("pg_shop_wait_bucket", (("le", "+Inf"), shop)): 4,
        ("pg_shop_wait_count", (shop,)): 4,
        ("pg_shop_wait_sum", (shop,)): 7.5,
    }
    assert {each.metric_name for each in metrics if each.metric_type == "counter"} == {"pg_shop_opened"}
    assert reasons == {("pg_never", "version")}


def test_queries_of_pg_exporter_tell_what_they_say(session: Any) -> None:
    pack = load_pack(FILES / "pg_exporter.yml")
    named, _, reasons = series(session, pack)
    a, b = ("which", "a"), ("which", "b")
    assert {key: value for key, value in named.items() if "age" not in key[0]} == {
        ("shop_time", (a,)): 1.5,
        ("shop_time", (b,)): 0.5,
        ("shop_none", (a,)): 9,
        ("shop_none", (b,)): 4,
    }
    assert named["shop_age_bucket", (("le", "3"), a)] == 1
    assert named["shop_age_bucket", (("le", "3"), b)] == 0
    assert named["shop_age_sum", (b,)] == 7
    assert reasons == {("shop_absent", "predicate"), ("shop_skipped", "disabled"), ("shop_standby", "role")}
    first = pack.collectors[0]
    assert (first.interval_seconds, first.timeout_seconds, first.fatal) == (10, 0.5, True)
    assert pack.collectors[1].timeout_seconds == 0.1, "the default of pg_exporter"


def test_metrics_of_pgwatch_tell_what_they_say(session: Any) -> None:
    pack = load_pack(FILES / "pgwatch.yaml")
    named, metrics, reasons = series(session, pack.preset("small"))
    shop = (("shop", "a"),)
    assert named == {("pgwatch_shop_opened", shop): 3, ("pgwatch_shop_doors", shop): 2, ("pgwatch_shop_light", shop): 1}
    assert {each.metric_name for each in metrics if each.metric_type == "counter"} == {"pgwatch_shop_opened"}
    assert metrics[0].timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert pack.preset("small").collectors[0].interval_seconds == 10
    assert {each.scope for each in pack.collectors} == {"instance", "database"}
    assert series(session, pack)[2] >= {("shop_stats", "version"), ("shop_standby", "role")}
    assert reasons == {("shop_stats", "version")}


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("sql_exporter.yml", "key_labels:\n      - state", "key_lables: [state]", "did you mean 'key_labels'?"),
        ("sql_exporter.yml", "query_ref: money", "query_ref: monye", "expected the name of one of queries (money)"),
        ("sql_exporter.yml", "    value_label: kind\n", "", "expected value_label"),
        ("sql_exporter.yml", "static_value: 1", "help: x", "stands here twice"),
        ("sql_exporter.yml", "    static_value: 1\n", "", "expected either values or static_value"),
        ("postgres_exporter.yaml", '"COUNTER"', '"COUNTR"', "expected one of LABEL, COUNTER, GAUGE"),
        ("postgres_exporter.yaml", "metric_mapping:", "metric_maping:", "did you mean 'metric_mapping'?"),
        ("pg_exporter.yml", "scale: 1e-3", "scale: much", "expected a number, got 'much'"),
        ("pg_exporter.yml", "bucket: [1, 3, 10]", "bucket: [1, 1]", "expected a bound above 1, got 1"),
        ("pgwatch.yaml", "node_status: standby", "node_status: standy", "did you mean 'standby'?"),
        ("pgwatch.yaml", "      shop_stats: 10", "      shop_stat: 10", "expected the name of a metric"),
    ],
)
def test_what_is_wrong_in_a_dialect_is_told_with_its_place(name: str, old: str, new: str, said: str) -> None:
    text = (FILES / name).read_text("utf-8")
    assert old in text
    with pytest.raises(PackError) as caught:
        parse_pack(text.replace(old, new, 1), name)
    assert str(caught.value).startswith(f"{name}:{caught.value.line}:")
    assert said in str(caught.value)
