"""`KafkaMetrics` with the native producer, which writes measurements in Rust: the same messages, only sooner made."""

from __future__ import annotations

import re
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gds_kafka import KafkaConsumerClient, KafkaMetrics, KafkaProducerClient
from gds_metrics import CompositeMetrics
from tests.kafka.schemas import problems
from tests.metrics.doubles import METHODS, any_labels, anything
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

LONG = 30.0
TIMESTAMP = re.compile(rb'^\{"timestamp":([0-9.]+),')

topics = (f"topic-{number}" for number in count())


class Passing:
    """Any object with `send`: what it is given is a dict."""

    def __init__(self, producer: KafkaProducerClient) -> None:
        self._producer = producer

    def send(self, topic: str, value: Any, key: Any = None) -> None:
        self._producer.send(topic, value, key)


def read(hub: str, topic: str, messages: int) -> list[tuple[bytes | None, bytes]]:
    """Keys and values, as they are."""
    with KafkaConsumerClient(
        [topic], hub, auto_offset_reset="earliest", value_deserializer=bytes, key_deserializer=bytes
    ) as consumer:
        found = []
        for message in consumer.messages() if messages else ():
            found.append((message["key"], message["value"]))
            if len(found) == messages:
                break
        return found


plain = st.tuples(
    st.sampled_from(METHODS),
    st.text(min_size=1, max_size=40),
    st.one_of(st.floats(allow_nan=False), st.integers(min_value=-(1 << 54), max_value=1 << 54)),
    st.one_of(st.none(), st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=12)),
)
wild = st.tuples(st.sampled_from(METHODS), anything, anything, any_labels)


@given(measurements=st.lists(st.one_of(plain, wild), max_size=30), key=st.sampled_from([None, "host-7", b"host-7", ""]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_messages_are_those_that_any_producer_gets(
    tmp_path: Path, measurements: list[tuple[str, Any, Any, Any]], key: str | bytes | None
) -> None:
    hub = f"embedded:{tmp_path / 'hub'}"
    native_topic, passed_topic = next(topics), next(topics)
    with KafkaProducerClient(hub) as producer:
        native = KafkaMetrics(producer, native_topic, key=key)
        passed = KafkaMetrics(Passing(producer), passed_topic, key=key)
        before = time.time()
        for method, name, value, labels in measurements:
            getattr(native, method)(name, value, labels)
            getattr(passed, method)(name, value, labels)
        after = time.time()
        assert native.dropped == passed.dropped
        assert producer.flush(LONG) == 0
        sent = len(measurements) - sum(native.dropped.values())
        found, expected = read(hub, native_topic, sent), read(hub, passed_topic, sent)
    assert [key for key, _ in found] == [key for key, _ in expected]
    assert [TIMESTAMP.sub(b"", value) for _, value in found] == [TIMESTAMP.sub(b"", value) for _, value in expected]
    for _, value in found:
        match = TIMESTAMP.match(value)
        assert match is not None
        assert before <= float(match[1]) <= after


@pytest.mark.parametrize("method", METHODS)
def test_what_is_reported_keeps_the_contract(tmp_path: Path, method: str) -> None:
    hub = f"embedded:{tmp_path}"
    with KafkaProducerClient(hub) as producer:
        metrics = CompositeMetrics([KafkaMetrics(producer)])
        getattr(metrics, method)("orders.placed", 2, {"kind": 'bo"ok', "shop": "Zürich"})
        assert metrics.flush()
        with KafkaConsumerClient(["metrics"], hub, auto_offset_reset="earliest") as consumer:
            message = next(consumer.messages())
    assert message["key"] == "orders.placed"
    assert problems("metric.json", message["value"]) == []
    assert message["value"]["labels"] == {"kind": 'bo"ok', "shop": "Zürich"}
    assert message["value"]["value"] == 2


def test_serializers_of_the_producer_are_used(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    with KafkaProducerClient(
        hub, value_serializer=lambda value: value["name"].encode(), key_serializer=lambda key: b"<%s>" % key.encode()
    ) as producer:
        KafkaMetrics(producer).increment("orders")
        assert producer.flush(LONG) == 0
        assert read(hub, "metrics", 1) == [(b"<orders>", b"orders")]


def test_a_send_of_the_programs_own_is_used(tmp_path: Path) -> None:
    class Tagging(KafkaProducerClient):
        def send(self, topic: str, value: Any, key: Any = None, **more: Any) -> None:
            super().send(topic, {**value, "tag": "mine"}, key, **more)

    hub = f"embedded:{tmp_path}"
    with Tagging(hub) as producer:
        KafkaMetrics(producer).increment("orders")
        assert producer.flush(LONG) == 0
        [(_, value)] = read(hub, "metrics", 1)
    assert value.endswith(b'"tag":"mine"}')


def test_what_there_is_no_room_for_and_what_comes_late_is_counted(tmp_path: Path) -> None:
    with KafkaProducerClient(f"embedded:{tmp_path}") as producer:
        metrics = KafkaMetrics(producer, "t" * 250)
        metrics.increment("orders")
        assert metrics.dropped == {"send_failed": 1}
        metrics = KafkaMetrics(producer)
        metrics.close()
        metrics.increment("orders")
        assert metrics.dropped == {"closed": 1}
    metrics = KafkaMetrics(producer)
    metrics.increment("orders")
    assert metrics.dropped == {"send_failed": 1}


def test_a_measurement_waits_for_company_and_a_message_of_the_program_does_not(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    with KafkaProducerClient(hub, linger_ms=600_000) as patient, KafkaProducerClient(hub) as usual:
        KafkaMetrics(patient).increment("orders")
        KafkaMetrics(usual).increment("orders")
        # Within a tenth of a second, without a flush.
        wait_until(lambda: usual.stats()["pending"] == 0, what="a measurement that leaves by itself")
        # What is set is for both: that came first, and is still there.
        assert patient.stats()["pending"] == 1
        assert patient.flush(LONG) == 0


@pytest.mark.parametrize("key", [None, lambda message: message["name"]])
@pytest.mark.parametrize("on_full", ["block", "raise", "drop_newest"])
def test_a_measurement_never_waits_for_room(on_full: str, key: Any) -> None:
    # Nobody is there, so the buffer fills up; by default a message of the program would wait for a minute.
    with KafkaProducerClient(
        "127.0.0.1:1", lazy=True, on_full=on_full, buffer_memory=20_000, close_timeout_seconds=0
    ) as producer:
        metrics = KafkaMetrics(producer, key=key)
        begun = time.monotonic()
        for _ in range(2_000):
            metrics.increment("orders", labels={"kind": "book"})
        assert time.monotonic() - begun < LONG
        stats = producer.stats()
        assert metrics.dropped == {}
        assert stats["dropped_total"]["buffer_full"] + stats["pending"] == stats["accepted_total"] == 2_000
        assert stats["dropped_total"]["buffer_full"] > 1_000
