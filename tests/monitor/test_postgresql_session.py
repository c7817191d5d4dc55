from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gds_monitor.collectors import _session
from gds_monitor.collectors._session import PostgreSQLSession
from gds_monitor.errors import CollectionError
from gds_monitor.secrets import Credentials
from tests.monitor.postgresql import backends, unique, url
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until
from tests.services.toxiproxy import Toxiproxy

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
"""For statements that do not wait, on a busy machine."""


@asynccontextmanager
async def session_of(server: PostgreSQL, **changes: Any) -> AsyncIterator[PostgreSQLSession]:
    session = PostgreSQLSession(Credentials(url(server, **changes)))
    try:
        yield session
    finally:
        await session.close()


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[str]:
    name = unique("visited")
    postgresql.ask(f"CREATE DATABASE {name}")
    yield name
    postgresql.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def refused(session: PostgreSQLSession, sql: str, **settings: Any) -> CollectionError:
    with pytest.raises(CollectionError) as caught:
        await session.query(sql, **{"timeout_seconds": PATIENCE, **settings})
    return caught.value


async def test_rows_come_with_their_columns_and_the_connection_stays(postgresql: PostgreSQL) -> None:
    async with session_of(postgresql) as session:
        answer = await session.query("SELECT 1 AS one, 'ü' AS two -- and no more", timeout_seconds=PATIENCE)
        assert answer == (["one", "two"], [(1, "ü")])
        first = backends(postgresql)
        await session.query("SELECT 2;", timeout_seconds=PATIENCE)
        assert backends(postgresql) == first
        assert len(first) == 1
    wait_until(lambda: backends(postgresql) == [], what="the session to end")


async def test_it_only_reads(postgresql: PostgreSQL) -> None:
    async with session_of(postgresql) as session:
        assert "read-only" in str(await refused(session, "CREATE TABLE never (n int)"))
        assert (await session.query("SELECT 1", timeout_seconds=PATIENCE)).rows == [(1,)]
        assert session.connections == 1


async def test_a_lock_is_not_waited_for(postgresql: PostgreSQL) -> None:
    table = unique("held")
    postgresql.ask(f"CREATE TABLE {table} (n int)")
    async with session_of(postgresql) as session:
        with postgresql.connect(autocommit=False) as holder:
            holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            error = await refused(session, f"SELECT pg_total_relation_size('{table}')")
            assert error.reason == "lock_timeout"
        assert (await session.query(f"SELECT count(*) FROM {table}", timeout_seconds=PATIENCE)).rows == [(0,)]
        assert session.connections == 1


async def test_the_server_ends_what_takes_too_long(postgresql: PostgreSQL) -> None:
    async with session_of(postgresql) as session:
        assert (await refused(session, "SELECT pg_sleep(3600)", timeout_seconds=0.2)).reason == "statement_timeout"
        assert (await session.query("SELECT 1", timeout_seconds=PATIENCE)).rows == [(1,)]
        assert session.connections == 1


async def test_a_cancelled_cycle_leaves_nothing_running_on_the_server(postgresql: PostgreSQL) -> None:
    async with session_of(postgresql) as session:
        await session.query("SELECT 1", timeout_seconds=PATIENCE)
        task = asyncio.create_task(session.query("SELECT pg_sleep(3600)", timeout_seconds=3600))
        running = (
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'gds_monitor' AND query LIKE '%pg_sleep(3600)%'"
        )
        await asyncio.to_thread(wait_until, lambda: postgresql.ask(running), what="the statement to run")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        wait_until(lambda: not postgresql.ask(running), what="the statement to end")


async def test_other_databases_are_visited_by_the_one_connection(postgresql: PostgreSQL, database: str) -> None:
    async with session_of(postgresql) as session:
        await session.query("SELECT 1", timeout_seconds=PATIENCE)
        here = await session.query("SELECT current_database()", timeout_seconds=PATIENCE, database=database)
        assert here.rows == [(database,)]
        wait_until(lambda: [name for _, name in backends(postgresql)] == [database], what="one session of ours")
        await session.go_home()
        wait_until(lambda: [name for _, name in backends(postgresql)] == ["postgres"], what="one session of ours")
        # Nobody is in its way now.
        postgresql.ask(f"DROP DATABASE {database}")
        error = await refused(session, "SELECT 1", database=database)
        assert error.reason == "database_gone"


async def test_a_server_that_was_killed_is_found_again(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory()
    async with session_of(server) as session:
        await session.query("SELECT 1", timeout_seconds=PATIENCE)
        asked = asyncio.create_task(session.query("SELECT pg_sleep(3600)", timeout_seconds=3600))
        await asyncio.to_thread(
            wait_until,
            lambda: server.ask(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND pid <> pg_backend_pid()"
            ),
            what="the statement to run",
        )
        await asyncio.to_thread(server.kill)
        with pytest.raises(CollectionError) as caught:
            await asked
        assert caught.value.reason == "connection"
        assert (await refused(session, "SELECT 1")).reason == "connection"
        await asyncio.to_thread(server.start)
        assert (await session.query("SELECT 1", timeout_seconds=PATIENCE)).rows == [(1,)]


async def test_a_silent_server_is_given_up(
    postgresql: PostgreSQL, toxiproxy: Toxiproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_session, "GRACE_SECONDS", 0.2)
    proxy = toxiproxy.proxy(postgresql.port)
    async with session_of(postgresql, port=proxy.port) as session:
        await session.query("SELECT 1", timeout_seconds=PATIENCE)
        proxy.half_open()
        error = await refused(session, "SELECT 1", timeout_seconds=0.2)
        assert error.reason == "statement_timeout"
        proxy.reset()
        assert (await session.query("SELECT 1", timeout_seconds=PATIENCE)).rows == [(1,)]
        assert session.connections == 2


async def test_a_wrong_password_is_not_tried_again_at_once(postgresql: PostgreSQL) -> None:
    async with session_of(postgresql, password="wr0ng-canary") as session:
        first = await refused(session, "SELECT 1")
        assert first.reason == "authentication"
        assert "wr0ng" not in str(first)
        before = postgresql.log().count("password authentication failed")
        second = await refused(session, "SELECT 1")
        assert second.reason == "authentication_backoff"
        assert postgresql.log().count("password authentication failed") == before


async def test_a_full_server_says_so(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory({"max_connections": 6, "superuser_reserved_connections": 2})
    server.ask("CREATE ROLE watcher LOGIN PASSWORD 'w4tcher'")
    taken = [server.connect() for _ in range(4)]
    try:
        async with session_of(server, user="watcher", password="w4tcher") as session:
            assert (await refused(session, "SELECT 1")).reason == "too_many_connections"
            taken.pop().close()
            await asyncio.to_thread(
                wait_until,
                lambda: (
                    server.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") == [(4,)]
                ),
                what="a seat",
            )
            assert (await session.query("SELECT 1", timeout_seconds=PATIENCE)).rows == [(1,)]
    finally:
        for each in taken:
            each.close()


async def test_text_that_is_none_comes_escaped(postgresql: PostgreSQL) -> None:
    name = unique("ascii")
    postgresql.ask(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        async with session_of(postgresql) as session:
            answer = await session.query(
                "SELECT convert_from('\\xe4fc'::bytea, 'SQL_ASCII') AS t", timeout_seconds=PATIENCE, database=name
            )
            assert answer.rows == [("\\xe4\\xfc",)]
    finally:
        postgresql.ask(f"DROP DATABASE {name} WITH (FORCE)")
