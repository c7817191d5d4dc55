"""Every database platform the same to look at and to run.

    from gds_database import open_engine

    with open_engine("postgresql://dba@localhost/postgres") as engine:
        for database in engine.list_databases():
            print(database.name, database.metadata.size_bytes)

`open_engine_async` is the same for asyncio. Importing this package starts nothing and loads no driver.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from gds_database.aio import AsyncDatabase, AsyncDatabaseEngine
    from gds_database.base import (
        AsyncDatabaseConnection,
        AsyncResourceManager,
        ConfigurableComponent,
        Connectable,
        ConnectionPool,
        DatabaseConnection,
        OperationResult,
        PerformanceMonitored,
        Queryable,
        ResourceManager,
        RetryableOperation,
        TransactionalConnection,
    )
    from gds_database.capabilities import OPERATIONS, Capabilities, Capability, TestedAgainst
    from gds_database.config import EngineConfig
    from gds_database.database import Database
    from gds_database.engine import DatabaseEngine
    from gds_database.errors import (
        ConfigurationError,
        DatabaseConnectionError,
        MissingExtraError,
        ObjectNotFoundError,
        PrivilegeError,
        QueryError,
        StatementTimeoutError,
        ToolError,
    )
    from gds_database.metadata import (
        BackupType,
        DatabaseMetadata,
        DatabaseState,
        DatabaseType,
        EngineMetadata,
        LogEntry,
        Metric,
        ReplicationDetails,
        ReplicationStatus,
    )
    from gds_database.opening import open_engine, open_engine_async

_HOME = {
    "AsyncDatabase": "aio",
    "AsyncDatabaseConnection": "base",
    "AsyncDatabaseEngine": "aio",
    "AsyncResourceManager": "base",
    "BackupType": "metadata",
    "Capabilities": "capabilities",
    "Capability": "capabilities",
    "ConfigurableComponent": "base",
    "ConfigurationError": "errors",
    "Connectable": "base",
    "ConnectionPool": "base",
    "Database": "database",
    "DatabaseConnection": "base",
    "DatabaseConnectionError": "errors",
    "DatabaseEngine": "engine",
    "DatabaseMetadata": "metadata",
    "DatabaseState": "metadata",
    "DatabaseType": "metadata",
    "EngineConfig": "config",
    "EngineMetadata": "metadata",
    "LogEntry": "metadata",
    "Metric": "metadata",
    "MissingExtraError": "errors",
    "OPERATIONS": "capabilities",
    "ObjectNotFoundError": "errors",
    "OperationResult": "base",
    "PerformanceMonitored": "base",
    "PrivilegeError": "errors",
    "QueryError": "errors",
    "Queryable": "base",
    "ReplicationDetails": "metadata",
    "ReplicationStatus": "metadata",
    "ResourceManager": "base",
    "RetryableOperation": "base",
    "StatementTimeoutError": "errors",
    "TestedAgainst": "capabilities",
    "ToolError": "errors",
    "TransactionalConnection": "base",
    "open_engine": "opening",
    "open_engine_async": "opening",
}

__all__ = [
    "OPERATIONS",
    "AsyncDatabase",
    "AsyncDatabaseConnection",
    "AsyncDatabaseEngine",
    "AsyncResourceManager",
    "BackupType",
    "Capabilities",
    "Capability",
    "ConfigurableComponent",
    "ConfigurationError",
    "Connectable",
    "ConnectionPool",
    "Database",
    "DatabaseConnection",
    "DatabaseConnectionError",
    "DatabaseEngine",
    "DatabaseMetadata",
    "DatabaseState",
    "DatabaseType",
    "EngineConfig",
    "EngineMetadata",
    "LogEntry",
    "Metric",
    "MissingExtraError",
    "ObjectNotFoundError",
    "OperationResult",
    "PerformanceMonitored",
    "PrivilegeError",
    "QueryError",
    "Queryable",
    "ReplicationDetails",
    "ReplicationStatus",
    "ResourceManager",
    "RetryableOperation",
    "StatementTimeoutError",
    "TestedAgainst",
    "ToolError",
    "TransactionalConnection",
    "open_engine",
    "open_engine_async",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        value: object = version("gds-database")
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
