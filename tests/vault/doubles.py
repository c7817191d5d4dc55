"""Both kinds of client behind one face, collectors that remember or break, and a clock that is set."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import uvloop

from gds_vault import AsyncVaultClient, RetryPolicy, VaultClient

T = TypeVar("T")

QUICK = RetryPolicy(attempts=3, base_delay_seconds=0.0, max_delay_seconds=0.0)
"""Three attempts, one after the other."""

KINDS = ("threads", "asyncio", "uvloop")


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Recorder:
    """A collector that remembers."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self.counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self.gauges: dict[str, float] = {}
        self.timings: list[tuple[str, float, dict[str, str]]] = []

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        with self._told:
            self.counts[name, tuple(sorted((labels or {}).items()))] += int(value)
            self._told.notify_all()

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        self.gauges[name] = value

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        self.timings.append((name, value_ms, dict(labels or {})))

    def count(self, name: str, **labels: str) -> int:
        return self.counts[name, tuple(sorted(labels.items()))]

    def total(self, name: str) -> int:
        with self._told:
            return self._total(name)

    def _total(self, name: str) -> int:
        return sum(count for (each, _), count in self.counts.items() if each == name)

    def wait_for(self, name: str, total: int) -> None:
        """Wait until a counter has reached a value, whatever its labels."""
        with self._told:
            assert self._told.wait_for(lambda: self._total(name) >= total, 60), f"{name} is {self._total(name)}"


class Broken:
    """A collector that raises whatever it is asked."""

    def _fail(self, *arguments: object, **settings: object) -> NoReturn:
        raise RuntimeError("broken on purpose")

    increment = gauge = timing = _fail


class Driven:
    """Either client, called as if it were the one for threads."""

    def __init__(self, kind: str, *arguments: Any, **settings: Any) -> None:
        self._loop = {"threads": lambda: None, "asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[
            kind
        ]()
        self.client: Any = (VaultClient if self._loop is None else AsyncVaultClient)(*arguments, **settings)

    def _wait(self, result: Any) -> Any:
        return result if self._loop is None else self._loop.run_until_complete(result)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return self._loop.run_until_complete(coroutine)

    def get_secret(self, path: Any, **settings: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._wait(self.client.get_secret(path, **settings))
        return found

    def list_secrets(self, path: Any) -> list[str]:
        found: list[str] = self._wait(self.client.list_secrets(path))
        return found

    def put_secret(self, path: Any, data: Any, **settings: Any) -> int | None:
        version: int | None = self._wait(self.client.put_secret(path, data, **settings))
        return version

    def patch_secret(self, path: Any, data: Any, **settings: Any) -> int | None:
        version: int | None = self._wait(self.client.patch_secret(path, data, **settings))
        return version

    def call(self, method: str, *arguments: Any, **settings: Any) -> Any:
        """Any other method."""
        return self._wait(getattr(self.client, method)(*arguments, **settings))

    def delete_secret(self, path: Any) -> None:
        self._wait(self.client.delete_secret(path))

    def close(self) -> None:
        self._wait(self.client.close() if self._loop is None else self.client.aclose())

    def dispose(self) -> None:
        self.close()
        if self._loop is not None:
            self._loop.run_until_complete(asyncio.sleep(0))  # what aiohttp closes, it closes in the next round
            self._loop.close()
