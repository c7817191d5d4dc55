"""MongoDB's engine passes the contract on a server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gds_database import Database, open_engine
from gds_database.engines.mongodb import MongoDBDatabase, MongoDBEngine
from gds_database.testing import EngineContract
from tests.services.mongodb import MongoDB


class TestMongoDBEngine(EngineContract):
    setting = ("logLevel", 2)
    # The names of the contract begin with a word and a space, which no database of MongoDB has; below are its own.
    awkward_names = ()

    @pytest.fixture
    def engine(self, mongodb: MongoDB) -> Iterator[MongoDBEngine]:
        engine = open_engine(mongodb.url)
        assert isinstance(engine, MongoDBEngine)
        with engine:
            yield engine

    def fill(self, database: Database) -> None:
        assert isinstance(database, MongoDBDatabase)
        into = database.engine._client()[database.name]
        into["things"].insert_many([{"_id": number, "text": "ä" * number} for number in range(2500)])
        into["things"].create_index([("text", 1)], name="by text")

    def content(self, database: Database) -> Any:
        assert isinstance(database, MongoDBDatabase)
        found = database.engine._client()[database.name]
        return {
            name: (list(found[name].find().sort("_id", 1)), found[name].index_information())
            for name in sorted(found.list_collection_names())
        }

    @pytest.mark.parametrize("name", ["it's", "naïve", "select", "a;b--c", "{}", "%s", "x" * 55, "0"])
    def test_awkward_names_of_databases_are_taken(self, engine: MongoDBEngine, name: str) -> None:
        database = engine.get_database(f"{self.prefix}-{name}")
        before = self._names(engine)
        self._done(database.create(collection="it's {} \" ä"))
        assert self._names(engine) == before | {database.name}
        self._done(database.drop())
        assert self._names(engine) == before

    @pytest.mark.parametrize("name", ["", "a b", "a.b", 'a"b', "a$b", "a/b", "a\\b", "a\0b", "ä" * 32])
    def test_names_that_no_database_can_have_are_refused_beforehand(self, engine: MongoDBEngine, name: str) -> None:
        result = self._refused(engine.get_database(name).create())
        assert (result.metadata or {})["error_type"] == "ConfigurationError"
        assert "expected 1 to 63 bytes" in str(result.error)
