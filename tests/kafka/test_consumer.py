"""What `KafkaConsumerClient` gives to a loop, and when it commits; on the hub of one machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import GdsKafkaError, KafkaConsumerClient, KafkaProducerClient, KafkaSerializationError

pytestmark = pytest.mark.timing

IDLE_MS = 500


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"embedded:{tmp_path / 'hub'}"


def publish(hub: str, *values: Any, topic: str = "orders", **parts: Any) -> None:
    with KafkaProducerClient(hub) as producer:
        for value in values:
            producer.send(topic, value, key="k", **parts)
        assert producer.flush(30) == 0


def reader(hub: str, group_id: str | None = "g", **settings: Any) -> KafkaConsumerClient:
    given: dict[str, Any] = {"auto_offset_reset": "earliest", "consumer_timeout_ms": IDLE_MS}
    return KafkaConsumerClient("orders", hub, group_id, **given | settings)


def numbers(consumer: KafkaConsumerClient) -> list[int]:
    return [message["value"]["n"] for message in consumer.messages()]


def test_a_message_has_what_the_contract_says(hub: str) -> None:
    publish(hub, {"n": 1}, headers=[("a", b"1"), ("a", None)], timestamp=1_700_000_000_123)
    with reader(hub, None) as consumer:
        [message] = consumer
    assert message["topic"] == "orders"
    assert (message["partition"], message["offset"]) == (0, 0)
    assert (message["key"], message["value"]) == ("k", {"n": 1})
    assert message["timestamp"] == 1_700_000_000_123
    assert message["headers"] == [("a", b"1"), ("a", None)]


def test_what_the_loop_finished_with_is_committed(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(5)))
    with reader(hub) as consumer:
        assert numbers(consumer) == [0, 1, 2, 3, 4]
    publish(hub, {"n": 5})
    with reader(hub) as consumer:
        assert numbers(consumer) == [5]


def test_a_message_whose_body_raised_comes_again(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(5)))

    def fail() -> None:
        with reader(hub) as consumer:
            for message in consumer:
                if message["value"]["n"] == 2:
                    raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    with reader(hub) as consumer:
        assert numbers(consumer) == [2, 3, 4]


def test_a_message_at_which_the_loop_was_left_comes_again_unless_committed(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(5)))
    for commits, expected in ((False, 0), (True, 0), (False, 1)):
        with reader(hub) as consumer:
            for message in consumer:
                assert message["value"]["n"] == expected
                if commits:
                    consumer.commit()
                break


def test_without_auto_commit_only_commit_does(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(3)))
    for _ in range(2):
        with reader(hub, enable_auto_commit=False) as consumer:
            assert numbers(consumer) == [0, 1, 2]
    with reader(hub, enable_auto_commit=False) as consumer:
        assert next(consumer)["value"] == {"n": 0}
        consumer.commit({("orders", 0): 2})
    with reader(hub) as consumer:
        assert numbers(consumer) == [2]


def test_batches_are_committed_as_a_whole(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(7)))
    with reader(hub) as consumer:
        batches = consumer.batches(3, 5.0)
        assert [message["value"]["n"] for message in next(batches)] == [0, 1, 2]
        assert [message["value"]["n"] for message in next(batches)] == [3, 4, 5]
    with reader(hub) as consumer:
        assert numbers(consumer) == [3, 4, 5, 6]


def test_a_batch_is_empty_when_nothing_came(hub: str) -> None:
    publish(hub, {"n": 0})
    with reader(hub, consumer_timeout_ms=60_000) as consumer:
        batches = consumer.batches(3, 0.05)
        while not next(batches):
            pass
        assert next(batches) == []


@pytest.mark.parametrize(("setting", "value"), [("max_messages", 0), ("timeout_seconds", 0), ("timeout_seconds", "1")])
def test_a_bad_bound_of_batches_is_refused_at_once(hub: str, setting: str, value: Any) -> None:
    with reader(hub) as consumer, pytest.raises((TypeError, ValueError), match=setting):
        consumer.batches(**{setting: value})


def test_seek_and_lag_and_assignment(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(5)))
    with reader(hub) as consumer:
        assert numbers(consumer) == [0, 1, 2, 3, 4]
        assert consumer.assignment() == [("orders", 0)]
        consumer.seek("orders", 0, 3)
        [lag] = consumer.lag()
        assert (lag["topic"], lag["partition"], lag["end"], lag["lag"]) == ("orders", 0, 5, 2)
        assert numbers(consumer) == [3, 4]


def test_a_paused_partition_gives_nothing(hub: str) -> None:
    publish(hub, {"n": 0})
    with reader(hub) as consumer:
        assert numbers(consumer) == [0]
        consumer.pause([("orders", 0)])
        publish(hub, {"n": 1})
        assert numbers(consumer) == []
        consumer.resume([("orders", 0)])
        assert numbers(consumer) == [1]


def test_a_value_that_does_not_parse_raises_with_its_place(hub: str) -> None:
    publish(hub, {"n": 0}, b"poison", {"n": 2})
    with reader(hub) as consumer:
        with pytest.raises(KafkaSerializationError) as caught:
            numbers(consumer)
        place: Any = caught.value
        assert (place.topic, place.partition, place.offset) == ("orders", 0, 1)
        consumer.seek("orders", 0, place.offset + 1)
        assert numbers(consumer) == [2]


def test_a_value_that_does_not_parse_can_be_skipped(hub: str) -> None:
    publish(hub, {"n": 0}, b"poison", {"n": 2})
    with reader(hub, on_error="skip") as consumer:
        assert numbers(consumer) == [0, 2]


@pytest.mark.parametrize("max_messages", [1, 2, 100])
def test_batches_leave_out_what_does_not_parse(hub: str, max_messages: int) -> None:
    publish(hub, b"poison", {"n": 1}, b"poison", {"n": 3}, b"poison", b"poison")
    with reader(hub, on_error="skip") as consumer:
        found = [message["value"]["n"] for batch in consumer.batches(max_messages, 0.2) for message in batch]
        assert found == [1, 3]
        assert consumer.stats()["skipped_total"] == 4
    with reader(hub, on_error="raise") as consumer:
        assert numbers(consumer) == [], "what was left out at the end is committed with the list before it"


def test_what_batches_left_out_is_not_committed_before_the_list_it_is_behind(hub: str) -> None:
    publish(hub, b"poison", {"n": 1}, b"poison", {"n": 3}, b"poison")
    with reader(hub, on_error="skip") as consumer:
        assert [message["value"]["n"] for message in next(consumer.batches(1, 5.0))] == [1]
    with reader(hub, on_error="skip") as consumer:
        assert [message["value"]["n"] for message in next(consumer.batches(100, 5.0))] == [1, 3]
    with reader(hub, on_error="skip") as consumer:
        assert numbers(consumer) == [1, 3]


def test_a_seek_within_a_list_is_not_undone_when_the_list_is_finished(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(4)))
    with reader(hub) as consumer:
        batches = consumer.batches(2, 5.0)
        assert [message["value"]["n"] for message in next(batches)] == [0, 1]
        consumer.seek("orders", 0, 1)
        assert [message["value"]["n"] for message in next(batches)] == [1, 2]
    with reader(hub) as consumer:
        assert numbers(consumer) == [0, 1, 2, 3], "the second list was left, and nothing else was finished with"


def test_a_deserializer_of_the_programs_own(hub: str) -> None:
    publish(hub, b"poison")
    with reader(hub, value_deserializer=bytes.upper) as consumer:
        [message] = consumer
    assert message["value"] == b"POISON"


def interrupted_once() -> Callable[[bytes], int]:
    """A deserializer into which Ctrl-C comes when it first reads a 1."""
    interrupts = iter([KeyboardInterrupt])

    def deserialize(value: bytes) -> int:
        if value == b"1":
            for interrupt in interrupts:
                raise interrupt
        return int(value)

    return deserialize


@pytest.mark.parametrize("in_lists", [False, True])
@pytest.mark.parametrize("on_error", ["raise", "skip", "dead_letter"])
def test_ctrl_c_within_a_deserializer_is_no_poison(hub: str, on_error: str, in_lists: bool) -> None:
    publish(hub, b"0", b"1", b"2")

    def values(consumer: KafkaConsumerClient) -> list[int]:
        if in_lists:
            return [message["value"] for batch in consumer.batches(100, 0.2) for message in batch]
        return [message["value"] for message in consumer]

    with reader(hub, on_error=on_error, value_deserializer=interrupted_once()) as consumer:
        with pytest.raises(KeyboardInterrupt):
            values(consumer)
        found = values(consumer)
        assert found == ([0, 1, 2] if in_lists else [1, 2]), "nothing is left out, a list comes again as a whole"
        stats = consumer.stats()
        assert (stats["unparsed_total"], stats["skipped_total"], stats["dead_lettered_total"]) == (0, 0, 0)


def test_a_deserializer_that_uses_its_consumer_is_told_so(hub: str) -> None:
    publish(hub, b"0", b"1")
    consumer: KafkaConsumerClient
    refused: list[str] = []

    def meddling(value: bytes) -> bytes:
        for use in (
            consumer.__next__,
            lambda: next(consumer.batches()),
            consumer.commit,
            lambda: consumer.seek("orders", 0, 0),
            lambda: consumer.pause([("orders", 0)]),
            lambda: consumer.resume([("orders", 0)]),
            consumer.assignment,
            consumer.lag,
            consumer.stats,
            consumer.close,
        ):
            with pytest.raises(GdsKafkaError) as caught:
                use()
            refused.append(str(caught.value))
        return value

    with reader(hub, value_deserializer=meddling) as consumer:
        assert [message["value"] for message in consumer] == [b"0", b"1"]
        assert not consumer.closed
    assert len(refused) == 2 * 10
    assert set(refused) == {"a deserializer cannot use the consumer that calls it; do it in the loop body"}
    with reader(hub, value_deserializer=bytes) as consumer:
        assert list(consumer) == [], "it was closed, and had committed"


def test_a_loop_ends_when_its_body_closes_the_consumer(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(5)))
    found = []
    with reader(hub) as consumer:
        for message in consumer:
            found.append(message["value"]["n"])
            if len(found) == 2:
                consumer.close()
        assert consumer.stats()["consumed_total"] == 2
    assert found == [0, 1]
    with reader(hub) as consumer:
        assert numbers(consumer) == [1, 2, 3, 4], "the loop was left at the second one"


def test_pause_holds_back_what_was_fetched(hub: str) -> None:
    publish(hub, *({"n": n} for n in range(10)))
    with reader(hub) as consumer:
        assert next(consumer)["value"] == {"n": 0}
        consumer.pause([("orders", 0)])
        assert numbers(consumer) == []
        consumer.resume([("orders", 0)])
        assert numbers(consumer) == [*range(1, 10)]


def test_ctrl_c_behind_a_dead_letter_does_not_write_it_again(hub: str) -> None:
    publish(hub, b"poison", b"1")
    with reader(hub, on_error="dead_letter", value_deserializer=interrupted_once()) as consumer:
        with pytest.raises(KeyboardInterrupt):
            list(consumer.batches(100, 0.2))
        assert [message["value"] for batch in consumer.batches(100, 0.2) for message in batch] == [1]
        assert consumer.stats()["dead_lettered_total"] == 1


def test_the_dead_of_a_dead_letter_topic_have_nowhere_to_go(hub: str) -> None:
    publish(hub, b"poison", topic="orders.dlq")
    settings: dict[str, Any] = {"auto_offset_reset": "earliest", "consumer_timeout_ms": IDLE_MS}
    with KafkaConsumerClient("orders.dlq", hub, "g", on_error="dead_letter", **settings) as consumer:
        with pytest.raises(KafkaSerializationError, match=r"orders\.dlq\[0\] offset 0"):
            next(consumer)
        assert consumer.stats()["dead_lettered_total"] == 0
    with KafkaConsumerClient("^.*", hub, None, value_deserializer=bytes, **settings) as consumer:
        assert {message["topic"] for message in consumer} == {"orders.dlq"}
