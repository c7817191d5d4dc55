"""`EngineBase.read`: statements that read, and no others, within a time, on every platform."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gds_database import ConfigurationError, QueryError, StatementTimeoutError, open_engine, open_engine_async
from gds_database.engines.mongodb._commands import reading
from gds_database.engines.mssql._sql import only_reads
from tests.database.sqlservers import engine_on
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer
from tests.services.postgresql import PASSWORD, SUPERUSER, PostgreSQL
from tests.services.snowflake import Snowflake


@pytest.fixture
def on_postgresql(postgresql: PostgreSQL) -> Iterator[Any]:
    with open_engine(_address(postgresql)) as engine:
        yield engine


def _address(server: PostgreSQL) -> str:
    return f"postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{server.port}/postgres"


def test_postgresql_answers_and_ends_what_takes_too_long(on_postgresql: Any) -> None:
    assert on_postgresql.read("SELECT %s::int AS n", [7]) == [{"n": 7}]
    assert on_postgresql.read("/* why */ (SELECT 1 AS n) -- and so on") == [{"n": 1}]
    began = time.monotonic()
    with pytest.raises(StatementTimeoutError):
        on_postgresql.read("SELECT pg_sleep(30)", timeout_seconds=0.3)
    assert time.monotonic() - began < 5
    assert on_postgresql.read("SHOW server_version_num"), "the session is still there"


def test_postgresql_itself_refuses_what_hides_in_a_select(on_postgresql: Any) -> None:
    with pytest.raises(QueryError, match="read-only transaction"):
        on_postgresql.read("WITH gone AS (DELETE FROM pg_catalog.pg_description RETURNING 1) SELECT 1")
    with pytest.raises(ConfigurationError, match=r"expected one that reads, such as SELECT \.\.\., got 'DELETE'"):
        on_postgresql.read("DELETE FROM pg_catalog.pg_description")


def test_it_is_awaited_too(postgresql: PostgreSQL) -> None:
    async def ask() -> Any:
        async with await open_engine_async(_address(postgresql)) as engine:
            return await engine.read("SELECT %s::int AS n", [7], timeout_seconds=5.0)

    assert asyncio.run(ask()) == [{"n": 7}]


def test_sql_server_answers_and_ends_what_takes_too_long(sql_server: SqlServer) -> None:
    with engine_on(sql_server) as engine:
        assert engine.read("SELECT @p1 + 1 AS n", [7]) == [{"n": 8}]
        sql_server.fault("takes_long", seconds=30, times=1)
        with pytest.raises(StatementTimeoutError):
            engine.read("SELECT 1 AS takes_long", timeout_seconds=0.5)
        with pytest.raises(ConfigurationError, match="expected one SELECT that changes nothing, got 'DROP TABLE x'"):
            engine.read("DROP  TABLE x")
        assert not [text for text in sql_server.statements() if "DROP" in text]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'DELETE; DROP' AS [update], \"insert\" FROM t -- exec\n/* set */",
        "  WITH c AS (SELECT 1 AS n) SELECT n FROM c;",
        "SELECT last_update, inserted, settings FROM t",
    ],
)
def test_words_in_text_names_and_comments_of_sql_server_change_nothing(text: str) -> None:
    assert only_reads(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EXEC sp_who",
        "SELECT 1 AS n INTO copied",
        "SELECT 1; SELECT 2",
        "SELECT 1 delete from t",
        "WITH c AS (SELECT 1 AS n) DELETE FROM c",
        "SELECT 'it''s' ;SHUTDOWN",
        "SELECT NEXT  VALUE FOR s",
        "SELECT * FROM OPENROWSET('x', 'y', 'z') AS o",
        "-- SELECT\nTRUNCATE TABLE t",
    ],
)
def test_whatever_changes_something_on_sql_server_is_refused(text: str) -> None:
    assert not only_reads(text)


def test_mongodb_answers_a_command_and_refuses_those_that_write(mongodb: MongoDB) -> None:
    with open_engine(mongodb.url) as engine:
        assert engine.read({"ping": 1})[0]["ok"] == 1.0
        assert "cursor" in engine.read({"listCollections": 1, "$db": "local"}, timeout_seconds=5.0)[0]
        with pytest.raises(ConfigurationError, match="expected a command that reads, got dropDatabase"):
            engine.read({"dropDatabase": 1})
        with pytest.raises(ConfigurationError, match="params: a command has none"):
            engine.read({"ping": 1}, ["x"])


@pytest.mark.parametrize("document", ["SELECT 1", {}, {"eval": "1"}, {"aggregate": "a", "pipeline": [{"$out": "b"}]}])
def test_what_is_no_reading_command_is_refused(document: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a command"):
        reading(document)


def test_snowflake_answers_and_refuses_what_does_more(snowflake: Snowflake) -> None:
    with open_engine(snowflake.url) as engine:
        assert engine.read("SELECT %s AS N", [7]) == [{"n": 7}]
        assert engine.read("SHOW WAREHOUSES")
        with pytest.raises(ConfigurationError, match="got 'ALTER'"):
            engine.read("ALTER WAREHOUSE MAIN_WH SUSPEND")
        with pytest.raises(ConfigurationError, match="timeout_seconds=0: expected more than 0"):
            engine.read("SELECT 1", timeout_seconds=0)
