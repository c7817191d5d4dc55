"""Statements on SQL Server that take too long, and what ends them; on what stands in for it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from gds_database import ConfigurationError, DatabaseConnectionError
from gds_database.engines.mssql import MSSQLConnection, MSSQLEngine
from gds_database.engines.mssql._opening import OPENED
from gds_database.errors import StatementTimeoutError
from tests.services.mssql import SqlServer
from tests.services.mssql.drivers import connect
from tests.services.process import WAIT_TIMEOUT_SECONDS, wait_until
from tests.services.toxiproxy import Toxiproxy

from .sqlservers import connection_to, engine_on

pytestmark = pytest.mark.timing

OURS = ("pymssql", "python-tds", "mssql-python", "pyodbc")


@pytest.mark.parametrize("driver", OURS)
def test_a_statement_that_takes_too_long_is_ended_on_the_server_too(sql_server: SqlServer, driver: str) -> None:
    with engine_on(sql_server, driver, timeout_seconds=1) as engine:
        started = time.monotonic()
        with pytest.raises(StatementTimeoutError):
            engine._execute("WAITFOR DELAY '00:05:00'")
        assert time.monotonic() - started < WAIT_TIMEOUT_SECONDS

        def ended() -> bool:
            return "WAITFOR" not in {each["command"] for each in other.list_processes()}

        with engine_on(sql_server) as other:
            wait_until(ended, what="the server to give up")
        assert engine.get_version()


def test_the_time_of_one_connection_is_not_that_of_another(sql_server: SqlServer) -> None:
    # That of pymssql itself would be one for the whole process.
    with engine_on(sql_server, timeout_seconds=0.2) as hasty, engine_on(sql_server) as patient:
        patient._execute("WAITFOR DELAY '00:00:00.500'")
        with pytest.raises(StatementTimeoutError):
            hasty._execute("WAITFOR DELAY '00:05:00'")
        patient._execute("WAITFOR DELAY '00:00:00.500'")


@pytest.mark.parametrize("driver", ["pymssql", "python-tds"])
def test_a_network_that_is_cut_keeps_nobody(sql_server: SqlServer, toxiproxy: Toxiproxy, driver: str) -> None:
    proxy = toxiproxy.proxy(sql_server.port)
    connection = connection_to(sql_server, driver, port=proxy.port)
    with MSSQLEngine(connection, timeout_seconds=1) as engine:
        assert engine.get_version()
        proxy.half_open()
        started = time.monotonic()
        with pytest.raises((StatementTimeoutError, DatabaseConnectionError)):
            engine.get_server_time()
        assert time.monotonic() - started < WAIT_TIMEOUT_SECONDS


def test_a_lock_is_waited_for_five_seconds_at_most_and_the_session_stays_as_it_was(sql_server: SqlServer) -> None:
    with engine_on(sql_server) as engine:
        engine.connection.execute_query("SET LOCK_TIMEOUT 1234")
        engine.list_databases()
        assert engine.connection.execute_query("SELECT @@LOCK_TIMEOUT") == [(1234,)]
        assert "SET LOCK_TIMEOUT 5000; SET DEADLOCK_PRIORITY LOW; " in sql_server.statements()[-2]


@pytest.mark.parametrize("driver", ["pymssql", "python-tds"])
def test_the_connection_that_is_ended_is_none_of_those_that_were_opened_beside_it(
    sql_server: SqlServer, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connection_to(sql_server, driver)
    opened = OPENED[driver]
    others: list[Any] = []

    def open_with_others(module: Any, ours: MSSQLConnection) -> Any:
        others.extend(connect(each, sql_server) for each in ("pymssql", "pytds"))
        return opened(module, ours)

    monkeypatch.setitem(OPENED, driver, open_with_others)
    with MSSQLEngine(connection, timeout_seconds=1) as engine:
        with pytest.raises(StatementTimeoutError):
            engine._execute("WAITFOR DELAY '00:05:00'")
        for each in others:
            cursor = each.cursor()
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]
            each.close()


def test_another_thread_ends_what_runs(sql_server: SqlServer) -> None:
    with connection_to(sql_server) as connection:
        canceller = threading.Thread(target=_cancel_what_runs, args=(sql_server, connection))
        canceller.start()
        with pytest.raises(DatabaseConnectionError):
            connection.execute_query("WAITFOR DELAY '00:04:00'")
        canceller.join()
        assert connection.execute_query("SELECT 1") == [(1,)]
    with pytest.raises(ConfigurationError, match="no way"):
        connection_to(sql_server, "mssql-python").cancel()


def _cancel_what_runs(server: SqlServer, connection: MSSQLConnection) -> None:
    wait_until(lambda: server.statements()[-1].startswith("WAITFOR"), what="the statement to run")
    connection.cancel()
