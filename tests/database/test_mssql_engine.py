"""The engine of SQL Server, on what stands in for it."""

from __future__ import annotations

import string
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gds_database import BackupType, ConfigurationError, DatabaseConnectionError, DatabaseState, QueryError
from gds_database.capabilities import OPERATIONS, TestedAgainst
from gds_database.control import Command
from gds_database.engines.mssql import MSSQLDatabase, MSSQLEngine
from gds_database.errors import ObjectNotFoundError, PrivilegeError
from tests.services.fixtures import SqlServerFactory
from tests.services.mssql import SqlServer
from tests.services.process import WAIT_TIMEOUT_SECONDS, wait_until

from .sqlservers import connection_to, drop_login, engine_on


@pytest.fixture
def engine(sql_server: SqlServer) -> Iterator[MSSQLEngine]:
    with engine_on(sql_server) as engine:
        yield engine


@pytest.fixture
def shop(engine: MSSQLEngine) -> Iterator[MSSQLDatabase]:
    shop = engine.get_database("shop")
    if shop.exists():
        shop.drop(force=True)
    assert shop.create(recovery_model="full").is_success()
    engine.connection.execute_query("CREATE TABLE shop.dbo.orders (a int)")
    yield shop
    if shop.exists():
        shop.drop(force=True)


def orders(engine: MSSQLEngine, database: str = "shop") -> list[int]:
    return [row[0] for row in engine.connection.execute_query(f"SELECT a FROM {database}.dbo.orders ORDER BY a")]


def last(server: SqlServer, beginning: str) -> str:
    """The last statement that begins so."""
    return next(text for text in reversed(server.statements()) if text.startswith(beginning))


# ------------------------------------------------------------------ what it is
def test_it_says_in_these_words_that_it_was_never_run_on_sql_server(engine: MSSQLEngine) -> None:
    found = engine.capabilities()
    assert set(found) == set(OPERATIONS)
    for name, capability in found.items():
        if name in ("build", "destroy", "startup"):
            assert capability.tested_against is TestedAgainst.CHECKED
        else:
            assert capability.how.endswith("protocol and SQL checked; never run on SQL Server")
            assert capability.tested_against is TestedAgainst.EMULATOR


@pytest.mark.parametrize("version", [13, 14, 15, 16, 17])
def test_every_query_asks_for_columns_that_every_version_has(
    sql_server_factory: SqlServerFactory, version: int
) -> None:
    server = sql_server_factory(version=version)
    with engine_on(server) as engine:
        now = datetime.now(timezone.utc)
        assert engine.get_version().startswith(f"{version}.0.")
        assert engine.metadata.get_attribute("engine_edition") == 3
        assert [database.metadata.name for database in engine.list_databases()] == ["master", "model", "msdb", "tempdb"]
        assert engine.list_processes()
        assert engine.get_setting("max degree of parallelism")["maximum"] == 32767
        assert engine.get_metrics(now - timedelta(hours=1), now + timedelta(hours=1))
        assert engine.get_logs(now - timedelta(hours=1), now + timedelta(hours=1))
        assert engine.get_replication_status().role == "standalone"


