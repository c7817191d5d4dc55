"""A compacted topic of the hub of one machine, as a Python program sees it."""

from __future__ import annotations

from pathlib import Path

from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from tests.kafka.test_cli import gds
from tests.services.process import wait_until

LONG = 60.0
BEGIN_MS = 1_700_000_000_000


def test_questions_about_offsets_are_answered_across_what_is_gone(tmp_path: Path) -> None:
    hub, place = f"embedded:{tmp_path / 'hub'}", ("state", 0)
    options = ("--set", "cleanup.policy=compact", "--set", "segment.bytes=4000")
    made = gds("kafka", "topics", "state", "--create", 1, *options, "-b", hub)
    assert made.returncode == 0, made.stderr
    with (
        KafkaProducerClient(hub) as producer,
        KafkaConsumerClient("state", hub, "before", enable_auto_commit=False, consumer_timeout_ms=1000) as before,
    ):
        for number in range(10):
            producer.send("state", number, key=f"key {number % 2}", timestamp=BEGIN_MS + number)
        assert producer.flush(LONG) == 0
        assert [next(before)["offset"] for _ in range(3)] == [0, 1, 2]
        before.commit()
        ends = [10]

        def offsets() -> list[int]:
            with KafkaConsumerClient("state", hub, consumer_timeout_ms=300) as reader:
                found = [message["offset"] for message in reader]
                assert [lag["lag"] for lag in reader.lag()] == [0]
            return found

        def is_compacted() -> bool:
            for _ in range(20):
                producer.send("state", "x" * 200, key="busy", timestamp=BEGIN_MS + 1000)
            assert producer.flush(LONG) == 0
            ends.append(ends[-1] + 20)
            return offsets()[:2] == [8, 9]

        wait_until(is_compacted, what="it is compacted", timeout_seconds=LONG)
        assert before.beginning_offsets([place]) == {place: 0}, "as Kafka says it: offsets stay"
        assert before.end_offsets([place]) == {place: ends[-1]}
        times = {BEGIN_MS: 8, BEGIN_MS + 9: 9, BEGIN_MS + 1001: None}
        assert {time: before.offsets_for_times({place: time})[place] for time in times} == times
    with KafkaConsumerClient("state", hub, "before", consumer_timeout_ms=1000) as after:
        assert [(lag["position"], lag["lag"]) for lag in after.lag()] == [(3, ends[-1] - 3)]
        found = [(message["offset"], message["value"]) for message in after]
        assert found[:2] == [(8, 8), (9, 9)], "where it had committed nothing is left"
        assert (found[-1][0], len(found) < ends[-1] - 3) == (ends[-1] - 1, True)
        assert [lag["lag"] for lag in after.lag()] == [0]
    shown = gds("kafka", "lag", "before", "--json", "-b", hub)
    assert '"lag":0' in shown.stdout, shown.stderr
