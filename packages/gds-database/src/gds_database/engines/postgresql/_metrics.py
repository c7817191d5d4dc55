"""What the server counts, read once: it keeps no history of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_database.metadata import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from gds_database.engines.postgresql.engine import PostgreSQLEngine

__all__ = ["sample"]

# Name, unit, column of pg_stat_database; names and units are OpenTelemetry's where it has them.
_DATABASE: tuple[tuple[str, str, str], ...] = (
    ("postgresql.backends", "1", "numbackends"),
    ("postgresql.commits", "1", "xact_commit"),
    ("postgresql.rollbacks", "1", "xact_rollback"),
    ("postgresql.blks_read", "1", "blks_read"),
    ("postgresql.blks_hit", "1", "blks_hit"),
    ("postgresql.tup_returned", "1", "tup_returned"),
    ("postgresql.tup_fetched", "1", "tup_fetched"),
    ("postgresql.tup_inserted", "1", "tup_inserted"),
    ("postgresql.tup_updated", "1", "tup_updated"),
    ("postgresql.tup_deleted", "1", "tup_deleted"),
    ("postgresql.deadlocks", "{deadlock}", "deadlocks"),
    ("postgresql.conflicts", "{conflict}", "conflicts"),
    ("postgresql.temp_files", "{temp_file}", "temp_files"),
    ("postgresql.temp.io", "By", "temp_bytes"),
    ("postgresql.transaction.age", "{transaction}", "age"),
    ("postgresql.db_size", "By", "size"),
)
_COUNTED = [column for _, _, column in _DATABASE if column not in {"age", "size"}]
_DATABASES = f"""
SELECT d.datname::text AS name, {", ".join(f"s.{column}" for column in _COUNTED)},
  pg_catalog.age(d.datfrozenxid) AS age,
  CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
    OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER') THEN pg_catalog.pg_database_size(d.oid) END AS size
FROM pg_catalog.pg_stat_database s JOIN pg_catalog.pg_database d ON d.oid = s.datid
WHERE NOT d.datistemplate
"""  # noqa: S608 - fixed names
_DATABASE_COLUMNS = ("name", *_COUNTED, "age", "size")
_SERVER = """
SELECT clock_timestamp() AS now, current_setting('max_connections')::int AS max_connections,
  current_setting('superuser_reserved_connections')::int AS reserved,
  extract(epoch FROM clock_timestamp() - pg_catalog.pg_postmaster_start_time())::float8 AS uptime,
  (SELECT count(*) FROM pg_catalog.pg_database WHERE NOT datistemplate)::int AS databases,
  pg_catalog.pg_is_in_recovery()::int AS standby
"""
_SERVER_COLUMNS = ("now", "max_connections", "reserved", "uptime", "databases", "standby")
_SESSIONS = """
SELECT coalesce(state, 'unknown') AS state, coalesce(wait_event_type, 'none') AS wait, count(*)::int AS sessions,
  coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS oldest
FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2
"""
_LOCKS = """
SELECT mode, granted::text AS granted, count(*)::int AS locks FROM pg_catalog.pg_locks GROUP BY 1, 2
"""
_WRITER = """
SELECT checkpoints_timed AS timed, checkpoints_req AS requested, checkpoint_write_time AS write_ms,
  checkpoint_sync_time AS sync_ms, buffers_checkpoint, buffers_clean, maxwritten_clean, buffers_alloc
FROM pg_catalog.pg_stat_bgwriter
"""
# 17 and newer.
_WRITER_17 = """
SELECT c.num_timed AS timed, c.num_requested AS requested, c.write_time AS write_ms, c.sync_time AS sync_ms,
  c.buffers_written AS buffers_checkpoint, b.buffers_clean, b.maxwritten_clean, b.buffers_alloc
