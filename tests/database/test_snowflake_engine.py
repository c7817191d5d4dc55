"""Snowflake's engine on an emulator: names, users, clones, warehouses, failover groups, and what nobody may see."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from snowflake import connector

from gds_database import (
    BackupType,
    ConfigurationError,
    DatabaseConnection,
    DatabaseConnectionError,
    EngineConfig,
    OperationResult,
    QueryError,
)
from gds_database.capabilities import TestedAgainst
from gds_database.control import Command
from gds_database.engines.snowflake import SnowflakeConnection, SnowflakeEngine, _usage
from gds_database.engines.snowflake._errors import translated
from gds_database.engines.snowflake._text import literal, quoted
from gds_database.errors import PrivilegeError, StatementTimeoutError
from tests.services.snowflake import Snowflake
from tests.services.toxiproxy import Toxiproxy

CANARY = "Canary-5d27'\"\\%s$}{ä"
NOW = datetime.now(timezone.utc).replace(microsecond=0)


def connection_of(server: Snowflake, **more: Any) -> SnowflakeConnection:
    arguments = server.arguments
    return SnowflakeConnection(
        arguments.pop("account"), arguments.pop("user"), password="any-password", **{**arguments, **more}
    )


@pytest.fixture(scope="module")
def engine(snowflake: Snowflake) -> Iterator[SnowflakeEngine]:
    with SnowflakeEngine(connection_of(snowflake)) as engine:
        yield engine


@pytest.fixture
def tell(engine: SnowflakeEngine) -> Iterator[Callable[..., None]]:
    """Puts rows into the account's tables; they are gone when the test ends."""
    told = set()

    def insert(table: str, **values: Any) -> None:
        told.add(table)
        columns = ", ".join(values)
        literals = ", ".join(
            f"'{value.isoformat(sep=' ')}'::TIMESTAMP_TZ" if isinstance(value, datetime) else literal(value)
            for value in values.values()
        )
        engine._execute(f"INSERT INTO SNOWFLAKE.{table} ({columns}) SELECT {literals}")

    yield insert
    for table in told:
        engine._execute(f"DELETE FROM SNOWFLAKE.{table}")


def done(result: OperationResult) -> dict[str, Any]:
    assert result.is_success(), result.to_dict()
    return result.data or {}


def drop(engine: SnowflakeEngine, *names: str) -> None:
    for name in names:
        if engine.get_database(name).exists():
            done(engine.get_database(name).drop(force=True))


# ------------------------------------------------------------------ names and values
# The emulator takes a dollar and a word for a variable, within texts and names as well, and fails for good.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$"), min_size=1, max_size=60)


@settings(max_examples=8)
@given(name=NAMES)
def test_any_name_makes_that_database_and_no_other(engine: SnowflakeEngine, name: str) -> None:
    before = set(engine._databases())
    name = f"any {name}"
    done(engine.get_database(name).create(comment=name))
    try:
        assert set(engine._databases()) == before | {name}
        assert engine.get_database(name).metadata.get_attribute("comment") == name
        # By its exact name only.
        assert not engine.get_database(name + " ").exists()
    finally:
        done(engine.get_database(name).drop())
    assert set(engine._databases()) == before


@pytest.mark.parametrize(
    "name",
    [
        'x" CASCADE; DROP DATABASE "SNOWFLAKE',
        "x'; DROP USER DBA; --",
        'x"; --',
        "x\\",
        "x/*",
        "%(name)s %s ?",
        "$$x$$",
        "TABLE",
    ],
)
def test_a_name_that_is_a_statement_stays_a_name(engine: SnowflakeEngine, name: str) -> None:
    before = engine.list_users(), set(engine._databases())
    done(engine.create_user(name, CANARY, roles=["PUBLIC"]))
    done(engine.get_database(name).create(comment=name))
    assert (set(engine.list_users()), set(engine._databases())) == ({*before[0], name}, before[1] | {name})
    done(engine.drop_user(name))
    done(engine.get_database(name).drop())
    assert (engine.list_users(), set(engine._databases())) == before


