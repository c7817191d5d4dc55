"""What the demo found: the same numbers as the program, the page and the topic have them."""

from __future__ import annotations

import math
import re
import statistics
import sys
import timeit
from typing import TYPE_CHECKING, Any, NamedTuple

from gds_cli.live.layout import BAD, FAINT, GOOD, NAME, count, duration, rate
from gds_cli.live.model import QUANTILES, quantile

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from gds_cli.demo.tally import ReportedMetric
    from gds_cli.live.page import Family

__all__ = ["Row", "Verdict", "call_costs", "shown"]

PAGE_LINES = 7
CALLS = 2_000


class Row(NamedTuple):
    """One metric, as three have it. Of gauges the page has only the last value, so it is asked whether it has one."""

    name: str
    kind: str
    program: float
    page: float | None
    topic: float

    @property
    def agree(self) -> bool:
        """Whether they have the same."""
        on_page = self.page is not None if self.kind == "gauge" else self.page == self.program
        return on_page and self.topic == self.program


class Verdict(NamedTuple):
    """What there is to say at the end."""

    elapsed_seconds: float
    ended_early: bool
    outcomes: dict[str, int]
    program: dict[str, ReportedMetric]
    topic: dict[str, ReportedMetric]
    page: dict[str, Family]
    page_text: str
    records: int
    records_on_topic: int
    canaries: int
    redacted: int
    leaked: int
    durations_ms: list[float]
    lost: dict[str, float]
    defects: list[str]
    call_ns: dict[str, float]
    folder: Path
    left_behind: list[str]

    @property
    def rows(self) -> list[Row]:
        """Each metric that any of the three has."""
        return [self._row(name) for name in sorted(self.program.keys() | self.topic.keys())]

    def _row(self, name: str) -> Row:
        here, there = self.program.get(name), self.topic.get(name)
        kind = next(each.kind for each in (here, there) if each is not None)
        return Row(name, kind, _number(here), self._on_page(name, kind), _number(there))

    def _on_page(self, name: str, kind: str) -> float | None:
        stem = "gds_" + name.replace(".", "_")
        family = self.page.get(f"{stem}_total" if kind == "counter" else stem)
        if family is None:
            return None
        wanted = "_count" if kind in ("timing", "histogram") else ""
        found = [value for (suffix, _), value in family.samples.items() if suffix == wanted]
        return sum(found) if found else None

    @property
    def agree(self) -> bool:
        """Whether all is as it should be: the counts are the same, nothing got out, nothing is left."""
        return (
            bool(self.program)
            and all(row.agree for row in self.rows)
            and self.records == self.records_on_topic
            and self.redacted == self.canaries > 0
            and not self.leaked
            and not self.defects
            and not self.left_behind
        )

    @property
    def quantiles_ms(self) -> dict[str, tuple[float, float | None]]:
        """Of the time a fetch took: by the program, exactly, and by the page, from its buckets."""
        if len(self.durations_ms) < 2:
            return {}
        cuts = statistics.quantiles(self.durations_ms, n=100, method="inclusive")
        buckets: dict[float, float] = {}
        for (suffix, labels), value in self.page["gds_vault_secret_fetch"].samples.items():
            if suffix == "_bucket":
                bound = float(dict(labels)["le"])
                buckets[bound] = buckets.get(bound, 0.0) + value
        answers = {wanted: quantile(wanted, buckets) for wanted in QUANTILES}
        return {
            f"p{wanted * 100:g}": (
                cuts[round(wanted * 100) - 1],
                answer * 1000 if answer is not None and math.isfinite(answer) else None,
            )
            for wanted, answer in answers.items()
        }

    def as_json(self) -> dict[str, Any]:
        """It for scripts."""
        return {
            "agree": self.agree,
            "seconds": round(self.elapsed_seconds, 3),
            "ended_early": self.ended_early,
            "outcomes": self.outcomes,
            "counts": {
                row.name: {
                    "type": row.kind,
                    "program": row.program,
                    "page": row.page,
                    "topic": row.topic,
                    "agree": row.agree,
                }
                for row in self.rows
            },
            "log_records": {"program": self.records, "topic": self.records_on_topic},
            "secrets": {"logged": self.canaries, "redacted": self.redacted, "leaked": self.leaked},
            "fetch_ms": {name: {"program": exact, "page": read} for name, (exact, read) in self.quantiles_ms.items()},
            "lost": self.lost,
            "defects": self.defects,
            "left_behind": self.left_behind,
        }


def _number(reported: ReportedMetric | None) -> float:
    if reported is None:
        return 0.0
    return reported.total if reported.kind == "counter" else float(reported.calls)


