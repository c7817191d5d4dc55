"""The packs for MongoDB, SQL Server and Snowflake against what stands in for these servers here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pymongo
import pymssql
import pytest
import sqlglot

from gds_monitor import Metric
from gds_monitor.packs import (
    ServerFacts,
    Target,
    mongodb_facts,
    plan,
    run_query,
    shipped_pack,
    sql_server_facts,
)
from gds_monitor.packs.native import ENGINES
from gds_monitor.packs.rows import number
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer


@pytest.fixture
def client(mongodb: MongoDB) -> Iterator[Any]:
    opened: Any = pymongo.MongoClient(mongodb.url)
    with opened as found:
        found["packs"]["orders"].insert_one({"n": 1})
        yield found
        found.drop_database("packs")


def test_the_pack_for_mongodb_tells_of_a_server_and_its_databases(client: Any) -> None:
    def run_in(database: str) -> Any:
        return lambda command: [client[database].command(dict(command))]

    facts = mongodb_facts(run_in("admin"))
    todo = plan(shipped_pack("mongodb"), facts)
    metrics: list[Metric] = []
    for planned in todo.queries:
        for database in planned.databases:
            each = planned.collector.scope != "instance"
            target = Target(
                instance_id="one",
                database_type="mongodb",
                database=database if each else None,
                server_start=facts.server_start,
            )
            if planned.query.name != "oplog":  # its statistics are not to be had here
                metrics += run_query(planned, run_in(planned.query.database or database), target).metrics
    told = {metric.metric_name: metric for metric in metrics}
    assert told["mongodb.operation.count"].start_timestamp == facts.server_start
    assert told["mongodb.replication.state"].value == 1
    stored = {metric.tags["db.namespace"] for metric in metrics if metric.metric_name == "mongodb.object.count"}
    assert "packs" in stored
    assert {each.query for each in todo.skipped} == {"balancer", "chunks"}


def test_a_mongodb_has_one_start_however_long_its_answers_take(client: Any) -> None:
    def run(command: Any) -> Any:
        return [client["admin"].command(dict(command))]

    first = mongodb_facts(run)
    assert first.server_start is not None
    later = replace(first, server_start=first.server_start - timedelta(seconds=5))
    assert mongodb_facts(run, known=later).server_start == later.server_start
    long_ago = replace(first, server_start=first.server_start - timedelta(days=1))
    assert mongodb_facts(run, known=long_ago).server_start != long_ago.server_start
    another = replace(later, settings={**later.settings, "process": "another"})
    assert mongodb_facts(run, known=another).server_start != another.server_start


@pytest.mark.parametrize("version", [13, 17])
def test_the_pack_for_sql_server_asks_for_columns_that_each_version_has(version: int) -> None:
    pack = shipped_pack("mssql")
    queries = [query for collector in pack.collectors for query in collector.queries]
    views = {query.view.split()[0] for query in queries if query.view}
    with SqlServer(version=version, offset_minutes=120) as server, _connected(server) as connection, _connected(server):

        def run(sql: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        facts = sql_server_facts(run, views=views)
        assert facts.version[0] == version
        assert facts.server_start is not None
        assert abs(facts.server_start - datetime.now(timezone.utc)) < timedelta(hours=1), "its zone is not ours"
        todo = plan(pack, facts)
        told: dict[str, list[Metric]] = {}
        for planned in todo.queries:
            target = Target(instance_id="one", database_type="mssql", server_start=facts.server_start)
            for each in run_query(planned, run, target).metrics:
                told.setdefault(each.metric_name, []).append(each)
            assert not {"missing_column", "not_a_number"} & target.counts.keys(), planned.query.name
    assert {"sqlserver.wait.time", "sqlserver.file.reads", "sqlserver.sessions", "sqlserver.database.state"} <= set(
        told
    )
    assert {metric.tags["db.query.id"] for metric in told["sqlserver.query.cpu_time"]} == {
        "0x0000000000000001",
        "0x0000000000000002",
    }
    assert sum(float(metric.value) for metric in told["sqlserver.tempdb.size"]) == 1000 * 8192
    assert {each.query for each in todo.skipped} == ({"persistent_versions"} if version < 15 else set())
    assert not todo.dropped


def _connected(server: SqlServer) -> Any:
    return pymssql.connect("127.0.0.1", "sa", server.password, port=str(server.port), as_dict=True, autocommit=True)


def test_what_msdb_knows_of_backups_and_jobs_is_told(sql_server: SqlServer) -> None:
    with _connected(sql_server) as connection:

        def run(sql: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        ended = (datetime.now(timezone.utc) - timedelta(hours=2)).replace(tzinfo=None).isoformat(" ")
        row = {
            "backup_set_id": 1,
            "database_name": "model",
            "type": "D",
            "backup_finish_date": ended,
            "backup_size": 4096,
        }
        sql_server.put("msdb.dbo.backupset", [{**row, "is_copy_only": False}])
        jobs = [f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2)]
        sql_server.put(
            "msdb.dbo.sysjobs",
            [{"job_id": job, "name": name, "enabled": 1} for job, name in zip(jobs, ("nightly", "new"), strict=True)],
        )
        done = {"job_id": jobs[0], "step_id": 0, "run_status": 1, "run_duration": 5}
        sql_server.put(
            "msdb.dbo.sysjobhistory",
            [{**done, "instance_id": 1}, {**done, "instance_id": 2, "run_status": 0, "run_duration": 10203}],
        )
        facts = sql_server_facts(run)
        target = Target(instance_id="one", database_type="mssql")
        told: dict[str, dict[str, float]] = {}
        for planned in plan(shipped_pack("mssql"), facts).queries:
            if planned.collector.name in {"backups", "jobs"}:
                for each in run_query(planned, run, target).metrics:
                    key = each.tags.get("job") or each.tags["db.namespace"]
                    told.setdefault(each.metric_name, {})[key] = float(each.value)
    assert told["sqlserver.backup.age"]["model"] == pytest.approx(7200, abs=600)
    assert told["sqlserver.backup.full.count"] == {"master": 0, "model": 1, "msdb": 0}
    # The newest outcome counts, and a job that never ran has none.
    assert told["sqlserver.job.outcome"] == {"nightly": 0}
    assert told["sqlserver.job.duration"] == {"nightly": 3723}
    assert told["sqlserver.job.enabled"] == {"nightly": 1, "new": 1}


def test_a_login_that_may_see_nothing_of_a_sql_server_is_told_what_it_needs() -> None:
    todo = plan(shipped_pack("mssql"), ServerFacts(version=(16,), database="master", databases=("master",)))
    assert {each for each in todo.missing_privileges() if not each.startswith("SELECT ON msdb.dbo.")} == {
        "VIEW SERVER STATE|VIEW SERVER PERFORMANCE STATE",
        "VIEW ANY DEFINITION",
        "CONNECT ANY DATABASE",
    }
    assert [each.query.name for each in todo.queries] == ["states"]


@pytest.mark.parametrize(
    ("engine", "dialect"), [("postgresql", "postgres"), ("mssql", "tsql"), ("snowflake", "snowflake")]
)
def test_statements_can_be_read_as_the_sql_of_their_platform(engine: str, dialect: str) -> None:
    for collector in shipped_pack(engine).collectors:
        for query in collector.queries:
            sql = query.sql.replace("{columns}", "1 AS one").replace("{max_rows}", "10")
            (statement,) = sqlglot.parse(sql, dialect=dialect)
            assert isinstance(statement, sqlglot.exp.Query), f"{collector.name}/{query.name} only reads"


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_are_named_and_described_as_a_reader_expects(engine: str) -> None:
    prefix = {"mssql": "sqlserver"}.get(engine, engine)
    seen: dict[str, tuple[str, str | None]] = {}
    for collector in shipped_pack(engine).collectors:
        assert collector.description
        for query in collector.queries:
            for metric in query.metrics:
                assert metric.name.startswith(f"{prefix}."), metric.name
                assert metric.name == metric.name.lower()
                assert metric.unit, metric.name
                assert metric.description.endswith("."), metric.name
                assert seen.setdefault(metric.name, (metric.type, metric.unit)) == (metric.type, metric.unit)
                assert metric.constant is None or number(metric.constant) is not None
