"""Metrics on their way to the hub, and back."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from gds_monitor import KafkaOutput, Metric, MetricSubscriber, OutputHandler, StdoutOutput, WriteResult
from gds_monitor.config.outputs import make_output
from gds_monitor.errors import MonitorConfigError
from tests.kafka.schemas import problems
from tests.services.fixtures import KafkaFactory
from tests.services.process import wait_until

pytestmark = pytest.mark.anyio

LONG = 60.0
"""More than any delivery takes once the hub is there."""

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc)


def metric(number: Any = 1, instance_id: str = "pg-1", **fields: Any) -> Metric:
    return Metric("postgresql.backends", number, instance_id, "postgresql", **fields)


def messages(hub: str, topic: str, count: int) -> list[dict[str, Any]]:
    """So many messages of a topic, as they are."""
    found = []
    with KafkaConsumerClient(topic, hub, value_deserializer=bytes, auto_offset_reset="earliest") as consumer:
        for message in consumer:
            found.append(message)
            if len(found) == count:
                break
    return found


def environment() -> str:
    """A name that no other test has: tests share a broker."""
    return f"test-{secrets.token_hex(4)}"


async def written(hub: str, metrics: Sequence[Any], **settings: Any) -> WriteResult:
    """Writes a batch and waits until the hub has it."""
    output = KafkaOutput(hub, **settings)
    assert isinstance(output, OutputHandler)
    result = await output.write(metrics)
    assert await output.flush(LONG) == 0
    await output.close()
    return result


async def test_metrics_come_back_as_they_were_written_in_their_order(any_hub: str) -> None:
    name = environment()
    full = Metric(
        metric_name="postgresql.commits",
        value=9_007_199_254_740_993,
        instance_id="主库-1",
        database_type="postgresql",
        timestamp=NOON,
        tags={"db.namespace": "订单", "quoted": 'a"b\\c\n'},
        unit="{transaction}",
        metric_type="counter",
        start_timestamp=NOON - timedelta(days=1),
        collection_duration_ms=12.0,
        version="1.0",
        correlation_id="cycle-1",
    )
    counted = [metric(number, timestamp=NOON) for number in range(100)]
    result = await written(any_hub, [full, *counted], environment=name)
    assert result == WriteResult(published=101)
    topic = f"gds.metrics.postgresql.{name}"
    async with MetricSubscriber(any_hub, topics=topic) as subscriber:
        back: list[Metric] = []
        async for each in subscriber:
            back.append(each)
            if len(back) == 101:
                break
        assert subscriber.skipped == {}
    assert [each for each in back if each.instance_id == "主库-1"] == [full]
    assert [each for each in back if each.instance_id == "pg-1"] == counted


async def test_a_message_is_what_its_schema_says(any_hub: str) -> None:
    name = environment()
    metrics = [
        metric(float("nan")),
        metric(Decimal("14.40000000000000000001"), timestamp=NOON, tags={"a": None, "b": True, 3: 0.5}),
        metric(2**70, collection_duration_ms=0.4),
    ]
    assert (await written(any_hub, metrics, environment=name)).published == 3
    found = messages(any_hub, f"gds.metrics.postgresql.{name}", 3)
    assert [message["key"] for message in found] == ["pg-1"] * 3
    values = [json.loads(message["value"]) for message in found]
    assert [problems("database-metric.json", value) for value in values] == [[], [], []]
    assert (values[0]["value"], values[0]["non_finite"]) == (None, "NaN")
    assert b'"value":14.40000000000000000001,' in found[1]["value"]
    assert values[1]["tags"] == {"a": "", "b": "true", "3": "0.5"}
    assert values[1]["timestamp"] == "2026-03-01T12:00:00.250Z"
    assert values[2]["value"] == 2**70


async def test_a_topic_for_each_instance_and_keys_with_the_type(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    metrics = [metric(instance_id="db:5432"), metric(instance_id="库", metric_type="counter")]
    result = await written(hub, metrics, topic_by="instance", key_by="instance_and_type")
    assert result.published == 2
    (first,) = messages(hub, "gds.metrics.postgresql.db_x3a_5432", 1)
    (second,) = messages(hub, "gds.metrics.postgresql._x5e93_", 1)
    assert (first["key"], second["key"]) == ("db:5432:gauge", "库:counter")


async def test_avro_is_framed_and_read_back(any_hub: str) -> None:
    name = environment()
    sent = [metric(0.5, timestamp=NOON, tags={"a": "1"}, unit="1"), metric(3.25, timestamp=NOON)]
    assert (await written(any_hub, sent, environment=name, format="avro", schema_id=258)).published == 2
    topic = f"gds.metrics.postgresql.{name}"
    found = messages(any_hub, topic, 2)
    assert all(message["value"].startswith(b"\x00\x00\x00\x01\x02") for message in found)
    async with MetricSubscriber(any_hub, topics=topic) as subscriber:
        batches = subscriber.batches(2, LONG)
        back: list[Metric] = []
        while len(back) < 2:
            back += await anext(batches)
        await batches.aclose()  # type: ignore[attr-defined]
    assert back == sent


async def test_avro_without_a_frame_is_read_if_a_header_names_its_schema(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    sent = metric(0.5, timestamp=NOON)
    await written(hub, [sent], environment="production", format="avro", schema_id=1)
    (framed,) = messages(hub, "gds.metrics.postgresql.production", 1)
    with KafkaProducerClient(hub) as producer:
        producer.send("gds.metrics.a.b", framed["value"][5:], headers={"__value_schema_id": b"\x01" + bytes(16)})
    async with MetricSubscriber(hub, topics="gds.metrics.a.b") as subscriber:
        async for each in subscriber:
            assert each == sent
            break


class Raises:
    """Raises when its value is asked for."""

    metric_name, instance_id, database_type = "m", "pg-1", "postgresql"

    @property
    def value(self) -> float:
        raise LookupError("no")


class Unprintable:
    def __str__(self) -> str:
        raise LookupError("no")


NO_METRICS = [
    (object(), "invalid_metric_name"),
    (metric(None), "invalid_value"),
    (metric("1"), "invalid_value"),
    (Raises(), "invalid_value"),
    (Metric("", 1, "a", "b"), "invalid_metric_name"),
    (metric(instance_id=""), "invalid_instance_id"),
    (Metric("m", 1, "a", None), "invalid_database_type"),  # type: ignore[arg-type]
    (metric(timestamp=datetime(2026, 3, 1)), "invalid_timestamp"),  # noqa: DTZ001 - which is what it is about
    (metric(timestamp="now"), "invalid_timestamp"),
    (metric(start_timestamp=float("nan")), "invalid_start_timestamp"),
    (metric(tags=["a"]), "invalid_tags"),
    (metric(tags={"a": Unprintable()}), "invalid_tags"),
    (metric(metric_type="rate"), "invalid_metric_type"),
    (metric(unit=7), "invalid_metadata"),
    (metric(collection_duration_ms="x"), "invalid_metadata"),
]


async def test_what_is_no_metric_is_a_dead_letter_with_its_reason_and_stops_nothing(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    batch = [each for wrong, _ in NO_METRICS for each in (wrong, metric())]
    result = await written(hub, batch, environment="production")
    assert result == WriteResult(published=len(NO_METRICS), dead_lettered=len(NO_METRICS))
    found = messages(hub, "gds.metrics.dlq", len(NO_METRICS))
    headers = [{name: value.decode() for name, value in message["headers"]} for message in found]
    assert [each["dlq.reason"] for each in headers] == [reason for _, reason in NO_METRICS]
    assert [problems("dead-letter.json", each) for each in headers] == [[]] * len(headers)
    assert json.loads(found[1]["value"]) == {
        "database_type": "postgresql",
        "instance_id": "pg-1",
        "metric_name": "postgresql.backends",
    }
    assert len(messages(hub, "gds.metrics.postgresql.production", len(NO_METRICS))) == len(NO_METRICS)


async def test_an_iterator_that_fails_keeps_what_came_before(tmp_path: Path) -> None:
    def failing() -> Iterator[Metric]:
        yield metric()
        raise LookupError("no")

    output = KafkaOutput(f"embedded:{tmp_path}", environment="production")
    assert await output.write(failing()) == WriteResult(published=1, dropped={"unreadable": 1})  # type: ignore[arg-type]
    assert await output.write(7) == WriteResult(dropped={"unreadable": 1})  # type: ignore[arg-type]
    await output.close()


async def test_a_closed_output_counts_what_it_is_given(tmp_path: Path) -> None:
    output = KafkaOutput(f"embedded:{tmp_path}", environment="production")
    await output.close()
    await output.close()
    assert await output.write([metric(), metric()]) == WriteResult(dropped={"closed": 2})
    assert await output.write([]) == WriteResult()


async def test_a_producer_of_the_program_stays_open(tmp_path: Path) -> None:
    with KafkaProducerClient(f"embedded:{tmp_path}") as producer:
        output = KafkaOutput(producer, environment="production")
        await output.write([metric()])
        await output.close()
        assert producer.stats()["pending"] == 0
        assert not producer.closed


def remains(folder: Path) -> tuple[str, bytes]:
    """The names of all files, and all that is in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return " ".join(map(str, files)), b"".join(path.read_bytes() for path in files)


