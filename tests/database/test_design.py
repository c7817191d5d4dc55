"""The program that the design gives as its example, on each platform's test server."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gds_mongodb import MongoDBEngine
from gds_mssql import MSSQLEngine
from gds_postgres import PostgreSQLEngine
from gds_snowflake import SnowflakeEngine
from tests.database.postgresql import unique
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer
from tests.services.postgresql import PASSWORD, SUPERUSER, PostgreSQL
from tests.services.snowflake import Snowflake


def program(engine: Any, name: str, path: Path) -> None:
    # List databases
    for db in engine.list_databases():
        print(f"Found DB: {db.name} ({db.metadata.size_bytes} bytes)")

    # Manage a specific DB
    my_db = engine.get_database(name)
    if not my_db.exists():
        my_db.create()

    result = my_db.backup(str(path))
    assert result.is_success(), result.to_dict()
    assert my_db.drop().is_success()
    engine.close()


def test_it_runs_on_postgresql(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(postgresql.tools), prepend=":")
    address = f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{postgresql.port}/postgres"
    program(PostgreSQLEngine(connection_string=address), unique("TargetDB"), tmp_path / "backup")
    assert "Found DB: postgres (" in capsys.readouterr().out


def test_it_runs_on_mongodb(mongodb: MongoDB, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(MongoDBEngine(connection_string=mongodb.url), unique("TargetDB"), tmp_path / "backup")
    assert "Found DB: local (" in capsys.readouterr().out


def test_it_runs_on_snowflake(snowflake: Snowflake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone = tmp_path / "backup"
    program(SnowflakeEngine(connection_string=snowflake.url), unique("TargetDB"), clone)
    with SnowflakeEngine(connection_string=snowflake.url) as engine:
        assert engine.get_database(str(clone)).drop().is_success()
    assert "Found DB: SNOWFLAKE (None bytes)" in capsys.readouterr().out


def test_it_runs_on_sql_server(sql_server: SqlServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"mssql://sa:{quote(sql_server.password, safe='')}@127.0.0.1:{sql_server.port}/master"
    engine = MSSQLEngine(connection_string=f"{address}?trust_server_certificate=true")
    program(engine, unique("TargetDB"), tmp_path / "backup.bak")
    assert "Found DB: master (" in capsys.readouterr().out
