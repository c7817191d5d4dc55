"""A real primary with real standbys: how far they are, and that nothing acknowledged is lost when one takes over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest

from gds_database.control import Command
from gds_database.engines.postgresql import PostgreSQLEngine, _replication
from gds_database.engines.postgresql._replication import lag_of_standby
from gds_database.errors import DatabaseConnectionError
from tests.database.postgresql import engine_of
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

ENOUGH = 100


class Load:
    """Sessions that insert and remember what was acknowledged."""

    def __init__(self, server: PostgreSQL) -> None:
        server.ask("CREATE TABLE written (writer int, n int, PRIMARY KEY (writer, n))")
        self.acknowledged: set[tuple[int, int]] = set()
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(writer,)) for writer in range(3)]

    def _write(self, writer: int) -> None:
        with suppress(psycopg.OperationalError), self._server.connect() as session:
            n = 0
            while not self._over.is_set():
                n += 1
                session.execute("INSERT INTO written VALUES (%s, %s)", (writer, n))
                self.acknowledged.add((writer, n))

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Write for the time of the block; then the server is killed."""
        for thread in self._threads:
            thread.start()
        try:
            self.goes_on()
            yield self
        finally:
            # Who waits for a synchronous standby that is none any more ends with the server.
            self._over.set()
            self._server.kill()
            for thread in self._threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def goes_on(self) -> None:
        """Wait for as many more writes."""
        until = len(self.acknowledged) + ENOUGH
        wait_until(lambda: len(self.acknowledged) >= until, what="writes to be acknowledged")

    def lost(self, server: PostgreSQL) -> set[tuple[int, int]]:
        """What was acknowledged and is not there."""
        return self.acknowledged - set(server.ask("SELECT writer, n FROM written"))


@contextmanager
def roles_seen(server: PostgreSQL) -> Iterator[list[str]]:
    """What a server says it is, asked again and again meanwhile."""
    seen: list[str] = []
    over = threading.Event()

    def ask() -> None:
        with engine_of(server) as engine:
            while not over.is_set():
                with suppress(DatabaseConnectionError):
                    seen.append(engine.get_replication_status().role)
                over.wait(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: seen, what="the first answer")
    try:
        yield seen
    finally:
        last = len(seen)
        wait_until(lambda: len(seen) > last + 1, what="an answer after it")
        over.set()
        thread.join(60)


@pytest.fixture
def pair(postgresql_factory: PostgreSQLFactory) -> Iterator[tuple[PostgreSQL, PostgreSQL]]:
    """A primary and a standby that is called one."""
    primary = postgresql_factory({"log_statement": "none"})
    with primary.standby("one") as standby:
        primary.caught_up(standby)
        yield primary, standby


def synchronous(primary: PostgreSQL) -> None:
    primary.configure({"synchronous_standby_names": "one"})
    wait_until(
        lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == [("sync",)],
        what="the standby to be synchronous",
    )


def stop_of(server: PostgreSQL) -> Command:
    """What stops it and waits until it is."""
    stop: list[str] = [str(server.binary("pg_ctl")), "stop", f"--pgdata={server.data}", "--mode=fast", "--wait"]
    who = server.identity
    become = [] if who.user is None else ["setpriv", f"--reuid={who.user}", f"--regid={who.group}", "--clear-groups"]
    return Command(stop=[*become, *stop])


def test_nothing_acknowledged_is_lost_when_a_synchronous_standby_is_promoted(
    pair: tuple[PostgreSQL, PostgreSQL],
) -> None:
    primary, standby = pair
    synchronous(primary)
    with ExitStack() as open_now:
        engine, target = (open_now.enter_context(engine_of(server)) for server in pair)
        before = engine.get_replication_status()
        assert (before.role, before.mode, before.sync_state, before.partners) == (
            "primary",
            "streaming",
            "sync",
            ["one"],
        )
        assert target.get_replication_status().role == "standby"
        load = open_now.enter_context(Load(primary).running())
        seen = open_now.enter_context(roles_seen(standby))
        shown = engine.failover(target.name, dry_run=True)
        assert shown.is_success(), shown.error
        assert standby.ask("SELECT pg_is_in_recovery()") == [(True,)]
        result = engine.failover(target.name)
        assert result.is_success(), result.error
        data = result.data or {}
        assert data["timeline"] == data["timeline_before"] + 1
        assert any("pg_rewind" in warning for warning in data["warnings"])
        after = target.get_replication_status()
        assert after.role in {"primary", "standalone"}
        assert after.lag_seconds == 0
    # It was a standby until it was none, and never again.
    assert seen == sorted(seen, key=lambda role: role != "standby")
    assert seen[0] == "standby"
    assert seen[-1] != "standby"
    assert len(load.acknowledged) >= ENOUGH
    assert load.lost(standby) == set()
    standby.ask("INSERT INTO written VALUES (9, 9)")


def test_standby_of_a_killed_primary_takes_over_with_all_that_was_acknowledged(
    pair: tuple[PostgreSQL, PostgreSQL],
) -> None:
    primary, standby = pair
    synchronous(primary)
    with engine_of(standby) as engine:
        with Load(primary).running() as load:
            refused = engine.failover()
            assert "still hears of its primary" in (refused.error or "")
            load.goes_on()
            primary.kill()
        wait_until(
            lambda: engine.get_replication_status().mode == "disconnected", what="the standby to lose its primary"
        )
        assert engine.failover().is_success()
        assert load.lost(standby) == set()
        again = engine.failover()
        assert "primary" in (again.error or "")


