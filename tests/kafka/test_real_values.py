"""Values, keys and headers at the edges of what can be written: bytes of every kind, odd text, depth, models."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gds_kafka import (
    DeliveredMessage,
    KafkaConsumerClient,
    KafkaMessageError,
    KafkaProducerClient,
    KafkaSerializationError,
    OutgoingMessage,
)
from tests.kafka.test_real_producer import sent
from tests.services.kafka import KafkaBroker

pytestmark = pytest.mark.timing


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_whatever_is_bytes_goes_as_it_is(kafka: KafkaBroker, kind: Any) -> None:
    topic = f"real-bytes-{kind.__name__}"
    raw = kind(b"\x00\xff raw")
    parts: dict[str, Any] = {"headers": {"raw": raw}}
    sent(kafka, topic, OutgoingMessage(raw, raw, **parts), OutgoingMessage({"raw": raw}))
    plain, within = kafka.read(topic)
    assert (plain.value, plain.key, plain.headers) == (bytes(raw), bytes(raw), (("raw", bytes(raw)),))
    assert json.loads(within.value or b"") == {"raw": base64.b64encode(raw).decode()}
    with KafkaProducerClient(
        kafka.bootstrap_servers, value_serializer=lambda _: raw, key_serializer=lambda _: raw
    ) as p:
        [outcome] = p.send_many(topic, [OutgoingMessage(1, "2")])
    assert isinstance(outcome, DeliveredMessage)
    assert [(record.key, record.value) for record in kafka.read(topic)[2:]] == [(bytes(raw), bytes(raw))]


def test_text_that_utf8_cannot_carry_is_replaced_and_flagged_wherever_it_stands(kafka: KafkaBroker) -> None:
    topic = "real-surrogates"
    odd, fine, flag = "a\udcff", "a\ufffd".encode(), ("gds.lone_surrogate", "\ufffd".encode())
    headers: dict[str, Any] = {"h": odd}
    names: dict[str, Any] = {odd: b""}
    sent(
        kafka,
        topic,
        OutgoingMessage({"v": odd, odd: 1}),
        OutgoingMessage(1, odd),
        OutgoingMessage(1, headers=headers),
        OutgoingMessage(1, headers=names),
        OutgoingMessage("fine", "fine", headers={"h": "\ufffd"}),
    )
    records = kafka.read(topic)
    assert json.loads(records[0].value or b"") == {"v": "a\ufffd", "a\ufffd": 1}
    assert records[1].key == fine
    assert [record.headers for record in records] == [
        (flag,),
        (flag,),
        (("h", fine), flag),
        (("a\ufffd", b""), flag),
        (("h", "\ufffd".encode()),),
    ]
    with KafkaProducerClient(
        kafka.bootstrap_servers, value_serializer=lambda value: value, key_serializer=lambda key: key
    ) as producer:
        [outcome] = producer.send_many(topic, [OutgoingMessage(odd, odd)])
        assert isinstance(outcome, DeliveredMessage)
        with pytest.raises(KafkaMessageError, match="topic: expected a name in UTF-8"):
            producer.send("real-\udcff", 1)
    assert [(record.key, record.value, record.headers) for record in kafka.read(topic)[5:]] == [(fine, fine, (flag,))]


def test_what_is_as_deep_as_can_be_written_can_be_read(kafka: KafkaBroker) -> None:
    topic = "real-deep"
    deep: Any = {"n": 1}
    for _ in range(255):
        deep = [deep]
    sent(kafka, topic, OutgoingMessage(deep))
    with KafkaConsumerClient(topic, kafka.bootstrap_servers, auto_offset_reset="earliest") as consumer:
        assert next(consumer.messages())["value"] == deep
        with KafkaProducerClient(kafka.bootstrap_servers) as producer:
            producer.send(topic, deep)
            with pytest.raises(KafkaSerializationError, match="at most 256 levels"):
                producer.send(topic, [deep])
        assert next(consumer.messages())["value"] == deep
