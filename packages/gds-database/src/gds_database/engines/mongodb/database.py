"""A database of MongoDB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_database.base import OperationResult, QueryError
from gds_database.engines._base import DatabaseBase, only, operation
from gds_database.engines.mongodb import _questions as questions
from gds_database.engines.mongodb._commands import Command
from gds_database.engines.mongodb._dump import Dump, Limits
from gds_database.errors import ConfigurationError
from gds_database.metadata import BackupType, DatabaseMetadata
from gds_database.plan import Step

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from gds_database.engines.mongodb.engine import MongoDBEngine

__all__ = ["MongoDBDatabase"]

BYTES = 63
REFUSED = frozenset('/\\. "$\0')
SYSTEM = frozenset({"admin", "config", "local"})
FIRST_COLLECTION = "default"
DAY_SECONDS = 24 * 3600.0


class MongoDBDatabase(DatabaseBase):
    """A database, which is there as soon as it has a collection."""

    engine: MongoDBEngine

    def _read_metadata(self) -> DatabaseMetadata:
        return self.engine._ask(questions.database_metadata(self.name, self.engine.name))

    def exists(self) -> bool:
        """Whether the server has it."""
        return self.name in self.engine._ask(questions.database_names())

    def _valid_name(self) -> None:
        size = len(self.name.encode())
        found = sorted(REFUSED & set(self.name))
        if not self.name or size > BYTES or found:
            what = f"it has {size} bytes" if not found else f"it has {', '.join(map(repr, found))}"
            raise ConfigurationError(
                f"database {self.name!r}: {what}; "
                f'expected 1 to {BYTES} bytes without any of / \\ . " $, a space and NUL'
            )

    @operation
    def create(self, *, collection: str = FIRST_COLLECTION, **options: Any) -> OperationResult:
        """Create it, by an empty collection.

        Args:
            collection: Its name.
            options: None.
        """
        only(options, "create", "collection")
        self._valid_name()
        if self.exists():
            raise QueryError(f"database {self.name!r} exists already")
        step = self.engine._changes(Command("create", collection, database=self.name))
        return self.engine._carry_out(f"created the database {self.name!r}", [step])

    @operation
    def drop(self, force: bool = False, *, dry_run: bool = False) -> OperationResult:
        """Drop it.

        Args:
            force: End its operations first.
            dry_run: Only show it.
        """
        if self.name in SYSTEM:
            raise ConfigurationError(f"database {self.name!r}: is the server's own and is not dropped")
        self._must_exist()
        steps = []
        if force:
            steps += [
                self.engine._changes(Command("killOp", 1, {"op": int(each["id"])}))
                for each in self.engine._ask(questions.processes())
                if each["database"] == self.name and each["state"] != "idle" and each["id"].isdigit()
            ]
        steps.append(self.engine._changes(Command("dropDatabase", database=self.name)))
        self._metadata = None
        return self.engine._carry_out(f"dropped the database {self.name!r}", steps, dry_run=dry_run)

    @operation
    def backup(
        self,
        path: str,
        backup_type: BackupType = BackupType.FULL,
        *,
        timeout_seconds: float = DAY_SECONDS,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> OperationResult:
        """Write every collection as BSON, with its options and indexes, and a manifest of counts and checksums.

        The files are laid out as those of ``mongodump``. Each collection is consistent in itself; what is written
        meanwhile may be in one and not in another. Users and roles are not in it.

        Args:
            path: A folder that does not exist, or is empty; only this user will be able to read it.
            backup_type: ``FULL``.
            timeout_seconds: When it is given up.
            progress: Called with a line for each collection.
            cancelled: Ends it when set.
            options: None.
        """
        only(options, "backup", "timeout_seconds", "progress", "cancelled")
        kind = BackupType(backup_type)
        if kind is not BackupType.FULL:
            return self.engine._lacks(f"backup_{kind.value}")
        self._must_exist()
        dump = Dump(self.engine, self.name, Path(path), Limits(timeout_seconds, progress, cancelled))
        dump.prepare()
        written: dict[str, Any] = {}
        step = Step(f"write {self.name!r} to {path}", lambda: written.update(dump.write()))
        result = self.engine._carry_out(f"backed up {self.name!r} to {path}", [step])
        result.data = {**(result.data or {}), "path": str(path), **written}
        return result

    @operation
    def restore(
        self,
        path: str,
        *,
        replace: bool = False,
        dry_run: bool = False,
        timeout_seconds: float = DAY_SECONDS,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> OperationResult:
        """Read a backup of `backup` into this database, whatever the name of the one it was made of.

        Checksums and names are compared before anything changes, and counts afterwards.

        Args:
            path: The folder.
            replace: Drop collections that are in the way; without it one of them is an error.
            dry_run: Only show it.
            timeout_seconds: When it is given up.
            progress: Called with a line for each collection.
            cancelled: Ends it when set.
            options: None.
        """
        only(options, "restore", "replace", "dry_run", "timeout_seconds", "progress", "cancelled")
        self._valid_name()
        dump = Dump(self.engine, self.name, Path(path), Limits(timeout_seconds, progress, cancelled))
        steps = dump.reading(replace=replace)
        self._metadata = None
        data = {"path": str(path)}
        return self.engine._carry_out(f"restored {self.name!r} from {path}", steps, dry_run=dry_run, data=data)
