"""Avro on a real Kafka with the ids of a real registry, read by Confluent's own deserializer."""

from __future__ import annotations

import json
import logging
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from gds_kafka import KafkaConsumerClient
from gds_monitor import KafkaOutput, Metric, MetricSubscriber, WriteResult
from gds_monitor.config.outputs import make_output
from gds_monitor.errors import MonitorConfigError
from gds_monitor.heartbeat import Heartbeat
from gds_monitor.registry import SchemaRegistry
from tests.services.apicurio import Apicurio
from tests.services.kafka import KafkaBroker

pytestmark = pytest.mark.anyio

SCHEMAS = Path(__file__).parents[2] / "schemas"
EXISTING = (SCHEMAS / "metrics-value.avsc").read_text("utf-8")
NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc)
LONG = 60.0


def metric(value: Any = 7, **fields: Any) -> Metric:
    return Metric("postgresql.commits", value, "pg-1", "postgresql", **fields)


def heartbeat(instance_id: str = "pg-1") -> Heartbeat:
    return Heartbeat(
        timestamp=NOON,
        collector="PostgreSQLCollector",
        instance_id=instance_id,
        database_type="postgresql",
        status="ok",
        reason=None,
        interval_seconds=30,
        metrics=1,
    )


def messages(hub: str, topic: str, key: str, count: int) -> list[bytes]:
    found: list[bytes] = []
    with KafkaConsumerClient(topic, hub, value_deserializer=bytes, auto_offset_reset="earliest") as consumer:
        for message in consumer:
            if message["key"] == key:
                found.append(message["value"])
            if len(found) == count:
                break
    return found


def environment() -> str:
    return f"test-{secrets.token_hex(4)}"


def number_of(frame: bytes) -> int:
    assert frame[0] == 0
    return int.from_bytes(frame[1:5], "big")


async def written(output: KafkaOutput, *metrics: Metric) -> WriteResult:
    result = await output.write(metrics)
    assert await output.flush(LONG) == 0
    return result


async def test_confluents_deserializer_reads_it_with_our_schema_and_with_the_one_that_there_was(
    kafka: KafkaBroker, apicurio: Apicurio, tmp_path: Path
) -> None:
    name, instance = environment(), f"pg-{secrets.token_hex(4)}"
    topic = f"gds.metrics.postgresql.{name}"
    # What a registry has of the programs that were there before.
    before = apicurio.register(f"{topic}-value", EXISTING)
    output = KafkaOutput(
        kafka.bootstrap_servers,
        environment=name,
        format="avro",
        schema_registry={"url": apicurio.url, "cache": tmp_path / "ids.json"},
    )
    full = metric(
        0.5,
        timestamp=NOON,
        tags={"db.namespace": "订单"},
        unit="{transaction}",
        metric_type="counter",
        start_timestamp=NOON - timedelta(days=1),
        collection_duration_ms=12.4,
        correlation_id="cycle-1",
    )
    assert await written(output, full) == WriteResult(published=1)
    assert await output.beat([heartbeat(instance)]) == WriteResult(published=1)
    assert await output.flush(LONG) == 0
    await output.close()
    (frame,) = messages(kafka.bootstrap_servers, topic, "pg-1", 1)
    assert number_of(frame) != before
    (beat,) = messages(kafka.bootstrap_servers, "gds.heartbeats", instance, 1)
    assert {f"{topic}-value", "gds.heartbeats-value"} <= set(apicurio.subjects())
    with SchemaRegistryClient({"url": apicurio.url}) as client:
        context = SerializationContext(topic, MessageField.VALUE)
        theirs = {
            "timestamp": "2026-03-01T12:00:00.250Z",
            "database_type": "postgresql",
            "instance_id": "pg-1",
            "metric_name": "postgresql.commits",
            "value": 0.5,
            "tags": {"db.namespace": "订单"},
            "metadata": {"collection_duration_ms": 12, "version": "1.0", "correlation_id": "cycle-1"},
        }
        assert AvroDeserializer(client, EXISTING)(frame, context) == theirs
        assert AvroDeserializer(client)(frame, context) == {
            **theirs,
            "unit": "{transaction}",
            "metric_type": "counter",
            "start_timestamp": "2026-02-28T12:00:00.250Z",
        }
        assert AvroDeserializer(client)(beat, SerializationContext("gds.heartbeats", MessageField.VALUE)) == {
            "timestamp": "2026-03-01T12:00:00.250Z",
            "collector": "PostgreSQLCollector",
            "instance_id": instance,
            "database_type": "postgresql",
            "topic": topic,
            "status": "ok",
            "reason": None,
            "interval_ms": 30_000,
            "metrics": 1,
            "duration_ms": 0,
            "correlation_id": None,
        }
    async with MetricSubscriber(kafka.bootstrap_servers, topics=topic) as subscriber:
        async for back in subscriber:
            assert back.tags == {"db.namespace": "订单"}
            break


