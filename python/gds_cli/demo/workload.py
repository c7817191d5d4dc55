"""The program that is watched: threads and a coroutine that read secrets, and a Vault that goes away and comes back."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from gds_cli.demo.threads import Threads
from gds_vault import (
    VaultConnectionError,
    VaultError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_vault import AsyncVaultClient, VaultClient
    from gds_vault.testing import VaultServer

__all__ = ["APPLICATIONS", "SAID", "Workload"]

THREADS = 4
APPLICATIONS = ("billing", "crm", "mail", "orders", "reports", "search", "shop", "stock")
PAUSE_SECONDS = 0.006
SAID = "the new token"
"""How the lines begin that have the canary in them."""

SAID_EVERY_SECONDS = 1.0
PERIOD_SECONDS = 30.0
"""How often Vault goes away in a demo without end."""

logger = logging.getLogger("gds_vault.demo")

_OUTCOMES = ((VaultPermissionError, "denied"), (VaultSecretNotFoundError, "not found"), (VaultConnectionError, "away"))


class Workload(Threads):
    """Reads below a path, until it is told to stop.

    Args:
        client: What threads read with.
        async_client: What a coroutine reads with; its own loop opens and closes it.
        path: Below it lie ``app/<name>``, ``denied`` and nothing else.
        server: The Vault that is stopped for a while, if it is ours to stop.
        seconds: How long it is going to run; 0 is without end.
    """

    def __init__(
        self,
        client: VaultClient,
        async_client: AsyncVaultClient,
        path: str,
        server: VaultServer | None,
        seconds: float,
    ) -> None:
        self._client, self._async_client = client, async_client
        self._path, self._server, self._seconds = path, server, seconds
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._away_since: float | None = None
        self._was_away = False
        self.canary = f"hvs.{secrets.token_urlsafe(24)}"
        """A token that nobody gave us: it is logged on purpose, and must not be found anywhere."""
        self.canaries_logged = 0
        plays: list[Callable[[], None]] = [partial(self._read, seed) for seed in range(THREADS)]
        plays += [self._read_async, self._say, *([self._outages] if server is not None else [])]
        super().__init__(plays, "gds-demo")

    @property
    def happening(self) -> tuple[str, bool]:
        """What Vault does, and whether that is trouble."""
        if self._server is None:
            return "", False
        if self._away_since is not None:
            return "Vault is away, stopped on purpose", True
        return ("Vault is back" if self._was_away else "Vault answers"), False

    @property
    def outcomes(self) -> dict[str, int]:
        """What became of the reads, as the program saw it."""
        with self._lock:
            return dict(self._outcomes)

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._outcomes[outcome] += 1

    def _count_error(self, error: VaultError) -> None:
        self._count(next((what for kind, what in _OUTCOMES if isinstance(error, kind)), type(error).__name__))

    def _choose(self, chance: random.Random) -> tuple[str, bool]:
        """What to read next, and whether the cache will do."""
        luck = chance.random()
        if luck < 0.01:
            return f"{self._path}/denied", True
        if luck < 0.02:
            return f"{self._path}/none", True
        return f"{self._path}/app/{chance.choice(APPLICATIONS)}", luck > 0.1

    def _read(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - a mix of calls, not a secret
        while not self._stop.is_set():
            path, use_cache = self._choose(chance)
            try:
                self._client.get_secret(path, use_cache=use_cache)
                self._count("read")
            except VaultError as error:
                self._count_error(error)
            self._stop.wait(chance.uniform(0, 2 * PAUSE_SECONDS))

    def _read_async(self) -> None:
        asyncio.run(self._coroutine())

    async def _coroutine(self) -> None:
        chance = random.Random(THREADS)  # noqa: S311
        async with self._async_client as client:
            while not self._stop.is_set():
                path, use_cache = self._choose(chance)
                # Three at once ask for the same: Vault is asked once.
                reads = [client.get_secret(path, use_cache=use_cache) for _ in range(3)]
                for outcome in await asyncio.gather(*reads, return_exceptions=True):
                    if isinstance(outcome, VaultError):
                        self._count_error(outcome)
                    elif isinstance(outcome, BaseException):
                        raise outcome
                    else:
                        self._count("read")
                await asyncio.sleep(chance.uniform(0, 6 * PAUSE_SECONDS))

    def _say(self) -> None:
        while True:
            # What must never be done, done on purpose.
            logger.info("%s of %s is %s", SAID, random.choice(APPLICATIONS), self.canary)  # noqa: S311
            self.canaries_logged += 1
            if self._stop.wait(SAID_EVERY_SECONDS):
                return

    def _outages(self) -> None:
        assert self._server is not None  # noqa: S101 - the thread is only made with one
        length = min(4.0, self._seconds * 0.15) if self._seconds else 4.0
        begin, number = time.monotonic(), 0
        while True:
            due = self._seconds * 0.4 if self._seconds else 10.0 + number * PERIOD_SECONDS
            if (self._seconds and number) or self._stop.wait(max(0.0, begin + due - time.monotonic())):
                return
            number += 1
            self._server.stop()
            self._away_since = time.monotonic()
            logger.warning("the demo has stopped Vault; it comes back in %.1f s", length)
            self._stop.wait(length)
            with suppress(OSError):  # said by the reads, which then find nobody
                self._server.start()
            self._away_since, self._was_away = None, True
            logger.warning("the demo has started Vault again")
