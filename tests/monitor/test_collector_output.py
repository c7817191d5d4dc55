"""Metrics of databases on a page, and sent to a receiver of OpenTelemetry."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any

import pytest

from gds_monitor import Metric, OtlpOutput, OutputHandler, PrometheusOutput, WriteResult
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
    for commits in (10, 15, 3):  # and began anew
        batch = [metric("postgresql.commits", commits, **counter), metric("postgresql.backends", commits)]
        assert await output.write(batch) == WriteResult(published=2)
    page = await asyncio.to_thread(scraped, output.port)
    names = 'database_type="postgresql",instance_id="pg-1"'
    assert f"postgresql_backends{{{names}}} 3.0" in page
    assert 'postgresql_commits_total{database_type="postgresql",db_namespace="app",instance_id="pg-1"} 18.0' in page
    await output.close()
    await output.close()
    assert await output.write([metric("m", 1)]) == WriteResult(dropped={"closed": 1})


async def test_what_is_no_number_is_dropped_and_a_secret_is_not_shown() -> None:
    output = PrometheusOutput(start_server=False, redact=[r"employee (\d+)"])
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
