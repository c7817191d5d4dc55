"""Names and values as they stand in a statement, quoted by psycopg; what PostgreSQL would cut short is refused."""

from __future__ import annotations

from typing import Any

from gds_database.engines._base import driver
from gds_database.errors import ConfigurationError

__all__ = ["MAX_NAME_BYTES", "checked", "identifier", "literal"]

MAX_NAME_BYTES = 63


def checked(name: Any, what: str) -> str:
    """The name, if PostgreSQL can have one like it.

    Args:
        name: Without quotes.
        what: Such as ``database``, for the error.

    Raises:
        ConfigurationError: It cannot; a longer one would silently become another name.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"{what} name: expected text, got {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(f"{what} name {name!r}: expected text that can be written as UTF-8") from None
    if not name or "\0" in name or size > MAX_NAME_BYTES:
        got = f"{size} bytes" if name and "\0" not in name else repr(name)
        raise ConfigurationError(
            f"{what} name: expected 1 to {MAX_NAME_BYTES} bytes of UTF-8 without NUL, got {got}; "
            "PostgreSQL would cut it short"
        )
    return name


def identifier(*parts: str) -> str:
    """A name in quotes, with its parts joined by dots."""
    quoted: str = driver("psycopg.sql", "postgresql").Identifier(*parts).as_string(None)
    return quoted


def literal(value: Any) -> str:
    """A value in quotes, for the statements that take no bound values."""
    if isinstance(value, str) and "\0" in value:
        raise ConfigurationError(f"{value!r}: expected text without NUL")
    quoted: str = driver("psycopg.sql", "postgresql").Literal(value).as_string(None)
    return quoted.strip()
