"""What SQL Server tells beyond what all engines do: rates, lock targets, transactions, statements, tables, progress.

Everything is asked with a lock timeout, so that nothing queues behind somebody's change of a table. The server has no
time limit for statements: one that takes too long costs the connection, so the statistics of statements, which are as
large as the plan cache, come last, and are asked for once more only if they came in time.
"""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any

from gds_cli.live.rising import Rising
from gds_cli.watch.picture import Lock, Number, Picture, Progress, Session, Space, Statement
from gds_cli.watch.source import EngineSource
from gds_cli.watch.top import Top
from gds_database import ConfigurationError, PrivilegeError, QueryError, StatementTimeoutError

if TYPE_CHECKING:
    from gds_database.engines.mssql import MSSQLEngine

__all__ = ["SQLServerSource"]

STATEMENTS_SECONDS = 10.0
"""How often the statistics of statements are read."""

STATEMENTS_TIMEOUT_SECONDS = 5.0
STATEMENTS = 500
TOP = 60
"""How many of them are shown, and have their text fetched."""

TABLES = 40
TEXT_CHARACTERS = 2000
PAGE_BYTES = 8192
ENOUGH = "GRANT VIEW SERVER STATE (VIEW SERVER PERFORMANCE STATE from 2022 on) TO this login"

_SERVER = """
SELECT @@SPID AS mine, DB_NAME() AS database_name,
  CAST(HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE') AS int) AS state,
  CAST(HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE') AS int) AS performance,
  (SELECT CAST(value_in_use AS int) FROM sys.configurations WHERE name = 'user connections') AS max_connections
"""
_SYSTEM = """
SELECT DATEDIFF_BIG(second, sqlserver_start_time, GETDATE()) AS uptime,
  process_kernel_time_ms + process_user_time_ms AS cpu_ms FROM sys.dm_os_sys_info
"""
_COUNTERS = """
SELECT RTRIM(counter_name) AS counter_name, cntr_value FROM sys.dm_os_performance_counters
WHERE RTRIM(instance_name) IN ('', '_Total') AND RTRIM(counter_name) IN ('Batch Requests/sec', 'SQL Compilations/sec',
  'Transactions/sec', 'Log Bytes Flushed/sec', 'Page reads/sec', 'Number of Deadlocks/sec', 'Page life expectancy',
  'Buffer cache hit ratio', 'Buffer cache hit ratio base', 'Total Server Memory (KB)', 'Memory Grants Pending')
"""
_GROWING = ("batch requests/sec", "sql compilations/sec", "transactions/sec", "log bytes flushed/sec",
            "page reads/sec", "number of deadlocks/sec")  # fmt: skip

_TRANSACTIONS = """
SELECT s.session_id, MAX(DATEDIFF_BIG(millisecond, t.transaction_begin_time, GETDATE())) AS open_ms
FROM sys.dm_tran_session_transactions AS s
  JOIN sys.dm_tran_active_transactions AS t ON t.transaction_id = s.transaction_id
WHERE s.is_user_transaction = 1 GROUP BY s.session_id
"""
# Only where somebody waits.
_LOCKS = """
SELECT session_id, wait_type, RTRIM(wait_resource) AS resource FROM sys.dm_exec_requests
WHERE blocking_session_id <> 0 AND wait_type IS NOT NULL
"""

_STATEMENTS = """
SELECT TOP ({limit}) CONVERT(nvarchar(18), query_hash, 1) AS id, SUM(execution_count) AS calls,
  SUM(total_elapsed_time) AS elapsed_us, SUM(total_rows) AS row_count, SUM(total_physical_reads) AS physical,
  SUM(total_logical_reads) AS logical
FROM sys.dm_exec_query_stats GROUP BY query_hash ORDER BY SUM(total_elapsed_time) DESC
"""
_TEXTS = """
SELECT CONVERT(nvarchar(18), q.query_hash, 1) AS id, MIN(DB_NAME(t.dbid)) AS database_name,
  MIN(SUBSTRING(t.text, CAST(q.statement_start_offset / 2 AS int) + 1, CASE
    WHEN q.statement_end_offset - q.statement_start_offset BETWEEN 1 AND {length} * 2
    THEN CAST((q.statement_end_offset - q.statement_start_offset) / 2 AS int) + 1 ELSE {length} END)) AS text
FROM sys.dm_exec_query_stats AS q CROSS APPLY sys.dm_exec_sql_text(q.sql_handle) AS t
WHERE CONVERT(nvarchar(18), q.query_hash, 1) IN ({ids}) GROUP BY q.query_hash
"""
_ID = re.compile(r"0x[0-9A-Fa-f]{1,16}")

