"""A second opinion: MongoDB's engine on FerretDB, which other people wrote, and which has less than a replica set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gds_database import OperationResult, QueryError, open_engine, open_engine_async
from gds_database.engines.mongodb import MongoDBEngine
from tests.services.ferretdb import FerretDB
from tests.services.mongodb import MongoDB

CANARY = "Canary-f3rr3t"
DOCUMENTS = [{"_id": number, "text": "ä" * (number % 50), "nested": {"list": [1, 2.5, None]}} for number in range(1200)]


@pytest.fixture
def engine(ferretdb: FerretDB) -> Iterator[MongoDBEngine]:
    with opened(ferretdb) as engine:
        yield engine


def opened(server: FerretDB | MongoDB) -> MongoDBEngine:
    engine = open_engine(server.url)
    assert isinstance(engine, MongoDBEngine)
    return engine


def fill(engine: MongoDBEngine, name: str) -> None:
    into = engine._client()[name]["things"]
    into.insert_many(DOCUMENTS)
    into.create_index([("text", 1)], name="by text")


def content(engine: MongoDBEngine, name: str) -> tuple[list[Any], list[str]]:
    of = engine._client()[name]["things"]
    return list(of.find().sort("_id", 1)), sorted(of.index_information())


def done(result: OperationResult) -> None:
    assert result.is_success(), result.to_dict()


def test_what_it_tells_is_read(engine: MongoDBEngine) -> None:
    now = datetime.now(timezone.utc)
    assert engine.get_version().startswith("7.0.")
    assert abs(engine.get_server_time() - now) < timedelta(minutes=5)
    assert engine.metadata.additional_attributes["process"] == "ferretdb"
    assert engine.get_configuration()["featureCompatibilityVersion"] == {"version": "7.0"}
    assert engine.list_processes() == []
    [uptime] = [m for m in engine.get_metrics(now - timedelta(hours=1), now + timedelta(hours=1)) if "uptime" in m.name]
    assert uptime.value > 0
    status = engine.get_replication_status()
    assert (status.enabled, status.role, status.partners) == (False, "standalone", [])


def test_databases_are_made_listed_measured_and_dropped(engine: MongoDBEngine) -> None:
    database: Any = engine.create_database("second-listed")
    assert database.exists()
    fill(engine, "second-listed")
    assert "second-listed" in {each.name for each in engine.list_databases()}
    assert (database.metadata.size_bytes or 0) > 0
    done(database.drop(dry_run=True))
    assert database.exists()
    done(database.drop())
    assert not database.exists()
    assert database.drop().is_failure()


def test_backup_is_restored_with_its_index(engine: MongoDBEngine, tmp_path: Path) -> None:
    fill(engine, "second-source")
    done(engine.get_database("second-source").backup(str(tmp_path / "b")))
    done(engine.get_database("second-copy").restore(str(tmp_path / "b")))
    assert content(engine, "second-copy") == (DOCUMENTS, ["_id_", "by text"])
    for name in ("second-source", "second-copy"):
        done(engine.get_database(name).drop())


def test_backup_of_one_server_is_restored_to_another_kind(
    engine: MongoDBEngine, mongodb: MongoDB, tmp_path: Path
) -> None:
    with opened(mongodb) as other:
        for number, (one, two) in enumerate(((engine, other), (other, engine))):
            fill(one, "second-moved")
            done(one.get_database("second-moved").backup(str(tmp_path / str(number))))
            done(one.get_database("second-moved").drop())
            done(two.get_database("second-moved").restore(str(tmp_path / str(number))))
            assert content(two, "second-moved") == (DOCUMENTS, ["_id_", "by text"])
            done(two.get_database("second-moved").drop())


def test_what_it_has_not_is_a_failure_that_says_so(engine: MongoDBEngine, ferretdb: FerretDB) -> None:
    with pytest.raises(QueryError, match="usersInfo"):
        engine.list_users()
    results = {
        "usersInfo": engine.create_user("second", CANARY, roles=["read@second"]),
        "does not exist": engine.kill_process("1"),
        "setting 'logLevel' does not exist": engine.set_configuration("logLevel", 1),
        "in no replica set": engine.failover(),
    }
    for words, result in results.items():
        assert result.is_failure()
        assert words in str(result.error)
        assert CANARY not in str(result.to_dict())
    assert CANARY not in ferretdb.log()


def test_stranger_is_refused_in_the_words_of_the_server(ferretdb: FerretDB) -> None:
    with pytest.raises(QueryError, match="password authentication failed") as caught:
        open_engine(ferretdb.url, password=CANARY)
    assert CANARY not in str(caught.value)


@pytest.mark.anyio
async def test_twin_for_asyncio_asks_the_same(ferretdb: FerretDB) -> None:
    async with await open_engine_async(ferretdb.url) as engine:
        assert (await engine.get_version()).startswith("7.0.")
        assert (await engine.get_replication_status()).role == "standalone"
        assert await engine.list_processes() == []
