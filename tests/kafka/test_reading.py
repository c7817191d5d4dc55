"""What a consumer gives again, where it begins and what it says: the same on a broker and on the hub of one machine."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest

from gds_kafka import (
    AsyncKafkaConsumerClient,
    GdsKafkaError,
    KafkaConfigurationError,
    KafkaConsumerClient,
    KafkaMessageError,
    KafkaProducerClient,
    KafkaSerializationError,
)
from tests.kafka.test_cli import gds
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

LONG = 60.0
IDLE_MS = 300
HOUR_MS = 3600 * 1000


@pytest.fixture
def hub(any_hub: str) -> str:
    return any_hub


@pytest.fixture
def topic() -> str:
    """One of its own; a group may have the same name."""
    return f"reading-{uuid.uuid4().hex[:12]}"


def publish(hub: str, topic: str, *values: Any, **parts: Any) -> None:
    with KafkaProducerClient(hub) as producer:
        for value in values:
            producer.send(topic, value, **parts)
        assert producer.flush(LONG) == 0


def settings(**more: Any) -> dict[str, Any]:
    return {"consumer_timeout_ms": IDLE_MS, "auto_commit_interval_ms": 50} | more


def reader(hub: str, topic: str, group: str | None, **more: Any) -> KafkaConsumerClient:
    return KafkaConsumerClient(topic, hub, group, **settings(**more))


def enough(count: int, read: Callable[[], list[int]]) -> list[int]:
    """So many numbers, however often the reading ends for want of some."""
    found: list[int] = []

    def more() -> bool:
        found.extend(read())
        return len(found) >= count

    wait_until(more, what=lambda: f"{count} numbers: {found}")
    return found


def numbers(consumer: KafkaConsumerClient, count: int) -> list[int]:
    return enough(count, lambda: [message["value"] for message in consumer])


def place(hub: str, topic: str, group: str) -> list[int]:
    """What is left for the next member."""
    with reader(hub, topic, group, enable_auto_commit=False) as consumer:
        consumer.lag()
        first = next(consumer, None)
    return [] if first is None else [first["offset"]]


class StopReading(Exception):
    """On purpose."""


@pytest.mark.parametrize("raises", [False, True], ids=["break", "raise"])
@pytest.mark.parametrize("way", ["loop", "batches", "mixed"])
def test_what_a_loop_left_comes_again_in_the_next_loop_over_the_same_client(
    hub: str, topic: str, way: str, raises: bool
) -> None:
    publish(hub, topic, *range(6))
    seen: list[int] = []

    def loop(consumer: KafkaConsumerClient, leave_at: int | None, in_lists: bool) -> None:
        lists = consumer.batches(1, IDLE_MS / 1000) if in_lists else ([message] for message in consumer.messages())
        with suppress(StopReading):
            for each in lists:
                for message in each:
                    seen.append(message["value"])
                    if message["value"] == leave_at:
                        if raises:
                            raise StopReading
                        return

    def until(consumer: KafkaConsumerClient, last: int, leave_at: int | None, in_lists: bool) -> bool:
        loop(consumer, leave_at, in_lists)
        return last in seen

    with reader(hub, topic, topic) as consumer:
        wait_until(lambda: until(consumer, 2, 2, way != "loop"), what="the one at which it is left")
        wait_until(lambda: until(consumer, 5, None, way == "batches"), what="all of it")
    assert seen == [0, 1, 2, 2, 3, 4, 5]
    assert place(hub, topic, topic) == []


def test_what_a_list_had_when_it_was_left_comes_again_as_a_whole(hub: str, topic: str) -> None:
    publish(hub, topic, *range(6))
    with reader(hub, topic, topic) as consumer:
        taken: list[list[Any]] = []

        def one() -> bool:
            taken.extend(itertools.islice(filter(None, consumer.batches(4, 1.0)), 1))
            return bool(taken)

        wait_until(one, what="a batch")
        left = [message["value"] for message in taken[0]]
        assert numbers(consumer, 6) == [*range(6)]
    assert left == [*range(len(left))]


@pytest.mark.parametrize("in_lists", [False, True])
def test_what_an_asynchronous_loop_left_comes_again(hub: str, topic: str, in_lists: bool) -> None:
    publish(hub, topic, *range(6))
    seen: list[int] = []

    async def loop(consumer: AsyncKafkaConsumerClient, leave_at: int | None) -> None:
        if in_lists:
            async for batch in consumer.batches(1, IDLE_MS / 1000):
                seen.extend(message["value"] for message in batch)
                if seen[-1:] == [leave_at]:
                    raise StopReading
        else:
            async for message in consumer:
                seen.append(message["value"])
                if message["value"] == leave_at:
                    raise StopReading

    async def main() -> None:
        async with AsyncKafkaConsumerClient(topic, hub, topic, **settings()) as consumer:
            while 2 not in seen:
                with suppress(StopReading):
                    await loop(consumer, 2)
            while 5 not in seen:
                await loop(consumer, None)

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert seen == [0, 1, 2, 2, 3, 4, 5]
    assert place(hub, topic, topic) == []


def test_what_was_committed_when_the_loop_was_left_does_not_come_again(hub: str, topic: str) -> None:
    publish(hub, topic, *range(4))
    with reader(hub, topic, topic) as consumer:
        for expected, commit in ((0, consumer.commit), (1, lambda: consumer.commit({(topic, 0): 2}))):
            found: list[int] = []

            def leave(found: list[int] = found, commit: Callable[[], None] = commit) -> list[int]:
                for message in consumer:
                    found.append(message["value"])
                    commit()
                    break
                return found

            wait_until(leave, what="a message")
            assert found == [expected]
        assert numbers(consumer, 2) == [2, 3]


def test_one_iterator_goes_on_where_it_was(hub: str, topic: str) -> None:
    publish(hub, topic, *range(4))
    with reader(hub, topic, topic, consumer_timeout_ms=LONG * 1000) as consumer:
        messages = consumer.messages()
        assert [next(messages)["value"], next(messages)["value"]] == [0, 1]
        for message in messages:
            assert message["value"] == 2
            break
        assert next(messages)["value"] == 3


def test_a_value_that_does_not_parse_comes_again_until_the_reader_seeks(hub: str, topic: str) -> None:
    publish(hub, topic, 0, b"{poison", 2)
    with reader(hub, topic, topic) as consumer:
        wait_until(lambda: next(consumer, None), what="the first one")
        for _ in range(2):
            with pytest.raises(KafkaSerializationError) as error:
                next(consumer)
            assert getattr(error.value, "offset", None) == 1
            with pytest.raises(KafkaSerializationError):
                next(consumer.batches(10, 1.0))
        consumer.seek(topic, 0, 2)
        assert numbers(consumer, 1) == [2]


def test_reading_begins_with_what_is_there_already(hub: str, topic: str) -> None:
    publish(hub, topic, *range(3))
    for group in (None, topic):
        with KafkaConsumerClient(topic, hub, group, consumer_timeout_ms=IDLE_MS) as consumer:
            assert numbers(consumer, 3) == [0, 1, 2]


@pytest.mark.parametrize("grouped", [False, True])
def test_a_seek_before_anything_was_read_is_where_reading_begins(hub: str, topic: str, grouped: bool) -> None:
    publish(hub, topic, *range(10))
    for _ in range(5):
        with reader(hub, topic, topic if grouped else None, enable_auto_commit=False) as consumer:
            consumer.seek(topic, 0, 7)
            assert numbers(consumer, 3) == [7, 8, 9]
            # Longer than librdkafka took to go back to where it was about to begin.
            assert [message["value"] for batch in consumer.batches(10, 1.0) for message in batch] == []


@pytest.mark.parametrize("grouped", [False, True])
def test_a_time_is_where_reading_begins(hub: str, topic: str, grouped: bool) -> None:
    group = topic if grouped else None
    begin = time.time_ns() // 1_000_000 - 9 * HOUR_MS  # what is too old or yet to come a broker does not keep
    for number in range(4):
        publish(hub, topic, number, timestamp=begin + number * HOUR_MS)
    at: int | datetime
    for at in (begin + HOUR_MS + 1, datetime.fromtimestamp(begin / 1000 + 2 * 3600, timezone.utc)):
        with reader(hub, topic, group, start_at=at, enable_auto_commit=False) as consumer:
            assert numbers(consumer, 2) == [2, 3]
            assert consumer.offsets_for_times({(topic, 0): begin + 3 * HOUR_MS}) == {(topic, 0): 3}
            assert consumer.offsets_for_times({(topic, 0): at}) == {(topic, 0): 2}
            assert consumer.offsets_for_times({(topic, 0): begin + 8 * HOUR_MS}) == {(topic, 0): None}
    with pytest.raises(KafkaConfigurationError, match="start_at"):
        reader(hub, topic, group, start_at=1, auto_offset_reset="earliest")


def test_the_ends_of_partitions_are_told(hub: str, topic: str) -> None:
    made = gds("kafka", "topics", topic, "--create", 2, "-b", hub)
    assert made.returncode == 0, made.stderr
    publish(hub, topic, *range(3), partition=1)
    both, missing = [(topic, 0), (topic, 1)], (f"{topic}-missing", 0)
    with reader(hub, topic, None) as consumer:
        assert consumer.beginning_offsets(both) == {(topic, 0): 0, (topic, 1): 0}
        assert consumer.end_offsets(both) == {(topic, 0): 0, (topic, 1): 3}
        assert consumer.end_offsets([]) == {}
        with pytest.raises(KafkaMessageError, match=missing[0]):
            consumer.end_offsets([missing])

    async def ends() -> list[dict[tuple[str, int], int]]:
        async with AsyncKafkaConsumerClient(topic, hub) as consumer:
            return [await consumer.beginning_offsets(both), await consumer.end_offsets(both)]

    assert asyncio.run(ends()) == [{(topic, 0): 0, (topic, 1): 0}, {(topic, 0): 0, (topic, 1): 3}]


@pytest.mark.parametrize("grouped", [False, True])
def test_without_a_place_to_begin_the_partition_is_named(hub: str, topic: str, grouped: bool) -> None:
    publish(hub, topic, *range(3))
    with reader(hub, topic, topic if grouped else None, auto_offset_reset="none") as consumer:

        def refused() -> bool:
            with suppress(KafkaMessageError):
                assert list(consumer) == []
                return False
            return True

        wait_until(refused, what="the error")
        with pytest.raises(KafkaMessageError, match=rf'partition 0 of topic "{topic}".*auto_offset_reset'):
            next(consumer)
        consumer.seek(topic, 0, 1)
        assert numbers(consumer, 2) == [1, 2]
    if grouped:
        with reader(hub, topic, topic, auto_offset_reset="none") as consumer:
            publish(hub, topic, 3)
            assert numbers(consumer, 1) == [3], "where the group has committed"


@pytest.mark.parametrize("grouped", [False, True])
def test_partitions_are_assigned_by_hand(hub: str, topic: str, grouped: bool) -> None:
    group = topic if grouped else None
    made = gds("kafka", "topics", topic, "--create", 3, "-b", hub)
    assert made.returncode == 0, made.stderr
    for partition in range(3):
        publish(hub, topic, *range(10 * partition, 10 * partition + 3), partition=partition)
    with KafkaConsumerClient([], hub, group, **settings()) as consumer:
        with pytest.raises(KafkaConfigurationError, match="assign"):
            next(consumer)
        consumer.assign([(topic, 1)])
        assert numbers(consumer, 3) == [10, 11, 12]
        consumer.assign([(topic, 1), (topic, 2)])
        assert consumer.assignment() == [(topic, 1), (topic, 2)]
        assert numbers(consumer, 3) == [20, 21, 22]
    if grouped:
        with KafkaConsumerClient([], hub, group, **settings()) as consumer:
            consumer.assign([(topic, 0), (topic, 1)])
            assert numbers(consumer, 3) == [0, 1, 2], "of the other the group has committed the end"
    with reader(hub, topic, group) as consumer, pytest.raises(KafkaConfigurationError, match="topics"):
        consumer.assign([(topic, 0)])


def test_callbacks_are_told_of_partitions_and_may_use_the_consumer(
    hub: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = gds("kafka", "topics", topic, "--create", 2, "-b", hub)
    assert made.returncode == 0, made.stderr
    for partition in range(2):
        publish(hub, topic, *range(3), partition=partition)
    told: list[tuple[str, list[tuple[str, int]]]] = []
    more: dict[str, Any] = {"enable_auto_commit": False, "heartbeat_interval_ms": 200, "session_timeout_ms": 6000}

    def given(partitions: list[tuple[str, int]]) -> None:
        told.append(("given", partitions))
        for name, partition in partitions:
            first.seek(name, partition, 1)

    def taken(partitions: list[tuple[str, int]]) -> None:
        told.append(("taken", partitions))
        first.commit()
        raise StopReading

    both = [(topic, 0), (topic, 1)]
    with reader(hub, topic, topic, on_assign=given, on_revoke=taken, **more) as first:
        assert sorted(numbers(first, 4)) == [1, 1, 2, 2], "from where it was sought"
        assert told == [("given", both)]
        with reader(hub, topic, topic, **more) as second:

            def shared() -> bool:
                assert list(second) == [], "it was committed in time"
                first_has = [message["value"] for message in first]
                assert set(first_has) <= {1, 2}
                return len(first.assignment()) == len(second.assignment()) == 1

            wait_until(shared, what=lambda: f"each has one: {told}", timeout_seconds=LONG)
        assert any(what == "taken" for what, _ in told)
    assert told[-1][0] == "taken", "what it had at the end"
    assert "on_revoke: raised StopReading" in caplog.text


# Once far longer than a poll, and than a member that is dead would be waited for.
@pytest.mark.parametrize(("by", "restoring_seconds"), [("message", 7.0), ("list", 0.2)])
def test_a_member_has_time_to_restore_what_belongs_to_its_partitions(
    hub: str, topic: str, by: str, restoring_seconds: float
) -> None:
    made = gds("kafka", "topics", topic, "--create", 2, "-b", hub)
    assert made.returncode == 0, made.stderr
    for partition in range(2):
        publish(hub, topic, *range(3), partition=partition)
    told: list[str] = []

    def given(partitions: list[tuple[str, int]]) -> None:
        told.append(f"assigned {len(partitions)}")
        threading.Event().wait(restoring_seconds)
        for name, partition in partitions:
            consumer.seek(name, partition, 1)
        consumer.pause([(topic, 1)])
        told.append("restored")

    more: dict[str, Any] = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500, "enable_auto_commit": False}
    # Without a place to begin it would be an error to fetch anything before.
    more |= {"auto_offset_reset": "none", "on_assign": given, "on_revoke": lambda _: told.append("revoked")}
    if by == "list":
        more["consumer_timeout_ms"] = int(LONG * 1000)
    with reader(hub, topic, topic, **more) as consumer:
        lists = consumer.batches(2, 0.1)

        def read(count: int) -> list[int]:
            found: list[int] = []

            def enough() -> bool:
                if by == "message":
                    found.extend(message["value"] for message in itertools.islice(consumer, count - len(found)))
                else:
                    found.extend(message["value"] for message in next(lists))
                assert not found or told == ["assigned 2", "restored"], "before anything of them was given"
                return len(found) == count

            wait_until(enough, what=lambda: f"{count}: {found}, {told}", timeout_seconds=LONG)
            return found

        assert read(2) == [1, 2], "of the partition that is not paused, from where it was sought"
        consumer.commit()
        consumer.resume([(topic, 1)])
        assert read(2) == [1, 2]
        consumer.commit()
        assert consumer.assignment() == [(topic, 0), (topic, 1)]
        assert told == ["assigned 2", "restored"], "it is a member still"
    assert told[2:] == ["revoked"]


def test_an_empty_group_is_named(hub: str, topic: str) -> None:
    for group in ("", 7):
        with pytest.raises(KafkaConfigurationError, match=f"group_id={group!r}"):
            KafkaConsumerClient(topic, hub, group)  # type: ignore[arg-type]


def test_a_bound_of_zero_is_named_at_once(hub: str, topic: str) -> None:
    with (
        reader(hub, topic, None, lazy=True) as consumer,
        pytest.raises(ValueError, match=r"timeout_seconds=0: .*0\.001"),
    ):
        consumer.batches(10, 0)
    asynchronous = AsyncKafkaConsumerClient(topic, hub)
    with pytest.raises(ValueError, match=r"timeout_seconds=0: .*0\.001"):
        asynchronous.batches(10, 0)


def test_a_misspelt_group_is_named_with_those_like_it(hub: str, topic: str) -> None:
    publish(hub, topic, 0)
    with reader(hub, topic, topic) as consumer:
        assert numbers(consumer, 1) == [0]
    misspelt = topic[:-1]
    done = gds("kafka", "lag", misspelt, "-b", hub)
    assert done.returncode == 1
    assert f'there is no group "{misspelt}"' in done.stderr
    assert f'"{topic}"' in done.stderr


@pytest.mark.parametrize("grouped", [False, True])
def test_a_pattern_knows_digits(hub: str, topic: str, grouped: bool) -> None:
    for end in ("-7", "-x", "-12"):
        publish(hub, topic + end, 0)
    with reader(hub, rf"^{topic}-\d+$", topic if grouped else None) as consumer:
        seen: set[str] = set()

        def found() -> bool:
            seen.update(message["topic"] for message in consumer)
            return len(seen) == 2

        wait_until(found, what=lambda: f"both: {seen}")
    assert seen == {f"{topic}-7", f"{topic}-12"}
    with pytest.raises(GdsKafkaError, match="regular expression"):
        reader(hub, "^(", topic if grouped else None)


def tail(hub: str, topic: str, *options: object) -> list[dict[str, Any]]:
    done = gds("kafka", "tail", topic, "--json", *options, "-b", hub)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_command_line_begins_at_an_offset_or_a_time(hub: str, topic: str) -> None:
    begin = time.time_ns() // 1_000_000 - 9 * HOUR_MS
    made = gds("kafka", "topics", topic, "--create", 2, "-b", hub)
    assert made.returncode == 0, made.stderr
    for number in range(4):
        publish(hub, topic, number, 10 + number, timestamp=begin + number * HOUR_MS, partition=0)
    publish(hub, topic, 20, timestamp=begin, partition=1)

    def shown(*options: object) -> list[int]:
        return [message["value"] for message in tail(hub, topic, *options)]

    assert shown("--offset", 3, "--partition", 0, "--max", 2) == [11, 2]
    assert sorted(shown("--offset", -1, "--max", 2)) == [13, 20]
    assert sorted(shown("--offset", -99, "--max", 9)) == [0, 1, 2, 3, 10, 11, 12, 13, 20]
    at = datetime.fromtimestamp((begin + 2 * HOUR_MS) / 1000, timezone.utc)
    assert shown("--since", at.isoformat(), "--max", 4) == [2, 12, 3, 13]
    assert shown("--since", "6.5h", "--max", 2) == [3, 13]
    for options, said in (
        (("--since", "yesterday"), "expected a time such as"),
        (("--since", "1h", "--offset", 1), "expected one of them"),
        (("--partition", 7), "partitions 0 to 1"),
    ):
        refused = gds("kafka", "tail", topic, *options, "-b", hub)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_a_topic_is_compacted_or_not_in_the_same_words(hub: str, topic: str) -> None:
    def config(*options: object) -> dict[str, str]:
        done = gds("kafka", "topics", topic, "--json", "--config", *options, "-b", hub)
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)["config"]
        return found

    compact = ("--set", "cleanup.policy=compact", "--set", "delete.retention.ms=1000")
    made = config("--create", 1, *compact)
    assert (made["cleanup.policy"], made["delete.retention.ms"]) == ("compact", "1000")
    told: list[tuple[GdsKafkaError | None, object]] = []
    with KafkaProducerClient(hub) as producer:
        for key in ("ann", None):
            producer.send(topic, 1, key=key, on_delivery=lambda *outcome: told.append(outcome))
            assert producer.flush(LONG) == 0
    [(no_error, _), (error, delivered)] = told
    assert (no_error, delivered) == (None, None)
    assert isinstance(error, KafkaMessageError)
    assert (error.code, error.retriable) == (87, False), "INVALID_RECORD"
    both = config("--set", "cleanup.policy=compact,delete", "--set", "delete.retention.ms=")
    assert set(both["cleanup.policy"].split(",")) == {"compact", "delete"}
    assert both["delete.retention.ms"] == "86400000"
    assert config("--set", "cleanup.policy=delete")["cleanup.policy"] == "delete"
    publish(hub, topic, 2)
    refused = gds("kafka", "topics", topic, "--set", "cleanup.policy=squeeze", "-b", hub)
    assert refused.returncode in (1, 2)
    assert "squeeze" in refused.stderr


def test_a_tombstone_is_sent_and_shown(hub: str, topic: str) -> None:
    done = gds("kafka", "produce", topic, "--key", "ann", "--tombstone", "-b", hub)
    assert done.returncode == 0, done.stderr
    [message] = tail(hub, topic, "--from-beginning", "--max", 1)
    assert (message["key"], message["value"], message["tombstone"]) == ("ann", None, True)
    with reader(hub, topic, None) as consumer:
        [value] = [message["value"] for message in [wait_until(lambda: next(consumer, None), what="it")] if message]
    assert value is None
    refused = gds("kafka", "produce", topic, "text", "--tombstone", "--key", "ann", "-b", hub)
    assert refused.returncode == 2
    assert "--tombstone" in refused.stderr
