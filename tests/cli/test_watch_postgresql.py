"""`gds watch` and a real PostgreSQL: what it tells, and that it never is the outage."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from gds_cli.watch import postgresql as module
from gds_cli.watch.picture import Picture, Session
from gds_cli.watch.source import WatchSource, open_source
from gds_cli.watch.ui import Ui, blocking
from gds_database import ConfigurationError, DatabaseConnectionError, QueryError
from tests.cli.commands import gds, objects
from tests.cli.watching import watched
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PASSWORD, SUPERUSER, PostgreSQL
from tests.services.process import wait_until
from tests.services.toxiproxy import Toxiproxy

pytestmark = pytest.mark.timing

CANARY = "cAnary-77-passw0rd"
READS_STATEMENTS = {"shared_preload_libraries": "pg_stat_statements"}


def address(
    server: PostgreSQL,
    port: int | None = None,
    user: str = SUPERUSER,
    password: str = PASSWORD,
    database: str = "postgres",
) -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{port or server.port}/{database}"


@contextmanager
def source_of(server: PostgreSQL, **changes: Any) -> Iterator[WatchSource]:
    source = open_source(address(server, **changes))
    try:
        yield source
    finally:
        source.close()


@contextmanager
def running(session: psycopg.Connection[Any], statement: str) -> Iterator[None]:
    """A statement of a session in a thread; ended at the end, unless somebody has done so."""

    def run() -> None:
        with suppress(psycopg.Error):
            session.execute(statement.encode())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        session.cancel_safe()
        thread.join()


@contextmanager
def blocked(server: PostgreSQL, table: str) -> Iterator[tuple[int, int]]:
    """A session that holds a row, and one that waits for it: their ids."""
    server.ask(f"CREATE TABLE {table} (id int PRIMARY KEY)")
    server.ask(f"INSERT INTO {table} VALUES (1)")
    change = f"UPDATE {table} SET id = 1 WHERE id = 1"
    with (
        closing(server.connect(autocommit=False, application_name="holder")) as holder,
        closing(server.connect(application_name="waiter")) as waiter,
    ):
        holder.execute(change.encode())
        ids = (holder.info.backend_pid, waiter.info.backend_pid)
        asked = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
        with running(waiter, change):
            wait_until(lambda: server.ask(asked, ids[1:]) == [("Lock",)], what="the session to wait")
            yield ids


def of(picture: Picture, pid: int) -> Session:
    return next(each for each in picture.sessions if each.id == str(pid))


def test_a_blocked_session_is_shown_with_its_blocker(postgresql: PostgreSQL) -> None:
    with blocked(postgresql, "watched_lock") as (holder, waiter), source_of(postgresql) as source:
        picture = source.read()
        found = of(picture, waiter)
        assert found.blocked_by == (str(holder),)
        assert found.lock is not None
        assert (found.lock.mode, found.lock.target.split()[0]) == ("ShareLock", "transaction")
        assert found.wait == "Lock:transactionid"
        assert of(picture, holder).state == "idle in transaction"
        tree = [(each.lines, each.session.id) for each in blocking(picture, Ui())]
        assert ("", str(holder)) in tree
        assert tree[tree.index(("", str(holder))) + 1] == ("└ ", str(waiter))
        assert picture.missing.keys() <= {"statements"}


def test_one_picture_as_json_has_all_parts(postgresql: PostgreSQL) -> None:
    with blocked(postgresql, "watched_json") as (holder, waiter):
        done = gds("watch", address(postgresql), "--json")
        assert (done.returncode, done.stderr) == (0, "")
        [shown] = objects(done)
        [found] = [each for each in shown["sessions"] if each["id"] == str(waiter)]
        assert found["blocked_by"] == [str(holder)]
        assert shown["readings"] == 2
        assert (shown["system"], shown["role"]) == ("postgresql", "standalone")
        rates = {each["name"]: each["value"] for each in shown["numbers"]}
        # The server tells them once a second at most, so there may have been none.
        assert rates["commits"] >= 0
        assert rates["WAL"] >= 0
        assert {"database", "table"} == {each["kind"] for each in shown["space"]}
        assert PASSWORD not in done.stdout


def test_without_a_terminal_it_says_so_and_prints_one_picture(postgresql: PostgreSQL) -> None:
    done = gds("watch", address(postgresql))
    assert done.returncode == 0
    assert "there is no terminal" in done.stderr
    for title in ("ACTIVITY", "WAITS", "BLOCKING", "STATEMENTS", "REPLICATION", "DATABASES", "TABLES", "PROGRESS"):
        assert title in done.stdout
    assert gds("watch", address(postgresql), "--once").stderr == ""


def test_a_standby_is_shown_on_both_sides(postgresql_factory: PostgreSQLFactory) -> None:
    primary = postgresql_factory()
    with primary.standby("watched") as standby:
        primary.caught_up(standby)
        with source_of(primary) as source:
            wait_until(
                lambda: [each.state for each in source.read().replicas] == ["streaming"], what="the standby to be shown"
            )
            [node] = source.read().replicas
            assert (node.name, node.role, node.sync_state) == ("watched", "standby", "async")
            assert node.lag_bytes is not None
        with source_of(standby) as source:
            picture = source.read()
            assert picture.role == "standby"
            assert [each.role for each in picture.replicas] == ["primary", "standby"]
            assert {each.name: each.value for each in picture.numbers}["WAL"] is None


def test_statements_are_those_of_the_last_seconds_with_their_texts_and_no_password(
    postgresql_factory: PostgreSQLFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = postgresql_factory(READS_STATEMENTS)
    monkeypatch.setattr(module, "STATEMENTS_SECONDS", 0.0)
    with source_of(server) as source:
        assert "CREATE EXTENSION pg_stat_statements" in source.read().missing["statements"]
        server.ask("CREATE EXTENSION pg_stat_statements")
        server.ask(f"CREATE ROLE watched_role LOGIN PASSWORD '{CANARY}'")
        with server.connect() as session:
            session.execute("SELECT 41 + 1 AS watched")
            first = source.read()
            before = next(each for each in first.statements if "watched" in each.text and "SELECT" in each.text)
            assert before.calls_per_second is None
            for _ in range(50):
                session.execute("SELECT 41 + 1 AS watched")
            second = source.read()
        after = next(each for each in second.statements if each.id == before.id)
        assert after.calls == 51.0
        assert after.calls_per_second is not None
        assert after.calls_per_second > 0
        assert after.text == "SELECT $1 + $2 AS watched"
        texts = json.dumps([first.as_json(), second.as_json()])
        assert "watched_role" in texts
        assert CANARY not in texts


def test_a_password_in_a_running_statement_is_not_shown(postgresql: PostgreSQL) -> None:
    statement = f"SELECT pg_sleep(600) /* ALTER ROLE x PASSWORD '{CANARY}' */ WHERE 'literal-9' <> ''"
    with closing(postgresql.connect()) as session, source_of(postgresql) as source, running(session, statement):
        pid = session.info.backend_pid
        wait_until(lambda: of(source.read(), pid).state == "active", what="the statement to run")
        text = json.dumps(source.read().as_json())
    assert "pg_sleep(600)" in text
    assert "literal-9" in text
    assert CANARY not in text


def test_nothing_is_changed_and_no_statement_is_longer_than_its_time(postgresql: PostgreSQL) -> None:
    with source_of(postgresql) as source:
        source.read()
        ask: Any = vars(type(source))["_ask"]
        with pytest.raises(ConfigurationError, match="expected one that reads"):
            ask(source, "CREATE TABLE watched_never (id int)")
        with pytest.raises(QueryError, match="read-only"):
            ask(source, "WITH gone AS (DELETE FROM pg_catalog.pg_description RETURNING 1) SELECT 1")
        [row] = ask(
            source, "SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock"
        )
        assert row == {"statement": "2s", "lock": "100ms"}
        [row] = ask(source, "SELECT application_name AS name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        assert row == {"name": "gds watch"}


def test_a_table_that_is_locked_for_long_costs_one_session_and_no_other_part(postgresql: PostgreSQL) -> None:
    postgresql.ask("CREATE DATABASE watched_locks")
    postgresql.ask("CREATE TABLE held (id int)", dbname="watched_locks")
    postgresql.ask("CREATE TABLE free (id int)", dbname="watched_locks")
    with (
        closing(postgresql.connect(autocommit=False, dbname="watched_locks")) as holder,
        source_of(postgresql, database="watched_locks") as source,
    ):
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        picture = source.read()
        for number in range(20):
            slow: Any = vars(source)["_slow"]
            slow.clear()  # each part is asked for in each reading
            picture = source.read()
            assert picture.missing.keys() <= {"statements"}
            assert picture.readings == number + 2
            [(sessions,)] = postgresql.ask(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gds watch' AND backend_start < now()"
            )
            assert sessions == 1
        sizes = {each.name: each.size_bytes for each in picture.space if each.kind == "table"}
        assert sizes["public.held"] is None
        assert sizes["public.free"] == 0.0


def test_a_role_without_privileges_sees_its_own_and_what_to_grant(postgresql: PostgreSQL) -> None:
    postgresql.ask("CREATE ROLE watched_poor LOGIN PASSWORD 'poor-pa55'")
    with source_of(postgresql, user="watched_poor", password="poor-pa55") as source:
        picture = source.read()
        assert "GRANT pg_monitor" in picture.missing["activity"]
        assert picture.sessions
    postgresql.ask("GRANT pg_monitor TO watched_poor")
    with source_of(postgresql, user="watched_poor", password="poor-pa55") as source:
        assert source.read().missing.keys() <= {"statements"}


def test_a_restart_begins_rates_anew_instead_of_making_them_up(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory()
    with source_of(server) as source:
        source.read()
        assert all(each.value is not None for each in source.read().numbers if each.name == "commits")
        server.restart()
        with pytest.raises(DatabaseConnectionError):
            source.read()
        source.close()
        picture = source.read()
        assert picture.readings == 1
        assert [each.value for each in picture.numbers if each.name in ("commits", "WAL")] == [None, None]
        values = {each.name: each.value for each in source.read().numbers}
        assert values["commits"] is not None
        assert 0 <= values["commits"] < 1000


def test_only_the_session_that_was_meant_is_ended(postgresql: PostgreSQL) -> None:
    with closing(postgresql.connect()) as session, source_of(postgresql) as source:
        meant = of(source.read(), session.info.backend_pid)
        assert meant.connected_at is not None
        earlier = dataclasses.replace(meant, connected_at=meant.connected_at - timedelta(seconds=1))
        with pytest.raises(QueryError, match="has ended meanwhile; nothing was done"):
            source.end(earlier, cancel=False)
        assert session.execute("SELECT 1").fetchall() == [(1,)]
        with pytest.raises(ConfigurationError, match="session of this view"):
            source.end(next(each for each in source.read().sessions if each.own), cancel=False)
        assert "ended session" in source.end(meant, cancel=False)
        assert str(session.info.backend_pid) not in [each.id for each in source.read().sessions]


# ------------------------------------------------------------------ on a terminal
@pytest.mark.parametrize("width", [80, 200])
def test_one_looks_into_a_blocked_session_and_terminates_who_blocks_it(postgresql: PostgreSQL, width: int) -> None:
    with (
        blocked(postgresql, f"watched_keys_{width}") as (holder, waiter),
        watched(address(postgresql), "--interval", "0.5", width=width, height=40) as screen,
    ):
        at = screen.wait_for("BLOCKING", f"└ {waiter}")
        screen.press("3")
        screen.press("j")
        screen.press("\r")
        at = screen.wait_for(f"SESSION {holder}", "BLOCKS", "q quit", after=at)
        screen.press("K")
        at = screen.wait_for(f"terminate session {holder} of postgres?", after=at)
        screen.press("n")
        at = screen.wait_for("nothing was done", after=at)
        screen.press("K")
        at = screen.wait_for(f"terminate session {holder} of postgres?", after=at)
        screen.press("y")
        at = screen.wait_for(f"ended session {holder}", f"session {holder} has ended", after=at)
        screen.press("q")
        assert screen.ended() == 0


def test_it_is_resized_paused_and_ended_by_its_duration(postgresql: PostgreSQL) -> None:
    with watched(address(postgresql), "--interval", "0.2", width=80) as screen:
        at = screen.wait_for("ACTIVITY", "every 0.2 s")
        screen.resize(200, 50)
        # Only wide terminals have this beside it.
        at = screen.wait_for("REPLICATION", "no other node", after=at)
        screen.press(" ")
        at = screen.wait_for("paused at", after=at)
        screen.press("?")
        at = screen.wait_for("the server is asked nothing meanwhile", after=at)
        screen.press(" ")
        screen.wait_for("every 0.2 s", after=at)
        screen.press("\x03")
        assert screen.ended() == 0
    with watched(address(postgresql), "--duration", "0.5") as screen:
        assert screen.ended() == 0


def test_a_server_that_goes_away_is_told_and_comes_back(postgresql: PostgreSQL, toxiproxy: Toxiproxy) -> None:
    proxy = toxiproxy.proxy(postgresql.port)
    with watched(address(postgresql, port=proxy.port), "--interval", "0.2") as screen:
        at = screen.wait_for("ACTIVITY", "every 0.2 s")
        proxy.cut()
        at = screen.wait_for("disconnected", "trying again", after=at)
        proxy.restore()
        screen.press("R")
        at = screen.wait_for("every 0.2 s", "q quit", after=at)
        # Silent without a word: nobody closes what the network has lost.
        proxy.half_open()
        at = screen.wait_for("disconnected", "trying again", after=at)
        proxy.reset()
        screen.press("R")
        screen.wait_for("every 0.2 s", "q quit", after=at)
        screen.press("q")
        assert screen.ended() == 0


def test_who_cannot_be_reached_at_first_is_an_error_without_the_password(postgresql: PostgreSQL) -> None:
    with watched(address(postgresql, password=CANARY)) as screen:
        screen.wait_for("gds: ", "password authentication failed")
        assert screen.ended() == 1
        assert CANARY not in screen.seen
    done = gds("watch", address(postgresql, password=CANARY), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "password authentication failed" in done.stderr
    assert CANARY not in done.stderr
    assert gds("watch", "oracle://x/y").returncode == 2
    assert gds("watch", f"postgresql://u:{CANARY}@h:99999/x").stderr == "gds: port: expected a number from 1 to 65535\n"
