"""Somebody holds the strongest lock for three hundred cycles."""

from __future__ import annotations

from collections import Counter

import pytest

from gds_monitor.collectors import _session
from gds_monitor.collectors.postgresql import PostgreSQLCollector
from gds_monitor.system import MonitoringSystem
from tests.monitor.doubles import Kept
from tests.monitor.postgresql import unique, url
from tests.monitor.small_pack import small
from tests.services.postgresql import PostgreSQL

pytestmark = pytest.mark.anyio

CYCLES = 300
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gds_monitor'"


async def test_a_lock_held_for_three_hundred_cycles_costs_its_own_metric_and_one_backend(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of a second in three hundred cycles would be most of the test.
    monkeypatch.setattr(_session, "LOCK_TIMEOUT_MS", 5)
    database, instance = unique("held"), unique("instance")
    postgresql.ask(f"CREATE DATABASE {database}")
    postgresql.ask("CREATE TABLE things AS SELECT 1 AS n", dbname=database)
    output, system = Kept(), MonitoringSystem()
    system.add_output(output)
    collector = PostgreSQLCollector(url(postgresql), instance_id=instance, packs=[small()], databases=[database])
    job = system.add_collector(collector)
    backends, reasons = Counter[int](), Counter[tuple[str, str]]()
    try:
        with postgresql.connect() as watcher, postgresql.connect(dbname=database, autocommit=False) as holder:
            holder.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
            for _ in range(CYCLES):
                # One follows the other at once; each is one of the scheduler's, with its deadline.
                result = await system.scheduler.trigger(instance)
                assert result.succeeded + result.skipped + result.failed == result.planned == len(result.outcomes)
                reasons.update((each.collector, each.reason) for each in result.outcomes)
                backends.update(watcher.execute(OURS).fetchone())
            # The lock is still held, and its holder has waited for nobody.
            assert holder.execute("SELECT count(*) FROM things").fetchone() == (1,)
        assert job.cycles == CYCLES
        assert set(backends) <= {0, 1}
        assert reasons == {
            ("backends", ""): CYCLES,
            ("tables", "lock_timeout"): CYCLES,
            ("standby", "role"): CYCLES,
            ("statements", ""): CYCLES,
        }
        counted = Counter(metric.metric_name for metric in output.metrics)
        assert counted["postgresql.backends"] == counted["postgresql.statements"] == counted["monitor.up"] == CYCLES
        assert counted["postgresql.table.size"] == 0
        # Each cycle says of it that it is missing.
        missing = [
            metric.value
            for metric in output.metrics
            if metric.metric_name == "monitor.collector.success" and metric.tags["collector"] == "tables"
        ]
        assert missing == [0] * CYCLES
        result = await system.scheduler.trigger(instance)
        assert result.success, result.reasons
    finally:
        await system.stop()
        postgresql.ask(f"DROP DATABASE {database} WITH (FORCE)")
