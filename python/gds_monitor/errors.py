"""Why something was not measured."""

from __future__ import annotations

__all__ = ["NOT_FOR_IT", "REASONS", "CollectionError", "MonitorConfigError"]

REASONS = {
    "aborted": "the connection was closed under a query that did not end",
    "authentication": "the server did not take the credentials",
    "authentication_backoff": "it did not take them before, and is not asked again yet",
    "connection": "the server cannot be reached, or the connection was lost",
    "connections_scarce": "a database was not visited because hardly any connections are left for others",
    "cycle_budget": "the time of the cycle was used up before it",
    "database_budget": "the time of its database was used up before it",
    "database_gone": "the database was dropped or renamed in the meantime",
    "driver_missing": "the driver of the platform is not installed",
    "error": "anything else; the detail says what",
    "lock_timeout": "a lock was not to be had at once, and is not waited for",
    "missing_object": "a view, a column or a function is not there",
    "pre_check": "the hook said no",
    "privilege": "the login may not read it; `gds monitor check` prints the grants",
    "statement_timeout": "the query took longer than it is allowed to",
    "too_many_connections": "the server has no connection left for us",
    "unreported": "a collector did not say what became of it",
}
"""The reasons, and what each means. They are the label ``reason`` of own metrics, so there are no others."""


NOT_FOR_IT = {
    "column": "the server has none of the columns",
    "database": "it is for other databases",
    "disabled": "it is switched off, by the pack or by a feature flag",
    "extension": "an extension is not installed",
    "predicate": "a query of the pack said no",
    "role": "it is for a primary and this is a standby, or the other way round",
    "schema": "a schema is not there",
    "setting": "a setting of the server is another",
    "tag": "it is for targets with other tags",
    "user": "it is for another login",
    "version": "it is for other versions of the server",
}
"""Why something has not to be measured there: nothing is missing."""


class CollectionError(Exception):
    """Something was not measured.

    Args:
        reason: One of `REASONS`.
        detail: What the server said, without secrets.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or REASONS.get(reason, reason))
        self.reason = reason


class MonitorConfigError(ValueError):
    """A configuration cannot be used; the message says where, what was expected and what to do."""