def test_times_of_a_server_in_another_zone_are_right(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory(offset_minutes=-570)
    before = datetime.now(timezone.utc)
    server.write_log("spid7", "just now")
    with engine_on(server) as engine:
        assert abs((engine.get_server_time() - before).total_seconds()) < 60
        assert abs((engine.metadata.get_attribute("started_at") - before).total_seconds()) < 60
        created = engine.get_database("master").metadata.created
        assert created is not None
        assert abs((created - before).total_seconds()) < 60
        (entry,) = engine.get_logs(before - timedelta(minutes=1), before + timedelta(minutes=1), contains="just now")
        assert abs((entry.timestamp - before).total_seconds()) < 60
        process = engine.list_processes()[0]
        assert abs((process["started_at"] - before).total_seconds()) < 60
        assert abs(engine.get_replication_status().clock_skew_seconds or 0) < 60


def test_what_azure_sql_database_has_not_says_what_to_use(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory(engine_edition=5)
    with engine_on(server) as engine:
        master = engine.get_database("master")
        results = {
            "create_user": engine.create_user("x", "Lang und 1 Passwort"),
            "set_configuration": engine.set_configuration("max degree of parallelism", 2),
            "shutdown": engine.shutdown(),
            "restore": master.restore("/x"),
            **{f"backup_{kind.value}": master.backup("/x", kind) for kind in BackupType},
        }
        told = engine.capabilities()
        for name, result in results.items():
            assert result.is_failure()
            assert result.metadata == {"error_type": "Unsupported", "capability": name}
            assert result.error == f"{engine.system}: {told[name].how}"
            assert "; use " in told[name].how
        with pytest.raises(QueryError, match="no error log") as no_logs:
            engine.get_logs(datetime.now(timezone.utc), datetime.now(timezone.utc))
        assert str(no_logs.value) == told["get_logs"].how

        without_control = {"build", "destroy", "startup"}
        lacks = {name for name, each in told.items() if not each.supported}
        assert lacks - without_control == {*results, "get_logs"}
        assert {told[name].tested_against for name in lacks} == {TestedAgainst.CHECKED}
        assert set(told) == set(OPERATIONS)

        engine.control = Command(stop=["az", "stop"])
        assert engine.shutdown(dry_run=True).is_success()
        assert engine.capabilities().supports("shutdown")


# ------------------------------------------------------------------ databases
def test_a_database_is_made_with_what_is_asked_for(sql_server: SqlServer, engine: MSSQLEngine) -> None:
    engine.create_user("own'er", "Lang und 1 Passwort")
    database = engine.create_database(
        "made]", collation="Latin1_General_100_CI_AS", recovery_model="simple", owner="own'er"
    )
    found = database.metadata
    assert (found.collation, found.owner, found.state) == ("Latin1_General_100_CI_AS", "own'er", DatabaseState.ONLINE)
    assert found.size_bytes == 2 * 1024 * 8192
    assert found.get_attribute("recovery_model") == "SIMPLE"
    assert [database.name for database in engine.list_databases() if database.name.startswith("made")] == ["made]"]
    assert database.drop().is_success()
    assert last(sql_server, "DROP") == "DROP DATABASE [made]]]"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"collation": "x; DROP DATABASE master"}, "collation"),
        ({"recovery_model": "fast"}, "recovery_model"),
        ({"owner": "nobody"}, "nobody"),
        ({"colation": "x"}, "did you mean collation"),
    ],
)
def test_an_option_that_cannot_be_used_makes_nothing(engine: MSSQLEngine, options: dict[str, Any], word: str) -> None:
    result = engine.get_database("not made").create(**options)
    assert word in (result.error or "")
    assert not engine.get_database("not made").exists()


def test_dropping_with_force_ends_sessions_and_dropping_without_does_not(
    sql_server: SqlServer, engine: MSSQLEngine, shop: MSSQLDatabase
) -> None:
    with ExitStack() as stack:
        other = connection_to(sql_server, database="shop")
        other.connect()
        stack.callback(other.disconnect)
        result = shop.drop()
        assert "in use" in (result.error or "")
        assert shop.exists()
        shown = shop.drop(force=True, dry_run=True).data or {}
        assert shown["statements"] == [
            "USE [master]; ALTER DATABASE [shop] SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE [shop]"
        ]
        assert shop.drop(force=True).is_success()
        assert not shop.exists()
        with pytest.raises(DatabaseConnectionError):
            other.execute_query("SELECT 1")


