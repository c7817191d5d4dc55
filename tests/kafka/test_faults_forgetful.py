"""A cluster that says for a moment that it has no brokers: clients come back by themselves."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from tests.kafka.forgetful import Forgetful
from tests.kafka.test_faults_producer import Load, all_arrived_once
from tests.services.fixtures import KafkaFactory
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

LONG = 60.0
OFTEN = {"topic.metadata.refresh.interval.ms": 200, "statistics.interval.ms": 500}


def forget(proxy: Forgetful) -> None:
    """Until the client was told that there were no brokers."""
    proxy.forgets.set()
    wait_until(lambda: proxy.forgot, what="an answer without brokers")


def noticed(caplog: pytest.LogCaptureFixture) -> None:
    wait_until(lambda: "had no brokers" in caplog.text, what="a client that knows no broker", timeout_seconds=LONG)


def test_a_producer_whose_cluster_had_no_brokers_delivers_again(
    kafka_factory: KafkaFactory, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = kafka_factory()
    topic = "forgetful-producer"
    kafka.create_topic(topic)
    with (
        caplog.at_level(logging.WARNING, "gds_kafka"),
        Forgetful(kafka) as proxy,
        KafkaProducerClient(kafka.proxied_bootstrap_servers, librdkafka=OFTEN) as producer,
    ):
        with Load(producer, topic, pause=0.002) as load:
            load.goes_on()
            forget(proxy)
            noticed(caplog)
            proxy.forgets.clear()
            load.goes_on()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    all_arrived_once(kafka, topic, load.sent, stats)


def test_a_consumer_whose_cluster_had_no_brokers_reads_on(
    kafka_factory: KafkaFactory, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = kafka_factory()
    topic = "forgetful-consumer"
    kafka.create_topic(topic)
    settings: dict[str, Any] = {"auto_offset_reset": "earliest", "librdkafka": OFTEN}
    with (
        caplog.at_level(logging.WARNING, "gds_kafka"),
        Forgetful(kafka) as proxy,
        KafkaProducerClient(kafka.bootstrap_servers) as producer,
        KafkaConsumerClient(topic, kafka.proxied_bootstrap_servers, "forgetful", **settings) as consumer,
    ):
        messages = consumer.messages()
        producer.send(topic, {"n": 0})
        assert next(messages)["value"] == {"n": 0}
        forget(proxy)
        noticed(caplog)
        proxy.forgets.clear()
        producer.send(topic, {"n": 1})
        assert next(messages)["value"] == {"n": 1}
