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

from gds_vault._checks import flag, header_text, number, secret_path, similar, text, whole
from gds_vault.auth import AppRoleAuth, Auth, TokenAuth, UserpassAuth, whose
from gds_vault.exceptions import VaultConfigurationError, VaultCredentialsError

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["DEFAULT_TIMEOUT_SECONDS", "Settings", "resolve"]

DEFAULT_TIMEOUT_SECONDS = 10
DEFAULT_MOUNT_POINT = "secret"
DEFAULT_MAX_PATH_LABELS = 200
UNIX = "unix://"

_ENVIRONMENT = {
    "vault_addr": "VAULT_ADDR",
    "token": "VAULT_TOKEN",
    "role_id": "VAULT_ROLE_ID",
    "secret_id": "VAULT_SECRET_ID",
    "namespace": "VAULT_NAMESPACE",
    "mount_point": "VAULT_MOUNT_POINT",
    "client_cert": "VAULT_CLIENT_CERT",
    "client_key": "VAULT_CLIENT_KEY",
}
_AUTHORITIES = (
    # Vault's own first, then those that tell every program of this machine.
    "VAULT_SSL_CERT",
    "VAULT_CACERT",
    "VAULT_CAPATH",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_SKIP_VERIFY = "VAULT_SKIP_VERIFY"
VARIABLES = (*_ENVIRONMENT.values(), *_AUTHORITIES, _SKIP_VERIFY)
"""What is read of the environment."""

_CREDENTIALS = ("token", "role_id", "secret_id", "username", "password")
_KNOWN = {
    *_ENVIRONMENT,
    *_CREDENTIALS,
    "auth_mount_point",
    "auth_namespace",
    "cache_max_size",
    "kv_version",
    "max_path_labels",
    "max_retries",
    "ssl_cert_path",
    "timeout",
    "verify_ssl",
}
# A path prefix is allowed: some have Vault behind a proxy.
_ADDRESS = re.compile(r"https?://[^/?#\s@]+(?:/[^?#\s@]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """What a client goes by, checked.

    Attributes:
        mount_is_given: Whether somebody has said where paths begin; else it is a guess.
    """

    vault_addr: str
    auth: Auth
    mount_point: str
    mount_is_given: bool
    namespace: str | None
    ssl_cert_path: str | None
    verify_ssl: bool
    client_cert: str | None
    client_key: str | None
    timeout_seconds: float
    kv_version: int | None
    max_path_labels: int

    @property
    def scope(self) -> Hashable:
        """Who asks whom: what one has read is not handed to another."""
        return (self.vault_addr, self.namespace, self.mount_point, whose(self.auth))

    @property
    def socket_path(self) -> str | None:
        """The Unix socket to ask at, if it is one."""
        return self.vault_addr.removeprefix(UNIX) if self.vault_addr.startswith(UNIX) else None

    @property
    def origin(self) -> str:
        """What comes before ``/v1/`` in a URL."""
        return self.vault_addr if self.socket_path is None else "http://localhost"

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.vault_addr.lower().startswith("https")

    def name(self, path: str, version: int | None) -> str:
        """What a program, and a cache of its own, calls a secret: ``secret/data/app:v3``."""
        mount = f"{self.mount_point}/" if self.mount_is_given else ""
        whole_path = path if path.startswith(mount) else mount + path
        return whole_path if version is None else f"{whole_path}:v{version}"


def resolve(
    *,
    vault_addr: str | None = None,
    auth: Auth | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    config: object = None,
    verify_ssl: bool = True,
    ssl_cert_path: str | os.PathLike[str] | None = None,
    mount_point: str | None = None,
    namespace: str | None = None,
) -> Settings:
    """The settings of a client.

    Raises:
        VaultConfigurationError: One is missing, unknown or makes no sense.
    """
    given = ours(config)
    named = {"vault_addr": vault_addr, "mount_point": mount_point, "namespace": namespace}
    # The old way to say that there is none is an empty one.
    arguments = {name: value for name, value in named.items() if value is not None and value != ""}
    environment = {name: value for name, key in _ENVIRONMENT.items() if (value := os.environ.get(key))}
    found: dict[str, Any] = {**environment, **given, **arguments}
    # The two whose argument has a default: one that differs from it was meant.
    if timeout == DEFAULT_TIMEOUT_SECONDS:
        timeout = given.get("timeout", timeout)
    address = _address(found.get("vault_addr"))
    kv_version = found.get("kv_version")
    if kv_version is not None:
        whole("kv_version", kv_version, 1, 2)
    return Settings(
        vault_addr=address,
        auth=_auth(auth, given, environment),
        mount_point=secret_path(found.get("mount_point", DEFAULT_MOUNT_POINT), "mount_point"),
        mount_is_given="mount_point" in found,
        namespace=_namespace(found.get("namespace")),
        ssl_cert_path=_authorities(ssl_cert_path or given.get("ssl_cert_path"), address),
        verify_ssl=_verified(verify_ssl, given),
        timeout_seconds=number("timeout", timeout, 0.001, 3600),
        kv_version=kv_version,
        max_path_labels=whole("max_path_labels", found.get("max_path_labels", DEFAULT_MAX_PATH_LABELS), 0, 100_000),
        **_own_certificate(found, address),
    )


def ours(config: object) -> dict[str, Any]:
    """What ``config`` says of us, without what a program keeps there for itself."""
    found = fields(config)
    for name in found:
        near = None if name in _KNOWN else similar(name, _KNOWN)
        if near is not None:
            raise VaultConfigurationError(f"config: {name!r} is not known; the nearest is {near!r}")
    return {name: value for name, value in found.items() if name in _KNOWN and value is not None}


def fields(config: object) -> dict[Any, Any]:
    """A mapping or a dataclass as a dict of its own."""
    if config is None:
        return {}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}
    if not isinstance(config, Mapping):
        raise VaultConfigurationError(f"config: expected a mapping or a dataclass, got {type(config).__name__}")
    return dict(config)


def _address(value: object) -> str:
    if value is None:
        raise VaultConfigurationError("vault_addr: none was given; pass it, or set VAULT_ADDR to https://HOST:8200")
    address = text("vault_addr", value).strip().rstrip("/")
    if address.startswith(UNIX):
        if not re.fullmatch(r"unix:///[^\x00-\x1f\x7f]+", address):
            raise VaultConfigurationError("vault_addr: expected unix:// and the absolute path of a socket")
        return address
    # An address with a password in it is not shown, so none is.
    if not _ADDRESS.fullmatch(address):
        raise VaultConfigurationError(
            "vault_addr: expected http:// or https://, a host and perhaps a port, without a user, a query or a "
            "fragment; or unix:// and the path of a socket"
        )
    try:
        port = urlsplit(address).port
    except ValueError:
        port = -1
    if port in {-1, 0} or not urlsplit(address).hostname:
        raise VaultConfigurationError(
            "vault_addr: expected a host and a port from 1 to 65535, such as https://HOST:8200"
        )
    return address


def _namespace(value: object) -> str | None:
    return None if value is None else header_text("namespace", value).strip("/") or None


# ---------------------------------------------------------------------- TLS
def _verified(argument: object, given: Mapping[str, Any]) -> bool:
    if argument is True:
        argument = given.get("verify_ssl", True)
        if argument is True and "verify_ssl" not in given and (skip := os.environ.get(_SKIP_VERIFY)):
            argument = not flag(_SKIP_VERIFY, skip)
    if not isinstance(argument, bool):
        raise VaultConfigurationError(f"verify_ssl={argument!r}: expected True or False")
    return argument


def _authorities(value: object, address: str) -> str | None:
    """Whom to trust: a CA bundle, or a folder of them; None is the usual ones."""
    if value is not None:
        return file_or_folder("ssl_cert_path", value)
    for variable in _AUTHORITIES:
        if found := os.environ.get(variable):
            # Without TLS nobody has to be trusted, and what a machine says of it may be wrong.
            needed = address.lower().startswith("https")
            return file_or_folder(variable, found) if needed or Path(found).exists() else None
    return None


def file_or_folder(setting: str, value: object) -> str:
    """The path of certificates, as a str."""
    try:
        path = os.fsdecode(cast("str", value))
    except TypeError:
        path = ""
    if not path or not Path(path).exists():
        raise VaultConfigurationError(
            f"{setting}={value!r}: expected the path of a CA bundle, or of a folder of them; there is none"
        )
    return str(Path(path).absolute())


def _own_certificate(found: Mapping[str, Any], address: str) -> dict[str, str | None]:
    """Our certificate and its key, which may be in one file."""
    paths: dict[str, str | None] = {"client_cert": None, "client_key": None}
    if not address.lower().startswith("https"):
        return paths
    for name in paths:
        value = found.get(name)
        if value is None:
            continue
        if not isinstance(value, (str, os.PathLike)) or not Path(value).is_file():
            raise VaultConfigurationError(f"{name}={value!r}: expected the path of a PEM file, there is none")
        paths[name] = str(Path(value).absolute())
    if paths["client_key"] and not paths["client_cert"]:
        raise VaultConfigurationError("client_cert: none was given beside client_key; or set VAULT_CLIENT_CERT")
    return paths


# ---------------------------------------------------------------------- credentials
def _auth(auth: object, given: Mapping[str, Any], environment: Mapping[str, str]) -> Auth:
    if auth is not None:
        if isinstance(auth, type) or not callable(getattr(auth, "authenticate", None)):
            raise VaultConfigurationError(
                "auth: expected AppRoleAuth, KubernetesAuth, TokenAuth or another with the method authenticate, "
                f"got {auth.__name__ if isinstance(auth, type) else type(auth).__name__}"
            )
        return cast("Auth", auth)
    found = _found({name: given[name] for name in _CREDENTIALS if name in given}, environment)
    where = {"mount_point": given["auth_mount_point"]} if "auth_mount_point" in given else {}
    if "auth_namespace" in given:
        where["namespace"] = given["auth_namespace"]
    if "role_id" in found or "secret_id" in found:
        return AppRoleAuth(*_pair(found, "role_id", "secret_id"), **where)
    if "username" in found or "password" in found:
        return UserpassAuth(*_pair(found, "username", "password"), **where)
    if "token" in found:
        return TokenAuth(found["token"])
    raise VaultCredentialsError(
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


def _pair(found: Mapping[str, Any], first: str, second: str) -> tuple[Any, Any]:
    for name, other in ((first, second), (second, first)):
        if name not in found:
            variable = f", or set {_ENVIRONMENT[name]}" if name in _ENVIRONMENT else ""
            raise VaultCredentialsError(f"{name}: none was given beside {other}; put it into config{variable}")
    return found[first], found[second]
