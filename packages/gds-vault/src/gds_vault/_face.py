"""What both clients let a program see and set while they live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_vault._checks import number, secret_path, similar
from gds_vault._pinned import Pinned
from gds_vault._settings import fields, file_or_folder
from gds_vault.auth import TokenAuth
from gds_vault.base import Configurable
from gds_vault.cache import SecretCache
from gds_vault.exceptions import VaultConfigurationError
from gds_vault.retry import RetryPolicy

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from typing_extensions import Self

    from gds_vault._core import Core

__all__ = ["Face"]

_OPTIONS = ("path", "use_cache", "version")


class Face(Pinned, Configurable):
    """Properties and configuration of a client that has a `Core`."""

    _core: Core

    def __init__(self, config: object) -> None:
        self._config = fields(config)
        self._initialized = False

    def _changed(self, **settings: Any) -> None:
        """Go by other settings, over connections that fit them."""
        self._core.change(**settings)

    # ------------------------------------------------------------------ other ways to make one
    @classmethod
    def from_environment(cls, **kwargs: Any) -> Self:
        """A client of what the environment says; ``kwargs`` are arguments of the class."""
        made: Any = cls
        client: Self = made(**kwargs)
        return client

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A client of a mapping or a dataclass of settings; docs/vault.md has their names.

        Raises:
            VaultConfigurationError: A setting is missing or makes no sense.
        """
        known = fields(config)
        more: dict[str, Any] = {}
        if known.get("max_retries") is not None:
            more["retry_policy"] = RetryPolicy(known["max_retries"])
        if known.get("cache_max_size") is not None:
            more["cache"] = SecretCache(known["cache_max_size"])
        return cls.from_environment(config=config, **more)

    @classmethod
    def from_token(cls, token: str, vault_addr: str | None = None, **kwargs: Any) -> Self:
        """A client with a token; ``kwargs`` are arguments of the class.

        Args:
            token: As for `TokenAuth`.
            vault_addr: The address; None takes ``VAULT_ADDR``.
            kwargs: Arguments of the class.
        """
        return cls.from_environment(vault_addr=vault_addr, auth=TokenAuth(token), **kwargs)

    # ------------------------------------------------------------------ what it goes by
    @property
    def vault_addr(self) -> str:
        """The address of Vault."""
        return self._core.settings.vault_addr

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._core.settings.timeout_seconds

    @timeout.setter
    def timeout(self, value: float) -> None:
        self._changed(timeout_seconds=number("timeout", value, 0.001, 3600))

    @property
    def verify_ssl(self) -> bool:
        """Whether the server's certificate is checked."""
        return self._core.settings.verify_ssl

    @verify_ssl.setter
    def verify_ssl(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise VaultConfigurationError(f"verify_ssl={value!r}: expected True or False")
        self._changed(verify_ssl=value)

    @property
    def ssl_cert_path(self) -> str | None:
        """The CA bundle, or the folder of them, to check it by; None is the usual ones."""
        return self._core.settings.ssl_cert_path

    @ssl_cert_path.setter
    def ssl_cert_path(self, value: str | os.PathLike[str] | None) -> None:
        self._changed(ssl_cert_path=None if value is None else file_or_folder("ssl_cert_path", value))

    @property
    def mount_point(self) -> str | None:
        """The mount that paths begin at; None if nobody has named one, and they begin at ``secret``."""
        mine = self._core.settings
        return mine.mount_point if mine.mount_is_given else None

    @mount_point.setter
    def mount_point(self, value: str | None) -> None:
        if value is None:
            self._changed(mount_point="secret", mount_is_given=False)
        else:
            self._changed(mount_point=secret_path(value, "mount_point"), mount_is_given=True)

    # ------------------------------------------------------------------ how it is
    @property
    def is_authenticated(self) -> bool:
        """Whether there is a token that has not expired; a client logs in by itself when it is used."""
        return self._core.tokens.is_good()

    @property
    def is_initialized(self) -> bool:
        """Whether `initialize` was called, as ``with`` does, and no `cleanup` since."""
        return self._initialized

    @property
    def cached_secret_count(self) -> int:
        """How many secrets the cache has, some of them expired perhaps."""
        return len(self._core.cache)

    @property
    def cache_stats(self) -> dict[str, Any]:
        """What the cache tells of itself: ``size``, ``hits``, ``misses`` and more."""
        return self._core.cache.get_stats()

    def clear_cache(self) -> None:
        """Forget all secrets that the cache has."""
        self._core.cache.clear()

    def remove_from_cache(self, path: str) -> bool:
        """Forget a secret; whether the cache had it."""
        return self._core.uncache(path)

    # ------------------------------------------------------------------ values of the program
    def get_config(self, key: str, default: Any = None) -> Any:
        """A value of ``config``, or that `set_config` has set."""
        return self._config.get(key, default)

    def set_config(self, key: str, value: Any) -> None:
        """Keep a value for `get_config`. No setting of the client changes by it: see its properties for those."""
        self._config[key] = value

    def get_all_config(self) -> dict[str, Any]:
        """The main settings and all values of ``config``, credentials that stand there too."""
        core = self._core
        cache = getattr(core.cache, "cache", core.cache)
        return {
            "vault_addr": self.vault_addr,
            "timeout": self.timeout,
            "verify_ssl": self.verify_ssl,
            "ssl_cert_path": self.ssl_cert_path,
            "mount_point": self.mount_point,
            "cache_type": type(cache).__name__,
            "auth_type": type(core.settings.auth).__name__,
            "retry_max_retries": core.exchange.policy.max_retries,
            **self._config,
        }

    def _ignored(self, options: Mapping[str, Any]) -> None:
        """Options that `get_secret` takes and does not know. A misspelt one is no option."""
        for name in options:
            near = similar(name, _OPTIONS)
            if near is not None:
                raise VaultConfigurationError(f"get_secret: {name!r} is not known; the nearest is {near!r}")
            self._core.report.debug("get_secret: the option %r is not known, and ignored", name)
