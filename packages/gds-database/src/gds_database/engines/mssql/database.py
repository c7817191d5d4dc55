"""A database of SQL Server."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gds_database.engines._base import DatabaseBase, only, operation
from gds_database.engines.mssql._server import utc
from gds_database.engines.mssql._sql import bracketed
from gds_database.engines.mssql.connection import MSSQLConnection
from gds_database.errors import ConfigurationError, DatabaseConnectionError, ObjectNotFoundError, QueryError
from gds_database.metadata import BackupType, DatabaseMetadata, DatabaseState, DatabaseType
from gds_database.plan import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gds_database.base import OperationResult
    from gds_database.engines.mssql.engine import MSSQLEngine

__all__ = ["MSSQLDatabase"]

SYSTEM = ("master", "model", "msdb", "tempdb")
BACKUP_TIMEOUT_SECONDS = 12 * 3600.0
_COLLATION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MODELS = ("FULL", "SIMPLE", "BULK_LOGGED")
_STATES = {
    "ONLINE": DatabaseState.ONLINE,
    "RESTORING": DatabaseState.RESTORING,
    "RECOVERING": DatabaseState.RECOVERING,
    "RECOVERY_PENDING": DatabaseState.RECOVERING,
    "SUSPECT": DatabaseState.SUSPECT,
    "EMERGENCY": DatabaseState.EMERGENCY,
    "OFFLINE": DatabaseState.OFFLINE,
}
# BackupType of RESTORE HEADERONLY.
_KINDS = {1: BackupType.FULL, 2: BackupType.LOG, 5: BackupType.DIFFERENTIAL}
_NO_SUCH_DEVICE, _NO_BACKUP = 3201, 3254


class MSSQLDatabase(DatabaseBase):
    """A database, which may exist or not. Paths of backups are those of the server, or ``https://`` addresses."""

    engine: MSSQLEngine

    # ------------------------------------------------------------------ what there is
    def exists(self) -> bool:
        """Whether the server has it; by the collation of the server, so ``Shop`` may be ``shop``."""
        return self._row("1 AS found", ("found",)) is not None

    def _row(self, what: str, columns: Sequence[str]) -> dict[str, Any] | None:
        query = f"SELECT {what} FROM sys.databases WHERE name = @p1"  # noqa: S608 - columns that are ours
        rows = self.engine._read(query, (self.name,), columns=columns)
        return rows[0] if rows else None

    def _read_metadata(self) -> DatabaseMetadata:
        columns = [
            *("name", "database_id", "owner", "create_date", "collation_name", "state_desc", "user_access_desc"),
            *("recovery_model_desc", "is_read_only", "compatibility_level", "log_reuse_wait_desc", "is_encrypted"),
        ]
        row = self._row(", ".join(columns).replace("owner,", "SUSER_SNAME(owner_sid) AS owner,"), columns)
        if row is None:
            raise ObjectNotFoundError("database", self.name, self.engine.name)
        state = _STATES.get(str(row["state_desc"]), DatabaseState.UNKNOWN)
        if state is DatabaseState.ONLINE and row["is_read_only"]:
            state = DatabaseState.READ_ONLY
        more = ("database_id", "user_access_desc", "recovery_model_desc", "compatibility_level", "log_reuse_wait_desc")
        zone = self.engine._zone()
        return DatabaseMetadata(
            name=str(row["name"]),
            type=DatabaseType.MSSQL,
            created=utc(row["create_date"], zone),
            size_bytes=self._size(int(row["database_id"])),
            owner=row["owner"],
            collation=row["collation_name"],
            state=state,
            additional_attributes={
                **{name.removesuffix("_desc"): row[name] for name in more},
                "is_encrypted": bool(row["is_encrypted"]),
                "last_backups": self._last_backups(),
            },
        )

    def _size(self, database_id: int) -> int | None:
        """Of its files of data and log. None where the login may not know."""
        rows = self.engine._try_read(
            "SELECT SUM(CAST(size AS bigint)) AS pages FROM sys.master_files"
            " WHERE database_id = @p1 AND type IN (0, 1)",
            (database_id,),
            columns=("pages",),
        )
        return int(rows[0]["pages"]) * 8192 if rows and rows[0]["pages"] is not None else None

    def _last_backups(self) -> dict[str, str]:
        """When the last backup of each kind ended."""
        rows = self.engine._try_read(
            "SELECT type, MAX(backup_finish_date) AS finished FROM msdb.dbo.backupset"
            " WHERE database_name = @p1 GROUP BY type",
            (self.name,),
            columns=("type", "finished"),
        )
        kinds = {"D": "full", "I": "differential", "L": "log"}
        zone = self.engine._zone() if rows else None
        return {
            kinds[row["type"]]: utc(row["finished"], zone).isoformat()
            for row in rows or ()
            if zone is not None and row["type"] in kinds and row["finished"] is not None
        }

    # ------------------------------------------------------------------ create and drop
    @operation
    def create(self, **options: Any) -> OperationResult:
        """Create it.

        Args:
            options: ``collation``, ``owner`` (a login), ``recovery_model`` (``full``, ``simple`` or ``bulk_logged``),
                ``dry_run`` and ``timeout_seconds``.
        """
        only(options, "create", "collation", "owner", "recovery_model", "dry_run", "timeout_seconds")
        engine, name = self.engine, bracketed(self.name, "database")
        if self.exists():
            raise QueryError(f"database {self.name!r} exists on {engine.name}; nothing was changed")
        statement = f"CREATE DATABASE {name}"
        if (collation := options.get("collation")) is not None:
            if not isinstance(collation, str) or not _COLLATION.fullmatch(collation):
                raise ConfigurationError(f"collation={collation!r}: expected one such as Latin1_General_100_CI_AS")
            statement += f" COLLATE {collation}"
        statements = [statement]
        if (model := options.get("recovery_model")) is not None:
            if str(model).upper() not in _MODELS:
                raise ConfigurationError(f"recovery_model={model!r}: expected full, simple or bulk_logged")
            statements.append(f"ALTER DATABASE {name} SET RECOVERY {str(model).upper()}")
        if (owner := options.get("owner")) is not None:
            engine._must_exist("login", owner, engine.list_users())
            statements.append(f"ALTER AUTHORIZATION ON DATABASE::{name} TO {bracketed(owner, 'owner')}")
        steps = [engine._step(each, timeout_seconds=options.get("timeout_seconds")) for each in statements]
        return engine._carry_out(f"created database {self.name}", steps, dry_run=bool(options.get("dry_run")))

    @operation
    def drop(
        self, force: bool = False, *, dry_run: bool = False, timeout_seconds: float | None = None
    ) -> OperationResult:
        """Drop it.

        Args:
            force: End its sessions first, with what they have not committed.
            dry_run: Show what would run.
            timeout_seconds: Of each statement, instead of the engine's.
        """
        name = bracketed(self.name, "database")
        self._must_exist()
        if self.name.lower() in SYSTEM:
            raise ConfigurationError(f"database {self.name!r}: expected one that is not the server's own")
        statement = f"DROP DATABASE {name}"
        if force and self._row("state_desc", ("state_desc",)) == {"state_desc": "ONLINE"}:
            # In one batch, so that nobody takes the place of the one user.
            alone = "" if self.engine._is_azure_database else f"{self._alone(name)}; "
            statement = f"USE [master]; {alone}{statement}"
        step = Step(statement, lambda: self._drop(statement, name, timeout_seconds, force=force))
        return self.engine._carry_out(f"dropped database {self.name}", [step], dry_run=dry_run)

    @staticmethod
    def _alone(name: str) -> str:
        return f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE"

    def _drop(self, statement: str, name: str, timeout_seconds: float | None, *, force: bool) -> None:
        try:
            self.engine._execute(statement, timeout_seconds=timeout_seconds, operation="DROP")
        except (QueryError, DatabaseConnectionError):
            if force:
                self._open_again(name)
            raise

    def _open_again(self, name: str) -> None:
        """Let others in, if it is still there and was closed to them."""
        with suppress(QueryError, DatabaseConnectionError):
            if self._row("user_access_desc", ("user_access_desc",)) == {"user_access_desc": "SINGLE_USER"}:
                self.engine._execute(f"ALTER DATABASE {name} SET MULTI_USER WITH ROLLBACK IMMEDIATE")

    # ------------------------------------------------------------------ backup
    @operation
    def backup(self, path: str, backup_type: BackupType = BackupType.FULL, **options: Any) -> OperationResult:
        """Write a backup, on the machine of the server.

        Args:
            path: A path of the server, or an ``https://`` address for which it has a credential.
            backup_type: Full, differential or of the log.
            options: ``copy_only``, ``compression`` and ``verify`` (bool, False), ``checksum`` (bool, True),
                ``overwrite`` (bool, False: a backup that is there is an error), ``description``, ``progress``,
                ``cancelled``, ``dry_run``, ``timeout_seconds`` (12 hours).
        """
        flags = ("copy_only", "compression", "checksum", "verify", "overwrite")
        only(options, "backup", *flags, "description", "progress", "cancelled", "dry_run", "timeout_seconds")
        kind, engine = BackupType(backup_type), self.engine
        if engine._is_azure_database:
            return engine._azure_cannot(f"backup_{kind.value}")
        if kind is BackupType.INCREMENTAL:
            return engine._cannot("backup_incremental", "it has no such backup", use="BackupType.DIFFERENTIAL or LOG")
        name, device = bracketed(self.name, "database"), _device(path)
        self._can_be_backed_up(kind)
        if not options.get("overwrite") and self._header(path) is not None:
            raise QueryError(f"path={path!r}: there is a backup already; take another path, or overwrite=True")
        words = ["INIT", "FORMAT" if options.get("overwrite") else "NOFORMAT", "STATS = 5"]
        words += ["CHECKSUM"] if options.get("checksum", True) else ["NO_CHECKSUM"]
        words += ["DIFFERENTIAL"] if kind is BackupType.DIFFERENTIAL else []
        words += [
            word for flag, word in (("copy_only", "COPY_ONLY"), ("compression", "COMPRESSION")) if options.get(flag)
        ]
        params: tuple[Any, ...] = (path,)
        if (description := options.get("description")) is not None:
            words.append("DESCRIPTION = ?")
            params += (str(description),)
        what = "LOG" if kind is BackupType.LOG else "DATABASE"
        statements = [(f"BACKUP {what} {name} TO {device} = ? WITH {', '.join(words)}", params)]
        if options.get("verify"):
            statements.append((f"RESTORE VERIFYONLY FROM {device} = ?", (path,)))
        return self._long(
            f"backed up database {self.name} to {path}", statements, options, {"path": path, "type": kind.value}
        )

    def _can_be_backed_up(self, kind: BackupType) -> None:
        row = self._row("state_desc, recovery_model_desc", ("state_desc", "recovery_model_desc"))
        if row is None:
            raise ObjectNotFoundError("database", self.name, self.engine.name)
        if self.name.lower() == "tempdb":
            raise ConfigurationError("database 'tempdb': the server makes it anew at each start, it has no backups")
        if row["state_desc"] != "ONLINE":
            raise QueryError(f"database {self.name!r} is {row['state_desc']}: only one that is ONLINE is backed up")
        if kind is BackupType.LOG and row["recovery_model_desc"] == "SIMPLE":
            raise QueryError(
                f"database {self.name!r} has the recovery model SIMPLE and keeps no log to back up; "
                "take BackupType.DIFFERENTIAL, or ALTER DATABASE ... SET RECOVERY FULL and a full backup first"
            )

    def _header(self, path: str) -> list[dict[str, Any]] | None:
        """What is in a backup; None if there is none."""
        statement = f"RESTORE HEADERONLY FROM {_device(path)} = ?"
        try:
            return self.engine._query(statement, (path,))
        except QueryError as error:
            if vars(error).get("number") in (_NO_SUCH_DEVICE, _NO_BACKUP) or "Cannot open backup device" in str(error):
                return None
            raise

    # ------------------------------------------------------------------ restore
    @operation
    def restore(self, path: str, **options: Any) -> OperationResult:
        """Read a backup: a full one makes the database, a differential or a log goes on from there.

        Under another name than the backup's, its files get names of their own in the server's folder for data.

        Args:
            path: Of the server, or an ``https://`` address.
            options: ``replace`` (bool, False: a database that exists is an error), ``recover`` (bool, True; False to
                restore more on top), ``move`` (logical names of files with their new paths), ``stop_at`` (a time, for
                logs), ``file`` (int: which backup of those in the file, from 1), ``force`` (end its sessions first),
                ``progress``, ``cancelled``, ``dry_run``, ``timeout_seconds`` (12 hours).
        """
        known = ("replace", "recover", "move", "stop_at", "file", "force")
        only(options, "restore", *known, "progress", "cancelled", "dry_run", "timeout_seconds")
        engine, name, device = self.engine, bracketed(self.name, "database"), _device(path)
        if engine._is_azure_database:
            return engine._azure_cannot("restore")
        headers = self._header(path)
        if not headers:
            raise QueryError(f"path={path!r}: the server finds no backup there")
        position = options.get("file") or 1
        header = next((row for row in headers if int(row["position"]) == position), None)
        if header is None:
            raise ConfigurationError(f"file={position!r}: expected one of {[int(row['position']) for row in headers]}")
        kind = _KINDS.get(int(header["backuptype"]))
        if kind is None:
            raise QueryError(f"path={path!r}: a backup of files or filegroups; restore it with the server's own tools")
        state = self._row("state_desc", ("state_desc",))
        self._may_be_restored(kind, state, path, replace=bool(options.get("replace")))
        words, params = [f"FILE = {int(position)}"], [path]
        for logical, physical in self._moves(path, header, kind, options.get("move")).items():
            words.append("MOVE ? TO ?")
            params += [logical, physical]
        words += ["REPLACE"] if options.get("replace") and kind is BackupType.FULL else []
        words.append("RECOVERY" if options.get("recover", True) else "NORECOVERY")
        if (until := options.get("stop_at")) is not None:
            words.append("STOPAT = ?")
            params.append(self._stop_at(until))
        what = "LOG" if kind is BackupType.LOG else "DATABASE"
        statement = f"RESTORE {what} {name} FROM {device} = ? WITH {', '.join(words)}"
        if options.get("force") and state == {"state_desc": "ONLINE"}:
            statement = f"USE [master]; {self._alone(name)}; {statement}"
        self._metadata = None
        data = {"path": path, "type": kind.value, "recovered": bool(options.get("recover", True))}
        return self._long(f"restored database {self.name} from {path}", [(statement, tuple(params))], options, data)

    def _may_be_restored(self, kind: BackupType, state: dict[str, Any] | None, path: str, *, replace: bool) -> None:
        found = state["state_desc"] if state is not None else None
        if kind is BackupType.FULL:
            if found is not None and found != "RESTORING" and not replace:
                raise QueryError(
                    f"database {self.name!r} exists; nothing was changed; restore over it with replace=True"
                )
        elif found != "RESTORING":
            raise QueryError(
                f"path={path!r}: a {kind.value} backup goes onto a database that waits for it, and {self.name!r} is "
                f"{found or 'not there'}; restore its full backup with recover=False first"
            )

    def _moves(self, path: str, header: Mapping[str, Any], kind: BackupType, given: Any) -> dict[str, str]:
        if given is not None:
            return {str(logical): str(physical) for logical, physical in dict(given).items()}
        if kind is not BackupType.FULL or str(header["databasename"]).lower() == self.name.lower():
            return {}
        folders = self.engine._read(
            "SELECT CAST(SERVERPROPERTY('InstanceDefaultDataPath') AS nvarchar(260)) AS data,"
            " CAST(SERVERPROPERTY('InstanceDefaultLogPath') AS nvarchar(260)) AS log",
            columns=("data", "log"),
        )[0]
        safe = re.sub(r"[^\w-]", "_", self.name)
        moves = {}
        for number, row in enumerate(self.engine._query(f"RESTORE FILELISTONLY FROM {_device(path)} = ?", (path,))):
            is_log = row["type"] == "L"
            folder = str(folders["log" if is_log else "data"])
            ending = ".ldf" if is_log else ".mdf" if number == 0 else ".ndf"
            moves[str(row["logicalname"])] = f"{folder}{safe}_{number}{ending}"
        return moves

    def _stop_at(self, until: Any) -> str:
        if not isinstance(until, datetime):
            raise ConfigurationError(f"stop_at={until!r}: expected a datetime")
        return until.astimezone(self.engine._zone()).replace(tzinfo=None).isoformat(timespec="milliseconds")

    # ------------------------------------------------------------------ long statements
    def _long(
        self,
        message: str,
        statements: Sequence[tuple[str, tuple[Any, ...]]],
        options: Mapping[str, Any],
        data: Mapping[str, Any],
    ) -> OperationResult:
        engine = self.engine
        limit = options.get("timeout_seconds") or BACKUP_TIMEOUT_SECONDS
        steps = [engine._step(statement, params, timeout_seconds=limit) for statement, params in statements]
        if options.get("dry_run"):
            return engine._carry_out(message, steps, dry_run=True, data=data)
        with (
            _reporting_progress(engine.connection, options.get("progress")),
            _cancelling(engine.connection, options.get("cancelled")),
        ):
            return engine._carry_out(message, steps, data=data)


