"""The helpers around Kafka: each does to a broker, or shows of it, what it says."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from tests.services.fixtures import KafkaFactory
from tests.services.kafka import KafkaBroker, KafkaCluster, Record
from tests.services.process import ServerFailed, accepts_tcp
from tests.services.toxiproxy import Toxiproxy


@pytest.fixture
def topic() -> str:
    """A name nobody else has."""
    return f"test-{uuid.uuid4()}"


def produce(settings: dict[str, Any], topic: str, value: bytes, **options: Any) -> str | None:
    """Produce one record and return the name of what went wrong, ``None`` when it was delivered."""
    outcome: list[KafkaError | None] = []
    # So that a topic that is missing is told of at once.
    quick = {"log_level": 0, "delivery.timeout.ms": 20_000, "topic.metadata.propagation.max.ms": 100}
    with Producer({**quick, **settings}) as producer:
        producer.produce(topic, value, on_delivery=lambda error, _: outcome.append(error), **options)
        producer.flush(30)
    [error] = outcome
    return None if error is None else error.name()


def produce_to(servers: str, topic: str, value: bytes, **options: Any) -> str | None:
    return produce({"bootstrap.servers": servers}, topic, value, **options)


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_record_is_read_back_whole(kafka: KafkaBroker, topic: str) -> None:
    kafka.create_topic(
        topic, partitions=2, config={"cleanup.policy": "compact", "unclean.leader.election.enable": True}
    )
    headers = [("trace", b"abc"), ("trace", None)]
    options: dict[str, Any] = {"partition": 1, "key": b"key", "timestamp": 1_700_000_000_123, "headers": headers}
    assert produce_to(kafka.bootstrap_servers, topic, b"\x00value", **options) is None
    expected = Record(1, 0, 1_700_000_000_123, b"key", b"\x00value", (("trace", b"abc"), ("trace", None)))
    assert kafka.read(topic) == kafka.read(topic, 1) == [expected]
    assert kafka.read(topic, 0) == []
    assert kafka.end_offsets(topic) == {0: 0, 1: 1}


def test_aborted_records_are_read_on_request_only(kafka: KafkaBroker, topic: str) -> None:
    kafka.create_topic(topic)
    with Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic}) as producer:
        producer.init_transactions(30)
        for value, finish in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
            producer.begin_transaction()
            producer.produce(topic, value)
            producer.flush(30)
            finish(30)
    assert values(kafka.read(topic)) == [b"committed"]
    assert values(kafka.read(topic, committed_only=False)) == [b"aborted", b"committed"]


def test_kcat_reads_headers(kafka: KafkaBroker, topic: str) -> None:
    kafka.create_topic(topic)
    kafka.kcat("-P", "-t", topic, "-k", "key", "-H", "trace=abc", stdin=b"value")
    [record] = kafka.kcat_read(topic)
    assert (record["key"], record["payload"], record["headers"]) == ("key", "value", ["trace", "abc"])
    with pytest.raises(ServerFailed, match=r"kcat .* exited with 1"):
        kafka.kcat("-Q", "-t", "no-partition")


def test_topics_come_and_go(kafka: KafkaBroker, topic: str) -> None:
    # Asking creates none, also where writing does.
    assert kafka.describe(topic) == {}
    with pytest.raises(ServerFailed, match="there is no topic"):
        kafka.read(topic)
    assert produce_to(kafka.bootstrap_servers, topic, b"value") is None
    assert kafka.describe(topic)[0].in_sync == (1,)
    kafka.delete_topic(topic)
    assert kafka.describe(topic) == {}


def test_broker_keeps_port_and_data(kafka_factory: KafkaFactory, topic: str) -> None:
    kafka = kafka_factory(settings={"message.max.bytes": 2000}, auto_create_topics=False)
    servers = kafka.bootstrap_servers
    assert produce_to(servers, topic, b"value") == "UNKNOWN_TOPIC_OR_PART"
    kafka.create_topic(topic)
    assert produce_to(servers, topic, b"x" * 3000) == "MSG_SIZE_TOO_LARGE"
    assert produce_to(servers, topic, b"before") is None
    kafka.kill()
    assert not kafka.running
    assert not accepts_tcp(kafka.nodes[0].port())
    kafka.start()
    assert produce_to(servers, topic, b"between") is None
    kafka.restart()
    assert produce_to(servers, topic, b"after") is None
    assert values(kafka.read(topic)) == [b"before", b"between", b"after"]


def test_paused_broker_accepts_and_says_nothing(kafka_factory: KafkaFactory, topic: str) -> None:
    kafka = kafka_factory()
    kafka.create_topic(topic)
    kafka.pause()
    assert accepts_tcp(kafka.nodes[0].port())
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "delivery.timeout.ms": 500}
    assert produce(settings, topic, b"lost") == "_MSG_TIMED_OUT"
    kafka.resume()
    assert produce_to(kafka.bootstrap_servers, topic, b"value") is None
    assert values(kafka.read(topic)) == [b"value"]


def test_another_node_leads_when_the_leader_is_killed(kafka_cluster: KafkaCluster, topic: str) -> None:
    kafka_cluster.create_topic(topic)
    servers = kafka_cluster.bootstrap_servers
    assert produce_to(servers, topic, b"before") is None
    killed = kafka_cluster.leader(topic)
    kafka_cluster.node(killed).kill()
    assert kafka_cluster.wait_for_leader(topic, other_than=killed) != killed
    assert produce_to(servers, topic, b"after") is None
    assert values(kafka_cluster.read(topic)) == [b"before", b"after"]
    kafka_cluster.start()
    assert len(kafka_cluster.describe(topic)[0].replicas) == 3


def test_proxy_cuts_and_restores(kafka: KafkaBroker, toxiproxy: Toxiproxy, topic: str) -> None:
    [proxy] = kafka.through(toxiproxy)
    assert kafka.proxied_bootstrap_servers == proxy.address
    assert produce_to(proxy.address, topic, b"before") is None
    proxy.cut()
    settings = {"bootstrap.servers": proxy.address, "delivery.timeout.ms": 500}
    assert not accepts_tcp(proxy.port)
    assert produce(settings, topic, b"lost") == "_MSG_TIMED_OUT"
    proxy.restore()
    assert produce_to(proxy.address, topic, b"after") is None
    assert values(kafka.read(topic)) == [b"before", b"after"]