@settings(max_examples=8)
@example(password="".join(map(chr, range(32, 127))))
@given(password=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=40))
def test_any_password_is_taken(engine: SnowflakeEngine, password: str) -> None:
    result = engine.create_user("anybody", password)
    shown = done(result)["statements"]
    done(engine.drop_user("anybody"))
    assert shown == ["CREATE USER \"anybody\" PASSWORD = '********'"]


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b"])
def test_names_that_nothing_can_have_are_refused(engine: SnowflakeEngine, name: str) -> None:
    result = engine.get_database(name).create()
    assert "expected 1 to 255 characters" in str(result.error)
    with pytest.raises(ConfigurationError):
        quoted(name)


def test_a_name_in_the_wrong_case_is_told(engine: SnowflakeEngine) -> None:
    with pytest.raises(QueryError, match="there is 'SNOWFLAKE': names are taken as they are"):
        _ = engine.get_database("snowflake").metadata


def test_more_names_than_one_statement_shows_are_all_there(
    engine: SnowflakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [{"name": f"it's {number:06}"} for number in range(20_001)]
    asked = []

    def shown(self: SnowflakeEngine, statement: str) -> list[dict[str, Any]]:
        asked.append(statement)
        after = statement.partition(" FROM ")[2]
        first = 0 if not after else 1 + next(n for n, each in enumerate(there) if literal(each["name"]) == after)
        return there[first : first + 10_000]

    monkeypatch.setattr(SnowflakeEngine, "_rows", shown)
    assert len(engine.list_users()) == 20_001
    assert asked[1] == "SHOW USERS LIMIT 10000 FROM 'it\\'s 009999'"
    assert engine.get_database("it's 020000").exists()


# ------------------------------------------------------------------ databases
def test_what_was_asked_for_is_in_the_statement(engine: SnowflakeEngine) -> None:
    drop(engine, "options")
    data = done(engine.get_database("options").create(transient=True, comment="it's \\", retention_days=3))
    expected = "CREATE TRANSIENT DATABASE \"options\" DATA_RETENTION_TIME_IN_DAYS = 3 COMMENT = 'it\\'s \\\\'"
    assert data["statements"] == [expected]
    metadata = engine.get_database("options").metadata
    assert (metadata.get_attribute("comment"), metadata.get_attribute("retention_time")) == ("it's \\", "3")
    assert metadata.created is not None
    assert metadata.created.tzinfo is not None
    drop(engine, "options")
    assert "0 to 90" in str(engine.get_database("options").create(retention_days=91).error)


def test_the_size_is_of_the_last_day_that_is_known(engine: SnowflakeEngine, tell: Callable[..., None]) -> None:
    drop(engine, "sized")
    done(engine.get_database("sized").create())
    for day, size in (("2026-01-01", 10), ("2026-01-03", 30), ("2026-01-02", 20)):
        tell(
            "ACCOUNT_USAGE.DATABASE_STORAGE_USAGE_HISTORY",
            usage_date=day,
            database_name="sized",
            average_database_bytes=size,
        )
    assert engine.get_database("sized").metadata.size_bytes == 30
    drop(engine, "sized")


def test_a_backup_is_a_clone_and_the_past_is_cloned_too(engine: SnowflakeEngine) -> None:
    drop(engine, "shop", "shop backup", "other")
    shop = engine.get_database("shop")
    done(shop.create())
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    data = done(shop.backup("shop backup", at=at))
    moment = "'2026-01-02 01:04:05.000+00:00'::TIMESTAMP_TZ"
    assert data["statements"] == [f'CREATE DATABASE "shop backup" CLONE "shop" AT (TIMESTAMP => {moment})']
    assert "exists already" in str(shop.backup("shop backup").error)
    assert "replace=True" in str(shop.restore("shop backup").error)
    assert "as of when" in str(shop.restore("shop", replace=True).error)
    shown = done(shop.restore("shop", at=at, replace=True, dry_run=True))["statements"]
    assert shown == [f'CREATE OR REPLACE DATABASE "shop" CLONE "shop" AT (TIMESTAMP => {moment})']
    done(shop.restore("shop backup", replace=True))
    done(engine.get_database("other").restore("shop backup"))
    assert engine.get_database("other").metadata.get_attribute("origin") == "shop backup"
    assert "does not exist" in str(shop.restore("nothing", replace=True).error)
    drop(engine, "shop", "shop backup", "other")


def test_a_dropped_database_comes_back_by_its_own_name(engine: SnowflakeEngine) -> None:
    drop(engine, "undropped")
    database = engine.get_database("undropped")
    done(database.create())
    done(database.drop())
    assert done(database.restore("undropped"))["statements"] == ['UNDROP DATABASE "undropped"']
    assert database.exists()
    drop(engine, "undropped")


def test_progress_and_what_was_cancelled_beforehand(engine: SnowflakeEngine) -> None:
    drop(engine, "told", "told 2")
    done(engine.get_database("told").create())
    cancelled = threading.Event()
    cancelled.set()
    assert "cancelled" in str(engine.get_database("told").backup("told 2", cancelled=cancelled).error)
    assert not engine.get_database("told 2").exists()
    lines: list[str] = []
    done(engine.get_database("told").backup("told 2", progress=lines.append))
    assert lines == ["cloned 'told' as 'told 2'"]
    assert "Time Travel" in str(engine.get_database("told").backup("told 3", BackupType.LOG).error)
    drop(engine, "told", "told 2")


# ------------------------------------------------------------------ users
def test_a_user_gets_its_roles_and_properties(engine: SnowflakeEngine) -> None:
    until = datetime.now(timezone.utc) + timedelta(days=2, hours=1)
    options: dict[str, Any] = {"roles": ["PUBLIC", "ACCOUNTADMIN"], "valid_until": until, "must_change_password": True}
    done(engine.create_user("some'one", CANARY, default_warehouse="MAIN_WH", **options))
    (found,) = [each for each in engine._rows("SHOW USERS") if each["name"] == "some'one"]
    assert (found["days_to_expiry"], found["must_change_password"].lower()) == ("3", "true")
    assert (found["default_warehouse"], found["default_role"]) == ("MAIN_WH", "PUBLIC")
    granted = engine._rows(
        "SELECT ROLE FROM SNOWFLAKE.LIVE.GRANTS WHERE GRANTEE_NAME = %s ORDER BY ROLE", ("some'one",)
    )
    assert [each["role"] for each in granted] == ["ACCOUNTADMIN", "PUBLIC"]
    done(engine.drop_user("some'one"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"roles": ["NO_SUCH"]}, "role 'NO_SUCH' does not exist"),
        ({"default_warehouse": "NO_SUCH"}, "warehouse 'NO_SUCH' does not exist"),
        ({"valid_until": datetime(2001, 1, 1, tzinfo=timezone.utc)}, "expected a time to come"),
        ({"rolls": []}, "did you mean roles"),
    ],
)
def test_options_that_cannot_be_used_make_no_user(engine: SnowflakeEngine, options: dict[str, Any], words: str) -> None:
    assert words in str(engine.create_user("refused", CANARY, **options).error)
    assert "rsa_public_key" in str(engine.create_user("refused", "").error)
    assert "password policy" in str(engine.create_user("refused", "short").error)
    assert "refused" not in engine.list_users()
    done(engine.create_user("keyed", "", rsa_public_key="MIIB"))
    done(engine.drop_user("keyed"))


