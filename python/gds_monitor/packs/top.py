"""A sticky top N: series stay few although what they are about churns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gds_monitor.packs.model import TopN

__all__ = ["OTHER_SINCE", "StickyTop"]

OTHER_SINCE = "@other_since"
"""The column of the row for the rest that has the time since when it is counted."""

REMEMBERED = 20_000
_FADE = 0.8
_BETTER = 2.0

Key = tuple[Any, ...]
Row = Mapping[str, Any]


class StickyTop:
    """Chooses rows by how much they grew lately; who is in stays in.

    Who is not in yet gets in where there is a free seat, or instead of a member that grew less than half as much, and
    at most ``admit_per_hour`` of them. So the series of a day are at most ``keep + 24 * admit_per_hour + 1``. The rest
    is added up by what it grows, so its sum never goes back, also when the server forgets statements.
    """

    def __init__(self, top: TopN, counters: Sequence[str]) -> None:
        self._top = top
        self._counters = tuple(dict.fromkeys(counters))
        self._by = self._counters.index(top.by) if top.by in self._counters else 0
        self._last: dict[Key, tuple[float, ...]] = {}
        self._score: dict[Key, float] = {}
        self._members: dict[Key, None] = {}
        self._admitted: deque[datetime] = deque()
        self._since: datetime | None = None
        self._rest = [0.0] * len(self._counters)
        self._reported: dict[Any, None] = {}

    @property
    def members(self) -> tuple[Key, ...]:
        """The keys that are shown one by one."""
        return tuple(self._members)

    def unreported(self, column: str) -> set[Any]:
        """Values of a column of the key whose text was not reported yet: members that differ in others share it."""
        at = self._top.key.index(column)
        return {key[at] for key in self._members} - self._reported.keys()

    def mark_reported(self, values: Iterable[Any]) -> None:
        """Their texts are reported now."""
        self._reported.update(dict.fromkeys(values))
        while len(self._reported) > REMEMBERED:
            self._reported.pop(next(iter(self._reported)))

    def split(self, rows: Sequence[Row], now: datetime) -> tuple[list[Row], Row | None]:
        """The rows of the members, and one for the rest once there is any."""
        first = self._since is None
        self._since = since = self._since or now
        current: dict[Key, tuple[float, ...]] = {}
        shown: dict[Key, list[Row]] = {}
        for row in rows:
            key = tuple(row.get(column) for column in self._top.key)
            values = tuple(_float(row.get(column)) for column in self._counters)
            known = current.get(key)
            current[key] = values if known is None else tuple(map(sum, zip(known, values, strict=True)))
            shown.setdefault(key, []).append(row)
        grown = {key: self._growth(key, values, first=first) for key, values in current.items()}
        self._rate(current, grown, first=first)
        self._choose(now)
        for key, growth in grown.items():
            if key not in self._members and not first:
                self._rest = [total + each for total, each in zip(self._rest, growth, strict=True)]
        self._remember(current)
        kept = [row for key in self._members for row in shown.get(key, ())]
        if len(shown) <= len(self._members) and not any(self._rest):
            return kept, None
        rest: dict[str, Any] = dict(zip(self._counters, self._rest, strict=True))
        rest.update(dict.fromkeys(self._top.key, self._top.other))
        rest[OTHER_SINCE] = since
        return kept, rest

    def _growth(self, key: Key, values: tuple[float, ...], *, first: bool) -> tuple[float, ...]:
        last = self._last.get(key)
        if first:
            return tuple(0.0 for _ in values)
        if last is None or values[self._by] < last[self._by]:
            return values  # new, or counted anew since it was reset or forgotten
        return tuple(max(0.0, each - before) for each, before in zip(values, last, strict=True))

    def _rate(
        self, current: Mapping[Key, tuple[float, ...]], grown: Mapping[Key, tuple[float, ...]], *, first: bool
    ) -> None:
        score = {key: _FADE * each for key, each in self._score.items() if key in current or key in self._members}
        for key, values in current.items():
            # Nothing has grown yet in the first cycle; what it was until now stands for that.
            score[key] = score.get(key, 0.0) + (values if first else grown[key])[self._by]
        self._score = score

    def _choose(self, now: datetime) -> None:
        while self._admitted and now - self._admitted[0] >= timedelta(hours=1):
            self._admitted.popleft()
        candidates = sorted((key for key in self._score if key not in self._members), key=self._score.__getitem__)
        while candidates:
            if len(self._members) >= self._top.keep:
                weakest = min(self._members, key=lambda key: self._score.get(key, 0.0))
                better = self._score[candidates[-1]] > _BETTER * self._score.get(weakest, 0.0)
                if not better or len(self._admitted) >= self._top.admit_per_hour:
                    return
                self._admitted.append(now)
                del self._members[weakest]
            self._members[candidates.pop()] = None

    def _remember(self, current: Mapping[Key, tuple[float, ...]]) -> None:
        for key, values in current.items():
            self._last.pop(key, None)
            self._last[key] = values
        while len(self._last) > max(REMEMBERED, len(current)):
            self._last.pop(next(iter(self._last)))


def _float(value: Any) -> float:
    try:
        return 0.0 if value is None else float(value)
    except (TypeError, ValueError):
        return 0.0
