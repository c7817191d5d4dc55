"""Connections to SQL Server: those of ours by each driver, those that exist already, time limits, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymssql
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gds_database import ConfigurationError, DatabaseConnection, DatabaseConnectionError, QueryError, open_engine
from gds_database.engines.mssql import MSSQLConnection, MSSQLEngine
from gds_database.engines.mssql._sql import bracketed, hashed, reading, spliced, to_format
from gds_database.errors import PrivilegeError, StatementTimeoutError
from tests.services.fixtures import SqlServerFactory, require_service
from tests.services.mssql import SqlServer
from tests.services.mssql.drivers import DRIVERS, connect, odbc_driver

from .sqlservers import connection_to, drop_login, engine_on

OURS = ("pymssql", "python-tds", "mssql-python", "pyodbc")


@pytest.fixture(params=OURS)
def ours(request: pytest.FixtureRequest, sql_server: SqlServer) -> Iterator[MSSQLConnection]:
    with connection_to(sql_server, request.param) as connection:
        yield connection


# ------------------------------------------------------------------ as it always was
def test_it_is_made_as_it_always_was(sql_server: SqlServer) -> None:
    connection = MSSQLConnection("127.0.0.1", "master", "sa", sql_server.password, None, None, sql_server.port)
    assert connection.get_connection_info()["connected"] is False
    with connection:
        assert connection.is_initialized()
        assert connection.execute_query("SELECT 1 AS one") == [(1,)]
        assert connection.execute_query("SELECT 1 AS one", None, True, True) == [{"one": 1}]
    assert not connection.is_connected()
    assert MSSQLConnection(config={"server": "db", "user": "u", "password": "p"}).get_config("server") == "db"


def test_values_are_bound_and_text_is_left_alone(ours: MSSQLConnection) -> None:
    found = ours.execute_query_dict(
        "SELECT ? AS a, N'100 % ? ''%s''' AS b, [c?].d AS [c?] FROM (SELECT ? AS d) AS [c?]", ("it's %s ?", "ß")
    )
    assert found == [{"a": "it's %s ?", "b": "100 % ? '%s'", "c?": "ß"}]
    assert ours.execute_query("SELECT '%' AS a") == [("%",)]


def test_transactions_are_kept_and_undone(ours: MSSQLConnection) -> None:
    ours.execute_query("CREATE TABLE ours (a int)")
    try:
        ours.begin_transaction()
        ours.execute_query("INSERT INTO ours VALUES (?)", (1,))
        ours.rollback()
        ours.begin_transaction()
        ours.execute_query("INSERT INTO ours VALUES (?)", (2,))
        ours.commit()
        assert ours.execute_query("SELECT a FROM ours") == [(2,)]
        ours.rollback()  # there is none
        assert "ours" in ours.get_table_names()
        assert [row["COLUMN_NAME"] for row in ours.get_column_info("ours")] == ["a"]
    finally:
        ours.execute_query("DROP TABLE ours")


def test_rows_that_are_left_are_given_up_for_the_next_statement(ours: MSSQLConnection) -> None:
    assert ours.execute_query("SELECT name FROM sys.databases", fetch_all=False) == []
    assert ours.execute_query("SELECT 1") == [(1,)]


# ------------------------------------------------------------------ settings and errors
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "server"),
        ({"server": "db", "port": 0}, "port=0"),
        ({"server": "db", "port": True}, "port=True"),
        ({"server": "db", "encrypt": "perhaps"}, "encrypt"),
        ({"server": "db", "login_timeout_seconds": 0}, "login_timeout_seconds"),
        ({"server": "db", "authentication": "ActiveDirectoryDefault", "driver": "pymssql"}, "mssql-python"),
        ({"server": "db", "ca_file": "x"}, "python-tds"),
        ({"server": "db", "encript": True}, "did you mean encrypt"),
        ({"config": {"server": "db", "encript": True}}, "did you mean encrypt"),
    ],
)
def test_a_setting_that_cannot_be_used_is_an_error_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MSSQLConnection(**settings)


def test_an_address_has_the_options_of_the_connection(sql_server: SqlServer) -> None:
    address = f"mssql://sa@127.0.0.1:{sql_server.port}/msdb?driver=python-tds&encrypt=no&application_name=mine"
    engine = open_engine(address, password=sql_server.password)
    assert isinstance(engine, MSSQLEngine)
    with engine:
        assert engine.connection.execute_query("SELECT DB_NAME()") == [("msdb",)]
        assert "mine" in {process["application"] for process in engine.list_processes()}
    for option in ("encrypt=perhaps", "login_timeout=soon", "aplication_name=x"):
        with pytest.raises(ConfigurationError, match=r"expected|did you mean"):
            open_engine(f"mssql://sa:x@127.0.0.1:{sql_server.port}/?{option}")


@pytest.mark.parametrize("encrypt", [True, False])
@pytest.mark.parametrize("driver", OURS)
def test_it_is_encrypted_unless_that_is_not_wanted(sql_server: SqlServer, driver: str, encrypt: bool) -> None:
    asked = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"
    with connection_to(sql_server, driver, encrypt=encrypt) as connection:
        assert connection.execute_query(asked) == [(str(encrypt).upper(),)]


@pytest.mark.parametrize("driver", OURS)
def test_a_refused_login_is_a_connection_error_without_the_password(sql_server: SqlServer, driver: str) -> None:
    canary = "C4nary' }\"]%s"
    connection = connection_to(sql_server, driver, password=canary)
    with pytest.raises(DatabaseConnectionError, match=r"(Login failed for|the server refused) user 'sa'") as error:
        connection.connect()
    assert "C4nary" not in f"{error.value!r}{connection!r}{connection.get_connection_info()}"
    assert error.value.__context__ is None
    assert not connection.is_connected()


@pytest.mark.parametrize("driver", OURS)
def test_a_server_that_is_not_there_is_a_connection_error_in_time(leased_port: int, driver: str) -> None:
    if driver == "pyodbc":
        require_service("odbc")
        driver = odbc_driver()
    connection = MSSQLConnection(
        "127.0.0.1", None, "sa", "x", driver=driver, port=leased_port, login_timeout_seconds=5, encrypt=False
    )
    with pytest.raises(DatabaseConnectionError, match=str(leased_port)):
        connection.connect()


def test_errors_have_the_number_and_the_words_of_the_server(ours: MSSQLConnection) -> None:
    with pytest.raises(QueryError, match=r"^Invalid object name 'nope'\.$") as error:
        ours.execute_query("SELECT * FROM nope")
    if ours.driver != "mssql-python":  # it does not tell
        assert vars(error.value)["number"] == 208
    with pytest.raises(QueryError, match="mine"):
        ours.execute_query("RAISERROR (N'mine', 16, 3)")
    assert ours.execute_query("SELECT 1") == [(1,)]


def test_before_it_is_connected_it_says_so() -> None:
    with pytest.raises(DatabaseConnectionError, match="connect"):
        MSSQLConnection("db", user="u", password="p").execute_query("SELECT 1")


def test_what_is_not_permitted_is_told_apart(sql_server: SqlServer) -> None:
    with engine_on(sql_server) as engine:
        engine.create_user("nobody special", "Lang und 1 Passwort")
        connection = connection_to(sql_server, user="nobody special", password="Lang und 1 Passwort")
        with connection, pytest.raises(PrivilegeError):
            connection.execute_query("CREATE DATABASE mine")
        drop_login(engine, "nobody special")


def test_a_server_that_nobody_vouches_for_is_not_talked_to(sql_server: SqlServer, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    for connection in (
        connection_to(sql_server, "python-tds", ca_file=str(stranger)),
        connection_to(sql_server, "mssql-python", trust_server_certificate=False),
    ):
        with pytest.raises(DatabaseConnectionError):
            connection.connect()
        assert not connection.is_connected()


# ------------------------------------------------------------------ connections that exist
class OlderConnection(DatabaseConnection):
    """As older packages have it: rows are what the driver gives, and it is not in autocommit."""

    def __init__(self, server: SqlServer, driver: str, *, autocommit: bool) -> None:
        self._open: Callable[[], Any] = lambda: connect(driver, server, autocommit=autocommit)
        self._connection: Any = None

    def connect(self) -> Any:
        self._connection = self._open()
        return self._connection

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def execute_query(
        self, query: str, params: tuple[Any, ...] | None = None, fetch_all: bool = True, return_dict: bool = False
    ) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.execute(query, params) if params else cursor.execute(query)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) if return_dict else row for row in cursor.fetchall()]

    def execute_query_dict(self, query: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        return self.execute_query(query, params, return_dict=True)

    def is_connected(self) -> bool:
        return self._connection is not None

    def get_connection_info(self) -> dict[str, Any]:
        return {"server": "db1", "database": "master"}


class Bare(OlderConnection):
    """No more than the contract asks for: no driver to be found, and rows are tuples."""

    execute_query_dict: Any = None

    def connect(self) -> Any:
        self.hidden = self._open()

    def disconnect(self) -> None:
        self.hidden.close()

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None, *_: Any) -> list[Any]:
        cursor = self.hidden.cursor()
        cursor.execute(query, params) if params else cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def is_connected(self) -> bool:
        return hasattr(self, "hidden")


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_that_exists_works_and_stays_as_it_was(
    sql_server: SqlServer, driver: str, autocommit: bool
) -> None:
    if driver == "pyodbc":
        require_service("odbc")
    connection = OlderConnection(sql_server, driver, autocommit=autocommit)
    with MSSQLEngine(connection) as engine:
        assert engine.get_version().startswith("16.")
        name = f"older {driver} {autocommit}"
        assert engine.get_database(name).create().is_success()
        assert name in {database.name for database in engine.list_databases()}
        assert engine.set_configuration("backup compression default", 0).is_success()
        assert engine.create_user(name, "Lang und 1 Passwort").is_success()
        assert engine.drop_user(name).is_success()
        assert engine.get_database(name).metadata.name == name
        assert engine.get_database(name).drop(force=True).is_success()
        raw = connection._connection
        found = raw.autocommit_state if driver == "pymssql" else raw.autocommit
        assert found is autocommit


def test_a_connection_with_nothing_but_the_contract_works(sql_server: SqlServer) -> None:
    with MSSQLEngine(Bare(sql_server, "mssql_python", autocommit=True)) as engine:
        assert engine.get_database("bare").create().is_success()
        assert engine.list_processes()
        assert engine.get_database("bare").drop().is_success()
        assert engine.connection.is_connected()


def test_inside_a_transaction_that_nobody_can_see_the_error_says_so(sql_server: SqlServer) -> None:
    with MSSQLEngine(Bare(sql_server, "mssql_python", autocommit=True)) as engine:
        engine.connection.execute_query("BEGIN TRANSACTION")
        result = engine.get_database("within").create()
        assert "not allowed within multi-statement transaction" in (result.error or "")
        engine.connection.execute_query("ROLLBACK")


def test_a_connection_that_somebody_opened_is_not_closed(sql_server: SqlServer) -> None:
    with connection_to(sql_server) as connection:
        with MSSQLEngine(connection) as engine:
            engine.get_version()
        assert connection.execute_query("SELECT 1") == [(1,)]


def test_a_connection_that_was_killed_is_told_as_gone(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    with engine_on(server) as engine:
        server.kill()
        with pytest.raises(DatabaseConnectionError):
            engine.get_server_time()


# ------------------------------------------------------------------ text
@given(st.text())
def test_a_name_in_brackets_ends_where_it_ends(name: str) -> None:
    try:
        text = bracketed(name)
    except ConfigurationError:
        return
    assert (text[0], text[-1]) == ("[", "]")
    inner = text[1:-1]
    assert inner.replace("]]", "") == inner.replace("]]", "").replace("]", "")
    assert inner.replace("]]", "]") == name


@given(st.lists(st.sampled_from(["'?%'", "[?%]", '"?%"', "--?%\n", "/*?%*/", "a"])), st.integers(0, 3))
def test_placeholders_are_those_outside_of_text_names_and_comments(pieces: list[str], values: int) -> None:
    query = " ".join([*pieces, *["?"] * values])
    assert to_format(query) % (("?",) * values) == query
    assert spliced(query, ("v",) * values, lambda *_: b"v").count("v") == values
    with pytest.raises(QueryError, match=f"has {values} places for values, got {values + 1}"):
        spliced(query, ("v",) * (values + 1), lambda *_: b"v")


def test_a_hash_has_the_form_that_the_server_keeps() -> None:
    first, second = hashed("hashcat"), hashed("hashcat")
    assert first != second
    assert first.startswith("0x0200")
    assert len(first) == 2 + 2 * (2 + 4 + 64)


def test_a_read_declares_its_values() -> None:
    text = reading("SELECT 1 WHERE 'a' = @p1 AND @p2 = 1", ("x", 1), 100)
    assert text == (
        "EXEC sys.sp_executesql N'SET LOCK_TIMEOUT 100; SET DEADLOCK_PRIORITY LOW; "
        "SELECT 1 WHERE ''a'' = @p1 AND @p2 = 1', N'@p1 nvarchar(4000), @p2 bigint', @p1 = ?, @p2 = ?"
    )


def test_what_a_driver_of_another_kind_says_is_understood() -> None:
    engine = MSSQLEngine(MSSQLConnection("db", user="u", password="hunter2-canary"))
    prefix = "[Microsoft][ODBC Driver 18 for SQL Server]"
    odbc = Exception("42S02", f"[42S02] {prefix}[SQL Server]Invalid object name 'x'. (208) (SQLExecDirectW)")
    found = engine._translate(odbc)
    assert (type(found), vars(found)["number"]) == (QueryError, 208)
    assert str(found) == "Invalid object name 'x'."
    expired = Exception("HYT00", f"[HYT00] {prefix}Query timeout expired (0) (SQLExecDirectW)")
    assert isinstance(engine._translate(expired), StatementTimeoutError)
    library = pymssql.OperationalError(
        (20009, b"DB-Lib error message 20009, severity 9:\nUnable to connect hunter2-canary\n")
    )
    assert isinstance(engine._translate(library), DatabaseConnectionError)
    assert "hunter2" not in str(engine._translate(library))


def _library(*errors: tuple[int, int, str]) -> bytes:
    return "".join(f"DB-Lib error message {each}, severity {how}:\n{text}\n" for each, how, text in errors).encode()


@pytest.mark.parametrize(
    ("text", "number", "told"),
    [
        (
            _library((20047, 9, "DBPROCESS is dead"), (20018, 14, "Check"), (20002, 9, "failed")),
            20018,
            "refused user 'u'",
        ),
        (_library((20009, 9, "Unable to connect"), (20002, 9, "failed")), 20009, "Unable to connect"),
        (b"Full." + _library((20018, 14, "Check"), (20002, 9, "failed")), 17809, "db:1433: Full."),
    ],
    ids=["refused", "not reached", "with words"],
)
def test_a_number_of_an_earlier_refusal_is_not_taken(text: bytes, number: int, told: str) -> None:
    # pymssql 2.4.6 keeps the number of the gravest error of all connections that it could not make.
    connection = MSSQLConnection("db", user="u", password="hunter2-canary")
    found = connection._refused(pymssql.OperationalError((17809, text)))
    assert vars(found)["number"] == number
    assert told in str(found)
