"""What is said of versions that no server here has, and servers that are made and ended by pg_ctl."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gds_database.capabilities import TestedAgainst
from gds_database.control import PgCtl
from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine
from gds_database.engines.postgresql._metrics import _WRITER_17, _WRITER_COLUMNS
from gds_database.metadata import BackupType
from tests.database.postgresql import engine_of, unique
from tests.services.postgresql import PostgreSQL

# As the manual of version 17 describes them; 18 only adds columns.
SHAPES_17 = {
    "pg_stat_bgwriter": ("buffers_clean", "maxwritten_clean", "buffers_alloc"),
    "pg_stat_checkpointer": (
        *("num_timed", "num_requested", "restartpoints_timed", "restartpoints_req", "restartpoints_done"),
        *("write_time", "sync_time", "buffers_written"),
    ),
}


@pytest.fixture
def engine(postgresql: PostgreSQL) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql) as engine:
        yield engine


def test_statement_for_another_version_fits_its_views(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    schema = unique("shapes")
    postgresql.ask(f"CREATE SCHEMA {schema}")
    for view, columns in SHAPES_17.items():
        postgresql.ask(f"CREATE TABLE {schema}.{view} ({', '.join(f'{column} bigint' for column in columns)})")
        postgresql.ask(f"INSERT INTO {schema}.{view} VALUES ({', '.join('7' for _ in columns)})")
    (row,) = engine._query(_WRITER_17.replace("pg_catalog.", f"{schema}."), columns=_WRITER_COLUMNS)
    assert set(row.values()) == {7}


@pytest.mark.parametrize(
    ("number", "tested", "incremental"),
    [
        (120022, TestedAgainst.CHECKED, False),
        (150018, TestedAgainst.REAL, False),
        (170004, TestedAgainst.CHECKED, True),
    ],
)
def test_what_was_run_on_the_real_thing_is_told_by_version(
    engine: PostgreSQLEngine, number: int, tested: TestedAgainst, incremental: bool
) -> None:
    engine._number = number
    found = engine.capabilities()
    assert found["failover"].tested_against is tested
    assert found.supports("backup_incremental") is incremental
    assert found["backup_incremental"].tested_against is TestedAgainst.CHECKED
    engine.control = PgCtl("/data")
    assert engine.capabilities()["startup"].tested_against is tested


def test_sessions_are_ended_first_where_a_drop_cannot_do_it(engine: PostgreSQLEngine) -> None:
    database = engine.create_database(unique("dropped"))
    engine._number = 120022
    shown = database.drop(force=True, dry_run=True)  # type: ignore[call-arg]
    assert ["FORCE" in each for each in (shown.data or {})["statements"]] == [False, False]
    assert database.drop(force=True).is_success()
    assert not database.exists()


def test_incremental_backup_needs_the_one_before(engine: PostgreSQLEngine, postgresql: PostgreSQL) -> None:
    engine._number = 170004
    path = postgresql.folder / unique("incremental")
    assert "since=None" in (engine.backup(path, BackupType.INCREMENTAL).error or "")
    assert "backup_manifest" in (engine.backup(path, BackupType.INCREMENTAL, since=postgresql.folder).error or "")


def test_server_is_built_started_and_stopped_by_pg_ctl(postgresql: PostgreSQL, leased_port: int) -> None:
    who = postgresql.identity
    # Root may not run it, so that a script does it for another one.
    become = "" if who.user is None else f"setpriv --reuid={who.user} --regid={who.group} --clear-groups "
    script = postgresql.folder / unique("pg_ctl")
    script.write_text(f'#!/bin/sh\nexec {become}{postgresql.binary("pg_ctl")} "$@"\n')
    script.chmod(0o755)
    data = postgresql.folder / unique("built")
    control = PgCtl(
        str(data),
        program=str(script),
        log_file=str(postgresql.folder / "built.log"),
        options=f"-c port={leased_port} -c unix_socket_directories={postgresql.folder} -c listen_addresses=",
        build_options="--auth=trust --username=postgres --no-sync",
    )
    connection = PostgreSQLConnection(str(postgresql.folder), leased_port, "postgres", "postgres")
    engine = PostgreSQLEngine(connection, control=control)
    assert "pg_ctl" in (engine.startup(dry_run=True).data or {})["statements"][0]
    assert not data.exists()
    for name in ("build", "startup", "shutdown"):
        told = engine.capabilities()[name]
        assert (told.supported, told.tested_against) == (True, TestedAgainst.REAL)
    for result in (engine.build(timeout_seconds=120), engine.startup(timeout_seconds=120)):
        assert result.is_success(), result
    try:
        engine.connect()
        assert engine.metadata.status == "primary"
        assert engine.metadata.created_at is not None
    finally:
        stopped = engine.shutdown(force=True, timeout_seconds=120)
        engine.close()
    assert stopped.is_success(), stopped
    assert not (data / "postmaster.pid").exists()
    assert "no way to destroy" in (engine.destroy().error or "")
