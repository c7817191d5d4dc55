"""Who is connected, what they do, and who waits for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_database.engines.postgresql._asking import Ask
from gds_database.engines.postgresql._session import Sql
from gds_database.errors import ConfigurationError, ObjectNotFoundError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_database.engines.postgresql._asking import Question
    from gds_database.engines.postgresql.engine import PostgreSQLEngine
    from gds_database.plan import Step

__all__ = ["kill_steps", "sessions"]

_SHOWN_CHARACTERS = 1000

# Blockers are asked for only where somebody waits: the question takes the lock of all locks.
_SESSIONS = """
SELECT pid, usename::text AS user, datname::text AS database, state, left(query, 2000) AS statement,
  query_start AS started_at, backend_start AS connected_at, xact_start AS transaction_started_at,
  CASE WHEN state = 'active' THEN extract(epoch FROM clock_timestamp() - query_start)::float8 END AS seconds,
  extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
  wait_event_type, wait_event,
  CASE WHEN wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(pid) END AS blockers,
  coalesce(host(client_addr) || ':' || client_port, CASE WHEN client_port = -1 THEN 'local' END) AS client,
  application_name AS application, backend_type, pid = pg_catalog.pg_backend_pid() AS own
FROM pg_catalog.pg_stat_activity
WHERE (%s OR backend_type = 'client backend')
ORDER BY query_start NULLS LAST, pid
"""
_COLUMNS = (
    *("pid", "user", "database", "state", "statement", "started_at", "connected_at", "transaction_started_at"),
    *("seconds", "transaction_seconds", "wait_event_type", "wait_event", "blockers", "client", "application"),
    *("backend_type", "own"),
)


def sessions(redact: Callable[[str], str], *, background: bool = False) -> Question[list[dict[str, Any]]]:
    """Sessions of clients, and the server's own processes if asked for."""
    rows = yield Ask(_SESSIONS, _COLUMNS, (background,))
    return [_told(row, redact) for row in rows]


def _told(row: dict[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    kind, event = row.pop("wait_event_type"), row.pop("wait_event")
    statement = redact(row["statement"] or "")
    return {
        **row,
        "id": str(row["pid"]),
        "statement": statement[:_SHOWN_CHARACTERS],
        "wait": f"{kind}:{event}" if kind and row["state"] != "idle" else None,
        "blocked_by": [str(pid) for pid in dict.fromkeys(row.pop("blockers") or ())],
    }


# Whose end is not that of the server.
_ENDED = ("client backend", "walsender", "autovacuum worker", "parallel worker")
_FIND = """
SELECT pid, backend_start::text AS connected_at, pid = pg_catalog.pg_backend_pid() AS own, backend_type
FROM pg_catalog.pg_stat_activity WHERE pid = %s
"""


def kill_steps(engine: PostgreSQLEngine, process_id: str, *, cancel: bool) -> list[Step]:
    """What ends a session, or only its statement. Another session that has got the same number since is left alone."""
    if not str(process_id).isdecimal() or int(process_id) >= 2**31:
        raise ConfigurationError(f"process_id={process_id!r}: expected a number, as list_processes() has it")
    found = engine._query(_FIND, (int(process_id),), columns=("pid", "connected_at", "own", "backend_type"))
    if not found:
        raise ObjectNotFoundError("session", str(process_id), engine.name)
    (row,) = found
    if row["own"]:
        raise ConfigurationError(f"process_id={process_id!r}: is the session of this engine; close it instead")
    if row["backend_type"] not in _ENDED:
        raise ConfigurationError(
            f"process_id={process_id!r}: is the {row['backend_type']} of the server, not a session"
        )
    function = "pg_cancel_backend" if cancel else "pg_terminate_backend"
    statement = Sql(
        f"SELECT {function}(pid) AS done FROM pg_catalog.pg_stat_activity "  # noqa: S608 - one of two fixed names
        "WHERE pid = %s AND backend_start = %s::timestamptz"
    )
    step = engine._step(statement, (row["pid"], row["connected_at"]), operation="SELECT")

    def run() -> None:
        for each in engine._query(statement, (row["pid"], row["connected_at"]), columns=("done",)):
            if not each["done"]:
                raise QueryError(f"session {process_id}: the server could not signal it")

    return [type(step)(step.shown, run)]


def gone(engine: PostgreSQLEngine, process_id: str) -> bool:
    """Whether the session is no more."""
    return not engine._query(_FIND, (int(process_id),), columns=("pid", "connected_at", "own", "backend_type"))
