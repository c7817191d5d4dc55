"""Awaiting the delivery of each message, with many of them under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from bench.brokers import MESSAGE, SETTINGS, broker, fresh_topic
from bench.harness import AT_LEAST, Bar, Effort, Row, alternate, expect, row
from gds_kafka import AsyncKafkaProducerClient
from tests.services.kafka import KafkaBroker

__all__ = ["awaiting"]

_IN_FLIGHT = 1_000
_EACH = 40
# With batches of its default size, aiokafka takes more than half a millisecond for each.
_FEW = 4
_BATCH_BYTES = 1_000_000

_Send = Callable[[str, dict[str, object]], Awaitable[Any]]


async def _sent(send: _Send, topic: str, each: int) -> tuple[float, set[int]]:
    """Nanoseconds a message takes, and the offsets: every task has one message under way at any time."""
    offsets: set[int] = set()

    async def work() -> None:
        for _ in range(each):
            delivered = await send(topic, MESSAGE)
            offsets.add(delivered.offset)

    begun = time.perf_counter_ns()
    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    return (time.perf_counter_ns() - begun) / (_IN_FLIGHT * each), offsets


async def _ours(servers: str, topic: str, each: int) -> tuple[float, set[int]]:
    async with AsyncKafkaProducerClient(servers, **SETTINGS) as producer:
        await producer.send(topic, MESSAGE)
        return await _sent(producer.send, topic, each)


async def _peer(servers: str, topic: str, each: int, **config: Any) -> tuple[float, set[int]]:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        value_serializer=orjson.dumps,
        enable_idempotence=True,
        **SETTINGS,
        **config,
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, MESSAGE)
        return await _sent(producer.send_and_wait, topic, each)
    finally:
        await producer.stop()


def _check(kafka: KafkaBroker) -> None:
    topic = fresh_topic(kafka)
    _, ours = asyncio.run(_ours(kafka.bootstrap_servers, topic, 1))
    _, peers = asyncio.run(_peer(kafka.bootstrap_servers, topic, 1))
    expect("offsets of ours", ours, set(range(1, _IN_FLIGHT + 1)))
    expect("offsets of the peer", peers, set(range(_IN_FLIGHT + 2, 2 * _IN_FLIGHT + 2)))
    expect("what was sent", {record.value for record in kafka.read(topic)}, {orjson.dumps(MESSAGE)})


def awaiting(effort: Effort) -> list[Row]:
    """`await send(dict)`, per message."""
    rounds = max(3, effort.long_rounds // 3)
    with broker() as kafka:
        _check(kafka)

        def ours() -> float:
            return timed(_EACH, _ours(kafka.bootstrap_servers, fresh_topic(kafka), _EACH))

        def peer() -> float:
            topic = fresh_topic(kafka)
            return timed(_EACH, _peer(kafka.bootstrap_servers, topic, _EACH, max_batch_size=_BATCH_BYTES))

        def peer_by_default() -> float:
            return timed(_FEW, _peer(kafka.bootstrap_servers, fresh_topic(kafka), _FEW))

        def timed(each: int, sent: Coroutine[Any, Any, tuple[float, set[int]]]) -> float:
            taken, offsets = asyncio.run(sent)
            expect("offsets", offsets, set(range(1, _IN_FLIGHT * each + 1)))
            return taken

        large = alternate(ours, peer, rounds)
        default = alternate(ours, peer_by_default, rounds)
    name, bar = f"await send(dict of 200 bytes), {_IN_FLIGHT:,} under way", Bar(AT_LEAST, 2)
    return [
        row(name, large, unit="ns", against="aiokafka with batches of 1 MB, orjson", bar=bar),
        row(name, default, unit="ns", against="aiokafka with batches of its default size, orjson", bar=bar),
    ]
