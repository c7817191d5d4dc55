"""`SecretCache`: secrets that were read, until they may be old.

A secret is kept until the first of: the cache's own ``ttl_seconds``; the end of its lease; the moment Vault deletes its
version; its rotation. Time is counted from before it was asked for, by a clock that nobody sets. What is handed out is
a copy. What is least used leaves first when there are too many.

Beside what clients keep there, a program may look, `SecretCache.set` and `SecretCache.remove` by the path itself, such
as ``secret/data/app``; ``secret/data/app:v3`` is one version.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gds_vault._checks import number, whole
from gds_vault._forks import AfterFork
from gds_vault._lifetime import OVERDUE_SECONDS
from gds_vault._pinned import Pinned
from gds_vault.exceptions import VaultCacheError
from gds_vault.rotation import calculate_rotation_ttl, should_refresh_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping

    from gds_vault._lifetime import Lifetime

__all__ = ["NoOpCache", "RotationAwareCache", "SecretCache", "TTLCache", "copied", "running_seconds"]

_MOST = 10_000_000

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


def unversioned(name: str) -> str:
    """``secret/data/app`` of ``secret/data/app:v3``."""
    head, found, version = name.rpartition(":v")
    return head if found and version.isdigit() else name


@dataclass(slots=True)
class _Entry:
    name: str
    value: dict[str, Any]
    expires_at: float
    leased: bool = False
    schedule: Mapping[str, Any] | None = None


class Ticket:
    """A read that is under way. One that began before a write must not be kept after it.

    Args:
        scope: Who asks whom: address, namespace, mount, credentials.
        path: What is read, as it was asked for.
        version: Which version of it.
        name: What a program calls it.
        began_at: By the clock of the cache.
    """

    __slots__ = ("began_at", "name", "path", "scope", "stale", "version")

    def __init__(self, scope: Hashable, path: str, version: int | None, name: str, began_at: float) -> None:
        self.scope = scope
        self.path = path
        self.version = version
        self.name = name
        self.began_at = began_at
        self.stale = False


class Tickets:
    """The reads that are under way."""

    def __init__(self) -> None:
        self.renew()
        _tickets.add(self)

    def renew(self) -> None:
        """A thread that held the lock, or was reading, does not exist in a forked child."""
        # Reentrant, because a signal handler may read a secret while the same thread holds it.
        self.lock = threading.RLock()
        self._tickets: set[Ticket] = set()

    def begin(self, ticket: Ticket) -> Ticket:
        """A read begins; `end` it."""
        with self.lock:
            self._tickets.add(ticket)
        return ticket

    def end(self, ticket: Ticket) -> None:
        """A read has ended, well or not."""
        with self.lock:
            self._tickets.discard(ticket)

    def spoil(self, scope: Hashable = None, paths: Collection[str] | None = None) -> None:
        """Keep nothing of what these reads bring; of all without paths."""
        with self.lock:
            for ticket in self._tickets:
                if paths is None or (ticket.path in paths and ticket.scope == scope):
                    ticket.stale = True


_tickets = AfterFork(Tickets.renew)


class SecretCache(Pinned):
    """Keeps secrets in memory. Clients may share one: each sees only what its own address and credentials gave.

    Args:
        max_size: How many are kept at most.
        ttl_seconds: How long a secret is kept at most; 0 keeps nothing.
        max_entries: The same as ``max_size``.
        rotation: Whether a secret is read anew once its rotation is due, if it says when that is: static database
            roles (``last_vault_rotation`` and ``ttl``), a field ``next_rotation``, or the custom metadata
            ``next_rotation``, ``rotation_period``, ``rotation_schedule`` or ``ttl`` of KV version 2.
        clock: Seconds that nobody sets; another one is for tests.

    Raises:
        VaultCacheError: A number is out of bounds.
    """

    _rotation_buffer_seconds = 0.0

    def __init__(
        self,
        max_size: int = 100,
        *,
        ttl_seconds: float = 300,
        max_entries: int | None = None,
        rotation: bool = True,
        clock: Callable[[], float] = running_seconds,
    ) -> None:
        if max_entries is not None:
            max_size = whole("max_entries", max_entries, 1, _MOST, VaultCacheError)
        self.max_size = whole("max_size", max_size, 1, _MOST, VaultCacheError)
        self.ttl_seconds = _seconds("ttl_seconds", ttl_seconds)
        self.rotation = bool(rotation)
        self.clock = clock
        self._entries: OrderedDict[tuple[Hashable, str, int | None], _Entry] = OrderedDict()
        self._hits = self._misses = 0
        self._set_by_name = False
        self._tickets = Tickets()

    @property
    def max_entries(self) -> int:
        """How many are kept at most."""
        return self.max_size

    def clear(self) -> None:
        """Forget everything."""
        with self._tickets.lock:
            self._entries.clear()
            self._tickets.spoil()

    def __len__(self) -> int:
        """How many are kept, some of them expired perhaps."""
        return len(self._entries)

    def __bool__(self) -> bool:
        # An empty one is a cache too: callers write `cache or SecretCache()`.
        return True

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(ttl_seconds={self.ttl_seconds:g}, max_entries={self.max_size}, "
            f"rotation={self.rotation})"
        )

    # ------------------------------------------------------------------ by name
    def get(self, key: str) -> dict[str, Any] | None:
        """A copy of what is kept of a path, if it has not expired."""
        with self._tickets.lock:
            for cache_key in self._named(key):
                found = self._fresh(cache_key)
                if found is not None:
                    return self._hit(cache_key, found)
            self._misses += 1
        return None

    def set(self, key: str, value: dict[str, Any], **kwargs: Any) -> None:
        """Keep a secret by its path, for all clients that use this cache.

        Args:
            key: The path, such as ``secret/data/app``.
            value: Its fields.
            kwargs: ``ttl``, seconds, if it is not that of the cache.
        """
        self._set(key, value, kwargs.get("ttl"), kwargs.get("rotation_metadata"))

    def remove(self, key: str) -> bool:
        """Forget a path; whether it was there."""
        with self._tickets.lock:
            cache_keys = list(self._named(key))
            for cache_key in cache_keys:
                del self._entries[cache_key]
        return bool(cache_keys)

    def get_stats(self) -> dict[str, Any]:
        """``size``, ``max_size``, ``hits``, ``misses``, ``hit_rate`` and the ``keys``, which are paths."""
        with self._tickets.lock:
            asked = self._hits + self._misses
            return {
                "size": len(self._entries),
                "max_size": self.max_size,
                "hits": self._hits,
                "misses": self._misses,
                "hit_rate": self._hits / asked if asked else 0.0,
                "keys": [entry.name for entry in self._entries.values()],
            }

    def __contains__(self, key: object) -> bool:
        """Whether a path is kept, perhaps expired."""
        with self._tickets.lock:
            return any(True for _ in self._named(key))

    def _named(self, key: object) -> Iterator[tuple[Hashable, str, int | None]]:
        return (cache_key for cache_key, entry in list(self._entries.items()) if entry.name == key)

    def _set(self, key: str, value: dict[str, Any], ttl: float | None, schedule: Mapping[str, Any] | None) -> None:
        seconds = self.ttl_seconds if ttl is None else float(ttl)
        with self._tickets.lock:
            self.remove(key)
            self._set_by_name = True
            self._insert((None, key, None), _Entry(key, copied(value), self.clock() + seconds, schedule=schedule))

    # ------------------------------------------------------------------ for the clients
    def find(
        self, scope: Hashable, path: str, version: int | None, name: Callable[[str, int | None], str]
    ) -> dict[str, Any] | None:
        """A copy of what is kept, if it has not expired: what this scope has read, or a program has set by name."""
        cache_key: tuple[Hashable, str, int | None] = (scope, path, version)
        with self._tickets.lock:
            found = self._fresh(cache_key)
            if found is None and self._set_by_name:
                cache_key = (None, name(path, version), None)
                found = self._fresh(cache_key)
            if found is None:
                self._misses += 1
                return None
            return self._hit(cache_key, found)

    def _fresh(self, cache_key: tuple[Hashable, str, int | None]) -> _Entry | None:
        entry = self._entries.get(cache_key)
        if entry is not None and self.clock() >= entry.expires_at:
            del self._entries[cache_key]
            return None
        return entry

    def _hit(self, cache_key: tuple[Hashable, str, int | None], entry: _Entry) -> dict[str, Any]:
        self._entries.move_to_end(cache_key)
        self._hits += 1
        copy: dict[str, Any] = copied(entry.value)
        return copy

    def begin(self, scope: Hashable, path: str, version: int | None, name: str) -> Ticket:
        """A read begins; `end` it."""
        return self._tickets.begin(Ticket(scope, path, version, name, self.clock()))

    def keep(self, ticket: Ticket, value: dict[str, Any], lifetime: Lifetime) -> None:
        """Keep what was read, for as long as it lives and unless it was written meanwhile."""
        seconds = min(self.ttl_seconds, lifetime.seconds)
        if self.rotation and lifetime.rotation_seconds < seconds:
            early = lifetime.rotation_seconds - self._rotation_buffer_seconds
            seconds = min(seconds, max(early, min(OVERDUE_SECONDS, lifetime.rotation_seconds)))
        expires_at = min(ticket.began_at + seconds, lifetime.ends_at)
        cache_key = (ticket.scope, ticket.path, ticket.version)
        with self._tickets.lock:
            if ticket.stale:
                return
            self._entries.pop(cache_key, None)
            if expires_at > self.clock():
                self._insert(cache_key, _Entry(ticket.name, value, expires_at, lifetime.leased, lifetime.schedule))

    def _insert(self, cache_key: tuple[Hashable, str, int | None], entry: _Entry) -> None:
        self._entries[cache_key] = entry
        while len(self._entries) > self.max_size:
            self._entries.popitem(last=False)

    def end(self, ticket: Ticket) -> None:
        """A read has ended, well or not."""
        self._tickets.end(ticket)

    def forget(self, scope: Hashable, paths: Collection[str]) -> None:
        """A secret was written, or is there no more: all its versions go, however it was asked for."""
        with self._tickets.lock:
            for cache_key, entry in list(self._entries.items()):
                whose, path, _ = cache_key
                if (path in paths and whose == scope) or (whose is None and unversioned(entry.name) in paths):
                    del self._entries[cache_key]
            self._tickets.spoil(scope, paths)

    def forget_leased(self, scope: Hashable) -> None:
        """The token is gone, and Vault revokes the leases that were given to it."""
        with self._tickets.lock:
            for cache_key in [
                cache_key for cache_key, entry in self._entries.items() if entry.leased and cache_key[0] == scope
            ]:
                del self._entries[cache_key]

    def cleanup_expired(self) -> int:
        """Forget what has expired, which is not handed out anyway; how many that were."""
        with self._tickets.lock:
            return sum(self._fresh(cache_key) is None for cache_key in list(self._entries))

    def _remaining_seconds(self) -> float:
        left = [entry.expires_at - self.clock() for entry in self._entries.values()]
        left = [seconds for seconds in left if seconds > 0]
        return sum(left) / len(left) if left else 0.0


class TTLCache(SecretCache):
    """A `SecretCache` by its older name and arguments.

    Args:
        max_size: How many are kept at most.
        default_ttl: How many seconds each is kept at most.
    """

    def __init__(self, max_size: int = 100, default_ttl: int = 300) -> None:
        super().__init__(max_size, ttl_seconds=_seconds("default_ttl", default_ttl))

    @property
    def default_ttl(self) -> float:
        """How many seconds each is kept at most."""
        return self.ttl_seconds

    def set(  # type: ignore[override]
        self,
        key: str,
        value: dict[str, Any],
        ttl: int | None = None,
        rotation_metadata: dict[str, Any] | None = None,
    ) -> None:
        """Keep a secret by its path, for ``ttl`` seconds, or until 10 minutes before its rotation.

        Args:
            key: The path.
            value: Its fields.
            ttl: Seconds; None is those of the cache.
            rotation_metadata: A ``last_rotation`` and a ``schedule``, a cron expression.
        """
        if ttl is None and rotation_metadata:
            ttl = _until_rotation(rotation_metadata, 10) or None
        self._set(key, value, ttl, rotation_metadata)

    def get_stats(self) -> dict[str, Any]:
        """As of `SecretCache`, and ``default_ttl`` and ``avg_remaining_ttl`` in seconds."""
        with self._tickets.lock:
            remaining = self._remaining_seconds()
            return {**super().get_stats(), "default_ttl": self.default_ttl, "avg_remaining_ttl": remaining}


class RotationAwareCache(SecretCache):
    """A `SecretCache` that lets go of a secret some time before its rotation.

    Args:
        max_size: How many are kept at most.
        buffer_minutes: How long before its rotation a secret is not handed out any more.
        fallback_ttl: How many seconds a secret is kept at most.
    """

    def __init__(self, max_size: int = 100, buffer_minutes: int = 10, fallback_ttl: int = 300) -> None:
        super().__init__(max_size, ttl_seconds=_seconds("fallback_ttl", fallback_ttl))
        self.buffer_minutes = number("buffer_minutes", buffer_minutes, 0, 1e6, "minutes")
        self._rotation_buffer_seconds = self.buffer_minutes * 60

    @property
    def fallback_ttl(self) -> float:
        """How many seconds a secret is kept at most."""
        return self.ttl_seconds

    def set(  # type: ignore[override]
        self,
        key: str,
        value: dict[str, Any],
        rotation_metadata: dict[str, Any] | None = None,
        ttl: int | None = None,
    ) -> None:
        """Keep a secret by its path, until its rotation is near or for ``ttl`` seconds.

        Args:
            key: The path.
            value: Its fields.
            rotation_metadata: A ``last_rotation`` and a ``schedule``, a cron expression.
            ttl: Seconds, where there is no rotation; None is those of the cache.
        """
        if rotation_metadata:
            known = _until_rotation(rotation_metadata, int(self.buffer_minutes))
            ttl = ttl if known is None else known
        self._set(key, value, ttl, rotation_metadata)

    def force_refresh_check(self, key: str) -> bool:
        """Whether the rotation of a path that is kept is near or past."""
        schedule = self.get_rotation_info(key)
        return schedule is not None and self._near(schedule)

    def get_rotation_info(self, key: str) -> dict[str, Any] | None:
        """What is known of a path's rotation."""
        with self._tickets.lock:
            found = [self._entries[cache_key].schedule for cache_key in self._named(key)]
        return dict(found[0]) if found and found[0] else None

    def _near(self, schedule: Mapping[str, Any]) -> bool:
        return should_refresh_secret(
            schedule.get("last_rotation", 0), schedule.get("schedule", ""), int(self.buffer_minutes)
        )

    def get_stats(self) -> dict[str, Any]:
        """As of `SecretCache`, and what is known of rotations."""
        with self._tickets.lock:
            schedules = [entry.schedule for entry in self._entries.values() if entry.schedule]
            return {
                **super().get_stats(),
                "buffer_minutes": self.buffer_minutes,
                "fallback_ttl": self.fallback_ttl,
                "secrets_with_rotation": len(schedules),
                "secrets_needing_refresh": sum(map(self._near, schedules)),
                "avg_remaining_ttl": self._remaining_seconds(),
            }


class NoOpCache:
    """Keeps nothing: each secret is read when it is asked for."""

    def get(self, key: str) -> dict[str, Any] | None:  # noqa: ARG002 - what a cache is asked
        """None."""
        return None

    def set(self, key: str, value: dict[str, Any], ttl: int | None = None, **kwargs: Any) -> None:
        """Nothing."""

    def clear(self) -> None:
        """Nothing."""

    def remove(self, key: str) -> bool:  # noqa: ARG002 - as above
        """False: it was not there."""
        return False

    def get_stats(self) -> dict[str, Any]:
        """That it is off."""
        return {"type": "no-op", "enabled": False}

    def __len__(self) -> int:
        return 0

    def __contains__(self, key: str) -> bool:
        return False

    def __repr__(self) -> str:
        return "NoOpCache()"


def _seconds(setting: str, value: object) -> float:
    return number(setting, value, 0, 1e9)


def _until_rotation(schedule: Mapping[str, Any], buffer_minutes: int) -> int | None:
    """Seconds; None if nobody can tell."""
    try:
        return calculate_rotation_ttl(schedule["last_rotation"], schedule["schedule"], buffer_minutes)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return None
