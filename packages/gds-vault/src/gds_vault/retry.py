"""`RetryPolicy`: how often, and how soon, something is tried again."""

from __future__ import annotations

import functools
import math
import random
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from gds_vault._checks import number, whole

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RetryPolicy", "retry_with_backoff"]

R = TypeVar("R")

_random = random.SystemRandom()  # its state is the kernel's, so that forked children do not wait in step


class RetryPolicy:
    """Tries again what may succeed later: 5xx (503 of a sealed Vault too), 412, 429, connections that fail, time-outs.

    The pauses grow from ``initial_delay`` by ``backoff_factor`` up to ``max_delay``. With jitter each is longer by up
    to a half, so that clients which lost one server do not come back in step, and none gives up sooner than was asked.
    A ``Retry-After`` is waited for up to ``max_delay``.

    What writes is tried again only where Vault cannot have taken it: no connection, 412, 429, 503.

    Args:
        max_retries: How often it is tried again after the first time; 0 is never.
        initial_delay: The first pause in seconds, before jitter.
        max_delay: The longest pause in seconds, before jitter.
        backoff_factor: What each pause is longer than the one before.
        retriable_exceptions: For `execute`: what is tried again; None is the failures of ``requests``.
        attempts: The same as ``max_retries`` + 1.
        base_delay_seconds: The same as ``initial_delay``.
        max_delay_seconds: The same as ``max_delay``.
        max_total_seconds: No attempt begins later than this after the first, and none lasts longer than that. None is
            60 beside ``attempts``, and else no bound: ``max_retries`` are made however long they take.
        jitter: Whether pauses are random; False is for tests.

    Raises:
        VaultConfigurationError: A number is out of bounds.
    """

    def __init__(
        self,
        max_retries: int = 3,
        initial_delay: float = 1.0,
        max_delay: float = 32.0,
        backoff_factor: float = 2.0,
        retriable_exceptions: tuple[type[BaseException], ...] | None = None,
        *,
        attempts: int | None = None,
        base_delay_seconds: float | None = None,
        max_delay_seconds: float | None = None,
        max_total_seconds: float | None = None,
        jitter: bool = True,
    ) -> None:
        if attempts is not None:
            max_retries = whole("attempts", attempts, 1, 100) - 1
        self.max_retries = whole("max_retries", max_retries, 0, 1_000_000)
        self.initial_delay = _seconds("initial_delay", initial_delay, "base_delay_seconds", base_delay_seconds)
        self.max_delay = _seconds("max_delay", max_delay, "max_delay_seconds", max_delay_seconds)
        self.backoff_factor = number("backoff_factor", backoff_factor, 1, 1000, "times")
        if max_total_seconds is None:
            self.max_total_seconds = math.inf if attempts is None else 60.0
        else:
            self.max_total_seconds = number("max_total_seconds", max_total_seconds, 0.001, 86_400)
        self.jitter = bool(jitter)
        self._retriable = retriable_exceptions

    @property
    def attempts(self) -> int:
        """How often it is tried in all."""
        return self.max_retries + 1

    @property
    def retriable_exceptions(self) -> tuple[type[BaseException], ...]:
        """What `execute` tries again."""
        if self._retriable is not None:
            return self._retriable
        requests = sys.modules.get("requests")  # where nobody has loaded it, nothing of it can be raised
        return () if requests is None else (requests.RequestException,)

    def delay_seconds(self, attempt: int, retry_after_seconds: float | None = None) -> float:
        """How long to wait after an attempt that failed.

        Args:
            attempt: Which it was; the first is 1.
            retry_after_seconds: What the server asked for, if it did.
        """
        try:
            delay = min(self.max_delay, self.initial_delay * self.backoff_factor ** (attempt - 1))
        except OverflowError:
            delay = self.max_delay
        if self.jitter:
            delay = _random.uniform(delay, 1.5 * delay)
        return max(delay, min(retry_after_seconds or 0.0, self.max_delay))

    def execute(self, operation: Callable[[], R]) -> R:
        """Call it, and call it again after each of ``retriable_exceptions``, with pauses.

        Raises:
            Exception: What the last call raised.
        """
        deadline = time.monotonic() + self.max_total_seconds
        attempt = 1
        while True:
            try:
                return operation()
            except self.retriable_exceptions:
                delay = self.delay_seconds(attempt)
                if attempt >= self.attempts or time.monotonic() + delay >= deadline:
                    raise
            time.sleep(delay)
            attempt += 1

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(max_retries={self.max_retries}, initial_delay={self.initial_delay:g}, "
            f"max_delay={self.max_delay:g}, backoff_factor={self.backoff_factor:g})"
        )


def _seconds(name: str, value: float, other: str, seconds: float | None) -> float:
    return number(name, value, 0, 86_400) if seconds is None else number(other, seconds, 0, 86_400)


def retry_with_backoff(
    max_retries: int = 3,
    initial_delay: float = 1.0,
    max_delay: float = 32.0,
    backoff_factor: float = 2.0,
    retriable_exceptions: tuple[type[BaseException], ...] | None = None,
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Decorate a function so that it is called by `RetryPolicy.execute`.

    Args:
        max_retries: As for `RetryPolicy`, and so are the others.
        initial_delay: The first pause in seconds.
        max_delay: The longest pause in seconds.
        backoff_factor: What each pause is longer than the one before.
        retriable_exceptions: What is tried again; None is the failures of ``requests``.
    """
    policy = RetryPolicy(max_retries, initial_delay, max_delay, backoff_factor, retriable_exceptions)

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **settings: Any) -> R:
            return policy.execute(lambda: function(*arguments, **settings))

        return wrapper

    return decorate
