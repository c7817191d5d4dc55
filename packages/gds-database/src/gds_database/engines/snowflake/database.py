"""A database of Snowflake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_database.base import OperationResult, QueryError
from gds_database.engines._base import DatabaseBase, only, operation
from gds_database.engines.snowflake._text import instant, literal, moment, quoted
from gds_database.errors import ConfigurationError, ObjectNotFoundError, ToolError
from gds_database.metadata import BackupType, DatabaseMetadata, DatabaseState, DatabaseType

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from gds_database.engines.snowflake.engine import SnowflakeEngine

__all__ = ["SnowflakeDatabase"]

_SIZE = (
    "SELECT AVERAGE_DATABASE_BYTES AS BYTES FROM SNOWFLAKE.ACCOUNT_USAGE.DATABASE_STORAGE_USAGE_HISTORY "
    "WHERE DATABASE_NAME = %s ORDER BY USAGE_DATE DESC LIMIT 1"
)


class SnowflakeDatabase(DatabaseBase):
    """A database. Its name is exactly as it is: ``shop`` is not ``SHOP``."""

    engine: SnowflakeEngine

    def _read_metadata(self) -> DatabaseMetadata:
        found = self._row()
        sizes = self.engine._where_allowed(_SIZE, (self.name,))
        size = sizes[0]["bytes"] if sizes else None
        attributes = {
            key: found[key]
            for key in ("kind", "origin", "comment", "retention_time", "options", "is_current", "owner_role_type")
            if found.get(key) not in (None, "")
        }
        return DatabaseMetadata(
            name=self.name,
            type=DatabaseType.SNOWFLAKE,
            created=moment(found.get("created_on")),
            size_bytes=None if size is None else int(size),
            owner=found.get("owner") or None,
            state=DatabaseState.ONLINE,
            additional_attributes=attributes,
        )

    def _row(self) -> dict[str, Any]:
        there = self.engine._databases()
        if self.name not in there:
            raise ObjectNotFoundError("database", self.name, _hint(self.engine.name, self.name, there))
        return there[self.name]

    def _must_exist(self) -> None:
        self._row()

    def exists(self) -> bool:
        """Whether the account has it, and the role may see it."""
        return self.name in self.engine._databases()

    @operation
    def create(
        self, *, transient: bool = False, comment: str | None = None, retention_days: int | None = None, **options: Any
    ) -> OperationResult:
        """Create it.

        Args:
            transient: Without the fail-safe period.
            comment: For people.
            retention_days: How long Time Travel keeps what was changed and dropped.
            options: None.
        """
        only(options, "create", "transient", "comment", "retention_days")
        quoted(self.name)
        if self.exists():
            raise QueryError(f"database {self.name!r} exists already")
        statement = f"CREATE {'TRANSIENT ' if transient else ''}DATABASE {quoted(self.name)}"
        if retention_days is not None:
            if retention_days not in range(91):
                raise ConfigurationError(f"retention_days={retention_days!r}: expected a number from 0 to 90")
            statement += f" DATA_RETENTION_TIME_IN_DAYS = {retention_days}"
        if comment is not None:
            statement += f" COMMENT = {literal(comment)}"
        return self.engine._carry_out(f"created the database {self.name!r}", [self.engine._step(statement)])

    @operation
    def drop(self, force: bool = False, *, dry_run: bool = False) -> OperationResult:
        """Drop it. ``restore`` with its own name brings it back within its retention time.

        Args:
            force: Also if keys of other databases refer to it.
            dry_run: Only show it.
        """
        self._must_exist()
        step = self.engine._step(f"DROP DATABASE {quoted(self.name)} {'CASCADE' if force else 'RESTRICT'}")
        self._metadata = None
        return self.engine._carry_out(f"dropped the database {self.name!r}", [step], dry_run=dry_run)

    @operation
    def backup(
        self,
        path: str,
        backup_type: BackupType = BackupType.FULL,
        *,
        at: datetime | None = None,
        timeout_seconds: float | None = None,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> OperationResult:
        """Clone it within the account. The clone costs only what changes later, and does not survive the account.

        Args:
            path: The name of the clone, which must not exist.
            backup_type: ``FULL``.
            at: As it was then, by Time Travel; by default as it is.
            timeout_seconds: For the statement.
            progress: Called with a line when it is done.
            cancelled: Nothing is begun when it is set.
            options: None.
        """
        only(options, "backup", "at", "timeout_seconds", "progress", "cancelled")
        kind = BackupType(backup_type)
        if kind is not BackupType.FULL:
            return self.engine._lacks(f"backup_{kind.value}")
        self._must_exist()
        target = str(path)
        if target in self.engine._databases():
            raise QueryError(f"database {target!r} exists already; a backup has a name of its own")
        statement = f"CREATE DATABASE {quoted(target, 'path')} CLONE {quoted(self.name)}{_time(at)}"
        if cancelled is not None and cancelled.is_set():
            raise ToolError("was cancelled before it began")
        step = self.engine._step(statement, timeout_seconds=timeout_seconds)
        result = self.engine._carry_out(f"cloned {self.name!r} as {target!r}", [step], data={"path": target})
        if progress is not None:
            progress(result.message)
        return result

    @operation
    def restore(
        self,
        path: str,
        *,
        at: datetime | None = None,
        replace: bool = False,
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> OperationResult:
        """Make it what a clone is, what it was itself at a time, or what it was when it was dropped.

        Args:
            path: The name of a database: a clone; its own with ``at``; its own if it was dropped.
            at: As that was then, by Time Travel.
            replace: Whether this database may exist; it is dropped then, and UNDROP can bring it back.
            dry_run: Only show it.
            timeout_seconds: For the statement.
            progress: Called with a line when it is done.
            cancelled: Nothing is begun when it is set.
            options: None.
        """
        only(options, "restore", "at", "replace", "dry_run", "timeout_seconds", "progress", "cancelled")
        source, there = str(path), self.engine._databases()
        if source == self.name and source not in there:
            if at is not None:
                raise ConfigurationError("at: the database was dropped; restore it without at first")
            statement = f"UNDROP DATABASE {quoted(self.name)}"
        else:
            if source not in there:
                raise ObjectNotFoundError("database", source, _hint(self.engine.name, source, there))
            if source == self.name and at is None:
                raise ConfigurationError(f"path={source!r}: is this database itself; say as of when with at=")
            if self.name in there and not replace:
                raise QueryError(f"database {self.name!r} exists; replace it with replace=True")
            verb = "CREATE OR REPLACE DATABASE" if self.name in there else "CREATE DATABASE"
            statement = f"{verb} {quoted(self.name)} CLONE {quoted(source)}{_time(at)}"
        if cancelled is not None and cancelled.is_set():
            raise ToolError("was cancelled before it began")
        step = self.engine._step(statement, timeout_seconds=timeout_seconds)
        self._metadata = None
        result = self.engine._carry_out(f"restored {self.name!r} from {source!r}", [step], dry_run=dry_run)
        if progress is not None and not dry_run:
            progress(result.message)
        return result


def _time(at: datetime | None) -> str:
    return "" if at is None else f" AT (TIMESTAMP => {instant(at)})"


def _hint(where: str, name: str, there: dict[str, Any]) -> str:
    """Where it is not, and the name that differs only by its case."""
    near = next((each for each in there if each.upper() == name.upper()), None)
    return f"{where} (there is {near!r}: names are taken as they are)" if near else where
