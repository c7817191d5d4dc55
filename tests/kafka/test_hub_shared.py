"""Processes that share a hub in a folder, and one of them ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gds_kafka import (
    AsyncKafkaConsumerClient,
    AsyncKafkaProducerClient,
    DeliveredMessage,
    KafkaConsumerClient,
    KafkaProducerClient,
)
from gds_kafka.errors import KafkaConnectionError
from tests.metrics.programs import Program

PRODUCER = """
from gds_kafka import KafkaConsumerClient, KafkaProducerClient
producer = KafkaProducerClient({hub!r})
"""


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"embedded:{tmp_path / 'hub'}"


def test_a_producer_and_a_consumer_go_on_when_the_process_that_had_the_hub_is_killed(hub: str) -> None:
    with Program(PRODUCER.format(hub=hub)) as owner:
        owner.do("producer.send_many('orders', [1, 2])")
        with (
            KafkaProducerClient(hub) as producer,
            KafkaConsumerClient("orders", hub, "billing", auto_offset_reset="earliest") as consumer,
        ):
            [third] = producer.send_many("orders", [3])
            assert isinstance(third, DeliveredMessage)
            assert third.offset == 2
            seen = [next(consumer)["value"] for _ in range(3)]
            consumer.commit()
            owner.kill()
            [fourth] = producer.send_many("orders", [4])
            assert isinstance(fourth, DeliveredMessage)
            assert fourth.offset == 3
            seen.append(next(consumer)["value"])
            consumer.commit()
            assert seen == [1, 2, 3, 4]
            with Program(PRODUCER.format(hub=hub)) as other:
                other.do("producer.send_many('orders', [5])")
                assert next(consumer)["value"] == 5
    with KafkaConsumerClient(
        "orders", hub, "billing", auto_offset_reset="earliest", consumer_timeout_ms=500
    ) as consumer:
        assert [message["value"] for message in consumer] == [5], "it was left at that one"


def test_members_of_a_group_in_two_processes_share_the_partitions(hub: str) -> None:
    with Program(PRODUCER.format(hub=hub)) as owner, KafkaProducerClient(hub) as producer:
        owner.do(
            "import threading\n"
            f"consumer = KafkaConsumerClient('^orders', {hub!r}, 'billing', auto_offset_reset='earliest')\n"
            "seen = []\n"
            "threading.Thread(target=lambda: [seen.append(m['value']) for m in consumer], daemon=True).start()"
        )
        for topic in ("orders-a", "orders-b"):
            producer.send_many(topic, [topic])
        with KafkaConsumerClient("^orders", hub, "billing", auto_offset_reset="earliest") as consumer:
            for _ in consumer.batches(10, 0.1):
                if consumer.assignment():
                    break
            [(topic, _)] = consumer.assignment()
            for other in ("orders-a", "orders-b"):
                producer.send_many(other, ["more"])
            assert next(consumer)["topic"] == topic
        owner.kill()


def test_coroutines_share_a_hub_with_another_process(hub: str) -> None:
    async def both() -> list[object]:
        async with (
            AsyncKafkaProducerClient(hub) as producer,
            AsyncKafkaConsumerClient("orders", hub, auto_offset_reset="earliest") as consumer,
        ):
            await producer.send("orders", 1)
            messages = aiter(consumer)
            return [(await anext(messages))["value"] for _ in range(2)]

    with Program(PRODUCER.format(hub=hub)) as owner:
        owner.do("producer.send_many('orders', [0])")
        owner.do(f"consumer = KafkaConsumerClient('orders', {hub!r}, auto_offset_reset='earliest')")
        assert owner.ask("next(consumer)['value']") == 0
        assert asyncio.run(asyncio.wait_for(both(), 60)) == [0, 1]
        assert owner.ask("next(consumer)['value']") == 1
        owner.kill()


def test_a_forked_child_is_served_by_its_parent(hub: str) -> None:
    source = f"""
import os
from gds_kafka import KafkaConsumerClient, KafkaProducerClient
producer = KafkaProducerClient({hub!r})
producer.send_many("orders", [1])
"""
    with Program(source) as parent:
        parent.do(
            "child = os.fork()\n"
            "if child == 0:\n"
            "    try:\n"
            "        [there] = producer.send_many('orders', [2])\n"
            "        os._exit(there.offset)\n"
            "    finally:\n"
            "        os._exit(99)"
        )
        assert parent.ask("os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])") == 1
        assert parent.ask("producer.send_many('orders', [3])[0].offset") == 2
        parent.do("producer.close()")
        parent.end()


def test_a_socket_that_cannot_be_made_leaves_the_folder_to_one_process(hub: str, tmp_path: Path) -> None:
    # Not to be taken away, as it is not empty.
    (tmp_path / "hub" / "socket" / "full").mkdir(parents=True)
    with Program(PRODUCER.format(hub=hub)) as owner:
        with pytest.raises(KafkaConnectionError, match=f"belongs to process {owner.process.pid},") as caught:
            KafkaProducerClient(hub)
        assert caught.value.retriable
        owner.do("producer.close()")
        owner.end()
