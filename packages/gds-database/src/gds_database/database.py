"""The contract of a database within an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from gds_database.metadata import BackupType

if TYPE_CHECKING:
    from gds_database.base import OperationResult
    from gds_database.engine import DatabaseEngine
    from gds_database.metadata import DatabaseMetadata

__all__ = ["Database"]


class Database(ABC):
    """A database, which may exist or not.

    Args:
        engine: The server it is on.
        name: Its name as it is, without quotes.
    """

    def __init__(self, engine: DatabaseEngine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._metadata: DatabaseMetadata | None = None

    @property
    @abstractmethod
    def metadata(self) -> DatabaseMetadata:
        """What is known of it."""

    def refresh_metadata(self) -> DatabaseMetadata:
        """Read ``metadata`` anew; a database that keeps it elsewhere than in ``_metadata`` has a way of its own."""
        self._metadata = None
        return self.metadata

    @abstractmethod
    def exists(self) -> bool:
        """Whether the server has it."""

    @abstractmethod
    def create(self, **options: Any) -> OperationResult:
        """Create it, with options of the platform."""

    @abstractmethod
    def drop(self, force: bool = False) -> OperationResult:
        """Drop it.

        Args:
            force: End its sessions first.
        """

    @abstractmethod
    def backup(self, path: str, backup_type: BackupType = BackupType.FULL, **options: Any) -> OperationResult:
        """Write a backup.

        Args:
            path: Where to.
            backup_type: How much.
            options: Those of the platform.
        """

    @abstractmethod
    def restore(self, path: str, **options: Any) -> OperationResult:
        """Read a backup.

        Args:
            path: Where from.
            options: Those of the platform.
        """
