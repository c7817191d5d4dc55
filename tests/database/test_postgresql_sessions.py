"""Sessions of a real PostgreSQL: who blocks whom, who is ended, and what is left of ours when something goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import psycopg
import pytest

from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine, _session
from gds_database.engines.postgresql import connection as connection_module
from gds_database.errors import DatabaseConnectionError, QueryError, StatementTimeoutError
from tests.database.postgresql import connection_to, engine_of, nothing_left, unique
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until
from tests.services.toxiproxy import Toxiproxy

pytestmark = pytest.mark.timing

# Far longer than anything here takes, far shorter than forever.
BOUND_SECONDS = 60.0


@pytest.fixture
def engine(postgresql: PostgreSQL) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql) as engine:
        yield engine


def in_background(session: psycopg.Connection[tuple[object, ...]], statement: str) -> threading.Thread:
    """Run a statement in a session until it ends, however it does."""

    def run() -> None:
        with suppress(psycopg.Error):
            session.execute(statement)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_who_waits_is_told_with_who_is_waited_for(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    table = unique("blocked")
    postgresql.ask(f"CREATE TABLE {table} (n int)")
    with closing(postgresql.connect()) as holder, closing(postgresql.connect()) as waiter:
        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        waiting, blocking = str(waiter.info.backend_pid), str(holder.info.backend_pid)
        thread = in_background(waiter, f"SELECT * FROM {table}")

        def blocked() -> bool:
            found = {each["id"]: each for each in engine.list_processes()}[waiting]
            return bool(found["blocked_by"] == [blocking] and found["wait"] == "Lock:relation")

        wait_until(blocked, what="the waiting session to be told")
        found = {each["id"]: each for each in engine.list_processes()}
        assert found[waiting]["statement"] == f"SELECT * FROM {table}"
        assert found[waiting]["seconds"] >= 0
        assert found[blocking]["state"] == "idle in transaction"
        assert found[blocking]["blocked_by"] == []

        assert engine.kill_process(blocking).is_success()
        thread.join(BOUND_SECONDS)
        assert not thread.is_alive()
        assert blocking not in {each["id"] for each in engine.list_processes()}
        assert waiting in {each["id"] for each in engine.list_processes()}


def test_only_a_statement_is_ended_by_a_cancel(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    with postgresql.connect() as session:
        pid = str(session.info.backend_pid)
        thread = in_background(session, "SELECT pg_sleep(600)")
        wait_until(
            lambda: any(each["id"] == pid and each["state"] == "active" for each in engine.list_processes()),
            what="the statement to begin",
        )
        shown = engine.kill_process(pid, cancel=True, dry_run=True)
        assert "pg_cancel_backend" in (shown.data or {})["statements"][0]
        assert thread.is_alive()
        assert engine.kill_process(pid, cancel=True).is_success()
        thread.join(BOUND_SECONDS)
        assert session.execute("SELECT 1").fetchall() == [(1,)]


def test_own_session_and_the_server_itself_are_not_ended(engine: PostgreSQLEngine) -> None:
    every = engine.list_processes(background=True)
    (own,) = [each for each in every if each["own"]]
    (writer,) = [each for each in every if each["backend_type"] == "checkpointer"]
    for pid, words in ((own["id"], "session of this engine"), (writer["id"], "checkpointer of the server")):
        result = engine.kill_process(pid)
        assert result.is_failure()
        assert words in (result.error or "")
    assert engine.get_version()


def test_statement_behind_an_access_exclusive_lock_ends_in_time(postgresql: PostgreSQL) -> None:
    with postgresql.connect() as holder, engine_of(postgresql, application_name="locked out") as engine:
        engine.lock_timeout_seconds = 0.2
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE pg_catalog.pg_database IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StatementTimeoutError, match="another session holds a lock"):
            engine.list_databases()
        holder.execute("ROLLBACK")
        assert engine.list_databases()


def test_statement_that_takes_too_long_is_ended_on_the_server(postgresql: PostgreSQL) -> None:
    with engine_of(postgresql) as engine:
        with pytest.raises(StatementTimeoutError, match="took too long"):
            engine._query("SELECT pg_sleep(600)", timeout_seconds=0.2)
        assert not [
            each
            for each in engine.list_processes()
            if "pg_sleep(600)" in each["statement"] and each["state"] == "active"
        ]


def test_full_server_is_told_and_nothing_of_ours_stays(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory({"max_connections": 5, "superuser_reserved_connections": 0, "max_wal_senders": 0})
    with ExitStack() as sessions:
        opened = [sessions.enter_context(closing(server.connect())) for _ in range(5)]
        connection = connection_to(server)
        with pytest.raises(DatabaseConnectionError, match="too many clients"):
            PostgreSQLEngine(connection).connect()
        assert not connection.is_connected()
        opened[0].close()

        def connected() -> bool:
            try:
                with PostgreSQLEngine(connection) as engine:
                    return bool(engine.get_version())
            except DatabaseConnectionError:
                return False  # the server needs a moment to see that a session has ended

        wait_until(connected, what="the place of a closed session")
        nothing_left(server)


def test_stopped_server_is_told_and_can_be_connected_to_again(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory()
    with engine_of(server) as engine:
        server.stop()
        with pytest.raises(DatabaseConnectionError):
            engine.get_version()
        begin = time.monotonic()
        with pytest.raises(DatabaseConnectionError, match="refused"):
            engine.connect()
        assert time.monotonic() - begin < BOUND_SECONDS
        # What is down can say what it could do.
        assert not engine.capabilities().supports("startup")
        server.start()
        engine.connect()
        assert engine.get_version()


def test_cut_network_ends_the_wait_and_the_connection(
    postgresql: PostgreSQL, toxiproxy: Toxiproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_session, "GRACE_SECONDS", 0.5)
    proxy = toxiproxy.proxy(postgresql.port)
    name = unique("cut off")
    with engine_of(postgresql, port=proxy.port, application_name=name) as engine:
        assert engine.get_version()
        proxy.half_open()
        begin = time.monotonic()
        engine.timeout_seconds = 0.5
        with pytest.raises(DatabaseConnectionError, match="silent for 1 s"):
            engine.get_version()
        assert time.monotonic() - begin < BOUND_SECONDS
        engine.timeout_seconds = BOUND_SECONDS
        assert not engine.connection.is_connected()
        proxy.reset()
        engine.connect()
        assert engine.get_version()
        proxy.cut()
        with pytest.raises(DatabaseConnectionError):
            engine.get_version()
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    wait_until(lambda: postgresql.ask(counted, (name,)) == [(0,)], what="the server to be rid of the sessions")


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("expired", "certificate has expired"), ("other_host", "does not match host name")],
)
def test_certificate_that_is_not_good_is_told(
    postgresql_factory: PostgreSQLFactory, certificate: str, words: str
) -> None:
    server = postgresql_factory(server_certificate=certificate)  # type: ignore[arg-type]
    connection = connection_to(server, sslmode="verify-full", sslrootcert=str(server.ca_file))
    with pytest.raises(DatabaseConnectionError, match=words) as caught:
        connection.connect()
    assert server.address()["password"] not in str(caught.value)
    nothing_left(server)


def test_good_certificate_is_what_encrypts(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory(server_certificate="valid")
    with engine_of(server, sslmode="verify-full", sslrootcert=str(server.ca_file)) as engine:
        assert engine._query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [{"ssl": True}]


def test_transaction_of_the_program_is_left_as_it_was(postgresql: PostgreSQL) -> None:
    table = unique("mine")
    postgresql.ask(f"CREATE TABLE {table} (n int)")
    with postgresql.connect(autocommit=False) as session:
        connection = PostgreSQLConnection()
        connection.connection = session
        engine = PostgreSQLEngine(connection)
        session.execute(f"INSERT INTO {table} VALUES (1)")
        assert engine.list_databases()
        with pytest.raises(QueryError):
            engine._query("SELECT no_such_column")
        refused = engine.get_database(unique("never")).create()
        assert "not committed" in (refused.error or "")
        assert session.execute("SHOW statement_timeout").fetchone() == ("0",)
        session.commit()
        assert postgresql.ask(f"SELECT n FROM {table}") == [(1,)]
        # After that the change is made, and what the session had set is as it was.
        session.execute("SELECT 1")
        name = unique("made")
        assert engine.get_database(name).create().is_success()
        assert engine.get_database(name).drop().is_success()
        assert not session.autocommit
        assert session.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_reading_cannot_change_anything(engine: PostgreSQLEngine) -> None:
    with pytest.raises(QueryError, match="read-only"):
        engine._query("CREATE TABLE never (n int)")


def test_session_is_the_program_s_own_whenever_it_uses_it(postgresql: PostgreSQL) -> None:
    table = unique("kept")
    connection = connection_to(postgresql)
    asked = "SELECT current_setting('statement_timeout'), current_setting('default_transaction_read_only')"
    with PostgreSQLEngine(connection, timeout_seconds=7) as engine:
        assert engine._query(f"{asked[:6]} current_setting('statement_timeout') AS t") == [{"t": "7s"}]
        assert connection.execute_query(asked) == [("0", "off")]
        assert engine.get_version()
        connection.execute_query(f"CREATE TABLE {table} (n int)")
        assert engine.get_version()
        connection.begin_transaction()
        connection.execute_query(f"INSERT INTO {table} VALUES (1)")
        assert engine.get_version()
        connection.commit()
        assert connection.execute_query(f"SELECT n FROM {table}") == [(1,)]
        assert engine.get_version()
        raw = connection.connection
        assert raw is not None
        assert engine.get_version()
        assert raw.execute(asked).fetchall() == [("0", "off")]
        with pytest.raises(QueryError, match="read-only"):
            engine._query("CREATE TABLE never (n int)")


def test_behind_a_pool_no_setting_is_left_in_a_session(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "SELECT current_setting('statement_timeout'), current_setting('default_transaction_read_only')"
    for module in (_session, connection_module):
        monkeypatch.setattr(module, "is_pooled", lambda raw, process: True)
    connection = connection_to(postgresql)
    with PostgreSQLEngine(connection) as engine:
        raw = connection._raw
        assert raw is not None
        assert engine.get_version()
        assert raw.execute(asked).fetchall() == [("0", "off")]
        name = unique("pooled")
        assert engine.get_database(name).create().is_success()
        assert engine.get_database(name).drop().is_success()
        assert raw.execute(asked).fetchall() == [("0", "off")]
        with pytest.raises(QueryError, match="read-only"):
            engine._query("CREATE TABLE never (n int)")
