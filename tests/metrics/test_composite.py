from __future__ import annotations

import threading
from typing import Any

import pytest

from gds_metrics import CompositeMetrics, ConsoleMetrics, MetricsCollector
from tests.metrics.doubles import Broken, Call, Recorder


class Lifecycle(Recorder):
    """A collector with everything that is optional."""

    def __init__(self, *, flushes: bool | None = True) -> None:
        super().__init__()
        self.flushes = flushes
        self.described: list[tuple[str, dict[str, object]]] = []
        self.timeouts_seconds: list[float] = []
        self.closed = 0

    def describe(self, name: str, **settings: object) -> None:
        self.described.append((name, settings))

    def flush(self, timeout_seconds: float = 5) -> bool | None:
        self.timeouts_seconds.append(timeout_seconds)
        return self.flushes

    def close(self, timeout_seconds: float = 5) -> None:
        self.timeouts_seconds.append(timeout_seconds)
        self.closed += 1


def report_each(metrics: MetricsCollector) -> None:
    metrics.increment("a")
    metrics.increment("a", 2, {"l": "v"})
    metrics.gauge("b", 3, {"l": "v"})
    metrics.histogram("c", 4)
    metrics.timing("d", 5)


EACH = [
    Call("increment", "a", 1, None),
    Call("increment", "a", 2, {"l": "v"}),
    Call("gauge", "b", 3, {"l": "v"}),
    Call("histogram", "c", 4, None),
    Call("timing", "d", 5, None),
]


def test_is_a_collector() -> None:
    assert isinstance(CompositeMetrics(), MetricsCollector)


def test_each_member_gets_each_measurement() -> None:
    members = [Recorder(), Recorder()]
    report_each(CompositeMetrics(members))
    assert [member.calls for member in members] == [EACH, EACH]


def test_empty_composite_is_true_and_does_nothing() -> None:
    metrics = CompositeMetrics()
    report_each(metrics)
    assert bool(metrics)
    assert len(metrics) == 0
    assert metrics.flush()
    metrics.close()


def test_members_are_added_and_removed() -> None:
    first, second = Recorder(), Recorder()
    metrics = CompositeMetrics([first])
    metrics.add(second)
    assert list(metrics) == [first, second]
    assert second in metrics
    metrics.remove(first)
    metrics.increment("a")
    assert len(metrics) == 1
    assert first not in metrics
    assert (first.calls, len(second.calls)) == ([], 1)


def test_removing_what_is_no_member_is_refused() -> None:
    metrics = CompositeMetrics([ConsoleMetrics()])
    with pytest.raises(ValueError, match=r"ConsoleMetrics\(prefix='app'\).* is no member"):
        metrics.remove(ConsoleMetrics("app"))
    assert len(metrics) == 1


@pytest.mark.parametrize("position", [0, 1])
def test_a_member_that_fails_does_not_stop_the_others(position: int, caplog: pytest.LogCaptureFixture) -> None:
    broken, working = Broken(), Lifecycle()
    members: list[MetricsCollector] = [working]
    members.insert(position, broken)
    metrics = CompositeMetrics(members)
    report_each(metrics)
    metrics.describe("a", help="A.")
    assert not metrics.flush()
    metrics.close()
    assert working.calls == EACH
    assert working.described == [("a", {"help": "A."})]
    assert working.closed == 1
    assert dict(metrics.failures) == {broken: 8, working: 0}
    [record] = caplog.records
    assert record.name == "gds_metrics"
    assert "member Broken of a composite failed in increment: RuntimeError" in record.getMessage()
    assert "on purpose" not in caplog.text


def test_each_failing_member_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    report_each(CompositeMetrics([Broken(), Broken()]))
    assert len(caplog.records) == 2


def test_what_is_no_exception_passes() -> None:
    class Interrupted(Recorder):
        def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CompositeMetrics([Interrupted()]).gauge("a", 1)


