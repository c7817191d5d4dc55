"""Runs one statement on whatever connection there is: bounded, read-only where it reads, kept where it changes.

Between transactions, a statement that reads has a read-only transaction of its own, and one that changes has one that
is committed. Within a transaction of the program, reading happens under a savepoint that is undone, so that the
transaction is as it was; a change is refused if the transaction has changed something itself, which it would keep or
lose, and else ends it first. Where there is no driver to be found, statements go through ``execute_query``, with limits
that are set before and put back after it.

In a session of ours that nobody but engines uses, limits and read-only are settings of the session, so that reading is
one round trip. They are put back before the program runs something there itself, or gets the driver's own object.

A statement that PostgreSQL runs only outside of transactions (``CREATE DATABASE``) is run so, and the connection is put
back as it was.
"""

from __future__ import annotations

import functools
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gds_database.base import DatabaseConnectionError, QueryError
from gds_database.engines._deadlines import TookTooLong, within
from gds_database.engines._rows import Rows, dicts, driver_object
from gds_database.engines.postgresql.connection import READ_ONLY, PostgreSQLConnection, is_pooled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gds_database.base import DatabaseConnection

__all__ = ["GRACE_SECONDS", "READ_ONLY", "Sql", "driver_connection", "limits", "run", "set_local"]

GRACE_SECONDS = 5.0
"""How much longer than the server is allowed it may take until its answer is here."""

_IDLE, _IN_TRANSACTION, _FAILED = 0, 2, 3


class Sql:
    """A statement and how it is to be run.

    Args:
        text: As it is sent.
        changes: Whether it does more than to read.
        alone: Whether PostgreSQL refuses it within a transaction.
    """

    __slots__ = ("alone", "changes", "text")

    def __init__(self, text: str, *, changes: bool = True, alone: bool = False) -> None:
        self.text = text
        self.changes = changes
        self.alone = alone

    def __str__(self) -> str:
        return self.text


def driver_connection(connection: DatabaseConnection) -> Any | None:
    """The connection of psycopg, 3 or 2, behind another one; None if there is none."""
    if isinstance(connection, PostgreSQLConnection):
        return connection._raw
    return driver_object(connection, "cursor", "info", "autocommit", "fileno")


def run(
    connection: DatabaseConnection,
    statement: Sql | str,
    params: tuple[Any, ...] | None,
    *,
    timeout_seconds: float,
    lock_timeout_seconds: float,
) -> list[dict[str, Any]] | Rows:
    """Run it; the rows.

    Args:
        connection: Any.
        statement: Text alone reads.
        params: Values that the driver binds.
        timeout_seconds: After it the server ends the statement; some seconds later the connection is given up.
        lock_timeout_seconds: How long it may wait for a lock.

    Raises:
        DatabaseConnectionError: The server has gone silent, so the connection was closed.
        QueryError: The transaction of the connection is in the way.
    """
    raw = driver_connection(connection)
    bounds = limits(timeout_seconds, lock_timeout_seconds)
    if raw is None:
        return _by_query(connection, _sql(statement), params, bounds)
    by: Callable[..., list[dict[str, Any]] | Rows] = _by_driver
    of = raw
    if isinstance(connection, PostgreSQLConnection):
        by, of = _by_ours, connection
    try:
        return within(timeout_seconds + GRACE_SECONDS, lambda: _hang_up(raw), by, of, statement, params, bounds)
    except TookTooLong:
        pass
    with suppress(Exception):
        raw.close()
    raise DatabaseConnectionError(
        f"the server was silent for {timeout_seconds + GRACE_SECONDS:g} s, so the connection was closed; "
        "look at the network between here and there"
    )


def _sql(statement: Sql | str) -> Sql:
    return Sql(statement, changes=False) if isinstance(statement, str) else statement


