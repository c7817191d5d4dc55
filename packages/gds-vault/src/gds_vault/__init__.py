"""Secrets from HashiCorp Vault or OpenBao: cached, retried, renewed and observed.

    from gds_vault import AppRoleAuth, VaultClient

    with VaultClient("https://vault.example:8200", AppRoleAuth("role", "secret")) as client:
        password = client.get_secret("app/database")["password"]

`AsyncVaultClient` is the same for asyncio. Importing this package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from gds_vault.async_client import AsyncVaultClient
    from gds_vault.auth import AppRoleAuth, EnvironmentAuth, JwtAuth, KubernetesAuth, TokenAuth, UserpassAuth
    from gds_vault.base import AuthStrategy, Configurable, ResourceManager, SecretProvider
    from gds_vault.cache import NoOpCache, RotationAwareCache, SecretCache, TTLCache
    from gds_vault.client import VaultClient, get_secret_from_vault
    from gds_vault.exceptions import (
        VaultAuthError,
        VaultCacheError,
        VaultConfigurationError,
        VaultConflictError,
        VaultConnectionError,
        VaultCredentialsError,
        VaultError,
        VaultPermissionError,
        VaultSecretNotFoundError,
    )
    from gds_vault.retry import RetryPolicy, retry_with_backoff

__all__ = [
    "AppRoleAuth",
    "AsyncVaultClient",
    "AuthStrategy",
    "Configurable",
    "EnvironmentAuth",
    "JwtAuth",
    "KubernetesAuth",
    "NoOpCache",
    "ResourceManager",
    "RetryPolicy",
    "RotationAwareCache",
    "SecretCache",
    "SecretProvider",
    "TTLCache",
    "TokenAuth",
    "UserpassAuth",
    "VaultAuthError",
    "VaultCacheError",
    "VaultClient",
    "VaultConfigurationError",
    "VaultConflictError",
    "VaultConnectionError",
    "VaultCredentialsError",
    "VaultError",
    "VaultPermissionError",
    "VaultSecretNotFoundError",
    "get_secret_from_vault",
    "retry_with_backoff",
]

_HOME = {
    "AppRoleAuth": "auth",
    "AsyncVaultClient": "async_client",
    "AuthStrategy": "base",
    "Configurable": "base",
    "EnvironmentAuth": "auth",
    "JwtAuth": "auth",
    "KubernetesAuth": "auth",
    "NoOpCache": "cache",
    "ResourceManager": "base",
    "RetryPolicy": "retry",
    "RotationAwareCache": "cache",
    "SecretCache": "cache",
    "SecretProvider": "base",
    "TTLCache": "cache",
    "TokenAuth": "auth",
    "UserpassAuth": "auth",
    "VaultAuthError": "exceptions",
    "VaultCacheError": "exceptions",
    "VaultClient": "client",
    "VaultConfigurationError": "exceptions",
    "VaultConflictError": "exceptions",
    "VaultConnectionError": "exceptions",
    "VaultCredentialsError": "exceptions",
    "VaultError": "exceptions",
    "VaultPermissionError": "exceptions",
    "VaultSecretNotFoundError": "exceptions",
    "get_secret_from_vault": "client",
    "retry_with_backoff": "retry",
}


def __getattr__(name: str) -> object:
    # hvac and aiohttp are loaded by who uses them: one client seldom needs both.
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        value: object = version("gds-vault")
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
