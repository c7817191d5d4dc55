"""Time that passes when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """As a `gds_monitor.scheduler.Clock`."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self._heap: list[tuple[float, int, Timer, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer()
        heapq.heappush(self._heap, (when, next(self._order), timer, callback, args))
        return timer

    async def advance(self, seconds: float) -> None:
        """Let time pass, and all that becomes due happen at its time."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            when, _, timer, callback, args = heapq.heappop(self._heap)
            if timer.cancelled:
                continue
            self.now = max(self.now, when)
            callback(*args)
            await settled()
        self.now = end
        await settled()


async def settled() -> None:
    """Let tasks run until they wait for something that a test decides."""
    for _ in range(40):
        await asyncio.sleep(0)
