"""A connection to a target: opened when it is needed, kept, and replaced when it is lost; it locks no account."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_database.errors import MissingExtraError
from gds_monitor.errors import CollectionError

if TYPE_CHECKING:
    from gds_monitor.secrets import Credentials

__all__ = ["APPLICATION", "Link", "needs"]

APPLICATION = "gds_monitor"
CONNECT_SECONDS = 30.0
"""How long opening a connection may take where the address says nothing of it; never more than a cycle has."""
CYCLE_PART = 0.8
"""What of the time that a cycle has left one thing before its measurements may use."""
BACKOFF_SECONDS = 10.0
BACKOFF_LIMIT_SECONDS = 300.0


def needs(module: str, extra: str) -> None:
    """Ask for a driver, without loading it.

    Raises:
        MissingExtraError: It is not installed.
    """
    found = None
    with suppress(ImportError, ValueError):  # of the package that it is in
        found = importlib.util.find_spec(module)
    if found is None:
        raise MissingExtraError(f"{module} is not installed; run: pip install 'gds-database[{extra}]'")


class Link(ABC):
    """One connection, or none.

    Args:
        credentials: Where the server is, and who asks.
        application_name: What the server shows of us.
        connect_seconds: How long opening it may take.
    """

    def __init__(self, credentials: Credentials, *, application_name: str, connect_seconds: float) -> None:
        self.credentials = credentials
        self.application_name = application_name
        self.connect_seconds = connect_seconds
        self._cycle_ends = float("inf")
        self.connections = 0
        """How many it has opened so far."""
        self._raw: Any = None
        self._raw_credentials: tuple[str | None, str | None] | None = None
        self._place = ""
        self._refusals = 0
        self._not_before = 0.0
        self._turn = asyncio.Lock()

    # ------------------------------------------------------------------ what a platform is
    @abstractmethod
    async def _opened(self, place: str, current: tuple[str | None, str | None]) -> Any:
        """A new connection, in a database and with these credentials.

        Raises:
            CollectionError: There is none, and why.
        """

    @abstractmethod
    async def _closed(self, raw: Any) -> None:
        """Close one; may raise anything."""

    def _is_open(self) -> bool:
        """Whether there is one that is not known to be lost."""
        return self._raw is not None

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection, also while somebody waits for it. Never waits and never raises."""

    # ------------------------------------------------------------------ opening and closing
    def begin_cycle(self, seconds: float | None) -> None:
        """Say how long the cycle has that begins, which opening does not use up; None is as long as it likes."""
        self._cycle_ends = float("inf") if seconds is None else time.monotonic() + seconds

    def allowed(self, seconds: float) -> float:
        """So long, but not all that the cycle has left: there is time to tell that it failed, however often."""
        return max(0.1, min(seconds, (self._cycle_ends - time.monotonic()) * CYCLE_PART))

    @property
    def opening_seconds(self) -> float:
        """How long opening may take now."""
        return self.allowed(self.connect_seconds)

    async def _connect(self, place: str = "") -> Any:
        """A new connection; where it was refused before, not at once."""
        if time.monotonic() < self._not_before and not await self.credentials.renewed():
            wait = self._not_before - time.monotonic()
            raise CollectionError("authentication_backoff", f"refused before; asked again in {wait:.0f} s")
        try:
            raw = await self._let_in(place)
        except CollectionError as error:
            if error.reason != "authentication" or not await self.credentials.renewed():
                self._note(error)
                raise
            # The password was rotated, and this is the new one.
            try:
                raw = await self._let_in(place)
            except CollectionError as again:
                self._note(again)
                raise
        self._refusals, self._not_before = 0, 0.0
        self._raw, self._place = raw, place
        return raw

    async def _let_in(self, place: str) -> Any:
        current = await self.credentials.current()
        raw = await self._opened(place, current)
        self.connections += 1
        self._raw_credentials = current
        return raw

    def _note(self, error: CollectionError) -> None:
        """Wait longer each time that the credentials are refused, for servers lock accounts."""
        if error.reason == "authentication":
            pause = min(BACKOFF_SECONDS * 2**self._refusals, BACKOFF_LIMIT_SECONDS)
            self._refusals += 1
            self._not_before = time.monotonic() + pause

    async def renew(self) -> None:
        """Once in a cycle: leave a connection whose credentials are others by now, before they end."""
        async with self._turn:
            if not self._is_open():
                return
            try:
                current = await self.credentials.current()
            except CollectionError:
                return  # the connection is as good as it was
            if current != self._raw_credentials:
                await self._drop()

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _drop(self) -> None:
        raw, self._raw, self._place = self._raw, None, ""
        if raw is not None:
            with suppress(Exception):  # it is gone, one way or the other
                await self._closed(raw)
