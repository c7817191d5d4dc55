"""Connections and engines over SQLite, and over nothing."""

from __future__ import annotations

import sqlite3
from typing import Any

from gds_database import Capabilities, DatabaseConnection, OperationResult
from gds_database.engines._base import EngineBase, operation

__all__ = ["SqliteConnection", "SqliteEngine"]


class SqliteConnection(DatabaseConnection):
    """A database in memory whose rows are plain tuples."""

    password = "hunter2-canary"

    def __init__(self) -> None:
        self.driver: sqlite3.Connection | None = None

    def connect(self) -> Any:
        self.driver = sqlite3.connect(":memory:", check_same_thread=False)
        return self.driver

    def disconnect(self) -> None:
        if self.driver is not None:
            self.driver.close()
        self.driver = None

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        assert self.driver is not None
        return self.driver.execute(query, params or ()).fetchall()

    def is_connected(self) -> bool:
        return self.driver is not None

    def get_connection_info(self) -> dict[str, Any]:
        return {"host": "here", "port": 1, "database": "main"}


class SqliteEngine(EngineBase):
    """As much of an engine as the tests of the base need."""

    system = "sqlite"
    extra = "none"

    def capabilities(self) -> Capabilities:
        return Capabilities(self._controls())

    @operation
    def drop_user(self, name: str, *, dry_run: bool = False) -> OperationResult:
        self._must_exist("user", name, ["a"])
        steps = [self._step("SELECT ?", (1,)), self._step(f"SELEC '{name}' 'hunter2-canary'")]
        return self._carry_out("dropped a", steps, dry_run=dry_run)

    metadata = property(lambda self: None)
    get_version = get_server_time = list_databases = get_database = lambda self, *_: None  # type: ignore[assignment]
