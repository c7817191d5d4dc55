"""Where a path leads: within the mount of the client, or, written as in Vault's API, in the one it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gds_vault._wire import Call, Once, Reply, api_path
from gds_vault.exceptions import VaultConnectionError, VaultPermissionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_vault._exchange import Exchange
    from gds_vault._report import Report
    from gds_vault._tokens import Tokens
    from gds_vault._wire import Steps

__all__ = ["Mounts", "SecretLocation", "spellings"]

ASSUMED_SECONDS = 60.0
"""How long what a mount does not tell is taken for granted: policies change."""

_MOST_REMEMBERED = 1000
_LIKE_API = re.compile(r"[^/]+(?:/[^/]+)*?/(?:data|metadata)(?:/|$)")


@dataclass(frozen=True, slots=True)
class SecretLocation:
    """Where a secret is.

    Attributes:
        mount: Where its engine is.
        path: Within that.
        kv: The version of KV; engines other than KV answer as 1 does.
    """

    mount: str
    path: str
    kv: int

    def data(self) -> str:
        """What to ask for to read or write it."""
        return api_path(self.mount, "data" if self.kv == 2 else "", self.path)

    def listing(self) -> str:
        """What to ask for to see what is below it."""
        return api_path(self.mount, "metadata" if self.kv == 2 else "", self.path) + "?list=true"


class Mounts:
    """What one client knows of mounts.

    Args:
        exchange: Asks Vault.
        tokens: Asks it with a token.
        report: What is told of it.
        clock: That of the cache.
    """

    def __init__(self, exchange: Exchange, tokens: Tokens, report: Report, clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._tokens = tokens
        self._report = report
        self._clock = clock
        self._kv_version = exchange.settings.kv_version
        self._ask_version_at = float("-inf")
        self._others: dict[str, int] = {}
        self._no_mount_until: dict[str, float] = {}

    def forget(self) -> None:
        """Begin anew: the client's mount is another one now."""
        self._kv_version = self._exchange.settings.kv_version
        self._ask_version_at = float("-inf")

    def locate(self, path: str, deadline: float) -> Steps[SecretLocation]:
        """Where a path leads."""
        mine = self._exchange.settings
        if not mine.mount_is_given and not f"{path}/".startswith(f"{mine.mount_point}/"):
            found = self._known(path)
            if found is None and _LIKE_API.match(path):
                found = yield from self.elsewhere(path, deadline)
            if found is not None:
                return found
        kv = yield from self._version(deadline)
        return SecretLocation(mine.mount_point, _within(mine.mount_point, kv, path, mine.mount_is_given), kv)

    def spellings(self, path: str) -> set[str]:
        """All that a path may be written as, as far as that is known without a question."""
        mine = self._exchange.settings
        kv = 2 if self._kv_version is None else self._kv_version
        location = self._known(path) or SecretLocation(
            mine.mount_point, _within(mine.mount_point, kv, path, mine.mount_is_given), kv
        )
        return {path, *spellings(location, mine.mount_point)}

    def elsewhere(self, path: str, deadline: float) -> Steps[SecretLocation | None]:
        """The location of a path that begins with another mount than the one nobody has named; None if there is none.

        Vault is asked, which says so of paths that the token may use.
        """
        first, slash, _ = path.partition("/")
        if self._exchange.settings.mount_is_given or not slash:
            return None
        if self._clock() < self._no_mount_until.get(first, float("-inf")):
            return None
        token = yield from self._tokens.usable(deadline)
        call = Call("GET", api_path("sys/internal/ui/mounts", path), token=token.value)
        try:
            reply = yield from self._exchange.ask(call, deadline)
        except VaultConnectionError:
            return None  # what was asked for before says what is wrong
        data = (reply.body or {}).get("data")
        mount = data.get("path") if reply.status == 200 and isinstance(data, dict) else None
        if isinstance(data, dict) and isinstance(mount, str) and f"{path}/".startswith(mount) and mount.strip("/"):
            self._others[mount.strip("/")] = _kv_version(data)
            return self._known(path)
        if len(self._no_mount_until) >= _MOST_REMEMBERED:
            self._no_mount_until.clear()
        self._no_mount_until[first] = self._clock() + ASSUMED_SECONDS
        return None

    def _known(self, path: str) -> SecretLocation | None:
        for mount, kv in list(self._others.items()):
            if f"{path}/".startswith(f"{mount}/"):
                rest = path[len(mount) + 1 :]
                for kind in ("data/", "metadata/") if kv == 2 else ():
                    rest = f"{rest}/".removeprefix(kind).rstrip("/") if f"{rest}/".startswith(kind) else rest
                return SecretLocation(mount, rest, kv)
        return None

    def _version(self, deadline: float) -> Steps[int]:
        if self._kv_version is None and self._clock() >= self._ask_version_at:
            yield Once("mount", lambda _: self._ask_version(deadline))
        return 2 if self._kv_version is None else self._kv_version

    def _ask_version(self, deadline: float) -> Steps[None]:
        mount = self._exchange.settings.mount_point
        call = Call("GET", api_path("sys/internal/ui/mounts", mount))
        try:
            reply = yield from self._tokens.ask(call, mount, deadline)
        except VaultPermissionError:
            reply = Reply(403, {})
        data = (reply.body or {}).get("data")
        if reply.status != 200 or not isinstance(data, dict):
            # A policy forbids it, or it is no Vault of 2018 or later.
            self._ask_version_at = self._clock() + ASSUMED_SECONDS
            self._report.info(
                "the mount %r does not tell its version (%d); taken for KV version 2, set kv_version if it is not",
                mount,
                reply.status,
            )
            return
        self._kv_version = _kv_version(data)


def _kv_version(data: dict[str, object]) -> int:
    options = data.get("options")
    version = options.get("version") if isinstance(options, dict) else None
    # Engines other than KV answer as KV version 1 does: the secret is all there is.
    return 2 if data.get("type") in {"kv", "generic"} and str(version) == "2" else 1


def _within(mount: str, kv: int, path: str, mount_is_given: bool) -> str:
    """A path within its mount, whichever way it was written.

    ``secret/data/app`` is how the API names ``app`` in ``secret``; where somebody has named the mount, so is
    ``data/app``. The engines that keep no versions have nothing between the mount and the path.
    """
    if kv == 2:
        starts = [f"{mount}/data/", f"{mount}/metadata/"] + (["data/", "metadata/"] if mount_is_given else [])
    else:
        starts = [f"{mount}/"]
    for start in starts:
        if path.startswith(start):
            return path[len(start) :]
        if path == start.rstrip("/") and start.endswith("metadata/"):
            return ""  # the whole mount, to list it
    return path


def spellings(location: SecretLocation, mine: str) -> set[str]:
    """All that a location may have been asked for by, and so what a cache may keep it under."""
    found = {f"{location.mount}/{kind}{location.path}" for kind in ("", "data/")}
    return found | {location.path, f"data/{location.path}"} if location.mount == mine else found
