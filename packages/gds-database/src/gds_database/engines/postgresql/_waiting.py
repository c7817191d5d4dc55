"""Waits for something that the server does in its own time."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gds_database.errors import DatabaseConnectionError, StatementTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["wait_until"]

_POLL_SECONDS = 0.05


def wait_until(check: Callable[[], bool], timeout_seconds: float, otherwise: str) -> None:
    """Ask until it is so.

    Args:
        check: Asks; a server that cannot be reached for a moment is asked again.
        timeout_seconds: When to give up.
        otherwise: What is said then.

    Raises:
        StatementTimeoutError: It is not so in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        with suppress(DatabaseConnectionError):
            if check():
                return
        if time.monotonic() >= deadline:
            raise StatementTimeoutError(f"{otherwise} after {timeout_seconds:g} s")
        time.sleep(_POLL_SECONDS)
