"""What a program brings of its own: a cache, or a transport, as the core knows them."""

from __future__ import annotations

import inspect
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_vault.cache import Ticket, Tickets, copied, running_seconds, unversioned
from gds_vault.exceptions import VaultConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from gds_vault._lifetime import Lifetime
    from gds_vault._report import Report

__all__ = ["BorrowedCache", "BorrowedTransport"]


class BorrowedCache:
    """A cache with ``get``, ``set`` and ``clear`` by path; see `gds_vault.base.CacheProtocol`.

    What it raises is told once, and is as if it kept nothing: a cache is a help and no need.

    Args:
        cache: The program's.
        report: Where that is told.
    """

    def __init__(self, cache: Any, report: Report) -> None:
        for method in ("get", "set", "clear"):
            if isinstance(cache, type) or not callable(getattr(cache, method, None)):
                raise VaultConfigurationError(
                    f"cache: expected a SecretCache or one with the method {method}, got {type(cache).__name__}"
                )
        self.cache = cache
        self.clock = running_seconds
        self._report = report
        self._takes = _keywords(cache.set)
        self._tickets = Tickets()
        self._versions: set[str] = set()
        self._broke = False

    def _tried(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        try:
            return function(*arguments, **settings)
        except Exception as error:  # noqa: BLE001 - as for a collector
            if not self._broke:
                self._broke = True
                self._report.warning("the cache raised %s; further failures are not told", type(error).__name__)
            return None

    def find(
        self, scope: Hashable, path: str, version: int | None, name: Callable[[str, int | None], str]
    ) -> dict[str, Any] | None:
        """A copy of what it keeps."""
        del scope
        key = name(path, version)
        found = self._tried(self.cache.get, key)
        if not isinstance(found, dict):
            return None
        check = getattr(self.cache, "force_refresh_check", None)
        if callable(check) and self._tried(check, key):
            self._remove({key})
            return None
        copy: dict[str, Any] = copied(found)
        return copy

    def begin(self, scope: Hashable, path: str, version: int | None, name: str) -> Ticket:
        """A read begins; `end` it."""
        return self._tickets.begin(Ticket(scope, path, version, name, self.clock()))

    def keep(self, ticket: Ticket, value: dict[str, Any], lifetime: Lifetime) -> None:
        """Give it what was read, unless it was written meanwhile, and how long that lives if it takes it."""
        seconds = min(lifetime.seconds, lifetime.rotation_seconds, lifetime.ends_at - self.clock())
        seconds -= self.clock() - ticket.began_at
        if ticket.stale or seconds <= 0:
            return
        more: dict[str, Any] = {}
        if "rotation_metadata" in self._takes and lifetime.schedule is not None:
            more["rotation_metadata"] = dict(lifetime.schedule)
        if "ttl" in self._takes and seconds != float("inf") and not more:
            more["ttl"] = int(seconds)
        if ticket.version is not None:
            with self._tickets.lock:
                self._versions.add(ticket.name)
        self._tried(self.cache.set, ticket.name, copied(value), **more)

    def end(self, ticket: Ticket) -> None:
        """A read has ended, well or not."""
        self._tickets.end(ticket)

    def forget(self, scope: Hashable, paths: Collection[str]) -> None:
        """A secret was written, or is there no more: its versions go too."""
        with self._tickets.lock:
            self._tickets.spoil(scope, paths)
            names = {*paths, *(name for name in self._versions if unversioned(name) in paths)}
            self._versions -= names
        self._remove(names)

    def forget_leased(self, scope: Hashable) -> None:
        """Vault has revoked leases; which they were, only this cache could know."""
        del scope
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._tickets.lock:
            self._tickets.spoil()
            self._versions.clear()
        self._tried(self.cache.clear)

    def _remove(self, names: Collection[str]) -> bool:
        remove = getattr(self.cache, "remove", None)
        if not callable(remove):
            self._tried(self.cache.clear)
            return True
        return sum(bool(self._tried(remove, name)) for name in names) > 0

    def remove(self, name: str) -> bool:
        """Forget a path; whether it was there."""
        return self._remove({name})

    def get_stats(self) -> dict[str, Any]:
        """What it tells of itself, at least its size."""
        tell = getattr(self.cache, "get_stats", None)
        found = self._tried(tell) if callable(tell) else None
        return found if isinstance(found, dict) else {"size": len(self)}

    def __len__(self) -> int:
        try:
            return len(self.cache)
        except Exception:  # noqa: BLE001 - one that cannot count
            return 0

    def __contains__(self, name: object) -> bool:
        with suppress(Exception):
            return name in self.cache
        return False


def _keywords(function: Callable[..., Any]) -> set[str]:
    """What ``set`` takes beside key and value; ``**kwargs`` takes what is known here."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return {"ttl", "rotation_metadata"}
    return {each.name for each in parameters}


class BorrowedTransport:
    """What sends the requests of a program: ``get``, ``post`` and ``request``, as those of ``requests``.

    It takes the place of hvac's adapter.

    Args:
        transport: The program's.
        origin: What comes before ``/v1/``.
    """

    def __init__(self, transport: Any, origin: str) -> None:
        self._transport = transport
        self._origin = origin

    @staticmethod
    def fits(transport: object) -> bool:
        """Whether it has the methods that are needed."""
        return not isinstance(transport, type) and all(
            callable(getattr(transport, method, None)) for method in ("get", "post", "request")
        )

    def request(self, method: str, url: str, headers: Any, raise_exception: bool, timeout: float, **more: Any) -> Any:
        """As of hvac's adapter."""
        del raise_exception
        address = self._origin + url
        body = {"json": json.loads(more["data"])} if more.get("data") is not None else {}
        if method == "get":
            return self._transport.get(address, headers=headers, timeout=timeout)
        if method == "post":
            return self._transport.post(address, headers=headers, timeout=timeout, **body)
        return self._transport.request(method.upper(), address, headers=headers, timeout=timeout, **body)

    def close(self) -> None:
        """Nothing: it is the program's."""
