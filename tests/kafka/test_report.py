"""The figures of a client, as a collector gets them."""

from __future__ import annotations

import pytest

from gds_kafka._report import Report, reporter
from tests.metrics.doubles import Call, Recorder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_totals_are_reported_by_how_much_they_grew(recorder: Recorder) -> None:
    report = Report(recorder, "producer", {})
    report({"delivered_total": 3, "dropped_total": {"buffer_full": 2, "closed": 0}})
    report({"delivered_total": 3, "dropped_total": {"buffer_full": 5, "closed": 0}})
    report({"delivered_total": 10, "dropped_total": {"buffer_full": 5, "closed": 1}})
    assert recorder.calls == [
        Call("increment", "kafka.producer.delivered", 3, None),
        Call("increment", "kafka.producer.dropped", 2, {"reason": "buffer_full"}),
        Call("increment", "kafka.producer.dropped", 3, {"reason": "buffer_full"}),
        Call("increment", "kafka.producer.delivered", 7, None),
        Call("increment", "kafka.producer.dropped", 1, {"reason": "closed"}),
    ]


def test_other_figures_are_gauges_with_the_clients_label(recorder: Recorder) -> None:
    Report(recorder, "producer", {"client_id": "a"})({"queue_bytes": 7, "spool_age_seconds": 0.5})
    assert recorder.calls == [
        Call("gauge", "kafka.producer.queue_bytes", 7, {"client_id": "a"}),
        Call("gauge", "kafka.producer.spool_age_seconds", 0.5, {"client_id": "a"}),
    ]


def test_lag_is_a_gauge_for_each_partition(recorder: Recorder) -> None:
    lag = [{"topic": "orders", "partition": 1, "position": 5, "end": 9, "lag": 4}]
    Report(recorder, "consumer", {"client_id": "a"})({"lag": lag, "consumer_lag.shop.orders.2": 5.0})
    assert recorder.calls == [
        Call("gauge", "kafka.consumer.lag", 4, {"client_id": "a", "topic": "orders", "partition": "1"}),
        Call("gauge", "kafka.consumer.lag", 5, {"client_id": "a", "topic": "shop.orders", "partition": "2"}),
    ]


def test_what_is_no_number_is_left_out(recorder: Recorder) -> None:
    Report(recorder, "producer", {})({"last_error": "broken", "since": None})
    assert recorder.calls == []


def test_figures_that_come_late_are_not_counted_twice(recorder: Recorder) -> None:
    report = Report(recorder, "producer", {})
    for total in (5, 3, 6):
        report({"delivered_total": total})
    assert [call.value for call in recorder.calls] == [5, 1]


def test_a_forked_child_counts_from_zero(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(recorder, "producer", {})
    report({"delivered_total": 5})
    monkeypatch.setattr("os.getpid", lambda: -1)
    report({"delivered_total": 2})
    assert [call.value for call in recorder.calls] == [5, 2]


def test_without_a_collector_there_is_nothing_to_call() -> None:
    assert reporter(None, "producer", "a") is None
