"""Finds out what a server is, in few statements."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from gds_monitor.errors import CollectionError
from gds_monitor.packs.plan import SUPERUSER, ServerFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gds_monitor.packs.execute import Run

__all__ = [
    "AZURE_SQL_DATABASE",
    "CLUSTER_MONITOR",
    "PREDEFINED_ROLES",
    "READ_LOCAL",
    "mongodb_facts",
    "postgresql_facts",
    "snowflake_facts",
    "sql_server_facts",
]

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
_SERVER_PERMISSIONS = (
    *("VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE", "VIEW ANY DEFINITION", "CONNECT ANY DATABASE"),
)
_READABLE = tuple(f"msdb.dbo.{name}" for name in ("backupset", "suspect_pages", "sysjobs", "sysjobhistory"))
# Which of these a version does not know is NULL.
_SQL_SERVER_PERMISSIONS = "SELECT " + ", ".join((
    *(f"CAST(HAS_PERMS_BY_NAME(NULL, NULL, '{each}') AS int) AS [{each}]" for each in _SERVER_PERMISSIONS),
    *(f"CAST(HAS_PERMS_BY_NAME('{each}', 'OBJECT', 'SELECT') AS int) AS [SELECT ON {each}]" for each in _READABLE),
    "CAST(HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DATABASE STATE') AS int) AS [VIEW DATABASE STATE]",
))  # fmt: skip
_SQL_SERVER_COLUMNS = """
SELECT CAST(o.name AS nvarchar(128)) AS view_name, CAST(c.name AS nvarchar(128)) AS column_name
FROM sys.all_objects o JOIN sys.all_columns c ON c.object_id = o.object_id
WHERE o.schema_id = 4 AND o.name IN ({names})
"""
AZURE_SQL_DATABASE = "5"
_SQL_SERVER_DATABASES = """
SELECT CAST(name AS nvarchar(128)) AS name, CAST(HAS_DBACCESS(name) AS int) AS accessible
FROM sys.databases WHERE state = 0 ORDER BY name
"""
# Its times are those of its own zone.
_SQL_SERVER_START = """
SELECT DATEADD(minute, DATEDIFF(minute, GETDATE(), GETUTCDATE()), sqlserver_start_time) AS started
FROM sys.dm_os_sys_info
"""


def sql_server_facts(
    run: Run, *, views: Iterable[str] = (), tags: Iterable[str] = (), known: ServerFacts | None = None
) -> ServerFacts:
    """What a SQL Server is; ``server_start`` needs VIEW SERVER STATE and is None without it.

    Args:
        run: Runs a statement.
        views: Those whose columns are asked for, such as ``sys.dm_os_sys_info``.
        tags: Of the monitor.
        known: What it was, of which the columns are taken while the version is the same.
    """
    from gds_monitor.packs.rows import as_time

    basics = run(_SQL_SERVER)[0]
    version, edition = _version(basics["version"]), str(basics["edition"])
    permissions = {name for name, has in run(_SQL_SERVER_PERMISSIONS)[0].items() if has == 1}
    if edition == AZURE_SQL_DATABASE and "VIEW DATABASE STATE" in permissions:
        # It has one database, and of that all that is to be seen.
        permissions |= {"VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONNECT ANY DATABASE"}
    allowed = not permissions.isdisjoint({"VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE"})
    started = run(_SQL_SERVER_START)[0]["started"] if allowed else None
    columns = known.columns if known is not None and known.version == version else _columns(run, views)
    found = run(_SQL_SERVER_DATABASES)
    if all(row["accessible"] == 1 for row in found):
        permissions.add("CONNECT ANY DATABASE")
    one = edition == AZURE_SQL_DATABASE
    return ServerFacts(
        version=version,
        privileges=frozenset(permissions),
        columns=columns,
        settings={"EngineEdition": edition},
        database=basics["database"],
        databases=(basics["database"],) if one else tuple(row["name"] for row in found),
        user=basics["login"],
        tags=frozenset(tags),
        server_start=as_time(started),
    )


def _columns(run: Run, views: Iterable[str]) -> dict[str, frozenset[str]] | None:
    """The columns of views of the schema ``sys``; None where none is asked for."""
    # Names from a pack become literals.
    names = ", ".join("'" + each.partition(".")[2].replace("'", "''") + "'" for each in sorted(views))
    if not names:
        return None
    found: dict[str, set[str]] = {each: set() for each in views}
    for row in run(_SQL_SERVER_COLUMNS.replace("{names}", names)):
        found.setdefault(f"sys.{row['view_name']}", set()).add(row["column_name"])
    return {view: frozenset(columns) for view, columns in found.items()}


_SNOWFLAKE = """
SELECT CURRENT_VERSION() AS VERSION, CURRENT_ROLE() AS ROLE, CURRENT_USER() AS LOGIN, CURRENT_DATABASE() AS HOME
"""
# No warehouse is woken for it, as one would be for INFORMATION_SCHEMA.
_SNOWFLAKE_COLUMNS = "SHOW COLUMNS IN SCHEMA SNOWFLAKE.ACCOUNT_USAGE"
# Which database role of SNOWFLAKE shows a view, told by one that each of them shows.
_VIEWERS = {
    "GOVERNANCE_VIEWER": "QUERY_HISTORY",
    "SECURITY_VIEWER": "LOGIN_HISTORY",
    "USAGE_VIEWER": "WAREHOUSE_METERING_HISTORY",
}


def snowflake_facts(
    run: Run, *, databases: bool = False, tags: Iterable[str] = (), known: ServerFacts | None = None
) -> ServerFacts:
    """What an account of Snowflake is to a role.

    Args:
        run: Runs a statement. What it raises as a `CollectionError` for what the role may not see leaves a gap.
        databases: Whether those that the role may use are listed.
        tags: Of the monitor.
        known: What it was, of which the columns are taken while version and role are the same and nothing is missing.
    """
    basics = run(_SNOWFLAKE)[0]
    version, role = _version(str(basics["VERSION"])), str(basics["ROLE"] or "")
    as_before = known is not None and known.version == version and known.settings["role"] == role
    if known is not None and as_before and known.privileges == frozenset(_VIEWERS):
        columns: Mapping[str, frozenset[str]] = known.columns or {}
    else:
        columns = _account_usage(run)
    shown = {view.rpartition(".")[2] for view in columns}
    listed = run("SHOW DATABASES") if databases else ()
    return ServerFacts(
        version=version,
        privileges=frozenset(viewer for viewer, view in _VIEWERS.items() if view in shown),
        columns=columns,
        settings={"role": role},
        database=str(basics["HOME"] or ""),
        databases=tuple(sorted(str(row["name"]) for row in listed if row["name"] != "SNOWFLAKE")),
        user=str(basics["LOGIN"] or ""),
        tags=frozenset(tags),
    )


def _account_usage(run: Run) -> dict[str, frozenset[str]]:
    """The columns of the views of ACCOUNT_USAGE that a role may see; it may see none."""
    try:
        rows = run(_SNOWFLAKE_COLUMNS)
    except CollectionError as error:
        if error.reason not in {"privilege", "missing_object"}:
            raise
        rows = ()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(f"SNOWFLAKE.ACCOUNT_USAGE.{row['table_name']}", set()).add(str(row["column_name"]))
    return {view: frozenset(names) for view, names in found.items()}


CLUSTER_MONITOR, READ_LOCAL = "clusterMonitor", "read@local"
# What of it packs use; a role of somebody's own may have these as well.
_MONITORING = frozenset({"serverStatus", "replSetGetStatus", "top", "inprog"})
_HAVE_ALL = frozenset({"root", "__system"})


def mongodb_facts(run: Run, *, tags: Iterable[str] = (), known: ServerFacts | None = None) -> ServerFacts:
    """What a MongoDB is: a primary is whatever takes writes, so also a mongos.

    Args:
        run: Runs a command in the database ``admin``; gives its answer as the one row. What it raises as a
            `CollectionError` for want of a privilege leaves a gap: ``server_start``, or the databases.
        tags: Of the monitor.
        known: What it was. ``server_start`` is worked out from how long the server has been up, so it stays as it is
            where it differs by no more than what an answer takes, and the process is the same.
    """
    hello: Mapping[str, Any] = run({"hello": 1})[0]
    built = run({"buildInfo": 1})[0]
    authentication = run({"connectionStatus": 1, "showPrivileges": True})[0].get("authInfo") or {}
    status = _if_allowed(run, {"serverStatus": 1, "repl": 0, "metrics": 0, "locks": 0, "wiredTiger": 0})
    kind = "mongos" if hello.get("msg") == "isdbgrid" else "replica_set" if hello.get("setName") else "standalone"
    kind = "arbiter" if hello.get("arbiterOnly") else kind
    listing = {"listDatabases": 1, "nameOnly": True}
    listed = _if_allowed(run, listing) if kind != "arbiter" else {"databases": ()}
    user: Mapping[str, Any] = next(iter(authentication.get("authenticatedUsers") or ()), {})
    settings = {
        "topology": kind,
        "process": str((hello.get("topologyVersion") or {}).get("processId", "")),
        "authentication_database": str(user.get("db", "admin")),
    }
    began = None
    if status is not None:
        began = datetime.now(timezone.utc) - timedelta(milliseconds=float(status["uptimeMillis"]))
        before = known.server_start if known is not None and known.settings["process"] == settings["process"] else None
        if before is not None and abs(began - before) < _STEADY:
            began = before
    # Without a user either the server asks for none, or nothing is allowed.
    held = _privileges(authentication) if user else {SUPERUSER} if status is not None else set()
    return ServerFacts(
        version=_version(built["version"]),
        role="primary" if hello.get("isWritablePrimary", hello.get("ismaster", True)) else "standby",
        privileges=frozenset(held),
        settings=settings,
        database="admin",
        # Where they may not be listed, that is told of the one that every server has.
        databases=tuple(sorted(each["name"] for each in listed["databases"])) if listed is not None else ("admin",),
        user=str(user.get("user", "")),
        tags=frozenset(tags),
        server_start=began,
    )


def _if_allowed(run: Run, command: Any) -> Mapping[str, Any] | None:
    """The answer to a command; None if it is not allowed."""
    try:
        return run(command)[0]
    except CollectionError as error:
        if error.reason != "privilege":
            raise
        return None


def _privileges(authentication: Mapping[str, Any]) -> set[str]:
    """What of that which packs ask for the roles of a login bring."""
    roles = {(each.get("role"), each.get("db")) for each in authentication.get("authenticatedUserRoles") or ()}
    named = {role for role, _ in roles}
    found = {SUPERUSER} if named & _HAVE_ALL else set()
    cluster: set[str] = set()
    for each in authentication.get("authenticatedUserPrivileges") or ():
        resource, actions = each.get("resource") or {}, set(each.get("actions") or ())
        if resource.get("cluster") or resource.get("anyResource"):
            cluster |= actions
        in_oplog = resource.get("db") == "local" and resource.get("collection") in {"", "oplog.rs"}
        if "find" in actions and (in_oplog or resource.get("anyResource")):
            found.add(READ_LOCAL)
    if named & {"clusterMonitor", "clusterAdmin"} or cluster >= _MONITORING:
        found.add(CLUSTER_MONITOR)
    if "backup" in named or any((role, "local") in roles for role in ("read", "readWrite", "dbOwner")):
        found.add(READ_LOCAL)
    return found


def _version(text: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else (0,)
