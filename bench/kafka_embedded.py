"""The hub without a server: how many messages one process writes and reads each second."""

from __future__ import annotations

import time
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from bench.brokers import MESSAGE
from bench.harness import AT_LEAST, Bar, Effort, Row, expect, percentile
from gds_kafka import KafkaConsumerClient, KafkaProducerClient

__all__ = ["embedded"]

_MESSAGES = 200_000
_BYTES = b"\x07" * 200
_DICT = MESSAGE


def _publish(servers: str, topic: str, value: object, messages: int) -> float:
    """Messages a second, from the first send to the end of flush."""
    with KafkaProducerClient(servers) as producer:
        send = producer.send
        begun = time.perf_counter()
        for _ in range(messages):
            send(topic, value)
        left = producer.flush()
        taken = time.perf_counter() - begun
        expect("messages left", left, 0)
        expect("messages delivered", producer.stats()["delivered_total"], messages)
    return messages / taken


def _read(servers: str, topic: str, messages: int, wanted: object, **config: Any) -> float:
    """Messages a second, from the first batch to the last."""
    with KafkaConsumerClient(topic, servers, auto_offset_reset="earliest", **config) as consumer:
        batches = consumer.batches(500, 10)
        batch = next(batches)
        first = seen = len(batch)
        begun = time.perf_counter()
        while seen < messages:
            batch = next(batches)
            seen += len(batch)
        taken = time.perf_counter() - begun
        expect("messages read", seen, messages)
        expect("the last message", (batch[-1]["offset"], batch[-1]["value"]), (messages - 1, wanted))
    return (seen - first) / taken


def embedded(effort: Effort) -> list[Row]:
    """`send` and `flush` of bytes and dicts, then `batches` of them."""
    rounds = max(3, effort.long_rounds // 3)
    rates: dict[str, list[float]] = {}

    def note(what: str, rate: float) -> None:
        rates.setdefault(what, []).append(rate)

    with TemporaryDirectory() as folder:
        servers = f"embedded:{folder}"
        for number in range(rounds):
            raw, parsed = f"bytes-{number}", f"dicts-{number}"
            note("publish bytes", _publish(servers, raw, _BYTES, _MESSAGES))
            note("publish dicts", _publish(servers, parsed, _DICT, _MESSAGES))
            # bytes(b) of bytes is b itself: the values stay as they are.
            note("read bytes", _read(servers, raw, _MESSAGES, _BYTES, value_deserializer=bytes))
            note("read dicts", _read(servers, parsed, _MESSAGES, orjson.loads(orjson.dumps(_DICT))))
    said = "embedded hub, 200 bytes, one process"
    return [
        _rate(f"{said}: publish bytes", rates["publish bytes"], Bar(AT_LEAST, 150_000)),
        _rate(f"{said}: publish dicts", rates["publish dicts"], Bar(AT_LEAST, 150_000)),
        _rate(f"{said}: read as bytes", rates["read bytes"], Bar(AT_LEAST, 500_000)),
        _rate(f"{said}: read as parsed dicts", rates["read dicts"]),
    ]


def _rate(name: str, rates: list[float], bar: Bar | None = None) -> Row:
    low, high = percentile(rates, 10), percentile(rates, 90)
    return Row(name=name, ours=median(rates), unit="/s", bar=bar, low=low, high=high)
