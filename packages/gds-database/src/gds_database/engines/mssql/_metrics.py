"""Metrics of the server, as it counts them: totals since it started, never rates; and what is so now."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from gds_database.engines._base import aware
from gds_database.engines.mssql._server import SqlServerBase
from gds_database.metadata import Metric

__all__ = ["Metrics"]

# Of sys.dm_os_performance_counters: object (without the instance before it), counter, the name of ours, its unit, and
# what one of the counter's units is in that. Where the server calls it "/sec" it is a total all the same.
_COUNTERS = (
    ("General Statistics", "User Connections", "sqlserver.user.connections", "{connection}", 1.0),
    ("General Statistics", "Processes blocked", "sqlserver.processes.blocked", "{process}", 1.0),
    ("General Statistics", "Logins/sec", "sqlserver.logins", "{login}", 1.0),
    ("SQL Statistics", "Batch Requests/sec", "sqlserver.batch.requests", "{request}", 1.0),
    ("SQL Statistics", "SQL Compilations/sec", "sqlserver.batch.sql_compilations", "{compilation}", 1.0),
    ("SQL Statistics", "SQL Re-Compilations/sec", "sqlserver.batch.sql_recompilations", "{compilation}", 1.0),
    ("SQL Statistics", "SQL Attention rate", "sqlserver.attentions", "{attention}", 1.0),
    ("Buffer Manager", "Page life expectancy", "sqlserver.page.life_expectancy", "s", 1.0),
    ("Buffer Manager", "Page reads/sec", "sqlserver.page.reads", "{page}", 1.0),
    ("Buffer Manager", "Page writes/sec", "sqlserver.page.writes", "{page}", 1.0),
    ("Buffer Manager", "Lazy writes/sec", "sqlserver.page.lazy_writes", "{write}", 1.0),
    ("Buffer Manager", "Checkpoint pages/sec", "sqlserver.page.checkpoint_flushes", "{page}", 1.0),
    ("Access Methods", "Page Splits/sec", "sqlserver.page.splits", "{page}", 1.0),
    ("Access Methods", "Full Scans/sec", "sqlserver.full_scans", "{scan}", 1.0),
    ("Locks", "Lock Requests/sec", "sqlserver.lock.requests", "{request}", 1.0),
    ("Locks", "Lock Waits/sec", "sqlserver.lock.waits", "{wait}", 1.0),
    ("Locks", "Lock Wait Time (ms)", "sqlserver.lock.wait_time", "s", 0.001),
    ("Locks", "Lock Timeouts/sec", "sqlserver.lock.timeouts", "{timeout}", 1.0),
    ("Locks", "Number of Deadlocks/sec", "sqlserver.deadlocks", "{deadlock}", 1.0),
    ("Memory Manager", "Total Server Memory (KB)", "sqlserver.memory.total", "By", 1024.0),
    ("Memory Manager", "Target Server Memory (KB)", "sqlserver.memory.target", "By", 1024.0),
    ("Memory Manager", "Memory Grants Pending", "sqlserver.memory.grants.pending", "{grant}", 1.0),
    ("Databases", "Transactions/sec", "sqlserver.transactions", "{transaction}", 1.0),
    ("Databases", "Write Transactions/sec", "sqlserver.transactions.writes", "{transaction}", 1.0),
    ("Databases", "Log Flushes/sec", "sqlserver.transaction_log.flushes", "{flush}", 1.0),
    ("Databases", "Log Bytes Flushed/sec", "sqlserver.transaction_log.flush.data", "By", 1.0),
    ("Databases", "Log Growths", "sqlserver.transaction_log.growths", "{growth}", 1.0),
    ("Databases", "Log Shrinks", "sqlserver.transaction_log.shrinks", "{shrink}", 1.0),
)
_BY_COUNTER = {
    (group.lower(), counter.lower()): (name, unit, factor) for group, counter, name, unit, factor in _COUNTERS
}
# A part and the whole that it is a part of: the only counters that say nothing alone.
_RATIOS = {
    ("buffer manager", "buffer cache hit ratio"): (
        "sqlserver.page.buffer_cache.hit_ratio",
        "buffer cache hit ratio base",
    ),
    ("plan cache", "cache hit ratio"): ("sqlserver.plan_cache.hit_ratio", "cache hit ratio base"),
}
# Waits of threads that have nothing to do.
_IDLE = (
    *("BROKER_EVENTHANDLER", "BROKER_RECEIVE_WAITFOR", "BROKER_TASK_STOP", "BROKER_TO_FLUSH", "BROKER_TRANSMITTER"),
    *("CHECKPOINT_QUEUE", "CHKPT", "CLR_AUTO_EVENT", "CLR_MANUAL_EVENT", "CLR_SEMAPHORE", "CXCONSUMER"),
    *("DBMIRROR_DBM_EVENT", "DBMIRROR_EVENTS_QUEUE", "DBMIRROR_WORKER_QUEUE", "DBMIRRORING_CMD", "DIRTY_PAGE_POLL"),
    *("DISPATCHER_QUEUE_SEMAPHORE", "EXECSYNC", "FSAGENT", "FT_IFTS_SCHEDULER_IDLE_WAIT", "FT_IFTSHC_MUTEX"),
    *("HADR_CLUSAPI_CALL", "HADR_FILESTREAM_IOMGR_IOCOMPLETION", "HADR_LOGCAPTURE_WAIT", "HADR_NOTIFICATION_DEQUEUE"),
    *("HADR_TIMER_TASK", "HADR_WORK_QUEUE", "KSOURCE_WAKEUP", "LAZYWRITER_SLEEP", "LOGMGR_QUEUE"),
    *("MEMORY_ALLOCATION_EXT", "ONDEMAND_TASK_QUEUE", "PARALLEL_REDO_DRAIN_WORKER", "PARALLEL_REDO_LOG_CACHE"),
    *("PARALLEL_REDO_TRAN_LIST", "PARALLEL_REDO_WORKER_SYNC", "PARALLEL_REDO_WORKER_WAIT_WORK"),
    *("PREEMPTIVE_XE_GETTARGETSTATE", "PVS_PREALLOCATE", "PWAIT_ALL_COMPONENTS_INITIALIZED"),
    *("PWAIT_DIRECTLOGCONSUMER_GETNEXT", "PWAIT_EXTENSIBILITY_CLEANUP_TASK", "QDS_ASYNC_QUEUE"),
    *("QDS_CLEANUP_STALE_QUERIES_TASK_MAIN_LOOP_SLEEP", "QDS_PERSIST_TASK_MAIN_LOOP_SLEEP", "QDS_SHUTDOWN_QUEUE"),
    *(
        "REDO_THREAD_PENDING_WORK",
        "REQUEST_FOR_DEADLOCK_SEARCH",
        "RESOURCE_QUEUE",
        "SERVER_IDLE_CHECK",
        "SLEEP_BPOOL_FLUSH",
    ),
    *("SLEEP_DBSTARTUP", "SLEEP_DCOMSTARTUP", "SLEEP_MASTERDBREADY", "SLEEP_MASTERMDREADY", "SLEEP_MASTERUPGRADED"),
    *(
        "SLEEP_MSDBSTARTUP",
        "SLEEP_SYSTEMTASK",
        "SLEEP_TASK",
        "SLEEP_TEMPDBSTARTUP",
        "SNI_HTTP_ACCEPT",
        "SOS_WORK_DISPATCHER",
    ),
    *(
        "SP_SERVER_DIAGNOSTICS_SLEEP",
        "SQLTRACE_BUFFER_FLUSH",
        "SQLTRACE_INCREMENTAL_FLUSH_SLEEP",
        "SQLTRACE_WAIT_ENTRIES",
    ),
    *(
        "VDI_CLIENT_OTHER",
        "WAIT_FOR_RESULTS",
        "WAIT_XTP_CKPT_CLOSE",
        "WAIT_XTP_HOST_WAIT",
        "WAIT_XTP_OFFLINE_CKPT_NEW_LOG",
    ),
    *(
        "WAIT_XTP_RECOVERY",
        "WAITFOR",
        "WAITFOR_TASKSHUTDOWN",
        "XE_DISPATCHER_JOIN",
        "XE_DISPATCHER_WAIT",
        "XE_TIMER_EVENT",
    ),
)

_COUNTER_QUERY = (
    "SELECT RTRIM(object_name) AS object_name, RTRIM(counter_name) AS counter_name,"
    " RTRIM(instance_name) AS instance_name, cntr_value FROM sys.dm_os_performance_counters"
)
_WAIT_QUERY = (
    "SELECT wait_type, waiting_tasks_count, wait_time_ms, signal_wait_time_ms FROM sys.dm_os_wait_stats"
    " WHERE waiting_tasks_count > 0"
)
_FILE_QUERY = (
    "SELECT DB_NAME(f.database_id) AS database_name, m.type_desc, SUM(f.num_of_reads) AS reads,"
    " SUM(f.num_of_bytes_read) AS bytes_read, SUM(f.io_stall_read_ms) AS read_ms, SUM(f.num_of_writes) AS writes,"
    " SUM(f.num_of_bytes_written) AS bytes_written, SUM(f.io_stall_write_ms) AS write_ms,"
    " SUM(f.size_on_disk_bytes) AS size FROM sys.dm_io_virtual_file_stats(NULL, NULL) AS f"
    " JOIN sys.master_files AS m ON m.database_id = f.database_id AND m.file_id = f.file_id"
    " GROUP BY f.database_id, m.type_desc"
)
_SYSTEM_COLUMNS = ("cpu_count", "kernel_ms", "user_ms", "committed_kb", "target_kb", "uptime_s")
_SYSTEM_QUERY = (
    "SELECT cpu_count, process_kernel_time_ms AS kernel_ms, process_user_time_ms AS user_ms, committed_kb,"
    " committed_target_kb AS target_kb, DATEDIFF_BIG(second, sqlserver_start_time, GETDATE()) AS uptime_s"
    " FROM sys.dm_os_sys_info"
)
_SESSION_QUERY = (
    "SELECT status, COUNT(*) AS sessions, SUM(CASE WHEN open_transaction_count > 0 THEN 1 ELSE 0 END) AS in_transaction"
    " FROM sys.dm_exec_sessions WHERE is_user_process = 1 GROUP BY status"
)
_BACKUP_QUERY = (
    "SELECT d.name AS database_name, b.type, DATEDIFF_BIG(second, MAX(b.backup_finish_date), GETDATE()) AS age_s"
    " FROM sys.databases AS d JOIN msdb.dbo.backupset AS b ON b.database_name = d.name GROUP BY d.name, b.type"
)
_STATE_QUERY = "SELECT state_desc, COUNT(*) AS databases FROM sys.databases GROUP BY state_desc"
_KINDS_OF_BACKUP = {"D": "full", "I": "differential", "L": "log"}


class Metrics(SqlServerBase):
    """What the server's views count."""

    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """What is counted now; nothing if the range does not reach until now, as the server keeps no history.

        What the login may not see is left out; VIEW SERVER STATE, or from 2022 on VIEW SERVER PERFORMANCE STATE, is
        enough for all of it.

        Args:
            start_time: When the range begins.
            end_time: When it ends.
        """
        start, end = aware(start_time, end_time)
        now = datetime.now(timezone.utc)
        if not start <= now <= end:
            return []
        found: list[Metric] = []

        def add(name: str, value: Any, unit: str, /, **labels: Any) -> None:
            if value is not None:
                text = {key: str(given) for key, given in labels.items() if given not in (None, "")}
                found.append(Metric(name, float(value), unit, now, text))

        for collect in (self._counters, self._waits, self._files, self._system, self._session_counts, self._backups):
            collect(add)
        for row in self._try_read(_STATE_QUERY, columns=("state_desc", "databases")) or ():
            add("sqlserver.database.count", row["databases"], "{database}", state=str(row["state_desc"]).lower())
        return found

    def _counters(self, add: Any) -> None:
        rows = self._try_read(_COUNTER_QUERY, columns=("object_name", "counter_name", "instance_name", "cntr_value"))
        values: dict[tuple[str, str, str], int] = {}
        for row in rows or ():
            # The object has the name of the instance before it: SQLServer: or MSSQL$NAME:.
            group = str(row["object_name"]).rpartition(":")[2].strip().lower()
            key = (group, str(row["counter_name"]).strip().lower(), str(row["instance_name"] or "").strip())
            values[key] = int(row["cntr_value"])
        for (group, counter, instance), value in values.items():
            if (known := _BY_COUNTER.get((group, counter))) is not None:
                name, unit, factor = known
                label = "database" if group == "databases" else "instance"
                add(name, value * factor, unit, **{label: instance})
            elif (ratio := _RATIOS.get((group, counter))) is not None:
                whole = values.get((group, ratio[1], instance))
                add(ratio[0], value / whole if whole else None, "1", instance=instance)

    def _waits(self, add: Any) -> None:
        columns = ("wait_type", "waiting_tasks_count", "wait_time_ms", "signal_wait_time_ms")
        for row in self._try_read(_WAIT_QUERY, columns=columns) or ():
            if row["wait_type"] in _IDLE:
                continue
            add("sqlserver.wait.count", row["waiting_tasks_count"], "{wait}", wait_type=row["wait_type"])
            add("sqlserver.wait.time", int(row["wait_time_ms"]) / 1000, "s", wait_type=row["wait_type"])
            add("sqlserver.wait.signal_time", int(row["signal_wait_time_ms"]) / 1000, "s", wait_type=row["wait_type"])

    def _files(self, add: Any) -> None:
        columns = (
            "database_name",
            "type_desc",
            "reads",
            "bytes_read",
            "read_ms",
            "writes",
            "bytes_written",
            "write_ms",
        )
        for row in self._try_read(_FILE_QUERY, columns=(*columns, "size")) or ():
            where = {"database": row["database_name"], "file_type": str(row["type_desc"]).lower()}
            for direction, count, amount, milliseconds in (
                ("read", row["reads"], row["bytes_read"], row["read_ms"]),
                ("write", row["writes"], row["bytes_written"], row["write_ms"]),
            ):
                add("sqlserver.database.operations", count, "{operation}", direction=direction, **where)
                add("sqlserver.database.io", amount, "By", direction=direction, **where)
                add("sqlserver.database.latency", int(milliseconds) / 1000, "s", direction=direction, **where)
            add("sqlserver.database.size", row["size"], "By", **where)

    def _system(self, add: Any) -> None:
        for row in self._try_read(_SYSTEM_QUERY, columns=_SYSTEM_COLUMNS) or ():
            add("sqlserver.cpu.count", row["cpu_count"], "{cpu}")
            add("sqlserver.cpu.time", int(row["kernel_ms"]) / 1000, "s", mode="kernel")
            add("sqlserver.cpu.time", int(row["user_ms"]) / 1000, "s", mode="user")
            add("sqlserver.memory.committed", int(row["committed_kb"]) * 1024, "By")
            add("sqlserver.memory.committed_target", int(row["target_kb"]) * 1024, "By")
            add("sqlserver.uptime", row["uptime_s"], "s")

    def _session_counts(self, add: Any) -> None:
        for row in self._try_read(_SESSION_QUERY, columns=("status", "sessions", "in_transaction")) or ():
            add("sqlserver.session.count", row["sessions"], "{session}", state=row["status"])
            add("sqlserver.session.in_transaction", row["in_transaction"], "{session}", state=row["status"])

    def _backups(self, add: Any) -> None:
        for row in self._try_read(_BACKUP_QUERY, columns=("database_name", "type", "age_s")) or ():
            if row["type"] in _KINDS_OF_BACKUP:
                kind = _KINDS_OF_BACKUP[row["type"]]
                add("sqlserver.backup.age", max(0, int(row["age_s"])), "s", database=row["database_name"], type=kind)
