"""Contracts of connections, and the results of operations.

These are plain classes to inherit from: what was written against an earlier version goes on to run. An abstract method
called through ``super()`` does nothing and returns None.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from gds_database.errors import ConfigurationError, DatabaseConnectionError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

__all__ = [
    "AsyncDatabaseConnection",
    "AsyncResourceManager",
    "ConfigurableComponent",
    "ConfigurationError",
    "Connectable",
    "ConnectionPool",
    "DatabaseConnection",
    "DatabaseConnectionError",
    "OperationResult",
    "PerformanceMonitored",
    "QueryError",
    "Queryable",
    "ResourceManager",
    "RetryableOperation",
    "TransactionalConnection",
]

MAX_DELAY_SECONDS = 60


class DatabaseConnection(ABC):
    """A connection to a database server."""

    @abstractmethod
    def connect(self) -> Any:
        """Connect; the object of the driver.

        Raises:
            DatabaseConnectionError: The server cannot be reached or refuses.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Close; does nothing when it is closed."""

    @abstractmethod
    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        """Run a statement; the rows in whatever form the connection has them.

        Args:
            query: The statement.
            params: Values that the driver binds.

        Raises:
            QueryError: The server refuses.
        """

    @abstractmethod
    def is_connected(self) -> bool:
        """Whether it is open."""

    @abstractmethod
    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads, such as ``host``, ``port``, ``database`` and ``user``; no secret."""


class TransactionalConnection(DatabaseConnection):
    """A connection whose transactions the program controls."""

    @abstractmethod
    def begin_transaction(self) -> None:
        """Begin a transaction."""

    @abstractmethod
    def commit(self) -> None:
        """Keep what the transaction did."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo what the transaction did."""

    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether one has begun."""


class AsyncDatabaseConnection(ABC):
    """As `DatabaseConnection`, for asyncio."""

    @abstractmethod
    async def connect(self) -> Any:
        """Connect; the object of the driver."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close; does nothing when it is closed."""

    @abstractmethod
    async def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        """Run a statement; the rows in whatever form the connection has them."""

    @abstractmethod
    async def is_connected(self) -> bool:
        """Whether it is open."""

    @abstractmethod
    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads; no secret."""


class ConnectionPool(ABC):
    """Connections that are lent."""

    @abstractmethod
    def get_connection(self) -> DatabaseConnection:
        """Borrow one."""

    @abstractmethod
    def release_connection(self, conn: DatabaseConnection) -> None:
        """Give one back."""

    @abstractmethod
    def close_all(self) -> None:
        """Close all of them."""

    @abstractmethod
    def get_pool_status(self) -> dict[str, Any]:
        """How many there are, are lent, are free."""


class ConfigurableComponent(ABC):
    """Something with settings, which are checked whenever they change.

    Args:
        config: The settings.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}
        self.validate_config()

    @abstractmethod
    def validate_config(self) -> bool:
        """Whether the settings can be used; raises ValueError if not."""

    def get_config(self, key: str, default: Any = None) -> Any:
        """One setting."""
        return self.config.get(key, default)

    def set_config(self, key: str, value: Any) -> None:
        """Change one setting."""
        self.config[key] = value
        self.validate_config()

    def update_config(self, config: dict[str, Any]) -> None:
        """Change several settings."""
        self.config.update(config)
        self.validate_config()


class ResourceManager(ABC):
    """Something to be used in a ``with`` block."""

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> Literal[False]:
        self.cleanup()
        return False

    @abstractmethod
    def initialize(self) -> None:
        """Acquire what is needed."""

    @abstractmethod
    def cleanup(self) -> None:
        """Let go of it; does nothing the second time."""

    @abstractmethod
    def is_initialized(self) -> bool:
        """Whether it is acquired."""


class AsyncResourceManager(ABC):
    """As `ResourceManager`, for ``async with``."""

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> Literal[False]:
        await self.cleanup()
        return False

    @abstractmethod
    async def initialize(self) -> None:
        """Acquire what is needed."""

    @abstractmethod
    async def cleanup(self) -> None:
        """Let go of it; does nothing the second time."""

    @abstractmethod
    async def is_initialized(self) -> bool:
        """Whether it is acquired."""


class RetryableOperation(ABC):
    """Something that is tried again when it fails.

    Args:
        max_retries: How often, after the first time.
        backoff_factor: The wait before repetition n, counted from 0, is ``backoff_factor**n`` seconds, 60 at most.
    """

    def __init__(self, max_retries: int = 3, backoff_factor: float = 2.0) -> None:
        self.max_retries = max_retries
        self.backoff_factor = backoff_factor

    @abstractmethod
    def _execute(self) -> Any:
        """What is to be done."""

    def execute_with_retry(self) -> Any:
        """Do it, and raise the last error if it never succeeds."""
        attempt = 0
        while True:
            try:
                return self._execute()
            except Exception:
                if attempt >= self.max_retries:
                    raise
                time.sleep(min(self.backoff_factor**attempt, MAX_DELAY_SECONDS))
            attempt += 1


@dataclass
class OperationResult:
    """What became of an operation.

    Attributes:
        success: Whether it was done.
        message: A sentence for people.
        data: What it produced. After a call with ``dry_run=True``: ``statements``, exactly what would run.
        error: Why it was not done; None if it was.
        duration_ms: How long it took, in milliseconds.
        timestamp: When it ended, in local time.
        metadata: What else there is to tell, such as ``error_type``.
    """

    success: bool
    message: str
    data: dict[str, Any] | None = None
    error: str | None = None
    duration_ms: float = 0.0
    timestamp: datetime | None = None
    metadata: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.timestamp is None:
            # Without a zone as ever: programs compare it with datetime.now().
            self.timestamp = datetime.now()  # noqa: DTZ005

    def is_success(self) -> bool:
        """Whether it was done."""
        return self.success

    def is_failure(self) -> bool:
        """Whether it was not."""
        return not self.success

    @classmethod
    def success_result(
        cls, message: str, data: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> OperationResult:
        """One that was done."""
        return cls(success=True, message=message, data=data, metadata=metadata)

    @classmethod
    def failure_result(
        cls, message: str, error: str | None = None, metadata: dict[str, Any] | None = None
    ) -> OperationResult:
        """One that was not done."""
        return cls(success=False, message=message, error=error, metadata=metadata)

    def to_dict(self) -> dict[str, Any]:
        """Its seven attributes, ready for JSON if ``data`` and ``metadata`` are."""
        return {
            "success": self.success,
            "message": self.message,
            "data": self.data,
            "error": self.error,
            "duration_ms": self.duration_ms,
            "timestamp": self.timestamp.isoformat() if self.timestamp else None,
            "metadata": self.metadata,
        }


@runtime_checkable
class Connectable(Protocol):
    """Anything that connects and disconnects."""

    def connect(self) -> Any:
        """Connect."""

    def disconnect(self) -> None:
        """Close."""

    def is_connected(self) -> bool:
        """Whether it is open."""
        ...


@runtime_checkable
class Queryable(Protocol):
    """Anything that runs statements."""

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        """Run a statement; its rows."""
        ...


class PerformanceMonitored:
    """Lets subclasses log how long something takes, with ``self._measure_time("name")``.

    All arguments are passed on to the next class; ``logger`` is also where the lines go.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger: logging.Logger = kwargs.get("logger", logging.getLogger(__name__))

    @contextmanager
    def _measure_time(self, operation: str = "operation") -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.logger.info("%s took %.2fms", operation, (time.perf_counter() - started) * 1000)
