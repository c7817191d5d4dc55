"""The tables of docs/packs.md; ``python -m tests.monitor.packs.tables`` writes them."""

from __future__ import annotations

import re
from pathlib import Path

from gds_monitor.packs import shipped_pack
from gds_monitor.packs.aliases import aliases
from gds_monitor.packs.native import ENGINES

PAGE = Path(__file__).parents[3] / "docs" / "packs.md"
ROOM = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def alias_rows() -> str:
    lines = ["| theirs | ours | only where |", "| --- | --- | --- |"]
    for alias in (each for group in aliases().values() for each in group):
        where = ", ".join(f"`{name}` is `{value}`" for name, value in alias.where.items())
        lines.append(f"| `{alias.name}` | `{alias.metric}` | {where} |")
    return "\n".join([*lines[:2], *sorted(lines[2:]), ""])


def pack_rows() -> str:
    lines = [
        "| pack | collector | where | every | metrics | what it is about |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for engine in ENGINES:
        for collector in shipped_pack(engine).collectors:
            every = f"{collector.interval_seconds:g} s" if collector.interval_seconds else "cycle"
            names = {metric.name for query in collector.queries for metric in query.metrics}
            about = " ".join(collector.description.split())
            lines.append(
                f"| {engine} | `{collector.name}` | {collector.scope} | {every} | {len(names)} | {about} |"
            )  # fmt: skip
    return "\n".join([*lines, ""])


TABLES = {"packs": pack_rows, "aliases": alias_rows}


def renewed(text: str) -> str:
    """The page with its tables as they are now."""
    return ROOM.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
