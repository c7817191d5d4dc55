"""What is refused."""

from __future__ import annotations

__all__ = ["AlertConfigurationError", "CircuitOpenError"]


class AlertConfigurationError(ValueError):
    """A rule, a notifier or a setting makes no sense; the message says which, what was expected and what to do."""


class CircuitOpenError(RuntimeError):
    """The circuit is open: what failed too often is not asked now.

    Attributes:
        retry_after_seconds: When it is tried again, from now.
    """

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"the circuit is open; it is tried again in {retry_after_seconds:.1f} s")
        self.retry_after_seconds = retry_after_seconds
