"""The clients for asyncio: nothing holds up the loop, and cancelling loses no message."""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import (
    AsyncKafkaConsumerClient,
    AsyncKafkaProducerClient,
    DeliveredMessage,
    KafkaConfigurationError,
    KafkaConsumerClient,
    KafkaProducerClient,
    KafkaTimeoutError,
)
from tests.kafka.test_cli import gds
from tests.metrics.programs import Program

pytestmark = pytest.mark.timing

TIMEOUT_SECONDS = 60.0
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on an event loop of each kind."""
    if request.param == "asyncio":
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        new_loop = pytest.importorskip("uvloop").new_event_loop

    def call(coroutine: Coroutine[Any, Any, Any]) -> Any:
        loop = new_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(coroutine, TIMEOUT_SECONDS))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    return call


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"embedded:{tmp_path / 'hub'}"


@pytest.fixture
def topic(any_hub: str) -> str:
    """Of three partitions: 10, 11 and 12 are in partition 1. A group may have the same name."""
    name = f"aio-{uuid.uuid4().hex[:12]}"
    made = gds("kafka", "topics", name, "--create", 3, "-b", any_hub)
    assert made.returncode == 0, made.stderr
    with KafkaProducerClient(any_hub) as producer:
        for number in range(3):
            for partition in range(3):
                producer.send(name, 10 * partition + number, partition=partition)
        assert producer.flush(TIMEOUT_SECONDS) == 0
    return name


def reader(hub: str, group_id: str | None = "g", **settings: Any) -> AsyncKafkaConsumerClient:
    return AsyncKafkaConsumerClient("orders", hub, group_id, **{"auto_offset_reset": "earliest"} | settings)


def publish(hub: str, count: int, start: int = 0) -> None:
    with KafkaProducerClient(hub) as producer:
        for number in range(start, start + count):
            producer.send("orders", {"n": number}, key="k")
        assert producer.flush(30) == 0


def committed(hub: str) -> list[int]:
    """What a later member of the group is given."""
    with KafkaConsumerClient("orders", hub, "g", auto_offset_reset="earliest", consumer_timeout_ms=500) as consumer:
        return [message["value"]["n"] for message in consumer]


def test_send_gives_the_place(run: Run, hub: str) -> None:
    async def main() -> None:
        async with AsyncKafkaProducerClient(hub) as producer:
            delivered = await producer.send(
                "orders", {"n": 1}, "k", headers={"a": b"1"}, partition=0, timestamp=1_700_000_000_123
            )
        assert isinstance(delivered, DeliveredMessage)
        assert (delivered.topic, delivered.partition, delivered.offset) == ("orders", 0, 0)
        assert delivered.timestamp == 1_700_000_000_123
        async with reader(hub) as consumer:
            message = await consumer.__anext__()
        assert (message["key"], message["value"], message["headers"]) == ("k", {"n": 1}, [("a", b"1")])
        assert message["timestamp"] == 1_700_000_000_123

    run(main())


def test_a_thousand_at_once_keep_their_order(run: Run, hub: str) -> None:
    async def main() -> list[int]:
        async with AsyncKafkaProducerClient(hub) as producer:
            tasks = [asyncio.ensure_future(producer.send("orders", {"n": n}, "k")) for n in range(1000)]
            return [delivered.offset for delivered in await asyncio.gather(*tasks)]

    assert run(main()) == list(range(1000))


def test_many_first_sends_open_one_client(run: Run, hub: str) -> None:
    async def main() -> int:
        producer = AsyncKafkaProducerClient(hub)
        await asyncio.gather(*(producer.send("orders", {"n": n}) for n in range(10)))
        total: int = producer.stats()["delivered_total"]
        assert await producer.close() == 0
        return total

    assert run(main()) == 10


def test_who_waits_for_a_delivery_is_not_kept_waiting_for_company(run: Run, hub: str) -> None:
    # By linger_ms alone each would take ten minutes.
    async def main() -> list[int]:
        async with AsyncKafkaProducerClient(hub, linger_ms=600_000) as producer:
            one = await asyncio.wait_for(producer.send("orders", {"n": 0}, "k"), 30)
            more = await asyncio.wait_for(asyncio.gather(*(producer.send("orders", {"n": n}, "k") for n in (1, 2))), 30)
            return [one.offset, *(each.offset for each in more)]

    # Another loop, as of a program that runs one after the other.
    assert [run(main()), run(main())] == [[0, 1, 2], [3, 4, 5]]


def test_a_cancelled_send_is_delivered_all_the_same(run: Run, hub: str) -> None:
    async def main() -> None:
        async with AsyncKafkaProducerClient(hub, linger_ms=100) as producer:
            task = asyncio.ensure_future(producer.send("orders", {"n": 0}, "k"))
            await asyncio.sleep(0)  # one step: it was sent, and waits
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await producer.flush(30) == 0

    run(main())
    assert committed(hub) == [0]


def test_a_full_buffer_holds_up_the_task_and_not_the_loop(run: Run) -> None:
    async def main() -> None:
        producer = AsyncKafkaProducerClient(
            "localhost:1", lazy=True, buffer_memory=4096, max_block_ms=200, close_timeout_seconds=0
        )
        sends = [asyncio.ensure_future(producer.send("orders", "x" * 1000)) for _ in range(20)]
        turns = 0
        while not any(send.done() for send in sends):
            turns += 1
            await asyncio.sleep(0)
        with pytest.raises(KafkaTimeoutError, match="max_block_ms=200") as caught:
            await asyncio.gather(*sends)
        assert caught.value.retriable
        assert turns > 20, "the loop went round while they waited"
        await producer.close(0)
        await asyncio.gather(*sends, return_exceptions=True)

    run(main())


def test_a_bad_setting_raises_where_it_is_opened(run: Run, hub: str) -> None:
    async def main() -> None:
        with pytest.raises(KafkaConfigurationError, match="linger_ms"):
            await AsyncKafkaProducerClient(hub, lingerms=5).start()
        with pytest.raises(KafkaConfigurationError, match="auto_offset_reset"):
            await reader(hub, auto_offset_rest="earliest").start()

    run(main())


def test_what_the_loop_finished_with_is_committed(run: Run, hub: str) -> None:
    publish(hub, 5)

    async def main() -> None:
        async with reader(hub) as consumer:
            async for message in consumer:
                if message["value"]["n"] == 2:
                    break

    run(main())
    assert committed(hub) == [2, 3, 4]


def test_commit_takes_the_message_at_hand_and_not_what_was_fetched(run: Run, hub: str) -> None:
    publish(hub, 5)

    async def main() -> None:
        async with reader(hub, enable_auto_commit=False) as consumer:
            async for message in consumer:
                if message["value"]["n"] == 2:
                    await consumer.commit()
                    break

    run(main())
    assert committed(hub) == [3, 4]


def test_a_cancelled_wait_loses_no_message(run: Run, hub: str) -> None:
    publish(hub, 1)

    async def main() -> list[int]:
        found = []
        async with reader(hub) as consumer:
            found.append((await consumer.__anext__())["value"]["n"])
            for number in range(1, 20):
                waiting = asyncio.ensure_future(consumer.__anext__())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.get_running_loop().run_in_executor(None, publish, hub, 1, number)
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                found.append((await consumer.__anext__())["value"]["n"])
        return found

    assert run(main()) == list(range(20))


@pytest.mark.parametrize("in_lists", [False, True])
def test_what_does_not_parse_at_the_end_is_committed_with_what_is_before_it(run: Run, hub: str, in_lists: bool) -> None:
    with KafkaProducerClient(hub) as producer:
        for value in ({"n": 0}, b"poison", {"n": 2}, b"poison", b"poison"):
            producer.send("orders", value)

    async def main() -> list[int]:
        async with reader(hub, on_error="skip", consumer_timeout_ms=300) as consumer:
            if in_lists:
                return [message["value"]["n"] async for batch in consumer.batches(10, 0.2) for message in batch]
            return [message["value"]["n"] async for message in consumer]

    assert run(main()) == [0, 2]
    assert committed(hub) == []


def test_batches_and_seek(run: Run, hub: str) -> None:
    publish(hub, 7)

    async def main() -> None:
        async with reader(hub) as consumer:
            batches = consumer.batches(3, 5.0)
            assert [message["value"]["n"] for message in await batches.__anext__()] == [0, 1, 2]
            await consumer.seek("orders", 0, 5)
            assert [message["value"]["n"] for message in await batches.__anext__()] == [5, 6]
            assert await consumer.assignment() == [("orders", 0)]
            assert [part["end"] for part in await consumer.lag()] == [7]

    run(main())


def test_a_consumer_that_idles_ends_by_itself_when_told_so(run: Run, hub: str) -> None:
    publish(hub, 3)

    async def main() -> list[int]:
        async with reader(hub, consumer_timeout_ms=300) as consumer:
            return [message["value"]["n"] async for message in consumer]

    assert run(main()) == [0, 1, 2]


# ---------------------------------------------------------------- partitions


def member(hub: str, topic: str | list[str], group: str | None, **settings: Any) -> AsyncKafkaConsumerClient:
    quick = {"consumer_timeout_ms": 300, "heartbeat_interval_ms": 200, "session_timeout_ms": 6000}
    return AsyncKafkaConsumerClient(topic, hub, group, **quick | settings)


async def numbers(consumer: AsyncKafkaConsumerClient, count: int) -> list[int]:
    """So many, however often the reading ends for want of some."""
    found: list[int] = []
    while len(found) < count:
        found += [message["value"] async for message in consumer]
    return found


async def first(consumer: AsyncKafkaConsumerClient) -> int:
    """The first message, asked for without a loop."""
    while True:
        with suppress(StopAsyncIteration):
            return int((await consumer.__anext__())["value"])


@pytest.mark.parametrize("grouped", [False, True])
def test_partitions_are_assigned_by_hand(run: Run, any_hub: str, topic: str, grouped: bool) -> None:
    group = topic if grouped else None

    async def main() -> None:
        async with member(any_hub, [], group) as consumer:
            with pytest.raises(KafkaConfigurationError, match="assign"):
                await consumer.__anext__()
            await consumer.assign([(topic, 1)])
            assert await numbers(consumer, 3) == [10, 11, 12]
            await consumer.assign([(topic, 1), (topic, 2)])
            assert await consumer.assignment() == [(topic, 1), (topic, 2)]
            assert await numbers(consumer, 3) == [20, 21, 22]
        if grouped:
            async with member(any_hub, [], group) as consumer:
                await consumer.assign([(topic, 0), (topic, 1)])
                assert await numbers(consumer, 3) == [0, 1, 2], "of the other the group has committed the end"
        async with member(any_hub, topic, group) as consumer:
            with pytest.raises(KafkaConfigurationError, match="topics"):
                await consumer.assign([(topic, 0)])

    run(main())


def test_the_message_at_hand_is_not_finished_with_by_assigning(run: Run, any_hub: str, topic: str) -> None:
    seen: list[int] = []

    async def main() -> None:
        async with member(any_hub, [], topic) as consumer:
            await consumer.assign([(topic, 1)])
            while len(seen) < 5:
                async for message in consumer:
                    seen.append(message["value"])
                    if len(seen) == 1:
                        await consumer.assign([(topic, 1)])
                    elif len(seen) == 2:
                        await consumer.assign([(topic, 2)])
        assert seen == [10, 11, 20, 21, 22], "nothing twice, and nothing that was fetched of a partition left out"
        async with member(any_hub, [], topic) as consumer:
            await consumer.assign([(topic, 1)])
            # Alone, without a loop, it is the same.
            assert await first(consumer) == 11
            await consumer.assign([(topic, 2)])
            assert [message async for message in consumer] == []
        async with member(any_hub, [], topic) as consumer:
            await consumer.assign([(topic, 1)])
            assert await numbers(consumer, 2) == [11, 12]

    run(main())


def test_callbacks_are_told_of_partitions(run: Run, any_hub: str, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, list[tuple[str, int]]]] = []
    reached: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def given(partitions: list[tuple[str, int]]) -> None:
            told.append(("given", partitions))
            loop.call_soon_threadsafe(reached.append, "the loop")

        def taken(partitions: list[tuple[str, int]]) -> None:
            told.append(("taken", partitions))
            raise RuntimeError("on purpose")

        async with member(any_hub, topic, topic, on_assign=given, on_revoke=taken) as first:
            assert sorted(await numbers(first, 9)) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
            assert told == [("given", [(topic, 0), (topic, 1), (topic, 2)])]
            assert reached == ["the loop"]
            async with member(any_hub, topic, topic) as second:
                while True:
                    for consumer in (first, second):
                        assert [message async for message in consumer] == []
                    shares = [await consumer.assignment() for consumer in (first, second)]
                    if all(shares) and sum(map(len, shares)) == 3:
                        break
            assert any(what == "taken" for what, _ in told)
            own = await first.assignment()
        assert told[-1][0] == "taken", "what it had at the end"
        assert set(own) <= set(told[-1][1])

    run(main())
    assert "on_revoke: raised RuntimeError: on purpose" in caplog.text


class Awaited:
    async def __call__(self, partitions: list[tuple[str, int]]) -> None: ...


async def awaited(partitions: list[tuple[str, int]]) -> None: ...


@pytest.mark.parametrize("argument", ["on_assign", "on_revoke"])
@pytest.mark.parametrize("function", [awaited, functools.partial(awaited), Awaited(), Awaited().__call__])
@pytest.mark.parametrize("client", [KafkaConsumerClient, AsyncKafkaConsumerClient])
def test_a_callback_that_would_have_to_be_awaited_is_refused(
    hub: str, client: Callable[..., object], argument: str, function: object
) -> None:
    with pytest.raises(KafkaConfigurationError, match=f"{argument} is a coroutine function.*expected a function"):
        client("orders", hub, "g", **{argument: function})


@pytest.mark.parametrize("client", [KafkaConsumerClient, AsyncKafkaConsumerClient])
def test_a_callback_that_is_no_function_is_refused(hub: str, client: Callable[..., object]) -> None:
    with pytest.raises(KafkaConfigurationError, match="on_revoke is of type int: expected a function"):
        client("orders", hub, "g", on_revoke=7)


def test_a_coroutine_that_a_callback_returns_is_told(run: Run, hub: str, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub, 1)

    def returns(partitions: list[tuple[str, int]]) -> Any:
        return awaited(partitions)

    async def main() -> None:
        async with reader(hub, on_assign=returns) as consumer:
            assert (await consumer.__anext__())["value"]["n"] == 0

    with caplog.at_level(logging.WARNING, "gds_kafka"):
        run(main())
    assert "on_assign: returned a coroutine" in caplog.text


ENDS = """
import asyncio
from gds_kafka import AsyncKafkaConsumerClient, AsyncKafkaProducerClient

