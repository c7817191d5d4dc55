"""Errors of the connector become ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gds_database.base import ConfigurationError, DatabaseConnectionError, QueryError
from gds_database.engines._base import driver
from gds_database.errors import PrivilegeError, StatementTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["translated", "was_ended"]

# Numbers of Snowflake's errors.
NO_PRIVILEGE = frozenset({3001, 3003, 3540})
ENDED = frozenset({604, 630, 612})
# Of the connector: it cannot connect, the login is refused, the session is gone.
CONNECTION = frozenset({250001, 250002, 250003, 251005, 251006, 290503, 290504})
LOGIN = range(390_000, 391_000)


def was_ended(error: Exception) -> bool:
    """Whether the server says that it ended the statement."""
    number = getattr(error, "errno", None)
    return isinstance(number, int) and abs(number) in ENDED


def translated(error: Exception, said: Callable[[BaseException], str]) -> Exception:
    """The error to raise for one of the connector.

    Args:
        error: Any exception.
        said: Its text on one line without secrets.
    """
    if isinstance(error, (ConfigurationError, DatabaseConnectionError, QueryError)):
        return error
    text, number = said(error), getattr(error, "errno", None)
    found = _kind(error, abs(number) if isinstance(number, int) else None, text)
    vars(found)["number"] = number
    return found


def _kind(error: Exception, number: int | None, text: str) -> Exception:
    errors = driver("snowflake.connector.errors", "snowflake")
    if was_ended(error):
        return StatementTimeoutError(f"Snowflake ended the statement: {text}")
    if number in NO_PRIVILEGE:
        return PrivilegeError(f"{text}; use a role that may, such as ACCOUNTADMIN, or have it granted")
    if number in CONNECTION or number in LOGIN:
        return DatabaseConnectionError(text)
    if isinstance(error, (errors.ForbiddenError, errors.OtherHTTPRetryableError, errors.InterfaceError)):
        return DatabaseConnectionError(text)
    if isinstance(error, (OSError, errors.OperationalError)):
        return DatabaseConnectionError(text)
    return QueryError(text)