def test_primary_that_can_be_stopped_hands_over_all_it_has(pair: tuple[PostgreSQL, PostgreSQL]) -> None:
    primary, standby = pair
    with (
        engine_of(primary, control=stop_of(primary)) as engine,
        engine_of(standby) as target,
        Load(primary).running() as load,
    ):
        shown = engine.failover(target=target, dry_run=True)
        statements = (shown.data or {})["statements"]
        assert "pg_ctl" in statements[0]
        assert "pg_promote" in statements[-1]
        assert primary.ask("SELECT 1") == [(1,)]
        result = engine.failover(target=target)
        assert result.is_success(), result.error
        assert not primary.running
    assert load.lost(standby) == set()


def test_standby_that_cannot_take_over_is_not_promoted(
    pair: tuple[PostgreSQL, PostgreSQL], postgresql: PostgreSQL
) -> None:
    primary, standby = pair
    with engine_of(primary) as engine, engine_of(standby) as target, engine_of(postgresql) as other:
        for arguments, words in (
            ({}, "expected host:port of a standby"),
            ({"target_node": "nowhere"}, "expected host:port"),
            ({"target": other}, "is no standby"),
            ({"target": target}, "acknowledges what no standby has"),
        ):
            result = engine.failover(**arguments)
            assert words in (result.error or ""), result.error
        standby.ask("SELECT pg_wal_replay_pause()")
        assert "replay is paused" in (engine.failover(target=target).error or "")
        standby.ask("SELECT pg_wal_replay_resume()")
        assert standby.ask("SELECT pg_is_in_recovery()") == [(True,)]
        # It can be forced, and says what that leaves behind.
        forced = engine.failover(target=target, force=True)
        assert forced.is_success(), forced.error
        assert "still runs" in (forced.data or {})["warnings"][0]


def test_lag_is_told_by_position_from_both_sides(pair: tuple[PostgreSQL, PostgreSQL]) -> None:
    primary, standby = pair
    with engine_of(primary) as above, engine_of(standby) as below:
        for engine in (above, below):
            status = engine.get_replication_status()
            assert (status.lag_seconds, status.lag_bytes) == (0.0, 0)
        standby.ask("SELECT pg_wal_replay_pause()")
        primary.ask("CREATE TABLE ahead AS SELECT n FROM generate_series(1, 1000) n")

        def behind(engine: PostgreSQLEngine) -> bool:
            return (engine.get_replication_status().lag_bytes or 0) > 0

        for engine in (above, below):
            wait_until(partial(behind, engine), what="the lag to be told")
            assert engine.get_replication_status().lag_seconds >= 0
        assert any(node["state"] == "paused" for node in below.get_replication_status().nodes)
        assert below.get_database("postgres").metadata.state == "read_only"
        standby.ask("SELECT pg_wal_replay_resume()")
        primary.caught_up(standby)
        wait_until(lambda: above.get_replication_status().lag_bytes == 0, what="the lag to be gone")
        assert below.get_replication_status().lag_seconds == 0
        standby.stop()

        def lost() -> bool:
            states = [node["state"] for node in above.get_replication_status().nodes]
            return states == ["disconnected"]

        wait_until(lost, what="the slot of a standby that is gone to be told")


def row(**changes: Any) -> dict[str, Any]:
    return {"status": "streaming", "lag_bytes": 0, "since_replay": 0.0, "skew": 0.01, **changes}


@pytest.mark.parametrize(
    ("known", "seconds", "skew"),
    [
        # The primary has been idle for a day: the standby has everything.
        (row(since_replay=86_400.0), 0.0, 0.0),
        # The standby's clock is half a minute ahead: no lag of that size.
        (row(lag_bytes=10, since_replay=31.0, skew=30.0), 1.0, 30.0),
        # Or behind: a lag that would be negative, or is larger than it looks.
        (row(lag_bytes=10, since_replay=-29.0, skew=-30.0), 1.0, -30.0),
        (row(lag_bytes=0, since_replay=-30.0, skew=-30.0), 0.0, -30.0),
        # Cut off: nothing is known of what the primary has written since.
        (row(status=None, lag_bytes=None, since_replay=12.0, skew=None), 12.0, None),
        # A new standby that has replayed no transaction yet.
        (row(status="catchup", lag_bytes=5, since_replay=None, skew=None), 0.0, None),
    ],
)
def test_clocks_that_differ_are_no_lag(known: dict[str, Any], seconds: float, skew: float | None) -> None:
    found, found_skew = lag_of_standby(known)
    assert found == pytest.approx(seconds)
    assert found_skew == skew


def test_server_that_is_promoted_between_two_statements_is_still_told(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It said that it is a standby, and is none any more when it is asked where it is.
    monkeypatch.setattr(_replication, "_CLOCK", _replication._CLOCK.replace("pg_catalog.pg_is_in_recovery()", "true"))
    with engine_of(postgresql) as engine:
        status = engine.get_replication_status()
        assert (status.role, status.mode) == ("standby", "disconnected")
        assert status.lag_seconds >= 0
