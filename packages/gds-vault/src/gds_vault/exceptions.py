"""What the clients raise.

All of them are `VaultError`, with ``path`` and ``status`` where they are known, and ``retriable``, which says that
trying again later may help. No message holds a secret, a token or what a server wrote beyond words that are known.

| exception | says |
| --- | --- |
| `VaultAuthError` | Vault does not let us in: wrong credentials, or a token that is dead and cannot be had anew |
| `VaultConfigurationError` | a setting or an argument makes no sense; also a `ValueError` |
| `VaultCredentialsError` | credentials are missing, cannot be, or cannot be read; both of the above |
| `VaultCacheError` | a setting of a cache makes no sense; also a `VaultConfigurationError` |
| `VaultConflictError` | somebody else has written since: ``cas`` is not the version that is there |
| `VaultConnectionError` | Vault cannot be reached, is sealed, or did not answer well in any attempt |
| `VaultPermissionError` | a policy denies it |
| `VaultSecretNotFoundError` | there is no such secret, or no such version of it any more |
"""

from __future__ import annotations

__all__ = [
    "VaultAuthError",
    "VaultCacheError",
    "VaultConfigurationError",
    "VaultConflictError",
    "VaultConnectionError",
    "VaultCredentialsError",
    "VaultError",
    "VaultPermissionError",
    "VaultSecretNotFoundError",
]


class VaultError(Exception):
    """What all of them are; by itself: Vault refused a request for another reason.

    Args:
        message: What happened and what to do; holds no secret.
        path: The path that was asked for, if it was about one.
        status: The HTTP status of the last answer, if there was one.
    """

    retriable = False
    """Whether trying again later may help."""

    def __init__(self, message: str = "", *, path: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.status = status


class VaultAuthError(VaultError):
    """Vault does not let us in."""


class VaultConfigurationError(VaultError, ValueError):
    """A setting or an argument makes no sense."""


class VaultCredentialsError(VaultAuthError, VaultConfigurationError):
    """Credentials are missing, cannot be, or cannot be read."""


class VaultCacheError(VaultConfigurationError):
    """A setting of a cache makes no sense."""


class VaultConflictError(VaultError):
    """Somebody else has written since: ``cas`` is not the version that is there."""


class VaultConnectionError(VaultError):
    """Vault cannot be reached, or does not answer as it should."""

    retriable = True


class VaultPermissionError(VaultError):
    """A policy denies it."""


class VaultSecretNotFoundError(VaultError):
    """There is no such secret, or no such version of it."""
