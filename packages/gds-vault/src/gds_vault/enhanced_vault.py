"""`gds_vault.VaultClient` with the arguments and methods of the second client."""

from __future__ import annotations

from typing import Any

from gds_vault.base import ResourceManager, SecretProvider
from gds_vault.exceptions import VaultError
from gds_vault.legacy import vault as legacy
from gds_vault.retry import RetryPolicy

__all__ = ["EnhancedVaultClient", "VaultError", "create_vault_client"]


class ConfigurableComponent:
    """What has ``get_config`` and ``set_config``."""


class RetryableOperation:
    """What has ``max_retries`` and ``backoff_factor``."""


class EnhancedVaultClient(
    legacy.VaultClient, SecretProvider, ConfigurableComponent, ResourceManager, RetryableOperation
):
    """Reads secrets as an AppRole.

    Args:
        vault_addr: The address; None takes ``VAULT_ADDR``.
        role_id: Which role; None takes ``VAULT_ROLE_ID``.
        secret_id: Its secret; None takes ``VAULT_SECRET_ID``.
        timeout: Seconds that one request may take.
        config: Values for `get_config`.
        max_retries: How often a request is tried again.
        backoff_factor: What each pause is longer than the one before.
        namespace: The namespace, where there are any.
    """

    def __init__(
        self,
        vault_addr: str | None = None,
        role_id: str | None = None,
        secret_id: str | None = None,
        timeout: int = 10,
        config: dict[str, Any] | None = None,
        max_retries: int = 3,
        backoff_factor: float = 2.0,
        namespace: str | None = None,
    ) -> None:
        policy = RetryPolicy(max_retries, backoff_factor=backoff_factor)
        super().__init__(
            vault_addr, role_id, secret_id, timeout, namespace=namespace, config=config, retry_policy=policy
        )

    def get_secret(self, path: str, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """As `gds_vault.VaultClient.get_secret`; ``use_cache`` and ``version`` by name."""
        return super().get_secret(path, kwargs.get("use_cache", True), kwargs.get("version"))

    def authenticate(self) -> bool:  # type: ignore[override]
        """Log in now, and anew; whether that succeeded."""
        try:
            super().authenticate()
        except VaultError as error:
            self._core.report.warning("login failed: %s", error)
            return False
        return True

    def is_authenticated(self) -> bool:  # type: ignore[override]
        """Whether there is a token that has not expired."""
        return self._core.tokens.is_good()

    def is_initialized(self) -> bool:  # type: ignore[override]
        """Whether `initialize` was called, as ``with`` does, and no `cleanup` since."""
        return self._initialized

    def get_cache_info(self) -> dict[str, Any]:
        """Whether there is a token, whether it is good, and which paths the cache has."""
        return {
            **super().get_cache_info(),
            "token_valid": self.is_authenticated(),
            "initialized": self.is_initialized(),
            "authenticated": self.is_authenticated(),
        }

    @property
    def max_retries(self) -> int:
        """How often a request is tried again."""
        return self._core.exchange.policy.max_retries

    @property
    def backoff_factor(self) -> float:
        """What each pause is longer than the one before."""
        return self._core.exchange.policy.backoff_factor

    def get_vault_config(self) -> dict[str, Any]:
        """The settings, without credentials."""
        return {
            "vault_addr": self.vault_addr,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            "backoff_factor": self.backoff_factor,
            "role_id": "...",
            "secret_id": "...",
        }

    def update_timeout(self, timeout: int) -> None:
        """Seconds that one request may take from now on."""
        self.timeout = timeout
        self.set_config("timeout", timeout)

    def update_retry_config(self, max_retries: int, backoff_factor: float) -> None:
        """How often a request is tried again from now on, and what each pause is longer than the one before."""
        self._core.exchange.policy = RetryPolicy(max_retries, backoff_factor=backoff_factor)
        self.set_config("max_retries", max_retries)
        self.set_config("backoff_factor", backoff_factor)


def create_vault_client(
    vault_addr: str | None = None,
    role_id: str | None = None,
    secret_id: str | None = None,
    enhanced: bool = True,
) -> Any:
    """An `EnhancedVaultClient`, or the first client if that is not wanted.

    Args:
        vault_addr: The address; None takes ``VAULT_ADDR``.
        role_id: Which role; None takes ``VAULT_ROLE_ID``.
        secret_id: Its secret; None takes ``VAULT_SECRET_ID``.
        enhanced: Which of the two.
    """
    kind = EnhancedVaultClient if enhanced else legacy.VaultClient
    return kind(vault_addr, role_id, secret_id)
