"""SQL Server passes what every engine passes, by each driver; on what stands in for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gds_database import Database, DatabaseEngine
from gds_database.testing import EngineContract
from tests.services.mssql import SqlServer
from tests.services.mssql.drivers import DRIVERS

from .sqlservers import engine_on

NAMES = {"pymssql": "pymssql", "pytds": "python-tds", "mssql_python": "mssql-python", "pyodbc": "pyodbc"}


class TestMSSQL(EngineContract):
    setting: ClassVar[tuple[str, Any] | None] = ("cost threshold for parallelism", 50)

    @pytest.fixture(params=DRIVERS)
    def engine(self, request: pytest.FixtureRequest, sql_server: SqlServer) -> Iterator[DatabaseEngine]:
        with engine_on(sql_server, NAMES[request.param]) as engine:
            yield engine

    def fill(self, database: Database) -> None:
        query = database.engine.connection.execute_query
        name = f"[{database.name}].dbo.filled"
        query(f"CREATE TABLE {name} (a int, b nvarchar(50))")
        query(f"INSERT INTO {name} VALUES (?, ?), (?, ?)", (1, "it's 100 % ?", 2, "ß漢"))

    def content(self, database: Database) -> Any:
        return database.engine.connection.execute_query(f"SELECT a, b FROM [{database.name}].dbo.filled ORDER BY a")

    def backup_path(self, folder: Path) -> str:
        return str(folder / "it's a backup.bak")
