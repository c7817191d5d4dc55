"""Errors of psycopg, 3 or 2, as ours: by their SQLSTATE, with what the server said and not with the statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_database.errors import (
    ConfigurationError,
    DatabaseConnectionError,
    PrivilegeError,
    QueryError,
    StatementTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["described", "translate"]

_LOST = {"57P01", "57P02", "57P03", "53300"}

# What else to tell somebody who reads the error.
_HINTS: Mapping[str, str] = {
    "53300": "end sessions, or raise max_connections",
    "55006": "force=True ends its sessions first",
    "25006": "this is a standby, or the session is read-only",
}


def described(error: BaseException) -> str:
    """What the server said: message, detail and hint; never the statement, which an error of syntax quotes."""
    diagnostics = getattr(error, "diag", None)
    parts = [getattr(diagnostics, f"message_{part}", None) for part in ("primary", "detail", "hint")]
    said = [part for part in parts if part]
    return "; ".join(said) if said else " ".join(str(error).split()) or type(error).__name__


def translate(error: Exception) -> Exception:
    """The error to raise instead of one of the driver."""
    if isinstance(error, (ConfigurationError, DatabaseConnectionError, QueryError)):
        return error
    code: Any = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    text = described(error)
    if hint := _HINTS.get(code):
        text = f"{text}; {hint}"
    kind = type(error).__name__
    if code == "57014" and "user request" not in text:
        failed: Exception = StatementTimeoutError(f"the statement took too long and was ended: {text}")
    elif code == "55P03":
        failed = StatementTimeoutError(f"another session holds a lock, list_processes() tells which: {text}")
    elif code == "42501":
        failed = PrivilegeError(text)
    elif (
        code[:2] in {"08", "28"}
        or code in _LOST
        or (not code and kind in {"OperationalError", "InterfaceError"})
        or kind == "ConnectionTimeout"
        or isinstance(error, OSError)
    ):
        failed = DatabaseConnectionError(text)
    else:
        failed = QueryError(text)
    if code:
        vars(failed)["sqlstate"] = code
    return failed
