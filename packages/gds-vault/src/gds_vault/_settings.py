"""Where a client's settings come from: an argument, else ``config``, else the environment."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from gds_vault._checks import header_text, nearest, number, secret_path, text, whole
from gds_vault.auth import AppRoleAuth, Auth, TokenAuth, UserpassAuth
from gds_vault.errors import VaultConfigurationError

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["DEFAULT_TIMEOUT_SECONDS", "Settings", "resolve"]

DEFAULT_TIMEOUT_SECONDS = 10.0
DEFAULT_MOUNT_POINT = "secret"
DEFAULT_MAX_PATH_LABELS = 200

_ENVIRONMENT = {
    "vault_addr": "VAULT_ADDR",
    "token": "VAULT_TOKEN",
    "role_id": "VAULT_ROLE_ID",
    "secret_id": "VAULT_SECRET_ID",
    "namespace": "VAULT_NAMESPACE",
    "mount_point": "VAULT_MOUNT_POINT",
    "ssl_cert_path": "VAULT_SSL_CERT",
}
_CREDENTIALS = ("token", "role_id", "secret_id", "username", "password")
_KNOWN = {
    *_ENVIRONMENT,
    *_CREDENTIALS,
    "auth_mount_point",
    "kv_version",
    "max_path_labels",
    "timeout",
    "verify_ssl",
}
# A path prefix is allowed: some have Vault behind a proxy.
_ADDRESS = re.compile(r"https?://[^/?#\s@]+(?:/[^?#\s@]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """What a client goes by, checked."""

    vault_addr: str
    auth: Auth
    mount_point: str
    namespace: str | None
    ssl_cert_path: str | None
    verify_ssl: bool
    timeout_seconds: float
    kv_version: int | None
    max_path_labels: int

    @property
    def scope(self) -> Hashable:
        """Who asks whom: what one has read is not handed to another."""
        return (self.vault_addr, self.namespace, self.mount_point, self.auth)


def resolve(
    *,
    vault_addr: str | None,
    auth: Auth | None,
    timeout: float,
    config: object,
    verify_ssl: bool,
    ssl_cert_path: str | os.PathLike[str] | None,
    mount_point: str | None,
    namespace: str | None,
) -> Settings:
    """The settings of a client.

    Raises:
        VaultConfigurationError: One is missing, unknown or makes no sense.
    """
    given = _given(config)
    named = {"vault_addr": vault_addr, "ssl_cert_path": ssl_cert_path, "mount_point": mount_point}
    arguments = {name: value for name, value in {**named, "namespace": namespace}.items() if value is not None}
    environment = {name: value for name, key in _ENVIRONMENT.items() if (value := os.environ.get(key))}
    found: dict[str, Any] = {**environment, **given, **arguments}
    # The two whose argument has a default: one that differs from it was meant.
    if timeout == DEFAULT_TIMEOUT_SECONDS:
        timeout = given.get("timeout", timeout)
    if verify_ssl is True:
        verify_ssl = given.get("verify_ssl", verify_ssl)
    if not isinstance(verify_ssl, bool):
        raise VaultConfigurationError(f"verify_ssl={verify_ssl!r}: expected True or False")
    kv_version = found.get("kv_version")
    if kv_version is not None:
        whole("kv_version", kv_version, 1, 2)
    return Settings(
        vault_addr=_address(found.get("vault_addr")),
        auth=_auth(auth, given, environment),
        mount_point=secret_path(found.get("mount_point", DEFAULT_MOUNT_POINT), "mount_point"),
        namespace=_namespace(found.get("namespace")),
        ssl_cert_path=_bundle(found.get("ssl_cert_path")),
        verify_ssl=verify_ssl,
        timeout_seconds=number("timeout", timeout, 0.001, 3600),
        kv_version=kv_version,
        max_path_labels=whole("max_path_labels", found.get("max_path_labels", DEFAULT_MAX_PATH_LABELS), 0, 100_000),
    )


def _given(config: object) -> dict[str, Any]:
    if config is None:
        return {}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}
    if not isinstance(config, Mapping):
        raise VaultConfigurationError(f"config: expected a mapping or a dataclass, got {type(config).__name__}")
    for name in config:
        if name not in _KNOWN:
            raise VaultConfigurationError(f"config: {name!r} is not known; the nearest is {nearest(name, _KNOWN)!r}")
    return {name: value for name, value in config.items() if value is not None}


def _address(value: object) -> str:
    if value is None:
        raise VaultConfigurationError("vault_addr: none was given; pass it, or set VAULT_ADDR to https://HOST:8200")
    address = text("vault_addr", value).rstrip("/")
    # An address with a password in it is not shown, so none is.
    if not _ADDRESS.fullmatch(address):
        raise VaultConfigurationError(
            "vault_addr: expected http:// or https://, a host and perhaps a port, without a user, a query or a fragment"
        )
    try:
        port = urlsplit(address).port
    except ValueError:
        port = -1
    if port == -1 or not urlsplit(address).hostname:
        raise VaultConfigurationError(
            "vault_addr: expected a host and a port from 1 to 65535, such as https://HOST:8200"
        )
    return address


def _namespace(value: object) -> str | None:
    return None if value is None else header_text("namespace", value).strip("/") or None


def _bundle(value: object) -> str | None:
    if value is None:
        return None
    try:
        path = os.fsdecode(cast("str", value))
    except TypeError:
        path = ""
    if not path or not Path(path).exists():
        raise VaultConfigurationError(f"ssl_cert_path={value!r}: expected the path of a CA bundle, there is none")
    return path


def _auth(auth: Auth | None, given: Mapping[str, Any], environment: Mapping[str, str]) -> Auth:
    if auth is not None:
        if not isinstance(auth, (AppRoleAuth, TokenAuth, UserpassAuth)):
            raise VaultConfigurationError(
                f"auth: expected AppRoleAuth, TokenAuth or UserpassAuth, got {type(auth).__name__}"
            )
        return auth
    found = _found({name: given[name] for name in _CREDENTIALS if name in given}, environment)
    mount = {"mount_point": given["auth_mount_point"]} if "auth_mount_point" in given else {}
    if "role_id" in found or "secret_id" in found:
        return AppRoleAuth(*_pair(found, "role_id", "secret_id"), **mount)
    if "username" in found or "password" in found:
        return UserpassAuth(*_pair(found, "username", "password"), **mount)
    if "token" in found:
        return TokenAuth(found["token"])
    raise VaultConfigurationError(
        "auth: none was given; pass auth=AppRoleAuth(...), or set VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN"
    )


def _found(given: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The credentials of one place: those of ``config`` before those of the environment."""
    if given:
        ways = [name for name in ("token", "role_id", "username") if name in given]
        if len(ways) > 1:
            raise VaultConfigurationError(f"config: expected one way to log in, got {' and '.join(ways)}")
        if {"role_id", "secret_id"} & set(given):
            pair = {name: environment[name] for name in ("role_id", "secret_id") if name in environment}
            return {**pair, **given}
        return given
    # An AppRole can log in anew and a token cannot, so it is preferred. Half of one is no reason to refuse a token.
    if "token" in environment and not {"role_id", "secret_id"} <= set(environment):
        return {"token": environment["token"]}
    return {name: environment[name] for name in ("role_id", "secret_id") if name in environment}


def _pair(found: Mapping[str, Any], first: str, second: str) -> tuple[str, str]:
    for name, other in ((first, second), (second, first)):
        if name not in found:
            variable = f", or set {_ENVIRONMENT[name]}" if name in _ENVIRONMENT else ""
            raise VaultConfigurationError(f"{name}: none was given beside {other}; put it into config{variable}")
    return found[first], found[second]
