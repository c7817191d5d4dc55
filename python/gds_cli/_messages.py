"""Messages as the commands show them."""

from __future__ import annotations

import json
from typing import Any

from gds_cli._options import line, shown

__all__ = ["message_fields", "raw", "show", "text"]


def raw(value: bytes) -> bytes:
    """Shows also what is no JSON."""
    return value


def message_fields(message: dict[str, Any]) -> dict[str, Any]:
    """A message as JSON has it."""
    return {
        "topic": message["topic"],
        "partition": message["partition"],
        "offset": message["offset"],
        "timestamp": message["timestamp"],
        "key": text(message["key"]),
        "value": shown(message["value"]),
        "headers": [[name, text(value)] for name, value in message["headers"]],
    } | ({"tombstone": True} if message["value"] is None else {})


def text(value: Any) -> Any:
    """A key or a header's value: text where it is some, never taken apart as JSON."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return shown(value)


def show(message: dict[str, Any], as_json: bool) -> None:
    """Print a message, for people or for scripts."""
    fields = message_fields(message)
    if as_json:
        line(fields)
        return
    value = fields["value"] if isinstance(fields["value"], str) else json.dumps(fields["value"], ensure_ascii=False)
    if message["value"] is None:
        value = "(no value)"
    key = "" if fields["key"] is None else f" {fields['key']}"
    headers = "".join(f" {name}={each}" for name, each in fields["headers"])
    print(f"{fields['topic']}[{fields['partition']}]@{fields['offset']}{key}:{headers} {value}", flush=True)