_DATABASES = """
SELECT d.name, SUM(CAST(f.size AS bigint)) AS pages
FROM sys.databases AS d LEFT JOIN sys.master_files AS f ON f.database_id = d.database_id GROUP BY d.name
"""
_TABLES = """
SELECT TOP ({limit}) s.name AS schema_name, t.name AS table_name, SUM(p.reserved_page_count) AS pages,
  SUM(CASE WHEN p.index_id < 2 THEN p.row_count ELSE 0 END) AS row_count
FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id
  JOIN sys.dm_db_partition_stats AS p ON p.object_id = t.object_id
GROUP BY s.name, t.name ORDER BY SUM(p.reserved_page_count) DESC, s.name, t.name
"""


class SQLServerSource(EngineSource):
    """A SQL Server of version 2016 or newer."""

    engine: MSSQLEngine
    interval_seconds = 1.0
    tells = frozenset({"activity", "blocking", "waits", "statements", "replication", "space", "progress"})

    def __init__(self, engine: MSSQLEngine) -> None:
        # Kept when the connection is lost: it may have been lost by this.
        self._too_slow = ""
        super().__init__(engine, "mssql")

    def _start(self) -> None:
        super()._start()
        self._uptime = 0.0
        self._texts: dict[str, tuple[str, str]] = {}
        self._mine = ""
        self._progressing: tuple[Progress, ...] = ()
        self._renew()

    def _renew(self) -> None:
        """Counters begin anew with the server."""
        self._counters = Rising[str]()
        self._values: dict[str, float] = {}
        self._statements = Top()
        self._sizes.clear()

    def _picture(self) -> Picture:
        (server,) = self.engine.read(
            _SERVER, columns=("mine", "database_name", "state", "performance", "max_connections")
        )
        self._mine = str(server["mine"])
        uptime: float | None = None
        with self.part("numbers"):
            uptime = self._count()
        role, replicas = self.replication()
        sessions: tuple[Session, ...] = ()
        with self.part("activity"):
            sessions = self.sessions()
            if not (server["state"] or server["performance"]):
                self._missing["activity"] = f"others' sessions are hidden; {ENOUGH} shows them"
        space = self.slowly("space", self._space, ())
        return Picture(
            at=time.time(),
            system=self.system,
            name=f"{self.engine.name}/{server['database_name']}",
            version=self._version,
            role=role or "standalone",
            uptime_seconds=uptime,
            readings=self._readings,
            max_sessions=int(server["max_connections"] or 0) or None,
            numbers=self._numbers(space),
            sessions=sessions,
            waits=self.waits(sessions),
            replicas=replicas,
            space=space,
            progress=self._progressing,
            statements=self.slowly("statements", self._top, (), STATEMENTS_SECONDS),
            missing=self._missing,
            tells=self.tells,
        )

    # ------------------------------------------------------------------ numbers
    def _count(self) -> float:
        """Take the counters; how long the server is up, in seconds."""
        (system,) = self.engine.read(_SYSTEM, columns=("uptime", "cpu_ms"))
        rows = self.engine.read(_COUNTERS, columns=("counter_name", "cntr_value"))
        uptime = float(system["uptime"])
        # Two seconds, for it counts the beginnings of seconds.
        if uptime + 2 < self._uptime:
            self._renew()
        self._uptime = uptime
        self._values = {str(row["counter_name"]).lower(): float(row["cntr_value"]) for row in rows}
        counted = {name: self._values[name] for name in _GROWING if name in self._values}
        self._counters.feed(time.monotonic(), {**counted, "cpu": float(system["cpu_ms"]) / 1000})
        return uptime

    def _numbers(self, space: tuple[Space, ...]) -> tuple[Number, ...]:
        known, lasted = set(self._counters), self._counters.seconds

        def speed(name: str) -> float | None:
            return self._counters.grown(name) / lasted if lasted > 0 and name in known else None

        hits, looked = self._values.get("buffer cache hit ratio"), self._values.get("buffer cache hit ratio base")
        memory = self._values.get("total server memory (kb)")
        processors = speed("cpu")
        deadlocks = self._counters.grown("number of deadlocks/sec") if lasted > 0 else None
        pending = self._values.get("memory grants pending")
        sizes = [each.size_bytes or 0.0 for each in space if each.kind == "database"]
        return (
            Number("batches", speed("batch requests/sec"), "/s"),
            Number("transactions", speed("transactions/sec"), "/s"),
            Number("compilations", speed("sql compilations/sec"), "/s"),
            Number("page reads", speed("page reads/sec"), "/s"),
            Number("cache hits", 100 * hits / looked if hits is not None and looked else None, "%"),
            Number("log", speed("log bytes flushed/sec"), "By/s"),
            Number("CPU of one core", 100 * processors if processors is not None else None, "%"),
            Number("deadlocks", deadlocks, "", trouble=bool(deadlocks)),
            Number("page life", self._values.get("page life expectancy"), ""),
            Number("grants waiting", pending, "", trouble=bool(pending)),
            Number("memory", memory * 1024 if memory is not None else None, "By"),
            Number("size", sum(sizes) if sizes else None, "By"),
        )

    # ------------------------------------------------------------------ parts
    def sessions(self) -> tuple[Session, ...]:
        """Those of users, with how long their transactions are open and what they wait for."""
        rows = self.engine.list_processes()
        self._progressing = tuple(
            Progress(str(row["id"]), str(row["command"] or ""), str(row["database"] or ""), str(row["wait"] or ""),
                     min(1.0, float(row["percent_complete"]) / 100))
            for row in rows if row["percent_complete"]
        )  # fmt: skip
        opened: dict[str, float] = {}
        if any(row["open_transactions"] for row in rows):
            try:
                found = self.engine.read(_TRANSACTIONS, columns=("session_id", "open_ms"))
                opened = {str(row["session_id"]): float(row["open_ms"]) / 1000 for row in found}
            except PrivilegeError:  # who may not ask sees his own session alone, and is told so
                opened = {}
        sessions = [self._session(row, opened) for row in rows]
        if not any(each.blocked_by for each in sessions):
            return tuple(sessions)
        locks: dict[str, Lock] = {}
        with self.part("blocking"):
            for row in self.engine.read(_LOCKS, columns=("session_id", "wait_type", "resource")):
                mode = str(row["wait_type"]).removeprefix("LCK_M_")
                locks.setdefault(str(row["session_id"]), Lock(mode, str(row["resource"] or "") or "a resource"))
        return tuple(dataclasses.replace(each, lock=locks.get(each.id)) for each in sessions)

    def _session(self, row: dict[str, Any], opened: dict[str, float]) -> Session:
        found = self.session(row)
        asleep = found.seconds is None and row["open_transactions"]
        return dataclasses.replace(
            found,
            kind="",
            own=found.id == self._mine,
            transaction_seconds=opened.get(found.id),
            # Who keeps a transaction open and asks for nothing is what others wait for.
            state="idle in transaction" if asleep else found.state,
        )

    def _top(self) -> tuple[Statement, ...]:
        if self._too_slow:
            raise QueryError(self._too_slow)
        columns = ("id", "calls", "elapsed_us", "row_count", "physical", "logical")
        try:
            rows = self.engine.read(
                _STATEMENTS.format(limit=STATEMENTS), columns=columns, timeout_seconds=STATEMENTS_TIMEOUT_SECONDS
            )
            top = self._statements.of(
                (
                    Statement(
                        str(row["id"]),
                        "",
                        "",
                        float(row["calls"] or 0),
                        float(row["elapsed_us"] or 0) / 1e6,
                        float(row["row_count"] or 0),
                        float(row["physical"] or 0),
                        max(0.0, float(row["logical"] or 0) - float(row["physical"] or 0)),
                    )
                    for row in rows
                    if row["id"] is not None
                ),
                TOP,
            )
            self._fetch([each.id for each in top if each.id not in self._texts and _ID.fullmatch(each.id)])
        except StatementTimeoutError:
            self._too_slow = f"the plan cache takes longer than {STATEMENTS_TIMEOUT_SECONDS:g} s to read; left out"
            raise QueryError(self._too_slow) from None
        if len(self._texts) > 10 * TOP:
            self._texts = {each.id: self._texts.get(each.id, ("", "")) for each in top}
        return tuple(
            dataclasses.replace(each, text=text, database=database)
            for each in top
            for text, database in [self._texts.get(each.id, ("", ""))]
        )

    def _fetch(self, ids: list[str]) -> None:
        """The texts of these, which are numbers in hexadecimal."""
        if not ids:
            return
        rows = self.engine.read(
            _TEXTS.format(length=TEXT_CHARACTERS, ids=", ".join(f"'{each}'" for each in ids)),
            columns=("id", "database_name", "text"),
            timeout_seconds=STATEMENTS_TIMEOUT_SECONDS,
        )
        for row in rows:
            self._texts[str(row["id"])] = (self.redact(str(row["text"] or "")), str(row["database_name"] or ""))

    def _space(self) -> tuple[Space, ...]:
        found = []
        for row in self.engine.read(_DATABASES, columns=("name", "pages")):
            size = None if row["pages"] is None else float(row["pages"]) * PAGE_BYTES
            found.append(Space("database", row["name"], size, self.growth(f"database {row['name']}", size)))
        found.sort(key=lambda each: (-(each.size_bytes or 0.0), each.name))
        with self.part("space"):
            columns = ("schema_name", "table_name", "pages", "row_count")
            for row in self.engine.read(_TABLES.format(limit=TABLES), columns=columns):
                name = f"{row['schema_name']}.{row['table_name']}"
                size = float(row["pages"] or 0) * PAGE_BYTES
                growth = self.growth(f"table {name}", size)
                found.append(Space("table", name, size, growth, float(row["row_count"] or 0)))
        return tuple(found)

    # ------------------------------------------------------------------ change
    def end(self, session: Session, *, cancel: bool) -> str:
        """End a session; SQL Server has no way to end a statement alone."""
        if cancel:
            raise QueryError("SQL Server has no way to end a statement alone; K ends the session")
        if self.still(session).own:
            raise ConfigurationError("it is the session of this view; q ends it")
        return self._ended(self.engine.kill_process(session.id))
