"""What the tests of `gds watch` share: a picture of everything, and a terminal to watch it on."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console

from gds_cli.watch.picture import (
    Lock,
    Measure,
    Number,
    Picture,
    Progress,
    Replica,
    Session,
    Space,
    Statement,
    Wait,
)
from gds_cli.watch.ui import Ui
from gds_cli.watch.view import Away, render
from tests.cli.commands import COMMAND, TIMEOUT_SECONDS, clean_environment

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")

SESSIONS = (
    Session(
        "100",
        "shop",
        "orders",
        "idle in transaction",
        "UPDATE stock SET left = left - 1 WHERE id = 7",
        transaction_seconds=125.0,
        connected_seconds=4000.0,
        client="10.0.0.1:5000",
        application="批处理",
        wait="Client:ClientRead",
    ),
    Session(
        "101",
        "web",
        "orders",
        "active",
        "UPDATE stock\n   SET left = left - 2\n WHERE id = 7",
        seconds=61.0,
        transaction_seconds=61.0,
        connected_seconds=90.0,
        client="10.0.0.2:5000",
        application="web-1",
        wait="Lock:transactionid",
        blocked_by=("100",),
        lock=Lock("ShareLock", "transaction 4711"),
    ),
    Session(
        "102",
        "web",
        "orders",
        "active",
        "UPDATE stock SET left = 0 WHERE id = 7",
        seconds=3.0,
        transaction_seconds=3.0,
        wait="Lock:tuple",
        blocked_by=("101",),
        lock=Lock("ExclusiveLock", "stock"),
    ),
    Session("103", "report", "orders", "active", "SELECT * FROM orders", seconds=12.5, wait="IO:DataFileRead"),
    Session("104", "web", "orders", "idle", "COMMIT", connected_seconds=8.0),
    Session("10", kind="checkpointer", background=True, wait="Activity:CheckpointerMain"),
    Session("105", "dba", "orders", "active", "SELECT", seconds=0.0, own=True),
)


def picture(**changes: object) -> Picture:
    """One that has something in every part."""
    parts: dict[str, object] = {
        "at": 1e9,
        "system": "postgresql",
        "name": "db1.example.org:5432/orders",
        "version": "15.20",
        "role": "primary",
        "uptime_seconds": 200_000.0,
        "readings": 2,
        "max_sessions": 100,
        "numbers": (
            Number("commits", 1234.5, "/s"),
            Number("cache hits", 99.25, "%"),
            Number("WAL", 2_500_000.0, "By/s"),
            Number("deadlocks", 1.0, trouble=True),
            Number("size", None, "By"),
        ),
        "sessions": SESSIONS,
        "statements": (
            Statement(
                "1", "SELECT * FROM orders WHERE id = $1", "orders", 1e6, 500.0, 1e6, 10, 990, 100.0, 0.05, 100.0
            ),
            Statement("2", "UPDATE stock SET left = left - $1", "orders", 10, 1.0, 10, 0, 0, 0.0, 0.0, 0.0),
        ),
        "replicas": (Replica("standby1", "standby", "streaming", "async", 0.4, 123_456, "10.0.0.3"),),
        "space": (
            Space("database", "orders", 5e9, 1e6),
            Space("table", "public.orders", 4e9, None, 1e7, 9e6, 7200.0, 12),
            Space("table", "public.stock", None, None, 5.0, 0.0),
        ),
        "waits": (Wait("Lock:transactionid", 1, 1.0), Wait("IO:DataFileRead", 1, 0.25)),
        "progress": (Progress("200", "VACUUM", "public.orders", "scanning heap", 0.25),),
        "measures": (Measure("postgresql.backends", {"db.namespace": "orders"}, 7.0, "1"),),
        "tells": frozenset(
            ("activity", "blocking", "waits", "statements", "replication", "space", "progress", "metrics", "alerts")
        ),
    }
    return Picture(**{**parts, **changes})  # type: ignore[arg-type]


def drawn(shown: Picture | None, ui: Ui, width: int, height: int, away: Away | None = None) -> list[str]:
    """The lines of a terminal of that size, without colours."""
    out = io.StringIO()
    settings = {"TERM": "xterm-256color"}
    console = Console(file=out, width=width, height=height, force_terminal=True, _environ=settings)
    console.print(render(shown, ui, away, "db1", width, height), end="")
    lines = ESCAPES.sub("", out.getvalue()).split("\n")
    return [line.rstrip() for line in (lines[:-1] if lines[-1] == "" else lines)]


def column_of(line: str, word: str) -> int:
    """At which cell a word begins."""
    return cell_len(line[: line.index(word)])


class Watched:
    """`gds watch` on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process, self._terminal = process, terminal
        self.seen = ""
        """All that was drawn, without what moves the cursor and colours."""

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def resize(self, width: int, height: int) -> None:
        """Make the terminal another size; whoever draws on it is told."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def wait_for(self, *words: str, after: int = 0, until: Callable[[], bool] | None = None) -> int:
        """Wait until all of that was drawn behind a place; how much was drawn then."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while not all(word in self.seen[after:] for word in words) or (until is not None and not until()):
            left = end - time.monotonic()
            assert left > 0, f"{words} was not drawn: {self.seen[after:][-4000:]}"
            if select.select([self._terminal], [], [], min(left, 0.5))[0]:
                try:
                    given = os.read(self._terminal, 65536)
                except OSError:  # it has ended
                    given = b""
                assert given, f"it ended before {words} was drawn: {self.seen[after:][-4000:]}"
                self._raw = getattr(self, "_raw", b"") + given
                text = self._raw.decode("utf-8", "ignore")
                self.seen = ESCAPES.sub("", text)
        return len(self.seen)

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            # What it draws has to go somewhere.
            if select.select([self._terminal], [], [], 0.1)[0]:
                try:
                    os.read(self._terminal, 65536)
                except OSError:
                    break
        return self.process.wait(TIMEOUT_SECONDS)


@contextmanager
def watched(
    *arguments: object, command: tuple[str, ...] = ("watch",), width: int = 120, height: int = 40, **variables: str
) -> Iterator[Watched]:
    """Start it; ended for good where a test gives up."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    environment = clean_environment({"TERM": "xterm-256color", **variables})
    del environment["COLUMNS"]

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        with subprocess.Popen(
            [*COMMAND, *command, *map(str, arguments)],
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            preexec_fn=own_terminal,  # noqa: PLW1509 - nothing else runs in this process
        ) as process:
            os.close(inner)
            inner = -1
            try:
                yield Watched(process, outer)
            finally:
                process.kill()
    finally:
        os.close(outer)
        if inner >= 0:
            os.close(inner)
