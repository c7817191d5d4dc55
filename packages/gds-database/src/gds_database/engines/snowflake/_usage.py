"""What Snowflake's views and SHOW statements mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gds_database.engines.snowflake._text import moment
from gds_database.errors import ConfigurationError
from gds_database.metadata import LogEntry, Metric, ReplicationDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

__all__ = ["GRANT", "LOGS", "REFRESHED", "RUNNING", "VIEWS", "View"]

GRANT = (
    "grant IMPORTED PRIVILEGES ON DATABASE SNOWFLAKE to the role, "
    "or its database roles USAGE_VIEWER and SECURITY_VIEWER"
)

RUNNING = (
    "SELECT QUERY_ID, QUERY_TEXT, DATABASE_NAME, USER_NAME, ROLE_NAME, WAREHOUSE_NAME, SESSION_ID, EXECUTION_STATUS, "
    "START_TIME, TOTAL_ELAPSED_TIME, QUEUED_OVERLOAD_TIME, TRANSACTION_BLOCKED_TIME "
    "FROM TABLE(SNOWFLAKE.INFORMATION_SCHEMA.QUERY_HISTORY(RESULT_LIMIT => 1000)) "
    "WHERE EXECUTION_STATUS IN ('RUNNING', 'QUEUED', 'BLOCKED', 'RESUMING_WAREHOUSE') ORDER BY START_TIME"
)
REFRESHED = (
    "SELECT REPLICATION_GROUP_NAME AS NAME, MAX(PRIMARY_SNAPSHOT_TIMESTAMP) AS SNAPSHOT, MAX(END_TIME) AS ENDED "
    "FROM SNOWFLAKE.ACCOUNT_USAGE.REPLICATION_GROUP_REFRESH_HISTORY WHERE PHASE_NAME = 'COMPLETED' "
    "GROUP BY REPLICATION_GROUP_NAME"
)
_WAITS = {"QUEUED": "warehouse", "RESUMING_WAREHOUSE": "warehouse", "BLOCKED": "lock"}


# ------------------------------------------------------------------ processes
def blockers(locks: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Of each query that waits for a lock, the queries that hold it."""
    locks = list(locks)
    found: dict[str, list[str]] = {}
    for each in locks:
        if str(each.get("status")).upper() == "WAITING":
            holders = [
                str(other["query_id"])
                for other in locks
                if str(other.get("status")).upper() == "HOLDING"
                and other.get("resource") == each.get("resource")
                and other.get("query_id") != each.get("query_id")
            ]
            found.setdefault(str(each.get("query_id")), []).extend(holders)
    return found


def process(
    row: Mapping[str, Any], blocked: Mapping[str, list[str]], now: datetime, shortened: Callable[[str], str]
) -> dict[str, Any]:
    """One statement under way."""
    started = moment(row.get("start_time"))
    query, status = str(row["query_id"]), str(row.get("execution_status"))
    return {
        "id": query,
        "user": row.get("user_name") or "",
        "database": row.get("database_name") or "",
        "state": status.lower(),
        "statement": shortened(str(row.get("query_text") or "")),
        "started_at": started,
        "seconds": max(0.0, (now - started).total_seconds()) if started else None,
        "wait": _WAITS.get(status) or ("lock" if query in blocked else None),
        "blocked_by": blocked.get(query, []),
        "client": "",
        "application": "",
        "warehouse": row.get("warehouse_name"),
        "role": row.get("role_name"),
        "session_id": None if row.get("session_id") is None else str(row["session_id"]),
    }


# ------------------------------------------------------------------ settings
def value(row: Mapping[str, Any]) -> Any:
    """The value of a parameter, of its type."""
    kind, given = str(row.get("type") or "STRING").upper(), row.get("value")
    if given is None:
        return None
    if kind == "BOOLEAN":
        return str(given).lower() == "true"
    if kind == "NUMBER":
        text = str(given)
        try:
            return int(text)
        except ValueError:
            return float(text) if text else None
    return str(given)


def fits(name: str, given: Any, kind: str) -> Any:
    """The value, of the type of the parameter; ``ConfigurationError`` if it is of another."""
    kind = kind.upper()
    if kind == "BOOLEAN":
        if isinstance(given, str) and given.lower() in {"true", "false", "on", "off"}:
            return given.lower() in {"true", "on"}
        if not isinstance(given, bool):
            raise ConfigurationError(f"{name}={given!r}: expected true or false")
    elif kind == "NUMBER":
        if isinstance(given, str) and given.strip().lstrip("-").isdigit():
            return int(given)
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise ConfigurationError(f"{name}={given!r}: expected a number")
    elif not isinstance(given, str):
        raise ConfigurationError(f"{name}={given!r}: expected text")
    return given


