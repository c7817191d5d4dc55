"""What every collector does when its server is away, silent or killed: on what stands for each platform."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from gds_monitor.base import MonitoringResult
from gds_monitor.collectors._packs import PackCollector
from tests.monitor.cycles import cycle, grown, values
from tests.monitor.platforms import MongoDBPlatform, Platform, SnowflakePlatform, SQLServerPlatform
from tests.services.fixtures import require_service
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer
from tests.services.process import wait_until
from tests.services.snowflake import Snowflake
from tests.services.toxiproxy import Toxiproxy

pytestmark = [pytest.mark.anyio, pytest.mark.timing, pytest.mark.server]

BUDGET_SECONDS = 6.0
INTERVAL_SECONDS = 30.0


def _on_mongodb() -> Platform:
    require_service("mongodb")
    return MongoDBPlatform(MongoDB())


def _on_mssql() -> Platform:
    return SQLServerPlatform(SqlServer())


def _on_snowflake() -> Platform:
    require_service("snowflake")
    return SnowflakePlatform(Snowflake())


_MAKERS = {"mongodb": _on_mongodb, "mssql": _on_mssql, "snowflake": _on_snowflake}


@pytest.fixture(params=list(_MAKERS))
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """One with a server of its own; no thread of a driver is left when it has ended."""
    found = _MAKERS[request.param]()
    before = set(threading.enumerate())
    with found.server:
        yield found
        found.close()
    wait_until(lambda: not _left(before), what=f"threads to end: {_left(before)}", timeout_seconds=INTERVAL_SECONDS)


def _left(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that are new, but for the one that watches over all deadlines of SQL Server."""
    return [each for each in threading.enumerate() if each not in before and each.name != "gds-mssql-deadlines"]


async def back_within_an_interval(collector: PackCollector) -> MonitoringResult:
    """A driver that blocks is let alone until its own time is over, so the first cycle may still be without."""
    deadline = time.monotonic() + INTERVAL_SECONDS
    while values(result := await cycle(collector), "monitor.up") != {(): 1.0}:
        assert time.monotonic() < deadline, result.outcomes
        await asyncio.sleep(0.5)
    return result


async def test_a_killed_server_is_told_by_everything_planned_and_found_again(platform: Platform) -> None:
    platform.make_things("shop", 1)
    collector = platform.collector(databases=["shop"])
    try:
        first = await cycle(collector)
        assert first.success, first.outcomes
        await asyncio.to_thread(platform.server.kill)
        result = await cycle(collector)
        assert result.failed == result.planned == first.planned
        assert set(result.reasons) <= {"connection", "statement_timeout"}
        assert values(result, "monitor.up") == {(): 0.0}
        assert not values(result, "always")
        await asyncio.to_thread(platform.server.start)
        again = await back_within_an_interval(collector)
        assert values(again, "always")
        if platform.counts:
            before, after = grown(first, "allowed"), grown(again, "allowed")
            assert before is not None
            assert after is not None
            assert before < after, "the restart is seen"
    finally:
        await collector.close()


async def test_a_server_killed_in_the_middle_of_a_cycle_leaves_nothing_untold(
    platform: Platform, toxiproxy: Toxiproxy
) -> None:
    proxy = toxiproxy.proxy(platform.server.port)
    collector = platform.collector(platform.url(port=proxy.port), databases=[])
    try:
        first = await cycle(collector)
        # Each question takes long enough for the server to be killed under it.
        proxy.latency(1000)
        running = asyncio.create_task(cycle(collector))
        done, _ = await asyncio.wait({running}, timeout=0.5)
        assert not done
        await asyncio.to_thread(platform.server.kill)
        result = await running
        assert result.planned == first.planned
        assert result.failed == result.planned - result.skipped
        assert set(result.reasons) <= {"connection", "statement_timeout"}, result.outcomes
        proxy.reset()
        await asyncio.to_thread(platform.server.start)
        await back_within_an_interval(collector)
    finally:
        await collector.close()


async def test_a_silent_server_costs_no_more_than_the_cycle_has(platform: Platform, toxiproxy: Toxiproxy) -> None:
    proxy = toxiproxy.proxy(platform.server.port)
    collector = platform.collector(platform.url(port=proxy.port), databases=[])
    collector.budget_seconds = BUDGET_SECONDS
    try:
        planned = (await cycle(collector)).planned
        proxy.half_open()
        # First an open connection falls silent, then none can be opened.
        for expected in ({"connection", "statement_timeout"}, {"connection"}):
            began = time.monotonic()
            result = await cycle(collector)
            assert time.monotonic() - began < BUDGET_SECONDS + 2
            assert result.failed == result.planned == planned
            assert set(result.reasons) <= expected
        proxy.reset()
        await back_within_an_interval(collector)
    finally:
        await collector.close()


async def test_aborting_ends_a_cycle_that_waits(platform: Platform, toxiproxy: Toxiproxy) -> None:
    proxy = toxiproxy.proxy(platform.server.port)
    collector = platform.collector(platform.url(port=proxy.port), databases=[])
    try:
        await cycle(collector)
        proxy.half_open()
        running = asyncio.create_task(cycle(collector))
        done, _ = await asyncio.wait({running}, timeout=0.5)
        assert not done
        collector.abort()
        result = await asyncio.wait_for(running, 3)
        assert set(result.reasons) <= {"aborted", "connection"}
        proxy.reset()
        await back_within_an_interval(collector)
    finally:
        await collector.close()
