"""What MongoDB says, by the folder ``mongodb``: replies of 4.4 to 8.0 written after MongoDB's manual."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

from gds_database import ConfigurationError, OperationResult, QueryError
from gds_database.base import DatabaseConnection
from gds_database.engines.mongodb import MongoDBEngine, _questions
from gds_database.engines.mongodb._metrics import metrics_of

FOLDER = Path(__file__).parent / "mongodb"
NOW = datetime(2026, 5, 4, 10, 11, 12, tzinfo=timezone.utc)


def reply(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_util.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return found


CASES = reply("replication")


class Scripted(DatabaseConnection):
    """A client whose server gives the replies that it was given."""

    def __init__(self, replies: Mapping[str, Any]) -> None:
        self.client = self
        self.replies = dict(replies)
        self.asked: list[dict[str, Any]] = []

    def list_database_names(self) -> list[str]:
        return []

    def __getitem__(self, name: str) -> Scripted:
        return self

    def command(self, document: dict[str, Any]) -> Mapping[str, Any]:
        self.asked.append(document)
        found = self.replies.get(next(iter(document)))
        if callable(found):
            found = found()
        if found is None:
            raise QueryError(f"no such command: {next(iter(document))}")
        return found  # type: ignore[no-any-return]

    def connect(self) -> Any:
        return self

    def disconnect(self) -> None:
        pass

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        raise AssertionError("the engine has commands of its own")

    def is_connected(self) -> bool:
        return True

    def get_connection_info(self) -> dict[str, Any]:
        return {"host": "db1.example.org", "port": 27017}


def scripted(case: Mapping[str, Any]) -> Scripted:
    names = {"hello": "hello", "status": "replSetGetStatus", "config": "replSetGetConfig", "shards": "listShards"}
    return Scripted({theirs: case[ours] for ours, theirs in names.items() if case.get(ours)})


# ------------------------------------------------------------------ replication
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_lag_is_told_by_positions(case: dict[str, Any]) -> None:
    status = MongoDBEngine(scripted(case)).get_replication_status()
    expected = case["expect"]
    assert (status.role, status.lag_seconds, status.sync_state) == tuple(
        expected[name] for name in ("role", "lag_seconds", "sync_state")
    )
    assert all(node["lag_seconds"] is None or node["lag_seconds"] >= 0 for node in status.nodes)
    assert status.enabled is bool(case["status"])


def test_arbiters_and_members_that_are_down_have_no_lag() -> None:
    for name, member in (("an arbiter has no data and no lag", 2), ("a member that is down", 2)):
        node = MongoDBEngine(scripted(CASES[name])).get_replication_status().nodes[member]
        assert node["lag_seconds"] is None
        assert (node["role"], node["state"]) in {("arbiter", "arbiter"), ("down", "not reachable")}


def test_a_mongos_names_its_shards() -> None:
    status = MongoDBEngine(scripted(CASES["a mongos"])).get_replication_status()
    assert status.partners == ["s0/db1.example.org:27018", "s1/db2.example.org:27018"]


def test_the_skew_of_the_clock_is_told_apart_from_lag() -> None:
    case = dict(CASES["all caught up, idle for an hour"])
    case["hello"] = {**case["hello"], "localTime": datetime.now(timezone.utc) + timedelta(hours=1)}
    status = MongoDBEngine(scripted(case)).get_replication_status()
    assert status.lag_seconds == 0
    assert status.clock_skew_seconds is not None
    assert 3500 < status.clock_skew_seconds < 3700


# ------------------------------------------------------------------ failover
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_only_a_primary_whose_secondaries_can_take_over_steps_down(case: dict[str, Any]) -> None:
    connection = scripted(case)
    result = MongoDBEngine(connection).failover(dry_run=True)
    possible = case["expect"]["role"] == "primary" and bool(case["expect"]["able"])
    assert result.is_success() is possible, result.to_dict()
    if possible:
        data = result.data or {}
        assert data["candidates"] == case["expect"]["able"]
        assert data["statements"] == ['db.adminCommand({"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 10})']
    else:
        assert result.error
    assert not any("replSetStepDown" in asked for asked in connection.asked)


@pytest.mark.parametrize(
    ("case", "target", "words"),
    [
        ("one secondary 42 s behind", "db3.example.org:27017", "42.0 seconds behind"),
        ("one secondary 42 s behind", "db1.example.org:27017", "primary already"),
        ("one secondary 42 s behind", "db9.example.org:27017", "does not exist"),
        ("all caught up, idle for an hour", "db2.example.org:27017", "db3.example.org:27017 could win"),
        ("an arbiter has no data and no lag", "db3.example.org:27017", "it is arbiter"),
        ("a delayed member is where it should be", "db3.example.org:27017", "priority is 0"),
        ("a member that is down", "db3.example.org:27017", "not reachable"),
    ],
)
def test_who_cannot_take_over_is_refused_with_the_reason(case: str, target: str, words: str) -> None:
    connection = scripted(CASES[case])
    result = MongoDBEngine(connection).failover(target)
    assert result.is_failure()
    assert words in str(result.error)
    assert not any("replSetStepDown" in asked for asked in connection.asked)


def stepping_down(engine: MongoDBEngine, connection: Scripted, **options: Any) -> OperationResult:
    """A failover on a set that elects the second member, after a moment without anybody to ask."""
    moments = iter([None, {"primary": "db1.example.org:27017"}, None])

    def hello() -> Any:
        return next(moments, {"primary": "db2.example.org:27017"})

    def step_down() -> Any:
        connection.replies["hello"] = hello
        return {"ok": 1.0}

    connection.replies["replSetStepDown"] = step_down
    return engine.failover(**options)


def test_failover_waits_for_the_new_primary() -> None:
    connection = scripted(CASES["one secondary 42 s behind"])
    result = stepping_down(MongoDBEngine(connection), connection, target_node="db2.example.org:27017")
    assert result.is_success(), result.to_dict()
    data = result.data or {}
    assert (data["old_primary"], data["new_primary"]) == ("db1.example.org:27017", "db2.example.org:27017")


def test_failover_says_when_nobody_became_primary() -> None:
    connection = scripted(CASES["one secondary 42 s behind"])
    connection.replies["replSetStepDown"] = {"ok": 1.0}
    result = MongoDBEngine(connection).failover(timeout_seconds=0.01)
    assert result.is_failure()
    assert "no other member became primary" in str(result.error)


# ------------------------------------------------------------------ metrics
@pytest.mark.parametrize("version", ["4.4", "5.0", "6.0", "7.0", "8.0"])
def test_every_version_has_the_figures_that_matter(version: str) -> None:
    found = {
        (each.name, *(value for key, value in each.labels.items() if key != "instance_id")): each
        for each in metrics_of(reply(f"server_status_{version}"), NOW, "db1:27017")
    }
    assert found["mongodb.connection.count", "current"].value == 41
    assert found["mongodb.operation.count", "insert"].value == 54321
    assert found["mongodb.cache.usage",].value == 1501234567
    assert found["mongodb.tickets.in_use", "read"].value == 6
    assert found["mongodb.tickets.limit", "write"].value == 128
    assert found["mongodb.checkpoint.time",].value == 412
    assert found["mongodb.operation.latency.time", "writes"].value == 98765432
    assert found["mongodb.flow_control.lagged_time",].value == 48000
    assert {each.labels["instance_id"] for each in found.values()} == {"db1:27017"}
    assert len(found) == len(metrics_of(reply(f"server_status_{version}"), NOW, "db1:27017"))


def test_a_mongos_has_what_it_has() -> None:
    names = {each.name for each in metrics_of(reply("server_status_mongos_8.0"), NOW, "router")}
    assert "mongodb.connection.count" in names
    assert not {name for name in names if name.startswith(("mongodb.cache", "mongodb.tickets"))}


def test_a_figure_that_is_no_number_takes_nothing_else_with_it() -> None:
    status = {**reply("server_status_8.0"), "opcounters": {"insert": 1, "deprecated": {"total": 2}, "on": True}}
    found = [
        each.labels["operation"] for each in metrics_of(status, NOW, "x") if each.name == "mongodb.operation.count"
    ]
    assert found == ["insert"]


# ------------------------------------------------------------------ logs and processes
def test_lines_of_the_log_are_read_in_both_forms() -> None:
    line = (
        '{"t":{"$date":"2026-05-04T12:11:12.345+02:00"},"s":"W","c":"ACCESS","id":20436,"ctx":"conn7",'
        '"msg":"Checking authorization failed","attr":{"error":{"code":13}}}'
    )
    entry = _questions.log_entry(line)
    assert entry is not None
    assert entry.timestamp == datetime(2026, 5, 4, 10, 11, 12, 345000, tzinfo=timezone.utc)
    assert (entry.level, entry.source, entry.message) == ("WARNING", "ACCESS", "Checking authorization failed")
    assert entry.context == {"id": 20436, "context": "conn7", "error": {"code": 13}}
    old = _questions.log_entry("2026-05-04T10:11:12.345+0000 I NETWORK  [conn7] connection accepted")
    assert old is not None
    assert (old.level, old.source, old.message) == ("INFO", "NETWORK", "connection accepted")
    for none in ("", "{", '{"t": 1}', "text", "2026-99-99T10:11:12Z I NETWORK  x"):
        assert _questions.log_entry(none) is None


def test_a_process_tells_what_it_waits_for_and_no_password() -> None:
    found = _questions.process(
        {
            "opid": 12345,
            "active": True,
            "microsecs_running": 2_500_000,
            "ns": "shop.orders",
            "op": "command",
            "client": "10.0.0.9:5000",
            "appName": "billing",
            "waitingForLock": True,
            "effectiveUsers": [{"user": "app", "db": "admin"}],
            "command": {"createUser": "x", "pwd": "hunter2", "saslStart": {"payload": "hunter2"}, "lsid": {"id": 1}},
        },
        NOW,
    )
    assert (found["id"], found["user"], found["database"], found["wait"]) == ("12345", "app@admin", "shop", "lock")
    assert (found["state"], found["seconds"], found["started_at"]) == ("waiting", 2.5, NOW - timedelta(seconds=2.5))
    assert "hunter2" not in found["statement"]
    assert "lsid" not in found["statement"]


def test_an_idle_connection_has_no_number_that_could_be_killed() -> None:
    connection = Scripted(
        {"hello": {"localTime": NOW}, "currentOp": {"inprog": [{"connectionId": 9, "active": False}]}}
    )
    engine = MongoDBEngine(connection)
    (found,) = engine.list_processes()
    assert (found["id"], found["state"], found["seconds"]) == ("connection 9", "idle", None)
    assert "without an operation" in str(engine.kill_process(found["id"]).error)


# ------------------------------------------------------------------ settings
@pytest.mark.parametrize(
    ("runtime", "error"), [(True, None), (False, "set it as setParameter in its configuration file")]
)
def test_a_parameter_that_needs_a_restart_is_not_set(runtime: bool, error: str | None) -> None:
    parameters: dict[str, Any] = {"cursorTimeoutMillis": 600000}
    details = {"value": 600000, "settableAtRuntime": runtime, "settableAtStartup": True}
    connection = Scripted({"setParameter": {"was": 600000, "ok": 1.0}})
    answers = iter([parameters, {"cursorTimeoutMillis": details}])
    connection.replies["getParameter"] = lambda: next(answers)
    result = MongoDBEngine(connection).set_configuration("cursorTimeoutMillis", "1000")
    sent = [asked for asked in connection.asked if "setParameter" in asked]
    if error is None:
        assert result.is_success(), result.to_dict()
        assert sent == [{"setParameter": 1, "cursorTimeoutMillis": 1000}]
    else:
        assert error in str(result.error)
        assert sent == []


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (5, "7", 7),
        (5, 7.5, 7.5),
        (5, "seven", None),
        (5, True, None),
        (True, "off", False),
        (True, 1, None),
        ("all", "none", "none"),
        ("all", 1, None),
        ({"a": 1}, {"a": 2}, {"a": 2}),
    ],
)
def test_a_value_is_of_the_type_that_the_parameter_has(before: Any, value: Any, after: Any) -> None:
    if after is None:
        with pytest.raises(ConfigurationError, match="expected"):
            _questions.fits("x", value, before)
    else:
        assert _questions.fits("x", value, before) == after