# ------------------------------------------------------------------ metrics
@dataclass(frozen=True)
class View:
    """A view of ``ACCOUNT_USAGE`` and the metrics that it has.

    Attributes:
        name: Of the view.
        statement: With ``:start`` and ``:end``; has the columns ``AT`` and those below.
        labels: Column -> label.
        values: Column -> name and unit.
    """

    name: str
    statement: str
    labels: Mapping[str, str]
    values: Mapping[str, tuple[str, str]]

    def metrics(self, rows: Sequence[Mapping[str, Any]], now: datetime, instance: str) -> list[Metric]:
        """The metrics of rows, and how old the newest of them is."""
        found, newest = [], None
        for row in rows:
            at = moment(row.get("at"))
            if at is None:
                continue
            newest = at if newest is None else max(newest, at)
            labels = {"instance_id": instance}
            labels |= {label: str(row.get(column) or "") for column, label in self.labels.items()}
            for column, (name, unit) in self.values.items():
                if row.get(column) is not None:
                    found.append(Metric(name, float(row[column]), unit, at, dict(labels)))
        if newest is not None:
            age = max(0.0, (now - newest).total_seconds())
            labels = {"instance_id": instance, "view": self.name}
            found.append(Metric("snowflake.account_usage.freshness", age, "s", now, labels))
        return found


def _view(name: str, columns: str, when: str, group: str, labels: Mapping[str, str], **values: tuple[str, str]) -> View:
    grouped = f" GROUP BY {group}" if group else ""
    # All of it is written below; only the times come from outside.
    statement = f"SELECT {columns} FROM SNOWFLAKE.ACCOUNT_USAGE.{name} WHERE {when} BETWEEN :start AND :end{grouped}"  # noqa: S608
    return View(name, statement, labels, values)


VIEWS = (
    _view(
        "QUERY_HISTORY",
        "WAREHOUSE_NAME, EXECUTION_STATUS, COUNT(*) AS QUERIES, SUM(TOTAL_ELAPSED_TIME) AS ELAPSED, "
        "SUM(BYTES_SCANNED) AS SCANNED, SUM(QUEUED_OVERLOAD_TIME) AS QUEUED, "
        "SUM(TRANSACTION_BLOCKED_TIME) AS BLOCKED, MAX(END_TIME) AS AT",
        "END_TIME",
        "WAREHOUSE_NAME, EXECUTION_STATUS",
        {"warehouse_name": "warehouse", "execution_status": "status"},
        queries=("snowflake.query.count", "{query}"),
        elapsed=("snowflake.query.time", "ms"),
        scanned=("snowflake.query.scanned", "By"),
        queued=("snowflake.query.queued_time", "ms"),
        blocked=("snowflake.query.blocked_time", "ms"),
    ),
    _view(
        "WAREHOUSE_METERING_HISTORY",
        "WAREHOUSE_NAME, CREDITS_USED, CREDITS_USED_COMPUTE, CREDITS_USED_CLOUD_SERVICES, END_TIME AS AT",
        "END_TIME",
        "",
        {"warehouse_name": "warehouse"},
        credits_used=("snowflake.warehouse.credits", "{credit}"),
        credits_used_compute=("snowflake.warehouse.credits.compute", "{credit}"),
        credits_used_cloud_services=("snowflake.warehouse.credits.cloud_services", "{credit}"),
    ),
    _view(
        "WAREHOUSE_LOAD_HISTORY",
        "WAREHOUSE_NAME, AVG_RUNNING, AVG_QUEUED_LOAD, AVG_QUEUED_PROVISIONING, AVG_BLOCKED, END_TIME AS AT",
        "END_TIME",
        "",
        {"warehouse_name": "warehouse"},
        avg_running=("snowflake.warehouse.load.running", "{query}"),
        avg_queued_load=("snowflake.warehouse.load.queued", "{query}"),
        avg_queued_provisioning=("snowflake.warehouse.load.queued_provisioning", "{query}"),
        avg_blocked=("snowflake.warehouse.load.blocked", "{query}"),
    ),
    _view(
        "LOGIN_HISTORY",
        "IS_SUCCESS, COUNT(*) AS LOGINS, MAX(EVENT_TIMESTAMP) AS AT",
        "EVENT_TIMESTAMP",
        "IS_SUCCESS",
        {"is_success": "success"},
        logins=("snowflake.login.count", "{login}"),
    ),
    _view(
        "DATABASE_STORAGE_USAGE_HISTORY",
        "DATABASE_NAME, AVERAGE_DATABASE_BYTES, AVERAGE_FAILSAFE_BYTES, USAGE_DATE::TIMESTAMP_TZ AS AT",
        "USAGE_DATE::TIMESTAMP_TZ",
        "",
        {"database_name": "db.namespace"},
        average_database_bytes=("snowflake.storage.database", "By"),
        average_failsafe_bytes=("snowflake.storage.failsafe", "By"),
    ),
)


