"""Backups of a real PostgreSQL, compared by a checksum of every table with what they were taken of."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gds_database.control import Command
from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.metadata import BackupType
from tests.database.postgresql import checksums, engine_of, unique
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL

INSERT = r'''INSERT INTO "it's -- a ""table""" VALUES (NULL, NULL, NULL, NULL),
  (E'a\nb\tc', '\x00ff', '{"a": 1}', '{1,NULL}')'''
AWKWARD = 'it\'s = a "data" base\\'


@pytest.fixture
def engine(postgresql: PostgreSQL) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql) as engine:
        yield engine


@pytest.fixture
def filled(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> Iterator[str]:
    """A database with a bit of everything, whose name is a trap."""
    name = unique(AWKWARD)
    assert engine.get_database(name).create().is_success()
    for statement in (
        "CREATE TABLE numbers AS SELECT n, n * 1.5 AS half FROM generate_series(1, 2000) n",
        'CREATE TABLE "it\'s -- a ""table""" (t text, b bytea, j jsonb, a int[])',
        INSERT,
        "CREATE SCHEMA other CREATE TABLE empty (n int PRIMARY KEY)",
        "CREATE VIEW sums AS SELECT sum(n) FROM numbers",
        "CREATE SEQUENCE counter START 41",
        "SELECT nextval('counter')",
        "SELECT lo_from_bytea(0, 'a large object')",
    ):
        postgresql.ask(statement, dbname=name)
    yield name
    engine.get_database(name).drop(force=True)


@pytest.mark.parametrize(("form", "jobs"), [("custom", 1), ("directory", 2), ("tar", 1)])
def test_every_table_comes_back(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, filled: str, tmp_path: Path, form: str, jobs: int
) -> None:
    before = checksums(postgresql, filled)
    path = tmp_path / "a backup"
    lines: list[str] = []
    database = engine.get_database(filled)
    result = database.backup(path, format=form, jobs=jobs, progress=lines.append)
    assert result.is_success(), result.error
    data = result.data or {}
    assert data["size_bytes"] > 0
    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert any("numbers" in line for line in lines)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a backup"]

    copy = engine.get_database(unique("copy of " + AWKWARD))
    result = copy.restore(path, jobs=jobs)
    assert result.is_success(), result.error
    assert checksums(postgresql, copy.name) == before
    assert postgresql.ask("SELECT nextval('counter')", dbname=copy.name) == [(42,)]
    # A second time there is something in the way, and nothing of it is half done.
    postgresql.ask("DELETE FROM numbers WHERE n > 10", dbname=copy.name)
    refused = copy.restore(path)
    assert "already exists" in (refused.error or "")
    assert postgresql.ask("SELECT count(*) FROM numbers", dbname=copy.name) == [(10,)]
    assert copy.restore(path, clean=True).is_success()
    assert checksums(postgresql, copy.name) == before
    assert copy.drop().is_success()


def test_what_runs_is_what_a_dry_run_shows(engine: PostgreSQLEngine, filled: str, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    shown = engine.get_database(filled).backup(path, dry_run=True)
    assert not path.exists()
    done = engine.get_database(filled).backup(path)
    assert (shown.data or {})["statements"] == (done.data or {})["statements"]
    (statement,) = (shown.data or {})["statements"]
    assert statement.split()[0].endswith("pg_dump")


def test_backup_that_fails_leaves_nothing(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, filled: str, tmp_path: Path
) -> None:
    database = engine.get_database(filled)
    engine.lock_timeout_seconds = 0.2
    with closing(postgresql.connect(dbname=filled)) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
        result = database.backup(tmp_path / "locked")
        assert "timeout" in (result.error or "")
        stop = threading.Event()
        stop.set()
        assert "cancelled" in (database.backup(tmp_path / "cancelled", cancelled=stop).error or "")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_and_no_nonsense_is_read(engine: PostgreSQLEngine, filled: str, tmp_path: Path) -> None:
    database = engine.get_database(filled)
    there = tmp_path / "there"
    there.write_text("not a backup")
    assert "nothing is" in (database.backup(there).error or "")
    assert there.read_text() == "not a backup"
    assert "expected a backup" in (database.restore(there).error or "")
    assert "there is nothing" in (database.restore(tmp_path / "nowhere").error or "")
    assert "format=" in (database.backup(tmp_path / "x", format="zip").error or "")
    assert "jobs=" in (database.backup(tmp_path / "x", jobs=2).error or "")
    assert "no option" in (database.backup(tmp_path / "x", nonsense=1).error or "")


def test_whole_server_comes_back_as_another_one(postgresql_factory: PostgreSQLFactory, tmp_path: Path) -> None:
    server = postgresql_factory()
    server.ask("CREATE TABLE kept AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n")
    before = checksums(server, "postgres")
    path, restored = tmp_path / "copy", server.folder / "restored"
    with engine_of(server) as engine:
        result = engine.get_database("postgres").backup(path, method="physical")
        assert result.is_success(), result.error
        assert (path / "backup_manifest").is_file()
        assert "data_directory" in (engine.get_database("postgres").restore(path).error or "")
        shown = engine.restore(path, data_directory=restored, dry_run=True)
        assert shown.is_success(), shown.error
        assert not restored.exists()
        result = engine.restore(path, data_directory=restored)
        assert result.is_success(), result.error
        assert "empty folder" in (engine.restore(path, data_directory=restored).error or "")
    server.stop()
    shutil.rmtree(server.data)
    restored.rename(server.data)
    server.identity.own(server.data)
    server.start()
    assert checksums(server, "postgres") == before


def test_kind_of_backup_that_this_version_has_not_says_what_to_use(engine: PostgreSQLEngine, tmp_path: Path) -> None:
    for kind, words in (
        (BackupType.INCREMENTAL, "17 or newer"),
        (BackupType.DIFFERENTIAL, "use incremental"),
        (BackupType.LOG, "archive_command"),
    ):
        result = engine.backup(tmp_path / "x", kind)
        assert words in (result.error or "")
        assert not engine.capabilities().supports(f"backup_{kind.value}")


def test_password_is_in_no_argument_of_a_program(postgresql: PostgreSQL, tmp_path: Path) -> None:
    script = tmp_path / "pg_dump"
    script.write_text(
        '#!/bin/sh\necho "$0 $*" >"$(dirname "$0")/seen"\ncat "$PGPASSFILE" >"$(dirname "$0")/passfile"\nexit 1\n'
    )
    script.chmod(0o755)
    with engine_of(postgresql) as engine:
        engine.tools_folder = tmp_path
        result = engine.get_database("postgres").backup(tmp_path / "backup")
    password = postgresql.address()["password"]
    assert result.is_failure()
    assert password not in (tmp_path / "seen").read_text()
    assert password in (tmp_path / "passfile").read_text()
    assert password not in repr(result)


def test_server_is_started_and_stopped_by_what_is_told(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory()
    pid = server.pid
    control = Command(stop=["kill", "-INT", str(pid)], forced={"stop": ["kill", "-QUIT", str(pid)]})
    with engine_of(server, control=control) as engine:
        shown = engine.shutdown(dry_run=True)
        assert (shown.data or {})["statements"] == [f"kill -INT {pid}"]
        assert engine.get_version()
        assert "no way to build" in (engine.build().error or "")
        assert engine.shutdown().is_success()
    server.wait_stopped()
