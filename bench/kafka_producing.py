"""Sending to a real broker: all of it, the call alone, and what each message costs in CPU time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from confluent_kafka import Producer

from bench.brokers import MESSAGE, broker, fresh_topic
from bench.harness import AT_LEAST, AT_MOST, Bar, Effort, Row, alternate, alternate_pairs, expect, percentile, row
from gds_kafka import KafkaProducerClient
from kafka import KafkaProducer
from tests.services.kafka import KafkaBroker

__all__ = ["calls", "durability", "sending"]

# kafka-python takes about 100 us for each.
_FEW = 5_000
_MANY = 100_000
_CALLS = 20_000

# Idempotent and acknowledged by all, as ours is by default.
_CONFLUENT = {"enable.idempotence": True, "acks": "all", "linger.ms": 5, "queue.buffering.max.messages": 2_000_000}


class _Clock:
    """Seconds and CPU seconds of this process, its threads included."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    def cpu(self) -> float:
        return time.process_time() - self._cpu


def _ours(kafka: KafkaBroker, topic: str, messages: int, **config: Any) -> tuple[float, float]:
    with KafkaProducerClient(kafka.bootstrap_servers, buffer_memory=1 << 30, **config) as producer:
        producer.send(topic, MESSAGE)
        producer.flush()
        clock = _Clock()
        for _ in range(messages):
            producer.send(topic, MESSAGE)
        left = producer.flush()
        taken = clock.seconds(), clock.cpu()
        expect("messages left by ours", left, 0)
    return taken


def _confluent(kafka: KafkaBroker, topic: str, messages: int, dumps: Callable[[Any], Any]) -> tuple[float, float]:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **_CONFLUENT})
    producer.produce(topic, dumps(MESSAGE))
    producer.flush()
    produce, poll = producer.produce, producer.poll
    clock = _Clock()
    for _ in range(messages):
        produce(topic, dumps(MESSAGE))
        poll(0)
    left = producer.flush()
    taken = clock.seconds(), clock.cpu()
    expect("messages left by confluent-kafka", left, 0)
    return taken


def _kafka_python(kafka: KafkaBroker, topic: str, messages: int) -> tuple[float, float]:
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        value_serializer=lambda value: json.dumps(value).encode(),
        acks="all",
        linger_ms=5,
    )
    producer.send(topic, MESSAGE)
    producer.flush()
    clock = _Clock()
    for _ in range(messages):
        producer.send(topic, MESSAGE)
    producer.flush()
    taken = clock.seconds(), clock.cpu()
    producer.close()
    return taken


def _check(kafka: KafkaBroker) -> None:
    topic = fresh_topic(kafka)
    _ours(kafka, topic, 100)
    _confluent(kafka, topic, 100, orjson.dumps)
    _kafka_python(kafka, topic, 100)
    values = [record.value for record in kafka.read(topic)]
    expect("messages read back", len(values), 303)
    expect(
        "messages read back", {orjson.dumps(orjson.loads(value or b"")) for value in values}, {orjson.dumps(MESSAGE)}
    )
    expect("bytes of ours and orjson's", set(values[:202]), {orjson.dumps(MESSAGE)})


