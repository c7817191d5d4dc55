"""What PostgreSQL tells beyond what all engines do: lock targets, statements, rates, tables, progress.

No question here waits for a lock of a table: sizes are asked for where nobody has taken the table for himself.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from gds_cli.live.rising import Rising
from gds_cli.watch.picture import Lock, Number, Picture, Progress, Session, Space, Statement
from gds_cli.watch.source import EngineSource
from gds_cli.watch.top import Top
from gds_database import ConfigurationError, QueryError

if TYPE_CHECKING:
    from gds_database.engines.postgresql import PostgreSQLEngine

__all__ = ["PostgreSQLSource"]

STATEMENTS_SECONDS = 4.0
"""How often the statistics of statements are read."""

STATEMENTS = 500
TOP = 60
"""How many of them are shown, and have their text fetched."""

TABLES = 40
TEXT_CHARACTERS = 2000

_SERVER = """
SELECT current_database()::text AS database, pg_catalog.pg_is_in_recovery() AS standby,
  current_setting('server_version_num')::int AS number,
  current_setting('max_connections')::int AS max_connections,
  extract(epoch FROM pg_catalog.pg_postmaster_start_time())::float8 AS began,
  extract(epoch FROM clock_timestamp() - pg_catalog.pg_postmaster_start_time())::float8 AS uptime,
  sum(xact_commit)::float8 AS commits, sum(xact_rollback)::float8 AS rollbacks,
  sum(blks_hit)::float8 AS hit, sum(blks_read)::float8 AS read,
  sum(tup_fetched + tup_returned)::float8 AS fetched, sum(tup_inserted)::float8 AS inserted,
  sum(tup_updated)::float8 AS updated, sum(tup_deleted)::float8 AS deleted,
  sum(temp_bytes)::float8 AS temp, sum(deadlocks)::float8 AS deadlocks,
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
    ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::float8 END AS wal,
  (SELECT max(pg_catalog.age(datfrozenxid)) FROM pg_catalog.pg_database)::float8 AS xid_age,
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all
FROM pg_catalog.pg_stat_database
"""
_COUNTED = (
    "commits",
    "rollbacks",
    "hit",
    "read",
    "fetched",
    "inserted",
    "updated",
    "deleted",
    "temp",
    "deadlocks",
    "wal",
)

# Only where somebody waits: it takes every partition of the lock table in turn.
_LOCKS = """
SELECT pid, mode, locktype AS kind,
  CASE WHEN relation IS NOT NULL AND database = (SELECT oid FROM pg_catalog.pg_database
      WHERE datname = current_database()) THEN relation::regclass::text
    WHEN relation IS NOT NULL THEN 'table ' || relation
    WHEN locktype = 'transactionid' THEN 'transaction ' || transactionid
    WHEN locktype = 'virtualxid' THEN 'transaction ' || virtualxid
    WHEN locktype = 'advisory' THEN 'advisory ' || concat_ws(':', classid, objid) ELSE locktype END AS target
FROM pg_catalog.pg_locks WHERE NOT granted
"""

_EXTENSION = """
SELECT quote_ident(n.nspname) AS schema, e.extversion AS version
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_STATEMENTS = """
SELECT s.userid::text || '/' || s.dbid || '/' || s.queryid AS id, d.datname::text AS database,
  sum(s.calls)::float8 AS calls, sum(s.{time})::float8 / 1000 AS seconds, sum(s.rows)::float8 AS rows,
  sum(s.shared_blks_read)::float8 AS read, sum(s.shared_blks_hit)::float8 AS hit
FROM {schema}.pg_stat_statements(false) s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE s.queryid IS NOT NULL GROUP BY 1, 2 ORDER BY 4 DESC LIMIT {limit}
"""
_TEXTS = """
SELECT userid::text || '/' || dbid || '/' || queryid AS id, left(min(query), {length}) AS text
FROM {schema}.pg_stat_statements(true)
WHERE userid::text || '/' || dbid || '/' || queryid = ANY(%s) GROUP BY 1
"""

_DATABASES = """
SELECT datname::text AS name, CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT')
    OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER') THEN pg_catalog.pg_database_size(oid) END::float8 AS size
FROM pg_catalog.pg_database WHERE NOT datistemplate ORDER BY 2 DESC NULLS LAST, 1 LIMIT 100
"""
_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
  CASE WHEN locked.relation IS NULL THEN pg_catalog.pg_total_relation_size(c.oid) END::float8 AS size,
  pg_catalog.pg_stat_get_live_tuples(c.oid)::float8 AS live, pg_catalog.pg_stat_get_dead_tuples(c.oid)::float8 AS dead,
  pg_catalog.pg_stat_get_numscans(c.oid)::float8 AS scans,
  extract(epoch FROM clock_timestamp() - greatest(pg_catalog.pg_stat_get_last_vacuum_time(c.oid),
    pg_catalog.pg_stat_get_last_autovacuum_time(c.oid)))::float8 AS vacuumed