def test_a_description_is_passed_on_as_given() -> None:
    member = Lifecycle()
    metrics = CompositeMetrics([member, Recorder(), ConsoleMetrics()])
    metrics.describe("a", help="A.", unit="s", buckets=[1, 2], max_series=5)
    assert member.described == [("a", {"help": "A.", "unit": "s", "buckets": [1, 2], "max_series": 5})]
    assert all(count == 0 for _, count in metrics.failures)


@pytest.mark.parametrize(("answer", "expected"), [(True, True), (None, True), (False, False)])
def test_flush_is_done_when_no_member_says_otherwise(answer: bool | None, expected: bool) -> None:
    assert CompositeMetrics([Recorder(), Lifecycle(flushes=answer)]).flush() is expected


def test_members_share_the_time_of_flush_and_close(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("gds_metrics.composite.time.monotonic", lambda: now[0])

    class Slow(Lifecycle):
        def flush(self, timeout_seconds: float = 5) -> bool | None:
            now[0] += 2
            return super().flush(timeout_seconds)

        def close(self, timeout_seconds: float = 5) -> None:
            now[0] += 2
            super().close(timeout_seconds)

    members = [Slow(), Slow(), Slow()]
    metrics = CompositeMetrics(members)
    metrics.flush(timeout_seconds=3)
    metrics.close(timeout_seconds=10)
    assert [member.timeouts_seconds for member in members] == [[3, 10], [1, 8], [0, 6]]


def test_leaving_the_context_closes_the_members() -> None:
    member = Lifecycle()
    with CompositeMetrics([member]) as metrics:
        metrics.increment("a")
    assert member.closed == 1


class OnlyCounts:
    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        pass


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (OnlyCounts(), "is no collector: it lacks gauge, histogram, timing; add an object"),
        (None, r"None \(NoneType\) is no collector: it lacks increment, gauge, histogram, timing"),
        (Recorder, "Recorder is a class; add an instance of it"),
    ],
)
def test_what_is_no_collector_is_refused(candidate: Any, message: str) -> None:
    metrics = CompositeMetrics()
    with pytest.raises(TypeError, match=message):
        metrics.add(candidate)
    with pytest.raises(TypeError, match=message):
        CompositeMetrics([Recorder(), candidate])
    assert len(metrics) == 0


def test_a_composite_cannot_contain_itself() -> None:
    outer, middle, inner = CompositeMetrics(), CompositeMetrics(), CompositeMetrics()
    outer.add(middle)
    middle.add(inner)
    for composite in (outer, middle, inner):
        with pytest.raises(ValueError, match="a composite cannot contain itself"):
            inner.add(composite)
    assert len(inner) == 0


def test_composites_nest() -> None:
    member = Recorder()
    report_each(CompositeMetrics([CompositeMetrics([member])]))
    assert member.calls == EACH


def test_members_come_and_go_while_others_report() -> None:
    constant = Recorder()
    metrics = CompositeMetrics([constant])
    start = threading.Barrier(4)
    rounds = 200

    def report() -> None:
        start.wait()
        for _ in range(rounds):
            metrics.increment("a")

    def change() -> None:
        start.wait()
        for _ in range(rounds):
            guest = Recorder()
            metrics.add(guest)
            metrics.remove(guest)

    threads = [threading.Thread(target=work) for work in (report, report, change, change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(metrics) == [constant]
    assert len(constant.calls) == 2 * rounds


@pytest.mark.parametrize(
    ("count", "spoken"),
    [
        (0, "Composite Metrics (0 backends)"),
        (1, "Composite Metrics (1 backend)"),
        (2, "Composite Metrics (2 backends)"),
    ],
)
def test_str_counts_the_members(count: int, spoken: str) -> None:
    assert str(CompositeMetrics([Recorder() for _ in range(count)])) == spoken


def test_repr_shows_the_members() -> None:
    metrics = CompositeMetrics([ConsoleMetrics("app")])
    assert repr(metrics) == "CompositeMetrics(1 backend: ConsoleMetrics(prefix='app'))"
