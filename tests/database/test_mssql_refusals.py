"""What is told of a SQL Server that lets nobody in: one that is full, and one whose certificate has ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gds_database import DatabaseConnectionError
from gds_database.engines.mssql import MSSQLConnection, MSSQLEngine
from gds_database.engines.mssql._line import opened_since, sockets
from tests.services.fixtures import SqlServerFactory
from tests.services.mssql import SqlServer
from tests.services.process import WAIT_TIMEOUT_SECONDS, wait_until

from .sqlservers import connection_to

pytestmark = pytest.mark.timing

OURS = ("pymssql", "python-tds", "mssql-python", "pyodbc")


@pytest.fixture
def full(sql_server_factory: SqlServerFactory) -> Iterator[tuple[SqlServer, MSSQLConnection]]:
    """A server with ``user connections`` for one, and who has it."""
    server = sql_server_factory()
    server.limit_connections(1)
    with connection_to(server) as holder:
        yield server, holder


@pytest.mark.parametrize("driver", OURS)
def test_full_server_is_told_and_nothing_of_ours_stays(full: tuple[SqlServer, MSSQLConnection], driver: str) -> None:
    server, holder = full
    before, inside = sockets(), server.sessions()
    connection = connection_to(server, driver, login_timeout_seconds=2)
    begun = time.monotonic()
    with pytest.raises(
        DatabaseConnectionError, match=r"maximum number of '1' user connections|the server refused"
    ) as caught:
        MSSQLEngine(connection).connect()
    assert time.monotonic() - begun < WAIT_TIMEOUT_SECONDS
    assert caught.value.__context__ is None
    assert server.password not in str(caught.value)
    assert not connection.is_connected()
    assert opened_since(before, server.port) == {}
    assert server.sessions() == inside
    assert "17809" in server.log() or "Error: 17809" in _error_log(holder)
    holder.disconnect()
    wait_until(lambda: server.sessions() == [], what="the place of a closed session")
    with MSSQLEngine(connection) as engine:
        assert engine.get_version()


def test_wrong_password_behind_a_full_server_is_not_told_as_full(full: tuple[SqlServer, MSSQLConnection]) -> None:
    server, _ = full
    with pytest.raises(DatabaseConnectionError, match=r"maximum number of|the server refused user 'sa'"):
        connection_to(server).connect()
    with pytest.raises(DatabaseConnectionError, match="the server refused user 'sa'") as caught:
        connection_to(server, password="wrong").connect()
    assert vars(caught.value)["number"] == 20018


def _error_log(connection: MSSQLConnection) -> str:
    return str(connection.execute_query("EXEC sys.xp_readerrorlog 0, 1"))


def test_expired_certificate_is_told_by_python_tds(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory(expired=True)
    before = sockets()
    connection = connection_to(server, "python-tds")
    with pytest.raises(
        DatabaseConnectionError, match="certificate verify failed: it has expired, or nobody in ca_file"
    ):
        connection.connect()
    assert not connection.is_connected()
    assert opened_since(before, server.port) == {}
    assert server.sessions() == []


_CONNECT = """
import sys
from gds_database import DatabaseConnectionError
from gds_database.engines.mssql import MSSQLConnection
connection = MSSQLConnection("127.0.0.1", None, "sa", sys.stdin.read(), driver="mssql-python", port=int(sys.argv[1]))
try:
    with connection:
        print(connection.execute_query("SELECT 1"))
except DatabaseConnectionError as error:
    print(error)
"""


@pytest.mark.parametrize(("expired", "words"), [(False, "[(1,)]"), (True, "certificate has expired")])
def test_certificate_is_checked_by_mssql_python(
    sql_server_factory: SqlServerFactory, tmp_path: Path, expired: bool, words: str
) -> None:
    # It takes the certificates of the system, which are read once by a process.
    server = sql_server_factory(expired=expired)
    done = subprocess.run(
        [sys.executable, "-c", _CONNECT, str(server.port)],
        env={"SSL_CERT_FILE": str(server.certificate_authority), "MSSQL_PYTHON_NATIVE_PROVIDER": "mssql-odbc"},
        input=server.password,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT_SECONDS,
        check=False,
    )
    assert words in done.stdout, done.stderr
    assert server.password not in done.stdout + done.stderr
    wait_until(lambda: server.sessions() == [], what="the session of a process that has ended")


@pytest.mark.parametrize("driver", ["pymssql", "pyodbc"])
def test_drivers_that_check_none_take_it_as_the_documents_say(
    sql_server_factory: SqlServerFactory, driver: str
) -> None:
    with connection_to(sql_server_factory(expired=True), driver, trust_server_certificate=False) as connection:
        encrypted = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"
        assert connection.execute_query(encrypted) == [("TRUE",)]