async def test_a_secret_is_found_nowhere(tmp_path: Path) -> None:
    canary = "Hunter2-" + secrets.token_hex(8)
    places: dict[str, Any] = {
        "tags": {"dsn": f"postgresql://app:{canary}@db/app", "near": "near-tags"},
        "correlation_id": f"password={canary}",
        "version": f"near-version password: {canary}",
        "unit": f"api_key={canary}",
    }
    metrics = [
        *(metric(**{place: text}) for place, text in places.items()),
        metric(tags={"db_password": canary}),
        metric(tags={f"password={canary}": "x"}),
        metric(instance_id=f"postgresql://app:{canary}@db/app"),
        Metric(f"m password={canary}", 1, "pg-1", "postgresql"),
        Metric("m", 1, "pg-1", f"postgresql://app:{canary}@db"),
        metric(tags={"employee": "employee 47110815"}),
    ]
    broken = metric(None, instance_id=f"postgresql://app:{canary}@db/app")
    settings: dict[str, Any] = {"topic_by": "instance", "redact": [r"employee (\d+)"]}
    hubs: dict[str, dict[str, Any]] = {
        f"embedded:{tmp_path / 'hub'}": {"close_timeout_seconds": LONG},
        "127.0.0.1:1": {"spool_dir": tmp_path / "spool", "durability": "process", "close_timeout_seconds": 0},
    }
    for hub, spool in hubs.items():
        output = KafkaOutput(hub, **settings, **spool)
        result = await output.write([*metrics, broken])
        assert result == WriteResult(published=len(metrics), dead_lettered=1, scrubbed=len(metrics))
        await output.close()
    names, left = remains(tmp_path)
    assert left.count(b"near-tags") == left.count(b"near-version") == len(hubs)
    assert canary.encode() not in left
    assert b"47110815" not in left
    assert canary not in names


