"""`SecretCache`: secrets that were read, until they may be old.

A secret is kept until the first of: the cache's own ``ttl_seconds``; the end of its lease; the moment Vault deletes its
version; its rotation. Time is counted from before it was asked for, by a clock that nobody sets. What is handed out is
a copy. What is least used leaves first when there are too many.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gds_vault._checks import number, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from gds_vault._lifetime import Lifetime

__all__ = ["SecretCache", "copied", "running_seconds"]

if hasattr(time, "CLOCK_BOOTTIME"):

    def running_seconds() -> float:
        """Seconds that nobody sets. On Linux they pass while the machine sleeps too, as a lease's do."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    running_seconds = time.monotonic


def copied(value: Any) -> Any:
    """A copy of what JSON can hold; four times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [copied(each) for each in value]
    return value


@dataclass(frozen=True, slots=True)
class Key:
    """What a secret is kept under. ``scope`` is who asks whom: address, namespace, mount, credentials."""

    scope: Hashable
    path: str
    version: int | None

    def __repr__(self) -> str:
        return f"Key(path={self.path!r}, version={self.version})"


@dataclass(slots=True)
class _Entry:
    value: dict[str, Any]
    expires_at: float
    leased: bool


class Ticket:
    """A read that is under way. One that began before a write must not be kept after it."""

    __slots__ = ("began_at", "key", "stale")

    def __init__(self, key: Key, began_at: float) -> None:
        self.key = key
        self.began_at = began_at
        self.stale = False


class SecretCache:
    """Keeps secrets in memory. Clients may share one: each sees only what its own address and credentials gave.

    Args:
        ttl_seconds: How long a secret is kept at most; 0 keeps nothing.
        max_entries: How many are kept at most.
        rotation: Whether a secret is read anew once its rotation is due, if it says when that is: static database
            roles (``last_vault_rotation`` and ``ttl``), a field ``next_rotation``, or the custom metadata
            ``next_rotation``, ``rotation_period`` or ``ttl`` of KV version 2.
        clock: Seconds that nobody sets; another one is for tests.

    Raises:
        VaultConfigurationError: A number is out of bounds.
    """

    def __init__(
        self,
        ttl_seconds: float = 300,
        max_entries: int = 1000,
        *,
        rotation: bool = True,
        clock: Callable[[], float] = running_seconds,
    ) -> None:
        self.ttl_seconds = number("ttl_seconds", ttl_seconds, 0, 1e9)
        self.max_entries = whole("max_entries", max_entries, 1, 10_000_000)
        self.rotation = bool(rotation)
        self.clock = clock
        self._entries: OrderedDict[tuple[Hashable, str, int | None], _Entry] = OrderedDict()
        self._renew()
        _caches.add(self)

    def _renew(self) -> None:
        # Reentrant, because a signal handler may read a secret while the same thread holds it.
        self._lock = threading.RLock()
        self._tickets: set[Ticket] = set()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            for ticket in self._tickets:
                ticket.stale = True

    def __len__(self) -> int:
        """How many are kept, some of them expired perhaps."""
        return len(self._entries)

    def __bool__(self) -> bool:
        # An empty one is a cache too: callers write `cache or SecretCache()`.
        return True

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(ttl_seconds={self.ttl_seconds:g}, max_entries={self.max_entries}, "
            f"rotation={self.rotation})"
        )

    # ------------------------------------------------------------------ for the clients
    def get(self, scope: Hashable, path: str, version: int | None) -> dict[str, Any] | None:
        """A copy of what is kept, if it has not expired."""
        key = (scope, path, version)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if self.clock() >= entry.expires_at:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
        copy: dict[str, Any] = copied(entry.value)
        return copy

    def begin(self, scope: Hashable, path: str, version: int | None) -> Ticket:
        """A read begins; `end` it."""
        ticket = Ticket(Key(scope, path, version), self.clock())
        with self._lock:
            self._tickets.add(ticket)
        return ticket

    def keep(self, ticket: Ticket, value: dict[str, Any], lifetime: Lifetime) -> None:
        """Keep what was read, for as long as it lives and unless it was written meanwhile."""
        seconds = min(self.ttl_seconds, lifetime.seconds)
        if self.rotation:
            seconds = min(seconds, lifetime.rotation_seconds)
        expires_at = min(ticket.began_at + seconds, lifetime.ends_at)
        key = (ticket.key.scope, ticket.key.path, ticket.key.version)
        with self._lock:
            if ticket.stale:
                return
            self._entries.pop(key, None)
            if expires_at <= self.clock():
                return
            self._entries[key] = _Entry(value, expires_at, lifetime.leased)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)

    def end(self, ticket: Ticket) -> None:
        """A read has ended, well or not."""
        with self._lock:
            self._tickets.discard(ticket)

    def forget(self, scope: Hashable, path: str) -> None:
        """A secret was written, or is there no more: all its versions go."""
        with self._lock:
            for key in [key for key in self._entries if key[1] == path and key[0] == scope]:
                del self._entries[key]
            for ticket in self._tickets:
                if ticket.key.path == path and ticket.key.scope == scope:
                    ticket.stale = True

    def forget_leased(self, scope: Hashable) -> None:
        """The token is gone, and Vault revokes the leases that were given to it."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if entry.leased and key[0] == scope]:
                del self._entries[key]


_caches: weakref.WeakSet[SecretCache] = weakref.WeakSet()


def _after_fork() -> None:
    # A thread that held a lock, or was reading, does not exist in the child.
    for cache in list(_caches):
        cache._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
