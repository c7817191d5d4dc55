"""Shows a model until the time is up or somebody ends it: live, in lines, or as JSON."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from gds_cli._options import line
from gds_cli.live.view import Heading, plain, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import TypeAlias

    from typing_extensions import Self

    from gds_cli.live.model import Model

    How: TypeAlias = Literal["live", "lines", "json"]

__all__ = ["Ending", "how", "show"]

FRAMES_PER_SECOND = 4
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Ctrl-C, and signals that end a program, as something to wait for; the second one is a KeyboardInterrupt.

    There is no other one: whoever puts things away after it does so in a moment, and is not to be cut short again. What
    must not stay behind whatever happens is put away by ``at_last``: the KeyboardInterrupt may come just when a
    ``finally`` has begun, and does not come there.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hurried = False
        """Whether it was asked for a second time: nothing is to be waited for any more."""
        self._before: list[tuple[signal.Signals, Any]] = []
        self._last: list[Callable[[], object]] = []
        self._over = False

    def at_last(self, put_away: Callable[[], object]) -> None:
        """Have something called when all else is over, the last one first; signals only set ``hurried`` then."""
        self._last.append(put_away)

    @contextmanager
    def as_a_whole(self) -> Iterator[None]:
        """The KeyboardInterrupt, where it falls into this, comes at its end."""
        hurried, self._over = self.hurried, True
        try:
            yield
        finally:
            self._over = False
        if self.hurried and not hurried:
            raise KeyboardInterrupt

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if not self.asked.is_set():
            self.asked.set()
        elif not self.hurried:
            self.hurried = True
            if not self._over:
                raise KeyboardInterrupt

    def __enter__(self) -> Self:
        # Elsewhere signals cannot be had, and whoever runs us there ends us in another way.
        if threading.current_thread() is threading.main_thread():
            self._before = [(each, signal.signal(each, self._heard)) for each in SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        try:
            for put_away in reversed(self._last):
                put_away()
        finally:
            for each, before in self._before:
                signal.signal(each, before)


def how(as_json: bool, no_tui: bool) -> How:
    """What suits standard output."""
    if as_json:
        return "json"
    dumb = not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    return "lines" if no_tui or dumb else "live"


def show(
    model: Model,
    manner: How,
    ending: Ending,
    heading: Callable[[], Heading],
    seconds: float = 0.0,
) -> float:
    """Show it until the time is up, or the ending is asked for; how long that was.

    Args:
        model: What is shown.
        manner: ``live`` draws on the terminal, ``lines`` and ``json`` say something each second.
        ending: Whether somebody wants an end.
        heading: What stands above, asked for each time.
        seconds: How long; 0 is without end.
    """
    begin = time.monotonic()
    if manner == "live":
        _live(model, ending, heading, begin, seconds)
    else:
        _each_second(model, manner, ending, heading, begin, seconds)
    return time.monotonic() - begin


def _over(ending: Ending, begin: float, seconds: float, pause: float) -> bool:
    left = begin + seconds - time.monotonic() if seconds else pause
    return ending.asked.wait(max(0.0, min(pause, left))) or (seconds > 0 and left <= pause)


def _live(model: Model, ending: Ending, heading: Callable[[], Heading], begin: float, seconds: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout)

    def frame() -> Any:
        width, height = console.size
        return render(model.snapshot(time.monotonic() - begin), heading(), width, height)

    with Live(frame(), console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while not _over(ending, begin, seconds, 1 / FRAMES_PER_SECOND):
            live.update(frame(), refresh=True)


def _each_second(
    model: Model, manner: How, ending: Ending, heading: Callable[[], Heading], begin: float, seconds: float
) -> None:
    seen, over = 0, False
    while not over:
        over = _over(ending, begin, seconds, 1.0)
        shown = model.snapshot(time.monotonic() - begin)
        above = heading()
        if manner == "json":
            happening = {"happening": above.happening} if above.happening else {}
            line({"timestamp": round(time.time(), 3)} | happening | shown.as_json(seen))
        else:
            print("\n".join(plain(shown, above, seen)), flush=True)
        seen = max((each.number for each in shown.logs), default=seen)