# ------------------------------------------------------------------ processes
def running(tell: Callable[..., None], query: str, status: str, **more: Any) -> None:
    tell(
        "ACCOUNT_USAGE.QUERY_HISTORY",
        query_id=query,
        query_text=more.pop("query_text", "UPDATE orders SET paid = TRUE"),
        user_name="APP",
        database_name="SHOP",
        warehouse_name="MAIN_WH",
        execution_status=status,
        start_time=NOW - timedelta(minutes=5),
        **more,
    )


def test_who_waits_for_a_lock_names_who_holds_it(engine: SnowflakeEngine, tell: Callable[..., None]) -> None:
    running(tell, "01aaaaaa-0000-0000-0000-000000000001", "RUNNING")
    running(
        tell, "01aaaaaa-0000-0000-0000-000000000002", "BLOCKED", query_text=f"ALTER USER x SET PASSWORD = '{CANARY}'"
    )
    running(tell, "01aaaaaa-0000-0000-0000-000000000003", "SUCCESS")
    for number, status in ((1, "HOLDING"), (2, "WAITING")):
        tell(
            "LIVE.LOCKS",
            resource="SHOP.PUBLIC.ORDERS",
            status=status,
            query_id=f"01aaaaaa-0000-0000-0000-00000000000{number}",
        )
    first, second = sorted(engine.list_processes(), key=lambda each: str(each["id"]))
    assert (first["state"], first["wait"], first["blocked_by"]) == ("running", None, [])
    assert (second["state"], second["wait"], second["blocked_by"]) == ("blocked", "lock", [first["id"]])
    assert "Canary" not in second["statement"]
    assert 290 < first["seconds"] < 3600
    shown = done(engine.kill_process(first["id"], dry_run=True))["statements"]
    assert shown == [f"SELECT SYSTEM$CANCEL_QUERY('{first['id']}')"]
    done(engine.kill_process(first["id"]))
    assert [each["id"] for each in engine.list_processes()] == [second["id"]]