def test_a_drop_that_fails_leaves_the_database_open_to_others(
    sql_server: SqlServer, engine: MSSQLEngine, shop: MSSQLDatabase
) -> None:
    connection = connection_to(sql_server)
    with MSSQLEngine(connection) as other:
        connection.execute_query("ALTER DATABASE shop SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
        other._execute = _failing(other, "DROP DATABASE")  # type: ignore[method-assign]
        assert other.get_database("shop").drop(force=True).is_failure()
    assert shop.refresh_metadata().get_attribute("user_access") == "MULTI_USER"


def _failing(engine: MSSQLEngine, word: str) -> Any:
    run = engine._execute

    def execute(statement: str, *arguments: Any, **keywords: Any) -> None:
        if word in statement:
            raise QueryError("no")
        run(statement, *arguments, **keywords)

    return execute


def test_the_databases_of_the_server_are_not_dropped(engine: MSSQLEngine) -> None:
    for name in ("master", "MSDB", "tempdb", "model"):
        assert "the server's own" in (engine.get_database(name).drop(force=True).error or "")


# ------------------------------------------------------------------ backups
def test_full_differential_and_log_are_restored_one_on_the_other(
    engine: MSSQLEngine, shop: MSSQLDatabase, tmp_path: Path
) -> None:
    paths = {kind: str(tmp_path / f"it's {kind.value}") for kind in BackupType}
    assert "no current database backup" in (shop.backup(paths[BackupType.LOG], BackupType.LOG).error or "")
    for number, kind in enumerate((BackupType.FULL, BackupType.DIFFERENTIAL, BackupType.LOG)):
        engine.connection.execute_query("INSERT INTO shop.dbo.orders VALUES (?)", (number,))
        result = shop.backup(paths[kind], kind, compression=True, verify=True, description="it's mine")
        assert result.is_success(), result.error
    assert set(shop.refresh_metadata().get_attribute("last_backups")) == {"full", "differential", "log"}
    copy = engine.get_database("copy [of] shop")
    result = copy.restore(paths[BackupType.FULL], recover=False)
    assert result.is_success(), result.error
    assert "MOVE ? TO ?" in (result.data or {})["statements"][0]
    assert "copy__of__shop_0.mdf" in (result.data or {})["statements"][0]
    assert copy.refresh_metadata().state is DatabaseState.RESTORING
    assert copy.restore(paths[BackupType.DIFFERENTIAL], recover=False).is_success()
    until = datetime.now(timezone.utc)
    assert copy.restore(paths[BackupType.LOG], stop_at=until).is_success()
    assert copy.refresh_metadata().state is DatabaseState.ONLINE
    assert orders(engine, "[copy [of]] shop]") == [0, 1, 2]
    copy.drop(force=True)


def test_a_backup_is_not_written_over_unless_that_is_asked_for(
    engine: MSSQLEngine, shop: MSSQLDatabase, tmp_path: Path
) -> None:
    path = str(tmp_path / "shop.bak")
    assert shop.backup(path).is_success()
    assert "overwrite=True" in (shop.backup(path).error or "")
    engine.connection.execute_query("INSERT INTO shop.dbo.orders VALUES (7)")
    assert shop.backup(path, overwrite=True).is_success()
    assert "replace=True" in (shop.restore(path).error or "")
    engine.connection.execute_query("DELETE FROM shop.dbo.orders")
    assert shop.restore(path, replace=True, force=True).is_success()
    assert orders(engine) == [7]


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (BackupType.INCREMENTAL, {}, "use BackupType.DIFFERENTIAL or LOG"),
        (BackupType.FULL, {"compresion": True}, "did you mean compression"),
    ],
)
def test_a_backup_that_cannot_be_says_what_to_do(
    shop: MSSQLDatabase, kind: BackupType, options: dict[str, Any], words: str
) -> None:
    assert words in (shop.backup("/x", kind, **options).error or "")


def test_a_log_is_kept_by_no_simple_database_and_tempdb_has_no_backup(engine: MSSQLEngine) -> None:
    assert "SIMPLE" in (engine.get_database("master").backup("/x", BackupType.LOG).error or "")
    assert "anew" in (engine.get_database("tempdb").backup("/x").error or "")
    assert "finds no backup" in (engine.get_database("x").restore("/no/such/file").error or "")


def test_a_log_goes_onto_nothing_but_a_database_that_waits_for_it(
    engine: MSSQLEngine, shop: MSSQLDatabase, tmp_path: Path
) -> None:
    shop.backup(str(tmp_path / "full"))
    shop.backup(str(tmp_path / "log"), BackupType.LOG)
    assert "recover=False" in (shop.restore(str(tmp_path / "log")).error or "")
    assert "recover=False" in (engine.get_database("absent").restore(str(tmp_path / "log")).error or "")


