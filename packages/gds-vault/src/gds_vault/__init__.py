"""Secrets from HashiCorp Vault or OpenBao: cached, retried, renewed and observed.

    from gds_vault import AppRoleAuth, VaultClient

    with VaultClient("https://vault.example:8200", AppRoleAuth("role", "secret")) as client:
        password = client.get_secret("app/database")["password"]

`AsyncVaultClient` is the same for asyncio. Importing this package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from gds_vault.aio import AsyncVaultClient
    from gds_vault.auth import AppRoleAuth, TokenAuth, UserpassAuth
    from gds_vault.cache import SecretCache
    from gds_vault.client import VaultClient
    from gds_vault.errors import (
        VaultAuthError,
        VaultConfigurationError,
        VaultConnectionError,
        VaultError,
        VaultPermissionError,
        VaultSecretNotFoundError,
    )
    from gds_vault.retry import RetryPolicy

__all__ = [
    "AppRoleAuth",
    "AsyncVaultClient",
    "RetryPolicy",
    "SecretCache",
    "TokenAuth",
    "UserpassAuth",
    "VaultAuthError",
    "VaultClient",
    "VaultConfigurationError",
    "VaultConnectionError",
    "VaultError",
    "VaultPermissionError",
    "VaultSecretNotFoundError",
]

_HOME = {
    "AppRoleAuth": "auth",
    "AsyncVaultClient": "aio",
    "RetryPolicy": "retry",
    "SecretCache": "cache",
    "TokenAuth": "auth",
    "UserpassAuth": "auth",
    "VaultAuthError": "errors",
    "VaultClient": "client",
    "VaultConfigurationError": "errors",
    "VaultConnectionError": "errors",
    "VaultError": "errors",
    "VaultPermissionError": "errors",
    "VaultSecretNotFoundError": "errors",
}


def __getattr__(name: str) -> object:
    # hvac and aiohttp are loaded by who uses them: one client seldom needs both.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
