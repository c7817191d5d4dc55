"""Series as lines, in as many rows and columns as a terminal has. A character has two by four dots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from gds_cli.live.layout import clean
from gds_cli.query.moments import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    Line = tuple[str, Sequence[tuple[float, float]]]

__all__ = ["plot"]

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""What a dot of each row and column adds to the first character of Braille."""

BLANK = 0x2800
AXIS = 11
LEGEND = 8
"""Columns of the numbers beside the lines, and lines that have a name below them."""


class _Canvas:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._dots = [[0] * width for _ in range(height)]
        self._colours = [[""] * width for _ in range(height)]

    def dot(self, x: float, y: float, colour: str) -> None:
        """A dot; both from 0 to 1, from the left and from below."""
        column = min(int(x * self.width * 2), self.width * 2 - 1)
        row = self.height * 4 - 1 - min(int(y * self.height * 4), self.height * 4 - 1)
        self._dots[row // 4][column // 2] |= DOTS[row % 4][column % 2]
        self._colours[row // 4][column // 2] = colour

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """Dots from one place to another."""
        (x, y), (to_x, to_y) = start, end
        dots = max(abs(to_x - x) * self.width * 2, abs(to_y - y) * self.height * 4, 1)
        for step in range(math.ceil(dots) + 1):
            part = min(step / dots, 1.0)
            self.dot(x + (to_x - x) * part, y + (to_y - y) * part, colour)

    def rows(self) -> list[Text]:
        return [
            Text.assemble(*((chr(BLANK + dots), colour) for dots, colour in zip(row, colours, strict=True)))
            for row, colours in zip(self._dots, self._colours, strict=True)
        ]


def plot(lines: Sequence[Line], start: float, end: float, gap: float, width: int, height: int) -> list[Text]:
    """Lines with their axes and names.

    Args:
        lines: Names, and pairs of seconds since 1970 and a number. What is no number is left out.
        start: Where the axis of time begins.
        end: Where it ends.
        gap: Points that are further than these seconds from each other are not joined.
        width: Columns, at least 30.
        height: Rows of the picture itself, at least 3.
    """
    finite = [(name, [point for point in points if math.isfinite(point[1])]) for name, points in lines]
    values = [value for _, points in finite for _, value in points]
    if not values:
        return [Text("nothing to draw: no series has a number in this time")]
    low, high = min(values), max(values)
    if high / 2 - low / 2 == 0:
        # A flat line, in the middle.
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    canvas = _Canvas(max(width, 30) - AXIS - 1, max(height, 3))
    for at, (_, points) in enumerate(finite):
        _draw(canvas, points, (start, end), (low, high), gap, COLOURS[at % len(COLOURS)])
    labels = {0: high, canvas.height // 2: (low + high) / 2, canvas.height - 1: low}
    rows = [
        Text.assemble(f"{_number(labels[at]) if at in labels else '':>{AXIS - 1}} ┤", row)
        for at, row in enumerate(canvas.rows())
    ]
    begin, finish = shown(start), shown(end)
    middle = " " * max(1, canvas.width - len(begin) - len(finish))
    return [*rows, Text(" " * AXIS + begin + middle + finish), *_legend(finite, width)]


def _draw(
    canvas: _Canvas,
    points: Sequence[tuple[float, float]],
    time: tuple[float, float],
    range_: tuple[float, float],
    gap: float,
    colour: str,
) -> None:
    (start, end), (low, high) = time, range_
    span = (end - start) or 1.0
    # Halved first: the difference of the greatest numbers is none.
    height = high / 2 - low / 2
    before: tuple[float, tuple[float, float]] | None = None
    for at, value in points:
        place = (min(max((at - start) / span, 0.0), 1.0), (value / 2 - low / 2) / height)
        if before is not None and at - before[0] <= gap:
            canvas.line(before[1], place, colour)
        else:
            canvas.dot(*place, colour)
        before = (at, place)


def _legend(lines: Sequence[Line], width: int) -> list[Text]:
    found = []
    for at, (name, points) in enumerate(lines[:LEGEND]):
        last = f"  {_number(points[-1][1])}" if points else "  no number"
        row = Text.assemble(("━━ ", COLOURS[at % len(COLOURS)]), clean(name), (last, "bold"))
        row.truncate(max(width, 30), overflow="ellipsis")
        found.append(row)
    if len(lines) > LEGEND:
        found.append(Text(f"and {len(lines) - LEGEND} more"))
    return found


def _number(value: float) -> str:
    return f"{value:.4g}"
