"""`RetryPolicy`: how often, and how soon, something is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from gds_vault._checks import number, whole
from gds_vault.errors import VaultConfigurationError

__all__ = ["RetryPolicy"]

_random = random.SystemRandom()  # its state is the kernel's, so that forked children do not wait in step


@dataclass(frozen=True)
class RetryPolicy:
    """Tries again what may succeed later: 5xx (503 of a sealed Vault too), 429, connections that fail, time-outs.

    The pauses double from ``base_delay_seconds`` up to ``max_delay_seconds``; with jitter each is a random part of
    that, so that clients which lost one server do not come back in step (the "full jitter" of Exponential Backoff And
    Jitter, M. Brooker, AWS Architecture Blog, 2015). A ``Retry-After`` is waited for up to ``max_delay_seconds``.

    What writes is tried again only where Vault cannot have taken it: no connection, 429, 503.

    Args:
        attempts: How often it is tried in all; 1 is never again.
        base_delay_seconds: The first pause, before jitter.
        max_delay_seconds: The longest pause.
        max_total_seconds: No attempt begins later than this after the first, and none lasts longer than that.
        jitter: Whether pauses are random; False is for tests.

    Raises:
        VaultConfigurationError: A number is out of bounds.
    """

    attempts: int = 3
    base_delay_seconds: float = 0.1
    max_delay_seconds: float = 5.0
    max_total_seconds: float = 60.0
    jitter: bool = True

    def __post_init__(self) -> None:
        whole("attempts", self.attempts, 1, 100)
        number("base_delay_seconds", self.base_delay_seconds, 0, 3600)
        number("max_delay_seconds", self.max_delay_seconds, 0, 3600)
        number("max_total_seconds", self.max_total_seconds, 0.001, 86_400)
        if self.max_delay_seconds < self.base_delay_seconds:
            raise VaultConfigurationError(
                f"max_delay_seconds={self.max_delay_seconds!r}: expected at least base_delay_seconds, "
                f"{self.base_delay_seconds!r}"
            )

    def delay_seconds(self, attempt: int, retry_after_seconds: float | None = None) -> float:
        """How long to wait after an attempt that failed.

        Args:
            attempt: Which it was; the first is 1.
            retry_after_seconds: What the server asked for, if it did.
        """
        delay = min(self.max_delay_seconds, self.base_delay_seconds * 2.0 ** (attempt - 1))
        if self.jitter:
            delay = _random.uniform(0, delay)
        return max(delay, min(retry_after_seconds or 0.0, self.max_delay_seconds))
