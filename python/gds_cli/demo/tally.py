"""What the program counts for itself, so that others can be checked against it."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from typing import NamedTuple

__all__ = ["RecordCount", "ReportedMetric", "Tally"]

KEPT_MS = 200_000
"""How many durations of a name are kept for exact quantiles: an hour of the demo."""


class ReportedMetric(NamedTuple):
    """What was reported under a name: as what, how often, and the sum of a counter's values."""

    kind: str
    calls: int
    total: float


class Tally:
    """A collector that adds up, beside those that are watched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._totals: Counter[tuple[str, str]] = Counter()
        self._durations_ms: dict[str, deque[float]] = {}

    def _add(self, kind: str, name: str, value: float) -> None:
        with self._lock:
            self._calls[kind, name] += 1
            # Of floats the sum depends on the order, so it is kept for counters only, whose steps are whole.
            self._totals[kind, name] += value if kind == "counter" else 0  # type: ignore[assignment]

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:  # noqa: ARG002
        """Add to a counter."""
        self._add("counter", name, value)

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:  # noqa: ARG002
        """A gauge was set."""
        self._add("gauge", name, value)

    def histogram(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:  # noqa: ARG002
        """A value was observed."""
        self._add("histogram", name, value)

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:  # noqa: ARG002
        """Something took a time."""
        self._add("timing", name, value_ms)
        with self._lock:
            self._durations_ms.setdefault(name, deque(maxlen=KEPT_MS)).append(value_ms)

    def reported(self) -> dict[str, ReportedMetric]:
        """All of it, by name."""
        with self._lock:
            return {
                name: ReportedMetric(kind, calls, float(self._totals[kind, name]))
                for (kind, name), calls in sorted(self._calls.items(), key=lambda item: item[0][1])
            }

    def durations_ms(self, name: str) -> list[float] | None:
        """All durations of a name, unless there were too many to keep."""
        with self._lock:
            kept = self._durations_ms.get(name)
            return None if kept is None or len(kept) == KEPT_MS else list(kept)


class RecordCount(logging.Handler):
    """Counts the records that a logger hands to its handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.records = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """One more; `logging` calls it with the handler's lock."""
        self.records += 1
