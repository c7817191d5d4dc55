"""Snowflake for asyncio is in threads: a deadline is told, and a call that nobody waits for ends on the server, too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gds_database import open_engine, open_engine_async
from gds_database.errors import StatementTimeoutError
from tests.services.process import WAIT_TIMEOUT_SECONDS, wait_until
from tests.services.snowflake import Snowflake

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

VERSION = "CURRENT_VERSION"


@pytest.fixture
def server(snowflake: Snowflake) -> Iterator[Snowflake]:
    yield snowflake
    snowflake.hold(None)


async def held(server: Snowflake, count: int = 1) -> None:
    await asyncio.to_thread(wait_until, lambda: len(server.held()) == count, what=f"{count} statements to be held")


async def test_deadline_is_told_and_ends_the_statement_on_the_server(server: Snowflake) -> None:
    async with await open_engine_async(server.url, timeout_seconds=1) as engine:
        server.hold(VERSION)
        with pytest.raises(StatementTimeoutError, match="after 1 s, which is its timeout_seconds") as caught:
            await engine.get_version()
        assert caught.value.__context__ is None
        assert (len(server.cancelled()), server.held()) == (1, [])
        server.hold(None)
        engine.engine.timeout_seconds = WAIT_TIMEOUT_SECONDS  # type: ignore[attr-defined]
        assert await engine.get_version()


async def test_call_that_is_cancelled_ends_on_the_server_and_frees_its_place(server: Snowflake) -> None:
    # There is one place, and by its own time the statement would keep it for far longer than this test waits.
    async with await open_engine_async(server.url, threads=1, timeout_seconds=10 * WAIT_TIMEOUT_SECONDS) as engine:
        server.hold(VERSION)
        task = asyncio.create_task(engine.get_version())
        await held(server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await asyncio.wait_for(engine.get_server_time(), WAIT_TIMEOUT_SECONDS)).tzinfo is not None
        assert (len(server.cancelled()), server.held()) == (1, [])


async def test_cancelled_call_asks_nothing_more(server: Snowflake) -> None:
    # Views that cannot be read are left out, so the end of one statement would not be the end of the call.
    async with await open_engine_async(server.url, timeout_seconds=10 * WAIT_TIMEOUT_SECONDS) as engine:
        server.hold("ACCOUNT_USAGE")
        now = datetime.now(timezone.utc)
        task = asyncio.create_task(engine.get_metrics(now - timedelta(hours=1), now))
        await held(server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(engine.list_users(), WAIT_TIMEOUT_SECONDS)
        assert (len(server.cancelled()), server.held()) == (1, [])


async def test_cancelled_change_is_not_made(server: Snowflake) -> None:
    async with await open_engine_async(server.url, timeout_seconds=10 * WAIT_TIMEOUT_SECONDS) as engine:
        server.hold("CREATE DATABASE")
        task = asyncio.create_task(engine.create_database("never made"))
        await held(server)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await asyncio.wait_for(engine.get_database("never made").exists(), WAIT_TIMEOUT_SECONDS)
        assert server.cancelled() == ['CREATE DATABASE "never made"']


def test_without_asyncio_the_deadline_is_the_same(server: Snowflake) -> None:
    with open_engine(server.url, timeout_seconds=0.2) as engine:
        server.hold("CREATE USER")
        result: Any = engine.create_user("never made", "Canary-77ab'x")
        assert result.error == "Snowflake ended the statement after 1 s, which is its timeout_seconds"
        assert result.metadata["error_type"] == "StatementTimeoutError"
        assert "Canary" not in repr(result)
        assert len(server.cancelled()) == 1
        assert "never made" not in engine.list_users()
