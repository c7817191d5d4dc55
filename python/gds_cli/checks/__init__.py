"""What ``gds doctor`` looks at. A check is a function that returns a `Finding`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

__all__ = ["FAILED", "OK", "WARNING", "Finding", "Steps"]

OK, WARNING, FAILED = "ok", "warning", "failed"


class Finding(NamedTuple):
    """What a check found."""

    level: str
    """``ok``, ``warning`` or ``failed``."""
    found: str
    remedy: str = ""


Steps: TypeAlias = list[tuple[str, Callable[[], Finding]]]
"""Checks by the names they are shown with, in their order."""
