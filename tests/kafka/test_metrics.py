"""What `KafkaMetrics` sends, and what it counts when it cannot."""

from __future__ import annotations

import logging
import math
from time import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_kafka import KafkaMetrics
from gds_metrics import MetricsCollector
from tests.kafka.doubles import BrokenProducer, RecordingProducer
from tests.kafka.schemas import problems
from tests.metrics.doubles import METHODS, Unprintable, any_labels, anything


@pytest.fixture
def producer() -> RecordingProducer:
    return RecordingProducer()


@pytest.fixture
def metrics(producer: RecordingProducer) -> KafkaMetrics:
    return KafkaMetrics(producer)


def test_is_a_collector(metrics: KafkaMetrics) -> None:
    assert isinstance(metrics, MetricsCollector)
    assert bool(metrics)
    assert repr(metrics) == "KafkaMetrics(topic='metrics')"
    assert str(metrics) == "Kafka Metrics (topic metrics)"
    assert metrics.topic == "metrics"


@pytest.mark.parametrize("key", [bytearray(b"k"), memoryview(b"k")], ids=["bytearray", "memoryview"])
def test_a_key_of_bytes_of_any_kind(producer: RecordingProducer, key: Any) -> None:
    KafkaMetrics(producer, key=key).increment("a")
    assert [sent.key for sent in producer.sent] == [b"k"]


def test_each_measurement_is_a_message_of_the_contract(metrics: KafkaMetrics, producer: RecordingProducer) -> None:
    before = time()
    metrics.increment("a")
    metrics.gauge("b", 42, {"host": "x"})
    metrics.histogram("c", 0.5, {})
    metrics.timing("d", 12.5, {"n": 1, "none": None, "yes": True})
    after = time()
    timestamps = [value.pop("timestamp") for value in producer.values]
    assert timestamps == sorted(timestamps)
    assert before <= timestamps[0]
    assert timestamps[-1] <= after
    assert producer.sent == [
        ("metrics", {"type": "counter", "name": "a", "value": 1.0, "labels": {}}, "a"),
        ("metrics", {"type": "gauge", "name": "b", "value": 42.0, "labels": {"host": "x"}}, "b"),
        ("metrics", {"type": "histogram", "name": "c", "value": 0.5, "labels": {}}, "c"),
        (
            "metrics",
            {"type": "timing", "name": "d", "value": 12.5, "labels": {"n": "1", "none": "", "yes": "true"}},
            "d",
        ),
    ]
    assert all(type(value["value"]) is float for value in producer.values)


@pytest.mark.parametrize(("value", "flag"), [(math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf")])
@pytest.mark.parametrize("aggregate_seconds", [None, 3600])
def test_what_json_cannot_hold_is_null_and_flagged(
    producer: RecordingProducer, value: float, flag: str, aggregate_seconds: float | None
) -> None:
    with KafkaMetrics(producer, aggregate_seconds=aggregate_seconds) as metrics:
        metrics.gauge("a", value)
        metrics.histogram("b", value)
        metrics.timing("c", value)
    assert [(each["name"], each["value"], each["non_finite"]) for each in producer.values] == [
        ("a", None, flag),
        # An observation of NaN is none.
        *[(name, None, flag) for name in ("b", "c") if not math.isnan(value)],
    ]
    assert not any(problems("metric.json", each) for each in producer.values)


@pytest.mark.parametrize("key", ["host-7", b"host-7", ""])
def test_one_key_for_all(producer: RecordingProducer, key: str | bytes) -> None:
    KafkaMetrics(producer, "m", key=key).increment("a")
    assert [(each.topic, each.key) for each in producer.sent] == [("m", key)]


def test_a_function_of_the_message_tells_its_key(producer: RecordingProducer) -> None:
    metrics = KafkaMetrics(producer, key=lambda message: message["labels"].get("host"))
    metrics.increment("a", labels={"host": "x"})
    metrics.increment("a")
    assert [each.key for each in producer.sent] == ["x", None]


def test_a_key_function_that_raises_is_counted(producer: RecordingProducer, caplog: pytest.LogCaptureFixture) -> None:
    metrics = KafkaMetrics(producer, key=lambda message: message["labels"]["hunter2"])
    metrics.increment("a")
    metrics.increment("a")
    assert producer.sent == []
    assert metrics.dropped == {"key_failed": 2}
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value", "labels", "reason"),
    [
        (None, 1, None, "invalid_name"),
        ("", 1, None, "invalid_name"),
        ("", 1.5, None, "invalid_name"),
        ("a", "1", None, "invalid_value"),
        ("a", None, None, "invalid_value"),
        ("a", 10**400, None, "invalid_value"),
        ("a", Unprintable(), None, "invalid_value"),
        ("a", 1, [("l", "v")], "invalid_labels"),
        ("a", 1, {1: "v"}, "invalid_labels"),
        ("a", 1, {"l": Unprintable()}, "invalid_labels"),
    ],
)
@pytest.mark.parametrize("aggregate_seconds", [None, 3600])
def test_bad_input_is_dropped_counted_and_mentioned_once(
    producer: RecordingProducer,
    caplog: pytest.LogCaptureFixture,
    method: str,
    name: Any,
    value: Any,
    labels: Any,
    reason: str,
    aggregate_seconds: float | None,
) -> None:
    with KafkaMetrics(producer, aggregate_seconds=aggregate_seconds) as metrics:
        for _ in range(3):
            getattr(metrics, method)(name, value, labels)
    assert producer.sent == []
    assert metrics.dropped == {reason: 3}
    [record] = caplog.records
    assert (record.name, record.levelno) == ("gds_metrics", logging.WARNING)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, -math.inf])
