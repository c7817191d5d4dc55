"""What all engines share: statements, dry runs, failures, secrets, who closes what."""

from __future__ import annotations

import pickle
import sqlite3
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from gds_database import (
    ConfigurationError,
    MissingExtraError,
    ObjectNotFoundError,
    QueryError,
)
from gds_database._redact import MASK, Secrets
from gds_database.control import Command, PgCtl
from gds_database.engines._base import driver, only
from gds_database.engines._rows import dicts, driver_object
from gds_database.testing import InMemoryEngine
from tests.database.doubles import SqliteConnection, SqliteEngine


@pytest.fixture
def engine() -> Any:
    with SqliteEngine(SqliteConnection()) as engine:
        yield engine


# ------------------------------------------------------------------ who closes what
def test_it_closes_what_it_opened_and_nothing_else() -> None:
    connection = SqliteConnection()
    with SqliteEngine(connection):
        assert connection.is_connected()
    assert not connection.is_connected()
    connection.connect()
    with SqliteEngine(connection) as engine:
        engine.close()
        assert connection.is_connected()
    assert connection.is_connected()
    connection.disconnect()


def test_one_made_from_an_address_opens_at_the_first_statement() -> None:
    engine = InMemoryEngine(connection_string="memory://somewhere")
    assert not engine.connection.is_connected()
    assert engine.get_version()
    assert engine.connection.is_connected()
    assert engine.name == "somewhere"
    engine.close()
    assert not engine.connection.is_connected()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"connection": object()}, "expected a DatabaseConnection with execute_query"),
        ({}, "expected a connection or connection_string=, got neither"),
        ({"connection": SqliteConnection(), "connection_string": "x://"}, "got both"),
        ({"connection": SqliteConnection(), "control": object()}, "control: expected an object with steps"),
        ({"connection": SqliteConnection(), "metrics": object()}, "expected a collector with the method timing"),
        ({"connection": SqliteConnection(), "timeout_seconds": 0}, "timeout_seconds=0: expected more than 0"),
        ({"connection_string": "sqlite://x"}, "give it a connection"),
    ],
)
def test_what_cannot_be_used_is_said_at_construction(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        SqliteEngine(**settings)


def test_threads_that_share_an_engine_take_turns_at_its_connection() -> None:
    class Counting(SqliteConnection):
        inside = most = 0

        def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
            self.inside += 1
            self.most = max(self.most, self.inside)
            found = super().execute_query(query, params)
            time.sleep(0)  # lets others run, who must not come in
            self.inside -= 1
            return found

    connection = Counting()
    with SqliteEngine(connection) as engine, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(engine._query, "SELECT ?", (n,), columns=("n",)) for n in range(200)]
        assert [each.result(60) for each in asked] == [[{"n": n}] for n in range(200)]
    assert connection.most == 1


def test_an_engine_is_not_pickled_with_its_secrets(engine: SqliteEngine) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle|not pickled"):
        pickle.dumps(engine)


# ------------------------------------------------------------------ operations
def test_a_dry_run_shows_the_statements_and_runs_none(engine: SqliteEngine) -> None:
    result = engine.drop_user("a", dry_run=True)
    assert result.is_success()
    assert result.data == {"statements": ["SELECT ? -- 1", f"SELEC 'a' '{MASK}'"], "dry_run": True}


def test_a_failure_says_what_was_done_and_what_failed(engine: SqliteEngine) -> None:
    result = engine.drop_user("a")
    assert result.is_failure()
    assert result.message == "drop user failed on here:1"
    assert "syntax error" in (result.error or "")
    assert result.metadata == {
        "error_type": "QueryError",
        "done": ["SELECT ? -- 1"],
        "failed": f"SELEC 'a' '{MASK}'",
    }
    assert result.duration_ms > 0


def test_what_is_not_there_fails_before_anything_runs(engine: SqliteEngine) -> None:
    result = engine.drop_user("nobody")
    assert result.error == "user 'nobody' does not exist on here:1; nothing was changed"
    assert (result.metadata or {})["error_type"] == ObjectNotFoundError.__name__


def test_a_bug_is_no_failure_of_the_operation() -> None:
    engine = InMemoryEngine()
    engine.server.failures = {"USERS": ZeroDivisionError("of the driver")}
    assert engine.drop_user("x").error == "of the driver"
    with pytest.raises(TypeError):
        engine.drop_user("x", no_such=1)  # type: ignore[call-arg]


def test_control_starts_and_stops_and_nothing_is_guessed(engine: SqliteEngine) -> None:
    for ask in (engine.startup, engine.shutdown, engine.build, engine.destroy):
        result = ask(dry_run=True)
        assert result.is_failure()
        assert "give it control=" in (result.error or "")
    assert not engine.capabilities().supports("shutdown")

    engine = SqliteEngine(SqliteConnection(), control=PgCtl("/data"))
    assert engine.shutdown(dry_run=True).data == {
        "statements": ["pg_ctl stop --pgdata=/data --wait --timeout=60 --mode=fast"],
        "dry_run": True,
    }
    assert engine.capabilities().supports("shutdown")
    assert not engine.capabilities().supports("destroy")
    assert "Command(destroy=[...])" in (engine.destroy().error or "")
    assert "did you mean timeout_seconds?" in (engine.shutdown(timeout_second=1).error or "")


def test_a_command_that_fails_says_what_it_said() -> None:
    fails = Command(stop=["sh", "-c", "echo out; echo no way >&2; exit 3"])
    result = SqliteEngine(SqliteConnection(), control=fails).shutdown()
    assert result.error == "sh: failed with 3: no way"


