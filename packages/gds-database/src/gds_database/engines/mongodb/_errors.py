"""Errors of pymongo become ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gds_database.engines._base import driver
from gds_database.errors import (
    ConfigurationError,
    DatabaseConnectionError,
    PrivilegeError,
    QueryError,
    StatementTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["translated"]

UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
TIMEOUTS = frozenset({50, 89, 202})

# The role that brings an action, for the message of who lacks it.
ROLES = {
    "readWrite or dbOwner on the database": ("insert", "create", "createindexes", "dropdatabase", "drop"),
    "userAdminAnyDatabase on admin": ("createuser", "dropuser", "updateuser", "usersinfo", "grantrolestouser"),
    "clusterMonitor on admin": (
        *("serverstatus", "replsetgetstatus", "replsetgetconfig", "getlog", "currentop", "getparameter"),
        *("getcmdlineopts", "listdatabases", "listshards", "top", "hostinfo"),
    ),
    "clusterManager on admin": ("replsetstepdown", "replsetreconfig", "replsetfreeze"),
    "hostManager on admin": ("killop", "setparameter", "shutdown"),
}


def translated(error: Exception, said: Callable[[str], str] = str) -> Exception:
    """The error to raise for one of the driver.

    Args:
        error: Any exception.
        said: Takes secrets out of a text.
    """
    errors = driver("pymongo.errors", "mongodb")
    if isinstance(error, (ConfigurationError, DatabaseConnectionError, QueryError)):
        return error
    if isinstance(error, errors.OperationFailure):
        details = error.details or {}
        return _refused(error.code, said(" ".join(str(details.get("errmsg") or error).split())))
    text = said(" ".join(str(error).split()).partition(", Timeout:")[0].partition(" (configured timeouts")[0])
    if isinstance(error, errors.ConfigurationError):
        return ConfigurationError(text)
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return DatabaseConnectionError(f"no server answers: {text}")
    if isinstance(error, errors.NetworkTimeout) or getattr(error, "timeout", False) is True:
        return StatementTimeoutError(f"the server did not answer in time: {text}")
    if isinstance(error, errors.ConnectionFailure):
        return DatabaseConnectionError(text or type(error).__name__)
    return QueryError(text or type(error).__name__)


def _refused(code: int | None, text: str) -> Exception:
    """The error for one of the server, by its code."""
    if code == AUTHENTICATION_FAILED:
        return DatabaseConnectionError(f"the server refuses the login: {text}")
    if code == UNAUTHORIZED:
        return PrivilegeError(f"{text}{_grant(text)}")
    if code in TIMEOUTS:
        return StatementTimeoutError(f"the server ended the command after the time it was allowed: {text}")
    return QueryError(f"{text} (code {code})" if code else text)


def _grant(text: str) -> str:
    named = re.search(r"(?:command|action)\W+(\w+)", text)
    name = named[1].lower() if named else ""
    roles = next((role for role, names in ROLES.items() if name in names), None)
    return f"; grant the role {roles}" if roles else ""
