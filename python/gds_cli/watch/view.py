"""A picture for people: never more rows than the terminal has, never wider than it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group as Stack
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from gds_cli.live.layout import (
    BAD,
    FAINT,
    GOOD,
    NAME,
    WARN,
    clean,
    column,
    count,
    drawn,
    rate,
    with_unit,
)
from gds_cli.watch import sections
from gds_cli.watch import ui as choice
from gds_cli.watch.inside import helped, looked_into
from gds_cli.watch.text import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult

    from gds_cli.watch.picture import Number, Picture
    from gds_cli.watch.ui import Ui


__all__ = ["Away", "printed", "render"]

WIDE = 120
"""From so many columns on there are two sections side by side."""

ROOMY = 100
"""From so many columns on the first line has room for more than what is where."""

SYSTEMS = {"postgresql": "PostgreSQL", "mongodb": "MongoDB", "mssql": "SQL Server", "snowflake": "Snowflake"}
FEWEST_ROWS = 5
"""What a section needs, its head among them, to be of use below others."""

MOST_ROWS = 30
"""Of a section, where there is no terminal."""

KEYS = (
    ("q", "quit"),
    ("?", "help"),
    ("0-9", "view"),
    ("↑↓", "select"),
    ("⏎", "look into"),
    ("space", "pause"),
    ("s", "sort"),
    ("/", "filter"),
    ("C", "cancel"),
    ("K", "terminate"),
)


class Away(NamedTuple):
    """That the server does not answer, since when, and why."""

    seconds: float
    error: str


def render(picture: Picture | None, ui: Ui, away: Away | None, name: str, width: int, height: int) -> ConsoleRenderable:
    """The view, in so many columns and rows.

    Args:
        picture: The last reading; None before the first one.
        ui: What is chosen.
        away: Whether the server does not answer.
        name: Where it reads, shown until the server has told.
        width: Columns.
        height: Rows.
    """
    top = _top(picture, ui, away, name, width)[: max(1, height - 2)]
    room = max(1, height - len(top) - 1)
    if ui.help:
        body: ConsoleRenderable = helped(room, width)
    elif picture is None:
        body = Text("" if away else "connecting ...", FAINT)
    elif ui.inside:
        body = looked_into(picture, ui, room, width)
    else:
        body = _body(picture, ui, room, width)
    return Stack(*top, _Rows(body, room), _bottom(ui, width))


def printed(picture: Picture, ui: Ui, width: int) -> ConsoleRenderable:
    """All of it, below each other, for what is no terminal."""
    lines: list[ConsoleRenderable] = [*_top(picture, ui, None, "", width)[:-1]]
    for name in ui.views(picture)[1:]:
        for section in sections.OF[name](picture, ui, width):
            lines += [Text(""), *drawn(section, min(section.wants, MOST_ROWS), width)]
    return Stack(*lines)


class _Rows:
    """Something in exactly so many rows, so that the last line is the last of the terminal."""

    def __init__(self, inner: ConsoleRenderable, rows: int) -> None:
        self._inner, self._rows = inner, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._inner, options.update(height=None), pad=False)
        for number in range(self._rows):
            if number < len(lines):
                yield from lines[number]
            yield Segment.line()


# ------------------------------------------------------------------ above and below
def _top(picture: Picture | None, ui: Ui, away: Away | None, name: str, width: int) -> list[Text]:
    first = Text(clean(picture.name if picture else name), "bold")
    if picture is not None:
        first.append(f"  {clean(SYSTEMS.get(picture.system, picture.system))} {clean(picture.version)}", FAINT)
        if picture.role:
            first.append(f"  {clean(picture.role)}", GOOD if picture.role in ("primary", "standalone") else WARN)
        if picture.uptime_seconds is not None and width >= ROOMY:
            first.append(f"  up {clock(picture.uptime_seconds)}", FAINT)
    right = Text(f"every {ui.interval_seconds:g} s", FAINT)
    if picture is not None:
        right.append(time.strftime("  %H:%M:%S", time.localtime(picture.at)))
    if away is not None:
        right = Text(f"disconnected {clock(away.seconds)}, trying again", BAD)
    elif ui.paused:
        right = Text(time.strftime("paused at %H:%M:%S", time.localtime(picture.at)) if picture else "paused", WARN)
    lines = [_ends(first, right, width)]
    if away is not None:
        lines.append(Text(clean(away.error), BAD))
    if picture is not None:
        lines += [_sessions(picture), *_numbers(picture.numbers, width, 2), _tabs(picture, ui, width)]
    for each in lines:
        each.truncate(width, overflow="ellipsis")
    return lines


def _ends(left: Text, right: Text, width: int) -> Text:
    """Two texts at the two ends of a line; the right one is whole."""
    room = width - right.cell_len - 1
    left.truncate(max(8, room), overflow="ellipsis", pad=True)
    return Text.assemble(left, " ", right)


def _sessions(picture: Picture) -> Text:
    clients = [each for each in picture.sessions if not each.background]
    blocked = sum(1 for each in clients if each.blocked_by)
    open_ones = sum(1 for each in clients if each.in_transaction)
    busy = sum(1 for each in clients if each.running and not each.in_transaction and not each.own)
    of = f" of {picture.max_sessions:,}" if picture.max_sessions else ""
    full = picture.max_sessions and len(clients) >= 0.9 * picture.max_sessions
    line = Text.assemble((f"{len(clients):,}{of}", WARN if full else ""), (" sessions", FAINT))
    for number, what, colour in (
        (busy, "active", GOOD if busy else FAINT),
        (blocked, "blocked", BAD if blocked else FAINT),
        (open_ones, "idle in transaction", WARN if open_ones else FAINT),
    ):
        line.append(f"  {number:,} {what}", colour)
    loud = sum(1 for each in picture.alerts if each.loud)
    if loud:
        line.append(f"  {loud:,} alert{'' if loud == 1 else 's'}", BAD)
    oldest = max((each.transaction_seconds or 0.0 for each in clients if not each.own), default=0.0)
    if oldest:
        line.append(f"  oldest xact {clock(oldest)}", WARN if oldest > 300 else FAINT)
    return line


def _numbers(numbers: Sequence[Number], width: int, most: int) -> list[Text]:
    """Names and values one after the other, over as few lines as they need."""
    lines: list[Text] = []
    for each in numbers:
        piece = Text.assemble((f"{each.name} ", FAINT), (_value(each.value, each.unit), BAD if each.trouble else ""))
        if lines and lines[-1].cell_len + 2 + piece.cell_len <= width:
            lines[-1].append("  ").append_text(piece)
        else:
            lines.append(piece)
    return lines[:most]


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "/s":
        return rate(value)
    if unit in ("By", "By/s"):
        return with_unit(value, "bytes") + unit[2:]
    return f"{value:.1f}%" if unit == "%" else count(value)


def _tabs(picture: Picture, ui: Ui, width: int) -> Text:
    line = Text()
    numbers = {
        "blocking": sum(1 for each in picture.sessions if each.blocked_by),
        "alerts": sum(1 for each in picture.alerts if each.loud),
    }
    for name in ui.views(picture):
        if line:
            line.append("  " if width >= WIDE else " ")
        line.append(str(choice.VIEWS.index(name)), FAINT)
        colour = "bold reverse" if name == ui.view else BAD if numbers.get(name) else ""
        line.append(" ").append(name, colour)
    return line


def _bottom(ui: Ui, width: int) -> Text:
    if ui.asked is not None and ui.asked.session is not None:
        session = ui.asked.session
        what = "cancel the statement of" if ui.asked.kind == "cancel" else "terminate"
        whose = clean(session.user or session.application or "nobody")
        line = Text(f"{what} session {session.id} of {whose}? y is yes, any other key is no", "bold reverse")
    elif ui.typing or ui.filter:
        line = Text.assemble(("filter ", NAME), ui.filter, ("▏" if ui.typing else "  esc takes it away", FAINT))
    elif ui.said:
        line = Text(clean(ui.said), BAD if ui.trouble else GOOD)
    else:
        line = Text()
        for key, what in KEYS:
            piece = Text.assemble((key, "bold"), (f" {what}", FAINT))
            if line and line.cell_len + 2 + piece.cell_len > width:
                break
            line.append("  " if line else "").append_text(piece)
    line.truncate(width, overflow="ellipsis")
    return line


# ------------------------------------------------------------------ sections
def _body(picture: Picture, ui: Ui, room: int, width: int) -> ConsoleRenderable:
    if ui.view != "all":
        return column([*sections.OF[ui.view](picture, ui, width)], room, width)
    tells = ui.views(picture)
    # Blocked sessions are what one has come for; without any, the room is for others.
    blocked = [sections.blocking] if any(each.blocked_by for each in picture.sessions) else []
    alerts: list[sections.Build] = [sections.alerts] if picture.alerts else []
    main: list[sections.Build] = [*alerts, sections.activity, *blocked]
    main += [sections.statements] if "statements" in tells else [sections.metrics] if "metrics" in tells else []
    side: list[sections.Build] = [sections.waits_now]
    side += [sections.replicas] if picture.replicas or width >= WIDE else []
    side += [sections.progress] if picture.progress else []
    side += [sections.databases, *([sections.tables] if any(each.kind == "table" for each in picture.space) else [])]
    if width < WIDE:
        # Few that say something, where there is no room for all.
        few = [*main, *side][: max(2, room // FEWEST_ROWS)]
        return column([build(picture, ui, width) for build in few], room, width)
    left = (width - 3) * 3 // 5
    right = width - 3 - left
    both = Table.grid(padding=0, expand=True)
    for each in (left, 3, right):
        both.add_column(width=each)
    both.add_row(
        column([build(picture, ui, left) for build in main], room, left),
        "",
        column([build(picture, ui, right) for build in side], room, right),
    )
    return both
