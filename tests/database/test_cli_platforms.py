"""``gds db`` shows every platform in the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gds_cli._app import run
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer
from tests.services.snowflake import Snowflake

LOOKS = ("list", "info", "capabilities", "users", "processes", "config", "replication", "metrics", "logs")


def looked_at(url: str, capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, Any]]]:
    """What each command that only looks prints with --json; for people it prints something, too."""
    found = {}
    for name in LOOKS:
        assert run(["db", name, "--url", url, "--json"]) == 0, capsys.readouterr().err
        told = capsys.readouterr()
        assert told.err == ""
        found[name] = [json.loads(line) for line in told.out.splitlines()]
        assert run(["db", name, "--url", url]) == 0
        assert capsys.readouterr().out.strip()
    [info] = found["info"]
    assert info["version"]
    assert info["databases"] == [each["name"] for each in found["list"]]
    assert {each["tested_against"] for each in found["capabilities"]} <= {"real", "emulator", "checked only"}
    assert all({"id", "user", "state", "statement"} <= set(each) for each in found["processes"])
    assert found["replication"][0]["lag_seconds"] >= 0
    assert all({"name", "value", "unit", "timestamp"} <= set(each) for each in found["metrics"])
    return found


def test_mongodb(mongodb: MongoDB, capsys: pytest.CaptureFixture[str]) -> None:
    found = looked_at(mongodb.url, capsys)
    assert "local" in found["info"][0]["databases"]
    assert found["metrics"][0]["name"].startswith("mongodb.")


def test_snowflake(snowflake: Snowflake, capsys: pytest.CaptureFixture[str]) -> None:
    found = looked_at(snowflake.url, capsys)
    assert "SNOWFLAKE" in found["info"][0]["databases"]
    assert "DBA" in {each["name"] for each in found["users"]}


def test_sql_server(
    sql_server: SqlServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(sql_server.password)
    monkeypatch.setenv("GDS_DATABASE_PASSWORD_FROM", f"file:{tmp_path / 'password'}")
    found = looked_at(f"mssql://sa@127.0.0.1:{sql_server.port}/master?trust_server_certificate=true", capsys)
    assert "master" in found["info"][0]["databases"]
    assert found["info"][0]["edition"]
