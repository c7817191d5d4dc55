"""Dashboards of other monitors go on, and whoever comes from postgres_exporter misses nothing."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from gds_monitor import Metric
from gds_monitor.packs import shipped_pack
from gds_monitor.packs.aliases import Alias, aliased, aliases
from gds_monitor.packs.native import ENGINES
from tests.monitor.packs.tables import PAGE, renewed

DEFAULTS = Path(__file__).parent / "postgres_exporter_defaults.txt"


def every_alias() -> list[Alias]:
    return [alias for group in aliases().values() for alias in group]


def test_each_metric_of_postgres_exporters_default_set_has_one_of_ours() -> None:
    theirs = {line for line in DEFAULTS.read_text("utf-8").split("\n") if line and not line.startswith("#")}
    ours = {alias.name.replace("{setting}{setting_unit}", "*") for alias in every_alias()}
    assert len(theirs) > 90
    assert theirs <= ours


def test_each_alias_is_of_a_metric_and_of_labels_that_a_pack_has() -> None:
    known: dict[str, set[str]] = {}
    for engine in ENGINES:
        for collector in shipped_pack(engine).collectors:
            for query in collector.queries:
                labels = {
                    *query.labels,
                    *query.static_labels,
                    *({"db.namespace"} if collector.scope != "instance" else ()),
                }
                for metric in query.metrics:
                    known.setdefault(metric.name, set()).update(labels, metric.labels, metric.static_labels)
    assert {alias.metric for alias in every_alias()} <= known.keys()
    for alias in every_alias():
        assert {*alias.labels.values(), *alias.where} <= known[alias.metric], alias.name


def metric(name: str, value: float, **tags: str) -> Metric:
    plain = {label.replace("__", "."): text for label, text in tags.items()}
    return Metric(
        name, value, "one", "postgresql", datetime(2026, 1, 1, tzinfo=timezone.utc), plain, metric_type="counter"
    )


@pytest.mark.parametrize(
    ("ours", "name", "value", "tags"),
    [
        (metric("postgresql.commits", 5, db__namespace="shop"), "pg_stat_database_xact_commit", 5, {"datname": "shop"}),
        (
            metric("postgresql.block.read_time", 1.5, db__namespace="shop"),
            "pg_stat_database_blk_read_time",
            1500,
            {"datname": "shop"},
        ),
        (
            metric("postgresql.setting.value", 60, setting="pg_stat.statement-timeout", setting_unit="_seconds"),
            "pg_settings_pg_stat_statement_timeout_seconds",
            60,
            {},
        ),
        (
            metric("postgresql.bgwriter.duration", 2, type="sync"),
            "pg_stat_bgwriter_checkpoint_sync_time_total",
            2000,
            {},
        ),
    ],
)
def test_a_metric_has_the_name_the_labels_and_the_unit_of_the_other_monitor(
    ours: Metric, name: str, value: float, tags: dict[str, str]
) -> None:
    (found,) = aliased([ours])
    assert (found.metric_name, found.value, found.tags) == (name, value, tags)
    assert (found.instance_id, found.timestamp, found.metric_type) == ("one", ours.timestamp, "counter")


def test_series_that_differ_in_labels_that_the_other_has_not_are_added_up() -> None:
    locks = [
        metric("postgresql.database.locks", n, db__namespace="a", mode="ShareLock", granted=granted)
        for n, granted in ((1, "true"), (2, "false"))
    ]
    (found,) = aliased(locks)
    assert (found.metric_name, found.value) == ("pg_locks_count", 3)


def test_a_metric_that_nobody_else_has_has_no_other_name() -> None:
    assert aliased([metric("postgresql.xmin.age", 1, holder="slot")]) == []


def test_the_tables_of_the_page_are_those_of_the_packs() -> None:
    text = PAGE.read_text("utf-8")
    assert text == renewed(text), "run python -m tests.monitor.packs.tables"
