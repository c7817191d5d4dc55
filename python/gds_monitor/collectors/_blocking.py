"""A connection by a driver that blocks: each call is in a thread of its own, and a target has one at a time.

The thread of a call that does not come back stays, for nobody can end it; until then its target is told as lost and
nothing further is asked of it. Whatever hangs, a target has one thread and the event loop none of it.
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_monitor.collectors._link import Link
from gds_monitor.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GRACE_SECONDS", "BlockingLink"]

GRACE_SECONDS = 1.0
"""How much longer than the server allows a statement its answer may take, and how long giving it up may take."""
CLOSE_SECONDS = 1.0


class BlockingLink(Link):
    """A `Link` whose driver blocks."""

    _busy: asyncio.Future[Any] | None = None
    """The call that was given up and has not come back."""
    _woken: asyncio.Future[None] | None = None
    """Ends the wait for the call that is under way."""

    @abstractmethod
    def _disconnect(self, raw: Any) -> None:
        """Close one; may raise anything, and may block."""

    def _cut(self, raw: Any) -> None:
        """Let the call that runs on it come back soon, from another thread; must not block."""

    async def _called(self, call: Callable[[], Any], seconds: float, *, raw: Any = None) -> Any:
        """What a call of the driver returns, or whatever it raises.

        Args:
            call: It.
            seconds: Until it is given up.
            raw: The connection that it runs on, which is cut then; None while there is none, and what it returns later
                is closed.

        Raises:
            CollectionError: It was given up, or one before it was and has not come back.
        """
        if self._busy is not None and not self._busy.done():
            raise CollectionError("connection", "the driver has not come back from a call that was given up")
        future = _in_thread(call)
        woken = self._woken = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({future, woken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._give_up(future, raw)
            raise
        if future.done():
            return future.result()
        self._give_up(future, raw)
        if woken.done():
            raise CollectionError("aborted")
        await asyncio.wait({future}, timeout=GRACE_SECONDS)
        raise CollectionError("statement_timeout" if raw is not None else "connection", f"no answer for {seconds:g} s")

    def _give_up(self, future: asyncio.Future[Any], raw: Any) -> None:
        self._busy = future
        if raw is not None:
            self._raw, self._place = None, ""
            self._cut(raw)

        def ended(done: asyncio.Future[Any]) -> None:
            late = raw if raw is not None else done.result() if not done.exception() else None
            if late is not None:
                _ = _in_thread(lambda: self._disconnect(late))

        future.add_done_callback(ended)

    async def _closed(self, raw: Any) -> None:
        await asyncio.wait({_in_thread(lambda: self._disconnect(raw))}, timeout=CLOSE_SECONDS)

    def abort(self) -> None:
        """Wake whoever waits for an answer; he cuts the connection."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


def _in_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """What a call returns, from a thread that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    # Whether it failed is nobody's duty to ask.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def tell(setter: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            setter(value)

    def run() -> None:
        try:
            found = call()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            outcome = (future.set_exception, error)
        else:
            outcome = (future.set_result, found)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=run, name="gds-monitor-driver", daemon=True).start()
    return future