@pytest.mark.server
async def test_a_hub_that_is_away_gets_all_of_it_in_order_when_it_is_back(
    kafka_factory: KafkaFactory, tmp_path: Path
) -> None:
    kafka = kafka_factory()
    output = KafkaOutput(kafka.bootstrap_servers, environment="production", spool_dir=tmp_path, buffer_memory=1 << 20)
    instances = [f"pg-{number}" for number in range(3)]

    async def round_of(number: int) -> None:
        batch = [metric(number, instance_id=instance) for instance in instances for _ in range(100)]
        assert await output.write(batch) == WriteResult(published=300)

    for number in range(5):
        await round_of(number)
    assert await output.flush(LONG) == 0
    kafka.stop()
    for number in range(5, 30):
        await round_of(number)
    kafka.start()
    await round_of(30)
    wait_until(lambda: output.stats()["pending"] == 0, timeout_seconds=LONG, what="the hub to have it all")
    await output.close()
    values = [json.loads(record.value or b"") for record in kafka.read("gds.metrics.postgresql.production")]
    for instance in instances:
        numbers = [value["value"] for value in values if value["instance_id"] == instance]
        assert numbers == sorted(numbers)
        assert {number: numbers.count(number) >= 100 for number in range(31)} == dict.fromkeys(range(31), True)


async def test_without_room_a_batch_is_counted_as_dropped_and_does_not_wait_for_ever(tmp_path: Path) -> None:
    output = KafkaOutput(
        "127.0.0.1:1", environment="production", max_block_ms=50, buffer_memory=40_000, close_timeout_seconds=0
    )
    result = await output.write([metric() for _ in range(1000)])
    assert result.published > 0
    assert result.dropped == {"no_room": 1000 - result.published}
    await output.close()


