"""The engine of SQL Server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_database.capabilities import OPERATIONS, Capabilities, Capability, TestedAgainst
from gds_database.engines._base import only, operation
from gds_database.engines.mssql._azure import LACKS
from gds_database.engines.mssql._logs import Logs
from gds_database.engines.mssql._metrics import Metrics
from gds_database.engines.mssql._replication import Replication
from gds_database.engines.mssql._server import utc
from gds_database.engines.mssql._sessions import Sessions
from gds_database.engines.mssql._settings import Settings
from gds_database.engines.mssql._users import Users
from gds_database.engines.mssql.database import MSSQLDatabase
from gds_database.errors import DatabaseConnectionError, QueryError
from gds_database.metadata import EngineMetadata
from gds_database.plan import Step

if TYPE_CHECKING:
    from gds_database.base import OperationResult

__all__ = ["MSSQLEngine"]

CHECKED = "by pyodbc with FreeTDS 1.3 only; protocol and SQL checked; never run on SQL Server"

_HOW = {
    "list_databases": "sys.databases",
    "create_database": "CREATE DATABASE",
    "drop_database": "DROP DATABASE",
    "backup_full": "BACKUP DATABASE",
    "backup_differential": "BACKUP DATABASE WITH DIFFERENTIAL",
    "backup_transaction_log": "BACKUP LOG",
    "restore": "RESTORE DATABASE and RESTORE LOG",
    "list_users": "sys.server_principals",
    "create_user": "CREATE LOGIN with a hashed password",
    "drop_user": "DROP LOGIN",
    "list_processes": "sys.dm_exec_sessions and sys.dm_exec_requests",
    "kill_process": "KILL",
    "get_configuration": "sys.configurations",
    "set_configuration": "sp_configure and RECONFIGURE",
    "get_metrics": "sys.dm_os_performance_counters and other sys.dm_os_ and sys.dm_io_ views",
    "get_logs": "xp_readerrorlog",
    "get_replication_status": "sys.dm_hadr_database_replica_states",
    "failover": "ALTER AVAILABILITY GROUP ... FAILOVER on the node that takes over",
}


class MSSQLEngine(Users, Sessions, Settings, Metrics, Logs, Replication):
    """SQL Server 2016 and newer, and as far as they are like it Azure SQL Managed Instance and Database.

    See `EngineBase` for what it is made with. What it reads it reads within its time, waits at most five seconds for a
    lock, and is the one that gives way in a deadlock.
    """

    def capabilities(self) -> Capabilities:
        """What it can do, and that all of it was run on an emulator; of Azure SQL Database also what it has not.

        A server that does not say what it is is told as one that is not Azure SQL Database.
        """
        found = [
            Capability(name, True, f"{_HOW[name]}; {CHECKED}", TestedAgainst.EMULATOR)
            for name in OPERATIONS
            if name in _HOW
        ]
        why = f"it has no such backup; use BackupType.DIFFERENTIAL or LOG; {CHECKED}"
        found.append(Capability("backup_incremental", False, why, TestedAgainst.EMULATOR))
        found += self._controls(TestedAgainst.CHECKED)
        if self.control is None:
            found.append(Capability("shutdown", True, f"SHUTDOWN; {CHECKED}", TestedAgainst.EMULATOR))
        if self._says_it_is_azure_database():
            found += [
                Capability(name, False, str(lack), TestedAgainst.CHECKED)
                for name, lack in LACKS.items()
                if name != "shutdown" or self.control is None
            ]
        return Capabilities(found)

    def _says_it_is_azure_database(self) -> bool:
        try:
            return self._is_azure_database
        except (DatabaseConnectionError, QueryError):
            return False  # what it can do is told of a server that is down, too

    @property
    def metadata(self) -> EngineMetadata:
        """What is known of the server; its ``started_at`` needs VIEW SERVER STATE."""
        server = self._server
        query = (
            "SELECT @@VERSION AS banner, CAST(SERVERPROPERTY('Collation') AS nvarchar(128)) AS collation,"
            " CAST(SERVERPROPERTY('ProductLevel') AS nvarchar(128)) AS product_level,"
            " CAST(SERVERPROPERTY('IsClustered') AS int) AS is_clustered"
        )
        row = self._read(query, columns=("banner", "collation", "product_level", "is_clustered"))[0]
        started = self._try_read(
            "SELECT sqlserver_start_time AS started_at FROM sys.dm_os_sys_info", columns=("started_at",)
        )
        info = self._info()
        return EngineMetadata(
            name=server.name or self.name,
            version=server.version,
            edition=server.edition,
            host=info.get("host") or info.get("server"),
            port=info.get("port"),
            status="running",
            additional_attributes={
                "banner": str(row["banner"]).splitlines()[0].strip(),
                "engine_edition": server.engine_edition,
                "product_level": row["product_level"],
                "collation": row["collation"],
                "is_clustered": bool(row["is_clustered"]),
                "has_availability_groups": server.has_groups,
                "started_at": utc(started[0]["started_at"], self._zone()) if started else None,
            },
        )

    # ------------------------------------------------------------------ databases
    def list_databases(self) -> list[MSSQLDatabase]:  # type: ignore[override]
        """All databases that the login may see, those of the server too."""
        rows = self._read("SELECT name FROM sys.databases ORDER BY name", columns=("name",))
        return [MSSQLDatabase(self, str(row["name"])) for row in rows]

    def get_database(self, name: str) -> MSSQLDatabase:
        """The database of a name, whether it exists or not."""
        return MSSQLDatabase(self, name)

    # ------------------------------------------------------------------ the server
    @operation
    def shutdown(
        self, force: bool = False, *, dry_run: bool = False, timeout_seconds: float | None = None, **kwargs: Any
    ) -> OperationResult:
        """Stop the server: by ``control=``, or without it by the statement SHUTDOWN.

        Args:
            force: Without waiting for what runs, and without checkpoints.
            dry_run: Show what would run.
            timeout_seconds: Until it has to have stopped.
            kwargs: None.
        """
        only(kwargs, "shutdown", "dry_run", "timeout_seconds")
        if self.control is not None:
            return self._controlled("stop", force=force, dry_run=dry_run, timeout_seconds=timeout_seconds)
        if self._is_azure_database:
            return self._azure_cannot("shutdown")
        statement = "SHUTDOWN WITH NOWAIT" if force else "SHUTDOWN"
        step = Step(statement, lambda: self._shut_down(statement, timeout_seconds))
        return self._carry_out(f"shut down {self.name}", [step], dry_run=dry_run)

    def _shut_down(self, statement: str, timeout_seconds: float | None) -> None:
        # The connection ends with the server: that is what was asked for.
        with suppress(DatabaseConnectionError):
            self._execute(statement, timeout_seconds=timeout_seconds)
            # Some drivers have it still open; the next statement tells.
            with suppress(QueryError):
                self._execute("SELECT 1", timeout_seconds=timeout_seconds)