# ------------------------------------------------------------------ logs
def _login(row: Mapping[str, Any], shortened: Callable[[str], str]) -> LogEntry:
    good = str(row.get("is_success")).upper() == "YES"
    said = "" if good else f": {shortened(str(row.get('error_message') or 'no message'))}"
    return LogEntry(
        timestamp=_at(row),
        level="INFO" if good else "WARNING",
        message=f"login of {row.get('user_name')} {'succeeded' if good else 'failed'}{said}",
        source="LOGIN_HISTORY",
        context={
            key: row[key]
            for key in ("user_name", "client_ip", "reported_client_type", "first_authentication_factor", "error_code")
            if row.get(key) is not None
        },
    )


def _failed(row: Mapping[str, Any], shortened: Callable[[str], str]) -> LogEntry:
    context = {
        key: row[key]
        for key in ("query_id", "user_name", "role_name", "warehouse_name", "database_name", "error_code")
        if row.get(key) is not None
    }
    context["statement"] = shortened(str(row.get("query_text") or ""))
    return LogEntry(_at(row), "ERROR", shortened(str(row.get("error_message") or "")), "QUERY_HISTORY", context)


def _at(row: Mapping[str, Any]) -> datetime:
    found = moment(row["at"])
    assert found is not None, "the statements ask for rows with a time"  # noqa: S101
    return found


_LOGINS = (
    "SELECT EVENT_TIMESTAMP AS AT, USER_NAME, CLIENT_IP, REPORTED_CLIENT_TYPE, FIRST_AUTHENTICATION_FACTOR, "
    "IS_SUCCESS, ERROR_CODE, ERROR_MESSAGE FROM SNOWFLAKE.ACCOUNT_USAGE.LOGIN_HISTORY "
    "WHERE EVENT_TIMESTAMP BETWEEN :start AND :end ORDER BY EVENT_TIMESTAMP DESC LIMIT :limit"
)
_FAILURES = (
    "SELECT END_TIME AS AT, QUERY_ID, QUERY_TEXT, USER_NAME, ROLE_NAME, WAREHOUSE_NAME, DATABASE_NAME, ERROR_CODE, "
    "ERROR_MESSAGE FROM SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY WHERE END_TIME BETWEEN :start AND :end "
    "AND ERROR_CODE IS NOT NULL ORDER BY END_TIME DESC LIMIT :limit"
)
LOGS: tuple[tuple[str, Callable[[Mapping[str, Any], Callable[[str], str]], LogEntry]], ...] = (
    (_LOGINS, _login),
    (_FAILURES, _failed),
)


# ------------------------------------------------------------------ replication
def is_primary(group: Mapping[str, Any]) -> bool:
    """Whether a failover group is the primary one."""
    return str(group.get("is_primary")).lower() in {"true", "y", "yes"}


def is_here(group: Mapping[str, Any], account: str) -> bool:
    """Whether a failover group is this account's: SHOW lists those of the other accounts, too."""
    return str(group.get("account_name") or account).upper() == account.upper()


def replication(
    groups: Sequence[Mapping[str, Any]], refreshed: Sequence[Mapping[str, Any]], now: datetime, account: str
) -> ReplicationDetails:
    """The state of failover groups.

    Args:
        groups: The rows of SHOW FAILOVER GROUPS.
        refreshed: The last complete refresh of each group.
        now: Snowflake's clock.
        account: The name of this account.
    """
    snapshots = {str(each["name"]): moment(each.get("snapshot")) for each in refreshed}
    nodes, lags = [], []
    here = [each for each in groups if is_here(each, account)]
    for each in here:
        snapshot = snapshots.get(str(each["name"]))
        lag = None
        if not is_primary(each) and snapshot is not None:
            lag = max(timedelta(), now - snapshot).total_seconds()
            lags.append(lag)
        nodes.append(
            {
                "name": str(each["name"]),
                "role": "primary" if is_primary(each) else "secondary",
                "state": str(each.get("secondary_state") or "").lower() or "active",
                "lag_seconds": lag,
                "lag_bytes": None,
                "sync_state": "async",
                "account": each.get("account_name"),
                "primary": each.get("primary"),
                "schedule": each.get("replication_schedule"),
                "next_refresh": each.get("next_scheduled_refresh"),
            }
        )
    secondary = [node for node in nodes if node["role"] == "secondary"]
    others = sorted({str(each["account_name"]) for each in groups if not is_here(each, account)})
    known = bool(lags) or not secondary
    return ReplicationDetails(
        enabled=True,
        mode="failover group",
        role="secondary" if secondary else "primary",
        lag_seconds=max(lags, default=0.0),
        sync_state="async" if secondary and known else "no refresh known" if secondary else "ask the secondary account",
        partners=others,
        nodes=nodes,
    )
