"""The chapter of the database: a PostgreSQL under load, with a session that blocks others, and ``gds watch`` on it.

The server is made for it in a temporary folder, listens on a Unix socket in there, and is taken away at the end. Where
none is installed the engine in memory plays it.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from gds_cli._options import line
from gds_cli.demo.server import Postgres, find_postgres
from gds_cli.demo.sessions import MemoryLoad, PostgresLoad
from gds_cli.live.layout import BAD, GOOD, clean, rate
from gds_cli.live.show import Ending, how
from gds_cli.live.sources import quiet
from gds_cli.watch.source import EngineSource, open_source
from gds_cli.watch.ui import Ui
from gds_database import DatabaseConnectionError, QueryError
from gds_database.testing import InMemoryConnection, InMemoryEngine, InMemoryServer

if TYPE_CHECKING:
    from pathlib import Path

    from gds_cli.watch.picture import Picture, Session
    from gds_cli.watch.source import WatchSource

__all__ = ["Verdict", "run"]

INTERVAL_SECONDS = 0.5


class Seen:
    """A source, and whether what it told has the session that was blocked with the one that blocked it."""

    def __init__(self, source: WatchSource, blocked: Any) -> None:
        self._source, self._blocked = source, blocked
        self.name, self.interval_seconds = source.name, INTERVAL_SECONDS
        self.version = ""
        self.readings = 0
        self.blocked = 0
        """Readings that had it."""

    def read(self) -> Picture:
        """As the source."""
        picture = self._source.read()
        waiter, holder = self._blocked()
        self.version = picture.version
        self.readings += 1
        self.blocked += any(each.id == waiter and holder in each.blocked_by for each in picture.sessions)
        return picture

    def end(self, session: Session, *, cancel: bool) -> str:
        """As the source."""
        return self._source.end(session, cancel=cancel)

    def close(self) -> None:
        """As the source."""
        self._source.close()


class Verdict(NamedTuple):
    """What there is to say at the end."""

    server: str
    seconds: float
    ended_early: bool
    transactions: int
    blocks: int
    """How often the program had a session wait for another one."""
    readings: int
    readings_blocked: int
    defects: list[str]
    left_behind: list[str]

    @property
    def agree(self) -> bool:
        """Whether the view had what the program did, and nothing went wrong."""
        seen = self.readings_blocked > 0 or self.ended_early
        return seen and not self.defects and not self.left_behind


def run(seconds: float, *, no_tui: bool, as_json: bool) -> int:
    """Play it; the exit code."""
    threads = set(threading.enumerate())
    manner = how(as_json, no_tui)
    if manner == "live" and not sys.stdin.isatty():
        manner = "lines"
    try:
        with quiet("gds_database"), Ending() as ending, ExitStack() as stack:
            verdict, folder = _play(seconds, manner, ending, stack)
    except (DatabaseConnectionError, QueryError) as error:
        print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    left = sorted(each.name for each in set(threading.enumerate()) - threads if each.name.startswith("gds-demo"))
    left += [str(folder)] if folder is not None and folder.exists() else []
    verdict = verdict._replace(left_behind=[*verdict.left_behind, *left])
    if as_json:
        line({"summary": {**verdict._asdict(), "agree": verdict.agree}})
    else:
        _show(verdict)
    return 0 if verdict.agree else 1


def _play(seconds: float, manner: str, ending: Ending, stack: ExitStack) -> tuple[Verdict, Path | None]:
    folder: Path | None = None
    found = find_postgres()
    load: PostgresLoad | MemoryLoad
    source: WatchSource
    if found is None:
        name = "the engine in memory: no PostgreSQL is installed here"
        memory = InMemoryServer()
        load = MemoryLoad(memory)
        source = EngineSource(InMemoryEngine(InMemoryConnection(memory)), "memory")
    else:
        if manner != "json":
            print(f"a PostgreSQL of {found} is made in a temporary folder ...", flush=True)
        server = Postgres(found, ending)
        server.start()
        folder = server.folder
        name = "PostgreSQL"
        if not server.running:  # somebody has had enough before it began
            return Verdict(name, 0.0, True, 0, 0, 0, 0, [], []), folder
        if manner != "json":
            print(f"watched as by: gds watch '{server.address}'\n", flush=True)
        load = PostgresLoad(server.address)
        source = open_source(server.address)
    seen = Seen(source, lambda: load.blocked)
    stack.callback(seen.close)
    stack.callback(load.stop)
    load.start()
    start = time.monotonic()
    if manner == "live":
        from gds_cli.watch.screen import watch_live

        watch_live(seen, Ui(interval_seconds=INTERVAL_SECONDS), ending, seconds)
    else:
        _each_second(seen, manner, ending, seconds)
    lasted = time.monotonic() - start
    load.stop()
    early = ending.asked.is_set() or not seconds or lasted < seconds
    name = name if found is None else f"PostgreSQL {seen.version}"
    counts = (load.transactions, load.blocks, seen.readings, seen.blocked)
    return Verdict(name, lasted, early, *counts, load.defects, []), folder


def _each_second(source: Seen, manner: str, ending: Ending, seconds: float) -> None:
    begin = time.monotonic()
    while not ending.asked.is_set() and (not seconds or time.monotonic() < begin + seconds):
        picture = source.read()
        if manner == "json":
            line({"elapsed": round(time.monotonic() - begin, 3), **picture.as_json()})
        else:
            print(_one_line(picture, time.monotonic() - begin), flush=True)
        ending.asked.wait(1.0)


def _one_line(picture: Picture, elapsed_seconds: float) -> str:
    numbers = {each.name: each.value for each in picture.numbers}
    parts = [f"{elapsed_seconds:6.1f} s", f"{sum(1 for each in picture.sessions if each.running)} active"]
    if "commits" in numbers:
        parts.append(f"commits {rate(numbers['commits'])}")
    parts += [
        f"{each.id} is blocked by {', '.join(each.blocked_by)}: {each.statement[:60]}"
        for each in picture.sessions
        if each.blocked_by
    ]
    return clean("  ".join(parts))


def _show(verdict: Verdict) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    early = ", ended early" if verdict.ended_early else ""
    console.print()
    console.print(f"  {verdict.server}", markup=False)
    console.print(
        f"  {verdict.transactions:,} transactions in {verdict.seconds:.1f} s{early}. {verdict.blocks:,} times a "
        f"session was blocked; {verdict.readings_blocked:,} of {verdict.readings:,} readings had it with its blocker."
    )
    for each in (*verdict.defects, *(f"still there: {left}" for left in verdict.left_behind)):
        console.print(f"  went wrong: {each}", style=BAD, markup=False)
    if verdict.agree:
        seen = "What was blocked was seen, and nothing" if verdict.readings_blocked else "Nothing"
        console.print(f"  {seen} is left behind.", style=GOOD)
    else:
        console.print("  A session was blocked and not seen, or something went wrong: see above.", style=BAD)
