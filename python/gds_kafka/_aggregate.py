"""Measurements added up for a while: what `KafkaMetrics` sends once an interval instead of one by one.

One thread for each process and collector, started by the first measurement, sends what was added up when its time has
come. It is a daemon, so that it keeps no program alive, and it is stopped and waited for before the interpreter ends,
so that it never runs in one that is being taken down. A forked child begins with nothing, since the parent sends what
was counted before the fork, and starts a thread of its own.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from itertools import accumulate
from math import inf, isfinite, isnan
from time import time
from typing import TYPE_CHECKING, Any, Literal

from gds_metrics._guard import guard
from gds_metrics._settings import DEFAULT_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Kind: TypeAlias = Literal["counter", "gauge", "histogram", "timing"]
    Message: TypeAlias = dict[str, Any]
    Series: TypeAlias = tuple[Kind, str, tuple[tuple[str, str], ...]]

__all__ = ["MAX_SERIES", "Aggregates", "message"]

MAX_SERIES = 10_000
"""More than these are sent before their time, so that many label sets cost messages and not memory."""

_MILLISECONDS = 1000.0

# How often this process was forked from one that had this module.
_generation = [0]


def _forked() -> None:
    _generation[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Aggregates:
    """Sums and distributions since they were last sent.

    Args:
        interval_seconds: How long to add up.
        send: Given each message; must not raise.
    """

    __slots__ = ("_bounds", "_generation", "_interval", "_send", "_since", "_stopped", "_summed", "_thread")

    def __init__(self, interval_seconds: float, send: Callable[[Message], None]) -> None:
        self._interval = interval_seconds
        self._send = send
        self._bounds: dict[str, list[float]] = {}
        self._begin()

    def _begin(self) -> None:
        self._generation = _generation[0]
        self._summed: dict[Series, _Sum | _Distribution] = {}
        self._since = time()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def describe(self, name: str, bounds: list[float]) -> None:
        """Upper bounds of a distribution that has no observation in this interval yet."""
        with guard():
            self._bounds[name] = bounds

    def add(self, kind: Kind, name: str, value: float, labels: dict[str, str]) -> None:
        """Add a finite number."""
        series = (kind, name, tuple(sorted(labels.items())))
        with guard():
            if self._generation != _generation[0]:
                self._begin()
            summed = self._summed.get(series)
            if summed is None:
                summed = self._summed[series] = self._made(kind, name, labels)
            summed.add(value)
            full = len(self._summed) > MAX_SERIES
            start = self._thread is None and not self._stopped.is_set()
            if start:
                self._thread = threading.Thread(target=self._run, args=(self._stopped,), name="gds-kafka", daemon=True)
        if start:
            self._start()
        if full:
            self.ship()

    def _made(self, kind: Kind, name: str, labels: dict[str, str]) -> _Sum | _Distribution:
        if kind == "counter":
            return _Sum(labels)
        bounds = self._bounds.get(name, DEFAULT_BUCKETS)
        return _Distribution(labels, [bound * _MILLISECONDS for bound in bounds] if kind == "timing" else list(bounds))

    def _start(self) -> None:
        thread = self._thread
        try:
            if thread is not None:
                thread.start()
        except RuntimeError:
            # No thread can be started, at the end of the interpreter for one: `stop` sends what is here.
            self._thread = None

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval):
            self.ship()

    def ship(self) -> None:
        """Send what was added up so far."""
        with guard():
            if self._generation != _generation[0]:
                self._begin()
            summed, self._summed = self._summed, {}
            since, self._since = self._since, time()
            until = self._since
        for (kind, name, _), one in summed.items():
            self._send(one.message(kind, name, since, until))

    def stop(self, timeout_seconds: float) -> None:
        """Send no more by time. Waits for a sending that is under way."""
        with guard():
            if self._generation != _generation[0]:
                self._begin()
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)


class _Sum:
    __slots__ = ("_labels", "_sum")

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._sum += value

    def message(self, kind: Kind, name: str, since: float, until: float) -> Message:
        return message(until, kind, name, self._sum, self._labels) | {"interval_seconds": max(until - since, 0.0)}


class _Distribution:
    __slots__ = ("_bounds", "_counts", "_labels", "_max", "_min", "_sum")

    def __init__(self, labels: dict[str, str], bounds: list[float]) -> None:
        self._labels = labels
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._min, self._max = inf, -inf

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self._min = min(self._min, value)
        self._max = max(self._max, value)

    def message(self, kind: Kind, name: str, since: float, until: float) -> Message:
        # As one observation for who knows no aggregates: the value is the mean.
        count = sum(self._counts)
        bounds = [*(f"{bound:.12g}" for bound in self._bounds), "+Inf"]
        return message(until, kind, name, self._sum / count, self._labels) | {
            "interval_seconds": max(until - since, 0.0),
            "count": count,
            "sum": self._sum if isfinite(self._sum) else None,
            "min": self._min,
            "max": self._max,
            "buckets": dict(zip(bounds, accumulate(self._counts), strict=True)),
        }


def message(timestamp: float, kind: Kind, name: str, value: float, labels: dict[str, str]) -> Message:
    """A measurement as it is sent."""
    if isfinite(value):
        return {"timestamp": timestamp, "type": kind, "name": name, "value": value, "labels": labels}
    # JSON has no such numbers. Null alone would not say which, and a gauge may well show infinity.
    flag = "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    return {"timestamp": timestamp, "type": kind, "name": name, "value": None, "labels": labels, "non_finite": flag}