def test_a_long_backup_tells_how_far_it_is(shop: MSSQLDatabase, tmp_path: Path) -> None:
    told: list[str] = []
    assert shop.backup(str(tmp_path / "shop.bak"), progress=told.append).is_success()
    assert any("percent processed" in text for text in told)


@pytest.mark.parametrize("driver", ["pymssql", "python-tds"])
def test_a_backup_is_cancelled_and_the_connection_opened_anew(
    sql_server_factory: SqlServerFactory, tmp_path: Path, driver: str
) -> None:
    server = sql_server_factory()
    server.fault("^BACKUP", seconds=WAIT_TIMEOUT_SECONDS * 2)
    with engine_on(server, driver) as engine:
        cancelled = threading.Event()
        threading.Thread(target=_cancel_while_backing_up, args=(server, cancelled)).start()
        result = engine.get_database("master").backup(str(tmp_path / "x"), cancelled=cancelled)
        assert "cancelled" in (result.error or "")
        assert engine.get_version()


def _cancel_while_backing_up(server: SqlServer, cancelled: threading.Event) -> None:
    wait_until(lambda: any(text.startswith("BACKUP") for text in server.statements()), what="the backup to begin")
    cancelled.set()


# ------------------------------------------------------------------ users
def test_a_login_is_made_with_roles_and_users_and_can_log_in(
    sql_server: SqlServer, engine: MSSQLEngine, shop: MSSQLDatabase
) -> None:
    password = "C4nary 'quote' \"and\" ]} %s ß漢"
    result = engine.create_user(
        "cli]ent", password, roles=["processadmin"], databases={"shop": ["db_datareader"]}, default_database="shop"
    )
    assert result.is_success(), result.error
    created = "CREATE LOGIN [cli]]ent] WITH PASSWORD = ********"
    assert (result.data or {})["statements"] == [
        f"{created} HASHED, DEFAULT_DATABASE = [shop], CHECK_POLICY = ON, CHECK_EXPIRATION = OFF",
        "ALTER SERVER ROLE [processadmin] ADD MEMBER [cli]]ent]",
        "EXEC [shop].sys.sp_executesql N'CREATE USER [cli]]ent] FOR LOGIN [cli]]ent]'",
        "EXEC [shop].sys.sp_executesql N'ALTER ROLE [db_datareader] ADD MEMBER [cli]]ent]'",
    ]
    for driver in ("pymssql", "python-tds", "mssql-python"):
        with MSSQLEngine(connection_to(sql_server, driver, user="cli]ent", password=password)) as other:
            assert other.connection.execute_query("SELECT DB_NAME(), SUSER_SNAME()") == [("shop", "cli]ent")]
    assert "C4nary" not in "".join(sql_server.statements()) + sql_server.log()
    drop_login(engine, "cli]ent")
    assert "cli]ent" not in engine.list_users()


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("", "empty"),
        ("Sh0rt!", "at least 8"),
        ("alllowercase", "3 kinds"),
        ("x" * 129, "at most 128"),
        ("Of A Client 1", "name of the login"),
        ("Aa1!\ud800aaaa", "surrogates"),
    ],
)
def test_a_password_against_the_rules_is_refused_and_not_told(engine: MSSQLEngine, password: str, word: str) -> None:
    result = engine.create_user("client", password)
    assert word in (result.error or "")
    assert not password or password not in repr(result)
    assert "client" not in engine.list_users()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"roles": ["no such"]}, "no such"),
        ({"roles": "sysadmin"}, "list of names"),
        ({"databases": {"no such": []}}, "no such"),
        ({"databases": {"master": ["nope"]}}, "nope"),
        ({"default_database": "no such"}, "no such"),
        ({"valid_until": datetime.now(timezone.utc)}, "valid_until"),
        ({"check_policy": False, "check_expiration": True}, "check_expiration"),
    ],
)
def test_nothing_of_a_login_is_made_if_a_part_of_it_cannot_be(
    engine: MSSQLEngine, options: dict[str, Any], word: str
) -> None:
    assert word in (engine.create_user("partly", "Lang und 1 Passwort", **options).error or "")
    assert "partly" not in engine.list_users()


