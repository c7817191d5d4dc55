"""`gds_vault.VaultClient` with the arguments and methods of the first client."""

from __future__ import annotations

from typing import Any

from gds_vault import client
from gds_vault.auth import AppRoleAuth
from gds_vault.exceptions import (
    VaultAuthError,
    VaultConfigurationError,
    VaultConnectionError,
    VaultError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)
from gds_vault.retry import retry_with_backoff

__all__ = [
    "VaultAuthError",
    "VaultClient",
    "VaultConfigurationError",
    "VaultConnectionError",
    "VaultError",
    "VaultPermissionError",
    "VaultSecretNotFoundError",
    "get_secret_from_vault",
    "retry_with_backoff",
]


class VaultClient(client.VaultClient):
    """Reads secrets as an AppRole.

    Args:
        vault_addr: The address; None takes ``VAULT_ADDR``.
        role_id: Which role; None takes ``VAULT_ROLE_ID``.
        secret_id: Its secret; None takes ``VAULT_SECRET_ID``.
        timeout: Seconds that one request may take.
        verify_ssl: Whether the server's certificate is checked.
        ssl_cert_path: A CA bundle to check it by, instead of the usual one.
        mount_point: The mount that paths begin at.
        namespace: The namespace, where there are any.
    """

    def __init__(
        self,
        vault_addr: str | None = None,
        role_id: str | None = None,
        secret_id: str | None = None,
        timeout: int = 10,
        verify_ssl: bool = True,
        ssl_cert_path: str | None = None,
        mount_point: str | None = None,
        namespace: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(
            vault_addr,
            AppRoleAuth(role_id, secret_id),
            timeout=timeout,
            verify_ssl=verify_ssl,
            ssl_cert_path=ssl_cert_path,
            mount_point=mount_point,
            namespace=namespace,
            **more,
        )

    def initialize(self) -> None:
        """Nothing: this one logs in when it is used."""
        self._initialized = True

    def authenticate(self) -> str:  # type: ignore[override]
        """Log in now, and anew.

        Returns:
            The token.
        """
        super().authenticate()
        return self._core.tokens.handed_out()[0]

    def get_secret(  # type: ignore[override]
        self, secret_path: str, use_cache: bool = True, version: int | None = None
    ) -> dict[str, Any]:
        """As `gds_vault.VaultClient.get_secret`."""
        return super().get_secret(secret_path, use_cache, version)

    def clear_cache(self) -> None:
        """Forget the token and all secrets."""
        super().clear_cache()
        self._core.tokens.forget()

    def get_cache_info(self) -> dict[str, Any]:
        """Whether there is a token, whether it is good, and which paths the cache has."""
        paths = list(self.cache_stats.get("keys", ()))
        return {
            "has_token": self._core.tokens.token is not None,
            "token_valid": self.is_authenticated,
            "cached_secrets_count": self.cached_secret_count,
            "cached_secret_paths": paths,
        }

    def __bool__(self) -> bool:
        return True


def get_secret_from_vault(
    secret_path: str, vault_addr: str | None = None, mount_point: str | None = None, namespace: str | None = None
) -> dict[str, Any]:
    """One secret, with a client that lives as long as this call.

    Args:
        secret_path: As for `gds_vault.VaultClient.get_secret`.
        vault_addr: The address; None takes ``VAULT_ADDR``.
        mount_point: The mount that the path begins at.
        namespace: The namespace, where there are any.
    """
    made = VaultClient(vault_addr, mount_point=mount_point, namespace=namespace)
    try:
        return made.get_secret(secret_path)
    finally:
        made.close()
