"""The pack for PostgreSQL on a real one and its standby: every collector tells something, or why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from gds_monitor import Metric
from gds_monitor.packs import (
    CollectionPlan,
    Outcome,
    Pack,
    ServerFacts,
    Target,
    TextEvent,
    plan,
    postgresql_facts,
    run_query,
    shipped_pack,
)
from tests.services.fixtures import require_service
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until

pytestmark = pytest.mark.server

PASSWORD = "m0nit0r-pa55"
CANARY = "canary-5eCre7"


@dataclass
class Cycle:
    """What one cycle gave."""

    facts: ServerFacts
    plan: CollectionPlan
    outcomes: list[tuple[str, str, Outcome]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def metrics(self) -> list[Metric]:
        return [metric for _, _, outcome in self.outcomes for metric in outcome.metrics]

    @property
    def events(self) -> list[TextEvent]:
        return [event for _, _, outcome in self.outcomes for event in outcome.events]

    def values(self, name: str, **labels: str) -> list[float]:
        wanted = {label.replace("__", "."): value for label, value in labels.items()}
        return [
            float(metric.value)
            for metric in self.metrics
            if metric.metric_name == name and wanted.items() <= metric.tags.items()
        ]


def cycle(server: PostgreSQL, pack: Pack, memory: dict[Any, Any] | None = None, login: Any = None) -> Cycle:
    """One cycle as a system runs it: one connection, databases in turn."""
    with ExitStack() as stack:
        sessions: dict[str, Any] = {}

        def run_in(database: str) -> Any:
            if database not in sessions:
                address = {"autocommit": True, "row_factory": dict_row, "dbname": database, **(login or {})}
                sessions[database] = stack.enter_context(psycopg.connect(**server.address(**address)))
                sessions[database].execute("SET default_transaction_read_only = on")
                sessions[database].execute("SET lock_timeout = '100ms'")
            return lambda sql: sessions[database].execute(sql).fetchall()

        facts = postgresql_facts(run_in("postgres"), settings=["archive_mode"])
        done = Cycle(facts, plan(pack, facts))
        kept = {} if memory is None else memory
        for planned in done.plan.queries:
            for database in planned.databases:
                target = Target(
                    instance_id="one",
                    database_type="postgresql",
                    database=database if planned.collector.scope == "database" else None,
                    server_start=facts.server_start,
                    counts=done.counts,
                    memory=kept,
                )
                outcome = run_query(planned, run_in(database), target)
                done.outcomes.append((planned.collector.name, database, outcome))
        return done


def only(*names: str) -> Pack:
    pack = shipped_pack("postgresql")
    return replace(pack, collectors=tuple(each for each in pack.collectors if each.name in names))


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgreSQL]:
    require_service("postgresql")
    with PostgreSQL({"shared_preload_libraries": "pg_stat_statements", "track_functions": "all"}) as server:
        server.ask("CREATE EXTENSION pg_stat_statements")
        server.ask("CREATE TABLE plain AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 20000) n")
        server.ask("CREATE INDEX ON plain (n)")
        server.ask("CREATE SEQUENCE few AS smallint")
        server.ask("SELECT nextval('few')")
        server.ask("CREATE FUNCTION twice(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n * 2; END'")
        server.ask("SELECT twice(4)")
        server.ask('CREATE DATABASE "店铺"')
        server.ask('CREATE TABLE "データ" (n int)', dbname="店铺")
        server.ask("VACUUM ANALYZE plain")
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgreSQL) -> Iterator[PostgreSQL]:
    with primary.standby("one") as server:
        primary.caught_up(server)
        yield server


@pytest.fixture
def monitor(primary: PostgreSQL) -> Iterator[dict[str, str]]:
    """A login without any privilege."""
    primary.ask(f"CREATE ROLE monitor LOGIN PASSWORD '{PASSWORD}'")
    yield {"user": "monitor", "password": PASSWORD}
    primary.ask("DROP ROLE monitor")


def reported(done: Cycle) -> set[tuple[str, str]]:
    """Each collector and database with success, or with the reason for which none of its queries runs."""
    idle = done.plan.idle()
    successes = {(collector, database) for collector, database, _ in done.outcomes}
    return successes | {(name, database) for name, database in done.plan.expected if name in idle}


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_every_collector_reports_success_or_a_reason(role: str, primary: PostgreSQL, standby: PostgreSQL) -> None:
    done = cycle(primary if role == "primary" else standby, shipped_pack("postgresql"))
    assert done.facts.role == role
    assert reported(done) == set(done.plan.expected)
    assert len(done.plan.expected) == sum(
        2 if each.scope == "database" else 1 for each in shipped_pack("postgresql").collectors
    )
    silent = {collector for collector, _, _ in done.outcomes} - {
        collector for collector, _, outcome in done.outcomes if outcome.metrics
    }
    # Nothing goes on, and no function was called on the standby.
    assert silent <= ({"progress"} if role == "primary" else {"progress", "functions"})
    assert {each.reason for each in done.plan.skipped} <= {"version", "role", "setting"}
    assert not {"not_a_number", "missing_column", "duplicate", "truncated"} & done.counts.keys()


def test_the_standby_says_how_far_it_is_and_the_primary_who_follows(primary: PostgreSQL, standby: PostgreSQL) -> None:
    here, there = cycle(primary, only("replication", "wal", "server")), cycle(standby, only("replication", "server"))
    assert here.values("postgresql.replication.followers") == [1]
    assert here.values("postgresql.replication.data_delay", application_name="one", slot="one")
    assert here.values("postgresql.slot.active", slot="one") == [1]
    assert here.values("postgresql.replication.is_replica") == [0]
    assert there.values("postgresql.replication.is_replica") == [1]
    assert there.values("postgresql.replication.lag") == [0], "nothing was written, so there is no lag"
    assert there.values("postgresql.receiver.timeline") == [1]


def test_without_privileges_what_would_be_wrong_is_withheld_and_a_grant_makes_it_whole(
    primary: PostgreSQL, monitor: dict[str, str]
) -> None:
    pack = shipped_pack("postgresql")
    whole = {metric.metric_name for metric in cycle(primary, pack).metrics}
    before = cycle(primary, pack, login=monitor)
    assert reported(before) == set(before.plan.expected)
    assert set(before.plan.missing_privileges()) == {
        "pg_monitor",
        "pg_read_all_data",
        "pg_read_all_settings",
        "pg_read_all_stats",
    }
    told = {metric.metric_name for metric in before.metrics}
    assert told < whole
    assert (
        not {"postgresql.backends", "postgresql.db_size", "postgresql.setting.value", "postgresql.query.calls"} & told
    )
    primary.ask("GRANT pg_monitor TO monitor")
    after = cycle(primary, pack, login=monitor)
    assert after.plan.missing_privileges() == ("pg_read_all_data",)
    # Of bloat it says why not, and of sequences how many it may not see.
    assert whole - {metric.metric_name for metric in after.metrics} == {
        "postgresql.sequence.used",
        "postgresql.table.bloat",
        "postgresql.table.bloat_ratio",
    }
    assert after.values("postgresql.sequence.unreadable", db__namespace="postgres") == [1]
    primary.ask("GRANT pg_read_all_data TO monitor")
    full = cycle(primary, pack, login=monitor)
    assert full.plan.missing_privileges() == ()
    assert whole == {metric.metric_name for metric in full.metrics}


def test_a_blocked_session_shows_with_its_blocker(primary: PostgreSQL) -> None:
    with primary.connect() as holder, primary.connect() as waiter:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE plain IN SHARE MODE")
        pid = waiter.info.backend_pid
        query = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(waiter.execute, "UPDATE plain SET n = 1")
            try:
                wait_until(lambda: primary.ask(query, (pid,)) != [], what="the session to wait")
                done = cycle(primary, only("locks"))
            finally:
                primary.ask("SELECT pg_cancel_backend(%s)", (pid,))
            assert isinstance(waiting.exception(), psycopg.errors.QueryCanceled)
        assert done.values("postgresql.lock.blocked", pid=str(holder.info.backend_pid)) == [1]
        assert done.values("postgresql.lock.waiting") == [1]
        assert done.values("postgresql.lock.longest_wait")[0] > 0


def test_a_table_that_is_held_exclusively_is_counted_and_the_others_are_measured(primary: PostgreSQL) -> None:
    primary.ask("CREATE TABLE IF NOT EXISTS beside AS SELECT 1 AS n")
    with primary.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        done = cycle(primary, only("tables"))
        holder.execute("ROLLBACK")
    assert done.values("postgresql.table.size", table="plain") == []
    assert done.values("postgresql.table.size", table="beside")
    assert done.values("postgresql.table.locked", db__namespace="postgres") == [1]


def test_names_in_any_script_arrive(primary: PostgreSQL) -> None:
    done = cycle(primary, only("tables", "databases"))
    assert done.values("postgresql.rows", db__namespace="店铺", table="データ", state="live") == [0]
    assert done.values("postgresql.commits", db__namespace="店铺")


def test_counters_say_since_when_they_count(primary: PostgreSQL) -> None:
    primary.ask("SELECT pg_stat_reset_shared('wal')")
    done = cycle(primary, only("wal", "checkpoints"))
    started = {metric.metric_name: metric.start_timestamp for metric in done.metrics if metric.metric_type == "counter"}
    ((reset,),) = primary.ask("SELECT stats_reset FROM pg_stat_wal")
    assert started["postgresql.wal.bytes"] == reset
    assert started["postgresql.bgwriter.buffers.allocated"] is not None


def test_statements_are_few_and_their_texts_come_once_without_literals(primary: PostgreSQL) -> None:
    primary.ask(f"ALTER ROLE postgres SET application_name = '{CANARY}'")
    primary.ask("ALTER ROLE postgres RESET application_name")
    memory: dict[Any, Any] = {}
    first = cycle(primary, only("statements"), memory)
    assert len(first.values("postgresql.query.calls")) <= 51
    assert first.events
    again = cycle(primary, only("statements"), memory)
    told = [event.attributes["db.query.id"] for event in (*first.events, *again.events)]
    assert len(told) == len(set(told)), "each text comes once"
    assert CANARY not in repr([*first.metrics, *first.events, *again.metrics, *again.events])
    shown = {text for event in first.events for text in (event.body,)}
    assert any("pg_stat_database" in text or "CREATE TABLE plain" in text for text in shown)


def test_a_column_that_is_gone_drops_one_metric(primary: PostgreSQL) -> None:
    pack = only("databases")
    facts = cycle(primary, pack).facts
    assert facts.columns is not None
    less = {**facts.columns, "pg_stat_database": facts.columns["pg_stat_database"] - {"deadlocks"}}
    planned = plan(pack, replace(facts, columns=less))
    everything = plan(pack, facts)
    assert len(planned.queries) == len(everything.queries)
    assert {each.metric for each in planned.dropped} - {each.metric for each in everything.dropped} == {
        "postgresql.deadlocks"
    }
    assert "d.deadlocks" not in str(planned.queries[0].statement)
