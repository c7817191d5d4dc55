"""The contract of an engine: a server, a cluster or an account, with its databases."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from gds_database.base import QueryError
from gds_database.capabilities import Capabilities
from gds_database.errors import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from gds_database.base import DatabaseConnection, OperationResult
    from gds_database.database import Database
    from gds_database.metadata import EngineMetadata, LogEntry, Metric, ReplicationStatus

__all__ = ["DatabaseEngine"]


class _Name:
    """An attribute that is worked out unless an instance or a subclass has set its own, as older ones do."""

    def __get__(self, engine: DatabaseEngine | None, owner: type) -> Any:
        if engine is None:
            return self
        try:
            info = engine.connection.get_connection_info() or {}
        except Exception:  # noqa: BLE001 - some want to be connected first, and a name is part of every error
            info = {}
        host = next((str(info[key]) for key in ("host", "server", "account") if info.get(key)), "")
        port = info.get("port")
        return f"{host}:{port}" if host and port else host or type(engine).__name__


class DatabaseEngine(ABC):
    """A database server.

    Args:
        connection: The way to it; whoever opened it closes it.

    Attributes:
        connection: As given.
        name: Where it is, such as ``localhost:5432``; an engine may have a better one.
    """

    name: str = _Name()  # type: ignore[assignment]

    def __init__(self, connection: DatabaseConnection) -> None:
        self.connection = connection

    # ------------------------------------------------------------------ what there is beside the abstract methods
    def connect(self) -> Any:
        """Open the connection if it is not open."""
        if not self.connection.is_connected():
            return self.connection.connect()
        return None

    def close(self) -> None:  # noqa: B027 - those that open nothing have none to write
        """Close what the engine has opened itself; one that has opened nothing does nothing."""

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_database(self, name: str, **options: Any) -> Database:
        """Create a database.

        Args:
            name: Its name, without quotes.
            options: Those of the platform, as ``Database.create`` takes them.

        Raises:
            QueryError: It was not created.
        """
        database = self.get_database(name)
        result = database.create(**options)
        if result.is_failure():
            raise QueryError(result.error or result.message)
        return database

    def read(
        self,
        statement: Any,
        params: Sequence[Any] = (),
        *,
        columns: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of one statement that reads, within a time; see `EngineBase.read`.

        Args:
            statement: As the platform has it.
            params: Values that the driver binds.
            columns: The names of the columns in their order, for connections that return tuples.
            timeout_seconds: After which the server is made to end it; by default the engine's.

        Raises:
            QueryError: The server refuses, or the engine is one that cannot do this.
        """
        del statement, params, columns, timeout_seconds
        raise QueryError(f"{type(self).__name__}: an engine of EngineBase runs statements, this one has no way to")

    def get_setting(self, name: str) -> dict[str, Any]:
        """One setting: ``name``, ``value``, ``unit``, ``source`` and ``restart_required``.

        An engine that tells no more than `get_configuration` has the value alone: ``unit`` and ``source`` are empty,
        and ``restart_required`` is None.

        Raises:
            ObjectNotFoundError: There is none of that name.
        """
        settings = self.get_configuration() or {}
        if name not in settings:
            raise ObjectNotFoundError("setting", name, self.name)
        return {"name": name, "value": settings[name], "unit": "", "source": "", "restart_required": None}

    def capabilities(self) -> Capabilities:
        """What the engine can do and what that was tested against; one that does not tell has none."""
        return Capabilities()

    # ------------------------------------------------------------------ what an engine has to have
    @property
    @abstractmethod
    def metadata(self) -> EngineMetadata:
        """What is known of the server."""

    @abstractmethod
    def build(self, **kwargs: Any) -> OperationResult:
        """Make the server."""

    @abstractmethod
    def destroy(self, force: bool = False, **kwargs: Any) -> OperationResult:
        """Remove the server with all that it holds.

        Args:
            force: Without an orderly end.
            kwargs: Options of the platform.
        """

    @abstractmethod
    def get_version(self) -> str:
        """The version of the server."""

    @abstractmethod
    def get_server_time(self) -> datetime:
        """The server's clock."""

    @abstractmethod
    def list_databases(self) -> list[Database]:
        """All databases that the login may see."""

    @abstractmethod
    def get_database(self, name: str) -> Database:
        """The database of a name, whether it exists or not."""

    @abstractmethod
    def startup(self, **kwargs: Any) -> OperationResult:
        """Start the server."""

    @abstractmethod
    def shutdown(self, force: bool = False, **kwargs: Any) -> OperationResult:
        """Stop the server.

        Args:
            force: Without waiting for sessions.
            kwargs: Options of the platform.
        """

    @abstractmethod
    def list_users(self) -> list[str]:
        """The names of all users."""

    @abstractmethod
    def create_user(self, name: str, password: str, **kwargs: Any) -> OperationResult:
        """Create a user.

        Args:
            name: Without quotes.
            password: Which is in no log.
            kwargs: Options of the platform, such as ``roles``.
        """

    @abstractmethod
    def drop_user(self, name: str) -> OperationResult:
        """Drop a user."""

    @abstractmethod
    def list_processes(self) -> list[dict[str, Any]]:
        """The sessions of the server."""

    @abstractmethod
    def kill_process(self, process_id: str) -> OperationResult:
        """End a session.

        Args:
            process_id: As ``list_processes`` has it.
        """

    @abstractmethod
    def get_configuration(self) -> dict[str, Any]:
        """The settings of the server."""

    @abstractmethod
    def set_configuration(self, key: str, value: Any) -> OperationResult:
        """Change a setting."""

    @abstractmethod
    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """The metrics of a time range."""

    @abstractmethod
    def get_logs(self, start_time: datetime, end_time: datetime, **kwargs: Any) -> list[LogEntry]:
        """The log of a time range."""

    @abstractmethod
    def get_replication_status(self) -> ReplicationStatus:
        """How far the copies of the server are."""

    @abstractmethod
    def failover(self, target_node: str | None = None, **kwargs: Any) -> OperationResult:
        """Let another node take over.

        Args:
            target_node: Which; by default the one that the platform would choose.
            kwargs: Options of the platform.
        """
