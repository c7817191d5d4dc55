"""When a cron expression is due next."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

__all__ = ["CronParser"]

_FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
_PIECE = re.compile(r"(?:\*|([0-9]+)(?:-([0-9]+))?)(?:/([0-9]*[1-9][0-9]*))?")
_LONGEST_DAYS = 8 * 366  # 29 February of a century that has none


class CronParser:
    """A cron expression of five fields: minute, hour, day, month, weekday (0 and 7 are Sunday).

    Each is ``*``, a number, a range ``1-5``, a step ``*/15``, or several of these with commas. As in cron, a day is due
    if the day of the month or the weekday fits, where both are given.

    Args:
        cron_expression: Such as ``0 2 * * *``, daily at two.

    Raises:
        ValueError: It is none.
    """

    def __init__(self, cron_expression: str) -> None:
        self.expression = cron_expression.strip()
        parts = self.expression.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"cron_expression={self.expression!r}: expected five fields, got {len(parts)}")
        self.fields = dict(zip(_FIELDS, parts, strict=True))
        self._due = {name: self._numbers(name, part) for name, part in self.fields.items()}
        self._due["weekday"] = {number % 7 for number in self._due["weekday"]}

    def _numbers(self, name: str, part: str) -> set[int]:
        low, high = _FIELDS[name]
        found: set[int] = set()
        for piece in part.split(","):
            known = _PIECE.fullmatch(piece)
            if known is None:
                raise ValueError(f"cron_expression={self.expression!r}: {part!r} is no {name}")
            first, last, step = known.groups()
            begin = int(first) if first else low
            # As in cron, `5/15` goes on to the end.
            end = int(last) if last else (begin if first and not step else high)
            if not low <= begin <= end <= high:
                raise ValueError(f"cron_expression={self.expression!r}: expected a {name} from {low} to {high}")
            found.update(range(begin, end + 1, int(step or 1)))
        return found

    def next_run_time(self, from_time: datetime | None = None) -> datetime:
        """The first minute after a time at which it is due; None is now.

        Raises:
            ValueError: There is none, as on 30 February.
        """
        begin = from_time or datetime.now()  # noqa: DTZ005 - a schedule without a zone is of the machine's own
        due = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for _ in range(_LONGEST_DAYS):
            if self._on_day(due):
                for hour in sorted(self._due["hour"]):
                    for minute in sorted(self._due["minute"]):
                        if (hour, minute) >= (due.hour, due.minute):
                            return due.replace(hour=hour, minute=minute)
            due = due.replace(hour=0, minute=0) + timedelta(days=1)
        raise ValueError(f"cron_expression={self.expression!r}: it is never due")

    def _on_day(self, day: datetime) -> bool:
        if day.month not in self._due["month"]:
            return False
        of_month = day.day in self._due["day"]
        of_week = day.isoweekday() % 7 in self._due["weekday"]
        if "*" in (self.fields["day"][0], self.fields["weekday"][0]):
            return of_month and of_week
        return of_month or of_week

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.expression!r})"
