"""What the collectors written in Python have in common beside the four methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

__all__ = ["DEFAULT_TIMEOUT_SECONDS", "Collector", "Managed", "Pinned"]

DEFAULT_TIMEOUT_SECONDS = 5.0
"""How long `flush` and `close` wait unless they are told."""


class Managed:
    """True, whatever it holds, so that ``metrics or NoOpMetrics()`` keeps it; a context manager that closes itself."""

    __slots__ = ()

    def close(self) -> object:
        """Let go of what is held; may be called again."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Pinned:
    """What belongs to its process and cannot be sent to another."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle {type(self).__name__}: it belongs to the process that made it; make one in each process, "
            "or pass its settings on"
        )


class Collector(Managed):
    """A collector that keeps nothing back: descriptions are ignored, nothing needs closing."""

    __slots__ = ("__weakref__",)

    def describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        **settings: object,
    ) -> None:
        """Tell about a metric before it is first reported.

        What a collector has no use for it ignores, so that the same description can be given to
        any of them.

        Args:
            name: The metric.
            help: One sentence about it.
            unit: What its values are in.
            buckets: Upper bounds of a distribution, in seconds for timings.
            settings: What only some collectors know.
        """

    def flush(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> bool:  # noqa: ARG002
        """Hand over what was reported so far.

        Args:
            timeout_seconds: How long to wait at most.

        Returns:
            Whether all of it was handed over in that time.
        """
        return True

    def close(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Flush and let go of what the collector holds; may be called again.

        Args:
            timeout_seconds: How long to wait at most.
        """
        self.flush(timeout_seconds)