def test_the_administrator_and_oneself_are_not_dropped(sql_server: SqlServer, engine: MSSQLEngine) -> None:
    assert "administrator" in (engine.drop_user("sa").error or "")
    engine.create_user("myself", "Lang und 1 Passwort", roles=["sysadmin"])
    with MSSQLEngine(connection_to(sql_server, user="myself", password="Lang und 1 Passwort")) as other:
        assert "the one that asks" in (other.drop_user("MYSELF").error or "")
    drop_login(engine, "myself")


# ------------------------------------------------------------------ names and values
INJECTIONS = [
    "x'; DROP DATABASE victim; --",
    "x]; DROP DATABASE victim; --",
    "x]]; DROP DATABASE victim; --",
    'x"; DROP DATABASE victim; --',
    "x\n; GO\nDROP DATABASE victim",
    "/* x", "-- x", "x?y", "%s %d %(x)s", "{fn now()}", "@p1", "N'x'", "[x]", "select", "  leading and trailing  ",
    "\u2019; DROP DATABASE victim; --", "\uff07 or \uff3d", "🎉" * 64,
]  # fmt: skip


@pytest.mark.parametrize(
    ("driver", "names"), [("pymssql", INJECTIONS), ("python-tds", INJECTIONS[::6]), ("mssql-python", INJECTIONS[1::6])]
)
def test_names_are_names_whatever_is_in_them(sql_server: SqlServer, driver: str, names: list[str]) -> None:
    with engine_on(sql_server, driver) as engine:
        engine.get_database("victim").create()
        before = {database.name for database in engine.list_databases()}
        for name in names:
            result = engine.get_database(name).create()
            assert result.is_success(), result.error
            assert engine.create_user(name, "Lang und 1 Passwort").is_success()
        assert {database.name for database in engine.list_databases()} - before == set(names)
        assert set(names) <= set(engine.list_users())
        for name in names:
            assert engine.get_database(name).metadata.name == name
            assert engine.drop_user(name).is_success()
            assert engine.get_database(name).drop(force=True).is_success()
        assert {database.name for database in engine.list_databases()} == before
        engine.get_database("victim").drop()


# Of the basic plane: beyond it drivers count other than the server when they log in.
TEXT = st.text(st.characters(max_codepoint=0xFFFF), min_size=1, max_size=60)


@example(name="printable", password=f"C4näry{string.printable}")
@given(name=TEXT.filter(lambda name: not name.startswith("##")), password=TEXT.map("C4näry{}".format))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_any_name_and_any_password_is_taken_whole_or_refused(
    sql_server: SqlServer, engine: MSSQLEngine, name: str, password: str
) -> None:
    made = engine.create_user(name, password, check_policy=False)
    assert "C4näry" not in f"{made!r}{made.to_dict()}"
    if made.is_failure():
        unusable = "\0" in name or any("\ud800" <= each <= "\udfff" for each in name + password)
        assert unusable or "exists" in (made.error or "")
        return
    try:
        assert name in engine.list_users()
        with MSSQLEngine(connection_to(sql_server, "python-tds", user=name, password=password)) as other:
            assert other.connection.execute_query("SELECT SUSER_SNAME()") == [(name,)]
    finally:
        drop_login(engine, name)


def test_a_name_is_as_long_as_the_server_lets_it_be(engine: MSSQLEngine) -> None:
    longest = "n" * 127 + "]"
    assert engine.get_database(longest).create().is_success()
    assert engine.get_database(longest).drop().is_success()
    for name in ("n" * 129, "🎉" * 65, "", "a\0b"):
        assert engine.get_database(name).create().is_failure()


