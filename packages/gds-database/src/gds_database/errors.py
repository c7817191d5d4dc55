"""What goes wrong. The first three are those that programs have always caught; all others inherit from one of them.

No message holds a secret.
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "DatabaseConnectionError",
    "MissingExtraError",
    "ObjectNotFoundError",
    "PrivilegeError",
    "QueryError",
    "StatementTimeoutError",
    "ToolError",
]


class DatabaseConnectionError(Exception):
    """The server cannot be reached, refuses the login, or is gone."""


class QueryError(Exception):
    """The server was reached and did not do what it was asked."""


class ConfigurationError(Exception):
    """A setting or an argument cannot be used; the message names it, what was expected and what to do."""


class MissingExtraError(ConfigurationError, ImportError):
    """A driver or a tool is not installed; the message says which command installs it."""


class ObjectNotFoundError(QueryError):
    """A database, user, session or setting of that name does not exist, so nothing was run.

    Args:
        kind: What was looked for, such as ``database``.
        name: By which name.
        where: On what, such as ``localhost:5432``; empty if there is nothing to add.
    """

    def __init__(self, kind: str, name: str, where: str = "") -> None:
        on = f" on {where}" if where else ""
        super().__init__(f"{kind} {name!r} does not exist{on}; nothing was changed")
        self.kind = kind
        self.name = name


class PrivilegeError(QueryError):
    """The login may not do it; the message says what to grant where that is known."""


class StatementTimeoutError(QueryError, TimeoutError):
    """A statement or a tool took longer than it was allowed to and was ended."""


class ToolError(QueryError):
    """A program such as ``pg_dump`` failed, with the end of what it wrote."""
