"""A session that only an engine uses is limited once; one that goes through a pool is left as it is."""

from __future__ import annotations

from typing import Any

import pytest

from gds_database import ConfigurationError, StatementTimeoutError
from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine
from tests.database.postgresql import connection_to, engine_of
from tests.services.postgresql import PostgreSQL

LIMITS = "SELECT current_setting('statement_timeout') AS s, current_setting('lock_timeout') AS l"


def limits(engine: PostgreSQLEngine) -> tuple[str, str]:
    """Those of the session, looked at past the engine and its connection."""
    assert isinstance(engine.connection, PostgreSQLConnection)
    raw = engine.connection._raw
    assert raw is not None
    found: tuple[str, str] = raw.execute(LIMITS).fetchall()[0]
    return found


def test_its_limits_are_set_once_and_again_when_they_change(postgresql: PostgreSQL) -> None:
    with engine_of(postgresql, timeout_seconds=20) as engine:
        assert limits(engine) == ("0", "0")
        engine.get_version()
        assert limits(engine) == ("20s", "5s")
        with pytest.raises(StatementTimeoutError):
            engine._query("SELECT pg_sleep(60)", columns=("x",), timeout_seconds=0.1)
        assert limits(engine) == ("100ms", "100ms")
        engine.list_databases()
        assert limits(engine) == ("20s", "5s")
        assert engine.connection.execute_query(LIMITS) == [("0", "0")]


def test_a_session_behind_a_pool_is_as_it_was(postgresql: PostgreSQL) -> None:
    class Pooled:
        """A driver's connection through a pool, which tells a process number of its own, as pgbouncer does."""

        def __init__(self, raw: Any) -> None:
            self._raw = raw

        @property
        def info(self) -> Any:
            return self

        backend_pid = -1

        def __getattr__(self, name: str) -> Any:
            return getattr(self._raw, name)

    connection = connection_to(postgresql)
    with PostgreSQLEngine(connection) as engine:
        connection._raw = Pooled(connection._raw)  # type: ignore[assignment]
        for _ in range(2):
            assert connection._bounded((1000, 1000)) is None
            assert limits(engine) == ("0", "0")
    assert not connection.is_connected()


def test_limits_have_to_be_some(postgresql: PostgreSQL) -> None:
    with pytest.raises(ConfigurationError, match="lock_timeout_seconds=0: expected more than 0"):
        PostgreSQLEngine(connection_to(postgresql), lock_timeout_seconds=0)