FROM pg_catalog.pg_stat_bgwriter b, pg_catalog.pg_stat_checkpointer c
"""
_WRITER_COLUMNS = (
    *("timed", "requested", "write_ms", "sync_ms", "buffers_checkpoint", "buffers_clean", "maxwritten_clean"),
    "buffers_alloc",
)
_WAL = "SELECT wal_records AS records, wal_fpi AS pages, wal_bytes AS bytes FROM pg_catalog.pg_stat_wal"


def sample(engine: PostgreSQLEngine) -> tuple[datetime, list[Metric]]:
    """The server's time, and all metrics at it."""
    (server,) = engine._query(_SERVER, columns=_SERVER_COLUMNS)
    now = server["now"]
    instance = {"instance_id": engine.name}

    def metric(name: str, unit: str, value: Any, **labels: str) -> Metric:
        named = {label.replace("__", "."): text for label, text in labels.items()}
        return Metric(name, float(value), unit, now, {**instance, **named})

    found = [
        metric("postgresql.connection.max", "{connection}", server["max_connections"]),
        metric("postgresql.connection.reserved", "{connection}", server["reserved"]),
        metric("postgresql.uptime", "s", server["uptime"]),
        metric("postgresql.database.count", "{database}", server["databases"]),
        metric("postgresql.standby", "1", server["standby"]),
    ]
    for row in engine._query(_DATABASES, columns=_DATABASE_COLUMNS):
        found += [
            metric(name, unit, row[column], db__namespace=row["name"])
            for name, unit, column in _DATABASE
            if row[column] is not None
        ]
    for row in engine._query(_SESSIONS, columns=("state", "wait", "sessions", "oldest")):
        labels = {"state": row["state"], "wait": row["wait"]}
        found.append(metric("postgresql.sessions", "{session}", row["sessions"], **labels))
        found.append(metric("postgresql.transaction.oldest", "s", max(0.0, row["oldest"]), **labels))
    for row in engine._query(_LOCKS, columns=("mode", "granted", "locks")):
        found.append(
            metric("postgresql.database.locks", "{lock}", row["locks"], mode=row["mode"], granted=row["granted"])
        )
    found += _of_writer(engine, metric)
    found += _of_replication(engine, metric)
    return now, found


def _of_writer(engine: PostgreSQLEngine, metric: Callable[..., Metric]) -> Iterator[Metric]:
    version = engine._version_number()
    for row in engine._query(_WRITER_17 if version >= 170000 else _WRITER, columns=_WRITER_COLUMNS):
        for kind, column in (("scheduled", "timed"), ("requested", "requested")):
            yield metric("postgresql.bgwriter.checkpoint.count", "{checkpoints}", row[column], type=kind)
        for kind in ("write", "sync"):
            yield metric("postgresql.bgwriter.duration", "ms", row[f"{kind}_ms"], type=kind)
        for kind, column in (("checkpoints", "buffers_checkpoint"), ("bgwriter", "buffers_clean")):
            yield metric("postgresql.bgwriter.buffers.writes", "{buffers}", row[column], source=kind)
        yield metric("postgresql.bgwriter.buffers.allocated", "{buffers}", row["buffers_alloc"])
        yield metric("postgresql.bgwriter.maxwritten", "1", row["maxwritten_clean"])
    if version >= 140000:
        for row in engine._query(_WAL, columns=("records", "pages", "bytes")):
            yield metric("postgresql.wal.records", "{record}", row["records"])
            yield metric("postgresql.wal.full_pages", "{page}", row["pages"])
            yield metric("postgresql.wal.written", "By", row["bytes"])


def _of_replication(engine: PostgreSQLEngine, metric: Callable[..., Metric]) -> Iterator[Metric]:
    for node in engine.get_replication_status().nodes:
        labels = {"replication_client": str(node["name"]), "role": node["role"]}
        if node.get("lag_bytes") is not None:
            yield metric("postgresql.replication.data_delay", "By", node["lag_bytes"], **labels)
        if node.get("lag_seconds") is not None:
            yield metric("postgresql.wal.delay", "s", node["lag_seconds"], **labels)
