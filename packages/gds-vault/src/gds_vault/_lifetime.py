"""How long a secret that Vault answered with may be handed out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from gds_vault._cron import CronParser

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OVERDUE_SECONDS", "Lifetime", "duration_seconds", "lifetime", "moment", "rotation_of", "server_time"]

OVERDUE_SECONDS = 10.0
"""How soon a secret is read again whose announced rotation is past. An announcement may be forgotten: not each time."""

LEASE_USED = 0.9
"""The part of a lease after which the secret is not handed out any more: who gets it needs time to use it."""

LONGEST_SECONDS = 1e12  # what is longer is nonsense, and perhaps no float

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+|\d+(?:\.\d+)?")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_ROTATION = {
    "last_rotation": ("last_rotation", "last_rotation_time", "rotation_time"),
    "schedule": ("rotation_schedule", "schedule", "cron_schedule"),
}
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds from when the secret was asked for.

    Attributes:
        seconds: The end of its lease, or the deletion of its version.
        rotation_seconds: Its rotation.
        leased: It is gone with the token it was given to.
        ends_at: The end of that token, by the cache's clock.
        schedule: The ``last_rotation`` and the ``schedule`` that its metadata has, if it has both.
    """

    seconds: float = math.inf
    rotation_seconds: float = math.inf
    leased: bool = False
    ends_at: float = math.inf
    schedule: Mapping[str, Any] | None = None


def duration_seconds(value: object) -> float | None:
    """Seconds of 3600, "3600", "1h" or "1h30m"; None of anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if 0 <= value <= LONGEST_SECONDS else None
    if not isinstance(value, str) or not _DURATION.fullmatch(value.strip()):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value.strip()))


def moment(value: object) -> datetime | None:
    """The time in RFC 3339 ("2026-01-01T00:00:00.123456789Z") or seconds since 1970; None of anything else."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, timezone.utc)
        if not isinstance(value, str) or not value:
            return None
        if value.isdigit():
            return datetime.fromtimestamp(int(value), timezone.utc)
        # Vault writes nanoseconds; Python 3.10 takes three or six digits, and no Z.
        known = _FRACTION.sub(lambda found: f".{found[1]:0<6}", value.replace("Z", "+00:00"), count=1)
        parsed = datetime.fromisoformat(known)
    except (ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


def server_time(date: str | None) -> datetime:
    """When the server answered by its own clock, which is the one it deletes and rotates by; else by ours."""
    if date:
        try:
            parsed = parsedate_to_datetime(date)
        except (ValueError, TypeError, OverflowError, IndexError):
            pass
        else:
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)
    return datetime.now(timezone.utc)


def lifetime(
    body: Mapping[str, Any], data: Mapping[str, Any], metadata: Mapping[str, Any], date: str | None, token_end: float
) -> Lifetime:
    """What an answer says about its secret.

    Args:
        body: The whole answer.
        data: The secret in it.
        metadata: What KV version 2 has beside it; empty for anything else.
        date: The header ``Date`` of the answer.
        token_end: When the token ends, by the cache's clock.
    """
    now = server_time(date)
    seconds = math.inf
    leased = bool(body.get("lease_id"))
    lease = duration_seconds(body.get("lease_duration"))
    if lease:
        seconds = lease * LEASE_USED if leased else lease
    deleted = moment(metadata.get("deletion_time"))
    if deleted is not None:
        # The header has whole seconds.
        seconds = min(seconds, (deleted - now).total_seconds() - 1.0)
    schedule = rotation_of(metadata)
    rotation = min(_static_role(data), _announced(data, now), _custom(metadata, now), _scheduled(schedule, now))
    return Lifetime(seconds, rotation, leased, token_end if leased else math.inf, schedule)


def rotation_of(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ``last_rotation`` and the ``schedule``, a cron expression, of a secret's metadata, if it has any of them."""
    custom = metadata.get("custom_metadata")
    found: dict[str, Any] = {}
    for fields in (metadata, custom if isinstance(custom, dict) else {}):
        for name, words in _ROTATION.items():
            for word in words:
                if word in fields:
                    found.setdefault(name, fields[word])
    return found or None


def _scheduled(schedule: Mapping[str, Any] | None, now: datetime) -> float:
    if schedule is None or "schedule" not in schedule:
        return math.inf
    last = moment(schedule.get("last_rotation")) or now
    try:
        due = CronParser(schedule["schedule"]).next_run_time(last)
    except (ValueError, TypeError, AttributeError):
        return math.inf  # a note of somebody's that is no schedule
    return _due((due - now).total_seconds())


def _static_role(data: Mapping[str, Any]) -> float:
    """Of a static database role: Vault says how long the password lives."""
    if "last_vault_rotation" not in data:
        return math.inf
    ttl = duration_seconds(data.get("ttl"))
    return math.inf if ttl is None else ttl


def _announced(fields: Mapping[str, Any], now: datetime) -> float:
    due = moment(fields.get("next_rotation"))
    return math.inf if due is None else _due((due - now).total_seconds())


def _due(seconds: float) -> float:
    return seconds if seconds > 0 else OVERDUE_SECONDS


def _custom(metadata: Mapping[str, Any], now: datetime) -> float:
    custom = metadata.get("custom_metadata")
    if not isinstance(custom, dict):
        return math.inf
    found = [_announced(custom, now)]
    created = moment(metadata.get("created_time"))
    period = duration_seconds(custom.get("rotation_period"))
    if created is not None and period:
        found.append(_due(period - (now - created).total_seconds()))
    ttl = duration_seconds(custom.get("ttl"))
    if ttl is not None:
        found.append(ttl)
    return min(found)
