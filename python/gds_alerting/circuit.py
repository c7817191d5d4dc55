"""`CircuitBreaker`: what fails again and again is left alone for a while.

breaker = CircuitBreaker(failure_threshold=5, timeout=60, success_threshold=2)
await breaker.call(send, alert)     # CircuitOpenError while it is open
"""

from __future__ import annotations

import inspect
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from gds_alerting.errors import AlertConfigurationError, CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CircuitBreaker", "CircuitState"]


class CircuitState(str, Enum):
    """Whether calls go through."""

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """They do not."""
    HALF_OPEN = "half_open"
    """One at a time does, to see whether it is well again."""


class CircuitBreaker:
    """Opens after failures in a row, and closes after successes in a row. Threads and tasks may share one.

    Args:
        failure_threshold: So many failures in a row open it.
        timeout: Seconds (or a timedelta) for which it stays open, before calls are tried one at a time.
        success_threshold: So many of those have to succeed for it to close; one that fails opens it again.
        clock: Seconds that only go forward.

    Raises:
        AlertConfigurationError: A threshold is less than 1, or the time is none.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        timeout: float | timedelta = 60.0,
        success_threshold: int = 2,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure_threshold = _count("failure_threshold", failure_threshold)
        self.success_threshold = _count("success_threshold", success_threshold)
        self.timeout = span_seconds("timeout", timeout)
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._successes = 0
        self._opened: float | None = None
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """Whether calls go through now."""
        with self._lock:
            return self._state()

    @property
    def failure_count(self) -> int:
        """Failures in a row."""
        with self._lock:
            return self._failures

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a function, or a coroutine function, whose result is then to be awaited.

        Raises:
            CircuitOpenError: It is open; the function was not called.
        """
        if inspect.iscoroutinefunction(function):
            return self._awaited(function, arguments, keywords)
        with self.guard():
            return function(*arguments, **keywords)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """A block that is a call: what it raises is a failure.

        Raises:
            CircuitOpenError: It is open; the block was not entered.
        """
        probe = self._enter()
        succeeded: bool | None = None
        try:
            yield
            succeeded = True
        except Exception:
            succeeded = False
            raise
        finally:
            # Of what was cancelled nobody knows how it would have gone.
            self._leave(probe, succeeded)

    def reset(self) -> None:
        """Close it, and forget what failed."""
        with self._lock:
            self._close()

    async def _awaited(self, function: Callable[..., Any], arguments: Any, keywords: Any) -> Any:
        with self.guard():
            return await function(*arguments, **keywords)

    def _state(self) -> CircuitState:
        if self._opened is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._clock() - self._opened < self.timeout else CircuitState.HALF_OPEN

    def _enter(self) -> bool:
        with self._lock:
            state = self._state()
            if state is CircuitState.CLOSED:
                return False
            if state is CircuitState.OPEN or self._probing:
                left = 0.0 if self._opened is None else self._opened + self.timeout - self._clock()
                raise CircuitOpenError(max(0.0, left))
            self._probing = True
            return True

    def _leave(self, probe: bool, succeeded: bool | None) -> None:
        with self._lock:
            if probe:
                self._probing = False
            if succeeded is None:
                return
            if not succeeded:
                self._failures += 1
                self._successes = 0
                if probe or (self._opened is None and self._failures >= self.failure_threshold):
                    self._opened = self._clock()
                return
            if self._opened is None:
                self._failures = 0
            elif probe:
                self._successes += 1
                if self._successes >= self.success_threshold:
                    self._close()

    def _close(self) -> None:
        self._failures = self._successes = 0
        self._opened = None

    def __repr__(self) -> str:
        return (
            f"CircuitBreaker(failure_threshold={self.failure_threshold}, timeout={self.timeout}, "
            f"success_threshold={self.success_threshold}, state={self.state.value!r})"
        )


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise AlertConfigurationError(f"{name}={value!r}: expected a whole number, 1 or more")
    return value


def span_seconds(name: str, value: float | timedelta, *, least: float = 0.001) -> float:
    """A length of time in seconds.

    Raises:
        AlertConfigurationError: It is none.
    """
    seconds: object = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not least <= seconds <= 1e9:
        raise AlertConfigurationError(f"{name}={value!r}: expected seconds from {least:g} to 1e9, or a timedelta")
    return float(seconds)
