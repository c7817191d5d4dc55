"""What a program may bring itself: a way to log in, a cache, or another provider of secrets.

A client takes any object with these methods; to inherit is good for type checkers and for what is inherited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AsyncAuthStrategy",
    "AsyncResourceManager",
    "AsyncSecretProvider",
    "AuthStrategy",
    "CacheProtocol",
    "Configurable",
    "ResourceManager",
    "SecretProvider",
]


class AuthStrategy(ABC):
    """A way to log in; asked by one thread at a time, when a token is needed and when the last one nears its end."""

    @abstractmethod
    def authenticate(
        self, vault_addr: str, timeout: int, verify_ssl: bool = True, ssl_cert_path: str | None = None
    ) -> tuple[str, float]:
        """A token, and when it ends in seconds since 1970.

        Args:
            vault_addr: The address of the client.
            timeout: Seconds that one request may take.
            verify_ssl: Whether to check the server's certificate.
            ssl_cert_path: The CA bundle to check it by, if it is not the usual one.
        """


class AsyncAuthStrategy(ABC):
    """As `AuthStrategy`, for `AsyncVaultClient`."""

    @abstractmethod
    async def authenticate(
        self, vault_addr: str, timeout: int, verify_ssl: bool = True, ssl_cert_path: str | None = None
    ) -> tuple[str, float]:
        """A token, and when it ends in seconds since 1970."""


class CacheProtocol(Protocol):
    """A cache by paths such as ``secret/data/app``; one version of a secret has ``:v3`` at its end.

    ``set`` is given ``ttl`` in seconds and ``rotation_metadata`` if it takes them and they are known. One with
    ``remove(key)`` forgets what was written or denied alone, another one everything.
    """

    def get(self, key: str) -> dict[str, Any] | None:
        """What is kept, None if there is nothing or it is old."""

    def set(self, key: str, value: dict[str, Any], **kwargs: Any) -> None:
        """Keep it."""

    def clear(self) -> None:
        """Forget everything."""

    def __len__(self) -> int:
        """How many are kept."""

    def __contains__(self, key: str) -> bool:
        """Whether it is kept."""


class SecretProvider(ABC):
    """Where secrets come from."""

    @abstractmethod
    def get_secret(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """The fields of a secret."""

    @abstractmethod
    def authenticate(self) -> bool:
        """Log in."""

    @abstractmethod
    def is_authenticated(self) -> bool:
        """Whether there is a token that has not expired."""


class AsyncSecretProvider(ABC):
    """As `SecretProvider`, to be awaited."""

    @abstractmethod
    async def get_secret(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """The fields of a secret."""

    @abstractmethod
    async def authenticate(self) -> bool:
        """Log in."""

    @abstractmethod
    def is_authenticated(self) -> bool:
        """Whether there is a token that has not expired."""


class ResourceManager(ABC):
    """What is made ready and cleaned up; a context manager."""

    @abstractmethod
    def initialize(self) -> None:
        """Make it ready."""

    @abstractmethod
    def cleanup(self) -> None:
        """Give back what it holds."""

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()


class AsyncResourceManager(ABC):
    """As `ResourceManager`, to be awaited."""

    @abstractmethod
    async def initialize(self) -> None:
        """Make it ready."""

    @abstractmethod
    async def cleanup(self) -> None:
        """Give back what it holds."""

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cleanup()


class Configurable(ABC):
    """What has values by name."""

    @abstractmethod
    def get_config(self, key: str, default: Any = None) -> Any:
        """One value."""

    @abstractmethod
    def set_config(self, key: str, value: Any) -> None:
        """Set a value."""

    @abstractmethod
    def get_all_config(self) -> dict[str, Any]:
        """All values."""
