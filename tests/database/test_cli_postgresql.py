"""``gds db`` on a real PostgreSQL: what a newcomer sees, and a day of a DBA."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gds_cli._app import run
from tests.cli.commands import gds
from tests.database.postgresql import unique
from tests.services.postgresql import PASSWORD, SUPERUSER, PostgreSQL

Gds = Callable[..., str]


def address(server: PostgreSQL) -> str:
    return f"postgresql://{SUPERUSER}@127.0.0.1:{server.port}/postgres"


@pytest.fixture(name="gds_db")
def _gds_db(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gds:
    monkeypatch.setenv("GDS_DATABASE_URL", address(postgresql))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PATH", str(postgresql.tools), prepend=os.pathsep)

    def call(*arguments: object) -> str:
        code = run(["db", *map(str, arguments)])
        told = capsys.readouterr()
        assert (code, told.err) == (0, "")
        assert PASSWORD not in told.out
        return told.out

    return call


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_command_shows_a_newcomer_his_postgresql(postgresql: PostgreSQL) -> None:
    done = gds("db", "info", "--url", address(postgresql), PGPASSWORD=PASSWORD)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("version", "15.", "PostgreSQL", "server time", "role", "databases", "postgres", "sessions"):
        assert word in done.stdout
    assert PASSWORD not in done.stdout


def test_everything_there_is_to_look_at(gds_db: Gds, postgresql: PostgreSQL) -> None:
    assert "postgres" in [each["name"] for each in objects(gds_db("list", "--json"))]
    assert {"name": SUPERUSER} in objects(gds_db("users", "--json"))
    assert all({"id", "user", "state", "statement"} <= set(each) for each in objects(gds_db("processes", "--json")))
    assert objects(gds_db("config", "work_mem", "--json"))[0]["unit"] == "kB"
    assert objects(gds_db("replication", "--json"))[0]["role"]
    assert any(each["name"].startswith("postgresql.") for each in objects(gds_db("metrics", "--json")))
    assert len(objects(gds_db("capabilities", "--json"))) > 20
    for name in ("list", "users", "processes", "config", "replication", "metrics", "capabilities"):
        assert gds_db(name)


def test_a_day_of_a_dba(gds_db: Gds, postgresql: PostgreSQL, tmp_path: Path) -> None:
    shop, ann = unique("shop"), unique("ann")
    (tmp_path / "password").write_text("Canary-93b1'x\n")
    gds_db("create", shop)
    postgresql.ask("CREATE TABLE orders AS SELECT generate_series(1, 10) AS n", dbname=shop)
    gds_db("create-user", ann, "--new-password-from", f"file:{tmp_path / 'password'}")
    assert postgresql.ask("SELECT 1", user=ann, password="Canary-93b1'x") == [(1,)]
    with postgresql.connect(dbname=shop) as session:
        [found] = [each for each in objects(gds_db("processes", "--json")) if each["database"] == shop]
        assert found["id"] == str(session.info.backend_pid)
        assert "pg_terminate_backend" in gds_db("kill", found["id"], "--dry-run")
        gds_db("kill", found["id"], "--yes")
    [told] = objects(gds_db("backup", shop, tmp_path / "backup", "--json"))
    assert told["success"] is True
    assert f'DROP DATABASE "{shop}"' in gds_db("drop", shop, "--dry-run")
    gds_db("drop", shop, "--yes", "--force")
    assert shop not in [each["name"] for each in objects(gds_db("list", "--json"))]
    gds_db("restore", shop, tmp_path / "backup", "--yes")
    assert postgresql.ask("SELECT count(*) FROM orders", dbname=shop) == [(10,)]
    gds_db("drop", shop, "--yes")
    gds_db("drop-user", ann, "--yes")


def test_what_goes_wrong_is_one_line(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "Canary-93b2")
    done = gds("db", "list", "--url", address(postgresql), PGPASSWORD="Canary-93b2")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "password authentication failed" in done.stderr
    done = gds("db", "list", "--url", address(postgresql) + "?sslmod=x", PGPASSWORD="Canary-93b2")
    assert done.returncode == 2
    assert "did you mean sslmode?" in done.stderr
    done = gds("db", "list", "--url", "postgresql://u:Canary-93b2@127.0.0.1:1/x")
    assert (done.returncode, "Canary" in done.stdout + done.stderr) == (1, False)
