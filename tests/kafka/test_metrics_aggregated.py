"""`KafkaMetrics(aggregate_seconds=...)`: fewer messages, the same sums, whoever ends."""

from __future__ import annotations

import functools
import operator
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_kafka import KafkaMetrics
from gds_kafka._aggregate import MAX_SERIES
from tests.kafka.doubles import RecordingProducer
from tests.kafka.schemas import problems
from tests.metrics.programs import run

# Nothing is sent by time during a test that asks for it.
NEVER_SECONDS = 3600.0
TIMEOUT_SECONDS = 60.0


@pytest.fixture
def producer() -> RecordingProducer:
    return RecordingProducer()


def test_counters_become_their_sum(producer: RecordingProducer) -> None:
    before = time()
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        for _ in range(1000):
            metrics.increment("orders", labels={"kind": "book", "shop": "a"})
        metrics.increment("orders", 2.5, {"shop": "a", "kind": "book"})
        metrics.increment("orders", 7)
        assert producer.sent == []
    after = time()
    [labelled, plain] = producer.values
    assert (labelled["type"], labelled["name"], labelled["value"]) == ("counter", "orders", 1002.5)
    assert labelled["labels"] == {"kind": "book", "shop": "a"}
    assert (plain["value"], plain["labels"]) == (7.0, {})
    for message in (labelled, plain):
        assert before <= message["timestamp"] <= after
        assert 0 <= message["interval_seconds"] <= after - before
        assert problems("metric.json", message) == []
    assert [each.key for each in producer.sent] == ["orders", "orders"]


def test_distributions_become_count_sum_extremes_and_buckets(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        metrics.describe("size", buckets=(1, 10))
        for value in (0.5, 1, 2, 100):
            metrics.histogram("size", value)
    [message] = producer.values
    assert message["type"] == "histogram"
    assert (message["count"], message["sum"], message["min"], message["max"]) == (4, 103.5, 0.5, 100.0)
    assert message["value"] == 103.5 / 4
    assert message["buckets"] == {"1": 2, "10": 3, "+Inf": 4}
    assert problems("metric.json", message) == []


def test_timings_are_in_milliseconds_with_their_bounds(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        metrics.describe("took", buckets=(0.01, 0.1))
        metrics.timing("took", 10)
        metrics.timing("took", 50)
    [message] = producer.values
    assert message["buckets"] == {"10": 1, "100": 2, "+Inf": 2}
    assert (message["sum"], message["value"]) == (60.0, 30.0)


def test_gauges_are_sent_as_they_come(producer: RecordingProducer) -> None:
    metrics = KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS)
    metrics.gauge("stock", 1)
    metrics.gauge("stock", 2)
    assert [value["value"] for value in producer.values] == [1.0, 2.0]
    metrics.close()
    assert len(producer.sent) == 2


def test_a_name_of_two_types_is_two_messages(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        metrics.increment("a", 1)
        metrics.histogram("a", 2)
        metrics.timing("a", 3)
    assert [(value["type"], value["value"]) for value in producer.values] == [
        ("counter", 1.0),
        ("histogram", 2.0),
        ("timing", 3.0),
    ]


def test_a_sum_beyond_the_range_of_a_float_is_flagged(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        for _ in range(3):
            metrics.increment("a", 1.7e308)
            metrics.histogram("b", -1.7e308)
    [counter, histogram] = producer.values
    assert (counter["value"], counter["non_finite"]) == (None, "+Inf")
    assert (histogram["value"], histogram["sum"], histogram["non_finite"], histogram["count"]) == (
        None,
        None,
        "-Inf",
        3,
    )
    assert [problems("metric.json", each) for each in producer.values] == [[], []]


def test_sent_by_time_without_a_further_report(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=0.01) as metrics:
        metrics.increment("a", 3)
        with producer.arrived:
            assert producer.arrived.wait_for(lambda: producer.sent, TIMEOUT_SECONDS)
        assert [value["value"] for value in producer.values] == [3.0]


def test_nothing_is_sent_for_an_interval_without_reports(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        metrics.increment("a")
        metrics.flush()
        metrics.flush()
    assert len(producer.sent) == 1


def test_intervals_follow_each_other_without_a_gap(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        for _ in range(3):
            metrics.increment("a")
            metrics.flush()
    for one, next_one in pairwise(producer.values):
        assert next_one["timestamp"] - next_one["interval_seconds"] == pytest.approx(one["timestamp"], abs=1e-5)


def test_many_label_sets_cost_messages_and_not_memory(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        for number in range(MAX_SERIES + 10):
            metrics.increment("a", labels={"n": number})
        assert len(producer.sent) == MAX_SERIES + 1
    assert len(producer.sent) == MAX_SERIES + 10
    assert sum(value["value"] for value in producer.values) == MAX_SERIES + 10


def test_threads_add_up_exactly(producer: RecordingProducer) -> None:
    threads, each = 8, 2000
    start = threading.Barrier(threads)

    def work(metrics: KafkaMetrics) -> None:
        start.wait(TIMEOUT_SECONDS)
        for _ in range(each):
            metrics.increment("a")
            metrics.timing("b", 1)

    with KafkaMetrics(producer, aggregate_seconds=0.001) as metrics, ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [metrics] * threads))
    added: Counter[str] = Counter()
    for value in producer.values:
        added[value["name"]] += value["count"] if value["type"] == "timing" else value["value"]
    assert added == {"a": threads * each, "b": threads * each}


def test_closing_leaves_no_thread(producer: RecordingProducer) -> None:
    before = set(threading.enumerate())
    metrics = KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS)
    metrics.increment("a")
    [thread] = set(threading.enumerate()) - before
    assert thread.daemon
    metrics.close()
    assert not thread.is_alive()


def test_a_bad_description_is_counted(producer: RecordingProducer) -> None:
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        metrics.describe("a", buckets=(2, 1))
        metrics.describe("", buckets=(1, 2))
    assert metrics.dropped == {"invalid_description": 1, "invalid_name": 1}


values = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=30)
bounds = st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True).map(sorted)


@given(values=values, bounds=bounds)
def test_an_aggregate_says_what_its_observations_say(values: list[float], bounds: list[int]) -> None:
    producer = RecordingProducer()
    with KafkaMetrics(producer, aggregate_seconds=NEVER_SECONDS) as metrics:
        metrics.describe("a", buckets=bounds)
        for value in values:
            metrics.histogram("a", value)
    [message] = producer.values
    assert (message["min"], message["max"], message["count"]) == (min(values), max(values), len(values))
    assert message["sum"] == functools.reduce(operator.add, values, 0.0)  # as sum() was before 3.12
    at_most = {str(bound): sum(value <= bound for value in values) for bound in bounds}
    assert message["buckets"] == at_most | {"+Inf": len(values)}
    assert problems("metric.json", message) == []


# ------------------------------------------------------------------ how a process ends
# A producer that writes a line a message, also from a child.
PREAMBLE = """
import multiprocessing, os, sys, threading
from gds_kafka import KafkaMetrics

class Lines:
    def __init__(self):
        self.closed = False
    def send(self, topic, value, key=None):
        os.write(1, f"{value['name']} {value['value']:g}\\n".encode())

metrics = KafkaMetrics(Lines(), aggregate_seconds=3600)
"""


def sums(source: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in run(PREAMBLE + source).splitlines():
        name, value = line.split()
        found[name] = found.get(name, 0.0) + float(value)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "metrics.increment('jobs', 5)",
        "metrics.increment('jobs', 5)\nsys.exit(0)",
        "threading.Thread(target=lambda: (threading.main_thread().join(), metrics.increment('jobs', 5))).start()",
    ],
    ids=["the end of the program", "sys.exit", "a thread that goes on"],
)
def test_what_was_added_up_is_sent_at_the_end(source: str) -> None:
    assert sums(source) == {"jobs": 5}


