"""The helpers around Kafka: each does to a broker, or shows of it, what it says."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from tests.services import install as install_module
from tests.services.catalog import ServiceUnavailable
from tests.services.fixtures import KafkaFactory, SecureKafkaFactory
from tests.services.kafka import KafkaBroker, KafkaCluster, Record, SecureKafka
from tests.services.kafka.secure import Certificate, Mechanism
from tests.services.process import ServerFailed, accepts_tcp, http_get, wait_until
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
    kafka.create_topic(topic)  # a topic that the broker makes meanwhile may be unknown to a busy one for too long
    assert produce_to(proxy.address, topic, b"before") is None
    proxy.cut()
    settings = {"bootstrap.servers": proxy.address, "delivery.timeout.ms": 500}
    assert not accepts_tcp(proxy.port)
    assert produce(settings, topic, b"lost") == "_MSG_TIMED_OUT"
    proxy.restore()
    assert produce_to(proxy.address, topic, b"after") is None
    assert values(kafka.read(topic)) == [b"before", b"after"]


def test_half_open_proxy_loses_what_is_sent(kafka: KafkaBroker, toxiproxy: Toxiproxy, topic: str) -> None:
    kafka.create_topic(topic)
    [proxy] = kafka.through(toxiproxy)
    proxy.half_open()
    assert accepts_tcp(proxy.port)
    settings = {"bootstrap.servers": proxy.address, "delivery.timeout.ms": 500}
    assert produce(settings, topic, b"lost") == "_MSG_TIMED_OUT"
    proxy.reset()
    proxy.bandwidth(1000)
    proxy.latency(1, jitter_ms=1)
    assert produce_to(proxy.address, topic, b"value") is None
    assert values(kafka.read(topic)) == [b"value"]
    proxy.reset_connections()
    assert produce(settings, topic, b"lost") == "_MSG_TIMED_OUT"


def test_proxy_delays_answers(toxiproxy: Toxiproxy) -> None:
    # Of its own interface, as of any other server.
    proxy = toxiproxy.proxy(toxiproxy.port)
    proxy.latency(200)
    begin = time.monotonic()
    assert http_get(proxy.port, "/version")[0] == 200
    assert time.monotonic() - begin >= 0.2
    with pytest.raises(ServerFailed, match="answered 409"):
        toxiproxy.proxy(toxiproxy.port, listen=proxy.port)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
def test_user_may_do_what_is_allowed(secure_kafka: SecureKafka, topic: str, mechanism: Mechanism) -> None:
    secure_kafka.create_topic(topic)
    client = secure_kafka.sasl_client(mechanism)
    assert produce(client, topic, b"refused") == "TOPIC_AUTHORIZATION_FAILED"
    secure_kafka.allow("alice", "WRITE", topic)
    assert produce(client, topic, b"allowed") is None
    assert produce(secure_kafka.sasl_client(mechanism, "admin"), topic, b"admin") is None
    assert values(secure_kafka.read(topic)) == [b"allowed", b"admin"]


def test_certificate_says_who_the_user_is(secure_kafka: SecureKafka, topic: str) -> None:
    secure_kafka.create_topic(topic)
    client = secure_kafka.ssl_client()
    assert produce(client, topic, b"refused") == "TOPIC_AUTHORIZATION_FAILED"
    secure_kafka.allow("alice", "WRITE", topic)
    assert produce(client, topic, b"allowed") is None
    stranger = secure_kafka.ssl_client(secure_kafka.certificates.stranger)
    # Under TLS 1.3 the refusal comes after the handshake, as an alert or a closed connection.
    assert connection_error(stranger) in ("_SSL", "_TRANSPORT")


def test_wrong_password_is_refused(secure_kafka: SecureKafka) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        assert connection_error(secure_kafka.sasl_client(mechanism, password="wrong")) == "_AUTHENTICATION"


@pytest.mark.parametrize("certificate", ["expired", "other_host"])
def test_client_refuses_the_certificate(secure_kafka_factory: SecureKafkaFactory, certificate: Certificate) -> None:
    kafka = secure_kafka_factory(server_certificate=certificate)
    assert connection_error(kafka.sasl_client()) == "_SSL"


def connection_error(settings: dict[str, str]) -> str:
    """The name of the first thing that goes wrong."""
    errors: list[KafkaError] = []
    with Producer({"log_level": 0, **settings, "error_cb": errors.append}) as producer:
        wait_until(lambda: producer.poll(0.01) or errors, what="an error")
    return errors[0].name()


def test_machine_without_java_gets_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install_module, "_answers", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnavailable, match="kafka: no java on the path; install a java runtime"):
        install_module.install("kafka")


def test_machine_without_maven_gets_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install_module, "_answers", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GDS_CACHE_DIR", str(tmp_path / "cache"))
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    with pytest.raises(ServiceUnavailable, match="kafka: no mvn on the path; install maven"):
        install_module.install("kafka")
