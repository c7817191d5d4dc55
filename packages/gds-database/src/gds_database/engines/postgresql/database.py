"""A database of a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_database.engines._base import DatabaseBase, only, operation
from gds_database.engines.postgresql import _backup
from gds_database.engines.postgresql._quoting import checked, identifier, literal
from gds_database.engines.postgresql._session import Sql
from gds_database.errors import ConfigurationError, ObjectNotFoundError, QueryError
from gds_database.metadata import BackupType, DatabaseMetadata, DatabaseState, DatabaseType

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable, Sequence

    from gds_database.base import OperationResult
    from gds_database.engines.postgresql.engine import PostgreSQLEngine
    from gds_database.plan import Step

__all__ = ["PostgreSQLDatabase"]

_EXISTS = "SELECT 1 AS one FROM pg_catalog.pg_database WHERE datname = %s"
_METADATA = """
SELECT d.datname::text AS name, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
  pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS collation,
  d.datctype::text AS ctype,
  d.datallowconn AS allows, d.datistemplate AS template, d.datconnlimit AS connection_limit,
  pg_catalog.age(d.datfrozenxid) AS transaction_age, t.spcname::text AS tablespace,
  pg_catalog.pg_is_in_recovery() AS standby,
  CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
    OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER') THEN pg_catalog.pg_database_size(d.oid) END AS size_bytes,
  pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text,boolean)', 'EXECUTE')
    AND t.spcname = 'pg_default' AS has_file
FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = %s
"""
_COLUMNS = (
    *("name", "owner", "encoding", "collation", "ctype", "allows", "template", "connection_limit"),
    *("transaction_age", "tablespace", "standby", "size_bytes", "has_file"),
)
# When it was created is when its first file was; only some may look there.
_CREATED = """
SELECT (pg_catalog.pg_stat_file('base/' || oid || '/PG_VERSION', true)).modification AS created
FROM pg_catalog.pg_database WHERE datname = %s
"""
_SESSIONS = """
SELECT count(*)::int AS sessions FROM pg_catalog.pg_stat_activity
WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
"""
_CREATE = {
    "owner": "OWNER",
    "template": "TEMPLATE",
    "encoding": "ENCODING",
    "locale": "LOCALE",
    "lc_collate": "LC_COLLATE",
    "lc_ctype": "LC_CTYPE",
    "tablespace": "TABLESPACE",
    "allow_connections": "ALLOW_CONNECTIONS",
    "connection_limit": "CONNECTION LIMIT",
    "is_template": "IS_TEMPLATE",
}
_NAMES = {"owner", "template", "tablespace"}


class PostgreSQLDatabase(DatabaseBase):
    """A database of a `PostgreSQLEngine`, which may exist or not."""

    engine: PostgreSQLEngine

    def exists(self) -> bool:
        """Whether the server has it."""
        return bool(self.engine._query(_EXISTS, (self.name,), columns=("one",)))

    def _read_metadata(self) -> DatabaseMetadata:
        rows = self.engine._query(_METADATA, (self.name,), columns=_COLUMNS)
        if not rows:
            raise ObjectNotFoundError("database", self.name, self.engine.name)
        (row,) = rows
        found = self.engine._query(_CREATED, (self.name,), columns=("created",)) if row["has_file"] else []
        state = DatabaseState.READ_ONLY if row["standby"] else DatabaseState.ONLINE
        more = ("encoding", "ctype", "template", "connection_limit", "transaction_age", "tablespace")
        return DatabaseMetadata(
            name=row["name"],
            type=DatabaseType.POSTGRESQL,
            created=found[0]["created"] if found else None,
            size_bytes=row["size_bytes"],
            owner=row["owner"],
            collation=row["collation"],
            state=state if row["allows"] else DatabaseState.OFFLINE,
            additional_attributes={name: row[name] for name in more},
        )

    # ------------------------------------------------------------------ create and drop
    @operation
    def create(self, *, dry_run: bool = False, timeout_seconds: float | None = None, **options: Any) -> OperationResult:
        """Create it.

        Args:
            dry_run: Only show how.
            timeout_seconds: How long it may take, longer if the template is large.
            options: ``owner``, ``template``, ``encoding``, ``locale``, ``lc_collate``, ``lc_ctype``, ``tablespace``,
                ``allow_connections``, ``connection_limit`` and ``is_template``, as ``CREATE DATABASE`` has them.
        """
        only(options, "create", *_CREATE)
        steps = self._create_steps(options, timeout_seconds)
        return self.engine._carry_out(f"created database {self.name}", steps, dry_run=dry_run)

    def _create_steps(self, options: dict[str, Any], timeout_seconds: float | None = None) -> list[Step]:
        checked(self.name, "database")
        if self.exists():
            raise QueryError(f"database {self.name!r} exists already on {self.engine.name}; nothing was changed")
        parts = []
        for name, value in options.items():
            if value is None:
                continue
            if name in _NAMES:
                text = identifier(checked(value, name))
            elif name == "connection_limit":
                if isinstance(value, bool) or not isinstance(value, int) or value < -1:
                    raise ConfigurationError(f"{name}={value!r}: expected -1 (none) or more")
                text = str(value)
            elif name in {"allow_connections", "is_template"}:
                if not isinstance(value, bool):
                    raise ConfigurationError(f"{name}={value!r}: expected True or False")
                text = str(value).lower()
            else:
                text = literal(str(value))
            parts.append(f" {_CREATE[name]} = {text}")
        statement = Sql(f"CREATE DATABASE {identifier(self.name)}{''.join(parts)}", alone=True)
        return [self.engine._step(statement, operation="CREATE DATABASE", timeout_seconds=timeout_seconds)]

    @operation
    def drop(
        self, force: bool = False, *, dry_run: bool = False, timeout_seconds: float | None = None
    ) -> OperationResult:
        """Drop it.

        Args:
            force: End its sessions first.
            dry_run: Only show how.
            timeout_seconds: How long it may take.
        """
        self._must_exist()
        if self.name == self.engine._namespace():
            raise ConfigurationError(f"database {self.name!r}: the engine is connected to it; connect to another one")
        (row,) = self.engine._query(_SESSIONS, (self.name,), columns=("sessions",))
        # When it is run, the server itself waits some seconds for sessions that are about to end.
        if dry_run and row["sessions"] and not force:
            raise QueryError(
                f"database {self.name!r}: {row['sessions']} sessions are in it, list_processes() tells whose; "
                "force=True ends them; nothing was changed"
            )
        quoted = identifier(self.name)
        steps = []
        if force and self.engine._version_number() < 130000:
            end = Sql("SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = %s")
            steps.append(self.engine._step(end, (self.name,), operation="SELECT"))
            force = False
        statement = Sql(f"DROP DATABASE {quoted}{' WITH (FORCE)' if force else ''}", alone=True)
        steps.append(self.engine._step(statement, operation="DROP DATABASE", timeout_seconds=timeout_seconds))
        result = self.engine._carry_out(f"dropped database {self.name}", steps, dry_run=dry_run)
        if not dry_run:
            self._metadata = None
        return result

    # ------------------------------------------------------------------ backup and restore
    @operation
    def backup(
        self,
        path: str | os.PathLike[str],
        backup_type: BackupType = BackupType.FULL,
        *,
        method: str = "logical",
        format: str = "custom",
        jobs: int = 1,
        compress: int | None = None,
        schema_only: bool = False,
        tables: Sequence[str] = (),
        exclude_tables: Sequence[str] = (),
        since: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> OperationResult:
        """Write a backup on the machine of this program.

        Args:
            path: Where nothing is yet; only this user can read what is written.
            backup_type: ``FULL``; the others are of the whole server, see `PostgreSQLEngine.backup`.
            method: ``logical``, this database by pg_dump, or ``physical``, the whole server by pg_basebackup.
            format: ``custom``, ``directory`` or ``tar``, of a logical one.
            jobs: How many tables at a time; more than one needs ``directory``.
            compress: 0 (none) to 9.
            schema_only: Without rows.
            tables: Only those that match these patterns of pg_dump.
            exclude_tables: Without those.
            since: The backup before an incremental one.
            dry_run: Only show how.
            timeout_seconds: When it is ended; by default after four hours.
            progress: Called with each line that the program says.
            cancelled: Ends it when set.
            options: None; refused.
        """
        only(options, "backup", "method", "format", "jobs", "compress", "schema_only", "tables", "exclude_tables")
        if method not in {"logical", "physical"}:
            raise ConfigurationError(f"method={method!r}: expected logical or physical")
        if method == "physical" or BackupType(backup_type) is not BackupType.FULL:
            return self.engine.backup(
                path,
                backup_type,
                since=since,
                dry_run=dry_run,
                timeout_seconds=timeout_seconds,
                progress=progress,
                cancelled=cancelled,
            )
        self._must_exist()
        if jobs != 1 and format != "directory":
            raise ConfigurationError(f"jobs={jobs!r}: expected 1, or format='directory'")
        arguments = ["--verbose"] if progress else []
        arguments += [f"--jobs={_whole(jobs, 'jobs', 1, 256)}"] if jobs != 1 else []
        arguments += [f"--compress={_whole(compress, 'compress', 0, 9)}"] if compress is not None else []
        arguments += ["--schema-only"] if schema_only else []
        arguments += [f"--table={each}" for each in tables] + [f"--exclude-table={each}" for each in exclude_tables]
        tools = self.engine._tools(timeout_seconds, progress, cancelled)
        steps = _backup.dump_steps(tools, self.name, Path(path), format, arguments)
        data = {"path": str(path), "database": self.name, "type": "full", "method": method, "format": format}
        return self.engine._backed_up(Path(path), steps, data, dry_run=dry_run)

    @operation
    def restore(
        self,
        path: str | os.PathLike[str],
        *,
        clean: bool = False,
        jobs: int = 1,
        owner: bool = True,
        data_directory: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> OperationResult:
        """Read a logical backup into this database, which is created if it does not exist; all of it, or nothing.

        Args:
            path: Of the backup.
            clean: Drop what is there under the same names first; without it that is an error.
            jobs: How many tables at a time; more than one gives up "or nothing".
            owner: Whether objects get the owners that they had.
            data_directory: For a physical backup, which is restored to a folder: see `PostgreSQLEngine.restore`.
            dry_run: Only show how.
            timeout_seconds: When it is ended; by default after four hours.
            progress: Called with each line that the program says.
            cancelled: Ends it when set.
            options: None; refused.
        """
        only(options, "restore", "clean", "jobs", "owner", "data_directory")
        if _backup.format_of(Path(path)) == "physical":
            if data_directory is None:
                raise ConfigurationError(
                    f"path={str(path)!r}: is a backup of the whole server; give data_directory=, an empty folder for it"
                )
            return self.engine.restore(path, data_directory=data_directory, dry_run=dry_run, cancelled=cancelled)
        arguments = ["--verbose"] if progress else []
        arguments += [f"--jobs={_whole(jobs, 'jobs', 1, 256)}"] if jobs != 1 else []
        arguments += ["--clean", "--if-exists"] if clean else []
        arguments += [] if owner else ["--no-owner"]
        # All that a backup makes itself has to come from an empty database.
        create = [] if self.exists() else self._create_steps({"template": "template0"})
        tools = self.engine._tools(timeout_seconds, progress, cancelled)
        steps = [*create, *_backup.restore_steps(tools, self.name, Path(path), arguments)]
        data = {"path": str(path), "database": self.name, "created": bool(create)}
        return self.engine._carry_out(f"restored database {self.name}", steps, dry_run=dry_run, data=data)


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(f"{name}={value!r}: expected a whole number from {low} to {high}")
    return value