def _device(path: str) -> str:
    if not (path and isinstance(path, str)) or "\0" in path:
        raise ConfigurationError(f"path={path!r}: expected a path of the server, or an https:// address")
    return "URL" if path.lower().startswith("https://") else "DISK"


@contextmanager
def _reporting_progress(connection: Any, progress: Callable[[str], object] | None) -> Iterator[None]:
    """Messages of the server, such as ``5 percent processed.``, as they come: pymssql hands them over."""
    raw = getattr(getattr(connection, "connection", None), "_conn", None)
    if raw is None or progress is None or not hasattr(raw, "set_msghandler"):
        yield
        return

    def on_message(_state: int, severity: int, _server: Any, _procedure: Any, _line: int, text: Any) -> None:
        if severity <= 10:
            with suppress(Exception):  # who only looks on does not break what he looks at
                progress(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))

    raw.set_msghandler(on_message)
    try:
        yield
    finally:
        raw.set_msghandler(None)


@contextmanager
def _cancelling(connection: Any, cancelled: threading.Event | None) -> Iterator[None]:
    """End the connection when the event is set: the server then ends the backup and takes it back."""
    if cancelled is None:
        yield
        return
    if not isinstance(connection, MSSQLConnection) or not connection.can_be_cancelled:
        raise ConfigurationError("cancelled: the driver of this connection cannot cancel; use timeout_seconds")
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if cancelled.wait(0.1):
                if not over.is_set():
                    connection.cancel()
                return

    thread = threading.Thread(target=watch, name="gds-mssql-cancel", daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        if cancelled.is_set():
            raise QueryError("cancelled; the server takes back what was not complete") from None
        raise
    finally:
        over.set()
        thread.join()
