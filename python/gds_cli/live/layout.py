"""What views of a terminal are made of: numbers, text in one line, and sections that share the rows there are."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from rich.console import ConsoleRenderable

    Cells: TypeAlias = tuple[Text, ...]

__all__ = [
    "BAD",
    "FAINT",
    "GOOD",
    "NAME",
    "WARN",
    "Section",
    "clean",
    "column",
    "count",
    "drawn",
    "duration",
    "rate",
    "with_unit",
]

GOOD, BAD, WARN, FAINT, NAME = "green", "bold red", "yellow", "bright_black", "bold cyan"
SELECTED = "reverse"


class Section(NamedTuple):
    """A part of a view: its columns, the first of which is its name, and rows."""

    columns: tuple[str, ...]
    widths: tuple[int, ...]
    """In cells; 0 is what is left."""
    rows: Sequence[Cells]
    nothing: Text
    newest_last: bool = False
    """Whether rows are left out at the top."""
    left: frozenset[int] = frozenset((0,))
    """Which columns begin at their left."""
    gap: int = 0
    """Cells between columns."""
    selected: int | None = None
    """The row that is marked, and always shown."""
    title: str = ""
    """Its name, in a line of its own, where the first column is too narrow for it."""

    @property
    def heads(self) -> int:
        """Lines above its rows."""
        return 2 if self.title else 1

    @property
    def wants(self) -> int:
        """Rows without what stands above them."""
        return max(1, len(self.rows))


# ------------------------------------------------------------------ numbers
def rate(per_second: float | None) -> str:
    """How many a second."""
    if per_second is None or not math.isfinite(per_second):
        return "-"
    for scale, symbol in ((1e9, "G"), (1e6, "M")):
        if per_second >= scale:
            return f"{per_second / scale:,.1f}{symbol}/s"
    if per_second == 0:
        return "0/s"
    if 0 < per_second < 0.05:
        return "<0.1/s"
    return f"{per_second:,.1f}/s" if per_second < 999.95 else f"{per_second:,.0f}/s"


def count(value: float) -> str:
    """A number as it is counted."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e10:
        return f"{value / 1e9:,.1f}G"
    if abs(value) >= 1e8:
        return f"{value / 1e6:,.1f}M"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.4g}"


def duration(seconds: float) -> str:
    """A time, in the unit that suits it."""
    if not math.isfinite(seconds):
        return str(seconds)
    size = abs(seconds)
    # A little less than the next unit, so that 999.6 us are not "1000 us".
    for unit, scale, end in (("µs", 1e6, 0.0009995), ("ms", 1e3, 0.9995), ("s", 1.0, 600.0), ("h", 1 / 3600, math.inf)):
        if size < end:
            scaled = seconds * scale
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:,.{0 if not scaled else digits}f} {unit}"
    return str(seconds)


def with_unit(value: float, unit: str, name: str = "") -> str:
    """A number in its unit."""
    if unit == "seconds" and math.isfinite(value):
        if "timestamp" in name or (name.endswith("_time_seconds") and value > 1e9):
            return time.strftime("%Y-%m-%d %H:%M", time.localtime(value)) if 0 <= value < 1e11 else count(value)
        return duration(value)
    if unit == "bytes" and math.isfinite(value):
        for symbol, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if abs(value) >= scale:
                return f"{value / scale:,.1f} {symbol}"
        return f"{value:,.0f} B"
    return count(value)


def clean(text: str) -> str:
    """Text in one line, without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " for each in text)


# ------------------------------------------------------------------ sections
def column(sections: Sequence[Section], room: int, width: int) -> ConsoleRenderable:
    """Sections below each other, which share the rows there are."""
    blank = 1 if room >= 5 * len(sections) else 0
    left = max(0, room - sum(section.heads for section in sections) - blank * (len(sections) - 1))
    rows = [0] * len(sections)
    while left > 0 and any(have < section.wants for have, section in zip(rows, sections, strict=True)):
        for index, section in enumerate(sections):
            if left > 0 and rows[index] < section.wants:
                rows[index] += 1
                left -= 1
    shown: list[ConsoleRenderable] = []
    for index, section in enumerate(sections):
        if blank and index:
            shown.append(Text(""))
        shown += drawn(section, rows[index], width)
    return Stack(*shown)


def drawn(section: Section, rows: int, width: int) -> list[ConsoleRenderable]:
    """A section in so many rows below what stands above them."""
    left_out = len(section.rows) - rows if len(section.rows) > rows else 0
    some = f"  {rows} of {len(section.rows)}" if left_out and not section.newest_last else ""
    above: list[ConsoleRenderable] = []
    if section.title:
        title = Text.assemble((section.title, NAME), (some, FAINT))
        title.truncate(width, overflow="ellipsis")
        above.append(title)
        if not section.rows:
            section.nothing.truncate(width, overflow="ellipsis")
            return [*above, section.nothing] if rows else above
    table = Table(box=None, padding=(0, section.gap, 0, 0), pad_edge=False, expand=True, width=width, header_style="")
    fixed = sum(section.widths) + section.gap * (len(section.widths) - 1)
    for index, (name, size) in enumerate(zip(section.columns, section.widths, strict=True)):
        head = Text(name, FAINT if index or section.title else NAME)
        if not index and not section.title:
            head.append(some, FAINT)
        table.add_column(
            head,
            width=size or max(8, width - fixed),
            justify="left" if index in section.left else "right",
            no_wrap=True,
            overflow="ellipsis",
        )
    begin = 0
    if section.newest_last:
        begin = left_out
    elif section.selected is not None:
        begin = min(max(0, section.selected - rows // 2), left_out)
    shown = section.rows[begin : begin + rows]
    if rows and not section.rows:
        shown = [(section.nothing, *(Text("") for _ in section.columns[1:]))]
    for number, cells in enumerate(shown if rows else (), begin):
        table.add_row(*cells, style=SELECTED if number == section.selected and section.rows else None)
    return [*above, table]