# ------------------------------------------------------------------ settings
def test_parameters_have_types_units_and_defaults(engine: SnowflakeEngine) -> None:
    found = engine.get_setting("STATEMENT_TIMEOUT_IN_SECONDS")
    assert (found["value"], found["unit"], found["source"]) == (172_800, "s", "default")
    assert found["restart_required"] is False
    done(engine.set_configuration("ABORT_DETACHED_QUERY", "on"))
    assert engine.get_setting("ABORT_DETACHED_QUERY")["value"] is True
    assert engine.get_setting("ABORT_DETACHED_QUERY")["source"] == "account"
    shown = done(engine.set_configuration("TIMEZONE", "it's", dry_run=True))["statements"]
    assert shown == ["ALTER ACCOUNT SET TIMEZONE = 'it\\'s'"]
    done(engine.set_configuration("ABORT_DETACHED_QUERY", None))
    assert engine.get_setting("ABORT_DETACHED_QUERY")["value"] is False
    for key, value in (("LOCK_TIMEOUT", "soon"), ("LOCK_TIMEOUT", True), ("TIMEZONE", 1), ("ABORT_DETACHED_QUERY", 1)):
        assert "expected" in str(engine.set_configuration(key, value).error)


# ------------------------------------------------------------------ metrics and logs
def test_metrics_have_the_time_of_the_event_and_its_freshness(
    engine: SnowflakeEngine, tell: Callable[..., None]
) -> None:
    at = NOW - timedelta(hours=2)
    for status, elapsed in (("SUCCESS", 100), ("SUCCESS", 300), ("FAIL", 7)):
        tell(
            "ACCOUNT_USAGE.QUERY_HISTORY",
            query_id="q",
            warehouse_name="MAIN_WH",
            execution_status=status,
            start_time=at,
            end_time=at,
            total_elapsed_time=elapsed,
        )
    tell(
        "ACCOUNT_USAGE.WAREHOUSE_METERING_HISTORY",
        start_time=at,
        end_time=at,
        warehouse_name="MAIN_WH",
        credits_used=1.5,
    )
    tell("ACCOUNT_USAGE.LOGIN_HISTORY", event_timestamp=at, is_success="NO", user_name="X")
    found = engine.get_metrics(NOW - timedelta(days=1), NOW + timedelta(minutes=5))
    by_name = {(each.name, each.labels.get("status")): each for each in found}
    assert by_name["snowflake.query.count", "SUCCESS"].value == 2
    assert by_name["snowflake.query.time", "SUCCESS"].value == 400
    assert by_name["snowflake.query.time", "FAIL"].timestamp == at
    assert by_name["snowflake.warehouse.credits", None].value == 1.5
    assert by_name["snowflake.login.count", None].labels["success"] == "NO"
    fresh = [each for each in found if each.name == "snowflake.account_usage.freshness"]
    assert {each.labels["view"] for each in fresh} == {"QUERY_HISTORY", "WAREHOUSE_METERING_HISTORY", "LOGIN_HISTORY"}
    assert all(7190 < each.value < 10_000 for each in fresh)
    assert {each.instance_id for each in found} == {engine.name}
    assert engine.get_metrics(NOW - timedelta(days=9), NOW - timedelta(days=8)) == []


