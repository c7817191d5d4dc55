"""What a consumer of real Kafka does: what is committed when, and that nothing is missed when something breaks."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

from gds_kafka import (
    AsyncKafkaConsumerClient,
    GdsKafkaError,
    KafkaConnectionError,
    KafkaConsumerClient,
    KafkaLoggingHandler,
    KafkaMessageError,
    KafkaMetrics,
    KafkaProducerClient,
    KafkaSerializationError,
    KafkaTimeoutError,
    OutgoingMessage,
)
from tests.forks import fork
from tests.kafka.schemas import problems
from tests.metrics.doubles import Recorder
from tests.metrics.programs import Program
from tests.services.fixtures import KafkaFactory
from tests.services.kafka import KafkaCluster
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

LONG = 60.0
"""More than anything here takes."""

IDLE_MS = 300
"""Ends a loop; whoever waits for messages begins another."""

QUICK: dict[str, Any] = {"heartbeat_interval_ms": 200, "session_timeout_ms": 6_000, "auto_commit_interval_ms": 100}
"""Members that notice each other soon; six seconds is the broker's least for the death of one."""


def publish(kafka: KafkaCluster, topic: str, *values: Any, **parts: Any) -> None:
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        for value in values:
            producer.send(topic, value, **parts)
        assert producer.flush(LONG) == 0


def numbered(count: int, start: int = 0) -> list[dict[str, int]]:
    return [{"n": number} for number in range(start, start + count)]


def reader(kafka: KafkaCluster, topics: str | list[str], group: str | None, **settings: Any) -> KafkaConsumerClient:
    given: dict[str, Any] = {"auto_offset_reset": "earliest", "consumer_timeout_ms": IDLE_MS}
    return KafkaConsumerClient(topics, kafka.bootstrap_servers, group, **given | settings)


def arrived(consumer: KafkaConsumerClient, count: int) -> list[dict[str, Any]]:
    """The next messages, waited for beyond the time that ends a loop; the last one is not finished with."""
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        while len(found) < count and (message := next(consumer, None)) is not None:
            found.append(message)
        return len(found) == count

    wait_until(enough, what=lambda: f"{count} messages: {found}")
    return found


def taken(consumer: KafkaConsumerClient, count: int) -> list[int]:
    """Their numbers."""
    return [message["value"]["n"] for message in arrived(consumer, count)]


def rest(consumer: KafkaConsumerClient) -> list[int]:
    """The numbers of the messages that come now, all finished with."""
    return [message["value"]["n"] for message in consumer.messages()]


def gathered(consumer: KafkaConsumerClient, count: int) -> list[int]:
    """The numbers of so many messages, whose loop may end meanwhile for want of some, all finished with."""
    found: list[int] = []

    def enough() -> bool:
        found.extend(rest(consumer))
        return len(found) >= count

    wait_until(enough, what=lambda: f"{count} messages: {found}")
    return found


def committed(kafka: KafkaCluster, group: str, topic: str) -> dict[int, int]:
    """Where the group goes on, as the broker has it; partitions without a commit are left out."""
    from confluent_kafka import Consumer, TopicPartition

    with Consumer({"bootstrap.servers": kafka.direct_bootstrap_servers, "group.id": group}) as consumer:
        places = consumer.committed([TopicPartition(topic, number) for number in kafka.describe(topic)], timeout=30)
    return {place.partition: place.offset for place in places if place.offset >= 0}


class Load:
    """Sends numbers to partitions in turn until it is told to stop."""

    def __init__(self, kafka: KafkaCluster, topic: str, partitions: int) -> None:
        self._producer = KafkaProducerClient(kafka.bootstrap_servers)
        self._topic, self._partitions = topic, partitions
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self._producer.send(self._topic, {"n": self.sent}, partition=self.sent % self._partitions)
            self.sent += 1
            self._stop.wait(0.001)  # a pace, not a hope

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        left = self._producer.flush(LONG)
        self._producer.close()
        assert left == 0

    def goes_on(self, messages: int = 200) -> None:
        """Waits until some more were sent."""
        enough = self.sent + messages
        wait_until(lambda: self.sent >= enough, what="the load goes on")


# A broker that shares its processors with others takes its time over a member that leaves.
_PATIENT: dict[str, Any] = {"consumer_timeout_ms": 100, "close_timeout_seconds": 60}


