"""One lock for what seldom changes: counts of dropped input, members of a composite, instruments.

It is reentrant, because a signal handler may report while the same thread holds it, and new in a
forked child, because the thread that held it does not exist there.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["ForkedLock", "guard"]


class ForkedLock:
    """A lock that is new in a forked child. For as long as the process lives: it is never let go of."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()


_GUARD = ForkedLock()


def guard() -> AbstractContextManager[bool]:
    """The lock, to be held for a few instructions and never around code that reports or logs."""
    return _GUARD.lock
