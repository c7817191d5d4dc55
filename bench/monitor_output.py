"""Metrics of databases, from a list of objects to a real broker: what each costs in CPU time, threads included."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime, timezone
from statistics import median
from typing import Any

from bench.brokers import broker
from bench.harness import AT_LEAST, Bar, Effort, Row, expect, percentile
from gds_monitor import KafkaOutput, Metric
from tests.services.kafka import KafkaBroker

__all__ = ["output"]

_METRICS = 100_000
_INSTANCES = 100
_FORMS: dict[str, dict[str, Any]] = {"JSON": {}, "Avro": {"format": "avro", "schema_id": 1}}


def _batch() -> list[Metric]:
    """What a cycle of many instances brings: a name, three tags, a unit."""
    now = datetime.now(timezone.utc)
    return [
        Metric(
            "postgresql.tup_returned",
            number,
            f"db-{number % _INSTANCES}.example.com",
            "postgresql",
            timestamp=now,
            tags={"db.system.name": "postgresql", "db.namespace": "orders", "server.address": "db.example.com"},
            unit="{row}",
            metric_type="counter",
            start_timestamp=now,
            collection_duration_ms=12.5,
            correlation_id="5f0c2d7e-1f5b-4a58-9f6c-6f0d0a4b8a11",
        )
        for number in range(_METRICS)
    ]


async def _write(kafka: KafkaBroker, environment: str, batch: list[Metric], settings: dict[str, Any]) -> float:
    """Metrics for a second of CPU time, from the list to the broker's answer."""
    output = KafkaOutput(kafka.bootstrap_servers, environment=environment, buffer_memory=1 << 30, **settings)
    await output.write(batch[:1])
    expect("left of the first", await output.flush(60), 0)
    before = time.process_time()
    result = await output.write(batch)
    left = await output.flush(60)
    taken = time.process_time() - before
    expect("published", (result.published, left), (len(batch), 0))
    await output.close()
    return len(batch) / taken


def output(effort: Effort) -> list[Row]:
    """`KafkaOutput.write` and `flush`, as JSON and as Avro."""
    rounds = max(3, effort.long_rounds // 3)
    batch = _batch()
    rows = []
    with broker() as kafka:
        for form, settings in _FORMS.items():
            rates: list[float] = []
            for number in range(rounds):
                environment = f"{form.lower()}-{number}"
                rates.append(asyncio.run(_write(kafka, environment, batch, settings)))
                if number == 0:
                    found = kafka.read(f"gds.metrics.postgresql.{environment}")
                    expect("metrics read back", len(found), _METRICS + 1)
                    if form == "JSON":
                        last = json.loads(found[-1].value or b"")
                        expect("the last metric", (last["value"], last["tags"]), (_METRICS - 1, batch[-1].tags))
            name = f"list of Metric to delivered, {form}, for a second of CPU time"
            low, high = percentile(rates, 10), percentile(rates, 90)
            rows.append(Row(name=name, ours=median(rates), unit="/s", bar=Bar(AT_LEAST, 300_000), low=low, high=high))
    return rows
