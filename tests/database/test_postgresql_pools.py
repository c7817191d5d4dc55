"""PostgreSQL behind pgbouncer by transaction: whatever an engine leaves in a session, the next program finds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gds_database import open_engine_async
from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.errors import QueryError, StatementTimeoutError
from tests.database.postgresql import OlderConnection, engine_of, unique
from tests.services.pgbouncer import PgBouncer
from tests.services.postgresql import PostgreSQL

SESSION = (
    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), "
    "current_setting('default_transaction_read_only'), (SELECT count(*) FROM pg_prepared_statements)"
)
UNTOUCHED = ("0", "0", "off", 0)

Program = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def program(postgresql: PostgreSQL, pgbouncer: PgBouncer) -> Iterator[Program]:
    """Somebody else who uses the pool, and gets the session that the engine had."""
    with closing(postgresql.connect(port=pgbouncer.port, prepare_threshold=None)) as session:
        yield session


@pytest.fixture
def engine(postgresql: PostgreSQL, pgbouncer: PgBouncer) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql, port=pgbouncer.port) as engine:
        yield engine


def process(program: Program) -> int:
    """Of the session of the server."""
    ((number,),) = program.execute("SELECT pg_backend_pid()").fetchall()
    return int(number)


def reads(engine: PostgreSQLEngine) -> dict[str, Callable[[], object]]:
    now = datetime.now(timezone.utc)
    return {
        "metadata": lambda: engine.metadata,
        "get_version": engine.get_version,
        "get_server_time": engine.get_server_time,
        "list_databases": engine.list_databases,
        "size": lambda: engine.get_database("postgres").metadata,
        "list_users": engine.list_users,
        "list_processes": engine.list_processes,
        "get_configuration": engine.get_configuration,
        "get_metrics": lambda: engine.get_metrics(now - timedelta(hours=1), now + timedelta(hours=1)),
        "get_logs": lambda: engine.get_logs(now - timedelta(seconds=1), now),
        "get_replication_status": engine.get_replication_status,
    }


def test_what_reads_leaves_the_session_untouched(engine: PostgreSQLEngine, program: Program) -> None:
    session = process(program)
    for name, read in reads(engine).items():
        assert read(), name
        assert program.execute(SESSION).fetchall() == [UNTOUCHED], name
    with pytest.raises(QueryError, match="read-only"):
        engine._query("CREATE TABLE never (n int)")
    table = unique("pooled")
    program.execute(f"CREATE TABLE {table} (n int)")
    assert process(program) == session


def test_what_changes_is_kept_and_leaves_the_session_untouched(
    engine: PostgreSQLEngine, program: Program, postgresql: PostgreSQL
) -> None:
    name, user = unique("pooled"), unique("pooled")
    with closing(postgresql.connect()) as other:
        changes: list[Callable[[], Any]] = [
            lambda: engine.get_database(name).create(),
            lambda: engine.get_database(name).drop(),
            lambda: engine.create_user(user, "Canary-51d0", roles=["pg_monitor"]),
            lambda: engine.drop_user(user),
            lambda: engine.set_configuration("deadlock_timeout", "2s"),
            lambda: engine.set_configuration("deadlock_timeout", None),
            lambda: engine.kill_process(str(other.info.backend_pid)),
        ]
        for number, change in enumerate(changes):
            assert change().is_success(), number
            assert program.execute(SESSION).fetchall() == [UNTOUCHED], number
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")
    assert postgresql.ask("SELECT 1 FROM pg_database WHERE datname = %s", (name,)) == []
    assert "Canary-51d0" not in postgresql.log()


def test_statement_that_takes_too_long_is_ended_and_the_next_program_is_not(
    engine: PostgreSQLEngine, program: Program
) -> None:
    session = process(program)
    with pytest.raises(StatementTimeoutError):
        engine._query("SELECT pg_sleep(600) AS s", timeout_seconds=0.2)
    assert program.execute(SESSION).fetchall() == [UNTOUCHED]
    assert process(program) == session
    assert engine.get_version()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("autocommit", [False, True])
def test_connection_of_the_program_goes_through_a_pool_as_well(
    postgresql: PostgreSQL, pgbouncer: PgBouncer, program: Program, driver: str, autocommit: bool
) -> None:
    older = OlderConnection(postgresql, driver, autocommit=autocommit, port=pgbouncer.port)
    older.connect()
    with closing(older.connection):
        engine, name = PostgreSQLEngine(older), unique("pooled")
        for _ in range(7):  # more than psycopg runs before it prepares
            assert engine.list_users()
        assert engine.get_database(name).create().is_success()
        assert program.execute(SESSION).fetchall() == [UNTOUCHED]
        assert engine.get_database(name).drop().is_success()
        assert program.execute(SESSION).fetchall() == [UNTOUCHED]


def test_two_engines_use_the_sessions_in_turn(postgresql: PostgreSQL) -> None:
    with (
        PgBouncer(postgresql, sessions=2) as pool,
        engine_of(postgresql, port=pool.port) as one,
        engine_of(postgresql, port=pool.port) as two,
        closing(postgresql.connect(port=pool.port, prepare_threshold=None)) as program,
    ):
        seen = set()
        for _ in range(4):
            with program.transaction():  # whoever comes meanwhile has the other session
                seen.add(process(program))
                assert one.list_users() == two.list_users()
            with program.transaction():
                seen.add(process(program))
                assert one.get_setting("work_mem") == two.get_setting("work_mem")
        assert program.execute(SESSION).fetchall() == [UNTOUCHED]
        assert seen


@pytest.mark.anyio
async def test_twin_for_asyncio_leaves_the_session_untouched(
    postgresql: PostgreSQL, pgbouncer: PgBouncer, program: Program
) -> None:
    address = postgresql.address(port=pgbouncer.port)
    where = f"{address['host']}:{address['port']}/{address['dbname']}"
    engine = await open_engine_async(f"postgresql://{address['user']}:{address['password']}@{where}")
    async with engine:
        for _ in range(3):
            assert await engine.get_version()
            assert await engine.list_processes()
            assert (await engine.get_replication_status()).role == "standalone"
            assert program.execute(SESSION).fetchall() == [UNTOUCHED]


def test_backups_and_restores_are_refused_and_told_where_to_go(
    engine: PostgreSQLEngine, program: Program, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    # pg_dump empties the search_path of its session, which the next program of the pool would find.
    session = process(program)
    name = unique("pooled")
    database: Any = engine.create_database(name)
    for dry_run in (True, False):
        for backed_up in (database, engine):
            refused = backed_up.backup(tmp_path / "backup", dry_run=dry_run)
            assert "goes through a pool" in str(refused.error)
            assert "connected to the server itself" in str(refused.error)
    with engine_of(postgresql) as direct:
        assert direct.get_database(name).backup(str(tmp_path / "backup")).is_success()
    assert "goes through a pool" in str(database.restore(str(tmp_path / "backup")).error)
    assert program.execute("SELECT current_setting('search_path')").fetchall() == [('"$user", public',)]
    assert process(program) == session
    assert database.drop().is_success()