async def test_a_subscriber_says_what_is_no_metric(any_hub: str) -> None:
    topic = f"gds.metrics.other.{environment()}"
    with KafkaProducerClient(any_hub) as producer:
        for value in (b"{", {"metric_name": "m", "value": 1}, {"name": "n", "value": 2, "labels": {"a": "b"}}):
            producer.send(topic, value, key="k")
    async with MetricSubscriber(any_hub, topics=topic) as subscriber:
        async for each in subscriber:
            assert (each.metric_name, each.value, each.tags) == ("n", 2, {"a": "b"})
            assert each.timestamp is not None
            assert datetime.now(timezone.utc) - each.timestamp < timedelta(hours=1)
            break
        assert subscriber.skipped == {"malformed": 1, "no_instance_id": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "environment=None with topic_by='environment'"),
        ({"environment": "a", "topic_by": "instance"}, "expected an environment"),
        ({"environment": "a", "topic_by": "host"}, "topic_by='host': expected 'environment' or 'instance'"),
        ({"environment": "a", "key_by": "host"}, "key_by='host'"),
        ({"environment": "a", "format": "xml"}, "format='xml': expected 'json' or 'avro'"),
        ({"environment": "a", "format": "avro"}, "schema_id=None with format='avro'"),
        ({"environment": "a", "schema_id": 3}, "schema_id=3 with format='json'"),
        ({"environment": "a", "redact": ["("]}, "redact pattern 1 of 1"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(MonitorConfigError) as error:
        KafkaOutput(f"embedded:{tmp_path}", **settings)
    assert message in str(error.value)


async def test_the_terminal_gets_a_line_for_each_metric_without_secrets() -> None:
    stream = io.StringIO()
    output = StdoutOutput(stream)
    metrics = [
        metric(7, timestamp=NOON, tags={"b": "2", "a": "1"}, unit="{backend}"),
        metric(tags={"k": "password=abc123XYZ"}),
    ]
    assert await output.write(metrics) == WriteResult(published=2, scrubbed=1)
    first, second = stream.getvalue().splitlines()
    assert first == '2026-03-01T12:00:00.250000+00:00 pg-1 postgresql.backends{a="1",b="2"} 7 {backend}'
    assert "abc123XYZ" not in second
    await output.close()
    stream.close()
    assert await output.write(metrics) == WriteResult(dropped={"closed": 2})


@pytest.mark.parametrize("number", [7, 0.5, Decimal("14.4"), float("nan"), float("inf"), float("-inf")])
async def test_a_script_gets_the_object_that_the_hub_gets(number: Any) -> None:
    stream = io.StringIO()
    tags = {"k": "password=abc123XYZ", "password": "abc456XYZ", "db.namespace": "bücher"}
    given = [metric(number, timestamp=NOON, start_timestamp=NOON, tags=tags), metric(number)]
    assert await StdoutOutput(stream, format="json").write(given) == WriteResult(published=2, scrubbed=1)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert problems("database-metric.json", first) == problems("database-metric.json", second) == []
    assert first["tags"]["db.namespace"] == "bücher"
    assert "XYZ" not in stream.getvalue()


async def test_a_format_of_lines_that_there_is_not_is_refused() -> None:
    with pytest.raises(MonitorConfigError, match="format='yaml': expected 'text' or 'json'"):
        StdoutOutput(format="yaml")


async def test_the_hub_of_a_configuration_is_this_output(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    for given, environment, topic in [
        (hub, "production", "gds.metrics.postgresql.production"),
        ({"bootstrap_servers": hub, "key_by": "instance_and_type"}, "", "gds.metrics.postgresql.pg-1"),
    ]:
        output = make_output("kafka", given, environment)
        assert await output.write([metric()]) == WriteResult(published=1)
        await output.close()
        assert len(messages(hub, topic, 1)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "outputs: kafka: expected bootstrap_servers"),
        ({"bootstrap_servers": "localhost:9092", "linger": 5}, 'outputs: kafka: "linger" is no setting'),
        ({"bootstrap_servers": "localhost:9092", "format": "avro"}, "outputs: kafka: schema_id=None"),
    ],
)
async def test_the_hub_of_a_configuration_says_where_it_is_wrong(given: dict[str, Any], message: str) -> None:
    with pytest.raises(MonitorConfigError) as error:
        make_output("kafka", given, "production")
    assert str(error.value).startswith(message)
