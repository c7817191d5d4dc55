"""What an engine is that can do nothing yet: every operation says why not, in the words of ``capabilities()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gds_database.base import OperationResult, QueryError
from gds_database.engine import DatabaseEngine
from gds_database.engines._operation import operation
from gds_database.metadata import ReplicationStatus

if TYPE_CHECKING:
    from datetime import datetime

    from gds_database.metadata import LogEntry, Metric

__all__ = ["Unsupported"]


class Unsupported(DatabaseEngine):
    """Answers for what an engine leaves out: those that return an `OperationResult` fail, the others raise."""

    system: ClassVar[str]

    def _why_not(self, what: str) -> str:
        found = self.capabilities().get(what)
        return f"{self.system}: {found.how if found and not found.supported else f'there is no {what}'}"

    def _lacks(self, what: str) -> OperationResult:
        """A failure, with what the capabilities say of it."""
        return OperationResult.failure_result(
            f"{what.replace('_', ' ')} is not possible on {self.system}",
            self._why_not(what),
            metadata={"error_type": "Unsupported", "capability": what},
        )

    @operation
    def create_user(self, name: str, password: str, **kwargs: Any) -> OperationResult:  # noqa: ARG002
        """Not on this platform."""
        return self._lacks("create_user")

    @operation
    def drop_user(self, name: str, *, dry_run: bool = False) -> OperationResult:  # noqa: ARG002
        """Not on this platform."""
        return self._lacks("drop_user")

    @operation
    def kill_process(self, process_id: str, *, dry_run: bool = False) -> OperationResult:  # noqa: ARG002
        """Not on this platform."""
        return self._lacks("kill_process")

    @operation
    def set_configuration(self, key: str, value: Any, *, dry_run: bool = False) -> OperationResult:  # noqa: ARG002
        """Not on this platform."""
        return self._lacks("set_configuration")

    @operation
    def failover(self, target_node: str | None = None, **kwargs: Any) -> OperationResult:  # noqa: ARG002
        """Not on this platform."""
        return self._lacks("failover")

    def list_users(self) -> list[str]:
        """Not on this platform."""
        raise QueryError(self._why_not("list_users"))

    def list_processes(self) -> list[dict[str, Any]]:
        """Not on this platform."""
        raise QueryError(self._why_not("list_processes"))

    def get_configuration(self) -> dict[str, Any]:
        """Not on this platform."""
        raise QueryError(self._why_not("get_configuration"))

    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:  # noqa: ARG002
        """Not on this platform."""
        raise QueryError(self._why_not("get_metrics"))

    def get_logs(self, start_time: datetime, end_time: datetime, **kwargs: Any) -> list[LogEntry]:  # noqa: ARG002
        """Not on this platform."""
        raise QueryError(self._why_not("get_logs"))

    def get_replication_status(self) -> ReplicationStatus:
        """That of a server on its own."""
        return ReplicationStatus(enabled=False, mode="none", role="standalone")
