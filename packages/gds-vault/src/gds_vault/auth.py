"""How to log in: with an AppRole, a Kubernetes or another JWT, a name and a password, or a token.

These only hold what a client needs to log in; no ``repr`` shows it. Two that are equal share what a cache holds.

What is secret in them may be the text itself, a `pathlib.Path` that is read at each login, or a function that is asked
at each; the line break that a file ends in is no part of it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gds_vault._checks import Credential, credential, current, header_text, secret_path, text
from gds_vault.base import AsyncAuthStrategy, AuthStrategy
from gds_vault.exceptions import VaultCredentialsError

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = [
    "AppRoleAuth",
    "AsyncAppRoleAuth",
    "Auth",
    "EnvironmentAuth",
    "JwtAuth",
    "KubernetesAuth",
    "TokenAuth",
    "UserpassAuth",
]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where Kubernetes puts a pod's token, and renews it."""


class _Login(AuthStrategy):
    """What is sent to a path below ``auth/`` and answered with a token."""

    method: ClassVar[str]
    namespace: str | None
    mount_point: str

    def _check(self) -> None:
        secret_path(self.mount_point, "mount_point")
        if self.namespace is not None:
            self._set("namespace", header_text("namespace", self.namespace).strip("/"))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for everybody else

    def _path(self, *more: str) -> str:
        return "/".join((f"auth/{secret_path(self.mount_point)}/login", *more))

    def login(self) -> tuple[str, dict[str, str]]:
        """The path to log in at, and what to send there. May wait for a file or a function."""
        raise NotImplementedError

    def authenticate(
        self, vault_addr: str, timeout: int, verify_ssl: bool = True, ssl_cert_path: str | None = None
    ) -> tuple[str, float]:
        """Log in by itself, without a client that keeps the token: the token, and its end in seconds since 1970.

        Raises:
            VaultError: As `VaultClient.get_secret`.
        """
        from gds_vault.client import VaultClient

        client = VaultClient(vault_addr, self, timeout=timeout, verify_ssl=verify_ssl, ssl_cert_path=ssl_cert_path)
        try:
            client.authenticate()
            return client._core.tokens.handed_out()
        finally:
            client.close()

    def __repr__(self) -> str:
        where = "" if self.namespace is None else f", namespace={self.namespace!r}"
        return f"{type(self).__name__}({self._shown()}mount_point={self.mount_point!r}{where})"

    def _shown(self) -> str:
        return ""


@dataclass(frozen=True, repr=False)
class AppRoleAuth(_Login):
    """Log in as an AppRole: what programs should do.

    Args:
        role_id: Which role; None takes ``VAULT_ROLE_ID``.
        secret_id: Its secret, a file or a function; None takes ``VAULT_SECRET_ID``.
        namespace: Where to log in, if not in the namespace of the client; ``/`` is the root.
        mount_point: Where the method is mounted, below ``auth/``.
        secret_id_wrapped: Whether ``secret_id`` is a wrapping token, which is unwrapped once to the secret.

    Raises:
        VaultCredentialsError: One is missing or cannot be.
    """

    role_id: Credential | None = None
    secret_id: Credential | None = None
    namespace: str | None = None
    mount_point: str = field(default="approle", kw_only=True)
    secret_id_wrapped: bool = field(default=False, kw_only=True)

    method: ClassVar[str] = "approle"

    def __post_init__(self) -> None:
        for name, variable in (("role_id", "VAULT_ROLE_ID"), ("secret_id", "VAULT_SECRET_ID")):
            value = getattr(self, name)
            value = os.environ.get(variable) if value is None else value
            if value is None:
                raise VaultCredentialsError(f"{name}: none was given; pass it, or set {variable}")
            self._set(name, credential(name, value))
        self._check()

    def login(self) -> tuple[str, dict[str, str]]:
        """The path to log in at, and what to send there. May wait for a file or a function."""
        return self._path(), {
            "role_id": current("role_id", self.role_id or ""),
            "secret_id": current("secret_id", self.secret_id or ""),
        }


@dataclass(frozen=True, repr=False)
class JwtAuth(_Login):
    """Log in with a JWT or OIDC token of somebody whom Vault trusts: a CI system, a cloud, an identity provider.

    Args:
        role: Which role; None leaves it to the default of the mount.
        jwt: The token, a file or a function; a file or a function is asked at each login, since it expires.
        namespace: Where to log in, if not in the namespace of the client; ``/`` is the root.
        mount_point: Where the method is mounted, below ``auth/``.
    """

    role: str | None
    jwt: Credential
    namespace: str | None = None
    mount_point: str = field(default="jwt", kw_only=True)

    method: ClassVar[str] = "jwt"

    def __post_init__(self) -> None:
        if self.role is not None:
            text("role", self.role)
        self._set("jwt", credential("jwt", self.jwt))
        self._check()

    def login(self) -> tuple[str, dict[str, str]]:
        """The path to log in at, and what to send there. May wait for a file or a function."""
        role = {} if self.role is None else {"role": self.role}
        return self._path(), {**role, "jwt": current("jwt", self.jwt)}

    def _shown(self) -> str:
        return f"role={self.role!r}, "


