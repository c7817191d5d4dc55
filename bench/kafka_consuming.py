"""Reading from a real broker, into dicts of key, parsed value, place, time and headers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer

from bench.brokers import MESSAGE, broker, fresh_topic
from bench.harness import AT_LEAST, AT_MOST, Bar, Effort, Row, alternate, alternate_pairs, expect, row
from gds_kafka import KafkaConsumerClient
from kafka import KafkaConsumer
from tests.services.kafka import KafkaBroker

__all__ = ["consuming"]

_MANY = 200_000
# kafka-python takes about 30 us for each.
_FEW = 20_000
_BATCH = 500
_TIMEOUT_SECONDS = 60.0

_Message = dict[str, Any]
_Batches = Iterator[list[_Message]]

_groups = count()


def _fill(kafka: KafkaBroker, messages: int) -> str:
    """A topic of messages as `KafkaMetrics` sends them: with a key and without headers."""
    topic = fresh_topic(kafka)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "queue.buffering.max.messages": messages})
    for number in range(messages):
        value = MESSAGE | {"value": number / 8, "attempts": number}
        producer.produce(topic, orjson.dumps(value), str(MESSAGE["name"]).encode())
    expect("messages that were not filled in", producer.flush(), 0)
    return topic


def _fresh_group() -> str:
    return f"bench-{next(_groups)}"


def _ours(kafka: KafkaBroker, topic: str) -> KafkaConsumerClient:
    return KafkaConsumerClient(topic, kafka.bootstrap_servers, _fresh_group(), auto_offset_reset="earliest")


def _our_batches(kafka: KafkaBroker, topic: str) -> _Batches:
    with _ours(kafka, topic) as consumer:
        yield from consumer.batches(_BATCH, _TIMEOUT_SECONDS)


def _our_messages(kafka: KafkaBroker, topic: str) -> Iterator[_Message]:
    with _ours(kafka, topic) as consumer:
        yield from consumer


def _confluent_batches(kafka: KafkaBroker, topic: str) -> _Batches:
    settings = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": _fresh_group(),
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    loads = orjson.loads
    try:
        while True:
            batch = []
            for message in consumer.consume(_BATCH, _TIMEOUT_SECONDS):
                error = message.error()
                if error is not None:
                    raise KafkaException(error)
                key, value = message.key(), message.value()
                batch.append(
                    {
                        "topic": message.topic(),
                        "partition": message.partition(),
                        "offset": message.offset(),
                        "timestamp": message.timestamp()[1],
                        "key": None if key is None else key.decode(),
                        "value": None if value is None else loads(value),
                        "headers": message.headers() or [],
                    }
                )
            yield batch
    finally:
        consumer.close()


def _kafka_python_messages(kafka: KafkaBroker, topic: str) -> Iterator[_Message]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=_fresh_group(),
        auto_offset_reset="earliest",
        key_deserializer=bytes.decode,
        value_deserializer=json.loads,
    )
    try:
        for message in consumer:
            yield {
                "topic": message.topic,
                "partition": message.partition,
                "offset": message.offset,
                "timestamp": message.timestamp,
                "key": message.key,
                "value": message.value,
                "headers": message.headers,
            }
    finally:
        consumer.close()


class _Timed:
    """Nanoseconds a message takes from the first one on, by the clock on the wall and of CPU time, threads included."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter_ns(), time.process_time_ns()

    def each(self, messages: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter_ns() - self._wall, time.process_time_ns() - self._cpu
        return wall / messages, cpu / messages


def _time_batches(batches: _Batches, messages: int) -> tuple[float, float]:
    # What it takes to find the group and to be given the partition is not in it.
    first = seen = len(next(batches))
    timed = _Timed()
    batch: list[_Message] = []
    while seen < messages:
        batch = next(batches)
        seen += len(batch)
    taken = timed.each(seen - first)
    expect("the last message", (batch[-1]["offset"], batch[-1]["value"]["attempts"]), (messages - 1, messages - 1))
    batches.close()  # type: ignore[attr-defined]
    return taken


def _time_messages(messages_of: Iterator[_Message], messages: int) -> tuple[float, float]:
    last = next(messages_of)
    timed = _Timed()
    for last in islice(messages_of, messages - 1):  # noqa: B007 - the loop is what is timed
        pass
    taken = timed.each(messages - 1)
    expect("the last message", (last["offset"], last["value"]["attempts"]), (messages - 1, messages - 1))
    messages_of.close()  # type: ignore[attr-defined]
    return taken


def _check(kafka: KafkaBroker) -> None:
    messages = 1_000
    topic = _fill(kafka, messages)

    def taken(batches: _Batches) -> list[_Message]:
        found: list[_Message] = []
        while len(found) < messages:
            found += next(batches)
        batches.close()  # type: ignore[attr-defined]
        return found

    wanted = taken(_confluent_batches(kafka, topic))
    expect("the last value", wanted[-1]["value"], MESSAGE | {"value": 999 / 8, "attempts": 999})
    expect("messages of batches", taken(_our_batches(kafka, topic)), wanted)
    expect("messages of the iteration", list(islice(_our_messages(kafka, topic), messages)), wanted)
    expect("messages of kafka-python", list(islice(_kafka_python_messages(kafka, topic), messages)), wanted)


def consuming(effort: Effort) -> list[Row]:
    """From the first message to the last of a topic, per message."""
    rounds = max(3, effort.long_rounds // 3)
    with broker() as kafka:
        _check(kafka)
        many, few = _fill(kafka, _MANY), _fill(kafka, _FEW)

        def ours_by_batches() -> tuple[float, float]:
            return _time_batches(_our_batches(kafka, many), _MANY)

        def ours_by_messages() -> tuple[float, float]:
            return _time_messages(_our_messages(kafka, many), _MANY)

        def confluent() -> tuple[float, float]:
            return _time_batches(_confluent_batches(kafka, many), _MANY)

        def kafka_python() -> float:
            return _time_messages(_kafka_python_messages(kafka, few), _FEW)[0]

        batches = alternate_pairs(ours_by_batches, confluent, rounds)
        iteration = alternate_pairs(ours_by_messages, confluent, rounds)
        with_kafka_python = alternate(lambda: ours_by_messages()[0], kafka_python, rounds)
    what, against = "consume messages of 200 bytes as dicts", "confluent-kafka, orjson"
    wall = [(ours[0], peer[0]) for ours, peer in batches]
    cpu = [(ours[1], peer[1]) for ours, peer in batches]
    one_by_one = [(ours[0], peer[0]) for ours, peer in iteration]
    return [
        row(f"{what}, batches", wall, unit="ns", against=against, bar=Bar(AT_LEAST, 1.2)),
        row("the same, CPU time", cpu, unit="ns", against=against, sense=AT_MOST),
        row(f"{what}, one by one", one_by_one, unit="ns", against=f"{against}, batches", bar=Bar(AT_LEAST, 1.2)),
        row(f"{what}, one by one", with_kafka_python, unit="ns", against="kafka-python", bar=Bar(AT_LEAST, 8)),
    ]