class Member:
    """A member of a group in a thread of its own, which notes what it has finished with."""

    def __init__(self, kafka: KafkaCluster, topic: str, group: str, **settings: Any) -> None:
        self._consumer = reader(kafka, topic, group, **_PATIENT | QUICK | settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.done: Counter[int] = Counter()
        self.failed: Exception | None = None

    def _run(self) -> None:
        try:
            with self._consumer as consumer:
                while not self._stop.is_set():
                    for message in consumer.messages():
                        self.done[message["value"]["n"]] += 1
                        if self._stop.is_set():
                            break
        except Exception as error:
            self.failed = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.failed is None, self.failed

    def goes_on(self, messages: int = 50) -> None:
        """Waits until it has finished with some more."""
        enough = self.done.total() + messages
        wait_until(lambda: self.failed or self.done.total() >= enough, what="the member goes on", timeout_seconds=LONG)
        assert self.failed is None, self.failed


def test_a_message_is_what_the_contract_says(kafka: KafkaCluster) -> None:
    topic = "read-contract"
    kafka.create_topic(topic, config={"retention.ms": -1})
    headers = [("a", b"1"), ("a", None), ("bin", b"\x00\xff")]
    publish(kafka, topic, {"n": 1, "t": "ü"}, key="k", headers=headers, timestamp=1_700_000_000_123)
    publish(kafka, topic, None, key=b"\xff")
    publish(kafka, topic, [1.5, None, True])
    with reader(kafka, topic, None) as consumer:
        first, second, third = arrived(consumer, 3)
    assert first == {
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "timestamp": 1_700_000_000_123,
        "key": "k",
        "value": {"n": 1, "t": "ü"},
        "headers": headers,
    }
    assert (second["key"], second["value"], second["headers"], second["offset"]) == (b"\xff", None, [], 1)
    assert (third["key"], third["value"]) == (None, [1.5, None, True])


def test_offsets_are_committed_only_after_the_body_has_finished(kafka: KafkaCluster) -> None:
    topic, group = "read-commits", "read-commits"
    publish(kafka, topic, *numbered(10))

    def fail_at(number: int) -> None:
        # Its loop ends when the message is there, however long that takes.
        with reader(kafka, topic, group, **QUICK, consumer_timeout_ms=60_000) as consumer:
            for message in consumer.messages():
                if message["value"]["n"] == number:
                    raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_at(0)
    assert committed(kafka, group, topic) == {}
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_at(5)
    assert committed(kafka, group, topic) == {0: 5}
    with reader(kafka, topic, group, **QUICK) as consumer:
        assert taken(consumer, 3) == [5, 6, 7]
    assert committed(kafka, group, topic) == {0: 7}, "the loop was left at the last one"
    with reader(kafka, topic, group, **QUICK) as consumer:
        assert gathered(consumer, 3) == [7, 8, 9]
    assert committed(kafka, group, topic) == {0: 10}


def test_commits_go_on_while_the_loop_runs(kafka: KafkaCluster) -> None:
    topic, group = "read-commits-running", "read-commits-running"
    publish(kafka, topic, *numbered(5))
    with reader(kafka, topic, group, **QUICK) as consumer:
        assert gathered(consumer, 5) == [0, 1, 2, 3, 4]
        wait_until(lambda: rest(consumer) or committed(kafka, group, topic) == {0: 5}, what="they are committed")


def test_without_auto_commit_only_commit_does(kafka: KafkaCluster) -> None:
    topic, group = "read-manual", "read-manual"
    publish(kafka, topic, *numbered(6))
    with reader(kafka, topic, group, enable_auto_commit=False) as consumer:
        assert taken(consumer, 4) == [0, 1, 2, 3]
    assert committed(kafka, group, topic) == {}
    with reader(kafka, topic, group, enable_auto_commit=False) as consumer:
        assert taken(consumer, 2) == [0, 1]
        consumer.commit()
        assert committed(kafka, group, topic) == {0: 2}, "the message at hand included"
        assert taken(consumer, 2) == [2, 3]
        consumer.commit({(topic, 0): 3})
        assert committed(kafka, group, topic) == {0: 3}
    with reader(kafka, topic, group) as consumer:
        assert taken(consumer, 1) == [3]


def test_without_a_group_everything_is_read_and_nothing_committed(kafka: KafkaCluster) -> None:
    topic = "read-alone"
    kafka.create_topic(topic, partitions=3)
    publish(kafka, topic, *numbered(30))
    for _ in range(2):
        with reader(kafka, topic, None) as consumer:
            assert sorted(taken(consumer, 30)) == list(range(30))
            with pytest.raises(GdsKafkaError, match="group"):
                consumer.commit()
    with reader(kafka, topic, None, auto_offset_reset="latest") as consumer:
        publish(kafka, topic, {"n": 30})
        assert taken(consumer, 1) == [30]


STRATEGIES = pytest.mark.parametrize("strategy", [None, "cooperative-sticky"], ids=["default", "cooperative"])
"""The default gives up every partition in a rebalance, the other one only those that move."""


@STRATEGIES
def test_nothing_is_missed_when_members_come_and_go_under_load(kafka: KafkaCluster, strategy: str | None) -> None:
    topic = group = f"read-rebalance-{strategy or 'default'}"
    kafka.create_topic(topic, partitions=4)
    settings: dict[str, Any] = {"partition_assignment_strategy": strategy and [strategy]}
    done: set[int] = set()
    with Member(kafka, topic, group, **settings) as first:
        with Load(kafka, topic, 4) as load:
            first.goes_on()
            for _ in range(4):
                with Member(kafka, topic, group, **settings) as other:
                    other.goes_on()
                    first.goes_on()
                done |= set(other.done)
                first.goes_on()
        wait_until(
            lambda: first.failed or len(done | set(first.done)) >= load.sent,
            what=lambda: f"all of {load.sent}, missing {sorted(set(range(load.sent)) - done - set(first.done))[:20]}",
        )
    assert done | set(first.done) == set(range(load.sent))
    ends = kafka.end_offsets(topic)
    # The last message of a loop that is left is not finished with.
    kept = committed(kafka, group, topic)
    assert all(ends[partition] - 1 <= offset <= ends[partition] for partition, offset in kept.items())


@pytest.mark.parametrize("the_other_joins", ["meanwhile", "afterwards"])
def test_a_body_that_takes_too_long_loses_its_partitions_and_joins_again(
    kafka: KafkaCluster, the_other_joins: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = group = f"read-too-long-{the_other_joins}"
    kafka.create_topic(topic, partitions=2)
    settings: dict[str, Any] = {"max_poll_interval_ms": 6_000}

    def publish_to_both(start: int) -> None:
        for partition in (0, 1):
            publish(kafka, topic, *numbered(20, start + 20 * partition), partition=partition)

    publish_to_both(0)
    with reader(kafka, topic, group, **QUICK | settings) as slow:
        [at_hand] = arrived(slow, 1)
        mine: set[int] = {at_hand["value"]["n"]}
        # From here on the body of its loop runs, until the other member has read all there is.
        if the_other_joins == "afterwards":
            wait_until(lambda: "maximum poll interval" in caplog.text, what="it is late, and left the group")
        with Member(kafka, topic, group, **settings) as other:
            wait_until(
                lambda: other.failed or set(other.done) == set(range(40)),
                what=lambda: f"the other one has it all: {sorted(other.done)}",
                timeout_seconds=LONG,
            )

            def joined_again() -> bool:
                mine.update(rest(slow))
                return len(slow.assignment()) == 1

            wait_until(joined_again, what=lambda: f"it has a partition: {slow.assignment()}", timeout_seconds=LONG)
            assert caplog.text, "the log says what went on"
            publish_to_both(40)

            def all_done() -> bool:
                mine.update(rest(slow))
                return bool(other.failed) or mine | set(other.done) == set(range(80))

            wait_until(
                all_done,
                what=lambda: f"all of it, missing {sorted(set(range(80)) - mine - set(other.done))}",
                timeout_seconds=LONG,
            )
            new = set(range(40, 80))
            assert mine & new
            assert set(other.done) & new, "each has one of the partitions"
    assert mine | set(other.done) == set(range(80))
    # The last message of a loop that is left is not finished with.
    assert all(39 <= offset <= 40 for offset in committed(kafka, group, topic).values())


MEMBER = """
import os
from gds_kafka import KafkaConsumerClient
servers, topic, group, path, settings = ARGUMENTS
notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
with KafkaConsumerClient(topic, servers, group, auto_offset_reset="earliest", **settings) as consumer:
    for message in consumer.messages():
        os.write(notes, b"%d\\n" % message["value"]["n"])
"""


def test_a_member_killed_under_load_misses_nothing(kafka: KafkaCluster, tmp_path: Path) -> None:
    topic = group = "read-killed"
    kafka.create_topic(topic, partitions=4)

    def member(name: str) -> Program:
        settings = QUICK | {"partition_assignment_strategy": ["cooperative-sticky"]}
        arguments = (kafka.bootstrap_servers, topic, group, str(tmp_path / name), settings)
        return Program(source=f"ARGUMENTS = {arguments!r}\n{MEMBER}")

    def noted(name: str) -> list[int]:
        path = tmp_path / name
        return [int(line) for line in path.read_bytes().split()] if path.exists() else []

    with Load(kafka, topic, 4) as load, member("first") as first, member("second") as second:
        wait_until(lambda: len(noted("first")) > 100 and len(noted("second")) > 100, what="both work")
        first.kill()
        of_the_dead = noted("first")
        load.goes_on()
        # It takes over when the broker has given the other one up.
        taken_over = load.sent
        wait_until(
            lambda: set(range(taken_over)) <= {*of_the_dead, *noted("second")},
            what=lambda: (
                f"all of {taken_over}, missing {sorted(set(range(taken_over)) - {*of_the_dead, *noted('second')})[:20]}"
            ),
            timeout_seconds=40,
        )
        assert second.process.poll() is None
    assert len(of_the_dead) > 100


def test_broker_killed_and_started_again_under_a_consumer(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    kafka.create_topic("restart", partitions=2)
    with Member(kafka, "restart", "restart") as member:
        with Load(kafka, "restart", 2) as load:
            member.goes_on()
            kafka.kill()
            load.goes_on()
            kafka.start()
            load.goes_on()
        wait_until(
            lambda: member.failed or len(member.done) >= load.sent,
            what=lambda: f"all of {load.sent}: {len(member.done)}",
            timeout_seconds=LONG,
        )
    assert set(member.done) == set(range(load.sent))
    ends, kept = kafka.end_offsets("restart"), committed(kafka, "restart", "restart")
    assert all(ends[partition] - 1 <= offset <= ends[partition] for partition, offset in kept.items())
    assert sum(kept.values()) >= load.sent - 2


def poisoned(kafka: KafkaCluster, topic: str) -> None:
    publish(kafka, topic, {"n": 0})
    publish(kafka, topic, b"{poison", key=b"\xffk", headers=[("a", b"1"), ("a", None)], timestamp=1_795_000_000_123)
    publish(kafka, topic, {"n": 2})


def test_a_poison_message_raises_with_its_place_and_is_not_committed(kafka: KafkaCluster) -> None:
    topic = group = "read-poison-raise"
    poisoned(kafka, topic)
    for _ in range(2):
        with reader(kafka, topic, group, **QUICK) as consumer, pytest.raises(KafkaSerializationError) as caught:
            gathered(consumer, 3)
        place: Any = caught.value
        assert (place.topic, place.partition, place.offset) == (topic, 0, 1)
        assert committed(kafka, group, topic) == {0: 1}
    with reader(kafka, topic, group, **QUICK) as consumer:
        with pytest.raises(KafkaSerializationError):
            gathered(consumer, 3)
        consumer.seek(topic, 0, 2)
        assert gathered(consumer, 1) == [2]
    assert committed(kafka, group, topic) == {0: 3}


def test_a_poison_message_is_skipped_and_counted(kafka: KafkaCluster) -> None:
    topic = group = "read-poison-skip"
    poisoned(kafka, topic)
    with reader(kafka, topic, group, on_error="skip", **QUICK) as consumer:
        assert gathered(consumer, 2) == [0, 2]
        assert consumer.stats()["skipped_total"] == 1
    assert committed(kafka, group, topic) == {0: 3}


def test_a_poison_message_is_a_dead_letter(kafka: KafkaCluster) -> None:
    topic = group = "read-poison-dead"
    poisoned(kafka, topic)
    with reader(kafka, topic, group, on_error="dead_letter", **QUICK) as consumer:
        assert gathered(consumer, 2) == [0, 2]
        assert consumer.stats()["dead_lettered_total"] == 1
    assert committed(kafka, group, topic) == {0: 3}
    [letter] = kafka.read(f"{topic}.dlq")
    assert (letter.key, letter.value) == (b"\xffk", b"{poison")
    assert letter.headers[:2] == (("a", b"1"), ("a", None))
    name, error = letter.headers[2]
    assert name == "dlq.error"
    assert f"{topic}[0] offset 1" in (error or b"").decode()
    assert letter.headers[3:] == (
        ("dlq.topic", topic.encode()),
        ("dlq.partition", b"0"),
        ("dlq.offset", b"1"),
        ("dlq.timestamp", b"1795000000123"),
        ("dlq.attempts", b"1"),
    )


def test_a_dead_letter_that_came_back_counts_its_attempts(kafka: KafkaCluster) -> None:
    topic = group = "read-poison-again"
    publish(kafka, topic, b"{poison", headers=[("dlq.attempts", b"2"), ("a", b"1")])
    with reader(kafka, topic, group, on_error="dead_letter", **QUICK) as consumer:
        wait_until(lambda: rest(consumer) or consumer.stats()["dead_lettered_total"], what="a dead letter")
    [letter] = kafka.read(f"{topic}.dlq")
    assert [value for name, value in letter.headers if name == "dlq.attempts"] == [b"3"]
    assert dict(letter.headers)["a"] == b"1"


def test_batches(kafka: KafkaCluster) -> None:
    topic = group = "read-batches"
    publish(kafka, topic, *numbered(10))

    def fail_at_second() -> None:
        with reader(kafka, topic, group, **QUICK, consumer_timeout_ms=30_000) as consumer:
            for batch in consumer.batches(4, 5.0):
                if batch[0]["value"]["n"] == 4:
                    raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_at_second()
    assert committed(kafka, group, topic) == {0: 4}, "the first list was finished with"
    with reader(kafka, topic, group, **QUICK, consumer_timeout_ms=30_000) as consumer:
        seen: list[int] = []
        for batch in consumer.batches(4, 1.0):
            assert len(batch) <= 4
            if not batch and len(seen) == 6:
                break
            seen += [message["value"]["n"] for message in batch]
        start = time.monotonic()
        assert next(consumer.batches(4, 0.3)) == []
        assert 0.3 <= time.monotonic() - start < 5
    assert seen == list(range(4, 10))
    assert committed(kafka, group, topic) == {0: 10}


def test_dead_letters_at_the_end_of_a_list_are_committed_with_it(kafka: KafkaCluster) -> None:
    topic = group = "read-batches-poison"
    publish(kafka, topic, {"n": 0}, b"{poison", {"n": 2}, b"{poison", b"{poison")
    settings: dict[str, Any] = {"on_error": "dead_letter", "consumer_timeout_ms": 30_000}
    with reader(kafka, topic, group, **QUICK | settings) as consumer:
        for batch in consumer.batches(500, 1.0):
            if [message["value"]["n"] for message in batch][-1:] == [2]:
                break
        assert consumer.stats()["dead_lettered_total"] == 3
    assert committed(kafka, group, topic).get(0, 0) < 3, "the loop was left at the list"
    with reader(kafka, topic, group, **QUICK | settings) as consumer:
        seen: list[int] = []
        for batch in consumer.batches(500, 1.0):
            seen += [message["value"]["n"] for message in batch]
            if seen and not batch:
                wait_until(lambda: committed(kafka, group, topic) == {0: 5}, what="all of it is committed")
                break
        assert seen[-1] == 2
    letters = len(kafka.read(f"{topic}.dlq"))
    with reader(kafka, topic, group, **QUICK, on_error="dead_letter") as consumer:
        assert rest(consumer) == []
        assert consumer.stats()["dead_lettered_total"] == 0
    assert len(kafka.read(f"{topic}.dlq")) == letters


def test_a_dead_letter_that_is_refused_within_a_list_has_none_before_it_written_again(kafka: KafkaCluster) -> None:
    topic = group = "read-batches-refused"
    kafka.create_topic(f"{topic}.dlq", config={"max.message.bytes": 1_000})
    publish(kafka, topic, {"n": 0}, b"{poison", {"n": 2}, b"{poison" * 1_000, {"n": 4})
    found: list[int] = []

    def read(consumer: KafkaConsumerClient) -> None:
        for batch in consumer.batches(500, 1.0):
            found.extend(message["value"]["n"] for message in batch)

    for written in (1, 0):
        with reader(kafka, topic, group, on_error="dead_letter", consumer_timeout_ms=30_000) as consumer:
            for _ in range(2):
                with pytest.raises(KafkaMessageError, match=rf"did not take .* {topic}\[0\] offset 3") as error:
                    read(consumer)
                assert error.value.retriable
            assert consumer.stats()["dead_lettered_total"] == written
        assert committed(kafka, group, topic) == {0: 3}, "what the loop has finished with, and what is among it"
    assert found == [0, 2]
    assert [letter.value for letter in kafka.read(f"{topic}.dlq")] == [b"{poison"]


def test_a_dead_letter_that_is_taken_in_the_end_is_committed(kafka: KafkaCluster) -> None:
    topic = group = "read-batches-taken"
    letters = f"{topic}.dlq"
    kafka.create_topic(letters, config={"max.message.bytes": 1_000})
    publish(kafka, topic, {"n": 0}, b"{poison" * 1_000)
    found: list[int] = []

    def taken_in_the_end(consumer: KafkaConsumerClient) -> bool:
        with suppress(KafkaMessageError):
            for batch in consumer.batches(500, 0.1):
                found.extend(message["value"]["n"] for message in batch)
                if consumer.stats()["dead_lettered_total"]:
                    return True
        return False

    with reader(kafka, topic, group, on_error="dead_letter", consumer_timeout_ms=30_000) as consumer:
        assert not taken_in_the_end(consumer)
        kafka.configure_topic(letters, {"max.message.bytes": 1_000_000})
        wait_until(lambda: taken_in_the_end(consumer), what="the letter to be taken")
    assert found == [0]
    assert committed(kafka, group, topic) == {0: 2}


def test_topic_deleted_under_a_consumer(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory(auto_create_topics=False)
    kafka.create_topic("gone")
    kafka.create_topic("stays")
    publish(kafka, "gone", {"n": 0})
    publish(kafka, "stays", {"n": 1})
    with reader(kafka, ["gone", "stays"], "deleted", **QUICK, metadata_max_age_ms=300) as consumer:
        assert sorted(taken(consumer, 2)) == [0, 1]
        kafka.delete_topic("gone")
        publish(kafka, "stays", {"n": 2})
        assert taken(consumer, 1) == [2]
        wait_until(
            lambda: rest(consumer) == [] and consumer.assignment() == [("stays", 0)], what="its partition is given up"
        )
        kafka.create_topic("gone")
        publish(kafka, "gone", {"n": 3})
        assert gathered(consumer, 1) == [3]


def test_a_deleted_topic_does_not_cost_the_others_their_commit(
    kafka_factory: KafkaFactory, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = kafka_factory(auto_create_topics=False)
    group = "one-is-gone"
    for topic in ("gone", "stays"):
        kafka.create_topic(topic)
        publish(kafka, topic, {"n": 0})
    with reader(kafka, ["gone", "stays"], group, **QUICK) as consumer:
        assert gathered(consumer, 2) == [0, 0]
        kafka.delete_topic("gone")
        # The client has not noticed.
        assert len(consumer.assignment()) == 2
        publish(kafka, "stays", {"n": 1})
        assert gathered(consumer, 1) == [1]
        # Kept anew, and so refused anew: what is of "stays" is not.
        with pytest.raises(KafkaMessageError, match='partition 0 of topic "gone"'):
            consumer.commit({("gone", 0): 1, ("stays", 0): 2})
        assert committed(kafka, group, "stays") == {0: 2}
    assert committed(kafka, group, "stays") == {0: 2}


@STRATEGIES
def test_what_the_loop_has_finished_with_is_committed_before_its_partition_goes(
    kafka: KafkaCluster, strategy: str | None
) -> None:
    topic = group = f"read-rebalance-commits-{strategy or 'default'}"
    publish(kafka, topic, *numbered(5))
    # Left to the clock, nothing would be committed while this test runs.
    slow: dict[str, Any] = QUICK | {"auto_commit_interval_ms": 3_600_000}
    slow |= {"partition_assignment_strategy": strategy and [strategy]}
    with reader(kafka, topic, group, **slow) as first, reader(kafka, topic, group, **slow) as second:
        found: list[int] = []

        def read(count: int) -> bool:
            # Both, since the one partition may go from one to the other at any time.
            found.extend(rest(first))
            found.extend(rest(second))
            return len(found) >= count and len(first.assignment()) + len(second.assignment()) == 1

        wait_until(lambda: read(5), what=lambda: f"the first five: {found}")
        publish(kafka, topic, *numbered(5, 5))
        wait_until(lambda: read(10), what=lambda: f"the next five: {found}")
        has, waits = (first, second) if first.assignment() else (second, first)
        has.close()
        publish(kafka, topic, {"n": 10})
        assert gathered(waits, 1) == [10]
    assert found == list(range(10))


@pytest.mark.parametrize("level", ["read_committed", "read_uncommitted"])
@pytest.mark.parametrize("aborted", [False, True])
def test_the_end_of_a_transaction_is_no_lag(kafka: KafkaCluster, level: str, aborted: bool) -> None:
    from confluent_kafka import Producer

    topic = group = f"read-transactions-{level}-{aborted}"
    kafka.create_topic(topic)
    producer = Producer({"bootstrap.servers": kafka.direct_bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(30)
    for abort in (False, aborted):
        producer.begin_transaction()
        producer.produce(topic, b'{"n": 0}')
        if abort:
            producer.flush(30)
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    readable = 1 if aborted and level == "read_committed" else 2
    with reader(kafka, topic, group, isolation_level=level, **QUICK) as consumer:
        assert gathered(consumer, readable) == [0] * readable
        wait_until(
            lambda: rest(consumer) or committed(kafka, group, topic) == kafka.end_offsets(topic),
            what=lambda: f"the end: {committed(kafka, group, topic)} of {kafka.end_offsets(topic)}",
        )
        assert [lag["lag"] for lag in consumer.lag()] == [0]
    assert kafka.end_offsets(topic) == {0: 4}


def test_a_member_whose_name_another_has_is_told_so(kafka: KafkaCluster) -> None:
    topic = group = "read-fenced"
    publish(kafka, topic, *numbered(3))
    settings = QUICK | {"group_instance_id": "till-1"}
    with reader(kafka, topic, group, **settings) as first:
        assert taken(first, 1) == [0]
        with reader(kafka, topic, group, **settings) as second:
            assert taken(second, 1) == [0]

            def fenced() -> KafkaConnectionError | None:
                try:
                    rest(first)
                except KafkaConnectionError as error:
                    return error
                return None

            error = wait_until(fenced, what="the first one is told")
            assert error is not None
            assert error.fatal
            assert 'group_instance_id "till-1"' in str(error)
            with pytest.raises(KafkaConnectionError, match="till-1"):
                rest(first)


BURYING = """
import json
from gds_kafka import KafkaConsumerClient
servers, topic, group = ARGUMENTS
def read(value):
    if value == b"{poison":
        print("poison", flush=True)
    return json.loads(value)
with KafkaConsumerClient(topic, servers, group, on_error="dead_letter", value_deserializer=read) as consumer:
    print(next(consumer)["value"]["n"], flush=True)
    input()
    try:
        next(consumer)
    except KeyboardInterrupt:
        print("interrupted", consumer.stats()["dead_lettered_total"], flush=True)
    input()
    print(next(consumer)["value"]["n"], consumer.stats()["dead_lettered_total"], flush=True)
"""


def test_ctrl_c_ends_the_wait_for_a_dead_letter_and_it_is_written_once(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    kafka.create_topic("burying.dlq")
    publish(kafka, "burying", {"n": 0}, b"{poison", {"n": 2})
    arguments = (kafka.bootstrap_servers, "burying", "burying")
    with Program(source=f"ARGUMENTS = {arguments!r}\n{BURYING}") as program:
        assert program.line() == "0"
        kafka.pause()
        try:
            assert program.process.stdin is not None
            program.process.stdin.write("\n")
            program.process.stdin.flush()
            assert program.line() == "poison"
            program.process.send_signal(signal.SIGINT)
            assert program.line() == "interrupted 0"
        finally:
            kafka.resume()
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        assert program.line() == "poison", "it is read again, and its letter is the same"
        lines = [program.line()]
        while lines[-1] == "poison":
            lines.append(program.line())
        assert lines[-1] == "2 1"
    assert [letter.value for letter in kafka.read("burying.dlq")] == [b"{poison"]


ASKING = """
from gds_kafka import KafkaConsumerClient
servers, topic, group, question = ARGUMENTS
consumer = KafkaConsumerClient(topic, servers, group, close_timeout_seconds=0.5)
print(next(consumer)["value"]["n"], flush=True)
input()
try:
    print("asks", flush=True)
    eval(question)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("question", ["consumer.commit()", "consumer.lag()"])
def test_ctrl_c_ends_the_wait_for_an_answer(kafka_factory: KafkaFactory, question: str) -> None:
    kafka = kafka_factory()
    publish(kafka, "asking", {"n": 0})
    arguments = (kafka.bootstrap_servers, "asking", "asking", question)
    with Program(source=f"ARGUMENTS = {arguments!r}\n{ASKING}") as program:
        assert program.line() == "0"
        kafka.pause()
        try:
            assert program.process.stdin is not None
            program.process.stdin.write("\n")
            program.process.stdin.flush()
            assert program.line() == "asks"
            program.process.send_signal(signal.SIGINT)
            assert program.line() == "interrupted"
        finally:
            kafka.resume()


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_offsets_that_retention_has_removed(kafka: KafkaCluster, reset: str) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    topic = group = f"read-retention-{reset}"
    publish(kafka, topic, *numbered(8))
    with reader(kafka, topic, group) as consumer:
        assert taken(consumer, 2) == [0, 1]
        consumer.commit()
    with AdminClient({"bootstrap.servers": kafka.direct_bootstrap_servers}) as admin:
        [removed] = admin.delete_records([TopicPartition(topic, 0, 5)]).values()
        removed.result(30)
    with reader(kafka, topic, group, auto_offset_reset=reset) as consumer:
        if reset == "earliest":
            assert gathered(consumer, 3) == [5, 6, 7]
            return
        found: list[int] = []

        def new_ones() -> bool:
            publish(kafka, topic, {"n": 8})
            found.extend(rest(consumer))
            return bool(found)

        wait_until(new_ones, what="a message from after the reset")
        assert set(found) == {8}, "what there was is left out"


WAITING = """
import sys, time
from gds_kafka import KafkaConsumerClient
servers, topic, group = ARGUMENTS
with KafkaConsumerClient(topic, servers, group, auto_offset_reset="earliest") as consumer:
    try:
        for message in consumer.messages():
            print(message["value"]["n"], flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print("closed", flush=True)
"""


@pytest.mark.parametrize("group", ["read-interrupted", None])
def test_ctrl_c_ends_the_wait_for_messages_at_once(kafka: KafkaCluster, group: str | None) -> None:
    topic = f"read-interrupted-{group}"
    publish(kafka, topic, {"n": 0})
    with Program(source=f"ARGUMENTS = {(kafka.bootstrap_servers, topic, group)!r}\n{WAITING}") as program:
        assert program.line() == "0"
        start = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        assert program.line() == "interrupted"
        assert time.monotonic() - start < 2
        assert program.line() == "closed"
        assert time.monotonic() - start < 10
        program.end(expect=0)


def test_a_forked_child_is_told_that_the_consumer_is_its_parents(kafka: KafkaCluster) -> None:
    topic = group = "read-forked"
    publish(kafka, topic, *numbered(5))
    with reader(kafka, topic, group, **QUICK) as consumer:
        assert taken(consumer, 2) == [0, 1]
        answers, told = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                for use in (consumer.__next__, consumer.commit, consumer.lag, consumer.assignment, consumer.stats):
                    with pytest.raises(GdsKafkaError) as refused:
                        use()
                    os.write(told, f"{os.getpid()} {refused.typename}: {refused.value}\n".encode())
                consumer.close()
                del consumer
                with reader(kafka, topic, "read-forked-child", **QUICK) as mine:
                    os.write(told, f"{taken(mine, 5)}\n".encode())
            finally:
                os._exit(0)
        os.close(told)
        os.waitpid(pid, 0)
        with os.fdopen(answers) as lines:
            *errors, own = lines.read().splitlines()
        assert len(errors) == 5
        told_of = (
            f"KafkaConnectionError: this consumer was made in process {os.getpid()} and cannot be used in process {pid}"
        )
        assert all(line.startswith(f"{pid} {told_of}") for line in errors), errors
        assert all("make a new KafkaConsumerClient in this process" in line for line in errors)
        assert own == "[0, 1, 2, 3, 4]"
        assert gathered(consumer, 3) == [2, 3, 4], "the parent's goes on"
    assert committed(kafka, group, topic) == {0: 5}


def test_a_forked_child_is_told_that_the_asynchronous_consumer_is_its_parents(kafka: KafkaCluster) -> None:
    topic = group = "read-forked-aio"
    publish(kafka, topic, *numbered(5))

    async def first(consumer: AsyncKafkaConsumerClient) -> int:
        value: int = (await consumer.__anext__())["value"]["n"]
        return value

    async def refused(consumer: AsyncKafkaConsumerClient) -> str:
        with pytest.raises(KafkaConnectionError) as error:
            await first(consumer)
        await consumer.close()
        return str(error.value)

    def settings(group: str) -> dict[str, Any]:
        return {"bootstrap_servers": kafka.bootstrap_servers, "group_id": group, "auto_offset_reset": "earliest"}

    consumer = AsyncKafkaConsumerClient(topic, **settings(group), **QUICK)
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(first(consumer)) == 0
        answers, told = os.pipe()
        pid = fork()
        if pid == 0:
            try:
                asyncio.set_event_loop(None)
                os.write(told, asyncio.new_event_loop().run_until_complete(refused(consumer)).encode())
            finally:
                os._exit(0)
        os.close(told)
        os.waitpid(pid, 0)
        with os.fdopen(answers) as lines:
            said = lines.read()
        assert f"was opened in process {os.getpid()} and cannot be used in process {pid}" in said
        assert loop.run_until_complete(first(consumer)) == 1
    finally:
        loop.run_until_complete(consumer.close())
        loop.close()


def test_seek_pause_resume_lag_and_assignment(kafka: KafkaCluster) -> None:
    topic = group = "read-places"
    kafka.create_topic(topic, partitions=2)
    publish(kafka, topic, *numbered(5), partition=0)
    publish(kafka, topic, *numbered(5, 10), partition=1)
    with reader(kafka, topic, group) as consumer:
        assert sorted(gathered(consumer, 10)) == [*range(5), *range(10, 15)]
        assert sorted(consumer.assignment()) == [(topic, 0), (topic, 1)]
        assert {(lag["partition"], lag["position"], lag["end"], lag["lag"]) for lag in consumer.lag()} == {
            (0, 5, 5, 0),
            (1, 5, 5, 0),
        }
        consumer.seek(topic, 1, 3)
        assert {lag["partition"]: (lag["position"], lag["lag"]) for lag in consumer.lag()} == {0: (5, 0), 1: (3, 2)}
        assert gathered(consumer, 2) == [13, 14]
        consumer.pause([(topic, 0)])
        publish(kafka, topic, {"n": 5}, partition=0)
        publish(kafka, topic, {"n": 15}, partition=1)
        assert gathered(consumer, 1) == [15]
        assert {lag["partition"]: lag["lag"] for lag in consumer.lag()} == {0: 1, 1: 0}
        consumer.resume([(topic, 0)])
        assert gathered(consumer, 1) == [5]
        for use in (consumer.pause, consumer.resume):
            with pytest.raises(KafkaMessageError, match="7"):
                use([(topic, 7)])
        with pytest.raises(KafkaMessageError, match="elsewhere"):
            consumer.seek("elsewhere", 0, 0)
    assert committed(kafka, group, topic) == {0: 6, 1: 6}


@pytest.mark.parametrize("group", ["read-lag", None])
@pytest.mark.parametrize(("reset", "behind"), [("latest", 0), ("earliest", 5)])
def test_lag_before_anything_was_read(kafka: KafkaCluster, group: str | None, reset: str, behind: int) -> None:
    topic = f"read-lag-{group}-{reset}"
    kafka.create_topic(topic, partitions=2)
    publish(kafka, topic, *numbered(5), partition=0)
    publish(kafka, topic, *numbered(5), partition=1)
    group = group and topic
    lags: list[dict[int, tuple[int, int]]] = []

    def ask(_partitions: list[tuple[str, int]]) -> None:
        lags.append({lag["partition"]: (lag["end"], lag["lag"]) for lag in consumer.lag()})

    with reader(kafka, topic, group, auto_offset_reset=reset, on_assign=ask, **QUICK) as consumer:
        wait_until(lambda: next(consumer, None) or lags, what="its partitions")
    assert lags == [{0: (5, behind), 1: (5, behind)}]


def test_pause_holds_back_what_was_fetched(kafka: KafkaCluster) -> None:
    topic = group = "read-pause"
    kafka.create_topic(topic, partitions=2)
    publish(kafka, topic, *numbered(10), partition=0)
    publish(kafka, topic, *numbered(10, 10), partition=1)
    with reader(kafka, topic, group, **QUICK) as consumer:
        [first] = arrived(consumer, 1)
        paused = first["partition"]
        consumer.pause([(topic, paused)])
        others = [*range(10)] if paused else [*range(10, 20)]
        assert gathered(consumer, 10) == others
        assert rest(consumer) == []
        consumer.resume([(topic, paused)])
        assert gathered(consumer, 9) == sorted({*range(20)} - {*others, first["value"]["n"]})
    assert committed(kafka, group, topic) == {0: 10, 1: 10}


ENDING = """
import logging
from gds_kafka import KafkaConsumerClient
logging.getLogger("gds_kafka").addHandler(logging.NullHandler())
servers, topic, group = ARGUMENTS
consumer = KafkaConsumerClient(topic, servers, group, auto_offset_reset="earliest", close_timeout_seconds=0.5)
print([next(consumer)["value"]["n"] for _ in range(3)], flush=True)
input()
"""


def test_the_end_of_the_program_waits_no_longer_than_close_timeout_seconds(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    publish(kafka, "ending", *numbered(3))
    arguments = (kafka.bootstrap_servers, "ending", "ending")
    with Program(source=f"ARGUMENTS = {arguments!r}\n{ENDING}") as program:
        assert program.line() == "[0, 1, 2]"
        kafka.kill()
        start = time.monotonic()
        program.process.communicate("\n", timeout=LONG)
        assert time.monotonic() - start < 4, "the bound of a collector, which has none of its own, is five seconds"
        assert program.process.returncode == 0


def test_close_is_bounded_while_the_broker_is_away(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    publish(kafka, "away", *numbered(3))
    readers = {group: reader(kafka, "away", group) for group in ("hangs", "gone")}
    for consumer in readers.values():
        assert taken(consumer, 3) == [0, 1, 2]
    for group, trouble in (("hangs", kafka.pause), ("gone", kafka.kill)):
        trouble()
        start = time.monotonic()
        try:
            with pytest.raises(KafkaTimeoutError, match="group"):
                readers[group].close(0.5)
        finally:
            kafka.resume()
        assert readers[group].closed
        # Nor does it hold up what comes after it.
        with pytest.raises(KafkaConnectionError, match="closed"):
            readers[group].lag()
        assert readers[group].stats()["consumed_total"] == 3
        assert list(readers[group]) == []
        assert 0.5 <= time.monotonic() - start < 5


def test_a_seek_back_in_the_middle_of_a_batch_begins_there(kafka: KafkaCluster) -> None:
    topic = group = "read-seek"
    publish(kafka, topic, *numbered(10))
    with reader(kafka, topic, group, **QUICK) as consumer:
        assert taken(consumer, 6) == list(range(6))
        consumer.seek(topic, 0, 2)
        assert gathered(consumer, 8) == list(range(2, 10))
    assert committed(kafka, group, topic) == {0: 10}


@pytest.mark.parametrize("group", ["read-pattern", None])
def test_a_pattern_finds_topics_that_come_later(kafka: KafkaCluster, group: str | None) -> None:
    name = f"pattern-{'group' if group else 'alone'}"
    for topic in (f"{name}-a", f"{name}-b", f"not-{name}"):
        publish(kafka, topic, {"n": len(topic)})
    with reader(kafka, f"^{name}-.*", group, metadata_max_age_ms=300, **QUICK) as consumer:
        seen: set[str] = set()

        def found(*topics: str) -> bool:
            seen.update(message["topic"] for message in consumer.messages())
            return seen >= {f"{name}-{topic}" for topic in topics}

        wait_until(lambda: found("a", "b"), what=lambda: f"the topics there are: {seen}")
        publish(kafka, f"{name}-later", {"n": 0})
        wait_until(lambda: found("later"), what=lambda: f"the topic that came later: {seen}")
        assert seen == {f"{name}-a", f"{name}-b", f"{name}-later"}


def test_figures_and_lag_reach_a_collector(kafka: KafkaCluster) -> None:
    topic = group = "read-metrics"
    publish(kafka, topic, *numbered(3))
    recorder = Recorder()
    with reader(
        kafka,
        topic,
        group,
        metrics=recorder,
        client_id="billing",
        librdkafka={"statistics.interval.ms": 100},
        **QUICK,
    ) as consumer:
        place = {"client_id": "billing", "topic": topic, "partition": "0"}

        def reported() -> bool:
            rest(consumer)
            return any(call.name == "kafka.consumer.lag" and call.labels == place for call in list(recorder.calls))

        wait_until(reported, what="the lag")
    consumed = [call for call in recorder.calls if call.name == "kafka.consumer.consumed"]
    assert sum(call.value for call in consumed) == 3
    assert {call.name for call in recorder.calls} >= {"kafka.consumer.rtt_avg_seconds", "kafka.consumer.brokers_up"}


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("shop.orders")
    made.setLevel(logging.DEBUG)
    yield made
    made.setLevel(logging.NOTSET)
    for handler in [*made.handlers]:
        made.removeHandler(handler)
        handler.close()


def test_log_records_arrive_as_the_contract_says(kafka: KafkaCluster, logger: logging.Logger) -> None:
    topic = "read-logs"
    handler = KafkaLoggingHandler(
        topic=topic, bootstrap_servers=kafka.bootstrap_servers, service="billing", fields={"region": "eu"}
    )
    logger.addHandler(handler)
    before = time.time()
    logger.info("order %d of %s", 7, "ann", extra={"order": {"id": 7}, "password": "hunter2"})
    line = sys._getframe().f_lineno - 1
    try:
        raise ValueError("bad order")
    except ValueError:
        logger.exception("it failed with Authorization: Bearer abcdef0123456789abcdef")
    handler.flush()
    with reader(kafka, topic, None) as consumer:
        messages = arrived(consumer, 2)
    records = kafka.read(topic)
    assert [json.loads(record.value or b"") for record in records] == [message["value"] for message in messages]
    assert [record.key for record in records] == [b"shop.orders"] * 2
    assert [message["key"] for message in messages] == ["shop.orders"] * 2
    info, failed = (message["value"] for message in messages)
    assert problems("log.json", info) == problems("log.json", failed) == []
    assert before <= info.pop("timestamp") <= time.time()
    order = info.pop("extra")
    assert order["order"] == {"id": 7}
    assert info == {
        "logger": "shop.orders",
        "level": "INFO",
        "message": "order 7 of ann",
        "path": __file__,
        "lineno": line,
        "function": "test_log_records_arrive_as_the_contract_says",
        "process": os.getpid(),
        "thread": "MainThread",
        "host": socket.gethostname(),
        "service": "billing",
        "region": "eu",
    }
    assert failed["level"] == "ERROR"
    assert (failed["exception"]["type"], failed["exception"]["message"]) == ("ValueError", "bad order")
    assert "raise ValueError" in failed["exception"]["traceback"]
    whole = b"".join(record.value or b"" for record in records)
    assert b"hunter2" not in whole
    assert b"abcdef0123456789" not in whole


def test_metrics_arrive_as_the_contract_says(kafka: KafkaCluster) -> None:
    topic = "read-measurements"
    before = time.time()
    with KafkaProducerClient(kafka.bootstrap_servers) as producer, KafkaMetrics(producer, topic) as metrics:
        metrics.increment("orders.paid", 2, {"kind": "book"})
        metrics.gauge("queue depth", 7.5)
        metrics.histogram("größe", float("inf"))
        metrics.timing("vault.secret.fetch", 12.25, {"ok": "true"})
        assert metrics.flush(LONG)
    with reader(kafka, topic, None) as consumer:
        messages = arrived(consumer, 4)
    records = kafka.read(topic)
    assert [json.loads(record.value or b"") for record in records] == [message["value"] for message in messages]
    values = [message["value"] for message in messages]
    assert [problems("metric.json", value) for value in values] == [[], [], [], []]
    assert all(before <= value.pop("timestamp") <= time.time() for value in values)
    assert values == [
        {"type": "counter", "name": "orders.paid", "value": 2.0, "labels": {"kind": "book"}},
        {"type": "gauge", "name": "queue depth", "value": 7.5, "labels": {}},
        {"type": "histogram", "name": "größe", "value": None, "labels": {}, "non_finite": "+Inf"},
        {"type": "timing", "name": "vault.secret.fetch", "value": 12.25, "labels": {"ok": "true"}},
    ]
    assert [message["key"] for message in messages] == [value["name"] for value in values]
    assert [record.key for record in records] == [value["name"].encode() for value in values]


def test_what_a_pausing_reader_sends_on_keeps_its_headers_and_timestamp(kafka: KafkaCluster) -> None:
    source, target = "read-source", "read-target"
    headers = [("a", b"1"), ("a", None)]
    publish(kafka, source, {"n": 1}, key="k", headers=headers, timestamp=1_795_000_000_123)
    with reader(kafka, source, None) as consumer, KafkaProducerClient(kafka.bootstrap_servers) as producer:
        [message] = arrived(consumer, 1)
        producer.send_many(
            target,
            [
                OutgoingMessage(
                    message["value"], message["key"], headers=message["headers"], timestamp=message["timestamp"]
                )
            ],
        )
    [copy], [original] = kafka.read(target), kafka.read(source)
    assert copy == original
