"""A snapshot for people: rows of a terminal, never more than it has, never wider than it is."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from gds_cli.live.layout import (
    BAD,
    FAINT,
    GOOD,
    WARN,
    Section,
    clean,
    column,
    count,
    drawn,
    rate,
    with_unit,
)
from gds_cli.live.model import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import ConsoleRenderable

    from gds_cli.live.layout import Cells
    from gds_cli.live.model import LogLine, Snapshot

__all__ = ["Heading", "plain", "render"]

WIDE = 120
"""From so many columns on there are two sections side by side."""

REDACTED = "bold magenta"
LEVELS = {"DEBUG": FAINT, "WARNING": WARN, "ERROR": BAD, "CRITICAL": BAD}
MOST_LINES = 8
"""Log lines a second, where lines stay."""

NEAR = 4
"""Among how many lines one is looked for that says the same."""

_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)?")
BARS = "▁▂▃▄▅▆▇█"
MARK = "[REDACTED]"
NOW, TOTAL = 10, 11
"""Columns of what is now, and of what has added up."""


class Heading(NamedTuple):
    """What stands above a view: its name, what happens, and whether that is trouble."""

    name: str
    happening: str = ""
    trouble: bool = False
    seconds: float = 0.0
    """How long it goes on; 0 is until somebody ends it."""


def _short(name: str) -> str:
    return clean(name).removesuffix("_total")


def _bars(trail: Sequence[float], width: int) -> str:
    shown = trail[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return "".ljust(width)
    levels = len(BARS) - 1
    return "".join(BARS[min(levels, math.ceil(value / top * levels))] if value > 0 else " " for value in shown).rjust(
        width
    )


# ------------------------------------------------------------------ sections
def _rates(shown: Snapshot, width: int) -> Section:
    bars = 20 if width >= 76 else 0
    rows = []
    for row in shown.counters:
        idle = not row.per_second
        name = Text(_short(row.name), FAINT if idle else "")
        total = Text(with_unit(row.total, row.unit), FAINT if idle else "")
        # Seconds that are counted are a share of the time: of a processor, say.
        shown_rate = (
            "-"
            if row.per_second is None
            else (f"{row.per_second * 100:.1f}%" if row.unit == "seconds" else rate(row.per_second))
        )
        if row.unit == "bytes" and row.per_second is not None:
            shown_rate = with_unit(row.per_second, "bytes") + "/s"
        cells = (name, Text(_bars(row.trail, bars), "cyan"), Text(shown_rate, FAINT if idle else ""), total)
        rows.append(cells if bars else (cells[0], *cells[2:]))
    columns = ("RATES", "", "now", "total") if bars else ("RATES", "now", "total")
    return Section(columns, (0, bars, NOW, TOTAL) if bars else (0, NOW, TOTAL), rows, Text("no counters yet", FAINT))


def _latencies(shown: Snapshot) -> Section:
    rows = []
    for row in shown.distributions:
        idle = not row.per_second
        cells = [Text(clean(row.name), FAINT if idle else ""), Text(rate(row.per_second), FAINT if idle else "")]
        for value in row.quantiles:
            if value is None or math.isnan(value):
                cells.append(Text("-", FAINT))
            elif math.isinf(value):
                beyond = "-" if row.highest_bound is None else f">{with_unit(row.highest_bound, row.unit)}"
                cells.append(Text(beyond, WARN))
            else:
                cells.append(Text(with_unit(value, row.unit)))
        rows.append(tuple(cells))
    names = tuple(f"p{wanted * 100:g}" for wanted in QUANTILES)
    return Section(("LATENCY", "now", *names), (0, NOW, 9, 9, 9), rows, Text("no histograms yet", FAINT))


def _errors(shown: Snapshot) -> Section:
    rows = []
    for row in shown.errors:
        colour = BAD if row.per_second else FAINT
        name = Text.assemble((_short(row.name), colour))
        # Their values alone: in a row of a terminal the names would take the place of what differs.
        name.append("".join(f" {clean(value)}" for _, value in row.labels), "" if row.per_second else FAINT)
        rows.append((name, Text(rate(row.per_second), colour), Text(count(row.total), colour)))
    return Section(("ERRORS", "now", "total"), (0, NOW, TOTAL), rows, Text("none", GOOD))


def _hub(shown: Snapshot) -> Section:
    lags: dict[str, list[int]] = {}
    rows: list[Cells] = []
    known = {topic.name for topic in shown.topics}
    for group in shown.groups:
        if group.topic in known and group.lag is not None:
            lags.setdefault(group.topic, []).append(group.lag)
    for topic in shown.topics:
        idle = not topic.per_second
        lag = lags.get(topic.name)
        # What came in the last two seconds is on its way; more than that is behind.
        behind = any(each > 2 * (topic.per_second or 0.0) for each in lag or ())
        rows.append(
            (
                Text(clean(topic.name), FAINT if idle else ""),
                Text(rate(topic.per_second), FAINT if idle else ""),
                Text(count(topic.messages), FAINT if idle else ""),
                Text("/".join(map(count, lag)) if lag else "-", WARN if behind else GOOD if lag else FAINT),
            )
        )
    rows += [
        (Text(f"group {clean(group.name)}: nothing committed", FAINT), Text(""), Text(""), Text("-", FAINT))
        for group in shown.groups
        if group.lag is None
    ]
    groups = sorted({group.name for group in shown.groups})
    title = f"HUB  lag of {', '.join(map(clean, groups))}" if groups else "HUB"
    return Section((title, "now", "messages", "lag"), (0, NOW, TOTAL, 9), rows, Text("no topics yet", FAINT))


def _gauges(shown: Snapshot) -> Section:
    rows = []
    for row in shown.gauges:
        name = Text(clean(row.name))
        name.append("".join(f"  {clean(label)}={clean(value)}" for label, value in row.labels), FAINT)
        rows.append((name, Text(with_unit(row.value, row.unit, row.name), "" if row.moves else FAINT)))
    return Section(("GAUGES", "value"), (0, 18), rows, Text("none yet", FAINT))


def _logs(shown: Snapshot) -> Section:
    rows = [(_log_text(line, times),) for line, times in _gathered(shown.logs)]
    return Section(("LOGS, as they arrived on the topic",), (0,), rows, Text("none yet", FAINT), newest_last=True)


def _gathered(lines: Sequence[LogLine]) -> list[tuple[LogLine, int]]:
    """Lines with how often they came: one that was among the last few, but for its numbers, is not shown again."""
    found: list[tuple[LogLine, int]] = []
    keys: list[tuple[str, str, str]] = []
    for line in lines:
        key = (line.level, line.logger, _NUMBERS.sub("0", line.message))
        if key in keys[-NEAR:]:
            index = len(keys) - 1 - keys[::-1].index(key)
            found[index] = (line, found[index][1] + 1)
        else:
            keys.append(key)
            found.append((line, 1))
    return sorted(found, key=lambda each: each[0].number)


def _log_text(line: LogLine, times: int = 1) -> Text:
    text = Text.assemble((time.strftime("%H:%M:%S", time.localtime(line.at_seconds)), FAINT))
    text.append(f" {clean(line.level):<7} ", LEVELS.get(line.level, ""))
    if times > 1:
        text.append(f"{times}x ", WARN)
    if line.logger:
        text.append(f"{clean(line.logger)}: ", FAINT)
    said = Text(clean(line.message))
    said.highlight_words([MARK], REDACTED)
    return text.append_text(said)


# ------------------------------------------------------------------ the whole
def render(shown: Snapshot, heading: Heading, width: int, height: int) -> ConsoleRenderable:
    """The view, in so many columns and rows."""
    top = _top(shown, heading, width, height)
    room = height - len(top)
    if width >= WIDE:
        half = (width - 3) // 2
        left, right = [_rates(shown, half), _latencies(shown), _gauges(shown)], [_errors(shown), _hub(shown)]
        logs = _logs(shown)
        log_rows = min(max(3, room // 3), max(logs.wants, 3))
        upper = room - log_rows - 2
        both = Table.grid(padding=0, expand=True)
        both.add_column(width=half)
        both.add_column(width=width - 2 * half)
        both.add_column(width=half)
        both.add_row(column(left, upper, half), "", column(right, upper, half))
        return Stack(*top, both, Text(""), *drawn(logs, log_rows, width))
    sections = [_rates(shown, width), _latencies(shown), _errors(shown), _hub(shown)]
    if room >= 30 and shown.gauges:
        sections.append(_gauges(shown))
    return Stack(*top, column([*sections, _logs(shown)], room, width))


def _top(shown: Snapshot, heading: Heading, width: int, height: int) -> list[Text]:
    elapsed = _clock(shown.elapsed_seconds) + (f" of {_clock(heading.seconds)}" if heading.seconds else "")
    first = Text.assemble((heading.name, "bold"), no_wrap=True, overflow="ellipsis")
    first.append(f"  {elapsed}", FAINT)
    if heading.happening:
        first.append(f"   {clean(heading.happening)}", BAD if heading.trouble else GOOD)
    lines = [first]
    for state in shown.sources:
        mark, colour = ("●", GOOD) if state.reachable else ("○", FAINT) if state.reachable is None else ("✗", BAD)
        line = Text.assemble((f"{mark} ", colour), no_wrap=True, overflow="ellipsis")
        line.append(f"{state.kind} ", FAINT)
        line.append(clean(state.name))
        if state.error:
            line.append(f"  {clean(state.error)}; trying again", BAD)
        lines.append(line)
    most = max(2, height // 4)
    if len(lines) > most:
        # Those that do not answer are what is looked for.
        order = sorted(range(1, len(lines)), key=lambda index: shown.sources[index - 1].reachable is True)
        kept = sorted(order[: most - 2])
        lines = [first, *(lines[index] for index in kept), Text(f"  and {len(order) - len(kept)} more", FAINT)]
    for each in lines:
        each.truncate(width, overflow="ellipsis")
    return [*lines, Text("")] if height >= 30 else lines


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


# ------------------------------------------------------------------ lines
def plain(shown: Snapshot, heading: Heading, logs_after: int = 0) -> list[str]:
    """It in lines that stay: what is most of interest, then the log lines behind that number."""
    parts = [f"{shown.elapsed_seconds:6.1f} s"]
    if heading.happening:
        parts.append(heading.happening)
    parts += [f"{state.name} is away ({state.error})" for state in shown.sources if state.reachable is False]
    parts += [f"{_short(row.name)} {rate(row.per_second)}" for row in shown.counters[:2] if row.per_second]
    for row in shown.distributions[:1]:
        median, _, late = row.quantiles
        if median is not None and late is not None and math.isfinite(late):
            parts.append(f"{row.name} p50 {with_unit(median, row.unit)} p99 {with_unit(late, row.unit)}")
    if shown.counters:
        parts.append(f"errors {rate(sum(row.per_second or 0.0 for row in shown.errors))}")
    if shown.topics:
        parts.append(f"hub {rate(sum(topic.per_second or 0.0 for topic in shown.topics))}")
    lags = [group.lag for group in shown.groups if group.lag is not None]
    if lags:
        parts.append(f"lag {sum(lags):,}")
    lines = [clean("  ".join(parts))]
    new = _gathered([line for line in shown.logs if line.number > logs_after])
    if len(new) > MOST_LINES:
        lines.append(f"         {len(new) - MOST_LINES} log lines before these")
    return [*lines, *("         " + _log_text(*each).plain for each in new[-MOST_LINES:])]