def test_at_the_end_a_collector_is_closed_before_what_it_hands_over_to() -> None:
    source = """
from gds_metrics._exit import close_at_exit

class Closing(Lines):
    def send(self, topic, value, key=None):
        os.write(1, f"{'late' if self.closed else 'jobs'} {value['value']:g}\\n".encode())
    def close(self, timeout_seconds=5.0):
        self.closed = True

producer = Closing()
close_at_exit(producer)
later = KafkaMetrics(producer, aggregate_seconds=3600)
later.increment("jobs", 5)
"""
    assert sums(source) == {"jobs": 5}


fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@fork
def test_a_forked_child_sends_its_own_and_nothing_twice() -> None:
    source = """
metrics.increment("before", 1)
child = os.fork()
metrics.increment("after", 1)
if child == 0:
    metrics.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0
"""
    assert sums(source) == {"before": 1, "after": 2}


@fork
def test_a_child_sends_by_time_as_well() -> None:
    source = """
sent = threading.Event()

class Telling(Lines):
    def send(self, topic, value, key=None):
        super().send(topic, value, key)
        sent.set()

metrics = KafkaMetrics(Telling(), aggregate_seconds=0.01)
metrics.increment("jobs")
sent.wait(60)
child = os.fork()
if child == 0:
    sent = threading.Event()
    metrics.increment("jobs")
    os._exit(0 if sent.wait(60) else 1)
_, status = os.waitpid(child, 0)
assert status == 0
"""
    assert sums(source) == {"jobs": 2}


@fork
def test_a_worker_of_multiprocessing_sends_what_it_added_up() -> None:
    source = """
def work():
    metrics.increment("jobs", 2)
workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
metrics.increment("jobs", 1)
"""
    assert sums(source) == {"jobs": 5}
