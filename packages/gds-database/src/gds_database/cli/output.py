"""What commands print."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import typer

from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gds_database.base import OperationResult

__all__ = ["confirmed", "fields", "line", "outcome", "progressing", "rows", "size"]


_LONGEST = 200
"""Letters of a cell; JSON has all of them."""


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def line(found: Mapping[str, Any]) -> None:
    """A JSON object on a line of its own."""
    print(json.dumps(found, ensure_ascii=False, separators=(",", ":"), default=_plain), flush=True)


def size(number: int | None) -> str | None:
    """Bytes for people."""
    if number is None:
        return None
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def rows(found: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Dicts, each a line: all of it as JSON, these columns for people."""
    if as_json:
        for each in found:
            line(each)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*(name.replace("_", " ") for name in columns), box=box.SIMPLE)
    for each in found:
        drawn.add_row(*(Text(_cell(each.get(name))) for name in columns))
    _console().print(drawn)


def fields(found: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing with what is known of it."""
    if as_json:
        line(found)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE, show_header=False)
    for name, value in found.items():
        drawn.add_row(Text(name.replace("_", " ")), Text(_cell(value)))
    _console().print(drawn)


def _cell(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Whole as they are, however large; of the others what somebody can read.
        return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_cell(each)}" for name, each in value.items())
    plain = value if isinstance(value, str) and not isinstance(value, Enum) else _plain(value)
    text = " ".join(str(plain).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _console(*, err: bool = False) -> Any:
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    # What is piped somewhere is not cut to the width of a terminal that is not there.
    return Console(file=stream, width=None if stream.isatty() else 500)


def outcome(result: OperationResult, *, as_json: bool) -> int:
    """What became of an operation; the exit code."""
    if as_json:
        line(result.to_dict())
    elif result.is_failure():
        print(f"gds: {result.message}: {result.error}", file=sys.stderr)
    elif (result.data or {}).get("dry_run"):
        _statements(result)
    else:
        print(f"{result.message} ({result.duration_ms / 1000:.1f} s)")
    return 0 if result.is_success() else 1


def _statements(result: OperationResult) -> None:
    for each in (result.data or {}).get("statements", ()):
        print(each)


def confirmed(ask: Callable[..., OperationResult], where: str, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Something dangerous: shown, asked about, done.

    Args:
        ask: Does it, or with ``dry_run=True`` shows it.
        where: On which server.
        dry_run: Only show it.
        yes: Do not ask.
        as_json: Nobody to ask.
    """
    if not dry_run and not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigurationError("expected --yes, or --dry-run to see what would run: there is nobody to ask")
        would = ask(dry_run=True)
        if would.is_failure():
            return outcome(would, as_json=as_json)
        _statements(would)
        typer.confirm(f"Run this on {where}?", abort=True, err=True)
    return outcome(ask(dry_run=True) if dry_run else ask(), as_json=as_json)


@contextmanager
def progressing(what: str, *, as_json: bool) -> Iterator[Callable[[str], object] | None]:
    """While something takes long: for how long, and the last line that it said. Only on a terminal."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=_console(err=True), transient=True) as shown:
        task = shown.add_task(what)
        yield lambda text: shown.update(task, description=f"{what}: {Text(text).plain[-100:]}")
