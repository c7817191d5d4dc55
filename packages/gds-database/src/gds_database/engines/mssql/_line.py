"""The socket below a driver's connection: shut down, it ends statements of drivers that cannot end them.

The server then gives up what it does for that connection, and the driver gives the caller his thread back, whatever the
network does.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

__all__ = ["Line", "opened_since", "sockets"]

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
