"""What was counted and not handed over yet is handed over when the process ends: by itself, or as a worker.

A collector or client is kept until it is closed, so that one which only a function knew hands over its values as well.
What was made last is closed first: it may hand over to what was made before it.

`multiprocessing` ends its forked workers without running `atexit`; it runs finalizers of its own instead.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from gds_native._lib import interpreter_ends

if TYPE_CHECKING:
    from typing import Protocol

    class Closes(Protocol):
        """A collector or client with something to hand over."""

        def close(self, timeout_seconds: float, /) -> object:
            """Hand it over, within a bound."""


__all__ = ["close_at_exit", "is_closed"]

TIMEOUT_SECONDS = 5.0
"""How long the end of a process may wait for receivers that do not answer."""

LEAST_TIMEOUT_SECONDS = 0.5
"""How long each collector gets, even where others before it took all of that time."""

_open: dict[int, Closes] = {}
_installed: list[bool] = []
_told_multiprocessing: list[bool] = []
_finalizing: list[int] = []


def close_at_exit(collector: Closes) -> None:
    """Close ``collector`` when the process ends, unless it says before that it is closed."""
    if not _open:
        _install()
    _open[id(collector)] = collector


def is_closed(collector: Closes) -> None:
    """Let go of a collector that has nothing more to hand over."""
    _open.pop(id(collector), None)


def _install() -> None:
    import atexit

    atexit.unregister(_close_all)
    atexit.register(_close_all)
    if not _installed and hasattr(os, "register_at_fork"):
        _installed.append(True)
        os.register_at_fork(before=_before_fork)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        _finalize_worker()


def _before_fork() -> None:
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None and not _told_multiprocessing:
        _told_multiprocessing.append(True)
        # Called in each worker, after multiprocessing has dropped what the parent had registered.
        util.register_after_fork(_close_all, lambda _: _finalize_worker())


def _finalize_worker() -> None:
    process_id = os.getpid()
    if process_id in _finalizing:
        return
    _finalizing[:] = [process_id]
    from multiprocessing import util

    util.Finalize(None, _close_all, exitpriority=0)


def _close_all() -> None:
    # Threads that go on reporting are not told that their collector is closed: it is not news at the end.
    interpreter_ends()
    from contextlib import suppress
    from time import monotonic

    deadline = monotonic() + TIMEOUT_SECONDS
    for collector in reversed(list(_open.values())):
        # One that fails keeps no other from handing over.
        with suppress(Exception):
            # A client has a bound of its own, which its user may have set.
            close = getattr(collector, "_close_at_exit", collector.close)
            close(max(deadline - monotonic(), LEAST_TIMEOUT_SECONDS))
    # What the closing had told to callbacks has run.
    interpreter_ends()
