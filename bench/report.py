"""The table: on the terminal, as JSON, and in docs/performance.md."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.harness import AT_LEAST, Bar, Row

__all__ = ["DOCUMENT", "as_json", "header", "lines", "write_document"]

DOCUMENT = Path("docs") / "performance.md"

_BEGIN = "<!-- begin: written by `python -m bench --write` -->"
_END = "<!-- end -->"
_COLUMNS = ("what", "ours", "peer", "ratio", "p10..p90", "bar", "")
_PEERS = ("prometheus_client", "opentelemetry-sdk", "confluent-kafka", "orjson", "kafka-python", "aiokafka")


def header(arguments: Sequence[str]) -> dict[str, str]:
    """Where, when and with what it was measured; names no host, user or folder."""
    peers = ", ".join(f"{name} {version(name)}" for name in _PEERS)
    return {
        "command": " ".join(["python -m bench", *arguments]),
        "date": datetime.now(tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "package": f"gds-telemetry {version('gds-telemetry')}",
        "peers": peers,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{_processor()}, {os.cpu_count()} logical CPUs, {platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        found = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
    except OSError:
        found = []
    return found[0] if found else platform.processor() or "unknown processor"


def lines(rows: Sequence[Row]) -> list[str]:
    """A Markdown table with aligned columns."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(_COLUMNS))]

    def joined(line: Sequence[str]) -> str:
        # The first column and the last one are text, the others end alike.
        ends = [
            cell.ljust(width) if column in {0, 6} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(ends)} |"

    rule = ["-" * width if column in {0, 6} else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return [joined(cells[0]), f"| {' | '.join(rule)} |", *map(joined, cells[1:])]


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{row.name}, against {row.against}" if row.against else row.name
    peer = "" if row.peer is None else f"{_number(row.peer)} {row.unit}"
    ratio = "" if row.ratio is None else f"{_number(row.ratio)}x"
    spread = "" if row.low is None or row.high is None else f"{_number(row.low)}..{_number(row.high)}"
    bar = "" if row.bar is None else _bar(row.bar, "x" if row.ratio is not None else f" {row.unit}")
    met = {None: "", True: "met", False: "**MISSED**"}[row.met]
    return name, f"{_number(row.ours)} {row.unit}", peer, ratio, spread, bar, met


def _bar(bar: Bar, unit: str) -> str:
    return f"{'>=' if bar.sense == AT_LEAST else '<='} {bar.limit:g}{unit}"


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1_000 else f"{value:.0f}"


def as_json(head: dict[str, str], rows: Sequence[Row]) -> dict[str, Any]:
    return {"header": head, "rows": [asdict(row) | {"met": row.met} for row in rows]}


def write_document(head: dict[str, str], rows: Sequence[Row]) -> None:
    """Replaces what stands between the markers of docs/performance.md."""
    before, begin, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(
            f"{DOCUMENT}: expected the lines {_BEGIN!r} and {_END!r}; put them where the table is to stand"
        )
    facts = [f"- {what}: {f'`{said}`' if what == 'command' else said}" for what, said in head.items()]
    body = "\n".join([*facts, "", *lines(rows)])
    DOCUMENT.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}")
    print(f"written: {DOCUMENT}", file=sys.stderr)