def test_what_is_left_out_says_why(engine: SqliteEngine) -> None:
    for result in (engine.create_user("a", "b"), engine.kill_process("1"), engine.set_configuration("a", 1)):
        assert result.is_failure()
        assert (result.metadata or {})["error_type"] == "Unsupported"
        assert "there is no" in (result.error or "")
    with pytest.raises(QueryError, match="there is no list_users"):
        engine.list_users()
    with pytest.raises(QueryError, match="there is no get_configuration"):
        engine.get_setting("a")
    assert engine.get_replication_status().role == "standalone"
    result = engine._cannot("failover", "it is one file", use="a copy")
    assert result.error == "sqlite: it is one file; use a copy"


def test_a_setting_has_its_value_where_an_engine_tells_no_more(engine: SqliteEngine) -> None:
    engine.get_configuration = lambda: {"a": 1}  # type: ignore[method-assign]
    assert engine.get_setting("a")["value"] == 1
    with pytest.raises(ObjectNotFoundError, match="setting 'b' does not exist"):
        engine.get_setting("b")


# ------------------------------------------------------------------ secrets
def test_errors_of_drivers_are_ours_without_secrets_and_without_context(engine: SqliteEngine) -> None:
    statement = f"SELECT * FROM '{SqliteConnection.password}'"
    with pytest.raises(QueryError, match="no such table") as caught:
        engine._query(statement, columns=("a",))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("quote", ["{}", "'{}'", "pwd={};", "x://u:{}@h/d"])
def test_a_secret_is_hidden_however_it_is_written(quote: str) -> None:
    from urllib.parse import quote as percent

    for secret in ("pa'ss\"wo\\rd", "ä ü/ö@#?", "a;b}c{d", "%s%(x)s", "\N{PILE OF POO}-poo"):
        secrets = Secrets()
        secrets.add(secret)
        for written in (secret, secret.replace("'", "''"), percent(secret, safe=""), repr(secret)[1:-1]):
            hidden = secrets.redact(f"error in {quote.format(written)} here")
            assert written not in hidden
            assert "error in" in hidden


def test_what_looks_like_a_secret_is_hidden_although_nobody_told() -> None:
    redact = Secrets().redact
    assert redact("CREATE ROLE x PASSWORD 'it''s' LOGIN") == f"CREATE ROLE x PASSWORD {MASK} LOGIN"
    assert redact("connect to postgresql://u:pw@h/d failed") == f"connect to postgresql://u:{MASK}@h/d failed"
    assert redact("host=h password=pw user=u") == f"host=h password={MASK} user=u"
    assert redact("Server=h;Pwd=pw;Uid=u") == f"Server=h;Pwd={MASK};Uid=u"
    assert redact('{"password": "pw", "a": 1}') == f'{{"password": {MASK}, "a": 1}}'
    assert redact("password authentication failed for user x") == "password authentication failed for user x"


def test_a_short_secret_withholds_the_message() -> None:
    secrets = Secrets()
    with secrets.during("ab"):
        assert "withheld" in secrets.redact("cabin")
        assert secrets.redact("nothing") == "nothing"
    assert secrets.redact("cabin") == "cabin"
    assert "0 known" in repr(secrets)


# ------------------------------------------------------------------ rows
class Pair(NamedTuple):
    A: int
    b: int


def test_rows_are_dicts_whatever_the_connection_returns() -> None:
    row = Pair(1, 2)
    expected = [{"a": 1, "b": 2}]
    with closing(sqlite3.connect(":memory:")) as connection:
        assert dicts(connection.execute("SELECT 1 AS A, 2 AS b")) == expected
        assert dicts(connection.execute("CREATE TABLE x (y)")) == []
        connection.row_factory = sqlite3.Row
        assert dicts(connection.execute("SELECT 1 AS A, 2 AS b").fetchall()) == expected
    for result in ([{"A": 1, "b": 2}], [row], SimpleNamespace(rows=[(1, 2)], columns=["A", "b"])):
        assert dicts(result) == expected
    assert dicts([(1, 2)], ("a", "b")) == expected
    assert dicts([{"B": 2, "A": 1, "C": 3}], ("a", "b")) == expected
    assert dicts(None) == []


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        ([(1,)], (), "rows with names"),
        ([(1,)], ("a", "b"), r"expected 2 columns \(a, b\), got 1"),
        ([{"a": 1}], ("b",), "expected the columns b, got a"),
    ],
)
def test_rows_that_are_not_as_expected_are_an_error(rows: Any, columns: tuple[str, ...], expected: str) -> None:
    with pytest.raises(QueryError, match=expected):
        dicts(rows, columns)


def test_the_object_of_the_driver_is_found_behind_a_connection() -> None:
    connection = SqliteConnection()
    inner = sqlite3.connect(":memory:")
    assert driver_object(SimpleNamespace(_connection=inner), "cursor") is inner
    assert driver_object(inner, "cursor") is inner
    assert driver_object(connection, "cursor") is None
    inner.close()


# ------------------------------------------------------------------ small things
def test_a_driver_that_is_not_there_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'gds-database\[postgresql\]'"):
        driver("no_such_driver", "postgresql")
    with pytest.raises(MissingExtraError, match=r"^no_such_driver is not installed"):
        driver("no_such_driver.of_some_module", "postgresql")
    assert issubclass(MissingExtraError, ImportError)
    assert driver("sqlite3", "x") is sqlite3


def test_an_unknown_option_names_the_nearest_one() -> None:
    only({"roles": 1}, "create_user", "roles")
    with pytest.raises(ConfigurationError, match=r"create_user: there is no option 'role'; did you mean roles\?"):
        only({"role": 1}, "create_user", "roles")
