"""What an instance has: databases, logins, settings, sessions, backups; and the rows of its views made from them.

Every view is made anew when it is read, so what a command changes is seen by all. ``put`` gives a view other rows, for
states that nothing here can be brought into: a replica that lags, counters of a year.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from .catalogue import View, views
from .errors import SqlError

if TYPE_CHECKING:
    from .session import Session

Row = Mapping[str, Any]
RELEASES = {
    13: ("2016", "13.0.6300.2"),
    14: ("2017", "14.0.3456.2"),
    15: ("2019", "15.0.4322.2"),
    16: ("2022", "16.0.4085.2"),
    17: ("2025", "17.0.1000.7"),
}
STATES = ("ONLINE", "RESTORING", "RECOVERING", "RECOVERY_PENDING", "SUSPECT", "EMERGENCY", "OFFLINE")
ACCESS = ("MULTI_USER", "SINGLE_USER", "RESTRICTED_USER")
MODELS = ("", "FULL", "BULK_LOGGED", "SIMPLE")
_PAGE = 8192


@dataclass
class Principal:
    """A login or role of the server, or a user or role of a database."""

    name: str
    principal_id: int
    kind: str  # S: SQL login or user, R: role, U: Windows
    created: dt.datetime
    sid: bytes = b""
    password_hash: bytes = b""
    is_disabled: bool = False
    is_policy_checked: bool = True
    is_expiration_checked: bool = False
    default_database: str = "master"
    is_fixed_role: bool = False
    members: set[int] = field(default_factory=set)
    permissions: list[str] = field(default_factory=list)


@dataclass
class Database:
    """One database. Its tables are in a database of DuckDB called ``store``."""

    name: str
    database_id: int
    created: dt.datetime
    store: str
    collation: str = "SQL_Latin1_General_CP1_CI_AS"
    state: str = "ONLINE"
    access: str = "MULTI_USER"
    model: str = "FULL"
    owner_sid: bytes = b"\1"
    size_pages: int = 1024
    principals: dict[str, Principal] = field(default_factory=dict)
    full_backup: int = 0
    restored: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Setting:
    """One row of sys.configurations."""

    configuration_id: int
    name: str
    value: int
    minimum: int
    maximum: int
    in_use: int
    description: str
    is_dynamic: bool
    is_advanced: bool


@dataclass
class Fault:
    """What happens to statements that match: they wait, fail, or lose their connection; ``times`` times."""

    pattern: re.Pattern[str]
    seconds: float = 0.0
    error: tuple[int, int, int, str] | None = None
    hang_up: bool = False
    times: int = 1_000_000


_SETTINGS = (
    (101, "recovery interval (min)", 0, 0, 32767, "Maximum recovery interval in minutes", True, True),
    (103, "user connections", 0, 0, 32767, "Number of user connections allowed", False, True),
    (503, "max worker threads", 0, 128, 65535, "Maximum worker threads", True, True),
    (505, "network packet size (B)", 4096, 512, 32767, "Network packet size", True, True),
    (518, "show advanced options", 0, 0, 1, "show advanced options", True, False),
    (1538, "cost threshold for parallelism", 5, 0, 32767, "cost threshold for parallelism", True, True),
    (1539, "max degree of parallelism", 0, 0, 32767, "maximum degree of parallelism", True, True),
    (1543, "min server memory (MB)", 0, 0, 2147483647, "Minimum size of server memory (MB)", True, True),
    (1544, "max server memory (MB)", 2147483647, 128, 2147483647, "Maximum size of server memory (MB)", True, True),
    (1569, "blocked process threshold (s)", 0, 0, 86400, "Blocked process reporting threshold", True, True),
    (1579, "backup compression default", 0, 0, 1, "Enable compression of backups by default", True, False),
    (1581, "optimize for ad hoc workloads", 0, 0, 1, "Optimizes for ad hoc workloads.", True, True),
    (16390, "xp_cmdshell", 0, 0, 1, "Enable or disable command shell", True, True),
)
_SERVER_ROLES = (
    "public",
    "sysadmin",
    "securityadmin",
    "serveradmin",
    "setupadmin",
    "processadmin",
    "diskadmin",
    "dbcreator",
    "bulkadmin",
)
_DATABASE_ROLES = (
    "db_owner",
    "db_accessadmin",
    "db_securityadmin",
    "db_ddladmin",
    "db_backupoperator",
    "db_datareader",
    "db_datawriter",
    "db_denydatareader",
    "db_denydatawriter",
)


class Instance:
    """One running server. ``lock`` guards all of it."""

    def __init__(self, name: str, version: int, engine_edition: int, offset_minutes: int) -> None:
        self.name = name
        self.version = version
        self.release, self.build = RELEASES[version]
        self.engine_edition = engine_edition
        self.offset = dt.timedelta(minutes=offset_minutes)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.started = self.now()
        self.views = views(version)
        self.duck = duckdb.connect(":memory:")
        self.sessions: dict[int, Session] = {}
        self.faults: list[Fault] = []
        self.statements: list[tuple[int, str]] = []
        self.knocks = 0
        self.log: list[tuple[dt.datetime, str, str]] = []
        self.backups: list[dict[str, Any]] = []
        self.restores: list[dict[str, Any]] = []
        self.put_rows: dict[str, list[dict[str, Any]]] = {}
        self.locks: dict[tuple[int, str], int] = {}
        self.settings = {row[1]: Setting(row[0], row[1], row[2], row[3], row[4], row[2], *row[5:]) for row in _SETTINGS}
        self.advanced_shown = False
        self._next_principal = 256
        self.logins: dict[str, Principal] = {"sa": Principal("sa", 1, "S", self.started, sid=b"\1")}
        for number, role in enumerate(_SERVER_ROLES, 2):
            self.logins[role] = Principal(role, number, "R", self.started, is_fixed_role=role != "public")
        self.logins["sysadmin"].members.add(1)
        self.databases: dict[str, Database] = {}
        for system in ("master", "tempdb", "model", "msdb"):
            self.create_database(system).model = "SIMPLE"
        self.write_log("Server", f"Microsoft SQL Server {self.release} (RTM) - {self.build} (X64)")
        self.write_log(
            "Server",
            "SQL Server is now ready for client connections."
            " This is an informational message; no user action is required.",
        )

    def now(self) -> dt.datetime:
        """The clock of the server, in its own zone and without it, as its datetime columns are."""
        return dt.datetime.now(dt.timezone.utc).replace(tzinfo=None) + self.offset

    def write_log(self, process: str, text: str) -> None:
        """A line of the error log."""
        self.log.append((self.now(), process, text))

    # -------------------------------------------------------------- databases
    def create_database(self, name: str, collation: str = "") -> Database:
        if name.lower() in self.databases:
            raise SqlError(1801, f"Database '{name}' already exists. Choose a different database name.", 16, 3)
        number = next(
            at for at in range(1, 32767) if at not in {found.database_id for found in self.databases.values()}
        )
        store = f"db{number}"
        self.duck.execute(f"ATTACH ':memory:' AS {store}")
        self.duck.execute(f"CREATE SCHEMA {store}.dbo")
        database = Database(name, number, self.now(), store)
        if collation:
            database.collation = collation
        for at, role in enumerate(_DATABASE_ROLES):
            database.principals[role] = Principal(role, 16384 + at, "R", database.created, is_fixed_role=True)
        database.principals["dbo"] = Principal("dbo", 1, "S", database.created, sid=b"\1")
        database.principals["public"] = Principal("public", 0, "R", database.created)
        self.databases[name.lower()] = database
        return database

    def drop_database(self, database: Database) -> None:
        self.duck.execute(f"DETACH {database.store}")
        del self.databases[database.name.lower()]

    def database(self, name: str) -> Database:
        found = self.databases.get(name.lower())
        if found is None:
            raise SqlError(911, f"Database '{name}' does not exist. Make sure that the name is entered correctly.")
        return found

    def users_of(self, database: Database, but: Session) -> list[Session]:
        return [found for found in self.sessions.values() if found.database is database and found is not but]

    def new_principal_id(self) -> int:
        self._next_principal += 1
        return self._next_principal

    # -------------------------------------------------------------- rows of views
    def rows(self, view: View, database: Database, reader: Session) -> Iterable[Row]:
        """All rows of a view, as the session that reads sees them."""
        name = view.name.lower()
        if name.startswith(("sys.dm_os_", "sys.dm_io_", "sys.dm_hadr_")):
            self._need_server_state(reader)
        if name.startswith("msdb.") and not self.may(reader.login, f"SELECT ON {name}"):
            _, schema, table = name.split(".")
            raise SqlError(
                229,
                f"The SELECT permission was denied on the object '{table}', database 'msdb', schema '{schema}'.",
                14,
                5,
            )
        if name in self.put_rows:
            return self.put_rows[name]
        make = getattr(self, "_" + name.removeprefix("sys.").replace(".", "_"), None)
        if make is None:
            return ()
        made: Iterable[Row] = make(database, reader) if view.is_per_database or name in _SEEN_BY_GRANT else make()
        return list(made)

    def _databases(self) -> Iterable[Row]:
        for found in self.databases.values():
            online = found.state == "ONLINE"
            yield {
                "name": found.name, "database_id": found.database_id, "owner_sid": found.owner_sid,
                "create_date": found.created, "compatibility_level": self.version * 10,
                "collation_name": found.collation if online else None,
                "user_access": ACCESS.index(found.access), "user_access_desc": found.access,
                "state": STATES.index(found.state), "state_desc": found.state, "is_read_only": False,
                "recovery_model": MODELS.index(found.model), "recovery_model_desc": found.model,
                "log_reuse_wait": 0, "log_reuse_wait_desc": "NOTHING", "is_encrypted": False,
                "is_query_store_on": False, "containment": 0, "containment_desc": "NONE",
                **found.options,
            }  # fmt: skip

    def _master_files(self) -> Iterable[Row]:
        for found in self.databases.values():
            yield from ({"database_id": found.database_id, **row} for row in self._database_files(found, None))

    def _database_files(self, database: Database, _reader: Session | None) -> Iterable[Row]:
        for number, kind, suffix in ((1, "ROWS", ".mdf"), (2, "LOG", "_log.ldf")):
            yield {
                "file_id": number, "type": number - 1, "type_desc": kind, "data_space_id": 2 - number, "state": 0,
                "name": database.name + ("" if number == 1 else "_log"), "state_desc": "ONLINE",
                "physical_name": f"/var/opt/mssql/data/{database.name}{suffix}", "size": database.size_pages,
                "max_size": -1, "growth": 8192, "is_percent_growth": False, "is_read_only": False,
            }  # fmt: skip

    def _server_principals(self) -> Iterable[Row]:
        for found in self.logins.values():
            yield {
                "name": found.name, "principal_id": found.principal_id, "sid": found.sid or b"\0", "type": found.kind,
                "type_desc": {"S": "SQL_LOGIN", "R": "SERVER_ROLE", "U": "WINDOWS_LOGIN"}[found.kind],
                "is_disabled": found.is_disabled, "create_date": found.created, "modify_date": found.created,
                "default_database_name": found.default_database, "is_fixed_role": found.is_fixed_role,
            }  # fmt: skip

    def _sql_logins(self) -> Iterable[Row]:
        for row in self._server_principals():
            login = self.logins[row["name"].lower()]
            if login.kind == "S":
                yield {
                    **row, "is_policy_checked": login.is_policy_checked, "password_hash": login.password_hash,
                    "is_expiration_checked": login.is_expiration_checked,
                }  # fmt: skip

    def _server_role_members(self) -> Iterable[Row]:
        for role in self.logins.values():
            yield from (
                {"role_principal_id": role.principal_id, "member_principal_id": member} for member in role.members
            )

    def _server_permissions(self) -> Iterable[Row]:
        for login in self.logins.values():
            for permission in ["CONNECT SQL", *login.permissions]:
                yield {
                    "class": 100, "class_desc": "SERVER", "grantee_principal_id": login.principal_id,
                    "permission_name": permission, "state": "G", "state_desc": "GRANT", "grantor_principal_id": 1,
                }  # fmt: skip

    def _database_principals(self, database: Database, _reader: Session) -> Iterable[Row]:
        for found in database.principals.values():
            yield {
                "name": found.name, "principal_id": found.principal_id, "type": found.kind, "sid": found.sid or None,
                "type_desc": {"S": "SQL_USER", "R": "DATABASE_ROLE"}[found.kind], "default_schema_name": "dbo",
                "create_date": found.created, "modify_date": found.created, "is_fixed_role": found.is_fixed_role,
            }  # fmt: skip

    def _database_role_members(self, database: Database, _reader: Session) -> Iterable[Row]:
        for role in database.principals.values():
            yield from (
                {"role_principal_id": role.principal_id, "member_principal_id": member} for member in role.members
            )

    def _all_objects(self) -> Iterable[Row]:
        for number, found in enumerate(self.views.values()):
            schema, _, name = found.name.rpartition(".")
            if schema == "sys":
                kind = ("IF", "SQL_INLINE_TABLE_VALUED_FUNCTION") if found.is_function else ("V ", "VIEW")
                yield {
                    "name": name, "object_id": -number - 1, "schema_id": 4, "parent_object_id": 0, "type": kind[0],
                    "type_desc": kind[1], "is_ms_shipped": True,
                }  # fmt: skip

    def _all_columns(self) -> Iterable[Row]:
        for number, found in enumerate(self.views.values()):
            for at, name in enumerate(found.columns, 1):
                yield {"object_id": -number - 1, "name": name, "column_id": at}

    def _configurations(self) -> Iterable[Row]:
        for found in self.settings.values():
            yield {
                "configuration_id": found.configuration_id, "name": found.name, "value": str(found.value),
                "minimum": str(found.minimum), "maximum": str(found.maximum), "value_in_use": str(found.in_use),
                "description": found.description, "is_dynamic": found.is_dynamic, "is_advanced": found.is_advanced,
            }  # fmt: skip

    def _dm_exec_sessions(self, _database: Database, reader: Session) -> Iterable[Row]:
        for found in self._seen_by(reader):
            yield found.row()

    def _dm_exec_requests(self, _database: Database, reader: Session) -> Iterable[Row]:
        for found in self._seen_by(reader):
            request = found.request_row()
            if request is not None:
                yield request

    def _dm_tran_session_transactions(self, _database: Database, reader: Session) -> Iterable[Row]:
        self._need_server_state(reader)
        for found in self.sessions.values():
            if found.transaction_began is not None:
                yield {
                    "session_id": found.spid, "transaction_id": 10_000 + found.spid, "enlist_count": 0,
                    "is_user_transaction": True, "is_local": True, "open_transaction_count": found.transactions,
                }  # fmt: skip

    def _dm_tran_active_transactions(self, _database: Database, reader: Session) -> Iterable[Row]:
        self._need_server_state(reader)
        for found in self.sessions.values():
            if found.transaction_began is not None:
                yield {
                    "transaction_id": 10_000 + found.spid, "name": "user_transaction", "transaction_type": 1,
                    "transaction_begin_time": found.transaction_began, "transaction_state": 2,
                }  # fmt: skip

    def _schemas(self, _database: Database, _reader: Session) -> Iterable[Row]:
        yield {"name": "dbo", "schema_id": 1, "principal_id": 1}

    def _tables(self, database: Database, _reader: Session) -> Iterable[Row]:
        for number, name, _ in self._stored(database):
            yield {
                "name": name, "object_id": number, "schema_id": 1, "parent_object_id": 0, "type": "U ",
                "type_desc": "USER_TABLE", "is_ms_shipped": False,
            }  # fmt: skip

    def _dm_db_partition_stats(self, database: Database, _reader: Session) -> Iterable[Row]:
        for number, _, rows in self._stored(database):
            pages = 9 + rows // 100
            yield {
                "partition_id": number, "object_id": number, "index_id": 0, "partition_number": 1,
                "in_row_data_page_count": pages, "used_page_count": pages, "reserved_page_count": pages,
                "row_count": rows,
            }  # fmt: skip

    def _stored(self, database: Database) -> list[tuple[int, str, int]]:
        """The tables of a database: number, name, rows."""
        asked = "SELECT table_oid, table_name, estimated_size FROM duckdb_tables() WHERE database_name = ?"
        return self.duck.cursor().execute(asked, [database.store]).fetchall()

    def _dm_exec_connections(self, _database: Database, reader: Session) -> Iterable[Row]:
        for found in self._seen_by(reader):
            yield {
                "session_id": found.spid, "connect_time": found.connected, "net_transport": "TCP", "auth_scheme": "SQL",
                "encrypt_option": "TRUE" if found.is_encrypted else "FALSE", "client_net_address": "127.0.0.1",
                "client_tcp_port": found.client_port, "most_recent_sql_handle": found.handle,
            }  # fmt: skip

    def _dm_exec_sql_text(self) -> Iterable[Row]:
        for found in self.sessions.values():
            yield {"sql_handle": found.handle, "text": found.text, "dbid": None, "encrypted": False}

    def _dm_exec_input_buffer(self) -> Iterable[Row]:
        for found in self.sessions.values():
            yield {"session_id": found.spid, "event_type": "Language Event", "event_info": found.text}

    def _seen_by(self, reader: Session) -> list[Session]:
        """All sessions, or only its own where the login may not see others."""
        may = self.may(reader.login, "VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE")
        return [found for found in self.sessions.values() if may or found is reader]

    def may(self, login: Principal, *permissions: str) -> bool:
        """Whether a login has any of these grants; a member of sysadmin has all."""
        return login.principal_id in self.logins["sysadmin"].members or not set(permissions).isdisjoint(
            login.permissions
        )

    def _need_server_state(self, reader: Session) -> None:
        if not self.may(reader.login, "VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE"):
            wanted = "VIEW SERVER STATE" if self.version < 16 else "VIEW SERVER PERFORMANCE STATE"
            raise SqlError(300, f"{wanted} permission was denied on object 'server', database 'master'.", 14)

    def _dm_os_sys_info(self) -> Iterable[Row]:
        up_ms = int((self.now() - self.started).total_seconds() * 1000)
        yield {
            "cpu_ticks": 10**12 + up_ms * 3_000_000, "ms_ticks": 10**9 + up_ms, "cpu_count": 4, "scheduler_count": 4,
            "hyperthread_ratio": 2, "physical_memory_kb": 16 << 20, "committed_kb": 1 << 20, "max_workers_count": 512,
            "committed_target_kb": 12 << 20, "sqlserver_start_time": self.started, "process_kernel_time_ms": 1500,
            "sqlserver_start_time_ms_ticks": 10**9, "process_user_time_ms": 9000, "virtual_machine_type_desc": "NONE",
            "container_type_desc": "NONE",
        }  # fmt: skip

    def _dm_os_sys_memory(self) -> Iterable[Row]:
        yield {"total_physical_memory_kb": 16 << 20, "available_physical_memory_kb": 4 << 20}

    def _dm_os_process_memory(self) -> Iterable[Row]:
        yield {"physical_memory_in_use_kb": 1 << 20, "page_fault_count": 12345, "memory_utilization_percentage": 100}

    def _dm_os_schedulers(self) -> Iterable[Row]:
        for number in range(4):
            yield {
                "scheduler_id": number, "cpu_id": number, "status": "VISIBLE ONLINE", "is_online": True,
                "current_tasks_count": 5, "runnable_tasks_count": number % 2, "pending_disk_io_count": 0,
                "current_workers_count": 8, "active_workers_count": 4, "work_queue_count": 0,
            }  # fmt: skip

    def _dm_os_wait_stats(self) -> Iterable[Row]:
        for name, tasks, milliseconds in (
            ("LCK_M_S", 3, 4500), ("PAGEIOLATCH_SH", 210, 910), ("WRITELOG", 4000, 2100), ("CXPACKET", 11, 70),
            ("LAZYWRITER_SLEEP", 90000, 90_000_000), ("WAITFOR", 5, 25_000),
        ):  # fmt: skip
            yield {
                "wait_type": name, "waiting_tasks_count": tasks, "wait_time_ms": milliseconds,
                "max_wait_time_ms": milliseconds // 2, "signal_wait_time_ms": milliseconds // 10,
            }  # fmt: skip

    def _dm_os_performance_counters(self) -> Iterable[Row]:
        for group, name, instance, value, kind in (
            ("General Statistics", "User Connections", "", len(self.sessions), 65792),
            (
                "General Statistics",
                "Processes blocked",
                "",
                sum(bool(found.blocker) for found in self.sessions.values()),
                65792,
            ),
            ("SQL Statistics", "Batch Requests/sec", "", len(self.statements), 272696576),
            ("SQL Statistics", "SQL Compilations/sec", "", 17, 272696576),
            ("Buffer Manager", "Page life expectancy", "", 4711, 65792),
            ("Buffer Manager", "Buffer cache hit ratio", "", 995, 537003264),
            ("Buffer Manager", "Buffer cache hit ratio base", "", 1000, 1073939712),
            ("Locks", "Number of Deadlocks/sec", "_Total", 2, 272696576),
            ("Memory Manager", "Total Server Memory (KB)", "", 1 << 20, 65792),
            ("Databases", "Transactions/sec", "_Total", 123, 272696576),
            ("Databases", "Log Bytes Flushed/sec", "_Total", 1 << 30, 272696576),
        ):
            # The columns are nchar(128): they come padded.
            yield {
                "object_name": f"SQLServer:{group}".ljust(128), "counter_name": name.ljust(128),
                "instance_name": instance.ljust(128), "cntr_value": value, "cntr_type": kind,
            }  # fmt: skip

    def _dm_io_virtual_file_stats(self) -> Iterable[Row]:
        for found in self.databases.values():
            for number in (1, 2):
                yield {
                    "database_id": found.database_id, "file_id": number, "sample_ms": 10**9, "num_of_reads": 100,
                    "num_of_bytes_read": 100 * _PAGE, "io_stall_read_ms": 250, "num_of_writes": 40 * number,
                    "num_of_bytes_written": 40 * _PAGE * number, "io_stall_write_ms": 90, "io_stall": 340,
                    "size_on_disk_bytes": found.size_pages * _PAGE,
                }  # fmt: skip

    def _dm_os_volume_stats(self) -> Iterable[Row]:
        for found in self.databases.values():
            for number in (1, 2):
                yield {
                    "database_id": found.database_id, "file_id": number, "volume_mount_point": "/",
                    "total_bytes": 500 << 30, "available_bytes": 200 << 30,
                }  # fmt: skip

    def _dm_os_memory_clerks(self) -> Iterable[Row]:
        yield {"type": "MEMORYCLERK_SQLBUFFERPOOL", "name": "Default", "pages_kb": 500_000}

    def _dm_db_log_space_usage(self, database: Database, _reader: Session) -> Iterable[Row]:
        yield {
            "database_id": database.database_id, "total_log_size_in_bytes": 8 << 20, "used_log_space_in_bytes": 1 << 20,
            "used_log_space_in_percent": 12.5, "log_space_in_bytes_since_last_backup": 1 << 19,
        }  # fmt: skip

    def _dm_db_file_space_usage(self, database: Database, _reader: Session) -> Iterable[Row]:
        yield {
            "database_id": database.database_id, "file_id": 1, "filegroup_id": 1, "total_page_count": 1000,
            "allocated_extent_page_count": 600, "unallocated_extent_page_count": 400,
            "version_store_reserved_page_count": 100, "user_object_reserved_page_count": 300,
            "internal_object_reserved_page_count": 200, "mixed_extent_page_count": 0,
        }  # fmt: skip

    def _dm_exec_query_stats(self) -> Iterable[Row]:
        for number, (executions, worker) in enumerate(((40, 9_000_000), (7, 250_000)), 1):
            yield {
                "query_hash": number.to_bytes(8, "big"), "execution_count": executions, "total_worker_time": worker,
                "total_elapsed_time": 2 * worker, "total_logical_reads": 1000, "total_physical_reads": 10,
                "total_logical_writes": 5, "total_rows": 3 * executions,
            }  # fmt: skip

    def _dm_server_services(self) -> Iterable[Row]:
        yield {
            "servicename": "SQL Server (MSSQLSERVER)",
            "status": 4,
            "status_desc": "Running",
            "startup_type_desc": "Automatic",
        }

    def _msdb_dbo_backupset(self) -> Iterable[Row]:
        return self.backups

    def _msdb_dbo_backupmediafamily(self) -> Iterable[Row]:
        for found in self.backups:
            yield {
                "media_set_id": found["media_set_id"],
                "family_sequence_number": 1,
                "physical_device_name": found["path"],
                "device_type": 2,
            }

    def _msdb_dbo_restorehistory(self) -> Iterable[Row]:
        return self.restores

    # -------------------------------------------------------------- what tests arrange
    def put(self, view: str, rows: Sequence[Mapping[str, Any]] | None) -> None:
        """Give a view these rows, or its own again. A column that the version has not is refused."""
        found = self.views.get(view.lower())
        if found is None:
            raise ValueError(f"{view} is in no catalogue of version {self.version}")
        if rows is None:
            self.put_rows.pop(view.lower(), None)
            return
        for row in rows:
            unknown = set(row) - set(found.columns) - {"sql_handle"}
            if unknown:
                raise ValueError(f"{view} has no columns {sorted(unknown)} in version {self.version}")
        self.put_rows[view.lower()] = [dict(row) for row in rows]

    def new_uuid(self) -> str:
        return str(uuid.uuid4())

    def lsn(self) -> int:
        """A log sequence number that only grows."""
        return time.monotonic_ns() * 10**5


# What a session without the grant sees only its own rows of.
_SEEN_BY_GRANT = {
    "sys.dm_exec_sessions",
    "sys.dm_exec_requests",
    "sys.dm_exec_connections",
    "sys.dm_tran_session_transactions",
    "sys.dm_tran_active_transactions",
}


def hashed(password: str, salt: bytes) -> bytes:
    """A password as the server keeps it since 2012: a version, the salt, SHA-512 of both."""
    return b"\2\0" + salt + hashlib.sha512(password.encode("utf-16-le") + salt).digest()
