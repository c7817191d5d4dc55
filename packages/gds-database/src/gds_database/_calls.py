"""Calls that run in threads for a task of asyncio, and how one ends when its task waits for it no more.

A call whose task was cancelled begins no statement: it gives its thread back, also when it still waits for its turn at
the connection. What it is running on the server is ended where the driver can. An operation that has begun to change
something goes on to its end, for the half of a failover is worse than a whole one; only its first step can be ended.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Call", "Cancelled", "current", "ended_by"]

# How often a call that waits for its turn looks whether it still has to.
_LOOK_SECONDS = 0.05


class Cancelled(BaseException):
    """Ends a call in its thread. Nobody waits for it, and no handler of errors is to go on after it."""


class Call:
    """One call.

    Attributes:
        begun: Whether it has begun to change something.
    """

    def __init__(self) -> None:
        self.begun = False
        self._kept = False
        self._over = False
        self._end: Callable[[], object] | None = None
        self._changing = threading.Lock()

    def abandon(self) -> None:
        """Nobody waits for it any more; returns at once."""
        with self._changing:
            self._over = True
            if self._end is not None and not self._kept:
                with suppress(Exception):  # then it ends by its time
                    self._end()

    def keep(self) -> None:
        """A part of a change is done: the rest is done, too."""
        with self._changing:
            self._kept = True

    def check(self) -> None:
        """Raise `Cancelled` if nobody waits for it and nothing has been changed."""
        if self._over and not self.begun:
            raise Cancelled

    @contextmanager
    def turn(self, lock: threading.RLock) -> Iterator[None]:
        """Hold a lock, once it is the turn of this call."""
        self.check()
        while not lock.acquire(timeout=_LOOK_SECONDS):
            self.check()
        try:
            self.check()
            yield
        finally:
            lock.release()

    @contextmanager
    def _ended_by(self, end: Callable[[], object]) -> Iterator[None]:
        with self._changing:
            self.check()
            self._end = end
        try:
            yield
        finally:
            # Waits while the end is being called: it is for this statement, and for no later one.
            with self._changing:
                self._end = None


_current: ContextVar[Call | None] = ContextVar("gds_database_call", default=None)


current = _current.get
"""The call that this thread runs for a task; None if there is none."""


def entered(call: Call) -> None:
    """From here on this context is that of a call."""
    _current.set(call)


@contextmanager
def ended_by(end: Callable[[], object]) -> Iterator[None]:
    """A statement that is ended by this if nobody waits for it any more.

    Args:
        end: Called from the event loop, so it must not wait; what it raises is ignored.
    """
    call = current()
    if call is None:
        yield
        return
    with call._ended_by(end):
        yield
