"""What the databases of all engines have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from gds_database.database import Database
from gds_database.engines._operation import operation
from gds_database.errors import ObjectNotFoundError
from gds_database.metadata import BackupType

if TYPE_CHECKING:
    from gds_database.base import OperationResult
    from gds_database.engines._base import EngineBase
    from gds_database.metadata import DatabaseMetadata

__all__ = ["DatabaseBase"]


class DatabaseBase(Database):
    """A database of an `EngineBase`. ``metadata`` is read once; `refresh_metadata` reads it anew."""

    engine: EngineBase

    @property
    def metadata(self) -> DatabaseMetadata:
        """What is known of it.

        Raises:
            ObjectNotFoundError: It does not exist.
        """
        return self._metadata or self.refresh_metadata()

    def refresh_metadata(self) -> DatabaseMetadata:
        """Read it anew."""
        self._metadata = self._read_metadata()
        return self._metadata

    @abstractmethod
    def _read_metadata(self) -> DatabaseMetadata:
        """What is known of it, from the server; `ObjectNotFoundError` if it does not exist."""

    @operation
    def backup(
        self,
        path: str,  # noqa: ARG002 - as the contract has it
        backup_type: BackupType = BackupType.FULL,
        **options: Any,  # noqa: ARG002
    ) -> OperationResult:
        """Not on this platform, unless an engine has its own."""
        return self.engine._lacks(f"backup_{BackupType(backup_type).value}")

    @operation
    def restore(self, path: str, **options: Any) -> OperationResult:  # noqa: ARG002 - as the contract has it
        """Not on this platform, unless an engine has its own."""
        return self.engine._lacks("restore")

    def _must_exist(self) -> None:
        """Raise `ObjectNotFoundError` unless it exists."""
        if not self.exists():
            raise ObjectNotFoundError("database", self.name, self.engine.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.engine.name!r}, {self.name!r})"
