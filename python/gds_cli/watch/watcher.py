"""The thread that asks: one thing after the other, at its pace, and never while it is paused."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, Queue
from typing import TYPE_CHECKING, Literal, NamedTuple

from gds_cli.live.sources import described
from gds_cli.watch.view import Away

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_cli.watch.picture import Picture
    from gds_cli.watch.source import WatchSource
    from gds_cli.watch.ui import Request

__all__ = ["Watcher"]

LONGEST_PAUSE_SECONDS = 10.0
"""How far apart attempts get while the server is away: a login that is refused is not to be locked for it."""


class _Order(NamedTuple):
    kind: Literal["stop", "read", "pace", "end"]
    request: Request | None = None


class Watcher(threading.Thread):
    """Reads a source until it is told to stop.

    Args:
        source: What is read; it is used and closed by this thread alone.
        interval_seconds: From one reading to the next. One that would be late is left out.
        changed: Called after each reading, and after whatever else there is to show.
    """

    def __init__(self, source: WatchSource, interval_seconds: float, changed: Callable[[], None]) -> None:
        super().__init__(name="gds-watch", daemon=True)
        self._source, self._changed = source, changed
        self._interval_seconds, self._paused = interval_seconds, False
        # Not a SimpleQueue: of CPython 3.10 that one waits for ever when its time is up before it has looked.
        self._orders: Queue[_Order] = Queue()
        self._said: deque[tuple[str, bool]] = deque()
        self._failures = 0
        self._lost_at: float | None = None
        self.picture: Picture | None = None
        """The last reading."""
        self.error = ""
        """Why the server does not answer; empty while it does."""

    # ------------------------------------------------------------------ for others
    @property
    def away(self) -> Away | None:
        """That the server does not answer; None while it does."""
        lost = self._lost_at
        return None if lost is None else Away(time.monotonic() - lost, self.error)

    def refresh(self) -> None:
        """Read now."""
        self._orders.put(_Order("read"))

    def pace(self, interval_seconds: float, *, paused: bool) -> None:
        """Read at another pace from now on, or not at all."""
        self._interval_seconds, self._paused = interval_seconds, paused
        self._orders.put(_Order("pace"))

    def end(self, request: Request) -> None:
        """End a session or its statement; `said` tells what came of it."""
        self._orders.put(_Order("end", request))

    def said(self) -> tuple[str, bool] | None:
        """What there is to say since it was asked for, and whether that is trouble."""
        return self._said.popleft() if self._said else None

    def stop(self) -> None:
        """Tell it to stop; `join` waits for that."""
        self._orders.put(_Order("stop"))

    # ------------------------------------------------------------------ the thread
    def run(self) -> None:
        """Read, and do what is asked for between readings."""
        due = time.monotonic()
        while True:
            try:
                order = self._orders.get(timeout=None if self._paused else max(0.0, due - time.monotonic()))
            except Empty:
                order = _Order("read")
            if order.kind == "stop":
                break
            if order.kind == "end" and order.request is not None:
                self._end(order.request)
            if order.kind == "pace":
                due = time.monotonic()
                continue
            self._read()
            due = self._next(due, time.monotonic())
        with suppress(Exception):  # it is the end, whatever the server thinks of it
            self._source.close()

    def _next(self, due: float, now: float) -> float:
        """When to read again: at the pace that was begun, or later while the server is away."""
        if self._failures:
            pause = max(1.0, self._interval_seconds) * float(2 ** min(self._failures - 1, 6))
            return now + min(LONGEST_PAUSE_SECONDS, pause)
        left = due + self._interval_seconds - now
        return now + (left if left > 0 else self._interval_seconds)

    def _read(self) -> None:
        try:
            self.picture = self._source.read()
        except Exception as error:  # noqa: BLE001 - whatever a server does, the view goes on
            self._lost(error)
        else:
            self._failures, self._lost_at, self.error = 0, None, ""
        self._changed()

    def _lost(self, error: Exception) -> None:
        self._failures += 1
        self.error = described(error)
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        with suppress(Exception):  # what is broken may well refuse to be closed
            self._source.close()

    def _end(self, request: Request) -> None:
        if request.session is None:
            return
        try:
            self._said.append((self._source.end(request.session, cancel=request.kind == "cancel"), False))
        except Exception as error:  # noqa: BLE001 - said to who asked for it
            self._said.append((described(error), True))
        self._changed()
