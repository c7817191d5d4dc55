"""Several collectors behind one.

    >>> metrics = CompositeMetrics([ConsoleMetrics(), PrometheusMetrics()])
    >>> metrics.increment("requests")

Each member gets each measurement. A member that raises is counted and mentioned once in the log;
the others are served all the same. Members may be added and removed at any time from any thread:
a measurement under way goes to the members there were when it began.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gds_metrics._collector import DEFAULT_TIMEOUT_SECONDS, Collector
from gds_metrics._guard import guard
from gds_metrics._input import failure, shown
from gds_metrics.base import COLLECTOR_METHODS, WarnOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gds_metrics._observable import Callback
    from gds_metrics.base import MetricsCollector

__all__ = ["CompositeMetrics"]


class CompositeMetrics(Collector):
    """Passes every measurement, description, flush and close to its members.

    It is true also when it is empty, and then does nothing.

    Args:
        collectors: The first members.

    Raises:
        TypeError: A member is no collector; the message names what it lacks.
    """

    __slots__ = ("_members",)

    def __init__(self, collectors: Iterable[MetricsCollector] = ()) -> None:
        # Replaced as a whole by `add` and `remove`, so that whoever iterates needs no lock.
        self._members: tuple[_Member, ...] = ()
        for collector in collectors:
            self.add(collector)

    def add(self, collector: MetricsCollector) -> None:
        """Add a member.

        Raises:
            TypeError: It is no collector; the message names what it lacks.
            ValueError: It is this composite or contains it.
        """
        _require_collector(collector)
        member = _Member(collector)
        with guard():
            if _contains(collector, self):
                raise ValueError("a composite cannot contain itself; add the members it should have")
            self._members = (*self._members, member)

    def remove(self, collector: MetricsCollector | str, labels: dict[str, str] | None = None) -> bool:
        """Take a member out, without closing it; or, given the name of a metric, one of its series out of each member.

        Args:
            collector: The member, or the name.
            labels: Which series of the name.

        Returns:
            Whether there was anything to take out.

        Raises:
            ValueError: It is no member.
        """
        if isinstance(collector, str):
            removed = [member.call("remove", collector, labels) for member in self._members]
            return True in removed
        with guard():
            members = self._members
            for index, member in enumerate(members):
                if member.collector is collector:
                    self._members = members[:index] + members[index + 1 :]
                    return True
        raise ValueError(f"{shown(collector)} is no member; it can be removed after it was added")

    @property
    def failures(self) -> list[tuple[MetricsCollector, int]]:
        """Each member with how many of its calls raised."""
        return [(member.collector, member.failures) for member in self._members]

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        """Add to the counter of each member."""
        for member in self._members:
            try:
                member.increment(name, value, labels)
            except Exception as error:  # noqa: BLE001, PERF203 - the other members must go on
                member.failed("increment", error)

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Set the gauge of each member."""
        for member in self._members:
            try:
                member.gauge(name, value, labels)
            except Exception as error:  # noqa: BLE001, PERF203 - the other members must go on
                member.failed("gauge", error)

    def gauge_add(self, name: str, delta: float, labels: dict[str, str] | None = None) -> None:
        """Raise or lower the gauge of each member that can."""
        for member in self._members:
            member.call("gauge_add", name, delta, labels)

    def observable_gauge(self, name: str, callback: Callback, labels: Mapping[str, str] | None = None) -> None:
        """Have each member that can ask for the gauge's value; see `PrometheusMetrics.observable_gauge`."""
        for member in self._members:
            member.call("observable_gauge", name, callback, labels)

    def observable_counter(self, name: str, callback: Callback, labels: Mapping[str, str] | None = None) -> None:
        """Have each member that can ask for the counter's total; see `PrometheusMetrics.observable_counter`."""
        for member in self._members:
            member.call("observable_counter", name, callback, labels)

    def histogram(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Add one observation to the distribution of each member."""
        for member in self._members:
            try:
                member.histogram(name, value, labels)
            except Exception as error:  # noqa: BLE001, PERF203 - the other members must go on
                member.failed("histogram", error)

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        """Add one duration in milliseconds to the distribution of each member."""
        for member in self._members:
            try:
                member.timing(name, value_ms, labels)
            except Exception as error:  # noqa: BLE001, PERF203 - the other members must go on
                member.failed("timing", error)

    def describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        **settings: object,
    ) -> None:
        """Describe a metric to each member that takes descriptions; see `Collector.describe`."""
        given = {"help": help, "unit": unit, "buckets": buckets, **settings}
        given = {setting: value for setting, value in given.items() if value is not None}
        for member in self._members:
            member.call("describe", name, **given)

    def flush(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> bool:
        """Flush each member that can be; all of them share the time.

        Returns:
            Whether none of them failed or said that it could not.
        """
        left_seconds = _countdown(timeout_seconds)
        results = [member.call("flush", timeout_seconds=left_seconds()) for member in self._members]
        return not any(result is False for result in results)

    def close(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Close each member that can be; all of them share the time."""
        left_seconds = _countdown(timeout_seconds)
        for member in self._members:
            member.call("close", timeout_seconds=left_seconds())

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[MetricsCollector]:
        return iter([member.collector for member in self._members])

    def __contains__(self, collector: object) -> bool:
        return any(member.collector is collector for member in self._members)

    def __repr__(self) -> str:
        members = ", ".join(repr(member.collector) for member in self._members)
        return f"{type(self).__name__}({self._count()}{': ' if members else ''}{members})"

    def __str__(self) -> str:
        return f"Composite Metrics ({self._count()})"

    def _count(self) -> str:
        count = len(self._members)
        return f"{count} backend{'' if count == 1 else 's'}"


class _Member:
    """One collector of a composite and what became of the calls to it."""

    __slots__ = ("_warn", "collector", "failures", "gauge", "histogram", "increment", "timing")

    def __init__(self, collector: MetricsCollector) -> None:
        self.collector = collector
        # Looked up once: a composite is on the way of every measurement.
        self.increment = collector.increment
        self.gauge = collector.gauge
        self.histogram = collector.histogram
        self.timing = collector.timing
        self.failures = 0
        self._warn = WarnOnce()

    def call(self, method: str, *arguments: object, **settings: object) -> object:
        """Call what the collector may lack: None when it does, False when it raises."""
        try:
            function = getattr(self.collector, method, None)
            return function(*arguments, **settings) if callable(function) else None
        except Exception as error:  # noqa: BLE001 - the other members must go on
            self.failed(method, error)
            return False

    def failed(self, method: str, error: Exception) -> None:
        """Count a call that raised, and say so once."""
        with guard():
            self.failures += 1
        self._warn(
            "failed",
            "member %s of a composite failed in %s: %s; further failures are only counted",
            type(self.collector).__name__,
            method,
            failure(error),
        )


def _require_collector(candidate: object) -> None:
    if isinstance(candidate, type):
        raise TypeError(f"{candidate.__name__} is a class; add an instance of it")
    missing = [name for name in COLLECTOR_METHODS if not callable(getattr(candidate, name, None))]
    if missing:
        raise TypeError(
            f"{shown(candidate)} is no collector: it lacks {', '.join(missing)}; "
            f"add an object that has {', '.join(COLLECTOR_METHODS)}"
        )


def _contains(candidate: object, composite: CompositeMetrics) -> bool:
    if candidate is composite:
        return True
    return isinstance(candidate, CompositeMetrics) and any(_contains(member, composite) for member in candidate)


def _countdown(timeout_seconds: float) -> Callable[[], float]:
    end_seconds = time.monotonic() + timeout_seconds
    return lambda: max(0.0, end_seconds - time.monotonic())