def test_increments_that_are_not_zero_or_more_are_dropped(
    metrics: KafkaMetrics, producer: RecordingProducer, value: float
) -> None:
    metrics.increment("a", value)
    assert producer.sent == []
    assert metrics.dropped == {"negative_increment": 1}


def test_a_producer_that_raises_is_counted_and_its_words_are_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    metrics = KafkaMetrics(BrokenProducer())
    for method in METHODS:
        getattr(metrics, method)("a", 1)
    assert metrics.flush() is False
    metrics.close()
    assert metrics.dropped == {"send_failed": 4, "flush_failed": 2}
    assert "hunter2" not in caplog.text


def test_flush_is_the_producers(metrics: KafkaMetrics, producer: RecordingProducer) -> None:
    assert metrics.flush(2.5) is True
    assert producer.flushed == [2.5]


def test_flush_says_when_the_producer_kept_some() -> None:
    class Slow(RecordingProducer):
        def flush(self, timeout: float | None = None) -> int:
            return 3

    assert KafkaMetrics(Slow()).flush() is False


def test_a_producer_with_send_only_is_enough() -> None:
    class Sender:
        def __init__(self) -> None:
            self.topics: list[str] = []

        def send(self, topic: str, value: object, key: object = None) -> None:
            self.topics.append(topic)

    sender = Sender()
    with KafkaMetrics(sender) as metrics:
        metrics.increment("a")
        assert metrics.flush() is True
    assert sender.topics == ["metrics"]


def test_what_is_reported_after_close_is_counted(metrics: KafkaMetrics, producer: RecordingProducer) -> None:
    metrics.close()
    metrics.close()
    metrics.increment("a")
    assert producer.sent == []
    assert metrics.dropped == {"closed": 1}


@pytest.mark.parametrize(
    ("arguments", "settings", "kind", "message"),
    [
        ((object(),), {}, TypeError, "has no send"),
        ((RecordingProducer(), ""), {}, ValueError, "topic=''"),
        ((RecordingProducer(), 7), {}, TypeError, "topic=7"),
        ((RecordingProducer(),), {"key": 7}, TypeError, "key=7"),
        ((RecordingProducer(),), {"aggregate_seconds": 0}, ValueError, "aggregate_seconds=0"),
        ((RecordingProducer(),), {"aggregate_seconds": "1"}, TypeError, "aggregate_seconds='1'"),
    ],
)
def test_a_bad_setting_is_an_error_that_names_it(
    arguments: tuple[Any, ...], settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        KafkaMetrics(*arguments, **settings)
    assert message in str(caught.value)


def test_a_producer_that_is_none_is_not_shown() -> None:
    class Secretive:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(TypeError, match="Secretive") as caught:
        KafkaMetrics(Secretive())  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


@given(method=st.sampled_from(METHODS), name=anything, value=anything, labels=any_labels, aggregated=st.booleans())
def test_whatever_is_reported_nothing_is_raised_and_what_is_sent_keeps_the_contract(
    method: str, name: Any, value: Any, labels: Any, aggregated: bool
) -> None:
    producer = RecordingProducer()
    with KafkaMetrics(producer, aggregate_seconds=3600 if aggregated else None) as metrics:
        getattr(metrics, method)(name, value, labels)
    assert len(producer.sent) + sum(metrics.dropped.values()) == 1
    assert [problems("metric.json", each) for each in producer.values] == [[]] * len(producer.sent)
