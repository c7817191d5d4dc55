"""`gds watch` and what stands in for SQL Server: what it tells, and that it is never the outage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pymssql
import pytest

from gds_cli.watch import sqlserver as module
from gds_cli.watch.picture import Picture, Session
from gds_cli.watch.source import WatchSource, open_source
from gds_cli.watch.ui import Ui, blocking
from gds_database import ConfigurationError, QueryError
from tests.cli.commands import gds, objects
from tests.cli.watching import drawn, watched
from tests.services.fixtures import SqlServerFactory
from tests.services.mssql import SqlServer
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

PATIENCE_SECONDS = 30.0
CANARY = "cAnary-77-passw0rd"


def address(server: SqlServer, user: str = "sa", database: str = "") -> str:
    return f"mssql://{user}@127.0.0.1:{server.port}/{database}?trust_server_certificate=true"


@contextmanager
def source_of(server: SqlServer, user: str = "sa", password: str | None = None) -> Iterator[WatchSource]:
    source = open_source(address(server, user), password=password or server.password)
    # What stands in for the server is written in Python, and a busy machine has other things to do than to run it.
    source.engine.timeout_seconds = PATIENCE_SECONDS  # type: ignore[attr-defined]
    try:
        yield source
    finally:
        source.close()


def session_on(server: SqlServer, name: str, *, autocommit: bool = True) -> Any:
    return pymssql.connect(
        "127.0.0.1", "sa", server.password, port=str(server.port), autocommit=autocommit, appname=name
    )


def run(session: Any, statement: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def blocked(server: SqlServer, table: str) -> Iterator[None]:
    """A session that holds a table, and one that waits for it; until the holder ends."""
    with closing(session_on(server, "holder")) as holder, closing(session_on(server, "waiter")) as waiter:
        run(holder, f"CREATE TABLE {table} (id int)")
        run(holder, f"BEGIN TRANSACTION; INSERT INTO {table} VALUES (1)")

        def wait() -> None:
            with suppress(pymssql.Error):
                run(waiter, f"INSERT INTO {table} VALUES (2)")

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            with suppress(pymssql.Error):  # who was killed has rolled back
                run(holder, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            thread.join()


def waiting(source: WatchSource) -> tuple[Picture, Session]:
    def look() -> list[tuple[Picture, Session]]:
        picture = source.read()
        return [(picture, each) for each in picture.sessions if each.blocked_by]

    return wait_until(look, what="the session to wait")[0]


def test_a_blocked_session_is_shown_with_what_it_waits_for_and_its_blocker(sql_server: SqlServer) -> None:
    with blocked(sql_server, "watched_lock"), source_of(sql_server) as source:
        picture, found = waiting(source)
        (blocker,) = [each for each in picture.sessions if each.id == found.blocked_by[0]]
        assert (blocker.application, blocker.state, blocker.seconds) == ("holder", "idle in transaction", None)
        assert blocker.transaction_seconds is not None
        assert found.wait == "LCK_M_X"
        assert found.lock is not None
        assert (found.lock.mode, found.lock.target.split(":")[0]) == ("X", "OBJECT")
        assert [(each.lines, each.session.id) for each in blocking(picture, Ui())] == [
            ("", blocker.id),
            ("└ ", found.id),
        ]
        assert ("LCK_M_X", 1) in {(each.event, each.sessions) for each in picture.waits}
        assert [each.application for each in picture.sessions if each.own] == ["gds watch"]
        assert picture.missing == {}
        text = "\n".join(drawn(picture, Ui(), 120, 40))
        assert "1 blocked  1 idle in transaction" in text
        assert "X on OBJECT" in text
        assert "VACUUMED" not in text


def test_the_blocker_is_ended_and_not_who_has_its_number_since(sql_server: SqlServer) -> None:
    with blocked(sql_server, "watched_kill"), source_of(sql_server) as source:
        picture, found = waiting(source)
        (blocker,) = [each for each in picture.sessions if each.id == found.blocked_by[0]]
        with pytest.raises(QueryError, match="no way to end a statement alone"):
            source.end(blocker, cancel=True)
        with pytest.raises(QueryError, match="has ended meanwhile; nothing was done"):
            source.end(Session(blocker.id), cancel=False)
        with pytest.raises(ConfigurationError, match="it is the session of this view"):
            source.end(next(each for each in picture.sessions if each.own), cancel=False)
        assert source.end(blocker, cancel=False) == f"ended session {blocker.id}"
        wait_until(lambda: not any(each.blocked_by for each in source.read().sessions), what="the lock to be let go of")


def test_rates_space_and_numbers_need_two_looks(sql_server: SqlServer) -> None:
    with closing(session_on(sql_server, "maker")) as maker:
        run(maker, "CREATE TABLE watched_space (id int)")
        run(maker, "INSERT INTO watched_space VALUES (1); INSERT INTO watched_space VALUES (2)")
    with source_of(sql_server) as source:
        first = {each.name: each.value for each in source.read().numbers}
        assert first["batches"] is None
        assert first["cache hits"] == pytest.approx(99.5)
        picture = source.read()
    numbers = {each.name: each.value for each in picture.numbers}
    # The questions of the view itself are among them.
    assert (numbers["batches"] or 0) > 0
    assert numbers["memory"] == 1 << 30
    assert {"master", "tempdb"} <= {each.name for each in picture.space if each.kind == "database"}
    (table,) = [each for each in picture.space if each.name == "dbo.watched_space"]
    assert (table.rows, table.size_bytes) == (2, 9 * 8192)
    assert picture.uptime_seconds is not None
    assert (picture.role, picture.max_sessions) == ("standalone", None)


def test_statements_have_rates_and_their_text_without_passwords(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()

    def told(*statements: tuple[str, int]) -> None:
        server.put(
            "sys.dm_exec_query_stats",
            [
                {
                    "query_hash": f"{name:<8}",
                    "sql_handle": name,
                    "statement_start_offset": 0,
                    "statement_end_offset": -1,
                    "execution_count": calls,
                    "total_elapsed_time": calls * 2000,
                    "total_rows": calls * 3,
                    "total_physical_reads": 10,
                    "total_logical_reads": 1000,
                }
                for name, calls in statements
            ],
        )

    server.put(
        "sys.dm_exec_sql_text",
        [
            {"sql_handle": "buy", "text": "UPDATE stock SET n = n - 1", "dbid": 1},
            {"sql_handle": "let", "text": f"CREATE LOGIN x WITH PASSWORD = '{CANARY}'"},
        ],
    )
    told(("buy", 40), ("let", 1))
    with source_of(server) as source:
        before = source.read().statements
        (buy, let) = before
        assert (buy.text, buy.database) == ("UPDATE stock SET n = n - 1", "master")
        assert CANARY not in str(before)
        assert (buy.calls, buy.seconds, buy.rows, buy.hit_blocks, buy.read_blocks) == (40, 0.08, 120, 990, 10)
        assert buy.calls_per_second is None
        told(("buy", 40), ("let", 11))
        # Asked for anew when it is due.
        source._slow.clear()  # type: ignore[attr-defined]
        now = source.read().statements
        assert [each.id for each in now] == [let.id, buy.id], "what takes time now comes first"
        assert (now[0].calls_per_second or 0) > 0
        assert now[1].calls_per_second == 0


def test_a_plan_cache_too_large_to_read_is_left_out_and_not_asked_for_again(
    sql_server_factory: SqlServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = sql_server_factory()
    monkeypatch.setattr(module, "STATEMENTS_TIMEOUT_SECONDS", 0.5)
    server.fault("dm_exec_query_stats", seconds=30)
    with source_of(server) as source:
        picture = source.read()
        assert picture.sessions
        assert "takes longer than 0.5 s to read; left out" in picture.missing["statements"]
        asked = [text for text in server.statements() if "dm_exec_query_stats" in text]
        # The connection was the price; the next reading opens it again.
        again = source.read()
        assert again.sessions
        assert again.missing["statements"] == picture.missing["statements"]
        assert [text for text in server.statements() if "dm_exec_query_stats" in text] == asked


def test_a_login_without_grants_sees_itself_and_what_to_grant(sql_server: SqlServer) -> None:
    with closing(session_on(sql_server, "maker")) as maker:
        run(maker, "CREATE LOGIN watcher WITH PASSWORD = 'W4tcher-only'")
    with source_of(sql_server, "watcher", "W4tcher-only") as source:
        picture = source.read()
    assert [each.own for each in picture.sessions] == [True]
    assert "GRANT VIEW SERVER STATE" in picture.missing["activity"]
    assert "permission was denied" in picture.missing["numbers"]


def test_a_long_command_tells_how_far_it_is(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    with source_of(server) as source:
        own = next(each for each in source.read().sessions if each.own)
        request = {"session_id": int(own.id), "command": "BACKUP DATABASE", "status": "running", "database_id": 1}
        server.put("sys.dm_exec_requests", [{**request, "percent_complete": 25.0, "total_elapsed_time": 9000}])
        picture = source.read()
    (progress,) = picture.progress
    assert (progress.command, progress.target, progress.done) == ("BACKUP DATABASE", "master", 0.25)


def test_what_it_asks_reads_waits_for_no_lock_and_gives_way(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    with source_of(server) as source:
        source.read()
    asked = [text for text in server.statements() if "SELECT" in text.upper() and "gds" not in text]
    assert asked
    for text in asked:
        assert "SET LOCK_TIMEOUT 100; SET DEADLOCK_PRIORITY LOW" in text, text


def test_it_is_drawn_within_seconds_and_found_again_after_a_restart(sql_server_factory: SqlServerFactory) -> None:
    server = sql_server_factory()
    arguments = (address(server), "--password-from")
    secret = server.folder / "password"
    secret.write_text(server.password)
    with watched(*arguments, f"file:{secret}", width=80, height=24) as view:
        at = view.wait_for("SQL Server 16", "ACTIVITY", "WAITS")
        server.kill()
        at = view.wait_for("disconnected", after=at)
        server.start()
        view.wait_for("batches", "every 1 s", after=at)
        view.press("q")
        assert view.ended() == 0
    assert server.password not in view.seen


def test_one_picture_as_json(sql_server: SqlServer, tmp_path: Any) -> None:
    secret = tmp_path / "password"
    secret.write_text(sql_server.password)
    done = gds("watch", address(sql_server), "--password-from", f"file:{secret}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [shown] = objects(done)
    assert (shown["system"], shown["readings"], shown["missing"]) == ("mssql", 2, {})
    assert sql_server.password not in done.stdout
