"""Where metrics go: `OutputHandler` is what a monitor writes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_monitor.metric import Metric

__all__ = ["OutputHandler", "WriteResult"]


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a batch: the three numbers add up to its length.

    Attributes:
        published: Accepted by the output; what is accepted for the hub survives that the hub is away.
        dead_lettered: Could not be written as metrics, and went to the dead letters with their reason.
        dropped: Lost, by reason.
        scrubbed: How many of the published had secrets taken out.
    """

    published: int = 0
    dead_lettered: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    scrubbed: int = 0


@runtime_checkable
class OutputHandler(Protocol):
    """Takes metrics. Neither method raises for what becomes of them: the result says it."""

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Write a batch; metrics of one instance keep their order."""
        ...

    async def close(self) -> None:
        """Write what is left and let go of everything. A second call does nothing."""
        ...
