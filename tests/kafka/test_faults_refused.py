"""A broker that refuses the client, or knows a topic otherwise than the client does."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # public, but not marked so

from gds_kafka import DeliveredMessage, KafkaMessageError, KafkaProducerClient, KafkaTimeoutError
from tests.kafka.test_security import unsigned_token
from tests.services.fixtures import KafkaFactory
from tests.services.kafka import KafkaBroker, SecureKafka
from tests.services.process import wait_until
from tests.services.toxiproxy import Toxiproxy

pytestmark = pytest.mark.timing

LONG = 90.0
"""More than any delivery takes once it may be; pauses between two tries grow to half a minute."""


def _as(user: str, kafka: SecureKafka, **more: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": lambda: unsigned_token(user),
        "ssl_cafile": str(kafka.certificates.ca),
        **more,
    }


def _said(caplog: pytest.LogCaptureFixture, *starts: str) -> int:
    """How many lines of the log begin so."""
    lines = [record.getMessage() for record in caplog.records if record.name == "gds_kafka"]
    return len([line for line in lines if line.startswith(starts)])


BEGINS = ("the hub refuses",)
ENDS = ("the hub lets", "the hub takes")


def _numbers(kafka: SecureKafka, topic: str) -> list[int]:
    return [json.loads(record.value or b"")["n"] for record in kafka.read(topic)]


def _refused(caplog: pytest.LogCaptureFixture) -> None:
    wait_until(lambda: _said(caplog, *BEGINS) > 0, timeout_seconds=LONG, what="the broker to refuse")


@pytest.mark.parametrize("durability", ["memory", "process"])
@pytest.mark.parametrize("what", ["client", "topic"])
def test_what_is_spooled_waits_until_it_may_be_sent_and_the_next_process_finds_it(
    secure_kafka: SecureKafka, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str, durability: str
) -> None:
    topic = user = f"newcomer-{what}-{durability}"
    secure_kafka.create_topic(topic)
    if what == "client":
        # The topic may be looked at; what is refused is the number that idempotence takes from the broker.
        secure_kafka.allow(user, "DESCRIBE", topic)
    settings = _as(user, secure_kafka, spool_dir=tmp_path, durability=durability, enable_idempotence=what == "client")
    with KafkaProducerClient(**settings, close_timeout_seconds=0) as producer:
        for number in range(2_000):
            producer.send(topic, {"n": number})
        _refused(caplog)
        stats = producer.stats()
        assert (stats["pending"], stats["failed_total"], stats["dropped_total"]) == (2_000, {}, {})
        # However often it is tried again.
        tried = stats["retried_total"]
        wait_until(lambda: producer.stats()["retried_total"] > tried, timeout_seconds=LONG, what="another try")
    assert (_said(caplog, *BEGINS), _said(caplog, *ENDS)) == (1, 0)
    caplog.clear()
    with KafkaProducerClient(**settings) as producer:
        assert producer.stats()["adopted_total"] == 2_000
        _refused(caplog)
        secure_kafka.allow(user, "WRITE", topic)
        assert producer.flush(LONG) == 0, producer.stats()
        stats = producer.stats()
    assert (stats["delivered_total"], stats["failed_total"], stats["dropped_total"]) == (2_000, {}, {})
    assert _numbers(secure_kafka, topic) == list(range(2_000))
    assert (_said(caplog, *BEGINS), _said(caplog, *ENDS)) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_topic_that_is_refused_keeps_no_other_waiting(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    user = "half-a-newcomer"
    for topic in ("refused-topic", "granted-topic"):
        secure_kafka.create_topic(topic)
    secure_kafka.allow(user, "WRITE", "granted-topic")
    with KafkaProducerClient(**_as(user, secure_kafka, spool_dir=tmp_path)) as producer:
        for number in range(100):
            producer.send("refused-topic", {"n": number})
            producer.send("granted-topic", {"n": number})
        wait_until(lambda: producer.stats()["delivered_total"] == 100, timeout_seconds=LONG, what="the other topic")
        assert producer.stats()["pending"] == 100
        secure_kafka.allow(user, "WRITE", "refused-topic")
        assert producer.flush(LONG) == 0
    assert _numbers(secure_kafka, "refused-topic") == list(range(100))


def test_a_topic_that_is_not_there_is_said_to_be_unknown(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory(auto_create_topics=False)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        # librdkafka gives a topic half a minute to appear.
        [outcome] = producer.send_many("nowhere", [{"n": 1}], timeout=25)
        assert isinstance(outcome, KafkaMessageError), outcome
        assert "nowhere" in str(outcome)
        assert producer.stats()["failed_total"] == {"unknown_topic": 1}
        # It is asked for again when it is made.
        kafka.create_topic("nowhere")
        [outcome] = producer.send_many("nowhere", [{"n": 2}], timeout=LONG)
        assert isinstance(outcome, DeliveredMessage), outcome


def test_a_partition_that_was_added_is_found_before_a_message_for_it_is_refused(kafka: KafkaBroker) -> None:
    topic = "grown"
    kafka.create_topic(topic)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        [first] = producer.send_many(topic, [{"n": 1}], timeout=LONG)
        assert isinstance(first, DeliveredMessage)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        admin.create_partitions([NewPartitions(topic, 4)])[topic].result(LONG)
        wait_until(lambda: len(kafka.describe(topic)) == 4, what="the topic to grow")
        told: list[Any] = []
        producer.send(topic, {"n": 2}, partition=3, on_delivery=lambda *outcome: told.append(outcome))
        producer.send(topic, {"n": 3}, partition=4, on_delivery=lambda *outcome: told.append(outcome))
        assert producer.flush(LONG) == 0
    delivered = [delivered.partition for error, delivered in told if error is None]
    [error] = [error for error, delivered in told if delivered is None]
    assert delivered == [3]
    assert isinstance(error, KafkaMessageError)
    assert "partition 4" in str(error)


def test_an_advertised_address_that_is_not_reached_is_named(kafka: KafkaBroker, toxiproxy: Toxiproxy) -> None:
    [proxy] = kafka.through(toxiproxy)
    advertised = kafka.proxied_bootstrap_servers
    kafka.create_topic("advertised")
    proxy.cut()
    try:
        with KafkaProducerClient(
            f"127.0.0.1:{kafka.nodes[0].port('PROXIED')}", lazy=True, delivery_timeout_ms=4_000, close_timeout_seconds=0
        ) as producer:
            [outcome] = producer.send_many("advertised", [{"n": 1}], timeout=LONG)
    finally:
        proxy.restore()
    assert isinstance(outcome, KafkaTimeoutError), outcome
    assert advertised in str(outcome)
    assert "advertised.listeners" in str(outcome)


@pytest.fixture(autouse=True)
def _all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gds_kafka")
