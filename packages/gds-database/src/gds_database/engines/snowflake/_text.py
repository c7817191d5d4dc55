"""Names and literals of Snowflake's SQL."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from gds_database.errors import ConfigurationError

__all__ = ["instant", "literal", "moment", "quoted"]

CHARACTERS = 255
_PLAIN_KEY = re.compile(r"[A-Z][A-Z0-9_]*")


def quoted(name: str, kind: str = "name") -> str:
    """An identifier, exactly as it is given: ``shop`` is not ``SHOP``.

    Raises:
        ConfigurationError: No object can have that name.
    """
    if not 0 < len(name) <= CHARACTERS or "\0" in name:
        raise ConfigurationError(f"{kind}={name!r}: expected 1 to {CHARACTERS} characters without NUL")
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value where Snowflake takes none that is bound, in DDL; escaped as the connector does it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, str) or "\0" in value:
        raise ConfigurationError("value: expected text without NUL, a number, true or false")
    for raw, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(raw, escaped)
    return f"'{value}'"


def key(name: str) -> str:
    """The name of a parameter, which is never quoted."""
    if _PLAIN_KEY.fullmatch(name) is None:
        raise ConfigurationError(
            f"key={name!r}: expected the name of a parameter, such as STATEMENT_TIMEOUT_IN_SECONDS"
        )
    return name


def instant(value: datetime) -> str:
    """A time as a literal with its zone."""
    return f"'{value.astimezone(timezone.utc).isoformat(sep=' ', timespec='milliseconds')}'::TIMESTAMP_TZ"


def moment(value: Any) -> datetime | None:
    """A time that the connector returned, with its zone; None if it is none, or none was meant."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
