"""Secrets: which requests read, list and change them, and what the answers mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gds_vault._wire import Call, Reply, said
from gds_vault.exceptions import (
    VaultConfigurationError,
    VaultConflictError,
    VaultConnectionError,
    VaultError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_vault._exchange import Exchange
    from gds_vault._mounts import Mounts, SecretLocation
    from gds_vault._tokens import Tokens
    from gds_vault._wire import Steps, T

__all__ = ["Secrets"]


class Secrets:
    """The secrets of one client.

    Args:
        exchange: Says how long a call may take.
        tokens: Ask Vault, with the token.
        mounts: Tell where a path leads.
    """

    def __init__(self, exchange: Exchange, tokens: Tokens, mounts: Mounts) -> None:
        self._exchange = exchange
        self._tokens = tokens
        self._mounts = mounts

    @property
    def _address(self) -> str:
        return self._exchange.settings.vault_addr

    def fetch(
        self, path: str, version: int | None, deadline: float
    ) -> Steps[tuple[dict[str, Any], Reply, dict[str, Any]]]:
        """Its fields, the answer that has them, and what KV version 2 keeps beside them."""
        return (yield from self._found(path, deadline, lambda location: self._fetch(location, path, version, deadline)))

    def names(self, path: str) -> Steps[list[str]]:
        """The names below a path."""
        deadline = self._exchange.deadline()
        return (yield from self._found(path, deadline, lambda location: self._list(location, path, deadline)))

    def change(
        self, path: str, method: str, content: Any, cas: int | None, tried: Callable[[SecretLocation], None]
    ) -> Steps[int | None]:
        """Write, patch or delete; the number of the new version, where versions are kept.

        Args:
            path: Of the secret.
            method: POST, PATCH or DELETE.
            content: What is written, as JSON knows it.
            cas: Of KV version 2: only if this is the latest version.
            tried: Called with the location of the secret once Vault may have done it.
        """
        deadline = self._exchange.deadline()
        location = yield from self._mounts.locate(path, deadline)
        if location.kv != 2 and (method == "PATCH" or cas is not None):
            what = "patch_secret" if method == "PATCH" else f"cas={cas}"
            raise VaultConfigurationError(
                f"{what}: the mount {location.mount!r} is not KV version 2 and keeps no versions", path=path
            )
        call = Call(method, _target(location), body=_body(location, method, content, cas), repeatable=False)
        try:
            reply = yield from self._tokens.ask(call, path, deadline)
        finally:
            # Also after a failure: Vault may have taken it.
            tried(location)
        if reply.status == 404:
            raise VaultSecretNotFoundError(f"{path!r}: there is no such secret{said(reply)}", path=path, status=404)
        if reply.status == 400 and "did not match" in said(reply):
            raise VaultConflictError(
                f"{path!r}: not written{said(reply)}; read it with use_cache=False and decide anew",
                path=path,
                status=400,
            )
        data = self._good(reply, path).get("data")
        version = data.get("version") if location.kv == 2 and isinstance(data, dict) else None
        return version if isinstance(version, int) else None

    def _found(self, path: str, deadline: float, ask: Callable[[SecretLocation], Steps[T]]) -> Steps[T]:
        """What is asked for, from where the path leads, or else from the other location that it may mean."""
        location = yield from self._mounts.locate(path, deadline)
        try:
            return (yield from ask(location))
        except (VaultSecretNotFoundError, VaultPermissionError):
            other = yield from self._mounts.elsewhere(path, deadline)
            if other is None or other == location:
                raise
        return (yield from ask(other))

    def _fetch(
        self, location: SecretLocation, path: str, version: int | None, deadline: float
    ) -> Steps[tuple[dict[str, Any], Reply, dict[str, Any]]]:
        if version is not None and location.kv != 2:
            raise VaultConfigurationError(
                f"version={version}: the mount {location.mount!r} is not KV version 2 and keeps no versions",
                path=path,
            )
        target = _target(location)
        if version is not None:
            target += f"?version={version}"
        reply = yield from self._tokens.ask(Call("GET", target), path, deadline)
        if reply.status == 404:
            raise VaultSecretNotFoundError(_not_found(path, version, reply, location.mount), path=path, status=404)
        data = self._good(reply, path).get("data")
        metadata: dict[str, Any] = {}
        if location.kv == 2 and isinstance(data, dict):
            beside = data.get("metadata")
            metadata = beside if isinstance(beside, dict) else {}
            data = data.get("data")
        if not isinstance(data, dict):
            raise VaultConnectionError(
                f"{path!r}: expected a secret from {self._address}, got something else; see mount_point and kv_version",
                path=path,
                status=reply.status,
            )
        return data, reply, metadata

    def _list(self, location: SecretLocation, path: str, deadline: float) -> Steps[list[str]]:
        reply = yield from self._tokens.ask(Call("GET", location.listing()), path, deadline)
        if reply.status == 404:
            raise VaultSecretNotFoundError(
                f"{path!r}: there is nothing below it in the mount {location.mount!r}{said(reply)}",
                path=path,
                status=404,
            )
        data = self._good(reply, path).get("data")
        keys = data.get("keys") if isinstance(data, dict) else None
        return [str(key) for key in keys] if isinstance(keys, list) else []

    def _good(self, reply: Reply, path: str) -> dict[str, Any]:
        if reply.status >= 300:
            raise VaultError(
                f"{path!r}: vault refused with {reply.status}{said(reply)}", path=path, status=reply.status
            )
        if reply.body is None:
            raise VaultConnectionError(
                f"{path!r}: expected JSON from {self._address}, got something else; is this the address of a Vault?",
                path=path,
                status=reply.status,
            )
        return reply.body


def _target(location: SecretLocation) -> str:
    if not location.path:
        raise VaultConfigurationError(f"path={location.mount!r}: expected a path within the mount", path=location.mount)
    return location.data()


def _body(location: SecretLocation, method: str, content: Any, cas: int | None) -> bytes | None:
    if method == "DELETE":
        return None
    if location.kv != 2:
        return json.dumps(content).encode()
    options = {} if cas is None else {"options": {"cas": cas}}
    return json.dumps({"data": content, **options}).encode()


def _not_found(path: str, version: int | None, reply: Reply, mount: str) -> str:
    data = (reply.body or {}).get("data")
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if isinstance(metadata, dict):
        which = f"version {metadata.get('version')}" if isinstance(metadata.get("version"), int) else "its version"
        how = "destroyed" if metadata.get("destroyed") is True else "deleted"
        return f"{path!r}: {which} was {how}"
    asked = f" of version {version}" if version is not None else ""
    return f"{path!r}: there is no such secret{asked} in the mount {mount!r}{said(reply)}"
