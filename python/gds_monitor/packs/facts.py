"""Finds out what a server is, in few statements."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from gds_monitor.packs.plan import SUPERUSER, ServerFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gds_monitor.packs.execute import Run

__all__ = ["PREDEFINED_ROLES", "mongodb_facts", "postgresql_facts", "sql_server_facts"]

PREDEFINED_ROLES = (
    "pg_read_all_stats",
    "pg_read_all_settings",
    "pg_stat_scan_tables",
    "pg_monitor",
    "pg_read_all_data",
)
"""Roles of PostgreSQL that packs may ask for."""

_STEADY = timedelta(seconds=10)

_BASICS = """
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS in_recovery,
    current_database() AS database, current_user AS login, pg_postmaster_start_time() AS started,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser
"""
_ROLES = """
SELECT rolname FROM pg_roles
WHERE rolname LIKE 'pg\\_%' AND pg_has_role(current_user, oid, 'USAGE')
"""
_COLUMNS = """
SELECT c.relname AS view, array_agg(a.attname::text) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE a.attnum > 0 AND NOT a.attisdropped
    AND (c.relnamespace = 'pg_catalog'::regnamespace AND c.relname LIKE 'pg\\_%' AND c.relkind IN ('v', 'r')
        OR c.relname LIKE 'pg\\_stat\\_statements%' AND c.relkind = 'v')
GROUP BY c.relname
"""
_EXTENSIONS = "SELECT extname, extversion FROM pg_extension"
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_temp%' AND nspname NOT LIKE 'pg\\_toast%'"
_DATABASES = """
SELECT datname FROM pg_database
WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 AND has_database_privilege(oid, 'CONNECT')
ORDER BY datname
"""
_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY (ARRAY[{names}]::text[])"


def postgresql_facts(run: Run, *, settings: Iterable[str] = (), tags: Iterable[str] = ()) -> ServerFacts:
    """What a PostgreSQL is.

    Args:
        run: Runs a statement in the database that is connected to.
        settings: Those that requirements are about.
        tags: Of the monitor.
    """
    basics = run(_BASICS)[0]
    major, minor = divmod(basics["version"], 10_000)
    privileges = {row["rolname"] for row in run(_ROLES)}
    if basics["superuser"]:
        privileges.add(SUPERUSER)
    # Names from a pack become literals.
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(settings))
    found = run(_SETTINGS.replace("{names}", quoted)) if quoted else ()
    return ServerFacts(
        version=(major, minor),
        role=_role(in_recovery=basics["in_recovery"]),
        privileges=frozenset(privileges),
        columns={row["view"]: frozenset(row["columns"]) for row in run(_COLUMNS)},
        extensions={row["extname"]: row["extversion"] for row in run(_EXTENSIONS)},
        schemas=frozenset(row["nspname"] for row in run(_SCHEMAS)),
        settings={row["name"]: row["setting"] for row in found},
        database=basics["database"],
        databases=tuple(row["datname"] for row in run(_DATABASES)),
        user=basics["login"],
        tags=frozenset(tags),
        server_start=basics["started"],
    )


def _role(*, in_recovery: bool) -> Literal["primary", "standby"]:
    return "standby" if in_recovery else "primary"


_SQL_SERVER = """
SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(40)) AS version,
    CAST(DB_NAME() AS nvarchar(128)) AS [database],
    CAST(SUSER_SNAME() AS nvarchar(128)) AS login, CAST(SERVERPROPERTY('EngineEdition') AS int) AS edition
"""
_SQL_SERVER_PERMISSIONS = """
SELECT CAST(HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE') AS int) AS [VIEW SERVER STATE],
    CAST(HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE') AS int) AS [VIEW SERVER PERFORMANCE STATE],
    CAST(HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DATABASE STATE') AS int) AS [VIEW DATABASE STATE]
"""
_SQL_SERVER_DATABASES = """
SELECT CAST(name AS nvarchar(128)) AS name FROM sys.databases WHERE state = 0 ORDER BY name
"""
# Its times are those of its own zone.
_SQL_SERVER_START = """
SELECT DATEADD(minute, DATEDIFF(minute, GETDATE(), GETUTCDATE()), sqlserver_start_time) AS started
FROM sys.dm_os_sys_info
"""


def sql_server_facts(run: Run, *, tags: Iterable[str] = ()) -> ServerFacts:
    """What a SQL Server is; ``server_start`` needs VIEW SERVER STATE and is None without it."""
    from gds_monitor.packs.rows import as_time

    basics = run(_SQL_SERVER)[0]
    permissions = frozenset(name for name, has in run(_SQL_SERVER_PERMISSIONS)[0].items() if has == 1)
    allowed = not permissions.isdisjoint({"VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE", "VIEW DATABASE STATE"})
    started = run(_SQL_SERVER_START)[0]["started"] if allowed else None
    return ServerFacts(
        version=_version(basics["version"]),
        privileges=permissions,
        settings={"EngineEdition": str(basics["edition"])},
        database=basics["database"],
        databases=tuple(row["name"] for row in run(_SQL_SERVER_DATABASES)),
        user=basics["login"],
        tags=frozenset(tags),
        server_start=as_time(started),
    )


def mongodb_facts(run: Run, *, tags: Iterable[str] = (), started: datetime | None = None) -> ServerFacts:
    """What a MongoDB is: a primary is whatever takes writes, so also a mongos.

    Args:
        run: Runs a command in the database ``admin``; gives its answer as the one row.
        tags: Of the monitor.
        started: ``server_start`` as it was known. It is worked out from how long the server has been up, so it stays as
            it is where it differs by no more than what an answer takes.
    """
    hello: Mapping[str, Any] = run({"hello": 1})[0]
    built = run({"buildInfo": 1})[0]
    status = run({"serverStatus": 1, "repl": 0, "metrics": 0, "locks": 0, "wiredTiger": 0})[0]
    kind = "mongos" if hello.get("msg") == "isdbgrid" else "replica_set" if hello.get("setName") else "standalone"
    kind = "arbiter" if hello.get("arbiterOnly") else kind
    named = run({"listDatabases": 1, "nameOnly": True})[0]["databases"] if kind != "arbiter" else ()
    writes = hello.get("isWritablePrimary", hello.get("ismaster", True))
    began = datetime.now(timezone.utc) - timedelta(milliseconds=float(status["uptimeMillis"]))
    if started is not None and abs(began - started) < _STEADY:
        began = started
    return ServerFacts(
        version=_version(built["version"]),
        role="primary" if writes else "standby",
        settings={"topology": kind},
        database="admin",
        databases=tuple(sorted(each["name"] for each in named)),
        tags=frozenset(tags),
        server_start=began,
    )


def _version(text: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else (0,)