@dataclass(frozen=True, repr=False)
class KubernetesAuth(JwtAuth):
    """Log in as the service account of a pod, whose token Kubernetes keeps fresh in a file.

    Args:
        role: Which role.
        jwt: The token, a file or a function; the pod's own file by default, read at each login.
        namespace: Where to log in, if not in the namespace of the client; ``/`` is the root.
        mount_point: Where the method is mounted, below ``auth/``.
    """

    jwt: Credential = SERVICE_ACCOUNT
    mount_point: str = field(default="kubernetes", kw_only=True)

    method: ClassVar[str] = "kubernetes"


@dataclass(frozen=True, repr=False)
class UserpassAuth(_Login):
    """Log in with a name and a password.

    Args:
        username: Who.
        password: The password, a file or a function.
        mount_point: Where the method is mounted, below ``auth/``.
        namespace: Where to log in, if not in the namespace of the client; ``/`` is the root.
    """

    username: str
    password: Credential
    mount_point: str = "userpass"
    namespace: str | None = None

    method: ClassVar[str] = "userpass"

    def __post_init__(self) -> None:
        secret_path(text("username", self.username), "username")
        self._set("password", credential("password", self.password))
        self._check()

    def login(self) -> tuple[str, dict[str, str]]:
        """The path to log in at, and what to send there. May wait for a file or a function."""
        return self._path(self.username), {"password": current("password", self.password)}

    def _shown(self) -> str:
        return f"username={self.username!r}, "


@dataclass(frozen=True)
class TokenAuth(AuthStrategy):
    """Use a token that somebody else got. It is renewed; when it is dead, a file or a function is asked for another.

    Args:
        token: The token, a file or a function.
        ttl: Read by `authenticate` alone: a client asks Vault how long a token lives.
    """

    token: Credential = field(repr=False)
    ttl: int = field(default=3600, repr=False, compare=False)

    method: ClassVar[str] = "token"
    namespace: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", credential("token", self.token))

    def authenticate(
        self, vault_addr: str, timeout: int, verify_ssl: bool = True, ssl_cert_path: str | None = None
    ) -> tuple[str, float]:
        """The token, and when ``ttl`` ends, in seconds since 1970; nothing is asked."""
        del vault_addr, timeout, verify_ssl, ssl_cert_path
        return current("token", self.token), time.time() + self.ttl


class EnvironmentAuth(TokenAuth):
    """Use the token in ``VAULT_TOKEN``.

    Args:
        ttl: As for `TokenAuth`.

    Raises:
        VaultCredentialsError: It is not set.
    """

    def __init__(self, ttl: int = 3600) -> None:
        token = os.environ.get("VAULT_TOKEN")
        if not token:
            raise VaultCredentialsError("token: none was given; set VAULT_TOKEN")
        super().__init__(token, ttl)


class AsyncAppRoleAuth(AppRoleAuth, AsyncAuthStrategy):
    """`AppRoleAuth` whose `authenticate` is awaited; clients of both kinds take either."""

    async def authenticate(  # type: ignore[override]
        self, vault_addr: str, timeout: int, verify_ssl: bool = True, ssl_cert_path: str | None = None
    ) -> tuple[str, float]:
        """Log in by itself, without a client that keeps the token: the token, and its end in seconds since 1970."""
        from gds_vault.async_client import AsyncVaultClient

        client = AsyncVaultClient(vault_addr, self, timeout=timeout, verify_ssl=verify_ssl, ssl_cert_path=ssl_cert_path)
        try:
            await client.authenticate()
            return client._core.tokens.handed_out()
        finally:
            await client.aclose()


Auth: TypeAlias = "AuthStrategy | AsyncAuthStrategy"


def is_login(auth: object) -> bool:
    """Whether Vault is asked for a token by `login`: not so where a program has its own ``authenticate``."""
    return isinstance(auth, _Login) and type(auth).authenticate.__module__ == __name__


def is_token(auth: object) -> bool:
    """Whether it is a token of somebody else's."""
    return isinstance(auth, TokenAuth) and type(auth).authenticate.__module__ == __name__


def waits(auth: object) -> bool:
    """Whether a file or a function is asked at each login."""
    parts: tuple[Any, ...] = tuple(vars(auth).values())
    return any(isinstance(part, os.PathLike) or callable(part) for part in parts)


def whose(auth: object) -> Any:
    """What tells one set of credentials from another: itself, or that it is this object, where it is the program's."""
    return auth if is_login(auth) or is_token(auth) else _Same(auth)


class _Same:
    __slots__ = ("_of",)

    def __init__(self, of: object) -> None:
        self._of = of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._of is self._of

    def __hash__(self) -> int:
        return id(self._of)
