from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gds_monitor.base import BaseMonitor
from gds_monitor.collectors import postgresql as module
from gds_monitor.collectors.postgresql import PostgreSQLCollector
from tests.monitor.cycles import cycle, reasons, values
from tests.monitor.doubles import Kept
from tests.monitor.postgresql import backends, unique, url
from tests.monitor.small_pack import SMALL, small
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[str]:
    name = unique("watched")
    postgresql.ask(f"CREATE DATABASE {name}")
    postgresql.ask("CREATE TABLE things AS SELECT 1 AS n", dbname=name)
    yield name
    postgresql.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def collector_of(server: PostgreSQL, pack: str = SMALL, **settings: Any) -> PostgreSQLCollector:
    address = {name: settings.pop(name) for name in ("user", "password", "port") if name in settings}
    return PostgreSQLCollector(url(server, **address), packs=[small(pack)], **settings)


async def test_real_values_come_of_the_instance_and_of_each_database(postgresql: PostgreSQL, database: str) -> None:
    collector = collector_of(postgresql, databases=[database, "postgres"])
    try:
        result = await cycle(collector)
        assert result.success, result.reasons
        assert reasons(result) == {
            ("backends", None): "",
            ("tables", database): "",
            ("tables", "postgres"): "",
            ("standby", None): "role",
            ("statements", None): "",
        }
        assert values(result, "postgresql.backends")[()] >= 1
        # In the database postgres others may have tables.
        sizes = values(result, "postgresql.table.size")
        assert {tags: size for tags, size in sizes.items() if tags[1] == database} == {("things", database): 8192.0}
        assert values(result, "monitor.up") == {(): 1.0}
        assert collector.get_metadata()["role"] == "primary"
        assert "pa55" not in str(collector.get_metadata())
        wait_until(lambda: [name for _, name in backends(postgresql)] == ["postgres"], what="us to be home")
    finally:
        await collector.close()


async def test_a_held_lock_costs_its_own_metric_and_nothing_else(postgresql: PostgreSQL, database: str) -> None:
    collector = collector_of(postgresql, databases=[database])
    with postgresql.connect(dbname=database, autocommit=False) as holder:
        holder.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        try:
            for _ in range(30):
                result = await cycle(collector)
                assert reasons(result)["tables", database] == "lock_timeout"
                assert reasons(result)["backends", None] == ""
                assert values(result, "postgresql.backends")
                assert len(backends(postgresql)) <= 1
            holder.rollback()
            assert (await cycle(collector)).success
        finally:
            await collector.close()


async def test_a_dropped_and_a_renamed_database_are_followed(postgresql: PostgreSQL, database: str) -> None:
    collector = collector_of(postgresql)
    renamed = unique("renamed")
    try:
        assert ("tables", database) in reasons(await cycle(collector))
        postgresql.ask(f"ALTER DATABASE {database} RENAME TO {renamed}")
        result = await cycle(collector)
        assert ("tables", renamed) in reasons(result)
        assert ("tables", database) not in reasons(result)
        postgresql.ask(f"DROP DATABASE {renamed}")
        result = await cycle(collector)
        assert ("tables", renamed) not in reasons(result)
        assert result.success, result.reasons
    finally:
        await collector.close()


async def test_a_missing_privilege_is_told_and_its_grant_works_without_a_restart(postgresql: PostgreSQL) -> None:
    role = unique("watcher")
    postgresql.ask(f"CREATE ROLE {role} LOGIN PASSWORD 'w4tcher'")
    collector = collector_of(postgresql, user=role, password="w4tcher", databases=[])
    try:
        result = await cycle(collector)
        assert reasons(result)["statements", None] == "privilege"
        assert not result.success
        assert not values(result, "postgresql.statements")
        postgresql.ask(f"GRANT pg_read_all_stats TO {role}")
        result = await cycle(collector)
        assert reasons(result)["statements", None] == ""
        assert result.success
    finally:
        await collector.close()


async def test_a_promotion_changes_what_is_measured(postgresql_factory: PostgreSQLFactory) -> None:
    primary = postgresql_factory()
    with primary.standby("follower") as standby:
        collector = collector_of(standby, databases=[])
        try:
            result = await cycle(collector)
            assert reasons(result)["standby", None] == ""
            assert values(result, "postgresql.replay.lag")
            standby.ask("SELECT pg_promote()")
            result = await cycle(collector)
            assert reasons(result)["standby", None] == "role"
            assert not values(result, "postgresql.replay.lag")
        finally:
            await collector.close()


async def test_a_killed_server_is_reported_by_everything_planned_and_found_again(
    postgresql_factory: PostgreSQLFactory,
) -> None:
    server = postgresql_factory()
    collector = collector_of(server)
    try:
        planned = (await cycle(collector)).planned
        await asyncio.to_thread(server.kill)
        result = await cycle(collector)
        assert result.planned == planned
        assert result.reasons == {"connection": planned}
        assert values(result, "monitor.up") == {(): 0.0}
        await asyncio.to_thread(server.start)
        assert (await cycle(collector)).success
    finally:
        await collector.close()


async def test_a_scarce_server_is_not_robbed_of_its_last_connections(
    postgresql: PostgreSQL, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESERVED_CONNECTIONS", 1000)
    collector = collector_of(postgresql, databases=[database, "postgres"])
    try:
        result = await cycle(collector)
        assert reasons(result)["tables", database] == "connections_scarce"
        assert reasons(result)["backends", None] == ""
        assert collector.session.connections == 1
    finally:
        await collector.close()


async def test_budgets_leave_the_rest_for_the_next_cycle_in_which_it_comes_first(postgresql: PostgreSQL) -> None:
    names = [unique("many") for _ in range(3)]
    for name in names:
        postgresql.ask(f"CREATE DATABASE {name}")
    slow = """
pack: slow
engine: postgresql
collectors:
- name: slow
  scope: database
  budget_seconds: 0.3
  queries:
  - name: slow
    sql: SELECT pg_sleep(0.35), 1 AS n
    metrics:
    - {name: slow, value: n}
"""
    collector = collector_of(postgresql, slow, databases=names)
    try:
        seen = []
        for _ in range(3):
            result = await cycle(collector)
            found = reasons(result)
            (asked,) = [str(name) for (_, name), reason in found.items() if reason == "statement_timeout"]
            assert sorted(found.values()) == ["database_budget", "database_budget", "statement_timeout"]
            seen.append(asked)
        assert sorted(seen) == sorted(names)
    finally:
        await collector.close()
        for name in names:
            postgresql.ask(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_pack_s_interval_is_longer_than_a_cycle(postgresql: PostgreSQL) -> None:
    rarely = SMALL.replace("- name: backends\n", "- name: backends\n  interval_seconds: 3600\n", 1)
    collector = collector_of(postgresql, rarely, databases=[])
    try:
        assert ("backends", None) in reasons(await cycle(collector))
        assert ("backends", None) not in reasons(await cycle(collector))
    finally:
        await collector.close()


async def test_a_feature_flag_switches_a_collector_off(postgresql: PostgreSQL) -> None:
    collector = collector_of(postgresql, databases=[], disabled=["backends"])
    output = Kept()
    try:
        result = await BaseMonitor(collector, [output]).run_monitoring_cycle()
        assert reasons(result)["backends", None] == "disabled"
        assert "postgresql.backends" not in {metric.metric_name for metric in output.metrics}
    finally:
        await collector.close()
