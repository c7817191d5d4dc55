"""What a producer writes, as clients that are not ours read it back: confluent-kafka and kcat."""

from __future__ import annotations

import json
import logging
import pickle
import random
import struct
import threading
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from time import time
from typing import Any
from uuid import UUID

import orjson
import pytest

from gds_kafka import (
    DeliveredMessage,
    GdsKafkaError,
    KafkaConfigurationError,
    KafkaMessageError,
    KafkaProducerClient,
    KafkaSerializationError,
    OutgoingMessage,
)
from gds_metrics import PrometheusMetrics
from tests.metrics.doubles import Recorder
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

LONG = 60.0
"""More than any delivery takes once the broker is there."""

TOO_LARGE = 10
"""MSG_SIZE_TOO_LARGE, in the numbers of librdkafka and the protocol."""

LONG_AGO = 1_700_000_000_123
"""Milliseconds since the epoch."""

KEPT: dict[str, str | int | bool] = {"retention.ms": -1}
"""For messages of long ago, which a broker would remove."""


def balanced(stats: dict[str, Any]) -> None:
    ends = stats["delivered_total"] + sum(stats["failed_total"].values()) + sum(stats["dropped_total"].values())
    assert stats["accepted_total"] == ends + stats["pending"], stats


def sent(kafka: KafkaBroker, topic: str, *messages: OutgoingMessage, **config: Any) -> None:
    """Sends these, one after the other."""
    with KafkaProducerClient(kafka.bootstrap_servers, **config) as producer:
        for each in messages:
            producer.send(
                topic, each.value, each.key, headers=each.headers, partition=each.partition, timestamp=each.timestamp
            )
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    assert stats["delivered_total"] == len(messages)
    balanced(stats)


JSON_VALUES: list[Any] = [
    {},
    {"id": 7, "paid": True, "note": None, "price": 12.5, "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": -2}]},
    {"text": 'quote " backslash \\ newline \n tab \t null \x00 delete \x7f', "emoji": "🦀", "umlaut": "Grüße"},
    {"": "", "nested": {"a": {"b": {"c": [[[[1]]]]}}}},
    [1, 2.5, -0.0, 1e-7, 2**63, -(2**63), "x", None, True, False],
    "text alone",
    0,
    False,
]


def test_json_is_what_orjson_writes_byte_for_byte(kafka: KafkaBroker) -> None:
    topic = "real-json"
    sent(kafka, topic, *map(OutgoingMessage, JSON_VALUES))
    records = kafka.read(topic)
    assert [record.value for record in records] == [orjson.dumps(value) for value in JSON_VALUES]
    assert [json.loads(record.value or b"") for record in records] == JSON_VALUES
    assert [json.loads(record["payload"]) for record in kafka.kcat_read(topic)] == JSON_VALUES
    assert {(record.key, record.headers) for record in records} == {(None, ())}


def test_what_json_has_no_word_for(kafka: KafkaBroker) -> None:
    topic = "real-json-more"
    moment = datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=timezone.utc)
    identity = UUID("12345678-1234-5678-1234-567812345678")
    value = {"at": moment, "id": identity, "price": Decimal("12.50"), "raw": b"\x00\xff", "large": 2**80}
    sent(kafka, topic, OutgoingMessage(value), OutgoingMessage({"n": float("nan")}))
    first, second = kafka.read(topic)
    assert json.loads(first.value or b"") == {
        "at": "2024-02-29T12:30:15.250000+00:00",
        "id": str(identity),
        "price": "12.50",
        "raw": "AP8=",
        "large": 2**80,
    }
    assert (second.value, second.headers) == (b'{"n":null}', (("gds.non_finite", b"null"),))


def test_raw_values_and_keys_byte_for_byte(kafka: KafkaBroker) -> None:
    topic = "real-raw"
    values = [b"", b"\x00", b"\xff\xfe not utf-8", bytes(range(256)) * 100, None]
    keys = [None, b"", b"\x00\xff", "Grüße", "k"]
    sent(kafka, topic, *(OutgoingMessage(value, key) for value in values for key in keys))
    records = kafka.read(topic)
    expected = [key.encode() if isinstance(key, str) else key for key in keys]
    assert [record.value for record in records] == [value for value in values for _ in keys]
    assert [record.key for record in records] == expected * len(values)


