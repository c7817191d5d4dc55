"""Times and durations as people type them."""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone

__all__ = ["moment", "seconds", "shown"]

_UNITS = {"y": 365 * 86_400.0, "w": 7 * 86_400.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:\d+(?:ms|[ywdhms]))+")
_PIECE = re.compile(r"(\d+)(ms|[ywdhms])")


def seconds(text: str) -> float:
    """Seconds, of a number or of a duration such as ``1h30m``.

    Raises:
        ValueError: It is neither.
    """
    if _DURATION.fullmatch(text):
        return sum(int(count) * _UNITS[unit] for count, unit in _PIECE.findall(text))
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r}: expected seconds, or a duration such as 5m or 1h30m")
    return number


def moment(text: str, now: float) -> float:
    """Seconds since 1970: of such a number, of ``now``, of a duration before it, or of a date and time with a zone.

    Raises:
        ValueError: It is none of these.
    """
    if text == "now":
        return now
    if _DURATION.fullmatch(text):
        return now - seconds(text)
    try:
        number = float(text)
        if math.isfinite(number):
            return number
    except ValueError:
        try:
            # Python 3.10 does not know the Z.
            read = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
            return (read if read.tzinfo else read.replace(tzinfo=timezone.utc)).timestamp()
        except ValueError:
            pass
    raise ValueError(
        f"{text!r}: expected a duration before now such as 1h, now, seconds since 1970, "
        "or a time such as 2026-01-31T12:00:00Z"
    )


def shown(timestamp: float) -> str:
    """A time in UTC, with as much of its fraction as it has."""
    text = datetime.fromtimestamp(timestamp, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").replace(".000Z", "Z")
