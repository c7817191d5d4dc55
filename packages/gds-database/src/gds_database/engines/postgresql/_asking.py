"""Questions to a server that do not know who carries them there: an engine that waits, or one that is awaited.

A question is a generator. It yields what to ask and is sent the rows; what it returns is the answer.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

__all__ = ["Ask", "Question"]

T = TypeVar("T")


class Ask(NamedTuple):
    """One statement that reads.

    Attributes:
        statement: Its text.
        columns: The names of its columns in their order.
        params: Values that the driver binds.
    """

    statement: str
    columns: tuple[str, ...]
    params: tuple[Any, ...] | None = None


Question = Generator[Ask, list[dict[str, Any]], T]
