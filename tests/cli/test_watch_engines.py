"""Every engine can be watched: what it tells is shown, and what it does not tell is not pretended."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime, timezone

import pymongo
import pytest

from gds_cli.watch.source import EngineSource, open_source
from gds_cli.watch.ui import VIEWS, Ui
from gds_database import ConfigurationError, DatabaseConnectionError, Metric, QueryError
from gds_database.testing import InMemoryConnection, InMemoryEngine, InMemoryServer
from tests.cli.commands import gds, objects
from tests.cli.watching import drawn
from tests.services.mongodb import MongoDB
from tests.services.snowflake import Snowflake


def server() -> InMemoryServer:
    now = datetime.now(timezone.utc)
    return InMemoryServer(
        databases={"shop": {"a": 1}, "billing": {}},
        processes=[
            {"id": "1", "user": "web", "state": "active", "statement": "write", "seconds": 2.0, "blocked_by": ["2"]},
            {"id": "2", "user": "batch", "state": "active", "statement": "hold", "seconds": 90.0},
        ],
        metrics=[Metric("memory.sessions", 2.0, "{session}", now, {"kind": "client", "instance_id": "memory"})],
        nodes=["one", "two"],
    )


def source_of(memory: InMemoryServer) -> EngineSource:
    return EngineSource(InMemoryEngine(InMemoryConnection(memory)), "memory")


def test_an_engine_in_memory_has_every_part_that_engines_tell_of() -> None:
    source = source_of(server())
    picture = source.read()
    assert [each.id for each in picture.sessions] == ["1", "2"]
    assert picture.sessions[0].blocked_by == ("2",)
    assert picture.role == "primary"
    assert [each.name for each in picture.replicas] == ["two"]
    assert {each.name for each in picture.space} == {"shop", "billing"}
    assert [(each.name, each.labels, each.value) for each in picture.measures] == [
        ("memory.sessions", {"kind": "client"}, 2.0)
    ]
    assert picture.missing == {}
    ui = Ui()
    assert ui.views(picture) == tuple(each for each in VIEWS if each not in ("statements", "progress", "alerts"))
    text = "\n".join(drawn(picture, ui, 120, 40))
    for told in ("└ 1", "memory.sessions  kind=client", "two", "shop"):
        assert told in text
    json.dumps(picture.as_json())


def test_a_session_is_ended_and_a_statement_alone_is_not() -> None:
    memory = server()
    source = source_of(memory)
    session = source.read().sessions[1]
    with pytest.raises(QueryError, match="no way to end a statement alone"):
        source.end(session, cancel=True)
    assert source.end(session, cancel=False) == "ended 2"
    assert [each.id for each in source.read().sessions] == ["1"]


def test_what_is_refused_leaves_out_one_part_and_says_why() -> None:
    memory = server()
    memory.failures["METRICS"] = QueryError("permission denied for metrics")
    memory.failures["PROCESSES"] = QueryError("permission denied for processes")
    picture = source_of(memory).read()
    assert picture.missing == {
        "metrics": "permission denied for metrics",
        "activity": "permission denied for processes",
    }
    assert picture.replicas
    assert "permission denied for processes" in "\n".join(drawn(picture, Ui(view="activity"), 80, 20))


def test_a_server_that_went_away_is_found_again_and_counted_anew() -> None:
    memory = server()
    source = source_of(memory)
    source.read()
    assert source.read().readings == 2
    memory.running = False
    with pytest.raises(DatabaseConnectionError):
        source.read()
    source.close()
    memory.running = True
    assert source.read().readings == 1


def test_waits_are_averaged_over_the_last_readings() -> None:
    memory = server()
    memory.processes[0]["wait"] = "lock"
    source = source_of(memory)
    source.read()
    memory.processes[0]["wait"] = None
    [wait] = source.read().waits
    assert (wait.event, wait.sessions, wait.share) == ("lock", 0, 0.5)


def test_a_password_in_a_statement_is_not_shown() -> None:
    memory = server()
    memory.processes[0]["statement"] = "CREATE USER x PASSWORD 'cAnary-77-passw0rd'"
    assert "cAnary-77" not in json.dumps(source_of(memory).read().as_json())


def test_the_command_prints_an_engine_in_memory() -> None:
    done = gds("watch", "memory://box", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [shown] = objects(done)
    assert (shown["system"], shown["name"], shown["readings"]) == ("memory", "box", 2)


def test_an_address_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected one that is installed"):
        open_source("oracle://x")
    with pytest.raises(ConfigurationError, match="expected an address"):
        open_source("x")


def test_mongodb_is_watched(mongodb: MongoDB) -> None:
    source = open_source(mongodb.url)
    with closing(pymongo.MongoClient[dict[str, int]](mongodb.url)) as client, closing(source):
        things = client["shop"]["watched"]
        things.insert_many([{"n": number} for number in range(10)])
        picture = source.read()
        assert picture.statements
        assert {each.calls_per_second for each in picture.statements} == {None}
        list(things.find({"n": 3}))
        source._slow.clear()  # type: ignore[attr-defined] # asked for anew when it is due
        again = source.read()
    assert picture.system == "mongodb"
    assert picture.version
    assert picture.missing == again.missing == {}
    assert {"local"} <= {each.name for each in picture.space}
    assert any(each.name.startswith("mongodb.") for each in picture.measures)
    assert mongodb.password not in json.dumps(picture.as_json())
    insert = next(each for each in again.statements if each.text == "insert shop.watched")
    assert (insert.database, insert.calls_per_second) == ("shop", 0)
    assert insert.seconds > 0
    assert "blocking" not in Ui().views(picture), "it does not tell of it, so nothing is pretended"
    text = "\n".join(drawn(picture, Ui(), 80, 40))
    assert "STATEMENTS by load" in text
    assert "insert shop.watched" in text


def test_snowflake_is_asked_rarely_for_each_question_costs(snowflake: Snowflake) -> None:
    source = open_source(snowflake.url)
    try:
        assert source.interval_seconds == 30.0
        assert source.read().system == "snowflake"
    finally:
        source.close()
