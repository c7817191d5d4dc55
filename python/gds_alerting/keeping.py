"""The file of an `AlertingSystem`: what is open, and what is not delivered yet."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gds_alerting.alert import Alert, AlertSeverity, AlertState, Seen
from gds_alerting.errors import AlertConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Kept", "load", "save"]

VERSION = 1


@dataclass
class Kept:
    """What a file says: the engine's own state, and what waits for each notifier."""

    engine: str | None = None
    waiting: dict[str, list[Alert]] = field(default_factory=dict)


def load(file: Path | None) -> Kept:
    """What is in a file; nothing where there is none.

    Raises:
        AlertConfigurationError: It is not one of ours.
    """
    if file is None or not file.exists():
        return Kept()
    try:
        held = json.loads(file.read_text("utf-8"))
        if held["version"] != VERSION:
            raise ValueError(f"version {held['version']!r}")
        waiting = {name: [_alert(each) for each in alerts] for name, alerts in held["waiting"].items()}
        return Kept(str(held["engine"]), waiting)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AlertConfigurationError(
            f"state={str(file)!r}: no state of an alerting system ({error}); take another file, or remove this one"
        ) from None


def save(file: Path, engine: str, waiting: Mapping[str, list[Alert]], before: str | None) -> str:
    """Write a file as a whole, unless there is nothing new since ``before``; the text it holds.

    Raises:
        OSError: It cannot be written.
    """
    held = {
        "version": VERSION,
        "engine": engine,
        "waiting": {name: [*map(_plain, each)] for name, each in waiting.items()},
    }
    text = json.dumps(held, ensure_ascii=False, separators=(",", ":"))
    if text == before:
        return text
    beside = file.with_name(f"{file.name}.new")
    # Alerts may say what not everybody is to read.
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as writing:
        writing.write(text)
        writing.flush()
        os.fsync(writing.fileno())
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return text


def _plain(alert: Alert) -> dict[str, Any]:
    plain = {each.name: getattr(alert, each.name) for each in fields(alert)}
    metric = alert.metric
    time = getattr(metric, "timestamp", None)
    value = getattr(metric, "value", None)
    plain["metric"] = {
        "metric_name": alert.metric_name,
        "value": str(value) if isinstance(value, Decimal) else value,
        "instance_id": str(getattr(metric, "instance_id", "")),
        "timestamp": time.isoformat() if isinstance(time, datetime) else time,
        "tags": {str(name): str(each) for name, each in dict(getattr(metric, "tags", None) or {}).items()},
    }
    plain["timestamp"] = alert.timestamp.isoformat()
    plain["started_at"] = None if alert.started_at is None else alert.started_at.isoformat()
    return plain


def _alert(plain: dict[str, Any]) -> Alert:
    metric = dict(plain["metric"])
    if isinstance(metric["timestamp"], str):
        metric["timestamp"] = datetime.fromisoformat(metric["timestamp"])
    began = plain["started_at"]
    known = {
        **plain,
        "metric": Seen(**metric),
        "severity": AlertSeverity(plain["severity"]),
        "state": AlertState(plain["state"]),
        "timestamp": datetime.fromisoformat(plain["timestamp"]),
        "started_at": None if began is None else datetime.fromisoformat(began),
    }
    return Alert(**known)
