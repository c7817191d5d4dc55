"""The outbox of one notifier: a thread and an event loop of its own, retries, and what could not be delivered."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from gds_alerting.notifier import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gds_alerting.alert import Alert
    from gds_alerting.notifier import AlertNotifier

__all__ = ["Outbox"]

logger = logging.getLogger("gds_alerting")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 300.0
DEAD_LETTERS = 1000
"""So many of the newest are kept to be looked at."""
GRACE_SECONDS = 3.0
"""What deliveries under way get at the end."""


class Outbox:
    """Delivers alerts in their order.

    Args:
        name: Of the notifier.
        notifier: It.
        retry_for_seconds: After this an alert that was not taken is with the dead ones.
        most: Alerts that may wait; of more the oldest are with the dead ones.
    """

    def __init__(self, name: str, notifier: AlertNotifier, retry_for_seconds: float, most: int) -> None:
        self.name = name
        self.notifier = notifier
        self.delivered = 0
        self.retried = 0
        self.dropped = 0
        self.dead: deque[tuple[Alert, str]] = deque(maxlen=DEAD_LETTERS)
        self._retry_for = retry_for_seconds
        self._most = most
        self._waiting: deque[Alert] = deque()
        self._lock = threading.Lock()
        self._dice = random.Random()  # noqa: S311 - spreads retries
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._ends = False

    def put(self, alerts: Iterable[Alert]) -> None:
        """Have more delivered. It waits for nothing."""
        with self._lock:
            self._waiting.extend(alerts)
            while len(self._waiting) > self._most:
                # The one at hand stays where it is.
                oldest = self._waiting[1]
                del self._waiting[1]
                self._bury(oldest, f"more than {self._most} alerts were waiting")
        self._ring()

    @property
    def waiting(self) -> list[Alert]:
        """What is not delivered yet, in its order."""
        with self._lock:
            return list(self._waiting)

    def start(self) -> None:
        """Begin to deliver."""
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="gds-alert-notify", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end: what is under way gets a moment, the rest stays in `waiting`."""
        self._ends = True
        self._ring()

    def join(self, until: float) -> None:
        """Wait for the end, up to a time of `time.monotonic`."""
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))

    def _ring(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            try:
                loop.call_soon_threadsafe(wake.set)
            except RuntimeError:
                return  # it has ended

    def _run(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            while not self._ends:
                self._wake.clear()
                if self._waiting:
                    await self._one(self._waiting[0])
                elif not self._ends:
                    await self._wake.wait()
        finally:
            self._loop = None
            await self._closed()

    async def _one(self, alert: Alert) -> None:
        began, attempt = time.monotonic(), 0
        while not self._ends:
            outcome = await self._attempt(alert)
            if outcome.delivered:
                with self._lock:
                    self._waiting.popleft()
                    self.delivered += 1
                return
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**attempt) * self._dice.uniform(0.5, 1.0)
            if outcome.retry_after_seconds is not None:
                pause = max(pause, outcome.retry_after_seconds)
            if outcome.final or time.monotonic() + pause - began > self._retry_for:
                with self._lock:
                    self._waiting.popleft()
                    self._bury(alert, outcome.reason)
                return
            attempt += 1
            self.retried += 1
            if attempt == 1:
                logger.warning(
                    "%s: alert %s was not taken: %s; it is tried again", self.name, alert.key, outcome.reason
                )
            await self._pause(pause)

    async def _attempt(self, alert: Alert) -> Delivery:
        task = asyncio.ensure_future(self.notifier.deliver(alert))
        until = time.monotonic() + self.notifier.timeout + 1.0  # a notifier may keep its own time, too
        ended: float | None = None
        while not task.done():
            now = time.monotonic()
            if self._ends and ended is None:
                ended = now
            if now >= until or (ended is not None and now >= ended + GRACE_SECONDS):
                task.cancel()
                await asyncio.wait([task], timeout=1.0)
                return Delivery(delivered=False, reason=f"no answer within {self.notifier.timeout:g} s")
            await asyncio.wait([task], timeout=min(0.25, until - now))
        if task.cancelled():
            return Delivery(delivered=False, reason="it was cancelled")
        if (error := task.exception()) is not None:
            # Its text may hold what nobody is to read.
            return Delivery(delivered=False, reason=type(error).__name__)
        said: object = task.result()
        return said if isinstance(said, Delivery) else Delivery(delivered=bool(said))

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ends and (left := until - time.monotonic()) > 0:
            assert self._wake is not None  # noqa: S101 - it runs
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except asyncio.TimeoutError:
                return

    async def _closed(self) -> None:
        try:
            await asyncio.wait_for(self.notifier.close(), GRACE_SECONDS)
        except Exception as error:  # noqa: BLE001 - the end is the end
            logger.warning("%s: closing it: %s", self.name, type(error).__name__)

    def _bury(self, alert: Alert, reason: str) -> None:
        self.dropped += 1
        self.dead.append((alert, reason))
        logger.error("%s: alert %s (%s) was not delivered: %s", self.name, alert.key, alert.state.value, reason)
