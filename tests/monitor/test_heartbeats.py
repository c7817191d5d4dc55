"""That collectors live, and the texts that are told once, on their way to the hub."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import KafkaConsumerClient
from gds_monitor import KafkaOutput, WriteResult
from gds_monitor.base import BaseMonitor, Outcome
from gds_monitor.collectors.postgresql import PostgreSQLCollector
from gds_monitor.heartbeat import Heartbeat
from gds_monitor.output import EventHandler
from gds_monitor.packs.execute import TextEvent
from gds_monitor.scheduler import MonitoringScheduler
from tests.kafka.schemas import problems
from tests.metrics.doubles import Recorder
from tests.monitor.clock import FakeClock, settled
from tests.monitor.doubles import Counting, Kept
from tests.monitor.postgresql import url
from tests.services.fixtures import PostgreSQLFactory

pytestmark = pytest.mark.anyio

INTERVAL = 30.0
LONG = 60.0


class Listening(Kept):
    """An output that keeps heartbeats and texts, too."""

    def __init__(self) -> None:
        super().__init__()
        self.heartbeats: list[Heartbeat] = []
        self.texts: list[TextEvent] = []

    async def beat(self, heartbeats: Sequence[Heartbeat]) -> WriteResult:
        self.heartbeats += heartbeats
        return WriteResult(published=len(heartbeats))

    async def tell(self, texts: Sequence[TextEvent]) -> WriteResult:
        self.texts += texts
        return WriteResult(published=len(texts))


class Planning(Counting):
    """Has the outcomes that a test says."""

    said: Sequence[Outcome] = ()

    @property
    def planned(self) -> int | None:
        return len(self.said) or None

    @property
    def outcomes(self) -> Sequence[Outcome]:
        return self.said


def received(hub: str, topic: str, instance: str, count: int) -> list[dict[str, Any]]:
    """So many messages of an instance; others share the topic."""
    found = []
    with KafkaConsumerClient(topic, hub, value_deserializer=bytes, auto_offset_reset="earliest") as consumer:
        for message in consumer:
            if message["key"] == instance:
                found.append(message)
            if len(found) == count:
                break
    return found


async def test_each_cycle_has_a_heartbeat_whatever_it_brought() -> None:
    clock, output, collector = FakeClock(), Listening(), Planning()
    assert isinstance(output, EventHandler)
    recorder = Recorder()
    scheduler = MonitoringScheduler(clock=clock, metrics=recorder)
    scheduler.schedule_job("one", collector, INTERVAL, [output, Kept()])
    await scheduler.start()

    async def beat() -> tuple[str, str | None]:
        output.heartbeats.clear()
        await clock.advance(INTERVAL)
        (told,) = output.heartbeats
        assert (told.collector, told.instance_id, told.interval_seconds) == ("Planning", "one", INTERVAL)
        return told.status, told.reason

    await clock.advance(INTERVAL)
    assert await beat() == ("ok", None)
    (cycle,) = {metric.correlation_id for metric in output.metrics[-1:]}
    assert (output.heartbeats[0].correlation_id, output.heartbeats[0].metrics) == (cycle, 1)
    collector.said = [Outcome("a"), Outcome("b", reason="privilege"), Outcome("c", reason="role")]
    assert await beat() == ("partial", "privilege")
    collector.said = [Outcome("a", reason="connection")]
    assert await beat() == ("failed", "connection")
    collector.said, collector.error = (), OSError("the server is away")
    assert await beat() == ("failed", "error")
    collector.error, collector.gate, collector.deaf = None, asyncio.Event(), True
    output.heartbeats.clear()
    await clock.advance(3 * INTERVAL)
    assert {(told.status, told.reason) for told in output.heartbeats} == {
        ("failed", "deadline"),
        ("skipped", "still_running"),
    }
    assert len(output.heartbeats) == 3
    collector.gate.set()
    await settled()
    await scheduler.stop()
    sent = [call.labels for call in recorder.calls if call.name == "monitor.heartbeats"]
    assert {"status": "partial"} in sent


async def test_heartbeats_are_on_the_hub_as_their_schema_says(any_hub: str) -> None:
    instance = f"pg-{secrets.token_hex(4)}"
    output = KafkaOutput(any_hub, environment="production")
    scheduler = MonitoringScheduler()
    scheduler.schedule_job(instance, Counting(instance), INTERVAL, [output])
    await scheduler.trigger(instance)
    await scheduler.trigger(instance)
    await scheduler.stop()
    assert await output.flush(LONG) == 0
    await output.close()
    values = [json.loads(each["value"]) for each in received(any_hub, "gds.heartbeats", instance, 2)]
    assert [problems("heartbeat.json", value) for value in values] == [[], []]
    for value in values:
        assert (value["topic"], value["status"]) == ("gds.metrics.postgresql.production", "ok")
        assert (value["collector"], value["interval_ms"], value["metrics"]) == ("Counting", 30_000, 1)
        age = datetime.now(timezone.utc) - datetime.fromisoformat(value["timestamp"].replace("Z", "+00:00"))
        assert 0 <= age.total_seconds() < 3600
    metrics = received(any_hub, "gds.metrics.postgresql.production", instance, 2)
    cycles = [json.loads(each["value"])["metadata"]["correlation_id"] for each in metrics]
    assert [value["correlation_id"] for value in values] == cycles


async def test_what_becomes_of_heartbeats_and_texts_is_told(tmp_path: Path) -> None:
    output = KafkaOutput(f"embedded:{tmp_path}", topic_by="instance", redact=[r"employee (\d+)"])
    now = datetime.now(timezone.utc)
    heartbeat = Heartbeat(
        timestamp=now,
        collector="C",
        instance_id="pg-1",
        database_type="postgresql",
        status="failed",
        reason="error",
        interval_seconds=1.5,
    )
    text = TextEvent(
        name="postgresql.statement",
        instance_id="pg-1",
        database_type="postgresql",
        timestamp=now,
        attributes={"id": "1", "password": "Hunter2-canary"},
        body="SELECT 'employee 47110815'",
    )
    assert await output.beat([heartbeat]) == WriteResult(published=1)
    assert await output.tell([text]) == WriteResult(published=1, scrubbed=1)
    await output.close()
    assert await output.beat([heartbeat]) == WriteResult(dropped={"closed": 1})
    assert await output.tell([text]) == WriteResult(dropped={"closed": 1})
    hub = f"embedded:{tmp_path}"
    (beat,) = received(hub, "gds.heartbeats", "pg-1", 1)
    value = json.loads(beat["value"])
    assert (value["topic"], value["interval_ms"], value["correlation_id"]) == (
        "gds.metrics.postgresql.pg-1",
        1500,
        None,
    )
    (told,) = received(hub, "gds.texts", "pg-1", 1)
    value = json.loads(told["value"])
    assert problems("database-text.json", value) == problems("event.json", value) == []
    assert (value["type"], value["data"]["attributes"]["id"]) == ("postgresql.statement", "1")
    assert b"canary" not in told["value"]
    assert b"47110815" not in told["value"]


async def test_texts_of_a_cycle_that_was_cancelled_come_with_the_next_and_are_counted_where_there_is_no_place() -> None:
    recorder, output, collector = Recorder(), Listening(), Counting()
    monitor = BaseMonitor(collector, [output, Kept()], metrics=recorder)
    now = datetime.now(timezone.utc)
    first, second = (
        TextEvent(
            name="t", instance_id="one", database_type="postgresql", timestamp=now, attributes={}, body=f"SELECT {n}"
        )
        for n in (1, 2)
    )
    collector.events = [first]  # found, and then the cycle was cancelled
    collector.gate = asyncio.Event()
    running = asyncio.create_task(monitor.run_monitoring_cycle())
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    collector.gate.set()

    async def collects() -> list[Any]:
        collector.events = [second]
        return []

    monitor.collect_metrics = collects  # type: ignore[method-assign]
    await monitor.run_monitoring_cycle()
    assert output.texts == [first, second]
    await monitor.run_monitoring_cycle()
    assert output.texts == [first, second, second]
    told = [(call.name, call.value, call.labels) for call in recorder.calls if call.name.startswith("monitor.texts")]
    assert told[:2] == [("monitor.texts", 2, None), ("monitor.texts_dropped", 2, {"reason": "no_place"})]


async def test_the_text_of_a_real_statement_is_told_once_and_without_literals(
    postgresql_factory: PostgreSQLFactory, tmp_path: Path
) -> None:
    server = postgresql_factory({"shared_preload_libraries": "pg_stat_statements"})
    server.ask("CREATE EXTENSION pg_stat_statements")
    canary = "Hunter2-canary"
    for _ in range(20):
        server.ask(f"SELECT '{canary}' AS watched_column, pg_sleep(0.001)")
    hub = f"embedded:{tmp_path}"
    output = KafkaOutput(hub, environment="production")
    collector = PostgreSQLCollector(url(server), instance_id="pg-1")
    monitor = BaseMonitor(collector, [output])
    for cycle in range(3):
        result = await monitor.run_monitoring_cycle()
        assert not result.error
        # The pack asks for statements once a minute; here it asks each time.
        collector._last.clear()
        if not cycle:
            assert any("query" in metric.metric_name for metric in result.metrics)
    await collector.close()
    assert await output.flush(LONG) == 0
    stats = output.stats()
    await output.close()
    assert stats["pending"] == 0
    with KafkaConsumerClient(
        "gds.texts", hub, value_deserializer=bytes, auto_offset_reset="earliest", consumer_timeout_ms=2000
    ) as consumer:
        told = [message["value"] for message in consumer]
    mine = [json.loads(value) for value in told if b"watched_column" in value]
    assert len(mine) == 1
    assert mine[0]["type"] == "postgresql.statement"
    assert not any(canary.encode() in value for value in told)
    ids = [json.dumps(json.loads(value)["data"]["attributes"], sort_keys=True) for value in told]
    assert len(ids) == len(set(ids))