def test_a_message_without_a_value_deletes_its_key(kafka: KafkaBroker) -> None:
    topic = "real-tombstone"
    sent(kafka, topic, OutgoingMessage(None, "gone"), OutgoingMessage(b"", "empty"))
    gone, empty = kafka.kcat_read(topic)
    assert (gone["key"], gone["payload"]) == ("gone", None)
    assert (empty["key"], empty["payload"]) == ("empty", "")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            [("a", b"1"), ("b", None), ("a", b"2"), ("a", b"1"), ("bin", bytes(range(256))), ("", b""), ("Grüße", "ü")],
            (
                *(("a", b"1"), ("b", None), ("a", b"2"), ("a", b"1"), ("bin", bytes(range(256)))),
                *(("", b""), ("Grüße", "ü".encode())),
            ),
        ),
        ({"source": "shop", "raw": b"\x00", "none": None}, (("source", b"shop"), ("raw", b"\x00"), ("none", None))),
        ([(f"h{number}", str(number)) for number in range(500)], tuple((f"h{n}", b"%d" % n) for n in range(500))),
        ([], ()),
    ],
    ids=["pairs", "dict", "many", "none"],
)
def test_headers_in_order_with_repeated_names(
    kafka: KafkaBroker, request: pytest.FixtureRequest, headers: Any, expected: Any
) -> None:
    topic = f"real-headers-{request.node.callspec.id}"
    sent(kafka, topic, OutgoingMessage({"n": 1}, headers=headers))
    [record] = kafka.read(topic)
    assert record.headers == expected


def test_kcat_sees_the_same_headers(kafka: KafkaBroker) -> None:
    topic = "real-headers-kcat"
    sent(kafka, topic, OutgoingMessage("v", headers=[("a", "1"), ("a", "2"), ("none", None), ("empty", b"")]))
    [record] = kafka.kcat_read(topic)
    assert record["headers"] == ["a", "1", "a", "2", "none", None, "empty", ""]


def test_timestamps(kafka: KafkaBroker) -> None:
    topic = "real-timestamps"
    kafka.create_topic(topic, config=KEPT)
    east = timezone(timedelta(hours=5, minutes=30))
    given: list[tuple[Any, int]] = [
        (LONG_AGO, LONG_AGO),
        (1, 1),
        (datetime(2024, 2, 29, 12, 30, 15, 678_000, tzinfo=timezone.utc), 1_709_209_815_678),
        (datetime(2024, 2, 29, 18, 0, 15, 678_000, tzinfo=east), 1_709_209_815_678),
    ]
    sent(kafka, topic, *(OutgoingMessage(b"", timestamp=timestamp) for timestamp, _ in given))
    assert [record.timestamp_ms for record in kafka.read(topic)] == [expected for _, expected in given]
    assert [record["ts"] for record in kafka.kcat_read(topic)] == [expected for _, expected in given]
    assert {record["tstype"] for record in kafka.kcat_read(topic)} == {"create"}


@pytest.mark.parametrize(
    "timestamp", [0, -1, -5, datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(1969, 7, 20, tzinfo=timezone.utc)]
)
def test_a_timestamp_that_cannot_be_sent_is_refused(timestamp: Any) -> None:
    with KafkaProducerClient("127.0.0.1:9", lazy=True, close_timeout_seconds=0) as producer:
        with pytest.raises(ValueError, match="expected milliseconds since the epoch from 1 on") as refused:
            producer.send("real-timestamp-refused", b"", timestamp=timestamp)
        assert f"timestamp={timestamp}" in str(refused.value)
        assert producer.stats()["accepted_total"] == 0


