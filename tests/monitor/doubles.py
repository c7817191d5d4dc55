"""Collectors and outputs that do as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gds_monitor.base import MetricCollector
from gds_monitor.metric import Metric
from gds_monitor.output import WriteResult


class Counting(MetricCollector):
    """Measures how often it was asked; waits for ``gate`` where there is one."""

    def __init__(self, instance_id: str = "one", database_type: str = "postgresql") -> None:
        super().__init__(instance_id, database_type)
        self.calls = 0
        self.running = 0
        self.most = 0
        self.aborted = False
        self.gate: asyncio.Event | None = None
        self.deaf = False
        self.error: Exception | None = None

    async def collect(self) -> list[Metric]:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while self.gate is not None and not self.gate.is_set():
                await self._wait(self.gate)
            if self.error is not None:
                raise self.error
            return [Metric("calls", self.calls, self.instance_id, self.database_type)]
        finally:
            self.running -= 1

    async def _wait(self, gate: asyncio.Event) -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            if not self.deaf:
                raise

    def abort(self) -> None:
        self.aborted = True


class Kept:
    """An output that keeps what it is given."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.closed = False

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        self.metrics += metrics
        return WriteResult(published=len(metrics))

    async def close(self) -> None:
        self.closed = True


class Broken:
    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        raise OSError("nowhere to go")

    async def close(self) -> None:
        return
