"""Rows become metrics, and nothing of them is lost in silence."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_monitor.packs import MetricDefinition, Query, Target, to_metrics
from gds_monitor.packs.literals import without_literals
from gds_monitor.packs.model import SERVER_START, TopN
from gds_monitor.packs.rows import as_time, number, text
from gds_monitor.packs.top import StickyTop

NOW = datetime(2026, 5, 6, tzinfo=timezone.utc)


def target(**changes: Any) -> Target:
    return Target(**{"instance_id": "one", "database_type": "postgresql", "now": NOW, **changes})


def query(**changes: Any) -> Query:
    metric = MetricDefinition(name="m", type="counter", value="n")
    return Query(**{"name": "q", "sql": "SELECT", "labels": {"who": "who"}, "metrics": (metric,), **changes})


def test_two_rows_with_the_same_labels_are_one_series_and_are_counted() -> None:
    where = target()
    (metric,) = to_metrics(query(), [{"who": "a", "n": 2}, {"who": "a", "n": 3}], where)
    assert metric.value == 5
    assert where.counts == {"duplicate": 1}


def test_of_a_gauge_that_is_there_twice_the_greater_is_kept() -> None:
    gauge = query(metrics=(MetricDefinition(name="m", value="n"),))
    (metric,) = to_metrics(gauge, [{"who": "a", "n": 2}, {"who": "a", "n": 3}, {"who": "a", "n": 1}], target())
    assert metric.value == 3


def test_null_is_no_metric_and_no_label() -> None:
    where = target()
    found = to_metrics(query(), [{"who": "a", "n": None}, {"who": None, "n": 1}], where)
    assert [(each.value, each.tags) for each in found] == [(1, {})]
    assert where.counts == {"null": 1}


def test_a_column_that_the_rows_have_not_is_counted() -> None:
    where = target()
    assert to_metrics(query(), [{"who": "a"}], where) == []
    assert where.counts == {"missing_column": 1}


def test_what_is_no_number_is_counted() -> None:
    where = target()
    assert to_metrics(query(), [{"who": "a", "n": "many"}, {"who": "b", "n": float("nan")}], where) == []
    assert where.counts == {"not_a_number": 2}


def test_a_counter_says_since_when_it_counts() -> None:
    reset, started = NOW - timedelta(days=2), NOW - timedelta(days=9)
    rows = [{"who": "a", "n": 1, "since": reset}, {"who": "b", "n": 1, "since": None}]
    of_column = to_metrics(query(start="since"), rows, target(server_start=started))
    assert [each.start_timestamp for each in of_column] == [reset, None]
    of_server = to_metrics(query(start=SERVER_START), rows, target(server_start=started))
    assert [each.start_timestamp for each in of_server] == [started, started]


def test_a_great_integer_keeps_its_digits() -> None:
    (metric,) = to_metrics(query(), [{"who": "a", "n": Decimal("12345678901234567890123")}], target())
    assert metric.value == 12345678901234567890123


@given(st.text(), st.binary())
def test_labels_in_any_script_and_bytes_arrive_as_text_that_can_be_written(word: str, raw: bytes) -> None:
    for value in (word, raw, word + "\ud800"):
        text(value).encode("utf-8")
    if "\ud800" not in word:
        assert text(word) == word.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (True, 1),
        (Decimal("1.5"), Decimal("1.5")),
        (timedelta(minutes=1), 60.0),
        (datetime(1970, 1, 2, tzinfo=timezone.utc), 86400.0),
        ("7.5", 7.5),
        (float("inf"), None),
        ("", None),
        (None, None),
        ([1], None),
    ],
)
def test_values_of_drivers_become_numbers(value: object, known: object) -> None:
    assert number(value) == known


@pytest.mark.parametrize(
    "value", [1767323045, 1767323045000, 1767323045000000, 1767323045000000000, "2026-01-02T03:04:05Z"]
)
def test_times_are_told_by_their_size(value: object) -> None:
    assert as_time(value) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_documents_are_unfolded_and_paths_lead_into_them() -> None:
    answer = {"locks": {"Global": {"held": {"r": 3}}, "Database": {"held": {"r": 4}}}, "ok": 1.0}
    deep = Query(
        name="q", command={"serverStatus": 1}, unfold="locks", labels={"lock": "key"},
        metrics=(MetricDefinition(name="m", value=("gone.r", "held.r")),),
    )  # fmt: skip
    found = to_metrics(deep, [answer], target(database_type="mongodb"))
    assert {each.tags["lock"]: each.value for each in found} == {"Global": 3, "Database": 4}


TOP = query(
    labels={"who": "who"},
    metrics=(MetricDefinition(name="calls", type="counter", value="n"),),
    top=TopN(key=("who",), by="n", keep=50, admit_per_hour=10),
)


def test_ten_thousand_keys_that_churn_are_few_series_a_day() -> None:
    memory: dict[Any, Any] = {}
    seen: set[str] = set()
    others = []
    for minute in range(0, 24 * 60, 10):
        fresh = [{"who": f"{minute}-{n}", "n": n + minute} for n in range(70)]
        steady = [{"who": f"steady-{n}", "n": 1000 * (minute + 1) * (n + 1)} for n in range(40)]
        where = target(memory=memory, now=NOW + timedelta(minutes=minute))
        found = to_metrics(TOP, [*fresh, *steady], where)
        assert len(found) <= 51
        seen |= {each.tags["who"] for each in found}
        others += [each for each in found if each.tags["who"] == "other"]
    assert 144 * 70 > 10_000
    assert len(seen) <= 50 + 24 * 10 + 1
    assert {f"steady-{n}" for n in range(40)} <= seen
    assert [each.value for each in others] == sorted(each.value for each in others), "the rest only grows"
    assert {each.start_timestamp for each in others} == {NOW}


def test_what_is_not_shown_one_by_one_is_added_up_by_what_it_grows() -> None:
    small = query(metrics=TOP.metrics, top=TopN(key=("who",), by="n", keep=1, admit_per_hour=0))
    memory: dict[Any, Any] = {}
    to_metrics(small, [{"who": "a", "n": 100}, {"who": "b", "n": 5}], target(memory=memory))
    found = to_metrics(
        small, [{"who": "a", "n": 130}, {"who": "b", "n": 8}, {"who": "c", "n": 2}], target(memory=memory)
    )
    assert {each.tags["who"]: each.value for each in found} == {"a": 130, "other": 5}
    after = to_metrics(small, [{"who": "a", "n": 130}, {"who": "b", "n": 1}], target(memory=memory))
    assert {each.tags["who"]: each.value for each in after} == {"a": 130, "other": 6}, "b was reset, c forgotten"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT * FROM t WHERE a = 'x''y' AND b = 17", "SELECT * FROM t WHERE a = ? AND b = ?"),
        ("ALTER ROLE app PASSWORD 'canary'", "ALTER ROLE app PASSWORD ?"),
        ("SELECT $1, \"Odd 'name\", t1.c2 FROM t1 -- 'canary'", 'SELECT $1, "Odd \'name", t1.c2 FROM t1'),
        ("DO $a$ canary $$ $a$ /* canary */", "DO ?"),
        ("SELECT E'can\\'ary', 1.5e3, 0xCAFE", "SELECT ?, ?, ?"),
        ("SELECT N'名前' FROM 表", "SELECT ? FROM 表"),
    ],
)
def test_statements_are_shown_without_literals(statement: str, shown: str) -> None:
    assert without_literals(statement) == shown


@pytest.mark.parametrize("statement", ["SELECT 'canary", "SELECT 'a\\' canary'", "SELECT $$canary", "SELECT /* canary"])
def test_a_statement_that_cannot_be_taken_apart_for_sure_is_a_hash(statement: str) -> None:
    assert without_literals(statement).startswith("(statement ")
    assert "canary" not in without_literals(statement)


@given(st.text(alphabet="ab'\"$/*-\\E1 \n", max_size=30))
def test_no_literal_of_any_statement_is_shown(around: str) -> None:
    assert "canary" not in without_literals(f"SELECT 'canary' {around.replace(chr(39), '')}")


def test_a_text_is_told_once_however_many_members_share_it() -> None:
    top = StickyTop(TopN(key=("database", "id"), by="n"), ["n"])
    top.split([{"database": "shop", "id": 1, "n": 5}], NOW)
    assert top.unreported("id") == {1}
    top.mark_reported([1])
    rows = [{"database": database, "id": id, "n": 9} for database, id in (("shop", 1), ("stock", 1), ("stock", 2))]
    top.split(rows, NOW)
    assert len(top.members) == 3
    assert top.unreported("id") == {2}
