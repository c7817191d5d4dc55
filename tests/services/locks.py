"""File locks held between test processes; the kernel drops them when a process dies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .catalog import ServiceUnavailable

# fcntl exists on POSIX only, and importing the fixtures must work everywhere.
if sys.platform != "win32":
    import fcntl


def try_lock(path: Path) -> IO[str] | None:
    """Lock the file and return it open, or ``None`` when another process has it.

    Closing the file releases the lock. The file itself stays: to remove it would let two
    processes lock two files of the same name.
    """
    return _lock(path, wait=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock for the block, waiting for whoever has it."""
    file = _lock(path, wait=True)
    assert file is not None, "a waiting lock returns only when it is held"
    with file:
        yield


def _lock(path: Path, *, wait: bool) -> IO[str] | None:
    if sys.platform == "win32":
        reason = "test services need posix file locks; run these tests on linux or macos"
        raise ServiceUnavailable(reason)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file
