"""What queries answer: dicts, tables, and errors that say where."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gds_store import QueryResult, Store, StoreQueryError, StoreSyntaxError, StoreTimeoutError

NOON = 1_750_000_000.0
HISTOGRAM = {"schema": 0, "count": 3, "sum": 4.5, "positive": {1: 2, 0: 1}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "series", retention_seconds=1e10) as opened:
        for minute in range(10):
            for job, factor in (("api", 1), ("web", 2)):
                opened.append("requests_total", 60 * factor * minute, {"job": job}, NOON + 60 * minute)
        yield opened


def test_a_vector_is_a_dict_for_each_series(store: Store) -> None:
    answer = store.query("rate(requests_total[5m])", NOON + 540)
    assert (answer.type, len(answer), answer.warnings, answer.infos) == ("vector", 2, [], [])
    assert list(answer) == [
        {"labels": {"job": "api"}, "timestamp": NOON + 540, "value": 1.0},
        {"labels": {"job": "web"}, "timestamp": NOON + 540, "value": 2.0},
    ]
    assert answer[-1] == answer[1]
    for index in (2, -3):
        with pytest.raises(IndexError):
            answer[index]
    assert repr(answer) == "QueryResult(vector, 2 series)"


def test_a_matrix_has_pairs_of_time_and_value(store: Store) -> None:
    answer = store.query_range('requests_total{job="api"} > 60', NOON, NOON + 180, 60)
    assert answer.type == "matrix"
    assert list(answer) == [
        {
            "labels": {"__name__": "requests_total", "job": "api"},
            "values": [(NOON + 120, 120.0), (NOON + 180, 180.0)],
        }
    ]


def test_numbers_and_texts_are_answers(store: Store) -> None:
    scalar, text = store.query("1 + 1", NOON), store.query('"hello"', NOON)
    assert (scalar.type, scalar[0]["value"], text.type, text[0]["value"]) == ("scalar", 2.0, "string", "hello")
    assert math.isnan(store.query("0 / 0", NOON)[0]["value"])
    assert len(store.query("nothing", NOON)) == 0


def test_annotations_say_where(store: Store) -> None:
    store.append_many(("requests", at, None, NOON - 60 + at) for at in (0, 60))
    [info] = store.query("rate(requests[5m])", NOON).infos
    assert "might not be a counter" in info
    assert info.endswith("(1:6)")
    [warning] = store.query("quantile(2, requests)", NOON).warnings
    assert "quantile value should be between 0 and 1" in warning


@pytest.mark.parametrize(
    ("expression", "place", "match"),
    [
        ("ratee(requests_total[5m])", (1, 1, 6), 'did you mean "rate"'),
        ("sum(\n  up +)", (2, 7, 8), "2:7: parse error"),
        ("rate(up)", (1, 6, 8), "range vector"),
        ("up[0s]", (1, 4, 6), "duration"),
        ("", (1, 1, 1), "no expression"),
    ],
)
def test_an_error_says_where_in_the_query(
    store: Store, expression: str, place: tuple[int, int, int], match: str
) -> None:
    with pytest.raises(StoreSyntaxError, match=match) as refused:
        store.query(expression, NOON)
    error = refused.value
    assert (error.expression, (error.line, error.column, error.end_column)) == (expression, place)
    assert isinstance(error, ValueError)


def test_a_selector_that_is_none_is_such_an_error(store: Store) -> None:
    for use in (store.series, store.delete):
        with pytest.raises(StoreSyntaxError) as refused:
            use("up{job=api}")
        assert (refused.value.line, refused.value.column) == (1, 8)


def test_a_query_that_has_no_answer_says_so(store: Store) -> None:
    store.append("up", 1, {"job": "api"}, NOON)
    with pytest.raises(StoreQueryError, match=r"many-to-many|duplicate series") as refused:
        store.query("requests_total * on() requests_total", NOON)
    assert refused.value.line is None


def test_what_a_query_may_use_is_limited(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"retention_seconds": 1e10, "max_samples": 5, "max_bytes": 100_000}
    with Store(tmp_path / "series", **limits) as store:
        store.append_many(("up", 1, None, NOON + at) for at in range(10))
        with pytest.raises(StoreQueryError, match="max_samples"):
            store.query("count_over_time(up[1m])", NOON + 10)
        with pytest.raises(StoreQueryError, match="max_bytes"):
            store.query_range("up", NOON, NOON + 100_000, 1)
    with (
        Store(tmp_path / "series", retention_seconds=1e10, timeout_seconds=1e-9) as store,
        pytest.raises(StoreTimeoutError) as late,
    ):
        store.query("up", NOON)
    assert isinstance(late.value, TimeoutError)
    assert late.value.retriable


# ------------------------------------------------------------------ as a table
def rows(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_arrow_has_a_row_for_each_sample_and_a_column_for_each_label(store: Store) -> None:
    table = pa.table(store.query_range("requests_total", NOON, NOON + 60, 60))
    assert table.schema.names == ["timestamp", "__name__", "job", "value"]
    assert table.schema.field("timestamp").type == pa.timestamp("ms", "UTC")
    assert table.schema.field("job").type == pa.dictionary(pa.int32(), pa.string())
    assert [(row["timestamp"].timestamp(), row["job"], row["value"]) for row in rows(table)] == [
        (NOON, "api", 0.0),
        (NOON + 60, "api", 60.0),
        (NOON, "web", 0.0),
        (NOON + 60, "web", 120.0),
    ]
    table.validate(full=True)


def test_a_label_that_a_series_has_not_is_null_and_one_of_our_names_is_called_otherwise(store: Store) -> None:
    store.append("odd", 1, {"value": "a", "exported_value": "b"}, NOON)
    store.append("odd", 2, {"timestamp": "c"}, NOON)
    table = pa.table(store.query("odd", NOON))
    assert [{name: value for name, value in row.items() if name != "timestamp"} for row in rows(table)] == [
        {
            "__name__": "odd",
            "exported_timestamp": None,
            "exported_value": "b",
            "exported_exported_value": "a",
            "value": 1.0,
        },
        {
            "__name__": "odd",
            "exported_timestamp": "c",
            "exported_value": None,
            "exported_exported_value": None,
            "value": 2.0,
        },
    ]


def test_histograms_are_dicts_and_a_column_of_their_own(store: Store) -> None:
    store.append("seconds", HISTOGRAM, {"job": "api"}, NOON)
    store.append("seconds", 7, {"job": "web"}, NOON)
    answer = store.query("seconds", NOON)
    expected = {"count": 3.0, "sum": 4.5, "buckets": [(0.5, 1.0, 1.0), (1.0, 2.0, 2.0)]}
    assert answer[0]["value"] == expected
    table = pa.table(answer)
    table.validate(full=True)
    first, second = rows(table)
    assert (first["value"], second["value"], second["histogram"]) == (None, 7.0, None)
    assert first["histogram"] == {
        "count": 3.0,
        "sum": 4.5,
        "buckets": [{"lower": 0.5, "upper": 1.0, "count": 1.0}, {"lower": 1.0, "upper": 2.0, "count": 2.0}],
    }
    assert store.query("histogram_quantile(1, seconds)", NOON)[0]["value"] == 2.0


def test_answers_without_series_and_without_labels_are_tables(store: Store) -> None:
    assert rows(pa.table(store.query("nothing", NOON))) == []
    assert [row["value"] for row in rows(pa.table(store.query("2", NOON)))] == [2.0]
    assert [row["value"] for row in rows(pa.table(store.query('"two"', NOON)))] == ["two"]


def test_polars_pandas_and_duckdb_read_it(store: Store) -> None:
    answer = store.query_range("requests_total", NOON, NOON + 540, 60)
    frame = pl.DataFrame(answer)
    assert frame.group_by("job").agg(pl.col("value").sum()).sort("job").rows() == [("api", 2700.0), ("web", 5400.0)]
    table = pd.DataFrame(pa.table(answer).to_pandas())
    assert table.groupby("job", observed=True)["value"].sum().to_dict() == {"api": 2700.0, "web": 5400.0}
    with duckdb.connect() as connection:
        connection.register("answer", pa.RecordBatchReader.from_stream(answer))
        found = connection.sql("select job::varchar, sum(value) from answer group by 1 order by 1").fetchall()
    assert found == [("api", 2700.0), ("web", 5400.0)]


def test_a_stream_that_nobody_reads_and_one_that_outlives_its_store_are_no_trouble(tmp_path: Path) -> None:
    store = Store(tmp_path / "series", retention_seconds=1e10)
    store.append("up", 1, None, NOON)
    answer: QueryResult = store.query("up", NOON)
    answer.__arrow_c_stream__()
    reader = pa.RecordBatchReader.from_stream(answer)
    store.close()
    del store, answer
    assert reader.read_all().to_pylist()[0]["value"] == 1.0