def test_without_a_timestamp_it_is_the_time_of_send(kafka: KafkaBroker) -> None:
    topic = "real-timestamp-now"
    with KafkaProducerClient(kafka.bootstrap_servers, linger_ms=10_000) as producer:
        before = int(time() * 1000)
        producer.send(topic, b"")
        after = int(time() * 1000) + 1
        assert producer.flush(LONG) == 0
    [record] = kafka.read(topic)
    assert record.timestamp_ms is not None
    assert before <= record.timestamp_ms <= after


def test_an_explicit_partition_wins_over_the_key(kafka: KafkaBroker) -> None:
    topic = "real-partition"
    kafka.create_topic(topic, partitions=5)
    sent(kafka, topic, *(OutgoingMessage({"p": number}, "same", partition=number) for number in range(5)))
    assert [(record.partition, json.loads(record.value or b"")["p"]) for record in kafka.read(topic)] == [
        (number, number) for number in range(5)
    ]


def test_a_partition_that_is_not_there_is_refused(kafka: KafkaBroker) -> None:
    topic = "real-partition-unknown"
    kafka.create_topic(topic, partitions=2)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        [refused, landed] = producer.send_many(
            topic, [OutgoingMessage(b"", partition=99), OutgoingMessage(b"", partition=1)], timeout=LONG
        )
        assert producer.stats()["failed_total"] == {"unknown_topic": 1}
        with pytest.raises(ValueError, match="partition=-1"):
            producer.send(topic, b"", partition=-1)
    assert isinstance(refused, KafkaMessageError)
    assert "partition" in str(refused)
    assert isinstance(landed, DeliveredMessage)
    assert landed.partition == 1


@pytest.fixture(scope="module")
def murmur2() -> Callable[[bytes], int]:
    """kafka-python's hash of a key."""
    with warnings.catch_warnings():
        # It reads its own files in a way that newer Pythons advise against.
        warnings.simplefilter("ignore", DeprecationWarning)
        from kafka.partitioner.default import murmur2

    hashed: Callable[[bytes], int] = murmur2
    return hashed


def test_keys_land_where_kafka_pythons_do(kafka: KafkaBroker, murmur2: Callable[[bytes], int]) -> None:
    topic, partitions = "real-murmur2", 7
    kafka.create_topic(topic, partitions=partitions)
    chance = random.Random(7)
    keys = [b"", b"\x00", "Grüße".encode(), *(str(number).encode() for number in range(500))]
    keys += [chance.randbytes(length) for length in range(1, 64) for _ in range(8)]
    sent(kafka, topic, *(OutgoingMessage(None, key) for key in keys))
    landed = {(record.key, record.partition) for record in kafka.read(topic)}
    assert landed == {(key, (murmur2(key) & 0x7FFFFFFF) % partitions) for key in keys}
    assert {partition for _, partition in landed} == set(range(partitions))


def test_text_keys_land_as_their_bytes(kafka: KafkaBroker, murmur2: Callable[[bytes], int]) -> None:
    topic, partitions = "real-murmur2-text", 7
    kafka.create_topic(topic, partitions=partitions)
    keys = [f"kunde-{number}-ü" for number in range(100)]
    sent(kafka, topic, *(OutgoingMessage({}, key) for key in keys))
    assert {(record.key, record.partition) for record in kafka.read(topic)} == {
        (key.encode(), (murmur2(key.encode()) & 0x7FFFFFFF) % partitions) for key in keys
    }


def _codec(kafka: KafkaBroker, topic: str) -> int:
    """The codec of the first batch in the broker's log: the low bits of its attributes (KIP-98, magic 2)."""
    batch = Path(kafka.nodes[0].folder, "data", f"{topic}-0", f"{0:020}.log").read_bytes()
    magic, _, attributes = struct.unpack_from(">bIh", batch, 16)
    assert magic == 2
    return int(attributes & 7)


