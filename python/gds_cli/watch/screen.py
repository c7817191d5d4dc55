"""A terminal: its keys, its size, and what is drawn on it."""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_cli.watch.view import render
from gds_cli.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from gds_cli.live.show import Ending
    from gds_cli.watch.source import WatchSource
    from gds_cli.watch.ui import Request, Ui

__all__ = ["Keys", "Terminal", "watch_live"]

JOIN_SECONDS = 5.0
ESCAPE_SECONDS = 0.05
"""How long what follows an escape may be on its way, so that it is no key of its own."""

_MOVES = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "Z": "back-tab"}
_NAMES = {
    **{f"\x1b{kind}{letter}": name for letter, name in _MOVES.items() for kind in "[O"},
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b[5~": "page-up",
    "\x1b[6~": "page-down",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x03": "ctrl-c",
    # F1 to F8 are the views, as elsewhere.
    **{f"\x1bO{letter}": str(number) for number, letter in enumerate("PQRS", 1)},
    **{f"\x1b[{code}~": str(number) for number, code in enumerate((11, 12, 13, 14, 15, 17, 18, 19), 1)},
}


class Keys:
    """Bytes of a terminal as names of keys."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._rest = ""

    @property
    def waiting(self) -> bool:
        """Whether the last one may go on."""
        return bool(self._rest)

    def feed(self, given: bytes) -> Iterator[str]:
        """The keys that are whole with these bytes."""
        self._rest += self._decoder.decode(given)
        while self._rest:
            size = self._size()
            if size is None:
                return
            text, self._rest = self._rest[:size], self._rest[size:]
            name = _NAMES.get(text, text if len(text) == 1 and text.isprintable() else "")
            if name:
                yield name

    def end(self) -> Iterator[str]:
        """Nothing follows: what there is, is a key."""
        text, self._rest = self._rest, ""
        if text.startswith("\x1b"):
            yield "escape"

    def _size(self) -> int | None:
        """How long the first one is; None if it goes on."""
        if not self._rest.startswith("\x1b"):
            return 1
        if len(self._rest) == 1:
            return None
        if self._rest[1] not in "[O":
            return 1
        for index, each in enumerate(self._rest[2:], 2):
            if "@" <= each <= "~":
                return index + 1
        return None


class Terminal:
    """Standard input key by key, and something that wakes whoever waits for keys."""

    def __init__(self) -> None:
        self._keys = Keys()
        self._input = sys.stdin.fileno()
        self._woken, self._waker = os.pipe()

    def __enter__(self) -> Self:
        for each in (self._woken, self._waker):
            os.set_blocking(each, False)
        self._before: Any = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        changed: Any = termios.tcgetattr(self._input)
        # Stopped by Ctrl-Z it would leave a terminal that shows nothing one types.
        changed[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(self._input, termios.TCSANOW, changed)
        self._resized: Any = signal.signal(signal.SIGWINCH, lambda *_: None)
        self._wakeup = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGWINCH, self._resized)
        with suppress(termios.error):  # it has been closed
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        os.close(self._woken)
        waker, self._waker = self._waker, -1
        os.close(waker)

    def wake(self) -> None:
        """End a wait for keys; from any thread."""
        with suppress(OSError):  # it is full, so somebody will wake, or it is the end
            os.write(self._waker, b"\0")

    def keys(self, seconds: float) -> list[str]:
        """Keys that were pressed; none after that time, after `wake`, and after a signal."""
        ready, _, _ = select.select(
            [self._input, self._woken], [], [], ESCAPE_SECONDS if self._keys.waiting else max(0.0, seconds)
        )
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if self._input in ready:
            given = os.read(self._input, 1024)
            # A terminal that is gone says so with nothing at all.
            return list(self._keys.feed(given)) if given else ["ctrl-c"]
        return list(self._keys.end()) if self._keys.waiting and not ready else []


def watch_live(source: WatchSource, ui: Ui, ending: Ending, seconds: float) -> int:
    """Draw until somebody has seen enough.

    Args:
        source: What is watched.
        ui: What is chosen at first.
        ending: Signals that end it.
        seconds: How long; 0 is without end.

    Returns:
        The exit code: 1 if the server never answered.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout, highlight=False)
    end = time.monotonic() + seconds if seconds else None
    with Terminal() as terminal:
        watcher = Watcher(source, ui.interval_seconds, terminal.wake)

        def frame() -> Any:
            width, height = console.size
            return render(watcher.picture, ui, watcher.away, source.name, width, height)

        watcher.start()
        try:
            with Live(frame(), console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
                live.refresh()
                while _goes_on(watcher, ending, end):
                    left = 1.0 if end is None else min(1.0, end - time.monotonic())
                    for key in terminal.keys(left if watcher.away or end else 60.0):
                        request = ui.press(key, watcher.picture)
                        if request is not None and not _done(request, watcher, ui):
                            return 0
                    if (said := watcher.said()) is not None:
                        ui.say(said[0], trouble=said[1])
                    live.update(frame(), refresh=True)
        finally:
            watcher.stop()
            watcher.join(JOIN_SECONDS)
    if watcher.picture is None and watcher.error and not ending.asked.is_set():
        print(f"gds: {watcher.error}", file=sys.stderr)
        return 1
    return 0


def _goes_on(watcher: Watcher, ending: Ending, end: float | None) -> bool:
    if ending.asked.is_set() or (end is not None and time.monotonic() >= end):
        return False
    # Who has never been reached was perhaps never meant: a wrong port, a wrong password.
    return watcher.picture is not None or not watcher.error


def _done(request: Request, watcher: Watcher, ui: Ui) -> bool:
    """Pass on what is wanted; whether to go on."""
    if request.kind == "quit":
        return False
    if request.kind == "refresh":
        watcher.refresh()
    elif request.kind in ("pause", "interval"):
        watcher.pace(ui.interval_seconds, paused=ui.paused)
    else:
        watcher.end(request)
    return True
