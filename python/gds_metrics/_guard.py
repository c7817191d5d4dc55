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

__all__ = ["guard"]


class _Guard:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.lock = threading.RLock()


_GUARD = _Guard()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_GUARD.renew)


def guard() -> AbstractContextManager[bool]:
    """The lock, to be held for a few instructions and never around code that reports or logs."""
    return _GUARD.lock