async def main():
    producer = AsyncKafkaProducerClient("127.0.0.1:9", lazy=True, buffer_memory=4096, close_timeout_seconds=0)
    await producer.start()
    outcome = asyncio.ensure_future(producer.send("orders", bytes(1500)))
    {waits}
    print("waited", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "waits",
    [
        pytest.param("await asyncio.wait([asyncio.ensure_future(producer.flush())], timeout=0.1)", id="for a flush"),
        pytest.param(
            "await asyncio.wait([outcome, asyncio.ensure_future(producer.send('t', bytes(1500)))], timeout=0.1)",
            id="for room",
        ),
    ],
)
def test_a_program_ends_whatever_it_awaits(waits: str) -> None:
    with Program(source=ENDS.format(waits=waits)) as running:
        assert running.line() == "waited"
        # Not before it gave up delivering, after two minutes, if the end waited for the call.
        said = running.end(expect=0)
    assert "Traceback" not in said


CLOSES = """
import asyncio
from gds_kafka import AsyncKafkaProducerClient

async def main():
    producer = AsyncKafkaProducerClient("127.0.0.1:9", lazy=True, close_timeout_seconds=1)
    await producer.start()
    outcome = asyncio.ensure_future(producer.send("orders", {"id": 7}))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(producer.close())
    await asyncio.sleep(0)
    closing.cancel()
    print("cancelled", flush=True)

asyncio.run(main())
"""


def test_a_program_ends_when_what_it_closes_is_closed() -> None:
    with Program(source=CLOSES) as running:
        assert running.line() == "cancelled"
        said = running.end(expect=0)
    assert "1 messages were not delivered before the client was closed: dropped" in said
