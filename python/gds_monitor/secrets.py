"""Who asks: credentials of a target, which may be in Vault and change while we run."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gds_database.config import EngineConfig
from gds_database.opening import VAULT, from_vault
from gds_monitor.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Credentials", "SharedVault"]


class SharedVault:
    """The one client of Vault that all targets share, made when the first asks.

    Args:
        client: A client of ``gds_vault``; None is one from the environment.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client
        self._own = client is None
        self._lock = threading.Lock()

    def client(self) -> Any:
        """It."""
        with self._lock:
            if self._client is None:
                from gds_vault import VaultClient

                self._client = VaultClient()
            return self._client

    def get_secret(self, path: str) -> dict[str, Any]:
        """A secret, from the cache for as long as its lease allows."""
        found: dict[str, Any] = self.client().get_secret(path)
        return found

    def close(self) -> None:
        """Close what was made here."""
        if self._own and self._client is not None:
            self._client.close()


class _Once:
    """Reads each secret once: of credentials that Vault makes for each who asks, user and password belong together."""

    def __init__(self, vault: SharedVault, *, fresh: bool) -> None:
        self._vault = vault
        self._fresh = fresh
        self._read: dict[str, dict[str, Any]] = {}

    def get_secret(self, path: str) -> dict[str, Any]:
        if path not in self._read:
            client = self._vault.client()
            self._read[path] = client.get_secret(path, use_cache=False) if self._fresh else client.get_secret(path)
        return self._read[path]


class Credentials:
    """User and password of a target.

    Args:
        config: Where it is; values ``vault://path#field`` are read from Vault each time they are needed, from the cache
            of its client until shortly before their lease ends.
        vault: A client for them; None is one from the environment.
    """

    def __init__(self, config: str | Mapping[str, Any] | EngineConfig, vault: SharedVault | None = None) -> None:
        self.config = config if isinstance(config, EngineConfig) else EngineConfig.parse(config)
        self._vault = vault or SharedVault()
        self._owns_vault = vault is None
        self._in_vault = any(_is_in_vault(value) for value in (self.config.user, self.config.password))
        self._known: set[str] = set() if self._in_vault or not self.config.password else {self.config.password}
        self._last: tuple[str | None, str | None] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"

    async def current(self) -> tuple[str | None, str | None]:
        """User and password as they are now.

        Raises:
            CollectionError: Vault does not tell.
        """
        if not self._in_vault:
            return self.config.user, self.config.password
        self._last = await self._read(fresh=False)
        return self._last

    async def renewed(self) -> bool:
        """Ask Vault itself, after they were refused; whether they are others now."""
        if not self._in_vault:
            return False
        before, self._last = self._last, await self._read(fresh=True)
        return before != self._last

    async def _read(self, *, fresh: bool) -> tuple[str | None, str | None]:
        vault = _Once(self._vault, fresh=fresh)
        try:
            found = await asyncio.to_thread(
                lambda: tuple(
                    from_vault(value, vault) if value is not None and _is_in_vault(value) else value
                    for value in (self.config.user, self.config.password)
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever Vault's client raises; its messages hold no secrets
            failed = CollectionError("authentication", f"Vault: {error}")
        else:
            user, password = found
            if password:
                self._known.add(password)
            return user, password
        raise failed

    def resolved(self) -> EngineConfig:
        """The config with the credentials that were last read."""
        user, password = self._last or (self.config.user, self.config.password)
        return replace(self.config, user=user, password=password)

    def redact(self, text: str) -> str:
        """A text of the server without passwords."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, "********")
        return text

    def close(self) -> None:
        """Close a client that was made here."""
        if self._owns_vault:
            self._vault.close()


def _is_in_vault(value: str | None) -> bool:
    return isinstance(value, str) and value.startswith(VAULT)