@pytest.mark.parametrize(("codec", "number"), [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)])
def test_every_codec(kafka: KafkaBroker, codec: str, number: int) -> None:
    topic = f"real-codec-{codec}"
    values: list[dict[str, Any]] = [{"n": n, "text": "what is said again and again " * 10} for n in range(500)]
    messages = [OutgoingMessage(value, str(value["n"]), headers={"n": str(value["n"])}) for value in values]
    sent(kafka, topic, *messages, compression_type=codec, linger_ms=100)
    records = kafka.read(topic)
    assert [(record.value, record.key, record.headers) for record in records] == [
        (orjson.dumps(value), b"%d" % value["n"], (("n", b"%d" % value["n"]),)) for value in values
    ]
    assert _codec(kafka, topic) == number


def test_the_outcome_of_each_of_many(kafka: KafkaBroker) -> None:
    topic = "real-many"
    kafka.create_topic(topic, partitions=2, config=KEPT)
    unwritable = {"it": object()}
    with KafkaProducerClient(kafka.bootstrap_servers, max_request_size=50_000) as producer:
        outcomes = producer.send_many(
            topic,
            [
                OutgoingMessage({"n": 0}, partition=0),
                OutgoingMessage(b"x" * 60_000, partition=0),
                OutgoingMessage(
                    {"n": 2}, "k", headers=[("a", b"1"), ("a", None)], partition=1, timestamp=1_700_000_000_123
                ),
                unwritable,
                OutgoingMessage(None, "k", partition=1, timestamp=datetime(2024, 1, 1, tzinfo=timezone.utc)),
            ],
        )
        assert producer.send_many(topic, iter(())) == []
        stats = producer.stats()
    balanced(stats)
    assert (stats["delivered_total"], stats["failed_total"]) == (3, {"message_too_large": 1})
    first, large, second, bad, third = outcomes
    assert isinstance(first, DeliveredMessage)
    assert (first.topic, first.partition, first.offset) == (topic, 0, 0)
    assert isinstance(second, DeliveredMessage)
    assert (second.partition, second.offset, second.timestamp) == (1, 0, LONG_AGO)
    assert isinstance(third, DeliveredMessage)
    assert (third.partition, third.offset, third.timestamp) == (1, 1, 1_704_067_200_000)
    assert isinstance(large, KafkaMessageError)
    assert (large.code, large.retriable, large.fatal) == (TOO_LARGE, False, False)
    assert "max_request_size" in str(large)
    assert isinstance(bad, KafkaSerializationError)
    assert "it" in str(bad)
    records = kafka.read(topic)
    assert [record.value for record in records] == [b'{"n":0}', b'{"n":2}', None]
    assert records[1].headers == (("a", b"1"), ("a", None))
    assert [record.timestamp_ms for record in records[1:]] == [LONG_AGO, 1_704_067_200_000]


def test_on_delivery_is_told_once_in_order(kafka: KafkaBroker) -> None:
    topic = "real-on-delivery"
    kafka.create_topic(topic, config=KEPT)
    told: list[tuple[int, Any, Any, int]] = []

    def tell(number: int) -> Any:
        return lambda error, delivered: told.append((number, error, delivered, threading.get_ident()))

    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        for number in range(1_000):
            producer.send(topic, {"n": number}, timestamp=LONG_AGO + number, on_delivery=tell(number))
        assert producer.flush(LONG) == 0
        # Told before a flush that has nothing left returns.
        assert [number for number, *_ in told] == list(range(1_000))
    assert {error for _, error, _, _ in told} == {None}
    for number, _, delivered, _ in told:
        assert isinstance(delivered, DeliveredMessage)
        assert (delivered.topic, delivered.partition, delivered.offset) == (topic, 0, number)
        assert delivered.timestamp == LONG_AGO + number
    threads = {thread for *_, thread in told}
    assert threading.get_ident() not in threads
    assert len(threads) == 1


def test_on_delivery_is_told_the_error_of_a_message_that_is_refused(kafka: KafkaBroker) -> None:
    told: list[tuple[Any, Any]] = []
    with KafkaProducerClient(kafka.bootstrap_servers, max_request_size=2_000) as producer:
        producer.send(
            "real-refused", b"x" * 3_000, on_delivery=lambda error, delivered: told.append((error, delivered))
        )
        producer.send("not a topic!", b"x", on_delivery=lambda error, delivered: told.append((error, delivered)))
        assert producer.flush(LONG) == 0
        assert producer.stats()["failed_total"] == {"message_too_large": 1, "invalid_topic": 1}
    assert [delivered for _, delivered in told] == [None, None]
    assert {error.code for error, _ in told} == {TOO_LARGE, 17}
    assert {type(error) for error, _ in told} == {KafkaMessageError}


