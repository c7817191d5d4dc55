"""Ends statements of drivers that cannot end them: when the time is up, the socket below is shut down.

The server then gives up what it does for that connection, and the driver gives the caller his thread back, whatever the
network does. One thread watches over all connections of the process; it begins with the first deadline.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

__all__ = ["Deadline", "Line", "opened_since", "sockets"]

_OPEN = (Path("/proc/self/fd"), Path("/dev/fd"))


def sockets() -> dict[int, int]:
    """The sockets of this process: the number of each with what it is, as the kernel tells sockets apart."""
    found = {}
    folder = next((each for each in _OPEN if each.is_dir()), None)
    for name in os.listdir(folder) if folder is not None else ():  # noqa: PTH208 - paths are not needed
        with suppress(OSError, ValueError):
            described = os.fstat(int(name))
            if described.st_mode & 0o170000 == 0o140000:
                found[int(name)] = described.st_ino
    return found


class Line:
    """The socket of a driver's connection, beside the driver.

    Args:
        descriptor: Its number; a duplicate is kept, so that no other socket is ever taken for it.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def cut(self) -> None:
        """End the connection: whoever reads from it gets an end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it; to be called when the driver has closed."""
        self._socket.close()


def opened_since(before: dict[int, int], port: int, addresses: frozenset[str] = frozenset()) -> dict[int, int]:
    """The sockets that lead to this port and are new: the number of each with its own port.

    Args:
        before: What `sockets` gave then.
        port: Of the server.
        addresses: Of the server; none where they are not known.
    """
    known = set(before.values())
    found = {}
    for number, what in sockets().items():
        if what not in known:
            with suppress(OSError, IndexError, TypeError), socket.socket(fileno=os.dup(number)) as probe:
                if probe.family not in (socket.AF_INET, socket.AF_INET6) or probe.type != socket.SOCK_STREAM:
                    continue
                host, where, *_ = probe.getpeername()
                if where == port and (not addresses or host in addresses):
                    found[number] = probe.getsockname()[1]
    return found


class Deadline:
    """A block that ends by then: ``act`` is called from another thread if it has not.

    Attributes:
        passed: Whether it was called.
    """

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        self._seconds = seconds
        self._act = act
        self._over = False
        self.passed = False

    def __enter__(self) -> Self:
        _watch.add(time.monotonic() + self._seconds, self)
        return self

    def __exit__(self, *what: object) -> None:
        with _watch.changed:
            self._over = True

    def _reached(self) -> None:
        """Called with the lock of the watch: what is over stays alone."""
        if not self._over:
            self.passed = True
            with suppress(Exception):  # the watch goes on for all others
                self._act()


class _Watch:
    """All deadlines of this process."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.changed = threading.Condition()
        self._waiting: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, at: float, deadline: Deadline) -> None:
        with self.changed:
            heapq.heappush(self._waiting, (at, next(self._numbers), deadline))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gds-mssql-deadlines", daemon=True)
                self._thread.start()
            elif self._waiting[0][2] is deadline:
                self.changed.notify()

    def _run(self) -> None:
        with self.changed:
            while True:
                while self._waiting and self._waiting[0][2]._over:
                    heapq.heappop(self._waiting)
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is None or left > 0:
                    self.changed.wait(left)
                else:
                    heapq.heappop(self._waiting)[2]._reached()


_watch = _Watch()
# A child has the deadlines of its parent, and no thread.
os.register_at_fork(after_in_child=_watch._forget)
