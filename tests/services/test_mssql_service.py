"""What stands in for SQL Server, asked by the drivers that are used with the real one."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymssql
import pytest

from .fixtures import SqlServerFactory, require_service
from .mssql import SqlServer
from .mssql.drivers import DRIVERS, connect
from .process import WAIT_TIMEOUT_SECONDS, ServerFailed, wait_until

# The example that hashcat publishes of this format; the password is its name.
HASHCAT = (
    "0x02000102030434ea1b17802fd95ea6316bd61d2c94622ca3812793e8fb1672487b"
    "5c904a45a31b2ab4a78890d563d2fcf5663e46fe797d71550494be50cf4915d3f4d55ec375"
)


@pytest.fixture
def sa(sql_server: SqlServer) -> Iterator[Any]:
    """A cursor of sa that commits by itself."""
    with closing(connect("pymssql", sql_server)) as connection:
        yield connection.cursor()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    if request.param == "pyodbc":
        require_service("odbc")
    return str(request.param)


def rows(cursor: Any, sql: str) -> list[Any]:
    cursor.execute(sql)
    return [tuple(row) for row in cursor.fetchall()]


def refused(cursor: Any, sql: str) -> int:
    with pytest.raises(pymssql.Error) as error:
        cursor.execute(sql)
    return int(error.value.args[0])


@pytest.mark.parametrize("encrypted", [False, True])
def test_every_driver_logs_in_and_reads_every_type(sql_server: SqlServer, driver: str, encrypted: bool) -> None:
    with closing(connect(driver, sql_server, encrypted=encrypted)) as connection:
        cursor = connection.cursor()
        found = rows(
            cursor,
            "SELECT CAST(1 AS int), CAST(1099511627776 AS bigint), CAST(0.5 AS float), CAST(1 AS bit), N'héé',"
            " CAST('2024-02-29T13:14:15' AS datetime2), CAST(12.5 AS decimal(10, 2)), CAST(NULL AS int), N''",
        )
        moment = dt.datetime(2024, 2, 29, 13, 14, 15)  # noqa: DTZ001 - datetime2 has no zone
        assert [float(value) if at == 6 else value for at, value in enumerate(found[0])] == [
            *(1, 1 << 40, 0.5, True, "héé", moment, 12.5, None, ""),
        ]
        encrypt = rows(cursor, "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID")
        assert encrypt == [("TRUE" if encrypted else "FALSE",)]


def test_every_driver_sends_values_and_long_text(sql_server: SqlServer, driver: str) -> None:
    mark = "?" if driver in {"mssql_python", "pyodbc"} else "%s"
    with closing(connect(driver, sql_server)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT name FROM sys.databases WHERE name = {mark} AND database_id = {mark}", ("msdb", 4))
        assert [tuple(row) for row in cursor.fetchall()] == [("msdb",)]
        # FreeTDS's ODBC driver cuts off what is behind 4000.
        text = "ß" * (4000 if driver == "pyodbc" else 9000)
        cursor.execute(f"SELECT CAST({mark} AS nvarchar(max)) AS text", (text,))
        assert cursor.fetchall()[0][0] == text


def test_a_wrong_password_is_refused(sql_server: SqlServer, driver: str) -> None:
    # Of all connections of a process that were not made, pymssql keeps number and words of the gravest error; of this
    # one it may have only that the server refused.
    with pytest.raises(Exception, match=r"Login failed for user 'sa'|18456|DB-Lib error message 20018"):
        connect(driver, sql_server, password="wrong")
    assert "Error: 18456, Severity: 14, State: 1." in str(
        rows(connect("pymssql", sql_server).cursor(), "EXEC sys.xp_readerrorlog 0, 1, N'18456'")
    )


def test_a_view_has_the_columns_of_its_version(sql_server_factory: SqlServerFactory) -> None:
    older, newer = sql_server_factory(version=15), sql_server_factory(version=16)
    with closing(connect("pymssql", older)) as connection:
        assert refused(connection.cursor(), "SELECT is_ledger_on FROM sys.databases") == 207
        assert rows(connection.cursor(), "SELECT CAST(SERVERPROPERTY('ProductMajorVersion') AS int)") == [(15,)]
    with closing(connect("pymssql", newer)) as connection:
        assert rows(connection.cursor(), "SELECT is_ledger_on FROM sys.databases WHERE name = N'MASTER'") == [(None,)]
    with pytest.raises(ServerFailed, match="is_ledger_on"):
        older.put("sys.databases", [{"name": "x", "is_ledger_on": True}])


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        ("SELECT nope FROM sys.databases", 207),
        ("SELECT * FROM nope", 208),
        ("SELECT * FROM sys.nope", 208),
        ("SELEC * FROM nope", 102),
        ("SELEC 1", 2812),
        ("SELECT @nope", 137),
        ("SELECT @@nope", 137),
        ("EXEC sp_nope", 2812),
        ("DROP DATABASE nope", 3701),
        ("DROP DATABASE master", 3708),
        ("USE nope", 911),
        ("KILL 4711", 6106),
        ("KILL @@SPID", 102),
        ("DROP LOGIN nope", 15151),
        ("CREATE LOGIN x WITH PASSWORD = @p", 102),
        ("CREATE LOGIN x WITH PASSWORD = 0x0200FF HASHED", 15021),
        ("EXEC sp_configure N'nope', 1", 15123),
        ("EXEC sp_configure N'backup compression default', 7", 15129),
        ("BACKUP LOG master TO DISK = N'/nowhere'", 4208),
        ("RESTORE DATABASE x FROM DISK = N'/nowhere'", 3201),
        (f"CREATE DATABASE [{'x' * 129}]", 103),
        ("CREATE DATABASE []", 1038),
        ("ALTER AVAILABILITY GROUP nope FAILOVER", 15151),
        ("COMMIT", 3902),
        ("RAISERROR (N'mine', 16, 3)", 50000),
    ],
)
def test_mistakes_have_the_numbers_of_sql_server(sa: Any, sql: str, number: int) -> None:
    assert refused(sa, sql) == number
    assert rows(sa, "SELECT 1") == [(1,)]


def test_names_in_brackets_keep_what_is_in_them(sa: Any) -> None:
    sa.execute("CREATE DATABASE [a]]b'c \"d]")
    assert rows(sa, "SELECT name FROM sys.databases WHERE name LIKE N'a%'") == [("a]b'c \"d",)]
    sa.execute("DROP DATABASE [A]]B'C \"D]")
    assert rows(sa, "SELECT name FROM sys.databases WHERE name LIKE N'a%'") == []


def test_transactions_keep_and_undo(sql_server: SqlServer, sa: Any) -> None:
    sa.execute("CREATE TABLE kept (a int)")
    with closing(connect("pytds", sql_server, autocommit=False)) as connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO kept VALUES (1)")
        connection.rollback()
        cursor.execute("INSERT INTO kept VALUES (2)")
        connection.commit()
    assert rows(sa, "SELECT a FROM kept") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    ["CREATE DATABASE t", "DROP DATABASE t", "BACKUP DATABASE master TO DISK = N'/x'", "KILL 4711", "RECONFIGURE"],
)
def test_what_may_not_run_in_a_transaction_does_not(sa: Any, sql: str) -> None:
    sa.execute("BEGIN TRAN")
    assert refused(sa, sql) in (226, 3021, 6115, 574)
    sa.execute("ROLLBACK")


def test_a_session_waits_for_the_one_that_changed_a_table(sql_server: SqlServer, sa: Any) -> None:
    sa.execute("CREATE TABLE fought_over (a int)")
    with closing(connect("pymssql", sql_server)) as first, closing(connect("pymssql", sql_server)) as second:
        holder, waiter = first.cursor(), second.cursor()
        holder.execute("BEGIN TRAN; INSERT INTO fought_over VALUES (1)")
        waiter.execute("SET LOCK_TIMEOUT 50")
        assert refused(waiter, "SELECT * FROM fought_over") == 1222
        waiter.execute("SET LOCK_TIMEOUT -1")
        thread = threading.Thread(target=waiter.execute, args=("SELECT * FROM fought_over",))
        thread.start()
        blocked = (
            "SELECT session_id, blocking_session_id, wait_type FROM sys.dm_exec_requests WHERE blocking_session_id <> 0"
        )
        ((_, blocker, wait),) = wait_until(lambda: rows(sa, blocked), what="a session to be blocked")
        assert (blocker, wait) == (rows(holder, "SELECT @@SPID")[0][0], "LCK_M_S")
        holder.execute("COMMIT")
        thread.join(WAIT_TIMEOUT_SECONDS)
        assert waiter.fetchall() == [(1,)]


def test_kill_ends_a_session(sql_server: SqlServer, sa: Any) -> None:
    with closing(connect("pymssql", sql_server)) as victim:
        ((number,),) = rows(victim.cursor(), "SELECT @@SPID")
        sa.execute(f"KILL {number}")
        with pytest.raises(pymssql.Error):
            rows(victim.cursor(), "SELECT 1")
        assert number not in sql_server.sessions()


@pytest.mark.parametrize("driver", ["pytds", "mssql_python"])  # that of pymssql is one for the whole process
def test_a_client_that_will_not_wait_goes_on_with_its_connection(sql_server: SqlServer, driver: str) -> None:
    with closing(connect(driver, sql_server, timeout_seconds=1)) as connection:
        cursor = connection.cursor()
        with pytest.raises(Exception, match=r"(?i)time"):
            cursor.execute("WAITFOR DELAY '00:00:59'")
        assert rows(connection.cursor(), "SELECT 1") == [(1,)]


def test_a_login_with_a_hash_is_one_with_that_password(sql_server: SqlServer, sa: Any) -> None:
    sa.execute(f"CREATE LOGIN hashed WITH PASSWORD = {HASHCAT} HASHED, CHECK_POLICY = OFF")
    with closing(connect("pytds", sql_server, user="hashed", password="hashcat")) as connection:
        assert rows(connection.cursor(), "SELECT SUSER_SNAME()") == [("hashed",)]
        # Without the grant it sees itself only.
        assert rows(connection.cursor(), "SELECT login_name FROM sys.dm_exec_sessions") == [("hashed",)]
    sa.execute("GRANT VIEW SERVER STATE TO hashed")
    with closing(connect("pytds", sql_server, user="hashed", password="hashcat")) as connection:
        assert ("sa",) in rows(connection.cursor(), "SELECT login_name FROM sys.dm_exec_sessions")


def test_backups_are_restored_in_their_order(sa: Any, tmp_path: Path) -> None:
    full, difference, log = (tmp_path / name for name in ("full", "difference", "log"))
    sa.execute("CREATE DATABASE shop")
    sa.execute("CREATE TABLE shop.dbo.orders (a int)")
    assert refused(sa, f"BACKUP LOG shop TO DISK = N'{log}'") == 4214
    assert refused(sa, f"BACKUP DATABASE shop TO DISK = N'{difference}' WITH DIFFERENTIAL") == 3035
    for number, statement in enumerate(
        (
            f"DATABASE shop TO DISK = N'{full}'",
            f"DATABASE shop TO DISK = N'{difference}' WITH DIFFERENTIAL",
            f"LOG shop TO DISK = N'{log}'",
        )
    ):
        sa.execute(f"INSERT INTO shop.dbo.orders VALUES ({number})")
        sa.execute(f"BACKUP {statement}")
    assert rows(sa, "SELECT type FROM msdb.dbo.backupset ORDER BY backup_set_id") == [("D",), ("I",), ("L",)]
    assert refused(sa, f"RESTORE DATABASE shop FROM DISK = N'{full}'") == 3159
    assert refused(sa, f"RESTORE DATABASE shop FROM DISK = N'{difference}'") == 3117
    sa.execute(f"RESTORE DATABASE copy FROM DISK = N'{full}' WITH NORECOVERY, MOVE N'shop' TO N'/x'")
    assert refused(sa, "USE copy") == 942
    sa.execute(f"RESTORE DATABASE copy FROM DISK = N'{difference}' WITH NORECOVERY")
    sa.execute(f"RESTORE LOG copy FROM DISK = N'{log}' WITH RECOVERY")
    assert rows(sa, "SELECT a FROM copy.dbo.orders ORDER BY a") == [(0,), (1,), (2,)]


def test_faults_make_statements_wait_fail_and_lose_their_connection(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    server.fault("@@VERSION", error=(1205, 13, 51, "You are the victim."), times=1)
    server.fault("@@SERVERNAME", hang_up=True)
    with closing(connect("pymssql", server)) as connection:
        cursor = connection.cursor()
        assert refused(cursor, "SELECT @@VERSION") == 1205
        assert "Microsoft SQL Server 2022" in rows(cursor, "SELECT @@VERSION")[0][0]
        with pytest.raises(pymssql.Error):
            cursor.execute("SELECT @@SERVERNAME")
    assert server.statements()[-3:] == ["SELECT @@VERSION", "SELECT @@VERSION", "SELECT @@SERVERNAME"]


def test_shutdown_ends_the_process(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    with closing(connect("pytds", server)) as connection:
        connection.cursor().execute("SHUTDOWN WITH NOWAIT")
        wait_until(lambda: not server.running, what="the server to end")