def sending(effort: Effort) -> list[Row]:
    """From the first send to the end of flush, per message."""
    rounds = max(3, effort.long_rounds // 3)
    with broker() as kafka:
        _check(kafka)

        def per_message(messages: int, measure: Callable[[str, int], tuple[float, float]]) -> tuple[float, float]:
            seconds, cpu = measure(fresh_topic(kafka), messages)
            return seconds / messages * 1e9, cpu / messages * 1e9

        with_orjson = alternate_pairs(
            lambda: per_message(_MANY, lambda topic, messages: _ours(kafka, topic, messages)),
            lambda: per_message(_MANY, lambda topic, messages: _confluent(kafka, topic, messages, orjson.dumps)),
            rounds,
        )
        with_json = alternate(
            lambda: per_message(_MANY, lambda topic, messages: _ours(kafka, topic, messages))[0],
            lambda: per_message(
                _MANY,
                lambda topic, messages: _confluent(kafka, topic, messages, lambda value: json.dumps(value).encode()),
            )[0],
            rounds,
        )
        with_kafka_python = alternate(
            lambda: per_message(_MANY, lambda topic, messages: _ours(kafka, topic, messages))[0],
            lambda: per_message(_FEW, lambda topic, messages: _kafka_python(kafka, topic, messages))[0],
            rounds,
        )
    seconds = [(ours[0], peer[0]) for ours, peer in with_orjson]
    cpu = [(ours[1], peer[1]) for ours, peer in with_orjson]
    name = "send(dict of 200 bytes) to the end of flush"
    return [
        row(name, with_kafka_python, unit="ns", against="kafka-python", bar=Bar(AT_LEAST, 20)),
        row(name, with_json, unit="ns", against="confluent-kafka, json", bar=Bar(AT_LEAST, 2)),
        row(name, seconds, unit="ns", against="confluent-kafka, orjson", bar=Bar(AT_LEAST, 1.1)),
        row("the same, CPU time", cpu, unit="ns", against="confluent-kafka, orjson", bar=Bar(AT_MOST, 0.8)),
    ]


def _latencies(call: Callable[[], object], times: int) -> list[float]:
    """Nanoseconds of each call. A short pause after every hundred lets the threads behind do their work."""
    clock = time.perf_counter_ns
    taken = []
    for number in range(times):
        start = clock()
        call()
        taken.append(float(clock() - start))
        if number % 100 == 0:
            time.sleep(0.0005)
    return taken


def calls(effort: Effort) -> list[Row]:
    """One call of send, with the broker up and with it away."""
    rounds = max(3, effort.long_rounds // 3)
    rows = []
    with broker() as kafka:
        topic = fresh_topic(kafka)
        for state in ("up", "away"):
            rows += _calls(kafka, topic, state, rounds)
    return rows


def _calls(kafka: KafkaBroker, topic: str, state: str, rounds: int) -> list[Row]:
    ours = KafkaProducerClient(kafka.bootstrap_servers, buffer_memory=1 << 30, close_timeout_seconds=0)
    peer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **_CONFLUENT, "log_level": 0})
    produce, poll, dumps, send = peer.produce, peer.poll, orjson.dumps, ours.send

    def our_call() -> None:
        send(topic, MESSAGE)

    def peer_call() -> None:
        produce(topic, dumps(MESSAGE))
        poll(0)

    our_call()
    peer_call()
    expect("left by ours", ours.flush(), 0)
    expect("left by the peer", peer.flush(), 0)
    if state == "away":
        kafka.stop()
    measured = [(_latencies(our_call, _CALLS), _latencies(peer_call, _CALLS)) for _ in range(rounds)]
    expect("what ours took", ours.stats()["accepted_total"], rounds * _CALLS + 1)
    peer.purge()
    peer.flush(1)
    ours.close(0)
    medians = [(percentile(a, 50), percentile(b, 50)) for a, b in measured]
    tails = [(percentile_of(a, 0.999), percentile_of(b, 0.999)) for a, b in measured]
    against = "confluent-kafka, orjson"
    return [
        row(f"the call of send, broker {state}", medians, unit="ns", against=against, bar=Bar(AT_MOST, 0.8)),
        row(f"its p99.9, broker {state}", tails, unit="ns", against=against, bar=Bar(AT_MOST, 1)),
    ]


def percentile_of(values: list[float], part: float) -> float:
    """The value that this part of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def durability(effort: Effort) -> list[Row]:
    """What writing ahead to a spool costs each message."""
    rounds = max(3, effort.long_rounds // 3)
    with broker() as kafka, TemporaryDirectory() as folder:

        def cost(**config: Any) -> tuple[float, float]:
            seconds, cpu = _ours(kafka, fresh_topic(kafka), _MANY, **config)
            return seconds / _MANY * 1e6, cpu / _MANY * 1e6

        measured = alternate_pairs(lambda: cost(spool_dir=folder), cost, rounds)
    name = 'durability="process": more for each message'
    return [
        _more(name, [with_spool[0] - without[0] for with_spool, without in measured], Bar(AT_MOST, 3)),
        _more(f"{name}, CPU time", [with_spool[1] - without[1] for with_spool, without in measured]),
    ]


def _more(name: str, more: list[float], bar: Bar | None = None) -> Row:
    return Row(
        name=name,
        ours=percentile(more, 50),
        unit="us",
        against='durability="memory"',
        bar=bar,
        low=percentile(more, 10),
        high=percentile(more, 90),
    )
