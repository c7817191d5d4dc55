"""Availability groups, as their views tell of them; on what stands in for SQL Server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gds_database.engines.mssql import MSSQLEngine
from tests.services.fixtures import SqlServerFactory
from tests.services.mssql import SqlServer

from .sqlservers import connection_to, engine_on, set_up_group

PRIMARY: dict[str, Any] = {"role": "PRIMARY"}
SECONDARY: dict[str, Any] = {"role": "SECONDARY", "log_send_queue_size": 0, "redo_queue_size": 0}
LATE: dict[str, Any] = {
    **SECONDARY,
    "last_hardened_lsn": 400,
    "last_commit_lsn": 390,
    "log_send_queue_size": 3,
    "redo_queue_size": 4,
    "synchronization_state_desc": "SYNCHRONIZING",
    "ready": False,
}


@pytest.fixture(scope="module")
def node() -> Iterator[SqlServer]:
    with SqlServer() as server:
        yield server


@pytest.fixture
def engine(node: SqlServer) -> Iterator[MSSQLEngine]:
    with engine_on(node) as engine:
        yield engine


def test_a_copy_that_has_all_has_no_lag_however_long_that_is_ago(node: SqlServer, engine: MSSQLEngine) -> None:
    idle = {**SECONDARY, "secondary_lag_seconds": 4000, "last_commit_time": "2020-01-01 00:00:00"}
    set_up_group(node, "SQL1", {"SQL1": PRIMARY, "SQL2": idle})
    status = engine.get_replication_status()
    assert (status.enabled, status.role, status.mode) == (True, "primary", "availability group")
    assert (status.lag_seconds, status.lag_bytes, status.sync_state) == (0.0, 0, "SYNCHRONIZED")
    assert status.partners == ["SQL2"]
    assert [node["name"] for node in status.nodes] == ["SQL1", "SQL2"]


def test_the_slowest_copy_counts(node: SqlServer, engine: MSSQLEngine) -> None:
    set_up_group(node, "SQL1", {"SQL1": PRIMARY, "SQL2": SECONDARY, "SQL3": {**LATE, "secondary_lag_seconds": 12}})
    status = engine.get_replication_status()
    assert (status.lag_seconds, status.lag_bytes, status.sync_state) == (12.0, 7 * 1024, "SYNCHRONIZING")
    assert [node["lag_seconds"] for node in status.nodes] == [0.0, 0.0, 12.0]


@pytest.mark.parametrize(
    ("late", "lag"),
    [
        ({"secondary_lag_seconds": -3}, 0.0),  # never ahead
        ({"last_commit_time": "2026-01-01 00:00:10"}, 20.0),
        ({"last_commit_time": "2026-01-01 00:01:00"}, 0.0),  # a clock that is ahead makes no lag less than none
        ({}, 0.0),  # nothing is known
    ],
)
def test_without_the_lag_of_the_server_commits_are_compared(
    node: SqlServer, engine: MSSQLEngine, late: dict[str, Any], lag: float
) -> None:
    first = {**PRIMARY, "last_commit_time": "2026-01-01 00:00:30"}
    set_up_group(node, "SQL1", {"SQL1": first, "SQL2": {**LATE, **late}})
    assert engine.get_replication_status().lag_seconds == lag


def test_a_secondary_tells_of_itself(node: SqlServer, engine: MSSQLEngine) -> None:
    set_up_group(node, "SQL2", {"SQL1": PRIMARY, "SQL2": {**LATE, "secondary_lag_seconds": 5}})
    status = engine.get_replication_status()
    assert (status.role, status.lag_seconds, status.partners) == ("secondary", 5.0, ["SQL1"])


# ------------------------------------------------------------------ failover
def test_a_synchronized_secondary_takes_over(node: SqlServer, engine: MSSQLEngine) -> None:
    set_up_group(node, "SQL2", {"SQL1": PRIMARY, "SQL2": SECONDARY}, name="ag]1")
    shown = engine.failover("sql2", dry_run=True).data or {}
    assert shown["statements"] == ["ALTER AVAILABILITY GROUP [ag]]1] FAILOVER"]
    assert engine.get_replication_status().role == "secondary"
    result = engine.failover()
    assert result.is_success(), result.error
    assert (result.data or {})["may_lose_data"] is False
    assert engine.get_replication_status().role == "primary"
    assert "is the primary already" in (engine.failover("SQL2").error or "")


@pytest.mark.parametrize(
    ("secondary", "words"),
    [
        (LATE, "not synchronized: shop"),
        ({**SECONDARY, "mode": "ASYNCHRONOUS_COMMIT"}, "ASYNCHRONOUS_COMMIT"),
    ],
)
def test_one_that_may_lose_data_takes_over_only_by_force(
    node: SqlServer, engine: MSSQLEngine, secondary: dict[str, Any], words: str
) -> None:
    set_up_group(node, "SQL2", {"SQL1": PRIMARY, "SQL2": secondary})
    before = len(node.statements())
    for dry_run in (False, True):
        result = engine.failover(dry_run=dry_run)
        assert words in (result.error or "")
        assert "force=True" in (result.error or "")
    assert not any("ALTER AVAILABILITY" in text for text in node.statements()[before:])
    result = engine.failover(force=True)
    assert (result.data or {})["statements"] == ["ALTER AVAILABILITY GROUP [ag'1] FORCE_FAILOVER_ALLOW_DATA_LOSS"]
    assert engine.get_replication_status().role == "primary"


def test_the_primary_is_told_where_to_ask_and_asks_there_itself(sql_server_factory: SqlServerFactory) -> None:
    first, second = sql_server_factory(instance="SQL1"), sql_server_factory(instance="SQL2")
    nodes = {"SQL1": PRIMARY, "SQL2": SECONDARY}
    for name, server in (("SQL1", first), ("SQL2", second)):
        set_up_group(server, name, nodes)
    with engine_on(first) as engine, engine_on(second) as target:
        assert "connect an engine to SQL2" in (engine.failover().error or "")
        assert "connect an engine to SQL2" in (engine.failover("SQL2", dry_run=True).error or "")
        assert "SQL9" in (engine.failover("SQL9").error or "")
        assert "expected a MSSQLEngine" in (engine.failover(target=connection_to(second)).error or "")
        assert engine.failover("SQL2", target=target).is_success()
        assert target.get_replication_status().role == "primary"


def test_what_cannot_fail_over_says_why(node: SqlServer, engine: MSSQLEngine, sql_server: SqlServer) -> None:
    set_up_group(node, "SQL2", {"SQL1": PRIMARY, "SQL2": SECONDARY}, cluster_type="EXTERNAL")
    assert "Pacemaker" in (engine.failover().error or "")
    assert "no_such" in (engine.failover(group="no_such").error or "")
    with engine_on(sql_server) as alone:
        assert "in no availability group" in (alone.failover().error or "")
        assert alone.get_replication_status().enabled is False


def test_a_node_that_was_told_and_does_not_take_over_is_an_error(node: SqlServer) -> None:
    set_up_group(node, "SQL2", {"SQL1": PRIMARY, "SQL2": SECONDARY})
    with engine_on(node) as engine:
        engine._execute = lambda *_, **__: None  # type: ignore[method-assign]
        result = engine.failover(timeout_seconds=0.01)
    assert "was not the primary" in (result.error or "")
    assert (result.metadata or {})["error_type"] == "StatementTimeoutError"
