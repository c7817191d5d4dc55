"""Counters of which rates are wanted: `Rising`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WINDOW_SECONDS", "Rising"]

WINDOW_SECONDS = 10.0
"""How long a time rates and percentiles are about."""

K = TypeVar("K")


class Rising(Generic[K]):
    """Numbers that only grow, and by how much they grew lately.

    Args:
        from_nothing: Whether one that is new began at nothing. Where only some of all are told, it did not.
    """

    def __init__(self, *, from_nothing: bool = True) -> None:
        self._from_nothing = from_nothing
        self._last: dict[K, float] | None = None
        self._risen: dict[K, float] = {}
        self._past: deque[tuple[float, dict[K, float]]] = deque()

    def feed(self, at_seconds: float, values: Mapping[K, float]) -> None:
        """Take all of them, as they are now."""
        first = self._last is None
        last = self._last or {}
        risen = {}
        for key, value in values.items():
            if first:
                risen[key] = 0.0
                continue
            # One that is less than it was began at nothing, and so did most that are new.
            before = last.get(key, 0.0 if self._from_nothing else value)
            risen[key] = self._risen.get(key, 0.0) + (value - before if value >= before else value)
        # What is gone may come back, and is then not new; what never does is forgotten some time.
        keep = not first and len(last) <= 2 * len(values) + 1000
        self._last = {**last, **values} if keep else dict(values)
        self._risen = {**self._risen, **risen} if keep else risen
        self._past.append((at_seconds, risen))
        while len(self._past) > 2 and self._past[1][0] <= at_seconds - WINDOW_SECONDS:
            self._past.popleft()

    def __iter__(self) -> Iterator[K]:
        return iter(self._last or ())

    @property
    def seconds(self) -> float:
        """How long ago the past is that `grown` compares with; 0 before there is one."""
        return self._past[-1][0] - self._past[0][0] if self._past else 0.0

    def grown(self, key: K) -> float:
        """By how much a number grew in that time."""
        return self._past[-1][1].get(key, 0.0) - self._past[0][1].get(key, 0.0) if self._past else 0.0

    def stepped(self, key: K) -> float:
        """How much it grew for each second of the last step."""
        if len(self._past) < 2:
            return 0.0
        (begin, before), (end, now) = self._past[-2], self._past[-1]
        return (now.get(key, 0.0) - before.get(key, 0.0)) / (end - begin) if end > begin else 0.0

    def value(self, key: K) -> float:
        """The number itself."""
        return (self._last or {}).get(key, 0.0)