# ------------------------------------------------------------------ sessions
def test_a_session_that_waits_tells_for_whom_and_for_what(
    sql_server: SqlServer, engine: MSSQLEngine, shop: MSSQLDatabase
) -> None:
    with ExitStack() as stack:
        holder, waiter = (
            connection_to(sql_server, database="shop", application_name=name) for name in ("holder", "waiter")
        )
        for each in (holder, waiter):
            each.connect()
            stack.callback(each.disconnect)
        holder.begin_transaction()
        holder.execute_query("INSERT INTO orders VALUES (1)")

        def wait() -> None:
            with suppress(Exception):
                waiter.execute_query("SELECT a FROM orders")

        thread = threading.Thread(target=wait)
        thread.start()

        def blocked() -> dict[str, Any]:
            return next((each for each in engine.list_processes() if each["blocked_by"]), {})

        process = wait_until(blocked, what="one to wait")
        blocker = next(each for each in engine.list_processes() if each["id"] == process["blocked_by"][0])
        assert (process["wait"], process["database"], process["application"]) == ("LCK_M_S", "shop", "waiter")
        assert process["seconds"] >= 0
        assert blocker["application"] == "holder"
        assert (blocker["state"], blocker["open_transactions"], blocker["seconds"]) == ("sleeping", 1, None)
        assert "INSERT INTO orders" in blocker["statement"]
        assert engine.kill_process(blocker["id"], dry_run=True).data == {
            "statements": [f"KILL {blocker['id']}"],
            "dry_run": True,
        }
        assert engine.kill_process(blocker["id"]).is_success()
        thread.join(WAIT_TIMEOUT_SECONDS)
        assert not thread.is_alive()
        assert orders(engine) == []


@pytest.mark.parametrize("process", ["0", "-1", "51; SHUTDOWN", "५१", "123456", ""])
def test_what_is_no_session_is_not_ended(sql_server: SqlServer, engine: MSSQLEngine, process: str) -> None:
    assert engine.kill_process(process).is_failure()
    assert not any("KILL" in text for text in sql_server.statements() if process and process in text)


def test_ones_own_session_is_not_ended(engine: MSSQLEngine) -> None:
    ((own,),) = engine.connection.execute_query("SELECT @@SPID")
    assert "session of this connection" in (engine.kill_process(str(own)).error or "")


# ------------------------------------------------------------------ settings
def test_a_setting_has_a_unit_a_range_and_what_a_change_takes(engine: MSSQLEngine) -> None:
    found = engine.get_setting("Max Server Memory (MB)")
    assert (found["name"], found["unit"], found["minimum"]) == ("max server memory (MB)", "MBy", 128)
    assert (found["restart_required"], found["pending_restart"], found["source"]) == (False, False, "running")
    with pytest.raises(ObjectNotFoundError):
        engine.get_setting("nope")


def test_an_advanced_setting_is_shown_changed_and_hidden_again(engine: MSSQLEngine) -> None:
    result = engine.set_configuration("xp_cmdshell", False)
    assert (result.data or {})["statements"] == [
        "EXEC sys.sp_configure @configname = ?, @configvalue = ? -- 'show advanced options', 1", "RECONFIGURE",
        "EXEC sys.sp_configure @configname = ?, @configvalue = ? -- 'xp_cmdshell', 0", "RECONFIGURE",
        "EXEC sys.sp_configure @configname = ?, @configvalue = ? -- 'show advanced options', 0", "RECONFIGURE",
    ]  # fmt: skip
    assert engine.get_configuration()["show advanced options"] == 0


def test_a_setting_that_needs_a_restart_says_so_before_and_after(engine: MSSQLEngine) -> None:
    result = engine.set_configuration("user connections", 500)
    assert (result.data or {})["restart_required"] is True
    found = engine.get_setting("user connections")
    assert (found["value"], found["configured_value"], found["pending_restart"]) == (0, 500, True)
    assert engine.set_configuration("user connections", 0).is_success()


@pytest.mark.parametrize("value", [-1, 32768, "many", 1.5, None, "1; SHUTDOWN"])
def test_a_value_out_of_its_range_changes_nothing(engine: MSSQLEngine, value: Any) -> None:
    result = engine.set_configuration("max degree of parallelism", value)
    assert "from 0 to 32767" in (result.error or "")
    assert engine.get_configuration()["max degree of parallelism"] == 0


def test_what_else_a_change_would_set_off_is_told(engine: MSSQLEngine) -> None:
    engine.connection.execute_query("EXEC sp_configure 'show advanced options', 1")
    engine.connection.execute_query("RECONFIGURE")
    engine.connection.execute_query("EXEC sp_configure 'min server memory (MB)', 5")
    data = engine.set_configuration("max degree of parallelism", 0, dry_run=True).data or {}
    assert data["also_takes_effect"] == ["min server memory (MB)"]
    for name in ("min server memory (MB)", "show advanced options"):
        assert engine.set_configuration(name, 0).is_success()