def test_an_on_delivery_that_raises_stops_nobody(kafka: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    def tell(number: int) -> Any:
        def call(error: Any, delivered: Any) -> None:
            told.append(number)
            if number % 2:
                raise RuntimeError("on purpose")

        return call

    with caplog.at_level(logging.WARNING, "gds_kafka"), KafkaProducerClient(kafka.bootstrap_servers) as producer:
        for number in range(10):
            producer.send("real-raising", {"n": number}, on_delivery=tell(number))
        assert producer.flush(LONG) == 0
        assert producer.stats()["delivered_total"] == 10
    assert told == list(range(10))
    assert "on_delivery callback raised" in caplog.text


def test_what_waits_for_callbacks_says_so_when_a_callback_calls_it(kafka: KafkaBroker) -> None:
    topic = "real-waiting-for-oneself"
    kafka.create_topic(topic, config=KEPT)
    refused: list[str] = []

    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        calls: list[Callable[[], object]] = [producer.flush, producer.close, lambda: producer.send_many(topic, [b"no"])]

        def tell(error: Any, delivered: Any) -> None:
            for call in calls:
                with pytest.raises(RuntimeError, match="on_delivery") as caught:
                    call()
                refused.append(str(caught.value).split()[0])
            producer.send(topic, b"from a callback")

        producer.send(topic, b"first", on_delivery=tell)
        assert producer.flush(LONG) == 0
        # Told by flush's time, and what the callback sent was taken.
        assert refused == ["flush()", "close()", "send_many()"]
        assert producer.flush(LONG) == 0
    assert [record.value for record in kafka.read(topic)] == [b"first", b"from a callback"]


def test_a_flush_waits_for_callbacks_that_are_being_told(kafka: KafkaBroker) -> None:
    topic = "real-told-before-flush"
    kafka.create_topic(topic, config=KEPT)
    entered, leave = threading.Event(), threading.Event()
    told: list[int] = []

    def tell(error: Any, delivered: Any) -> None:
        entered.set()
        assert leave.wait(LONG)
        told.append(delivered.offset)

    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        producer.send(topic, b"x", on_delivery=tell)
        assert entered.wait(LONG)
        # Delivered, and not told yet.
        assert producer.stats()["pending"] == 0
        assert producer.flush(0.2) == 1
        leave.set()
        assert producer.flush(LONG) == 0
        assert told == [0]


DEATH = {"dlq.topic", "dlq.partition", "dlq.offset", "dlq.timestamp", "dlq.attempts", "dlq.error"}


def test_a_message_too_large_for_its_topic_is_a_dead_letter(kafka: KafkaBroker) -> None:
    topic = "real-dead"
    kafka.create_topic(topic, config={"max.message.bytes": 2_000})
    kafka.create_topic(f"{topic}.dlq", config=KEPT)
    value, headers = b"x" * 5_000, [("a", b"1"), ("a", b"\xff"), ("none", None)]
    with KafkaProducerClient(kafka.bootstrap_servers, dead_letter=True) as producer:
        outcomes = producer.send_many(topic, [OutgoingMessage(value, "k", headers=headers, timestamp=LONG_AGO)])
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    [error] = outcomes
    assert isinstance(error, KafkaMessageError)
    assert error.code == TOO_LARGE
    balanced(stats)
    assert stats["failed_total"] == {"message_too_large": 1}
    assert (stats["accepted_total"], stats["delivered_total"], stats["dead_lettered_total"]) == (2, 1, 1)
    assert kafka.read(topic) == []
    [letter] = kafka.read(f"{topic}.dlq")
    assert (letter.key, letter.value) == (b"k", value)
    assert letter.headers[:3] == tuple(headers)
    death = dict(letter.headers[3:])
    assert set(death) == DEATH
    assert (death["dlq.topic"], death["dlq.offset"], death["dlq.attempts"]) == (topic.encode(), b"-1", b"1")
    assert b"larger than the broker takes" in (death["dlq.error"] or b"")
    assert (letter.timestamp_ms, death["dlq.timestamp"]) == (LONG_AGO, str(LONG_AGO).encode())


def test_a_batch_too_large_for_its_topic_goes_in_parts_that_keep_their_times(kafka: KafkaBroker) -> None:
    topic = "real-parts"
    kafka.create_topic(topic, config={"max.message.bytes": 2_000} | KEPT)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        outcomes = producer.send_many(
            topic, [OutgoingMessage(b"x" * 300, timestamp=LONG_AGO + number) for number in range(30)]
        )
        assert [each for each in outcomes if not isinstance(each, DeliveredMessage)] == []
    assert sorted(record.timestamp_ms or 0 for record in kafka.read(topic)) == [*range(LONG_AGO, LONG_AGO + 30)]


def test_a_dead_letter_that_is_too_large_as_well_is_counted(kafka: KafkaBroker) -> None:
    topic = "real-dead-twice"
    kafka.create_topic(f"{topic}.dlq")
    told: list[Any] = []
    with KafkaProducerClient(kafka.bootstrap_servers, dead_letter=True, max_request_size=2_000) as producer:
        producer.send(topic, b"x" * 5_000, on_delivery=lambda error, delivered: told.append(error))
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    balanced(stats)
    assert stats["failed_total"] == {"message_too_large": 2}
    assert (stats["accepted_total"], stats["delivered_total"], stats["pending"]) == (2, 0, 0)
    assert [error.code for error in told] == [TOO_LARGE]
    assert kafka.read(f"{topic}.dlq") == []


def test_max_request_size_goes_both_ways(kafka: KafkaBroker) -> None:
    topic = "real-size"
    kafka.create_topic(topic, config={"max.message.bytes": 4_000_000})
    large = random.Random(7).randbytes(3_000_000)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        [refused] = producer.send_many(topic, [large])
        assert isinstance(refused, KafkaMessageError)
        assert refused.code == TOO_LARGE
    with KafkaProducerClient(kafka.bootstrap_servers, max_request_size=4_000_000) as producer:
        [landed] = producer.send_many(topic, [large])
        assert isinstance(landed, DeliveredMessage)
    [record] = kafka.read(topic)
    assert record.value == large


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_without_idempotence(kafka: KafkaBroker, acks: Any) -> None:
    topic = f"real-acks-{acks}"
    # A topic that is not there yet has nobody who answers that it is not, where nobody answers.
    kafka.create_topic(topic)
    values = [{"n": number} for number in range(200)]
    with KafkaProducerClient(kafka.bootstrap_servers, acks=acks, enable_idempotence=False) as producer:
        outcomes = producer.send_many(topic, values)
        assert producer.stats()["delivered_total"] == 200
    assert {type(outcome) for outcome in outcomes} == {DeliveredMessage}
    # Nobody tells the place where nobody answers.
    offsets = [outcome.offset for outcome in outcomes if isinstance(outcome, DeliveredMessage)]
    assert offsets == ([-1] * 200 if acks == 0 else list(range(200)))
    wait_until(lambda: kafka.end_offsets(topic) == {0: 200}, what=lambda: f"200 messages: {kafka.end_offsets(topic)}")
    assert [json.loads(record.value or b"") for record in kafka.read(topic)] == values


def test_eight_threads_send_at_once(kafka: KafkaBroker) -> None:
    topic = "real-threads"
    kafka.create_topic(topic, partitions=3)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        together = threading.Barrier(8)

        def run(thread: int) -> None:
            together.wait()
            for number in range(500):
                producer.send(topic, {"thread": thread, "n": number}, key=f"t{thread}")

        threads = [threading.Thread(target=run, args=(thread,)) for thread in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    balanced(stats)
    assert (stats["accepted_total"], stats["delivered_total"]) == (4_000, 4_000)
    values = [json.loads(record.value or b"") for record in kafka.read(topic)]
    for thread in range(8):
        # One key is one partition, so the order of its thread stays.
        assert [value["n"] for value in values if value["thread"] == thread] == list(range(500))


def test_flush_returns_how_many_are_left() -> None:
    with KafkaProducerClient("127.0.0.1:9", lazy=True, close_timeout_seconds=0) as producer:
        assert producer.flush(LONG) == 0
        for number in range(3):
            producer.send("nowhere", {"n": number})
        start = time()
        assert producer.flush(0.2) == 3
        assert producer.flush(0) == 3
        assert 0.2 <= time() - start < 10
        stats = producer.stats()
        balanced(stats)
        assert stats["pending"] == 3
        assert producer.close(0) == 3
    stats = producer.stats()
    balanced(stats)
    assert stats["dropped_total"] == {"closed": 3}


def test_flush_does_not_wait_for_others_to_share_a_request(kafka: KafkaBroker) -> None:
    with KafkaProducerClient(kafka.bootstrap_servers, linger_ms=600_000) as producer:
        producer.send("real-linger", {"n": 0})
        assert producer.flush(LONG) == 0
        assert producer.stats()["delivered_total"] == 1


def test_its_figures_reach_a_collector(kafka: KafkaBroker) -> None:
    recorder = Recorder()
    with KafkaProducerClient(
        kafka.bootstrap_servers, metrics=recorder, client_id="shop", librdkafka={"statistics.interval.ms": 100}
    ) as producer:

        def reported() -> bool:
            producer.send("real-metrics", {"n": 0})
            known = {call.name for call in recorder.calls if call.value > 0}
            return known >= {"kafka.producer.rtt_avg_seconds", "kafka.producer.sent_messages"}

        wait_until(reported, what="what librdkafka counts is reported")
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    assert {call.labels == {"client_id": "shop"} for call in recorder.calls} == {True}
    gauges = {call.name.removeprefix("kafka.producer.") for call in recorder.calls if call.method == "gauge"}
    assert gauges >= {"pending", "queued", "queued_bytes", "in_flight", "spool_bytes", "spool_age_seconds"}
    assert gauges >= {"queue_messages", "queue_bytes", "in_flight_requests", "rtt_avg_seconds", "rtt_p99_seconds"}
    assert gauges >= {"brokers_up"}
    counted = {
        name: sum(call.value for call in recorder.calls if call.name == f"kafka.producer.{name}")
        for name in ("accepted", "delivered", "sent_messages")
    }
    assert counted["accepted"] == counted["delivered"] == stats["delivered_total"]
    assert 0 < counted["sent_messages"] <= stats["delivered_total"]


def test_its_figures_reach_prometheus(kafka: KafkaBroker) -> None:
    metrics = PrometheusMetrics(prefix="app", start_server=False)
    with KafkaProducerClient(kafka.bootstrap_servers, metrics=metrics, max_request_size=2_000) as producer:
        producer.send_many("real-prometheus", [{"n": 0}, b"x" * 3_000, {"n": 1}])
        assert producer.flush(LONG) == 0
        assert metrics.sample("kafka.producer.delivered") == 2
        assert metrics.sample("kafka.producer.failed", {"reason": "message_too_large"}) == 1
        assert metrics.sample("kafka.producer.queued") == 0
    page = metrics.render().decode()
    assert "app_kafka_producer_delivered_total 2" in page
    metrics.close()


def test_serializers_as_in_kafka_python(kafka: KafkaBroker) -> None:
    topic = "real-serializers"

    def serialize(value: Any) -> bytes | None:
        return None if value == "delete" else repr(value).encode()

    with KafkaProducerClient(
        kafka.bootstrap_servers, value_serializer=serialize, key_serializer=lambda key: struct.pack(">q", key)
    ) as producer:
        keys: list[Any] = [7, -1]
        producer.send(topic, {1, 2}, key=keys[0])
        producer.send(topic, "delete", key=keys[1])
        producer.send(topic, b"bytes too")
        assert producer.flush(LONG) == 0
    assert [(record.value, record.key) for record in kafka.read(topic)] == [
        (b"{1, 2}", struct.pack(">q", 7)),
        (None, struct.pack(">q", -1)),
        (b"b'bytes too'", None),
    ]


def test_a_serializer_that_fails_says_so_and_loses_only_its_message(kafka: KafkaBroker) -> None:
    topic = "real-serializer-fails"
    answers: dict[str, Any] = {"good": b"good", "kind": 7}
    with KafkaProducerClient(kafka.bootstrap_servers, value_serializer=answers.__getitem__) as producer:
        producer.send(topic, "good")
        with pytest.raises(KafkaSerializationError, match="value_serializer raised") as caught:
            producer.send(topic, "absent")
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(KafkaSerializationError, match="value_serializer returned an object of type int"):
            producer.send(topic, "kind")
        producer.send(topic, "good")
        assert producer.flush(LONG) == 0
        assert producer.stats()["accepted_total"] == 2
    assert [record.value for record in kafka.read(topic)] == [b"good", b"good"]


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ({"lingerms": 5}, "linger_ms"),
        ({"compression": "zstd"}, "compression_type"),
        ({"sasl_plain_pasword": "hunter2"}, "sasl_plain_password"),
        ({"ssl_ca_file": "hunter2"}, "ssl_cafile"),
        ({"spooldir": "hunter2"}, "spool_dir"),
        ({"librdkafka": {"socket.nagle.disabled": True}}, "socket.nagle.disable"),
    ],
)
def test_an_unknown_setting_names_the_nearest_and_not_its_value(given: Any, nearest: str) -> None:
    with pytest.raises(KafkaConfigurationError) as caught:
        KafkaProducerClient("127.0.0.1:9", **given)
    [name] = given.get("librdkafka", given)
    assert name in str(caught.value)
    assert nearest in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"acks": 7},
        {"linger_ms": -1},
        {"linger_ms": "soon"},
        {"compression_type": "brotli"},
        {"on_full": "panic"},
        {"durability": "process"},
        {"max_request_size": 10},
        {"partitioner": "mine"},
        {"security_protocol": "TLS"},
        {"sasl_mechanism": "SCRAM"},
        {"enable_idempotence": True, "acks": 1},
        {"transactional_id": "t"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_a_setting_that_makes_no_sense_is_named(given: Any) -> None:
    with pytest.raises(KafkaConfigurationError) as caught:
        KafkaProducerClient("127.0.0.1:9", lazy=True, close_timeout_seconds=0, **given)
    assert next(iter(given)) in str(caught.value)


SECRETS: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "ann",
    "sasl_plain_password": "hunter2-secret",
}


