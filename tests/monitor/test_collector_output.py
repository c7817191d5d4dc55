"""Metrics of databases on a page, and sent to a receiver of OpenTelemetry."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any

import pytest

from gds_monitor import Metric, OtlpOutput, OutputHandler, PrometheusOutput, WriteResult, collector_output
from tests.metrics.test_otlp import data_points, endpoint_of
from tests.services.run import OtelCollector

pytestmark = pytest.mark.anyio


def metric(name: str, value: Any, **fields: Any) -> Metric:
    return Metric(name, value, "pg-1", "postgresql", **fields)


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        page: bytes = answer.read()
    return page.decode()


async def test_a_page_has_gauges_and_counters_with_their_tags() -> None:
    output = PrometheusOutput(0, addr="127.0.0.1")
    assert isinstance(output, OutputHandler)
    counter = {"metric_type": "counter", "tags": {"db.namespace": "app"}}
    for commits in (10, 15, 3):  # as the database has them, which began anew
        batch = [metric("postgresql.commits", commits, **counter), metric("postgresql.backends", commits)]
        assert await output.write(batch) == WriteResult(published=2)
    page = await asyncio.to_thread(scraped, output.port)
    names = 'database_type="postgresql",instance_id="pg-1"'
    assert f"postgresql_backends{{{names}}} 3.0" in page
    assert 'postgresql_commits_total{database_type="postgresql",db_namespace="app",instance_id="pg-1"} 3.0' in page
    await output.close()
    await output.close()
    assert await output.write([metric("m", 1)]) == WriteResult(dropped={"closed": 1})


async def test_what_is_no_number_is_dropped_and_a_secret_is_not_shown() -> None:
    output = PrometheusOutput(start_server=False, aliases=False, redact=[r"employee (\d+)"])
    wrong = [metric("m", None), metric("m", "x"), metric("m", -1, metric_type="counter")]
    secret = [
        metric("a", 1, tags={"dsn": "postgresql://app:Hunter2-canary@db/app"}),
        metric("b", 1, tags={"password": "Hunter2-canary"}),
        metric("c", 1, tags={"who": "employee 47110815"}),
    ]
    assert await output.write(wrong + secret) == WriteResult(published=3, dropped={"invalid_value": 3}, scrubbed=3)
    page = output.render()
    assert b"Hunter2" not in page
    assert b"47110815" not in page
    assert b"@db/app" in page
    await output.close()


async def test_a_receiver_of_opentelemetry_gets_them(otel_collector: OtelCollector) -> None:
    output = OtlpOutput(endpoint=endpoint_of(otel_collector, "http/protobuf"), protocol="http/protobuf")
    assert await output.write([metric("postgresql.backends", 7)]) == WriteResult(published=1)
    await output.close()
    [received, *_] = otel_collector.wait_for("postgresql.backends")
    assert [point["asDouble"] for point in data_points(received.metric)] == [7]


async def test_a_receiver_gets_what_counters_grew_by_since_they_were_first_seen(otel_collector: OtelCollector) -> None:
    output = OtlpOutput(endpoint=endpoint_of(otel_collector, "http/protobuf"), protocol="http/protobuf")
    for commits in (1000, 1005, 3):  # and began anew
        await output.write([metric("postgresql.commits", commits, metric_type="counter", unit="{transaction}")])
    await output.close()
    [received, *_] = otel_collector.wait_for("postgresql.commits")
    assert [point["asDouble"] for point in data_points(received.metric)] == [8]
    assert received.metric["unit"] == "{transaction}"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_what_is_not_measured_any_more_leaves_the_page_by_how_often_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(collector_output, "time", clock)
    output = PrometheusOutput(start_server=False, longest_interval_seconds=3600)

    def often(*sessions: str) -> list[Metric]:
        return [metric("sessions", 1, tags={"state": state}) for state in sessions]

    async def after(seconds: float, metrics: list[Metric]) -> str:
        clock.now += seconds
        await output.write(metrics)
        return output.render().decode()

    await after(0, [*often("idle", "active"), metric("bloat", 1)])
    page = await after(30, often("idle"))
    assert 'state="active"' in page
    # A state that no session has any more is gone after five minutes; what is measured every hour is not.
    for _ in range(12):
        page = await after(30, often("idle"))
    assert 'state="active"' not in page
    assert 'state="idle"' in page
    assert "bloat" in page
    await after(3600, [*often("idle"), metric("bloat", 2)])
    for _ in range(12):
        page = await after(300, often("idle"))
    assert "bloat{" in page
    for _ in range(24):
        page = await after(300, often("idle"))
    assert "bloat{" not in page
    await output.close()


async def test_a_page_has_the_names_of_other_exporters_too() -> None:
    output = PrometheusOutput(start_server=False)
    written = await output.write(
        [
            metric("monitor.up", 1, tags={"environment": "production"}),
            metric("postgresql.commits", 5, metric_type="counter", tags={"db.namespace": "app"}),
            metric("postgresql.bgwriter.buffers.writes", 7, metric_type="counter", tags={"source": "bgwriter"}),
        ]
    )
    assert written == WriteResult(published=3)
    lines = output.render().decode().splitlines()
    names = 'database_type="postgresql",instance_id="pg-1"'
    assert f"pg_up{{{names}}} 1.0" in lines
    # Theirs is a counter without a suffix, which a page has for gauges only.
    assert 'pg_stat_database_xact_commit{database_type="postgresql",datname="app",instance_id="pg-1"} 5.0' in lines
    assert f"pg_stat_bgwriter_buffers_clean_total{{{names}}} 7.0" in lines
    await output.close()
    plain = PrometheusOutput(start_server=False, aliases=False)
    await plain.write([metric("monitor.up", 1)])
    assert b"pg_up" not in plain.render()
    await plain.close()
