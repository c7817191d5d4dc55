"""The contracts in schemas/ are well-formed, and refuse what is none of theirs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kafka.schemas import NAMES, problems, schema

METRIC: dict[str, Any] = {"timestamp": 1.5, "type": "counter", "name": "a", "value": 1.0, "labels": {"l": "v"}}
AGGREGATE = METRIC | {
    "type": "histogram",
    "interval_seconds": 10.0,
    "count": 2,
    "sum": 2.0,
    "min": 0.5,
    "max": 1.5,
    "buckets": {"1": 1, "+Inf": 2},
}
LOG: dict[str, Any] = {
    "timestamp": 1.5,
    "logger": "app",
    "level": "INFO",
    "message": "done",
    "path": "app.py",
    "lineno": 7,
}
LETTER = {
    "dlq.error": "too large",
    "dlq.topic": "orders",
    "dlq.partition": "-1",
    "dlq.offset": "-1",
    "dlq.timestamp": "1700000000000",
    "dlq.attempts": "1",
    "traceparent": "00-1-1-00",
}
DATABASE: dict[str, Any] = {
    "timestamp": "2026-03-01T12:00:00.250Z",
    "database_type": "postgresql",
    "instance_id": "pg-1",
    "metric_name": "postgresql.backends",
    "value": 7,
    "tags": {"db.namespace": "app"},
    "metadata": {"collection_duration_ms": 12, "version": "1.0", "correlation_id": None},
    "unit": "{backend}",
    "metric_type": "gauge",
    "start_timestamp": None,
}
HEARTBEAT = {
    "timestamp": "2026-03-01T12:00:00.250Z",
    "collector": "postgresql",
    "instance_id": "pg-1",
    "database_type": "postgresql",
    "topic": "gds.metrics.postgresql.production",
    "status": "ok",
    "interval_ms": 30000,
}
TEXT = {
    "type": "postgresql.statement",
    "data": {
        "timestamp": "2026-03-01T12:00:00.250Z",
        "database_type": "postgresql",
        "instance_id": "pg-1",
        "attributes": {"db.query.id": "42"},
        "text": "SELECT $1",
    },
}
TRANSITION = {
    "correlation_id": "c1",
    "alert_key": "cpu:pg-1",
    "rule_id": "cpu",
    "transition_id": "t1",
    "severity": "critical",
    "state": "firing",
    "labels": {"team": "db"},
    "annotations": {},
    "starts_at": "2026-03-01T12:00:00.250Z",
}
ALERT = {"type": "alert.triggered", "data": TRANSITION}
LONG = {"id": "m1", "type": "request", "source": "dashboard", "event_type": "metrics.query", "payload": {"query": "up"}}


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value[each] for each in value if each != name}


def test_there_is_a_schema_for_each_message() -> None:
    assert NAMES == [
        "alert-rules.json",
        "alert.json",
        "database-metric.json",
        "database-text.json",
        "dead-letter.json",
        "event.json",
        "heartbeat.json",
        "log.json",
        "metric.json",
        "monitor.json",
        "pack.json",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_says_which_draft_it_is_and_what_it_is_about(name: str) -> None:
    loaded = schema(name)
    assert loaded["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert loaded["$id"] == f"urn:gds-telemetry:schemas:{name.removesuffix('.json')}"
    assert loaded["title"]
    assert loaded["description"]
    assert set(loaded["required"]) <= set(loaded["properties"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metric.json", METRIC),
        ("metric.json", METRIC | {"labels": {}}),
        ("metric.json", METRIC | {"value": None, "non_finite": "NaN"}),
        ("metric.json", AGGREGATE),
        ("log.json", LOG),
        (
            "log.json",
            LOG | {"exception": {"type": "ValueError", "message": "no", "traceback": "..."}, "extra": {"a": 1}},
        ),
        ("log.json", LOG | {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1"}),
        ("dead-letter.json", LETTER),
        ("dead-letter.json", LETTER | {"dlq.partition": "0", "dlq.offset": "17"}),
        ("database-metric.json", DATABASE),
        ("database-metric.json", DATABASE | {"value": None, "non_finite": "NaN", "start_timestamp": "2026-01-01"}),
        ("heartbeat.json", HEARTBEAT),
        ("heartbeat.json", HEARTBEAT | {"status": "failed", "reason": "permission_denied"}),
        ("database-text.json", TEXT),
        ("event.json", TEXT),
        ("alert.json", ALERT),
        ("event.json", ALERT),
        ("event.json", LONG),
    ],
)
def test_what_is_meant_is_accepted(name: str, value: dict[str, Any]) -> None:
    assert problems(name, value) == []


@pytest.mark.parametrize(
    ("name", "value", "at"),
    [
        *(("metric.json", without(METRIC, field), f"$.{field}") for field in METRIC),
        ("metric.json", METRIC | {"type": "summary"}, "$.type"),
        ("metric.json", METRIC | {"value": None}, "$.non_finite"),
        ("metric.json", METRIC | {"non_finite": "NaN"}, "$.non_finite"),
        ("metric.json", METRIC | {"value": True}, "$.value"),
        ("metric.json", METRIC | {"value": float("nan"), "non_finite": "NaN"}, "$.value"),
        ("metric.json", METRIC | {"labels": {"n": 1}}, "$.labels.n"),
        ("metric.json", METRIC | {"host": "x"}, "$.host"),
        ("metric.json", AGGREGATE | {"buckets": {"1": 1}}, "$.buckets.+Inf"),
        ("metric.json", AGGREGATE | {"buckets": {"one": 1, "+Inf": 1}}, "$.buckets.one"),
        ("metric.json", AGGREGATE | {"count": 0}, "$.count"),
        *(("log.json", without(LOG, field), f"$.{field}") for field in LOG),
        ("log.json", LOG | {"trace_id": "7"}, "$.trace_id"),
        ("log.json", LOG | {"extra": {}}, "$.extra"),
        ("log.json", LOG | {"exception": {"type": "ValueError"}}, "$.exception"),
        ("dead-letter.json", without(LETTER, "dlq.offset"), "$.dlq.offset"),
        ("dead-letter.json", LETTER | {"dlq.attempts": "0"}, "$.dlq.attempts"),
        ("dead-letter.json", LETTER | {"dlq.offset": "-2"}, "$.dlq.offset"),
        *(("database-metric.json", without(DATABASE, field), f"$.{field}") for field in DATABASE),
        ("database-metric.json", DATABASE | {"timestamp": "2026-03-01T12:00:00+01:00"}, "$.timestamp"),
        ("database-metric.json", DATABASE | {"value": None}, "$.non_finite"),
        ("database-metric.json", DATABASE | {"host": "x"}, "$.host"),
        *(("heartbeat.json", without(HEARTBEAT, field), f"$.{field}") for field in HEARTBEAT),
        ("heartbeat.json", HEARTBEAT | {"status": "well"}, "$.status"),
        *(("alert.json", ALERT | {"data": without(TRANSITION, field)}, f"$.data.{field}") for field in TRANSITION),
        ("alert.json", ALERT | {"type": "alert.acknowledged"}, "$.type"),
        ("database-text.json", TEXT | {"data": {}}, "$.data"),
        ("database-text.json", without(TEXT, "type"), "$.type"),
        ("event.json", without(LONG, "id"), "$.id"),
        ("event.json", {"type": "alert.triggered"}, "$.data"),
    ],
)
def test_what_is_not_meant_is_refused_where_it_is_wrong(name: str, value: dict[str, Any], at: str) -> None:
    found = problems(name, value)
    assert any(problem.startswith(at) for problem in found), found