def test_the_log_has_logins_and_failures_without_secrets(engine: SnowflakeEngine, tell: Callable[..., None]) -> None:
    at = NOW - timedelta(hours=1)
    tell("ACCOUNT_USAGE.LOGIN_HISTORY", event_timestamp=at, is_success="YES", user_name="A", client_ip="10.0.0.1")
    tell(
        "ACCOUNT_USAGE.LOGIN_HISTORY",
        event_timestamp=at + timedelta(minutes=2),
        is_success="NO",
        user_name="B",
        error_message="INCORRECT_USERNAME_PASSWORD",
    )
    tell(
        "ACCOUNT_USAGE.QUERY_HISTORY",
        query_id="q",
        query_text=f"CREATE USER x PASSWORD = '{CANARY}'",
        end_time=at + timedelta(minutes=1),
        error_code="002003",
        error_message="no such thing",
        execution_status="FAIL",
    )
    found = engine.get_logs(NOW - timedelta(hours=2), NOW)
    assert [(each.level, each.source) for each in found] == [
        ("INFO", "LOGIN_HISTORY"),
        ("ERROR", "QUERY_HISTORY"),
        ("WARNING", "LOGIN_HISTORY"),
    ]
    assert "Canary" not in repr(found)
    assert [each.level for each in engine.get_logs(NOW - timedelta(hours=2), NOW, level="error")] == ["ERROR"]
    with pytest.raises(ConfigurationError, match="limit=0"):
        engine.get_logs(NOW, NOW, limit=0)


