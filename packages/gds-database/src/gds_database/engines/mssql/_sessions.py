"""Sessions: what they do, what they wait for, who keeps them waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_database.engines._base import operation
from gds_database.engines.mssql._server import SqlServerBase, utc
from gds_database.errors import ConfigurationError, ObjectNotFoundError

if TYPE_CHECKING:
    from gds_database.base import OperationResult

__all__ = ["Sessions"]

LONGEST_STATEMENT = 1000

_COLUMNS = (
    *("session_id", "login_name", "host_name", "program_name", "host_process_id", "session_status", "login_time"),
    *("open_transaction_count", "database_name", "command", "request_status", "start_time", "blocking_session_id"),
    *("wait_type", "wait_time", "percent_complete", "elapsed_ms", "last_request_end_time", "client_net_address"),
    *("statement_bytes", "statement"),
)
# The statement that runs, not the batch that it is in; and no more of it than is shown.
_QUERY = f"""SELECT s.session_id, s.login_name, s.host_name, s.program_name, s.host_process_id,
 s.status AS session_status, s.login_time, s.open_transaction_count, DB_NAME(s.database_id) AS database_name,
 r.command, r.status AS request_status, r.start_time, r.blocking_session_id, r.wait_type, r.wait_time,
 r.percent_complete, r.total_elapsed_time AS elapsed_ms, s.last_request_end_time, c.client_net_address,
 r.statement_end_offset - r.statement_start_offset AS statement_bytes,
 SUBSTRING(t.text, CAST(COALESCE(r.statement_start_offset, 0) / 2 AS int) + 1, {LONGEST_STATEMENT}) AS statement
 FROM sys.dm_exec_sessions AS s
 LEFT JOIN sys.dm_exec_requests AS r ON r.session_id = s.session_id
 LEFT JOIN sys.dm_exec_connections AS c ON c.session_id = s.session_id AND c.parent_connection_id IS NULL
 OUTER APPLY sys.dm_exec_sql_text(COALESCE(r.sql_handle, c.most_recent_sql_handle)) AS t
 WHERE s.is_user_process = 1 ORDER BY s.session_id"""  # noqa: S608 - a number that is ours
# What blocks and is no session.
_NOBODY = {
    -2: "an orphaned distributed transaction",
    -3: "a transaction whose recovery is deferred",
    -4: "a latch whose owner is not known",
    -5: "a latch whose owner is not tracked",
}


class Sessions(SqlServerBase):
    """Who is there."""

    def list_processes(self) -> list[dict[str, Any]]:
        """All sessions of users; without VIEW SERVER STATE only the login's own.

        Each has ``id``, ``user``, ``database``, ``state``, ``statement`` (of a sleeping session its last one),
        ``started_at``, ``seconds``, ``wait``, ``wait_seconds``, ``blocked_by``, ``client``, ``application``,
        ``connected_at``, ``command``, ``percent_complete``, ``open_transactions`` and ``blocked_by_other``.
        """
        zone = self._zone()
        rows = self._read(_QUERY, columns=_COLUMNS)
        return [self._process(row, zone) for row in rows]

    def _process(self, row: dict[str, Any], zone: Any) -> dict[str, Any]:
        statement = row["statement"]
        if statement is not None:
            length = int(row["statement_bytes"] or 0) // 2
            if length > 0:
                statement = statement[: length + 1]
            statement = self._secrets.redact(statement)[:LONGEST_STATEMENT]
        blocker = int(row["blocking_session_id"] or 0)
        return {
            "id": str(row["session_id"]),
            "user": row["login_name"],
            "database": row["database_name"],
            "state": row["request_status"] or row["session_status"],
            "statement": statement,
            "started_at": utc(row["start_time"], zone) if row["start_time"] else None,
            "seconds": float(row["elapsed_ms"]) / 1000 if row["elapsed_ms"] is not None else None,
            "wait": row["wait_type"],
            "wait_seconds": float(row["wait_time"]) / 1000 if row["wait_type"] else None,
            "blocked_by": [str(blocker)] if blocker > 0 else [],
            "blocked_by_other": _NOBODY.get(blocker),
            "client": row["client_net_address"] or row["host_name"],
            "client_process": row["host_process_id"],
            "application": row["program_name"],
            "connected_at": utc(row["login_time"], zone) if row["login_time"] else None,
            "idle_since": utc(row["last_request_end_time"], zone)
            if row["request_status"] is None and row["last_request_end_time"]
            else None,
            "command": row["command"],
            "percent_complete": row["percent_complete"] or None,
            "open_transactions": int(row["open_transaction_count"] or 0),
        }

    @operation
    def kill_process(self, process_id: str, *, dry_run: bool = False) -> OperationResult:
        """End a session and undo what it has not committed, which may take as long as it took.

        Args:
            process_id: As `list_processes` has it.
            dry_run: Show what would run.
        """
        text = str(process_id)
        if not text.isascii() or not text.isdigit() or len(text) > 5:
            raise ConfigurationError(f"process_id={process_id!r}: expected the number of a session, such as '57'")
        rows = self._read(
            "SELECT is_user_process, @@SPID AS mine FROM sys.dm_exec_sessions WHERE session_id = @p1",
            (int(text),),
            columns=("is_user_process", "mine"),
        )
        if not rows:
            raise ObjectNotFoundError("session", text, self.name)
        if int(rows[0]["mine"]) == int(text):
            raise ConfigurationError(f"process_id={process_id!r}: is the session of this connection")
        if not rows[0]["is_user_process"]:
            raise ConfigurationError(f"process_id={process_id!r}: is a session of the server itself")
        return self._carry_out(f"ended session {text}", [self._step(f"KILL {int(text)}")], dry_run=dry_run)
