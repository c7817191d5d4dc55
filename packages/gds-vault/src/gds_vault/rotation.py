"""When a secret is rotated that has a schedule: a cron expression in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from gds_vault._cron import CronParser
from gds_vault._lifetime import moment, rotation_of

__all__ = ["CronParser", "calculate_rotation_ttl", "parse_vault_rotation_metadata", "should_refresh_secret"]


def calculate_rotation_ttl(
    last_rotation: str | float | datetime,
    rotation_schedule: str,
    buffer_minutes: int = 10,
    current_time: datetime | None = None,
) -> int:
    """Seconds until a secret should be read again: until its next rotation, less the buffer; 0 if that is past.

    Args:
        last_rotation: ISO 8601, seconds since 1970 or a time; the schedule is by its zone, else by that of the machine.
        rotation_schedule: A cron expression.
        buffer_minutes: How long before the rotation.
        current_time: None is now.

    Raises:
        ValueError: The schedule or the time makes no sense.
    """
    last = _moment(last_rotation)
    if last.tzinfo is None:
        now = current_time or datetime.now()  # noqa: DTZ005 - as the schedule, without a zone
    else:
        now = (current_time or datetime.now(last.tzinfo)).astimezone(last.tzinfo)
    due = CronParser(rotation_schedule).next_run_time(last.replace(tzinfo=None))
    left = due - now.replace(tzinfo=None) - timedelta(minutes=buffer_minutes)
    return max(0, int(left.total_seconds()))


def should_refresh_secret(
    last_rotation: str | float | datetime,
    rotation_schedule: str,
    buffer_minutes: int = 10,
    current_time: datetime | None = None,
) -> bool:
    """Whether a secret should be read again now; also if nobody can tell.

    Args:
        last_rotation: As for `calculate_rotation_ttl`, and so are the others.
        rotation_schedule: A cron expression.
        buffer_minutes: How long before the rotation.
        current_time: None is now.
    """
    try:
        return calculate_rotation_ttl(last_rotation, rotation_schedule, buffer_minutes, current_time) <= 0
    except (ValueError, TypeError, AttributeError, OverflowError):
        return True


def parse_vault_rotation_metadata(vault_response: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ``last_rotation`` and the ``schedule`` that an answer of Vault's has in its metadata; None if neither."""
    for holder in (vault_response.get("data"), vault_response.get("auth"), vault_response):
        metadata = holder.get("metadata") if isinstance(holder, Mapping) else None
        if isinstance(metadata, Mapping) and (found := rotation_of(metadata)):
            return found
    return None


def _moment(value: str | float | datetime) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        known = moment(value)
        if known is None:
            raise ValueError(f"last_rotation={value!r}: expected a time")
        if value.isdigit():
            return known.astimezone().replace(tzinfo=None)
        return known if value.endswith("Z") or "+" in value else known.replace(tzinfo=None)
    return datetime.fromtimestamp(value)  # noqa: DTZ006 - as the schedule, without a zone