def test_no_password_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    shown: list[str] = []
    caplog.set_level(logging.DEBUG, "gds_kafka")
    with KafkaProducerClient(
        "127.0.0.1:9", lazy=True, close_timeout_seconds=0, librdkafka={"debug": "conf,security,broker"}, **SECRETS
    ) as producer:
        producer.send("nowhere", {"n": 0}, on_delivery=lambda error, delivered: shown.append(str(error)))
        producer.flush(0.1)
        state = getattr(producer, "__getstate__", dict)  # every object has one since 3.11
        shown += [repr(producer), str(producer), repr(producer.stats()), repr(state())]
        with pytest.raises(TypeError) as unpickled:
            pickle.dumps(producer)
        shown.append(repr(unpickled.value))
    for bad in ({"sasl_mechanism": "NONE"}, {"sasl_plain_password": ["hunter2-secret"]}, {"sasl_plain_username": 7}):
        with pytest.raises(GdsKafkaError) as refused:
            KafkaProducerClient("127.0.0.1:9", lazy=True, close_timeout_seconds=0, **SECRETS | bad)
        shown += [str(refused.value), repr(refused.value)]
    shown += [record.getMessage() for record in caplog.records]
    assert caplog.records
    assert "hunter2-secret" not in "\n".join(shown)
