"""What says that it cannot be sent to another process; as ``gds_metrics`` has it, which need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Pinned"]


class Pinned:
    """What belongs to its process and cannot be sent to another."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle {type(self).__name__}: it belongs to the process that made it; make one in each process, "
            "or pass its settings on"
        )
