"""What is renewed in a forked child, where the threads that held its locks do not exist."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AfterFork"]

T = TypeVar("T")


class AfterFork(Generic[T]):
    """Objects of a kind as long as they live. Kinds are renewed in the order in which they were made known.

    Args:
        renew: What becomes of each of them in a forked child.
    """

    def __init__(self, renew: Callable[[T], None]) -> None:
        self._renew = renew
        self._living: weakref.WeakSet[T] = weakref.WeakSet()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def add(self, living: T) -> None:
        """Renew it too."""
        self._living.add(living)

    def _forked(self) -> None:
        for living in list(self._living):
            self._renew(living)
