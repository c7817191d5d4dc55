"""Ends a wait for a server that has gone silent: the network is cut, and no timeout of the server reaches us."""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Wait", "watched"]

_IDLE_SECONDS = 10.0
_MANY = 1000


class Wait:
    """A wait for an answer. ``given_up`` tells whether it was ended."""

    __slots__ = ("deadline", "fileno", "given_up", "over")

    def __init__(self, fileno: int, deadline: float) -> None:
        self.fileno = fileno
        self.deadline = deadline
        self.over = False
        self.given_up = False


class _Watcher:
    """One thread for all waits of this process; it ends when there has been none for a while."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits: list[tuple[float, int, Wait]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def add(self, wait: Wait) -> None:
        with self._changed:
            if self._thread is None or self._pid != os.getpid():
                if self._pid != os.getpid():
                    self._waits = []  # those of the process that this one was forked from
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._run, name="gds-postgresql-watch", daemon=True)
                self._thread.start()
            if len(self._waits) > _MANY:
                # Those that are over leave when their time comes, or here.
                self._waits = [each for each in self._waits if not each[2].over]
                heapq.heapify(self._waits)
            heapq.heappush(self._waits, (wait.deadline, next(self._numbers), wait))
            if self._waits[0][2] is wait:
                self._changed.notify()

    def end(self, wait: Wait) -> None:
        with self._changed:
            wait.over = True

    def _run(self) -> None:
        with self._changed:
            while True:
                while self._waits and self._waits[0][2].over:
                    heapq.heappop(self._waits)
                if not self._waits:
                    if not self._changed.wait(_IDLE_SECONDS) and not self._waits:
                        self._thread = None
                        return
                    continue
                left = self._waits[0][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                wait = heapq.heappop(self._waits)[2]
                if not wait.over:
                    wait.given_up = True
                    _hang_up(wait.fileno)


def _hang_up(fileno: int) -> None:
    """Whoever reads from the socket sees its end; the driver closes it."""
    with suppress(OSError), socket.socket(fileno=os.dup(fileno)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


_watcher = _Watcher()


@contextmanager
def watched(fileno: int, seconds: float) -> Iterator[Wait]:
    """Hang up if the block takes longer.

    Args:
        fileno: Of the socket that the block waits for.
        seconds: How long it may.
    """
    wait = Wait(fileno, time.monotonic() + seconds)
    _watcher.add(wait)
    try:
        yield wait
    finally:
        _watcher.end(wait)
