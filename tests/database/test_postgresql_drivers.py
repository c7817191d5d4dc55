"""Connections that programs have already, of psycopg 3 and of psycopg2: what an engine does there leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.errors import DatabaseConnectionError, PrivilegeError, QueryError, StatementTimeoutError
from tests.database.postgresql import OlderConnection, unique
from tests.services.postgresql import PostgreSQL

KEPT = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
READS = ("get_version", "get_server_time", "list_databases", "list_users", "list_processes", "get_configuration")

pytestmark = pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])


@pytest.fixture(params=[False, True], ids=["in a transaction", "in autocommit"])
def older(postgresql: PostgreSQL, driver: str, request: pytest.FixtureRequest) -> Iterator[OlderConnection]:
    connection = OlderConnection(postgresql, driver, autocommit=request.param)
    connection.connect()
    with closing(connection.connection):
        yield connection


def status(connection: OlderConnection) -> int:
    """0 between transactions, 2 within one."""
    return int(connection.connection.info.transaction_status)


def test_reading_leaves_no_transaction_no_limit_and_no_prepared_statement(older: OlderConnection) -> None:
    engine = PostgreSQLEngine(older)
    for name in READS:
        for _ in range(6):  # one more than psycopg runs before it prepares
            getattr(engine, name)()
            assert status(older) == 0
    assert older.execute_query(KEPT) == [("0", "0")]
    assert older.execute_query("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
    assert older.connection.autocommit is older._autocommit


def test_reading_within_a_transaction_leaves_it_as_it_was(older: OlderConnection, postgresql: PostgreSQL) -> None:
    table = unique("kept")
    postgresql.ask(f"CREATE TABLE {table} (n int)")
    engine = PostgreSQLEngine(older)
    older.execute_query("BEGIN" if older._autocommit else "SELECT 1")
    older.execute_query(f"INSERT INTO {table} VALUES (1)")
    assert engine.list_databases()
    with pytest.raises(QueryError, match="division by zero"):
        engine._query("SELECT 1 / 0 AS n")
    assert older.execute_query(KEPT) == [("0", "0")]
    refused = engine.set_configuration("work_mem", "5MB")
    assert "not committed" in str(refused.error)
    assert older.execute_query(f"SELECT n FROM {table}") == [(1,)]
    older.execute_query("COMMIT")
    assert postgresql.ask(f"SELECT n FROM {table}") == [(1,)]


def test_errors_are_told_apart_by_their_code(older: OlderConnection, postgresql: PostgreSQL) -> None:
    engine = PostgreSQLEngine(older)
    with pytest.raises(StatementTimeoutError):
        engine._query("SELECT pg_sleep(600) AS s", timeout_seconds=0.2)
    with pytest.raises(QueryError, match="does not exist"):
        engine._query("SELECT no_such_column")
    role = unique("narrow")
    postgresql.ask(f"CREATE ROLE {role}")
    older.execute_query(f"SET ROLE {role}")
    if not older._autocommit:
        older.commit()
    with pytest.raises(PrivilegeError):
        engine._query("SELECT rolpassword FROM pg_catalog.pg_authid")
    older.connection.close()
    with pytest.raises(DatabaseConnectionError):
        engine.get_version()


def test_values_are_bound_whatever_is_in_them(older: OlderConnection) -> None:
    engine = PostgreSQLEngine(older)
    for value in ("it's", "100%", "%s", "\\", '"; DROP TABLE x; --', "ä"):
        rows: Any = engine._query("SELECT %s::text AS value", (value,), columns=("value",))
        assert rows == [{"value": value}]
