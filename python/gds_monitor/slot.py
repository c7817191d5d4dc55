"""Outputs that a changed configuration may replace while cycles write to them."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gds_monitor.output import beat, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from gds_monitor.config.load import MonitorConfig
    from gds_monitor.heartbeat import Heartbeat
    from gds_monitor.metric import Metric
    from gds_monitor.output import OutputHandler, WriteResult
    from gds_monitor.packs.execute import TextEvent
    from gds_monitor.system import MonitoringSystem

    Make = Callable[[str, Any, MonitorConfig], Awaitable[OutputHandler]]

__all__ = ["OutputSlot", "Outputs"]

logger = logging.getLogger("gds_monitor")


class OutputSlot:
    """Writes to the output that it has at the time; whoever comes while that is replaced waits for the next.

    Args:
        output: The first.
    """

    def __init__(self, output: OutputHandler) -> None:
        self.output = output
        self._writing = 0
        self._quiet, self._open = asyncio.Event(), asyncio.Event()
        self._quiet.set()
        self._open.set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.output!r})"

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Write a batch."""
        await self._open.wait()
        with self._busy():
            return await self.output.write(metrics)

    async def beat(self, heartbeats: Sequence[Heartbeat]) -> WriteResult:
        """Write heartbeats, if the output has a place for them."""
        await self._open.wait()
        with self._busy():
            return await beat(self.output, heartbeats)

    async def tell(self, texts: Sequence[TextEvent]) -> WriteResult:
        """Write texts, or say that there is no place for them."""
        await self._open.wait()
        with self._busy():
            return await tell(self.output, texts)

    async def replace(self, make: Callable[[], Awaitable[OutputHandler]]) -> None:
        """Write what is left, close the output, and go on with another, which may need its port or folder.

        What ``make`` raises is raised; then the output is a closed one, which counts what it is given.
        """
        self._open.clear()
        try:
            await self._quiet.wait()
            await self.output.close()
            self.output = await make()
        finally:
            self._open.set()

    async def close(self) -> None:
        """Close the output after all that is being written."""
        # Tasks that were made before this one begin first.
        await asyncio.sleep(0)
        await self._quiet.wait()
        await self.output.close()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._writing += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._writing -= 1
            if not self._writing:
                self._quiet.set()


@dataclass
class _Placed:
    """An output of ``monitor.yaml``, and what it says of it."""

    kind: str
    given: Any
    config: MonitorConfig
    slot: OutputSlot

    @property
    def name(self) -> str:
        return _name_of(self.kind, self.given, self.config)


class Outputs:
    """The outputs of a system as ``monitor.yaml`` has them.

    Args:
        system: It.
        make: Makes an output of a kind and what is given of it; what cannot be made is a `ValueError`.
    """

    def __init__(self, system: MonitoringSystem, make: Make) -> None:
        self._system = system
        self._make = make
        self._placed: list[_Placed] = []

    async def change(self, config: MonitorConfig) -> None:
        """Have the outputs of a configuration; what is as before is left alone.

        If one of them cannot be made, all are as before.

        Raises:
            ValueError: It cannot be made, and why.
        """
        left = list(self._placed)
        wanted: list[_Placed | tuple[str, Any]] = []
        for kind, given in config.outputs:
            name = _name_of(kind, given, config)
            same = next((placed for placed in left if placed.name == name), None)
            if same is not None:
                left.remove(same)
            wanted.append(same or (kind, given))
        undo: list[Callable[[], Awaitable[None]]] = []
        placed: list[_Placed] = []
        try:
            for each in wanted:
                kept = each if isinstance(each, _Placed) else await self._place(*each, config, left, undo)
                placed.append(kept)
        except BaseException:
            for step in reversed(undo):
                await step()
            raise
        for gone in left:
            self._system.remove_output(gone.slot)
        self._placed = placed

    async def _place(
        self,
        kind: str,
        given: Any,
        config: MonitorConfig,
        left: list[_Placed],
        undo: list[Callable[[], Awaitable[None]]],
    ) -> _Placed:
        """An output, instead of one of its kind if there is one left, whose port or folder it may need."""
        make = partial(self._make, kind, given, config)
        before = next((placed for placed in left if placed.kind == kind), None)
        if before is None:
            slot = OutputSlot(await make())
            self._system.add_output(slot)

            async def remove() -> None:
                self._system.remove_output(slot)

            undo.append(remove)
            return _Placed(kind, given, config, slot)
        left.remove(before)

        async def restore() -> None:
            try:
                await before.slot.replace(partial(self._make, before.kind, before.given, before.config))
            except ValueError as error:
                logger.error("outputs: %s is closed, for it could not be made again: %s", before.kind, error)  # noqa: TRY400

        undo.append(restore)
        await before.slot.replace(make)
        return _Placed(kind, given, config, before.slot)


def _name_of(kind: str, given: Any, config: MonitorConfig) -> str:
    """An output by all that decides what it is."""
    return json.dumps([kind, given, config.environment, str(config.folder)], sort_keys=True, default=str)