FROM (SELECT * FROM pg_catalog.pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
        AND relnamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace
          WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast'))
      ORDER BY relpages DESC, pg_catalog.pg_stat_get_live_tuples(oid) DESC LIMIT {limit}) c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN (SELECT DISTINCT relation FROM pg_catalog.pg_locks WHERE mode = 'AccessExclusiveLock'
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) locked
    ON locked.relation = c.oid
ORDER BY 2 DESC NULLS LAST, 1
"""

_COLUMNS = "(pid, command, relid, datid, phase, done, total)"
# What the columns are, and the view; by the version that has it.
_PROGRESS: tuple[tuple[int, str, str], ...] = (
    (0, "pid, 'VACUUM', relid, datid, phase, heap_blks_scanned, heap_blks_total", "vacuum"),
    (
        0,
        "pid, command, relid, datid, phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)",
        "create_index",
    ),
    (0, "pid, command, relid, datid, phase, heap_blks_scanned, heap_blks_total", "cluster"),
    (130000, "pid, 'ANALYZE', relid, datid, phase, sample_blks_scanned, sample_blks_total", "analyze"),
    (130000, "pid, 'BASE BACKUP', NULL, NULL, phase, backup_streamed, backup_total", "basebackup"),
    (140000, "pid, command, relid, datid, type, bytes_processed, bytes_total", "copy"),
)


class PostgreSQLSource(EngineSource):
    """A PostgreSQL of version 12 or newer."""

    engine: PostgreSQLEngine
    interval_seconds = 1.0
    tells = frozenset({"activity", "blocking", "waits", "statements", "replication", "space", "progress"})

    def __init__(self, engine: PostgreSQLEngine) -> None:
        super().__init__(engine, "postgresql")

    def _start(self) -> None:
        super()._start()
        self._began: float | None = None
        self._texts: dict[str, str] = {}
        self._renew()

    def _renew(self) -> None:
        """Counters begin anew with the server."""
        self._counters = Rising[str]()
        self._statements = Top()
        self._sizes.clear()

    def _ask(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        return self.engine.read(statement, params)

    def _picture(self) -> Picture:
        (server,) = self._ask(_SERVER)
        if self._began is not None and abs(server["began"] - self._began) > 1.0:
            self._renew()
        self._began = server["began"]
        # What this session itself does is among it: a few transactions a second.
        self._counters.feed(time.monotonic(), {name: server[name] for name in _COUNTED if server[name] is not None})
        role, replicas = self.replication()
        sessions: tuple[Session, ...] = ()
        with self.part("activity"):
            sessions = self.sessions()
            if not server["sees_all"]:
                self._missing["activity"] = "others' statements are hidden; GRANT pg_monitor TO this user shows them"
        databases = self.slowly("space", self._space, ())
        progress: tuple[Progress, ...] = ()
        with self.part("progress"):
            progress = self._progress(server["number"])
        return Picture(
            at=time.time(),
            system=self.system,
            name=f"{self.engine.name}/{server['database']}",
            version=self._version,
            role="standby" if server["standby"] else role or "primary",
            uptime_seconds=server["uptime"],
            readings=self._readings,
            max_sessions=server["max_connections"],
            numbers=self._numbers(server, databases),
            sessions=sessions,
            waits=self.waits(sessions),
            statements=self.slowly("statements", self._top, (), STATEMENTS_SECONDS),
            replicas=replicas,
            space=databases,
            progress=progress,
            missing=self._missing,
            tells=self.tells,
        )

    def _numbers(self, server: dict[str, Any], space: tuple[Space, ...]) -> tuple[Number, ...]:
        def speed(*names: str) -> float | None:
            if self._counters.seconds <= 0 or any(name not in set(self._counters) for name in names):
                return None
            return sum(self._counters.grown(name) for name in names) / self._counters.seconds

        hit, read = self._counters.grown("hit"), self._counters.grown("read")
        databases = [each for each in space if each.kind == "database"]
        size = sum(each.size_bytes or 0.0 for each in databases) if databases else None
        deadlocks = self._counters.grown("deadlocks")
        return (
            Number("commits", speed("commits"), "/s"),
            Number("rollbacks", speed("rollbacks"), "/s"),
            Number("inserted", speed("inserted"), "/s"),
            Number("updated", speed("updated"), "/s"),
            Number("deleted", speed("deleted"), "/s"),
            Number("read", speed("fetched"), "/s"),
            Number("cache hits", 100 * hit / (hit + read) if hit + read else None, "%"),
            Number("WAL", speed("wal"), "By/s"),
            Number("temporary files", speed("temp"), "By/s"),
            Number("deadlocks", deadlocks if self._counters.seconds > 0 else None, "", trouble=deadlocks > 0),
            Number("size", size, "By"),
            Number("oldest xid", server["xid_age"], "", trouble=server["xid_age"] > 1e9),
        )

    # ------------------------------------------------------------------ parts
    def sessions(self) -> tuple[Session, ...]:
        """Those of clients and of the server, with what they wait for."""
        found = tuple(self.session(row) for row in self.engine.list_processes(background=True))
        if not any(each.blocked_by for each in found):
            return found
        locks: dict[str, Lock] = {}
        with self.part("blocking"):
            for row in self._ask(_LOCKS):
                locks.setdefault(str(row["pid"]), Lock(row["mode"], row["target"]))
        return tuple(dataclasses.replace(each, lock=locks.get(each.id)) for each in found)

    def _top(self) -> tuple[Statement, ...]:
        extension = self._ask(_EXTENSION)
        if not extension:
            raise QueryError(
                "pg_stat_statements is not in this database; with it in shared_preload_libraries, "
                "CREATE EXTENSION pg_stat_statements shows them"
            )
        schema, version = extension[0]["schema"], extension[0]["version"]
        spent = "total_exec_time" if tuple(map(int, version.split("."))) >= (1, 8) else "total_time"
        rows = self._ask(_STATEMENTS.format(schema=schema, time=spent, limit=STATEMENTS))
        top = self._statements.of(
            (
                Statement(
                    row["id"],
                    "",
                    row["database"] or "",
                    row["calls"],
                    row["seconds"],
                    row["rows"],
                    row["read"],
                    row["hit"],
                )
                for row in rows
            ),
            TOP,
        )
        unknown = [each.id for each in top if each.id not in self._texts]
        if unknown:
            asked = self._ask(_TEXTS.format(schema=schema, length=TEXT_CHARACTERS), unknown)
            self._texts |= {each["id"]: self.redact(each["text"] or "") for each in asked}
        if len(self._texts) > 10 * TOP:
            self._texts = {each.id: self._texts.get(each.id, "") for each in top}
        return tuple(dataclasses.replace(each, text=self._texts.get(each.id, "")) for each in top)

    def _space(self) -> tuple[Space, ...]:
        found = [
            Space("database", row["name"], row["size"], self.growth(f"database {row['name']}", row["size"]))
            for row in self._ask(_DATABASES)
        ]
        with self.part("space"):
            for row in self._ask(_TABLES.format(limit=TABLES)):
                growth = self.growth(f"table {row['name']}", row["size"])
                found.append(
                    Space(
                        "table",
                        row["name"],
                        row["size"],
                        growth,
                        row["live"],
                        row["dead"],
                        row["vacuumed"],
                        row["scans"],
                    )
                )
        return tuple(found)

    def _progress(self, number: int) -> tuple[Progress, ...]:
        views = " UNION ALL ".join(
            f"SELECT {columns} FROM pg_catalog.pg_stat_progress_{view}"  # noqa: S608 - fixed names
            for since, columns, view in _PROGRESS
            if number >= since
        )
        rows = self._ask(
            "SELECT pid, command, CASE WHEN datid = (SELECT oid FROM pg_catalog.pg_database "  # noqa: S608
            "WHERE datname = current_database()) THEN relid::regclass::text ELSE coalesce('table ' || relid, '') END "
            f"AS target, phase, done::float8 AS done, total::float8 AS total FROM ({views}) p {_COLUMNS}"
        )
        return tuple(
            Progress(
                str(row["pid"]),
                row["command"],
                row["target"] or "",
                row["phase"] or "",
                min(1.0, row["done"] / row["total"]) if row["total"] and row["done"] is not None else None,
            )
            for row in rows
        )

    # ------------------------------------------------------------------ change
    def end(self, session: Session, *, cancel: bool) -> str:
        """End a session, or only its statement; not another one that has got its number since."""
        now = self.still(session)
        if now.own:
            raise ConfigurationError("it is the session of this view; q ends it")
        return self._ended(self.engine.kill_process(session.id, cancel=cancel))
