"""What an operation does, step by step: shown by a dry run, carried out otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """One statement, command or call.

    Attributes:
        shown: Exactly what runs, for people to read and to run themselves; a password in it is masked.
        run: Does it; what it returns is the outcome of the step.
    """

    shown: str
    run: Callable[[], Any] = field(repr=False)
