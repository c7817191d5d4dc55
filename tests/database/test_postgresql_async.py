"""The twin of the PostgreSQL engine for asyncio: the same answers, awaited natively."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gds_database import open_engine_async
from gds_database.aio import AsyncDatabaseEngine
from gds_database.engines.postgresql import PostgreSQLEngine, _session, aio
from gds_database.engines.postgresql._asking import Ask
from gds_database.engines.postgresql.aio import AsyncPostgreSQLEngine
from gds_database.errors import ConfigurationError, DatabaseConnectionError, QueryError, StatementTimeoutError
from tests.database.postgresql import OlderConnection, engine_of, unique
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import WAIT_TIMEOUT_SECONDS, wait_until
from tests.services.toxiproxy import Toxiproxy

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


def url(server: PostgreSQL, port: int | None = None) -> str:
    address = server.address()
    return f"postgresql://{address['user']}:{quote(address['password'])}@127.0.0.1:{port or server.port}/postgres"


async def opened(server: PostgreSQL, **settings: Any) -> AsyncPostgreSQLEngine:
    engine = await open_engine_async(url(server), **settings)
    assert isinstance(engine, AsyncPostgreSQLEngine)
    return engine


async def test_answers_are_those_of_the_engine_and_need_no_thread(postgresql: PostgreSQL) -> None:
    with engine_of(postgresql) as same:
        async with await opened(postgresql) as engine:
            assert await engine.get_version() == same.get_version()
            assert (await engine.metadata).version == same.metadata.version
            assert [each.name for each in await engine.list_databases()] == [
                each.name for each in same.list_databases()
            ]
            assert await engine.list_users() == same.list_users()
            own = await engine.get_configuration()
            assert own.keys() == same.get_configuration().keys()
            assert own["max_connections"] == 60
            assert await engine.get_setting("work_mem") == same.get_setting("work_mem")
            assert (await engine.get_replication_status()).role == same.get_replication_status().role
            assert sum(each["own"] for each in await engine.list_processes()) == 1
            all_names = [each.name for each in await engine.list_databases(templates=True)]
            assert all_names == [each.name for each in same.list_databases(templates=True)]
            assert "template0" in all_names
            server = {each["pid"] for each in same.list_processes(background=True) if not each["database"]}
            assert server & {each["pid"] for each in await engine.list_processes(background=True)}
            for ask in (engine.list_databases, engine.list_processes, engine.list_users):
                with pytest.raises(ConfigurationError, match=f"{ask.__name__}: there is no option 'tmplates'"):
                    await ask(tmplates=True)
            assert await engine.get_server_time() <= same.get_server_time()
            # The engine beneath, which would run in threads, has not even connected.
            assert not engine.engine.connection.is_connected()
            # What changes something does so there.
            name = unique("awaited")
            database = await engine.create_database(name)
            assert await database.exists()
            assert (await database.drop()).is_success()


async def test_whole_server_is_copied_and_who_is_cancelled_leaves_nothing(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    async with await opened(postgresql) as engine:
        engine.engine.tools_folder = postgresql.tools
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        backup = engine.backup(tmp_path / "never", progress=lambda _: loop.call_soon_threadsafe(begun.set))
        task = asyncio.create_task(backup)
        await asyncio.wait_for(begun.wait(), WAIT_TIMEOUT_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_until, lambda: list(tmp_path.iterdir()) == [], what="the half copy to be gone")
        assert (await engine.backup(tmp_path / "copy")).is_success()
        shown = await engine.restore(tmp_path / "copy", data_directory=tmp_path / "data", dry_run=True)
        assert shown.is_success(), shown.error


async def test_over_a_connection_of_somebody_else_it_has_all_that_the_engine_has(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    connection = OlderConnection(postgresql)
    connection.connect()
    try:
        engine = PostgreSQLEngine(connection)
        engine.tools_folder = postgresql.tools
        twin = AsyncDatabaseEngine(engine)
        assert "template0" in {each.name for each in await twin.list_databases(templates=True)}
        assert len(await twin.list_processes(background=True)) > len(await twin.list_processes())
        shown = await twin.backup(tmp_path / "copy", dry_run=True)
        assert shown.is_success(), shown.error
        assert shown.data is not None
        assert shown.data["dry_run"]
        refused = await twin.restore(tmp_path / "copy", data_directory=tmp_path / "data")
        assert refused.is_failure()
        await twin.close()
    finally:
        connection.disconnect()


async def test_many_may_ask_at_once_and_nothing_can_be_changed(postgresql: PostgreSQL) -> None:
    async with await opened(postgresql) as engine:
        assert len(set(await asyncio.gather(*(engine.get_version() for _ in range(20))))) == 1
        with pytest.raises(QueryError, match="read-only"):
            await engine._rows(Ask("CREATE TABLE never (n int)", ()))
        engine.engine.timeout_seconds = 0.2
        with pytest.raises(StatementTimeoutError, match="took too long"):
            await engine._rows(Ask("SELECT pg_sleep(600) AS s", ("s",)))
        engine.engine.timeout_seconds = 30
        assert await engine.get_version()


async def test_statement_that_nobody_waits_for_ends_on_the_server(postgresql: PostgreSQL) -> None:
    async with await opened(postgresql) as engine:
        word = unique("SELECT pg_sleep(600) AS s, 'abandoned")
        task = asyncio.create_task(engine._rows(Ask(f"{word}' AS w", ("s", "w"))))
        running = "SELECT count(*) FROM pg_stat_activity WHERE starts_with(query, %s) AND state = 'active'"

        def count(wanted: int) -> None:
            wait_until(lambda: postgresql.ask(running, (word,)) == [(wanted,)], what=f"{wanted} such statements")

        await asyncio.to_thread(count, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(count, 0)
        assert await engine.get_version()


async def test_server_that_goes_away_is_told_and_found_again(
    postgresql: PostgreSQL, toxiproxy: Toxiproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_session, "GRACE_SECONDS", 0.5)
    proxy = toxiproxy.proxy(postgresql.port)
    engine = await open_engine_async(url(postgresql, proxy.port))
    async with engine:
        assert await engine.get_version()
        proxy.half_open()
        engine.engine.timeout_seconds = 0.5  # type: ignore[attr-defined]
        with pytest.raises(DatabaseConnectionError, match="silent for 1 s"):
            await engine.get_version()
        engine.engine.timeout_seconds = 60  # type: ignore[attr-defined]
        proxy.reset()
        assert await engine.get_version()


async def test_certificate_that_is_not_good_is_told(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory(server_certificate="expired")
    with pytest.raises(DatabaseConnectionError, match="certificate has expired"):
        await open_engine_async(f"{url(server)}?sslmode=verify-full&sslrootcert={server.ca_file}")


def test_connection_of_somebody_else_is_left_to_threads(postgresql: PostgreSQL) -> None:
    with pytest.raises(ConfigurationError, match="AsyncDatabaseEngine takes any"):
        AsyncPostgreSQLEngine(PostgreSQLEngine(OlderConnection(postgresql)))


async def test_behind_a_pool_no_setting_is_left_in_a_session(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "is_pooled", lambda raw, process: True)
    async with await opened(postgresql) as engine:
        assert await engine.get_version()
        cursor = await engine._raw.execute("SELECT current_setting('default_transaction_read_only')")
        assert await cursor.fetchall() == [("off",)]
        with pytest.raises(QueryError, match="read-only"):
            await engine._rows(Ask("CREATE TABLE never (n int)", ()))
