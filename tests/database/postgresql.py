"""What the tests of the PostgreSQL engine share."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gds_database.base import DatabaseConnection
from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until

_numbers = itertools.count(1)


def unique(word: str) -> str:
    """A name that no other test of this run has."""
    return f"{word}_{next(_numbers)}"


def connection_to(server: PostgreSQL, **changes: Any) -> PostgreSQLConnection:
    """A connection of ours, not connected."""
    address = server.address(**changes)
    database = address.pop("dbname")
    return PostgreSQLConnection(database=database, **address)


@contextmanager
def engine_of(
    server: PostgreSQL, *, control: Any = None, timeout_seconds: float = 30.0, **changes: Any
) -> Iterator[PostgreSQLEngine]:
    """A connected engine of the superuser, unless it says otherwise."""
    connection = connection_to(server, **changes)
    with PostgreSQLEngine(
        connection, tools_folder=server.tools, control=control, timeout_seconds=timeout_seconds
    ) as engine:
        yield engine


class OlderConnection(DatabaseConnection):
    """As the package before 2.0 has it: not in autocommit, rows as tuples, what changes is committed by the caller.

    Args:
        server: Whose.
        driver: ``psycopg`` or ``psycopg2``.
        autocommit: Whether it is after all.
        changes: Of the address.
    """

    def __init__(
        self, server: PostgreSQL, driver: str = "psycopg", *, autocommit: bool = False, **changes: Any
    ) -> None:
        self._address = server.address(**changes)
        self._driver: Any = importlib.import_module(driver)
        self._autocommit = autocommit
        self.connection: Any = None

    def connect(self) -> Any:
        self.connection = self._driver.connect(**self._address)
        self.connection.autocommit = self._autocommit
        return self.connection

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, params)
            return cursor.fetchall() if cursor.description else []

    def is_connected(self) -> bool:
        return self.connection is not None and not self.connection.closed

    def get_connection_info(self) -> dict[str, Any]:
        return {"host": self._address["host"], "port": self._address["port"], "database": self._address["dbname"]}

    def commit(self) -> None:
        self.connection.commit()


class ClosedConnection(DatabaseConnection):
    """One that does not show what is behind it."""

    def __init__(self, server: PostgreSQL) -> None:
        self.__hidden = server.connect()

    def connect(self) -> Any:
        return None

    def disconnect(self) -> None:
        self.__hidden.close()

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        cursor = self.__hidden.execute(query, params)
        return cursor.fetchall() if cursor.description else []

    def is_connected(self) -> bool:
        return not self.__hidden.closed

    def get_connection_info(self) -> dict[str, Any]:
        return {"host": "somewhere"}


def checksums(server: PostgreSQL, database: str) -> dict[str, str]:
    """Each table of a database with a checksum of all its rows."""
    tables = server.ask(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
        dbname=database,
    )
    found = {}
    for (table,) in tables:
        ((checksum,),) = server.ask(
            f"SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {table} t", dbname=database
        )
        found[table] = checksum
    return found


def sessions(server: PostgreSQL, application: str = "gds_database") -> int:
    """How many sessions of that name the server has."""
    ((count,),) = server.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (application,))
    return int(count)


def nothing_left(server: PostgreSQL) -> None:
    """Wait until the server has no session of an engine any more."""
    wait_until(lambda: sessions(server) == 0, what="the sessions of closed engines to end")