# ------------------------------------------------------------------ metrics and logs
def test_metrics_are_totals_with_units_and_what_is_a_part_has_its_whole(engine: MSSQLEngine) -> None:
    now = datetime.now(timezone.utc)
    metrics = engine.get_metrics(now - timedelta(hours=1), now + timedelta(hours=1))
    found = {(each.name, *sorted(each.labels.items())): each for each in metrics}
    assert found[("sqlserver.page.buffer_cache.hit_ratio",)].value == 0.995
    assert found[("sqlserver.page.life_expectancy",)].value == 4711
    assert found[("sqlserver.wait.time", ("wait_type", "LCK_M_S"))].value == 4.5
    assert found[("sqlserver.deadlocks", ("instance", "_Total"))].unit == "{deadlock}"
    assert found[("sqlserver.memory.total",)].value == 1 << 30
    read = found[("sqlserver.database.io", ("database", "master"), ("direction", "read"), ("file_type", "rows"))]
    assert (read.value, read.unit) == (100 * 8192, "By")
    assert not any("LAZYWRITER_SLEEP" in each.labels.values() for each in metrics)
    assert not any(each.unit.endswith("/s") for each in found.values())
    assert engine.get_metrics(now - timedelta(hours=2), now - timedelta(hours=1)) == []


def test_a_login_without_grants_has_what_it_may_see(sql_server: SqlServer, engine: MSSQLEngine) -> None:
    engine.create_user("looker", "Lang und 1 Passwort")
    now = datetime.now(timezone.utc)
    with MSSQLEngine(connection_to(sql_server, user="looker", password="Lang und 1 Passwort")) as looker:
        names = {each.name for each in looker.get_metrics(now - timedelta(hours=1), now + timedelta(hours=1))}
        assert "sqlserver.session.count" in names
        assert "sqlserver.wait.time" not in names
        assert {each["user"] for each in looker.list_processes()} == {"looker"}
        assert looker.metadata.get_attribute("started_at") is None
        with pytest.raises(PrivilegeError, match="denied"):
            looker.get_logs(now - timedelta(hours=1), now)
        result = looker.get_database("not allowed").create()
        assert (result.metadata or {})["error_type"] == "PrivilegeError"
        with pytest.raises(PrivilegeError, match="GRANT VIEW SERVER PERFORMANCE STATE TO"):
            looker._read("SELECT 1 AS a FROM sys.dm_os_wait_stats")
    drop_login(engine, "looker")


def test_an_error_of_the_log_is_one_entry_with_number_and_severity(sql_server: SqlServer, engine: MSSQLEngine) -> None:
    with suppress(Exception):
        connection_to(sql_server, password="wrong").connect()
    now = datetime.now(timezone.utc)
    entries = engine.get_logs(now - timedelta(minutes=1), now + timedelta(minutes=1), contains="login failed", limit=1)
    (entry,) = entries
    assert (entry.level, entry.source) == ("ERROR", "errorlog")
    assert entry.context == {"process": "Logon", "number": 18456, "severity": 14, "state": 1}


# ------------------------------------------------------------------ the end
def test_shutdown_without_control_is_the_statement(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    with engine_on(server) as engine:
        assert engine.shutdown(dry_run=True).data == {"statements": ["SHUTDOWN"], "dry_run": True}
        assert engine.shutdown(force=True).is_success()
        wait_until(lambda: not server.running, what="the server to end")
        assert "control=" in (engine.startup().error or "")


def test_options_that_nothing_reads_are_refused(engine: MSSQLEngine) -> None:
    for result in (engine.shutdown(no_such=1), engine.failover(no_such=1), engine.create_user("x", "y", no_such=1)):
        assert "no_such" in (result.error or "")
    with pytest.raises(ConfigurationError, match="no_such"):
        engine.get_logs(datetime.now(timezone.utc), datetime.now(timezone.utc), no_such=1)
