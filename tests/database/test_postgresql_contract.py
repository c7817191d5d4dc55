"""What every engine has to pass, on a real PostgreSQL: by our connection, and by those that programs have already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gds_database.database import Database
from gds_database.engine import DatabaseEngine
from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.testing import EngineContract
from tests.database.postgresql import OlderConnection, checksums, connection_to
from tests.services.postgresql import PostgreSQL


class TestByOurConnection(EngineContract):
    prefix = "gdsc own"
    setting = ("work_mem", 8192)

    @pytest.fixture
    def engine(self, postgresql: PostgreSQL) -> Iterator[DatabaseEngine]:
        self._server = postgresql
        with PostgreSQLEngine(connection_to(postgresql), tools_folder=postgresql.tools) as engine:
            yield engine

    def fill(self, database: Database) -> None:
        self._server.ask(
            'CREATE TABLE "it\'s" AS SELECT n, md5(n::text) AS t FROM generate_series(1, 1000) n', dbname=database.name
        )
        self._server.ask("CREATE SCHEMA other CREATE TABLE empty (n int)", dbname=database.name)

    def content(self, database: Database) -> Any:
        return checksums(self._server, database.name)


class TestByAConnectionOfAnEarlierPackage(TestByOurConnection):
    prefix = "gdsc older"
    driver = "psycopg"
    autocommit = False

    @pytest.fixture
    def engine(self, postgresql: PostgreSQL) -> Iterator[DatabaseEngine]:
        self._server = postgresql
        connection = OlderConnection(postgresql, self.driver, autocommit=self.autocommit)
        connection.connect()
        yield PostgreSQLEngine(connection, tools_folder=postgresql.tools)
        assert connection.is_connected()
        connection.disconnect()


class TestByAConnectionOfPsycopg2(TestByAConnectionOfAnEarlierPackage):
    prefix = "gdsc two"
    driver = "psycopg2"


class TestByAConnectionOfPsycopg2InAutocommit(TestByAConnectionOfPsycopg2):
    prefix = "gdsc auto"
    autocommit = True
