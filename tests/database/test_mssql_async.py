"""SQL Server for asyncio is in threads: a statement still ends by its time, and who waits no more is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gds_database import open_engine_async
from gds_database.errors import StatementTimeoutError
from tests.services.fixtures import SqlServerFactory
from tests.services.mssql import SqlServer
from tests.services.process import WAIT_TIMEOUT_SECONDS, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

SLOW = "SERVERPROPERTY"


@pytest.fixture
def server(sql_server_factory: SqlServerFactory) -> Iterator[SqlServer]:
    server = sql_server_factory()
    yield server
    server.no_faults()


def where(server: SqlServer) -> dict[str, object]:
    return {
        "engine": "mssql",
        "host": "127.0.0.1",
        "port": server.port,
        "user": "sa",
        "password": server.password,
        "trust_server_certificate": True,
    }


def patient(engine: Any) -> None:
    """Give the next statements all the time that a busy machine takes."""
    engine.engine.timeout_seconds = WAIT_TIMEOUT_SECONDS


async def test_statement_ends_by_its_time_and_the_next_one_is_answered(server: SqlServer) -> None:
    async with await open_engine_async(where(server), timeout_seconds=1) as engine:
        server.fault(SLOW, seconds=300)
        with pytest.raises(StatementTimeoutError):
            await engine.get_version()
        server.no_faults()
        patient(engine)
        assert await engine.get_version()


@pytest.mark.parametrize("driver", ["pymssql", "python-tds"])
async def test_task_that_is_cancelled_ends_on_the_server_and_frees_its_place(server: SqlServer, driver: str) -> None:
    config = {**where(server), "driver": driver, "ca_file": None}
    if driver == "python-tds":
        config["ca_file"] = str(server.certificate_authority)
    # There is one place, and by its own time the statement would keep it for far longer than this test waits.
    async with await open_engine_async(config, threads=1, timeout_seconds=10 * WAIT_TIMEOUT_SECONDS) as engine:
        server.fault(SLOW, seconds=20 * WAIT_TIMEOUT_SECONDS)
        task = asyncio.create_task(engine.get_version())
        await asyncio.to_thread(
            wait_until, lambda: any(SLOW in each for each in server.statements()), what="the statement to run"
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await asyncio.wait_for(engine.get_server_time(), WAIT_TIMEOUT_SECONDS)).tzinfo is not None
        # That was asked by a new session.
        await asyncio.to_thread(
            wait_until, lambda: len(server.sessions()) == 1, what="the server to end the one that was left"
        )


async def test_many_at_a_time_take_turns(server: SqlServer) -> None:
    async with await open_engine_async(where(server)) as engine:
        versions = await asyncio.gather(*(engine.get_version() for _ in range(12)))
        assert len(set(versions)) == 1