async def test_a_registry_that_is_away_is_said_once_and_what_is_known_goes_on(
    apicurio: Apicurio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gds_monitor")
    hub, settings = f"embedded:{tmp_path}", {"url": apicurio.url, "cache": tmp_path / "ids.json"}

    def made() -> KafkaOutput:
        return KafkaOutput(hub, topic_by="instance", format="avro", schema_registry=settings)

    output = made()
    await output.prepare([("postgresql", "pg-1")])
    assert await written(output, metric()) == WriteResult(published=1)
    apicurio.stop()
    # A topic that is known, and one that is new.
    other = Metric("m", 1, "pg-2", "postgresql")
    assert await written(output, metric(), other) == WriteResult(published=2)
    assert await output.beat([heartbeat()]) == WriteResult(published=1)
    await output.close()
    # The next start finds it still away, and has the file.
    again = made()
    await again.prepare([("postgresql", "pg-1")])
    for _ in range(3):
        assert await written(again, metric(), other) == WriteResult(published=2)
    await again.close()
    frames = [*messages(hub, "gds.metrics.postgresql.pg-1", "pg-1", 5)]
    frames += messages(hub, "gds.metrics.postgresql.pg-2", "pg-2", 4)
    (number,) = {number_of(frame) for frame in frames}
    said = [record.getMessage() for record in caplog.records if "schema registry" in record.getMessage()]
    assert len(said) == 2, said  # once for each output
    assert all("going on with the ids that are known: [Errno 111]" in each for each in said)
    assert number > 0


async def test_without_a_known_id_a_start_fails_and_what_is_written_is_counted_until_there_is_one(
    apicurio: Apicurio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gds_monitor.registry.AGAIN_SECONDS", 0.0)
    apicurio.stop()
    settings = {"url": apicurio.url, "cache": tmp_path / "ids.json"}
    output = KafkaOutput(f"embedded:{tmp_path}", environment="production", format="avro", schema_registry=settings)
    with pytest.raises(MonitorConfigError, match=r"no id is known for gds\.heartbeats-value: .*refused"):
        await output.prepare([("postgresql", "pg-1")])
    assert await output.write([metric(), metric()]) == WriteResult(dropped={"no_schema": 2})
    assert await output.beat([heartbeat()]) == WriteResult(dropped={"no_schema": 1})
    apicurio.start()
    assert await written(output, metric()) == WriteResult(published=1)
    assert apicurio.subjects() == ["gds.heartbeats-value", "gds.metrics.postgresql.production-value"]
    await output.close()


async def test_what_a_registry_refuses_is_told_with_its_words(apicurio: Apicurio, tmp_path: Path) -> None:
    settings = {"url": apicurio.url, "register": False, "cache": tmp_path / "ids.json"}
    output = KafkaOutput(f"embedded:{tmp_path}", environment="production", format="avro", schema_registry=settings)
    with pytest.raises(MonitorConfigError, match=r"gds\.heartbeats-value is not registered, and register is false"):
        await output.prepare([("postgresql", "pg-1")])
    await output.close()
    assert apicurio.subjects() == []
    with pytest.raises(OSError, match="it answered 4"):
        SchemaRegistry(apicurio.url, cache=tmp_path / "other.json")._ask("subject", "no schema")


def test_a_file_that_cannot_be_read_or_written_is_no_reason_to_stop(apicurio: Apicurio, tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text("{")
    registry = SchemaRegistry(apicurio.url, cache=tmp_path / "ids.json")
    number, confirmed = registry.id_of("a-value", EXISTING)
    assert confirmed
    assert set(json.loads((tmp_path / "ids.json").read_text()).values()) == {number}
    nowhere = SchemaRegistry(apicurio.url, cache=tmp_path / "ids.json" / "below")
    assert nowhere.id_of("a-value", EXISTING) == (number, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "avro"}, "expected the schema's id in the registry or the schema_registry"),
        ({"schema_registry": "http://r:1"}, "and neither with format='json'"),
        ({"format": "avro", "schema_registry": "r:1"}, "schema_registry: expected http://host:port"),
        (
            {"format": "avro", "schema_registry": "http://u:Hunter2-canary@r:1"},
            "schema_registry: expected username and password beside url",
        ),
        ({"format": "avro", "schema_registry": {"url": "http://r:1", "urk": 5}}, "urk"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(MonitorConfigError) as caught:
        make_output("kafka", {"bootstrap_servers": f"embedded:{tmp_path}", **given}, "production")
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)
