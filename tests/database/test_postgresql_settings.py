"""Settings, metrics and rights on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.engines.postgresql._settings import _written
from gds_database.errors import ConfigurationError, DatabaseConnectionError, ObjectNotFoundError
from tests.database.postgresql import ClosedConnection, engine_of, unique
from tests.services.postgresql import PostgreSQL


@pytest.fixture(scope="module")
def engine(postgresql: PostgreSQL) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql) as engine:
        yield engine


def test_setting_is_told_with_unit_source_and_limits(engine: PostgreSQLEngine) -> None:
    found = engine.get_setting("shared_buffers")
    assert found["value"] == 2048
    assert found["unit"] == "8kB"
    assert found["source"] == "configuration file"
    assert found["source_file"].endswith("postgresql.conf")
    assert found["restart_required"] is True
    assert found["pending_restart"] is False
    assert found["minimum"] == 16
    assert engine.get_setting("wal_level")["choices"] == ["minimal", "replica", "logical"]
    assert engine.get_setting("autovacuum")["value"] is True
    with pytest.raises(ObjectNotFoundError, match="did you mean work_mem"):
        engine.get_setting("work_men")
    configuration = engine.get_configuration()
    assert configuration["max_connections"] == 60
    assert isinstance(configuration["random_page_cost"], float)


@pytest.mark.parametrize(
    ("name", "value", "stored", "restart"),
    [
        ("work_mem", 8192, "8192kB", False),
        ("work_mem", "16MB", "16384kB", False),
        ("statement_timeout", "1.5min", "90000ms", False),
        ("autovacuum", False, "off", False),
        ("random_page_cost", 1.25, "1.25", False),
        ("log_min_messages", "error", "error", False),
        ("search_path", ["$user", "a b", "public"], '"$user", "a b", public', False),
        ("shared_buffers", "32MB", "4096", True),
    ],
)
def test_setting_is_changed_and_reset(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, name: str, value: Any, stored: str, restart: bool
) -> None:
    before = engine.get_setting(name)["value"]
    shown = engine.set_configuration(name, value, dry_run=True)
    assert engine.get_setting(name)["value"] == before
    result = engine.set_configuration(name, value)
    assert result.is_success(), result.error
    data = result.data or {}
    assert data["statements"] == (shown.data or {})["statements"]
    assert data["restart_required"] is restart
    assert data["before"] == before
    ((setting, unit),) = postgresql.ask("SELECT setting, unit FROM pg_settings WHERE name = %s", (name,))
    if restart:
        assert engine.get_setting(name)["pending_restart"] is True
    else:
        assert f"{setting}{unit or ''}" == stored
    assert engine.set_configuration(name, None).is_success()
    assert engine.get_setting(name)["value"] == before


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("work_mem", "much", "expected a number of kB"),
        ("work_mem", 1, "from 64 to"),
        ("work_mem", "1PB", "kB, MB"),
        ("work_mem", True, "expected a number"),
        ("max_connections", "10MB", "expected a number"),
        ("autovacuum", "perhaps", "expected on or off"),
        ("wal_level", "none", "minimal, replica, logical"),
        ("server_version", "16", "cannot be set"),
        ("primary_conninfo", "host=x password=Canary-1", "passfile"),
        ("log_timezone", "Nowhere/Land", "Nowhere"),
    ],
)
def test_value_that_is_none_is_refused_before_anything_is_written(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, name: str, value: Any, words: str
) -> None:
    before = postgresql.ask("SELECT * FROM pg_file_settings")
    result = engine.set_configuration(name, value)
    assert words in (result.error or ""), result
    assert "Canary" not in repr(result)
    assert postgresql.ask("SELECT * FROM pg_file_settings") == before


def test_lists_keep_their_elements() -> None:
    row = {"name": "shared_preload_libraries", "vartype": "string"}
    assert _written(row, "auto_explain, pg_stat_statements") == "'auto_explain', 'pg_stat_statements'"
    assert _written(row, ["a b", "c"]) == "'a b', 'c'"
    assert _written(row, "") == "''"


def test_metrics_are_those_of_now(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    now = datetime.now(timezone.utc)
    found = engine.get_metrics(now - timedelta(hours=1), now)
    by_name = {each.name: each for each in found}
    assert {"postgresql.backends", "postgresql.commits", "postgresql.db_size", "postgresql.wal.written"} <= set(by_name)
    assert by_name["postgresql.connection.max"].value == 60
    assert by_name["postgresql.db_size"].unit == "By"
    assert {each.labels.get("db.namespace") for each in found if each.name == "postgresql.commits"} >= {"postgres"}
    assert all(each.instance_id == engine.name for each in found)
    keys = [(each.name, tuple(sorted(each.labels.items()))) for each in found]
    assert len(keys) == len(set(keys))
    assert engine.get_metrics(now - timedelta(days=2), now - timedelta(days=1)) == []


def test_monitor_may_look_at_all_and_change_nothing(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    name = unique("monitor")
    assert engine.create_user(name, "a password", roles=["pg_monitor"]).is_success()
    with engine_of(postgresql, user=name, password="a password") as own:
        now = datetime.now(timezone.utc)
        assert own.metadata.status == "primary"
        assert own.get_metrics(now - timedelta(hours=1), now)
        assert own.get_replication_status().role
        assert own.get_configuration()
        assert any(each["user"] == "postgres" for each in own.list_processes())
        assert own.get_database("postgres").metadata.size_bytes
        for result in (
            own.get_database(unique("never")).create(),
            own.create_user(unique("never"), "a password"),
            own.set_configuration("work_mem", 8192),
        ):
            assert (result.metadata or {})["error_type"] == "PrivilegeError", result
        assert own.get_database("postgres").drop(force=True).is_failure()


def test_rights_that_the_page_names_are_enough(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, tmp_path: Path
) -> None:
    name = unique("dba")
    roles = ["pg_monitor", "pg_signal_backend", "pg_read_all_data"]
    assert engine.create_user(name, "a password", roles=roles, createdb=True, createrole=True).is_success()
    for grant in ("ALTER SYSTEM ON PARAMETER work_mem", "EXECUTE ON FUNCTION pg_reload_conf()"):
        postgresql.ask(f"GRANT {grant} TO {name}")
    other = unique("other")
    with engine_of(postgresql, user=name, password="a password") as own:
        for result in (
            own.create_user(other, "a password"),
            own.get_database(other).create(),
            own.set_configuration("work_mem", 8192),
            own.set_configuration("work_mem", None),
            own.get_database("postgres").backup(tmp_path / "backup"),
            own.get_database(other).drop(),
        ):
            assert result.is_success(), result
        with closing(postgresql.connect(user=other, password="a password")) as session:
            assert own.kill_process(str(session.info.backend_pid)).is_success()
        assert own.drop_user(other).is_success()


def test_connection_that_shows_nothing_of_its_driver_is_good_enough(postgresql: PostgreSQL) -> None:
    connection = ClosedConnection(postgresql)
    engine = PostgreSQLEngine(connection)
    assert engine.get_version() in engine.metadata.version
    name = unique("through")
    assert engine.get_database(name).create().is_success()
    assert engine.get_database(name).drop().is_success()
    assert connection.execute_query("SHOW statement_timeout") == [("0",)]
    engine.close()
    assert connection.is_connected()
    connection.disconnect()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lock_timeout_seconds": 0}, "lock_timeout_seconds=0"),
        ({"timeout_seconds": -1}, "timeout_seconds=-1"),
        ({"contrl": None}, "did you mean control"),
    ],
)
def test_setting_of_the_engine_that_cannot_be_used_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        PostgreSQLEngine(connection_string="postgresql://nobody@localhost:1/none", **options)


def test_address_is_checked_before_anything_is_tried() -> None:
    with pytest.raises(ConfigurationError, match="did you mean sslmode"):
        PostgreSQLEngine(connection_string="postgresql://nobody@localhost:1/none?ssl_mode=require")
    engine = PostgreSQLEngine(connection_string="postgresql://nobody:Canary-2@localhost:1/none")
    with pytest.raises(DatabaseConnectionError, match="refused") as caught:
        engine.get_version()
    assert "Canary" not in repr(engine) + str(caught.value)
