"""Programs that were written for gds-kafka and gds-metrics 0.x, as their users write them, on a real Kafka."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import islice
from typing import Any
from uuid import uuid4

import pytest

from tests.compat.test_kafka_and_metrics_api import SCHEMA, misfits
from tests.services.kafka import KafkaBroker

pytestmark = pytest.mark.timing

LONG: dict[str, Any] = {"consumer_timeout_ms": 60_000}
"""A failure instead of a wait without an end; what is there already is read without a word about where to begin."""


@pytest.fixture
def topic(kafka: KafkaBroker) -> str:
    name = f"old-{uuid4().hex[:8]}"
    kafka.create_topic(name)
    return name


@pytest.fixture
def servers(kafka: KafkaBroker) -> str:
    return kafka.bootstrap_servers


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger(f"old.{uuid4().hex[:8]}")
    made.setLevel(logging.INFO)
    yield made
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()


def test_send_and_read(servers: str, topic: str) -> None:
    from gds_kafka.consumer import KafkaConsumerClient
    from gds_kafka.producer import KafkaProducerClient

    with KafkaProducerClient(bootstrap_servers=servers, acks="all", retries=3) as producer:
        producer.send(topic, {"id": 1}, "a")
        producer.send(topic=topic, value={"id": 2}, key="b")
        producer.send(topic, {"id": 3})
        producer.flush(timeout=60)
    with KafkaConsumerClient(topic=topic, bootstrap_servers=servers, group_id="old", **LONG) as consumer:
        read = [
            {name: message[name] for name in ("key", "value", "topic", "partition", "offset")}
            for message in islice(consumer.messages(), 3)
        ]
    assert read == [
        {"key": key, "value": {"id": number + 1}, "topic": topic, "partition": 0, "offset": number}
        for number, key in enumerate(["a", "b", None])
    ]


def test_errors(topic: str) -> None:
    from gds_kafka.exceptions import GdsKafkaError, KafkaConnectionError, KafkaSerializationError
    from gds_kafka.producer import KafkaProducerClient

    with pytest.raises(KafkaConnectionError, match="Failed to connect") as caught:
        KafkaProducerClient("127.0.0.1:1", connect_timeout_seconds=0.5)
    assert isinstance(caught.value, GdsKafkaError)
    with (
        KafkaProducerClient("127.0.0.1:1", lazy=True, close_timeout_seconds=0) as producer,
        pytest.raises(KafkaSerializationError),
    ):
        producer.send(topic, {"id": object()})


def test_metrics(kafka: KafkaBroker, servers: str, topic: str) -> None:
    from gds_kafka.metrics import KafkaMetrics
    from gds_kafka.producer import KafkaProducerClient
    from gds_metrics.base import MetricsCollector
    from gds_metrics.composite import CompositeMetrics
    from gds_metrics.context import with_trace_context
    from gds_metrics.noop import NoOpMetrics
    from gds_metrics.prometheus import PrometheusMetrics

    class Service:
        def __init__(self, metrics: MetricsCollector | None = None) -> None:
            self.metrics = metrics or NoOpMetrics()

        def handle(self) -> None:
            self.metrics.increment("requests", 1, {"path": "/"})
            self.metrics.gauge("open", 3.0)
            self.metrics.histogram("size", 0.5, labels=with_trace_context({"path": "/"}))
            self.metrics.timing("took", 12.5)

    Service().handle()
    producer = KafkaProducerClient(servers)
    page = PrometheusMetrics("old", 0, False)
    collectors = CompositeMetrics([page])
    sender = KafkaMetrics(producer, topic)
    collectors.add(sender)
    assert len(collectors) == 2
    Service(collectors).handle()
    assert sender.producer is producer
    producer.flush(60)
    producer.close()
    assert page.sample("requests", {"path": "/"}) == 1
    records = kafka.read(topic)
    values = [json.loads(record.value or b"") for record in records]
    assert [record.key for record in records] == [b"requests", b"open", b"size", b"took"]
    assert [(value["type"], value["value"], value["labels"]) for value in values] == [
        ("counter", 1.0, {"path": "/"}),
        ("gauge", 3.0, {}),
        ("histogram", 0.5, {"path": "/"}),
        ("timing", 12.5, {}),
    ]


def test_logging(kafka: KafkaBroker, servers: str, topic: str, logger: logging.Logger) -> None:
    from gds_kafka.logging import KafkaLoggingHandler
    from gds_kafka.producer import KafkaProducerClient

    with KafkaProducerClient(servers) as producer:
        handler = KafkaLoggingHandler(producer, topic)
        handler.setFormatter(logging.Formatter("%(message)s"))
        assert handler.producer is producer
        logger.addHandler(handler)
        logger.info("paid %s", "one")
        handler.emit(logging.makeLogRecord({"name": logger.name, "levelname": "ERROR", "msg": "by hand"}))
        producer.flush(60)
    values = [json.loads(record.value or b"") for record in kafka.read(topic)]
    assert [(value["logger"], value["level"], value["message"]) for value in values] == [
        (logger.name, "INFO", "paid one"),
        (logger.name, "ERROR", "by hand"),
    ]
    assert all({"timestamp", "path", "lineno"} <= value.keys() for value in values)


def test_close_from_another_thread_ends_nothing_else(servers: str, topic: str) -> None:
    from gds_kafka.consumer import KafkaConsumerClient
    from gds_kafka.producer import KafkaProducerClient

    with KafkaProducerClient(servers) as producer:
        threads = [threading.Thread(target=producer.send, args=(topic, {"id": number})) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        producer.flush()
    consumer = KafkaConsumerClient(topic, servers, **LONG)
    assert sorted(message["value"]["id"] for message in islice(consumer.messages(), 8)) == list(range(8))
    consumer.close()


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"value": 5, "tags": {}, "metadata": {}}, []),
        ({"value": 0.25, "metadata": {"correlation_id": "c-1", "collection_duration_ms": 7}}, []),
        ({"value": float("nan")}, ["$.value"]),
    ],
)
def test_measurements_of_databases_keep_their_shape(
    kafka: KafkaBroker, servers: str, topic: str, more: dict[str, Any], wrong: list[str]
) -> None:
    from gds_kafka.producer import KafkaProducerClient

    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    measured = {"timestamp": at, "database_type": "mssql", "instance_id": "db-1", "metric_name": "cpu", **more}
    with KafkaProducerClient(servers) as producer:
        producer.send(topic, measured, "db-1")
    [record] = kafka.read(topic)
    value = json.loads(record.value or b"")
    assert datetime.fromisoformat(value["timestamp"]) == at
    assert misfits(SCHEMA, value) == wrong
    assert misfits(SCHEMA, {name: each for name, each in value.items() if name != "instance_id"})
    # A number that is none has no place in that shape, and is flagged.
    assert bool(wrong) == bool(dict(record.headers).get("gds.non_finite"))