def _hang_up(raw: Any) -> None:
    """Whoever reads from its socket sees the end of it; the driver closes it."""
    with socket.socket(fileno=os.dup(raw.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


@functools.lru_cache(maxsize=64)
def limits(timeout_seconds: float, lock_timeout_seconds: float) -> tuple[int, int]:
    """Of statements and of locks, in milliseconds as the server takes them."""
    return _milliseconds(timeout_seconds), _milliseconds(min(lock_timeout_seconds, timeout_seconds))


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


# ------------------------------------------------------------------ with a connection of ours
def _by_ours(
    connection: PostgreSQLConnection,
    statement: Sql | str,
    params: tuple[Any, ...] | None,
    limits: tuple[int, int],
) -> list[dict[str, Any]] | Rows:
    """One round trip where the session is the engine's alone."""
    with connection._lock:
        if isinstance(statement, str):
            bounded = connection._bounded(limits)
            if bounded is not None:
                cursor = bounded.execute(statement, params)
                rows = Rows(cursor.fetchall())
                rows.cursor = cursor
                return rows
        elif statement.changes:
            connection._own()
        return _by_driver(connection._raw, statement, params, limits)


# ------------------------------------------------------------------ with a driver
def _by_driver(
    raw: Any, statement: Sql | str, params: tuple[Any, ...] | None, limits: tuple[int, int]
) -> list[dict[str, Any]]:
    if raw is None or raw.closed:
        raise DatabaseConnectionError("the connection is closed; connect() opens it again")
    statement = _sql(statement)
    status = raw.info.transaction_status
    if status == _FAILED:
        raise QueryError("the connection is in a transaction that has failed; roll it back first")
    if status == _IN_TRANSACTION:
        if not statement.changes:
            with _savepoint(raw, limits):
                return _rows(raw, statement.text, params)
        _end_without_changes(raw)
    around = _outside if statement.alone else _transaction
    with around(raw, statement, limits):
        return _rows(raw, statement.text, params)


def _rows(raw: Any, text: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
    # A statement that psycopg 3 prepares stays in the session; behind a pool the next one may be another session.
    unprepared = {"prepare": False} if hasattr(raw, "prepare_threshold") else {}
    with raw.cursor() as cursor:
        cursor.execute(text, params, **unprepared)
        return dicts(cursor)


@contextmanager
def _transaction(raw: Any, statement: Sql, limits: tuple[int, int]) -> Iterator[None]:
    autocommit = raw.autocommit
    # What changes a standby, to promote it say, would be refused in a transaction that is said to write.
    begin = ["BEGIN"] if autocommit else []
    if not statement.changes:
        begin.append("SET TRANSACTION READ ONLY")
    try:
        _rows(raw, "; ".join([*begin, set_local(limits)]))
        yield
        if autocommit:
            _rows(raw, "COMMIT")
        else:
            raw.commit()
    except BaseException:
        with suppress(Exception):  # the connection may be gone
            if autocommit and raw.info.transaction_status != _IDLE:
                _rows(raw, "ROLLBACK")
            raw.rollback()
        raise


@contextmanager
def _savepoint(raw: Any, limits: tuple[int, int]) -> Iterator[None]:
    _rows(raw, f"SAVEPOINT gds_database; {set_local(limits)}")
    try:
        yield
    finally:
        with suppress(Exception):
            # The limits were set after it, so this undoes them as well.
            _rows(raw, "ROLLBACK TO SAVEPOINT gds_database; RELEASE SAVEPOINT gds_database")


@contextmanager
def _outside(raw: Any, statement: Sql, limits: tuple[int, int]) -> Iterator[None]:
    del statement
    autocommit = raw.autocommit
    if not autocommit:
        raw.autocommit = True
    try:
        (before,) = _rows(raw, _ASK)
        if is_pooled(raw, before["process"]):
            yield  # with the limits that the pool has
            return
        _rows(raw, _SET, tuple(map(str, limits)))
        try:
            yield
        finally:
            with suppress(Exception):
                _rows(raw, _SET, (before["statement"], before["lock"]))
    finally:
        if not autocommit:
            with suppress(Exception):
                raw.autocommit = False


def _end_without_changes(raw: Any) -> None:
    ((assigned),) = _rows(raw, "SELECT txid_current_if_assigned() IS NOT NULL AS changed")
    if assigned["changed"]:
        raise QueryError(
            "the connection is in a transaction with changes that are not committed; commit it or roll it back first"
        )
    raw.rollback()
    if raw.info.transaction_status != _IDLE:  # begun by a statement, on a connection in autocommit
        _rows(raw, "ROLLBACK")


def set_local(limits: tuple[int, int]) -> str:
    """The statements that set limits for a transaction."""
    return f"SET LOCAL statement_timeout = {limits[0]}; SET LOCAL lock_timeout = {limits[1]}"


_ASK = (
    "SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock, "
    "pg_backend_pid() AS process"
)
_SET = "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)"


# ------------------------------------------------------------------ without one
def _by_query(
    connection: DatabaseConnection, statement: Sql, params: tuple[Any, ...] | None, limits: tuple[int, int]
) -> list[dict[str, Any]]:
    ask = getattr(connection, "execute_query_dict", None) or connection.execute_query
    (before,) = dicts(ask(_ASK), ("statement", "lock", "process"))
    ask(_SET, tuple(map(str, limits)))
    commit = getattr(connection, "commit", None)
    try:
        found = ask(statement.text, params) if params else ask(statement.text)
        if statement.changes and commit is not None:
            commit()
    finally:
        with suppress(Exception):
            ask(_SET, (before["statement"], before["lock"]))
    # Rows without names are for the caller to name.
    return found if isinstance(found, list) else dicts(found)
