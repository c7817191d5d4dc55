"""Who is let in, by passwords, tokens and certificates; what one may not do; and that no secret is told meanwhile."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import time
from typing import Any

import pytest

from gds_kafka import (
    DeliveredMessage,
    KafkaConnectionError,
    KafkaConsumerClient,
    KafkaMessageError,
    KafkaProducerClient,
)
from tests.kafka.test_faults_consumer import committed
from tests.services.fixtures import SecureKafkaFactory
from tests.services.kafka import Pem, SecureKafka
from tests.services.kafka.secure import PASSWORDS
from tests.services.process import wait_until

LONG = 60.0
"""More than any delivery takes once the broker is there."""

TOPIC_AUTHORIZATION_FAILED = 29
GROUP_AUTHORIZATION_FAILED = 30

DEBUG = {"debug": "security,broker,conf"}
"""librdkafka says all it knows about these."""


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., None]]:
    """Every line of the client, down to those of debugging, is looked through when the test is over."""
    secrets = [*PASSWORDS.values()]
    caplog.set_level(logging.DEBUG, "gds_kafka")
    yield lambda *more: secrets.extend(more)
    lines = [record.getMessage() for record in caplog.get_records("call") if record.name == "gds_kafka"]
    assert lines, "there is nothing in which a secret could have been"
    for secret in secrets:
        assert [line for line in lines if secret in line] == []


def sasl(kafka: SecureKafka, mechanism: str, user: str = "alice", **more: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": PASSWORDS[user],
        "ssl_cafile": str(kafka.certificates.ca),
        "connect_timeout_seconds": 15,
        "librdkafka": DEBUG,
        **more,
    }


def mutual(kafka: SecureKafka, identity: Pem, **more: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": kafka.ssl_bootstrap_servers,
        "security_protocol": "SSL",
        "ssl_cafile": str(kafka.certificates.ca),
        "ssl_certfile": str(identity.cert),
        "ssl_keyfile": str(identity.key),
        "connect_timeout_seconds": 15,
        "librdkafka": DEBUG,
        **more,
    }


def _part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def unsigned_token(user: str, seconds: float = 300) -> str:
    """A JSON web token that says who one is, for brokers that believe it (RFC 7519, section 6)."""
    now = time()
    return f"{_part({'alg': 'none'})}.{_part({'sub': user, 'iat': now, 'exp': now + seconds})}."


def allowed_topic(kafka: SecureKafka, name: str) -> str:
    kafka.create_topic(name)
    kafka.allow("alice", "WRITE", name)
    return name


def let_in(kafka: SecureKafka, topic: str, settings: dict[str, Any]) -> None:
    """A client with these settings is, and may do, what alice may."""
    with KafkaProducerClient(**settings) as producer:
        [outcome] = producer.send_many(topic, [{"n": 1}], timeout=LONG)
        assert isinstance(outcome, DeliveredMessage), outcome
        shown = f"{producer!r} {producer} {producer.stats()}"
    assert PASSWORDS["alice"] not in shown
    assert [record.value for record in kafka.read(topic)] == [b'{"n":1}']


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_password_is_let_in(secure_kafka: SecureKafka, mechanism: str) -> None:
    topic = allowed_topic(secure_kafka, f"secure-{mechanism.lower()}")
    let_in(secure_kafka, topic, sasl(secure_kafka, mechanism))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_refused_with_the_reason(
    secure_kafka: SecureKafka, mechanism: str, no_secret_is_logged: Callable[..., None]
) -> None:
    no_secret_is_logged("not-the-password")
    with pytest.raises(KafkaConnectionError, match="Failed to connect") as refused:
        KafkaProducerClient(**sasl(secure_kafka, mechanism, sasl_plain_password="not-the-password"))
    assert "uthentication" in str(refused.value)
    assert "sasl_plain_password" in str(refused.value)
    assert "not-the-password" not in str(refused.value) + repr(refused.value)
    assert not refused.value.retriable


class Provider:
    """As kafka-python has them."""

    def __init__(self, *tokens: Any) -> None:
        self._tokens = list(tokens)
        self.asked = 0

    def token(self) -> Any:
        self.asked += 1
        return self._tokens[min(self.asked, len(self._tokens)) - 1]


@pytest.mark.parametrize("form", ["text", "tuple", "function"])
def test_a_token_is_let_in(secure_kafka: SecureKafka, form: str, no_secret_is_logged: Callable[..., None]) -> None:
    topic = allowed_topic(secure_kafka, f"secure-token-{form}")
    token = unsigned_token("alice")
    no_secret_is_logged(token)
    provider: Any = Provider(token if form == "text" else (token, time() + 300))
    settings = sasl(secure_kafka, "OAUTHBEARER")
    del settings["sasl_plain_username"], settings["sasl_plain_password"]
    given = provider.token if form == "function" else provider
    let_in(secure_kafka, topic, settings | {"sasl_oauth_token_provider": given})
    assert provider.asked > 0


def test_a_token_provider_that_fails_is_named_in_the_error_and_the_log(
    secure_kafka: SecureKafka, caplog: pytest.LogCaptureFixture, no_secret_is_logged: Callable[..., None]
) -> None:
    no_secret_is_logged("hunter2")

    def fail() -> str:
        raise PermissionError("hunter2 was wrong")

    settings = sasl(secure_kafka, "OAUTHBEARER", sasl_oauth_token_provider=fail, connect_timeout_seconds=2)
    del settings["sasl_plain_username"], settings["sasl_plain_password"]
    with pytest.raises(KafkaConnectionError) as refused:
        KafkaProducerClient(**settings)
    assert "hunter2" not in str(refused.value)
    assert any("PermissionError" in record.getMessage() for record in caplog.records)


def test_a_token_of_nobody_the_broker_believes_is_refused(secure_kafka: SecureKafka) -> None:
    settings = sasl(secure_kafka, "OAUTHBEARER", sasl_oauth_token_provider=lambda: unsigned_token("alice", -3600))
    del settings["sasl_plain_username"], settings["sasl_plain_password"]
    with pytest.raises(KafkaConnectionError, match="uthentication"):
        KafkaProducerClient(**settings)


def test_a_certificate_is_let_in(secure_kafka: SecureKafka) -> None:
    topic = allowed_topic(secure_kafka, "secure-mutual")
    let_in(secure_kafka, topic, mutual(secure_kafka, secure_kafka.certificates.alice))


def test_a_strangers_certificate_is_refused(secure_kafka: SecureKafka) -> None:
    # The broker says so after librdkafka thinks that it is connected, which then tries again.
    settings = mutual(secure_kafka, secure_kafka.certificates.stranger, connect_timeout_seconds=3)
    with pytest.raises(KafkaConnectionError, match="Failed to connect") as refused:
        KafkaProducerClient(**settings)
    assert "certificate" in str(refused.value)


def test_a_broker_of_an_unknown_authority_is_refused_with_the_reason(secure_kafka: SecureKafka) -> None:
    # A certificate that signed nothing: the broker's authority is unknown.
    settings = sasl(secure_kafka, "PLAIN", ssl_cafile=str(secure_kafka.certificates.stranger.cert))
    with pytest.raises(KafkaConnectionError, match="issuer is not known") as refused:
        KafkaProducerClient(**settings)
    assert "ssl_cafile" in str(refused.value)


def test_a_certificate_for_another_host_is_refused_unless_told_otherwise(
    secure_kafka_factory: SecureKafkaFactory,
) -> None:
    kafka = secure_kafka_factory(server_certificate="other_host")
    with pytest.raises(KafkaConnectionError, match=r"another (address|host name)"):
        KafkaProducerClient(**sasl(kafka, "SCRAM-SHA-512"))
    topic = allowed_topic(kafka, "secure-other-host")
    let_in(kafka, topic, sasl(kafka, "SCRAM-SHA-512", ssl_check_hostname=False))


def test_plain_text_to_a_port_of_tls_says_what_to_look_at(secure_kafka: SecureKafka) -> None:
    settings = sasl(secure_kafka, "PLAIN", connect_timeout_seconds=2, security_protocol="SASL_PLAINTEXT")
    with pytest.raises(KafkaConnectionError, match="security_protocol"):
        KafkaProducerClient(**settings)


def test_a_topic_one_may_not_write_to_is_refused_and_counted(secure_kafka: SecureKafka) -> None:
    secure_kafka.create_topic("secure-forbidden")
    topic = allowed_topic(secure_kafka, "secure-beside-forbidden")
    told: list[Any] = []
    # Rights may be granted yet: without a spool that is waited for as long as for any delivery.
    with KafkaProducerClient(**sasl(secure_kafka, "SCRAM-SHA-512", delivery_timeout_ms=3_000)) as producer:
        producer.send("secure-forbidden", {"n": 0}, on_delivery=lambda *outcome: told.append(outcome))
        [allowed] = producer.send_many(topic, [{"n": 1}], timeout=LONG)
        [refused] = producer.send_many("secure-forbidden", [{"n": 2}], timeout=LONG)
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    assert isinstance(allowed, DeliveredMessage)
    assert isinstance(refused, KafkaMessageError)
    for error in (refused, told[0][0]):
        assert (error.code, error.retriable, error.fatal) == (TOPIC_AUTHORIZATION_FAILED, False, False)
        assert "secure-forbidden" in str(error)
    assert len(told) == 1
    assert told[0][1] is None
    assert (stats["delivered_total"], stats["failed_total"], stats["pending"]) == (1, {"not_authorized": 2}, 0)
    assert secure_kafka.read("secure-forbidden") == []
    assert [record.value for record in secure_kafka.read(topic)] == [b'{"n":1}']


def test_what_is_not_authorized_is_a_dead_letter(secure_kafka: SecureKafka) -> None:
    secure_kafka.create_topic("secure-dead")
    letters = allowed_topic(secure_kafka, "secure-dead.dlq")
    settings = sasl(secure_kafka, "SCRAM-SHA-512", dead_letter=True, delivery_timeout_ms=3_000)
    with KafkaProducerClient(**settings) as producer:
        producer.send("secure-dead", {"n": 1}, key="k", headers=[("a", b"1")])
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    assert (stats["failed_total"], stats["delivered_total"]) == ({"not_authorized": 1}, 1)
    [letter] = secure_kafka.read(letters)
    headers = dict(letter.headers)
    assert (letter.key, letter.value, headers["a"]) == (b"k", b'{"n":1}', b"1")
    assert (headers["dlq.topic"], headers["dlq.offset"], headers["dlq.attempts"]) == (b"secure-dead", b"-1", b"1")
    assert b"uthoriz" in (headers["dlq.error"] or b"")


def readable_topic(kafka: SecureKafka, name: str) -> str:
    allowed_topic(kafka, name)
    kafka.allow("alice", "READ", name)
    with KafkaProducerClient(**sasl(kafka, "PLAIN")) as producer:
        producer.send_many(name, [{"n": 1}], timeout=LONG)
    return name


def reader(kafka: SecureKafka, topic: str, group: str | None, **more: Any) -> KafkaConsumerClient:
    settings = sasl(kafka, "SCRAM-SHA-512", auto_offset_reset="earliest", consumer_timeout_ms=30_000, **more)
    return KafkaConsumerClient(topic, settings.pop("bootstrap_servers"), group, **settings)


def test_a_group_one_may_not_join_is_refused(secure_kafka: SecureKafka) -> None:
    topic = readable_topic(secure_kafka, "secure-read")

    def read(group: str) -> Any:
        with reader(secure_kafka, topic, group) as consumer:
            return next(consumer)["value"]

    with pytest.raises(KafkaMessageError) as refused:
        read("secure-forbidden-group")
    assert (refused.value.code, refused.value.retriable) == (GROUP_AUTHORIZATION_FAILED, False)
    assert "secure-forbidden-group" in str(refused.value) or "roup" in str(refused.value)
    secure_kafka.allow("alice", "READ", "secure-group", "group")
    assert read("secure-group") == {"n": 1}


def test_a_topic_one_may_not_read_is_refused(secure_kafka: SecureKafka) -> None:
    # To write is allowed, and with that to know that it is there.
    topic = allowed_topic(secure_kafka, "secure-write-only")
    secure_kafka.allow("alice", "READ", "secure-group-2", "group")
    for group in ("secure-group-2", None):
        with reader(secure_kafka, topic, group) as consumer, pytest.raises(KafkaMessageError) as refused:
            next(consumer)
        assert (refused.value.code, refused.value.retriable) == (TOPIC_AUTHORIZATION_FAILED, False)
        assert topic in str(refused.value)


def test_a_consumer_shows_no_password(secure_kafka: SecureKafka) -> None:
    topic = readable_topic(secure_kafka, "secure-shown")
    with reader(secure_kafka, topic, None) as consumer:
        assert next(consumer)["value"] == {"n": 1}
        shown = f"{consumer!r} {consumer} {consumer.stats()} {consumer.lag()}"
    assert PASSWORDS["alice"] not in shown
    with pytest.raises(KafkaConnectionError) as refused:
        reader(secure_kafka, topic, None, sasl_plain_password="hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("way", ["messages", "batches"])
def test_a_dead_letter_that_may_not_be_written_is_raised_and_nothing_is_lost(
    secure_kafka: SecureKafka, way: str
) -> None:
    topic = allowed_topic(secure_kafka, f"secure-poison-{way}")
    letters, group = f"{topic}.dlq", f"secure-poison-{way}"
    secure_kafka.create_topic(letters)
    secure_kafka.allow("alice", "READ", topic)
    secure_kafka.allow("alice", "READ", group, "group")
    with KafkaProducerClient(**sasl(secure_kafka, "PLAIN")) as producer:
        outcomes = producer.send_many(topic, [{"n": 0}, b"{poison", {"n": 2}], timeout=LONG)
    assert all(isinstance(outcome, DeliveredMessage) for outcome in outcomes)

    taken: list[int] = []

    def read(consumer: KafkaConsumerClient) -> bool:
        """Whether it got to the last message."""
        lists = consumer.batches() if way == "batches" else ([message] for message in consumer)
        for messages in lists:
            taken.extend(message["value"]["n"] for message in messages)
            if 2 in taken:
                consumer.commit()
                return True
        return False

    def refused(consumer: KafkaConsumerClient) -> None:
        with pytest.raises(KafkaMessageError, match=f"{letters} did not take the dead letter") as error:
            read(consumer)
        assert (error.value.retriable, error.value.fatal) == (True, False)
        assert f"{topic}[0] offset 1" in str(error.value)
        assert "Topic authorization failed" in str(error.value)
        assert error.value.code == 29
        assert consumer.stats()["dead_lettered_total"] == 0

    def allowed(consumer: KafkaConsumerClient) -> bool:
        # librdkafka learns of a right when it asks for the topic again.
        with suppress(KafkaMessageError):
            return read(consumer)
        return False

    with reader(secure_kafka, topic, group, on_error="dead_letter") as consumer:
        refused(consumer)
        refused(consumer)
    assert committed(secure_kafka, group, topic).get(0, 0) <= 1
    with reader(secure_kafka, topic, group, on_error="dead_letter") as consumer:
        refused(consumer)
        secure_kafka.allow("alice", "WRITE", letters)
        wait_until(lambda: allowed(consumer), timeout_seconds=LONG, what="the letter to be taken")
        assert consumer.stats()["dead_lettered_total"] == 1
    assert taken == [0, 2]
    assert committed(secure_kafka, group, topic) == {0: 3}
    [letter] = secure_kafka.read(letters)
    assert letter.value == b"{poison"