def test_a_role_that_may_read_no_view_is_told_what_to_grant(
    engine: SnowflakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> Any:
        raise QueryError("not authorized")

    monkeypatch.setattr(SnowflakeEngine, "_rows", refused)
    with pytest.raises(PrivilegeError, match="IMPORTED PRIVILEGES ON DATABASE SNOWFLAKE"):
        engine.get_metrics(NOW - timedelta(hours=1), NOW)


# ------------------------------------------------------------------ replication
def group(tell: Callable[..., None], name: str, account: str, primary: bool, **more: Any) -> None:
    tell(
        "LIVE.FAILOVER_GROUPS",
        name=name,
        account_name=account,
        type="FAILOVER",
        is_primary=str(primary).lower(),
        organization_name="TESTORG",
        primary_name="TESTORG.OTHER.X",
        **more,
    )


def refreshed(tell: Callable[..., None], name: str, ago: timedelta, phase: str = "COMPLETED") -> None:
    tell(
        "ACCOUNT_USAGE.REPLICATION_GROUP_REFRESH_HISTORY",
        replication_group_name=name,
        phase_name=phase,
        primary_snapshot_timestamp=NOW - ago,
        end_time=NOW - ago,
    )


def test_an_account_without_groups_stands_alone(engine: SnowflakeEngine) -> None:
    status = engine.get_replication_status()
    assert (status.enabled, status.role, status.lag_seconds) == (False, "standalone", 0.0)
    assert "no secondary failover group" in str(engine.failover().error)


def test_lag_is_that_of_the_last_complete_snapshot(engine: SnowflakeEngine, tell: Callable[..., None]) -> None:
    group(tell, "FG", "TESTACCOUNT", primary=False, secondary_state="STARTED")
    group(tell, "FG", "OTHER", primary=True)
    group(tell, "MINE", "TESTACCOUNT", primary=True)
    refreshed(tell, "FG", timedelta(minutes=10))
    refreshed(tell, "FG", timedelta(minutes=50))
    refreshed(tell, "FG", timedelta(minutes=1), phase="SECONDARY_DOWNLOADING_DATA")
    refreshed(tell, "MINE", timedelta(days=9))
    status = engine.get_replication_status()
    assert (status.role, status.mode, status.sync_state, status.partners) == (
        "secondary",
        "failover group",
        "async",
        ["OTHER"],
    )
    assert 600 <= status.lag_seconds < 4000
    assert [(node["name"], node["role"]) for node in status.nodes] == [("FG", "secondary"), ("MINE", "primary")]


def test_failover_promotes_the_groups_of_the_account_that_is_asked(
    engine: SnowflakeEngine, tell: Callable[..., None]
) -> None:
    group(tell, 'F\'G "1"', "TESTACCOUNT", primary=False, secondary_state="STARTED")
    group(tell, "NEVER", "TESTACCOUNT", primary=False, secondary_state="SUSPENDED")
    refreshed(tell, 'F\'G "1"', timedelta(minutes=10))
    assert "connect to OTHER" in str(engine.failover("OTHER").error)
    assert "no refresh of it" in str(engine.failover().error)
    assert "does not exist" in str(engine.failover(group="nothing").error)
    data = done(engine.failover("testorg.testaccount", group='F\'G "1"', dry_run=True))
    assert data["statements"] == ['ALTER FAILOVER GROUP "F\'G ""1""" PRIMARY']
    assert 600 <= data["lag_seconds"]['F\'G "1"'] < 4000
    assert engine.get_replication_status().role == "secondary"
    done(engine.failover(group='F\'G "1"'))
    refreshed(tell, "NEVER", timedelta(minutes=10))
    assert "suspended" in str(engine.failover().error)
    done(engine.failover(force=True))
    assert engine.get_replication_status().role == "primary"


def test_a_snapshot_from_the_future_is_no_negative_lag() -> None:
    groups = [{"name": "FG", "account_name": "A", "is_primary": "false"}]
    snapshots = [{"name": "FG", "snapshot": NOW + timedelta(hours=1)}]
    assert _usage.replication(groups, snapshots, NOW, "A").lag_seconds == 0.0


# ------------------------------------------------------------------ warehouses
def test_a_warehouse_is_suspended_and_resumed(engine: SnowflakeEngine, tell: Callable[..., None]) -> None:
    running(tell, "01aaaaaa-0000-0000-0000-000000000009", "RUNNING")
    shown = done(engine.shutdown(force=True, dry_run=True))["statements"]
    assert shown == ['ALTER WAREHOUSE "MAIN_WH" ABORT ALL QUERIES', 'ALTER WAREHOUSE "MAIN_WH" SUSPEND']
    assert engine._warehouses() == {"MAIN_WH": "STARTED"}
    done(engine.shutdown(force=True))
    assert engine._warehouses() == {"MAIN_WH": "SUSPENDED"}
    assert engine.list_processes() == []
    assert done(engine.shutdown())["statements"] == []
    done(engine.startup(warehouse="MAIN_WH"))
    assert engine._warehouses() == {"MAIN_WH": "STARTED"}
    assert "does not exist" in str(engine.startup(warehouse="main_wh").error)


def test_an_account_is_built_and_destroyed_by_control_alone(snowflake: Snowflake) -> None:
    with SnowflakeEngine(connection_of(snowflake)) as engine:
        for name, result in (("build", engine.build()), ("destroy", engine.destroy())):
            told = engine.capabilities()[name]
            assert result.is_failure()
            assert not told.supported
            assert result.error == f"snowflake: {told.how}"
            assert "ORGADMIN, or control=" in told.how

    control = Command(build=["terraform", "apply"], forced={"destroy": ["terraform", "destroy", "-auto-approve"]})
    with SnowflakeEngine(connection_of(snowflake), control=control) as engine:
        told = engine.capabilities()["build"]
        assert (told.supported, told.how) == (True, "by control=Command")
        assert told.tested_against is TestedAgainst.CHECKED
        assert engine.build(dry_run=True).data == {"statements": ["terraform apply"], "dry_run": True}
        # What it does not have unless forced, it says in both places.
        told = engine.capabilities()["destroy"]
        assert not told.supported
        assert engine.destroy(dry_run=True).error == told.how
        assert done(engine.destroy(force=True, dry_run=True))["statements"] == ["terraform destroy -auto-approve"]
        # Warehouses stay statements, and are told as such.
        for name in ("startup", "shutdown"):
            assert "ALTER WAREHOUSE" in engine.capabilities()[name].how
        assert "ALTER WAREHOUSE" in done(engine.shutdown(force=True, dry_run=True))["statements"][0]


# ------------------------------------------------------------------ connections
class OlderConnection(DatabaseConnection):
    """As the package gds_snowflake has it: the connector's object comes from ``get_connection()``."""

    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments
        self._session: Any = None

    def connect(self) -> Any:
        if self._session is None:
            self._session = connector.connect(**self._arguments)
        return self._session

    get_connection = connect

    def disconnect(self) -> None:
        if self._session is not None:
            self._session.close()

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        return list(self._session.cursor().execute(query, params).fetchall())

    def is_connected(self) -> bool:
        return self._session is not None

    def get_connection_info(self) -> dict[str, Any]:
        return {"account": "testaccount"}


@pytest.mark.parametrize("options", [{}, {"paramstyle": "qmark"}, {"autocommit": False}], ids=str)
def test_a_connection_of_the_older_package_is_used_and_left_open(snowflake: Snowflake, options: dict[str, Any]) -> None:
    connection = OlderConnection(password="any-password", **snowflake.arguments, **options)
    session = connection.connect()
    with SnowflakeEngine(connection) as engine:
        drop(engine, "older")
        done(engine.get_database("older").create())
        assert engine.get_database("older").metadata.size_bytes is None
        done(engine.get_database("older").drop())
    assert not session.is_closed()
    connection.disconnect()


def test_a_connection_reads_rows(snowflake: Snowflake) -> None:
    with connection_of(snowflake) as connection:
        assert connection.execute_query("SELECT %s AS A", ("it's",)) == [("it's",)]
        assert connection.execute_query_dict("SELECT 1 AS A") == [{"A": 1}]
        assert connection.get_connection_info()["user"] == "dba"
    assert not connection.is_connected()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SnowflakeConnection(""), "expected an identifier"),
        (lambda: SnowflakeConnection("a", warehous="x"), "did you mean warehouse"),
        (lambda: SnowflakeEngine._open(EngineConfig.parse("snowflake://u@a/?rol=x")), "did you mean role"),
        (lambda: SnowflakeEngine._open(EngineConfig.parse("snowflake://u@a/?login_timeout=x")), "expected a number"),
        (lambda: SnowflakeEngine._open(EngineConfig.parse("snowflake:///")), "expected an account"),
        (lambda: SnowflakeConnection("a", private_key=f"-----{CANARY}").connect(), "PEM without a passphrase"),
    ],
)
def test_bad_settings_are_refused_with_words_and_without_secrets(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert words in str(caught.value)
    assert "Canary" not in str(caught.value)


def test_an_address_becomes_what_it_says() -> None:
    config = EngineConfig.parse("snowflake://dba:pw@org-account/SHOP?warehouse=W&role=R&login_timeout=5")
    connection = SnowflakeEngine._open(config)
    assert isinstance(connection, SnowflakeConnection)
    arguments = connection._arguments()
    assert (arguments["account"], arguments["user"], arguments["password"]) == ("org-account", "dba", "pw")
    assert (arguments["database"], arguments["warehouse"], arguments["role"]) == ("SHOP", "W", "R")
    assert (arguments["login_timeout"], arguments["network_timeout"]) == (5, 120)
    assert "pw" not in repr(connection)
    assert SnowflakeEngine(connection).name == "org-account"


def test_a_private_key_is_taken_as_pem_or_der() -> None:
    key = rsa.generate_private_key(65537, 2048)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    for given_key in (pem.decode(), pem, der):
        assert SnowflakeConnection("a", "u", private_key=given_key)._arguments()["private_key"] == der


# ------------------------------------------------------------------ failures
def test_nobody_there_is_an_error_in_bounded_time(leased_port: int) -> None:
    connection = SnowflakeConnection(
        "a", "u", password=CANARY, host="127.0.0.1", port=leased_port, protocol="http", login_timeout=1
    )
    with pytest.raises(DatabaseConnectionError) as caught:
        SnowflakeEngine(connection).connect()
    assert "Canary" not in str(caught.value)
    assert not connection.is_connected()


# The timer of the connector, by which the server would end the statement, cannot reach it either: its thread fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_network_that_is_cut_is_an_error_in_bounded_time(snowflake: Snowflake, toxiproxy: Toxiproxy) -> None:
    proxy = toxiproxy.proxy(snowflake.port)
    with SnowflakeEngine(connection_of(snowflake, port=proxy.port, network_timeout=2), timeout_seconds=2) as engine:
        assert engine.get_version()
        proxy.cut()
        began = time.monotonic()
        with pytest.raises((DatabaseConnectionError, StatementTimeoutError)):
            engine.get_version()
        assert time.monotonic() - began < 60
        proxy.restore()
        assert engine.get_version()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (604, StatementTimeoutError),
        (3001, PrivilegeError),
        (250001, DatabaseConnectionError),
        (390100, DatabaseConnectionError),
        (2003, QueryError),
    ],
)
def test_numbers_of_errors_tell_what_they_are(number: int, kind: type[Exception]) -> None:
    error = connector.errors.ProgrammingError(msg="said", errno=number)
    assert type(translated(error, str)) is kind


def test_the_password_is_nowhere(
    snowflake: Snowflake, engine: SnowflakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("snowflake.connector").setLevel(logging.DEBUG)
    told: list[object] = [engine.create_user("canary", CANARY, roles=["PUBLIC"])]
    try:
        with SnowflakeEngine(SnowflakeConnection("testaccount", "dba", password=CANARY, **rest(snowflake))) as secret:
            told += [repr(secret), repr(secret.connection), secret.metadata, secret.list_processes()]
            told += [secret.connection.get_connection_info(), secret.capabilities().to_dict()]
            told += [secret.create_user("canary", CANARY), secret.create_user("x", CANARY, roles=[CANARY])]
            told += [secret.set_configuration(CANARY, 1), secret.get_database("x").restore(CANARY)]
    finally:
        told.append(engine.drop_user("canary"))
        logging.getLogger("snowflake.connector").setLevel(logging.NOTSET)
    everything = "".join(f"{each!r}{each}" for each in told) + caplog.text + snowflake.log()
    assert "Canary-5d27" not in everything
    json.dumps([each.to_dict() for each in told if isinstance(each, OperationResult)])


def rest(server: Snowflake) -> dict[str, Any]:
    return {key: value for key, value in server.arguments.items() if key not in {"account", "user"}}
