"""What all commands that talk to a hub are told, and how they show what they found."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Json", "Servers", "Settings", "line", "settings", "shown", "table"]

Servers = Annotated[
    str,
    typer.Option(
        "--bootstrap-servers",
        "-b",
        envvar="GDS_BOOTSTRAP_SERVERS",
        help="host:port, several with commas, or embedded:PATH for a hub in a folder of this machine.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-X",
        metavar="NAME=VALUE",
        help="A setting of the client, such as security_protocol=SSL; with dots it is librdkafka's. May be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]


def settings(given: Sequence[str] | None) -> dict[str, Any]:
    """``-X`` as the settings of a client. Numbers, ``true`` and ``false`` are such; the rest is text."""
    config: dict[str, Any] = {}
    librdkafka: dict[str, Any] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            # Without the value, which may be a password.
            raise typer.BadParameter(f"-X {name}: expected NAME=VALUE, such as -X acks=1")
        (librdkafka if "." in name else config)[name] = _typed(value)
    return config | ({"librdkafka": librdkafka} if librdkafka else {})


def _typed(value: str) -> str | int | float | bool:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, (int, float, bool)) else value


def line(fields: Mapping[str, Any]) -> None:
    """A JSON object on a line of its own, seen at once by who reads."""
    print(json.dumps(fields, ensure_ascii=False, separators=(",", ":")), flush=True)


def shown(value: Any) -> Any:
    """Bytes as what they are: JSON, else text, else base64; other values as JSON has them."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return value
    raw = bytes(value)
    try:
        return _plain(raw)
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _plain(raw: bytes) -> Any:
    try:
        value = json.loads(raw)
        # json.loads takes what nobody takes back: NaN, numbers beyond a float's, halves of surrogate pairs.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return raw.decode()
    return value


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=box.SIMPLE)
    for row in rows:
        drawn.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    # What is piped somewhere is not cut to the width of a terminal that is not there.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 500)
    console.print(drawn)
