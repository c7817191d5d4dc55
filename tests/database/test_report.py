"""What engines tell collectors and tracers, with OpenTelemetry's names."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gds_database import QueryError
from gds_metrics import PrometheusMetrics
from tests.database.doubles import SqliteConnection, SqliteEngine

SERVER = {"db.system.name": "sqlite", "server.address": "here", "server.port": "1", "db.namespace": "main"}


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, float, dict[str, str]]] = []

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        self.calls.append((name, value_ms, dict(labels or {})))


def test_each_statement_is_timed_with_what_it_was_and_where() -> None:
    recorder = Recorder()
    with SqliteEngine(SqliteConnection(), metrics=recorder) as engine:
        engine._execute("CREATE TABLE t (a)")
        engine._query("\n select 1", columns=("a",))
        engine._query("SELECT 1", columns=("a",), operation="ping")
        with pytest.raises(QueryError):
            engine._execute("SELECT canary FROM nowhere")
    names, values, labels = zip(*recorder.calls, strict=True)
    assert set(names) == {"db.client.operation.duration"}
    assert all(value > 0 for value in values)
    assert [each.pop("db.operation.name") for each in labels] == ["CREATE", "SELECT", "ping", "SELECT"]
    assert [each.pop("error.type", None) for each in labels] == [None, None, None, "OperationalError"]
    assert list(labels) == [SERVER] * 4
    assert "canary" not in repr(recorder.calls)


def test_the_code_of_the_server_is_the_type_of_an_error() -> None:
    class Refused(sqlite3.Error):
        sqlstate = "42501"

    class Refusing(SqliteConnection):
        def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
            raise Refused("no")

    recorder = Recorder()
    with SqliteEngine(Refusing(), metrics=recorder) as engine, pytest.raises(QueryError):
        engine._execute("SELECT 1")
    assert recorder.calls[0][2]["error.type"] == "42501"


def test_prometheus_shows_seconds() -> None:
    metrics = PrometheusMetrics(start_server=False)
    with SqliteEngine(SqliteConnection(), metrics=metrics) as engine:
        engine._query("SELECT 1", columns=("a",))
    page = metrics.render().decode()
    assert 'gds_db_client_operation_duration_count{db_namespace="main",db_operation_name="SELECT"' in page
    assert "Timing db.client.operation.duration in seconds." in page


def test_a_collector_that_raises_breaks_nothing_and_is_mentioned_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
            raise ValueError("canary")

    with caplog.at_level(logging.WARNING), SqliteEngine(SqliteConnection(), metrics=Broken()) as engine:
        for _ in range(3):
            assert engine._query("SELECT 1", columns=("a",)) == [{"a": 1}]
    assert caplog.messages == ["the collector raised ValueError; further failures of it are not mentioned"]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def test_each_statement_is_a_span_where_spans_are_recorded(spans: InMemorySpanExporter) -> None:
    with SqliteEngine(SqliteConnection()) as engine:
        engine._query("SELECT 1", columns=("a",))
        with pytest.raises(QueryError):
            engine._execute("DELETE FROM nowhere")
    good, bad = spans.get_finished_spans()
    assert (good.name, good.kind) == ("SELECT main", trace.SpanKind.CLIENT)
    assert good.attributes == {**SERVER, "db.operation.name": "SELECT"}
    assert good.status.status_code is trace.StatusCode.UNSET
    assert bad.attributes == {**SERVER, "db.operation.name": "DELETE", "error.type": "OperationalError"}
    assert bad.status.status_code is trace.StatusCode.ERROR
    assert bad.status.description is None


def test_nobody_who_records_means_no_spans(spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = trace.ProxyTracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: proxy)
    with SqliteEngine(SqliteConnection()) as engine:
        engine._query("SELECT 1", columns=("a",))
    assert spans.get_finished_spans() == ()
