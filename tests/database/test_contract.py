"""The engine in memory passes the contract; one that does not keep it fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from gds_database import Database, LogEntry, Metric
from gds_database.testing import EngineContract, InMemoryEngine


class TestInMemoryEngine(EngineContract):
    setting = ("max_connections", 7)

    @pytest.fixture
    def engine(self) -> Iterator[InMemoryEngine]:
        with InMemoryEngine() as engine:
            now = datetime.now(timezone.utc)
            engine.server.nodes.append("other")
            engine.server.processes.append({"id": "1", "user": "u", "database": None, "state": "idle", "statement": ""})
            engine.server.metrics.append(Metric("memory.databases", 1.0, "{database}", now, {"node": "a"}))
            engine.server.logs.extend(
                LogEntry(now - timedelta(minutes=minutes), "INFO", "line", "memory") for minutes in (1, 5, 3, 600)
            )
            yield engine

    def fill(self, database: Database) -> None:
        database.engine.server.databases[database.name]["table"] = [1, 2, 3]  # type: ignore[attr-defined]

    def content(self, database: Database) -> object:
        return database.engine.server.databases[database.name]  # type: ignore[attr-defined]