def call_costs() -> dict[str, float]:
    """What a call costs here, now, in nanoseconds, the loop around it included."""
    from gds_metrics import NoOpMetrics, PrometheusMetrics

    metrics, nothing, labels = PrometheusMetrics(start_server=False), NoOpMetrics(), {"path": "app"}
    calls = {
        "increment with a label": lambda: metrics.increment("calls", labels=labels),
        "timing with a label": lambda: metrics.timing("time", 1.5, labels),
        "increment of NoOpMetrics": lambda: nothing.increment("calls", labels=labels),
    }
    best_ns = dict.fromkeys(calls, math.inf)
    for _ in range(10):  # in turn, so that a busy moment of the machine falls on all of them
        for what, call in calls.items():
            best_ns[what] = min(best_ns[what], timeit.timeit(call, number=CALLS) / CALLS * 1e9)
    metrics.close()
    return best_ns


# ------------------------------------------------------------------ for people
def shown(verdict: Verdict) -> None:
    """Print it."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    _show_page(console, verdict)
    _show_counts(console, verdict)
    _show_times(console, verdict)
    _show_end(console, verdict)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(text, style=NAME, markup=False)


def _table(console: Console, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=FAINT)
    for index, title in enumerate(columns):
        table.add_column(f"  {title}" if not index else title, justify="right" if index else "left", no_wrap=True)
    for first, *cells in rows:
        table.add_row(Text(f"  {first}"), *(each if isinstance(each, Text) else Text(str(each)) for each in cells))
    console.print(table)


def _show_page(console: Console, verdict: Verdict) -> None:
    lines = verdict.page_text.splitlines()
    own = [each for each in lines if re.search("gds_vault_secret_(hit|error)", each)]
    _title(console, "The page, a piece of it")
    for each in own[:PAGE_LINES]:
        console.print(
            f"  {each}", style=FAINT if each.startswith("#") else "", markup=False, overflow="ellipsis", no_wrap=True
        )
    console.print(f"  ({min(PAGE_LINES, len(own))} of {len(lines)} lines)", style=FAINT)


def _show_counts(console: Console, verdict: Verdict) -> None:
    from rich.text import Text

    def mark(is_same: bool) -> Text:
        return Text("same", GOOD) if is_same else Text("differs", BAD)

    rows: list[tuple[object, ...]] = []
    for row in verdict.rows:
        # The page has the value of a gauge, not how often it was set.
        page = "set" if row.kind == "gauge" and row.page is not None else "-" if row.page is None else count(row.page)
        rows.append((row.name, count(row.program), page, count(row.topic), mark(row.agree)))
    is_same = verdict.records == verdict.records_on_topic
    rows.append(("log records", count(verdict.records), "-", count(verdict.records_on_topic), mark(is_same)))
    is_redacted = verdict.redacted == verdict.canaries and not verdict.leaked
    redacted = Text("redacted", GOOD) if is_redacted else Text("leaked", BAD)
    rows.append(("tokens logged on purpose", verdict.canaries, "-", verdict.redacted, redacted))
    _title(console, "What was reported, as three have it")
    _table(console, ("", "program", "page", "topic", ""), rows)


def _show_times(console: Console, verdict: Verdict) -> None:
    found = verdict.quantiles_ms
    if found:
        _title(console, "How long a fetch took (buckets are coarse, so the page is near, not equal)")
        exact = [duration(each / 1000) for each, _ in found.values()]
        read = ["-" if each is None else duration(each / 1000) for _, each in found.values()]
        _table(console, ("", *found), [("by the program", *exact), ("by the page", *read)])
    if verdict.call_ns:
        _title(console, "What a call costs here, now")
        _table(console, ("", "each"), [(what, f"{cost:,.0f} ns") for what, cost in verdict.call_ns.items()])


def _show_end(console: Console, verdict: Verdict) -> None:
    reads = sum(verdict.outcomes.values())
    outcomes = ", ".join(f"{number:,} {what}" for what, number in sorted(verdict.outcomes.items()))
    _title(console, "In short")
    early = ", ended early" if verdict.ended_early else ""
    speed = rate(reads / verdict.elapsed_seconds)
    console.print(f"  {reads:,} reads in {verdict.elapsed_seconds:.1f} s{early}, {speed}: {outcomes}.")
    for reason, number in verdict.lost.items():
        console.print(f"  lost: {number:,.0f} ({reason})", style=BAD, markup=False)
    for each in verdict.defects:
        console.print(f"  went wrong: {each}", style=BAD, markup=False)
    for each in verdict.left_behind:
        console.print(f"  still there: {each}", style=BAD, markup=False)
    if verdict.agree:
        console.print("  Program, page and topic agree, and no secret got out.", style=GOOD)
    else:
        console.print("  They do not agree, or something went wrong: see above.", style=BAD)
