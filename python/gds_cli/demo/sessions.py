"""What the demo's database has to do: clients that work, one that keeps a row for itself, one that waits for it."""

from __future__ import annotations

import itertools
import random
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from gds_cli.demo.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_database.testing import InMemoryServer

__all__ = ["MemoryLoad", "PostgresLoad"]

CLIENTS, ROWS = 3, 10_000
HOLD_SECONDS, FREE_SECONDS, PAUSE_SECONDS = 3.0, 1.0, 0.02
_SET_UP = (
    "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, note text NOT NULL)",
    f"INSERT INTO accounts SELECT n, 100, repeat('x', 100) FROM generate_series(1, {ROWS}) n",  # noqa: S608
    "CREATE TABLE payments (id serial PRIMARY KEY, account int NOT NULL, amount int NOT NULL)",
)


class _Load(Threads):
    """Sessions that are in each other's way, and what became of them."""

    def __init__(self, plays: list[Callable[[], None]]) -> None:
        super().__init__(plays, "gds-demo-session")
        self.transactions = 0
        self.blocks = 0
        """How often a session was made to wait for another one."""
        self.blocked: tuple[str, str] = ("", "")
        """Who waits, and for whom."""


class PostgresLoad(_Load):
    """Payments among accounts, at a server's address, as several clients."""

    def __init__(self, address: str) -> None:
        self._address = address
        with closing(self._connect("set up")) as session:
            for statement in _SET_UP:
                session.execute_query(statement)
            if session.execute_query(
                "SELECT 1 FROM pg_settings, pg_available_extensions e "
                "WHERE pg_settings.name = 'pg_stat_statements.max' AND e.name = 'pg_stat_statements'"
            ):
                session.execute_query("CREATE EXTENSION pg_stat_statements")
        self._held, self._free = threading.Event(), threading.Event()
        super().__init__([*(self._pay(number) for number in range(CLIENTS)), self._hold, self._wait])

    def _connect(self, application: str) -> Any:
        from gds_database.engines.postgresql import PostgreSQLConnection

        connection = PostgreSQLConnection(connection_url=self._address, application_name=f"demo {application}")
        connection.initialize()
        connection.close = connection.disconnect  # type: ignore[attr-defined]
        return connection

    def _pay(self, number: int) -> Callable[[], None]:
        def play() -> None:
            chance = random.Random(number)  # noqa: S311 - a mix of accounts, not a secret
            with closing(self._connect("shop")) as session:
                while not self._stop.wait(chance.uniform(0, 2 * PAUSE_SECONDS)):
                    account = chance.randint(2, ROWS)
                    session.begin_transaction()
                    session.execute_query("SELECT balance FROM accounts WHERE id = %s", (account,))
                    session.execute_query("UPDATE accounts SET balance = balance - 1 WHERE id = %s", (account,))
                    session.execute_query("INSERT INTO payments (account, amount) VALUES (%s, 1)", (account,))
                    session.commit()
                    self.transactions += 1
                    if not self.transactions % 100:
                        session.execute_query("SELECT count(*), sum(balance) FROM accounts WHERE note LIKE '%y%'")

        return play

    def _hold(self) -> None:
        """Take a row for a while: an application that asks its user something within a transaction."""
        with closing(self._connect("report")) as session:
            while not self._stop.is_set():
                session.begin_transaction()
                (row,) = session.execute_query("SELECT pg_backend_pid() FROM accounts WHERE id = 1 FOR UPDATE")
                self.blocked = (self.blocked[0], str(row[0]))
                self._held.set()
                self._stop.wait(HOLD_SECONDS)
                self._held.clear()
                session.commit()
                self._stop.wait(FREE_SECONDS)

    def _wait(self) -> None:
        with closing(self._connect("checkout")) as session:
            (row,) = session.execute_query("SELECT pg_backend_pid()")
            self.blocked = (str(row[0]), self.blocked[1])
            while not self._stop.is_set():
                if self._held.wait(0.1) and not self._stop.is_set():
                    self.blocks += 1
                    session.execute_query("UPDATE accounts SET balance = balance + 1 WHERE id = 1")
                    self.transactions += 1


class MemoryLoad(_Load):
    """The same for an engine in memory, whose sessions are what it is told they are."""

    def __init__(self, server: InMemoryServer) -> None:
        self._server = server
        server.databases["shop"] = {"accounts": ROWS}
        super().__init__([self._play])
        self.blocked = ("21", "20")

    def _play(self) -> None:
        begin = time.monotonic()
        for step in itertools.count():
            is_held = step % 4 < 3
            self.blocks += step % 4 == 0
            self.transactions += CLIENTS
            now = time.monotonic() - begin
            held = {"seconds": now % (HOLD_SECONDS + FREE_SECONDS), "blocked_by": ["20"], "wait": "lock"}
            self._server.processes[:] = [
                *(self._session(number, "shop", "UPDATE accounts", seconds=0.01) for number in range(CLIENTS)),
                self._session(20, "report", "SELECT ... FOR UPDATE", seconds=now),
                *([self._session(21, "checkout", "UPDATE accounts", **held)] if is_held else []),
            ]
            if self._stop.wait(1.0):
                return

    def _session(self, number: int, user: str, statement: str, **more: Any) -> dict[str, Any]:
        return {"id": str(number), "user": user, "database": "shop", "state": "active", "statement": statement, **more}
