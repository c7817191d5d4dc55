"""What was counted and not handed over yet is handed over when the process ends: by itself, or as a forked worker.

`multiprocessing` ends a forked worker without running `atexit`; it runs finalizers of its own instead.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Protocol

    class Closes(Protocol):
        """A collector with something to hand over."""

        def close(self, timeout_seconds: float = ...) -> None:
            """Hand it over, within a bound."""


__all__ = ["close_at_exit"]

TIMEOUT_SECONDS = 5.0
"""How long the end of a process may wait for one receiver that does not answer."""

_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(collector: Closes) -> None:
    """Close ``collector`` when the process ends, if it still exists then."""
    if not _open:
        _install()
    _open.add(collector)


def _install() -> None:
    import atexit

    atexit.unregister(_close_all)
    atexit.register(_close_all)
    if not _installed and hasattr(os, "register_at_fork"):
        _installed.append(True)
        os.register_at_fork(before=_before_fork)


_installed: list[bool] = []
_told_multiprocessing: list[bool] = []


def _before_fork() -> None:
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None and not _told_multiprocessing:
        _told_multiprocessing.append(True)
        # Called in each worker, after multiprocessing has dropped what the parent had registered.
        util.register_after_fork(_close_all, lambda _: util.Finalize(None, _close_all, exitpriority=0))


def _close_all() -> None:
    for collector in list(_open):
        collector.close(TIMEOUT_SECONDS)
