"""Statements by what they took lately: `Top`."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from gds_cli.live.rising import Rising

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gds_cli.watch.picture import Statement

__all__ = ["Top"]

_COUNTED = ("calls", "seconds", "rows")


class Top:
    """Those that are worth showing, with how fast their numbers grow."""

    def __init__(self) -> None:
        # A server tells of some of them only: one that is new has not begun at nothing.
        self._rising = Rising[tuple[str, str]](from_nothing=False)

    def of(self, statements: Iterable[Statement], most: int) -> list[Statement]:
        """So many of them, those first that took most time lately, and before there is a lately in all.

        Args:
            statements: As the server tells of them now, without rates.
            most: How many to keep.
        """
        found = list(statements)
        values = {(each.id, name): float(getattr(each, name)) for each in found for name in _COUNTED}
        self._rising.feed(time.monotonic(), values)
        if self._rising.seconds > 0:
            found = [self._rated(each) for each in found]
        found.sort(key=lambda each: (-(each.seconds_per_second or 0.0), -each.seconds, each.id))
        return found[:most]

    def _rated(self, each: Statement) -> Statement:
        calls, seconds, rows = (self._rising.grown((each.id, name)) / self._rising.seconds for name in _COUNTED)
        return dataclasses.replace(each, calls_per_second=calls, seconds_per_second=seconds, rows_per_second=rows)
