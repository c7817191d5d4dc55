"""Who is let in with a ticket, and what one is told who does not get any."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import (
    DeliveredMessage,
    KafkaConnectionError,
    KafkaConsumerClient,
    KafkaMessageError,
    KafkaProducerClient,
)
from tests.kafka.test_security import LONG, TOPIC_AUTHORIZATION_FAILED
from tests.services.kafka import KerberizedKafka


@pytest.fixture
def kafka(
    kerberized_kafka: KerberizedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> KerberizedKafka:
    """The broker, and this process a client of its realm that has no ticket yet."""
    for name, value in kerberized_kafka.realm.environment(tmp_path / "tickets").items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG, "gds_kafka")
    return kerberized_kafka


def kerberos(kafka: KerberizedKafka, principal: str, keytab: Path, **more: Any) -> dict[str, Any]:
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "GSSAPI",
        "connect_timeout_seconds": 30,
        "librdkafka": {
            "sasl.kerberos.principal": principal,
            "sasl.kerberos.keytab": str(keytab),
            "debug": "security",
        },
        **more,
    }


def test_a_keytab_is_let_in(kafka: KerberizedKafka, caplog: pytest.LogCaptureFixture) -> None:
    kafka.create_topic("kerberos")
    settings = kerberos(kafka, "alice", kafka.realm.keytab("alice"), sasl_kerberos_service_name="kafka")
    with KafkaProducerClient(**settings) as producer:
        [outcome] = producer.send_many("kerberos", [{"n": 1}], timeout=LONG)
        assert isinstance(outcome, DeliveredMessage), outcome
    servers = settings.pop("bootstrap_servers")
    with KafkaConsumerClient(
        "kerberos", servers, "kerberos", auto_offset_reset="earliest", consumer_timeout_ms=LONG * 1000, **settings
    ) as consumer:
        assert next(consumer)["value"] == {"n": 1}
    assert "Authenticated as alice using GSSAPI" in caplog.text


def test_one_may_do_what_the_principal_may(kafka: KerberizedKafka) -> None:
    kafka.create_topic("kerberos-forbidden")
    # One that may write nowhere is not given the number that idempotence takes.
    settings = kerberos(kafka, "bob", kafka.realm.keytab("bob"), enable_idempotence=False, delivery_timeout_ms=3_000)
    with KafkaProducerClient(**settings) as producer:
        [refused] = producer.send_many("kerberos-forbidden", [{"n": 1}], timeout=LONG)
    assert isinstance(refused, KafkaMessageError)
    assert (refused.code, refused.retriable) == (TOPIC_AUTHORIZATION_FAILED, False)


def old_keys(kafka: KerberizedKafka) -> dict[str, Any]:
    keytab = kafka.realm.keytab("alice")
    kafka.realm.keytab("alice")
    return kerberos(kafka, "alice", keytab)


def another_principal(kafka: KerberizedKafka) -> dict[str, Any]:
    return kerberos(kafka, "nobody", kafka.realm.keytab("alice"))


def no_file(kafka: KerberizedKafka) -> dict[str, Any]:
    return kerberos(kafka, "alice", Path("/nowhere/alice.keytab"))


@pytest.mark.parametrize("settings", [old_keys, another_principal, no_file])
def test_without_a_ticket_one_is_refused_with_the_reason(
    kafka: KerberizedKafka,
    settings: Callable[[KerberizedKafka], dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KafkaConnectionError, match="No Kerberos credentials available") as refused:
        KafkaProducerClient(**settings(kafka))
    assert not refused.value.retriable
    # librdkafka asks for a ticket by a command, which says on standard error why there is none.
    assert "Kerberos ticket refresh failed" in caplog.text
    assert "kinit: " in capfd.readouterr().err


def test_a_service_the_realm_does_not_know_is_named(kafka: KerberizedKafka) -> None:
    keytab = kafka.realm.keytab("alice")
    with pytest.raises(KafkaConnectionError, match=r"broker/127\.0\.0\.1@GDS\.TEST not found") as refused:
        KafkaProducerClient(**kerberos(kafka, "alice", keytab, sasl_kerberos_service_name="broker"))
    assert not refused.value.retriable
