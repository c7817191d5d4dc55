"""The helper around PostgreSQL: what it makes works, and what it keeps survives."""

from __future__ import annotations

import psycopg
import pytest

from tests.services.fixtures import PostgreSQLFactory
from tests.services.pgbouncer import PgBouncer
from tests.services.postgresql import PostgreSQL


def test_everybody_is_asked_for_a_password(postgresql: PostgreSQL) -> None:
    for host in ("127.0.0.1", str(postgresql.folder)):
        assert postgresql.ask("SELECT current_user", host=host) == [("postgres",)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            postgresql.connect(host=host, password="wrong")


def test_statements_are_in_the_log(postgresql: PostgreSQL) -> None:
    postgresql.ask("SELECT 'a statement of its own'")
    assert "a statement of its own" in postgresql.log()


def test_rows_survive_a_crash_and_reach_a_standby(postgresql_factory: PostgreSQLFactory) -> None:
    primary = postgresql_factory({"synchronous_standby_names": ""})
    primary.ask("CREATE TABLE kept AS SELECT 1 AS n")
    with primary.standby("follower") as standby:
        primary.kill()
        primary.start()
        primary.ask("INSERT INTO kept VALUES (2)")
        primary.caught_up(standby)
        assert standby.ask("SELECT sum(n) FROM kept") == [(3,)]
        assert standby.ask("SELECT pg_is_in_recovery()") == [(True,)]
        assert primary.ask("SELECT application_name FROM pg_stat_replication") == [("follower",)]


def test_certificate_is_the_one_asked_for(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory(server_certificate="valid")
    checked = {"sslmode": "verify-full", "sslrootcert": str(server.ca_file)}
    assert server.ask("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", **checked) == [(True,)]
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        server.connect(sslmode="disable")


def test_pool_hands_one_session_to_one_after_the_other_who_knows_the_password(
    postgresql: PostgreSQL, pgbouncer: PgBouncer
) -> None:
    with postgresql.connect(port=pgbouncer.port) as one, postgresql.connect(port=pgbouncer.port) as two:
        seen = {who.execute("SELECT pg_backend_pid()").fetchall()[0] for who in (one, two, one)}
        assert len(seen) == 1
        assert one.info.backend_pid not in {pid for (pid,) in seen}
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        postgresql.connect(port=pgbouncer.port, password="wrong")
