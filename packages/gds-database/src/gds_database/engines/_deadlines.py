"""Ends what takes too long, from a thread beside it: where no timeout of a server or of a driver reaches us.

One thread watches over all calls of the process. A call that comes to its end in time, as nearly all do, takes no lock
and wakes nobody: it is put among those under way, and taken out.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TookTooLong", "within"]

# How long the thread sleeps at most. When it then finds nothing under way, it ends.
_SLEEP_SECONDS = 10.0

T = TypeVar("T")


class TookTooLong(Exception):  # noqa: N818 - a tale of a call, which becomes an error of its platform
    """A call failed after it was ended."""


def within(seconds: float, end: Callable[[], object], run: Callable[..., T], *given: Any) -> T:
    """What a call returns, or raises, unless it takes too long.

    Args:
        seconds: How long it may take.
        end: What ends it then, called from another thread; whatever that raises is ignored. After the call it is not
            called, and not being called.
        run: The call.
        given: What it is called with.

    Raises:
        TookTooLong: It was ended.
    """
    number = next(_numbers)
    at = monotonic() + seconds
    try:
        _under_way[number] = (at, end)
        # Read after that: the thread first says when it looks, and then looks.
        if at < _watch.looks_at:
            _watch.look_by(at)
        return run(*given)
    except Exception:
        if number in _under_way:
            raise
    finally:
        # Whoever takes it out goes on: this call, or the thread with its end.
        if _under_way.pop(number, None) is None:
            _watch.wait_for_end()
    raise TookTooLong(seconds)


_numbers = itertools.count()
# When calls are to be ended, and how. One operation on a dict is done as a whole, whoever else is at it.
_under_way: dict[int, tuple[float, Callable[[], object]]] = {}


class _Watch:
    """The thread.

    Attributes:
        looks_at: When it looks next; it need not be told of what is to be ended later.
    """

    looks_at: float

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing is under way, and there is no thread: as in a child."""
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self.looks_at = math.inf
        _under_way.clear()

    def look_by(self, at: float) -> None:
        """Have the thread look by then."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="gds-database-deadlines", daemon=True)
                thread.start()
                self._thread = thread
            elif at < self.looks_at:
                self._changed.notify()

    def wait_for_end(self) -> None:
        """Wait until what is being called has returned."""
        with self._changed:
            pass

    def _run(self) -> None:
        with self._changed:
            while True:
                # Before it looks: whoever comes meanwhile wakes it.
                self.looks_at = math.inf
                now = monotonic()
                next_at = now + _SLEEP_SECONDS
                found = _under_way.copy()
                if not found:
                    self._thread = None
                    return
                for number, (at, end) in found.items():
                    if at > now:
                        next_at = min(next_at, at)
                    elif _under_way.pop(number, None) is not None:
                        with suppress(Exception):  # the others are watched on
                            end()
                self.looks_at = next_at
                self._changed.wait(next_at - now)


_watch = _Watch()
os.register_at_fork(after_in_child=_watch.forget)
