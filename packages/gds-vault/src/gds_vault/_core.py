"""One client: what both kinds have, and what they do for each call, from cache to report.

How secrets are asked for is in `gds_vault._secrets`, how to get a token in `gds_vault._tokens`, when to ask again in
`gds_vault._exchange`, where a path leads in `gds_vault._mounts`. Nothing here waits; see `gds_vault._wire`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from gds_vault._borrowed import BorrowedCache
from gds_vault._checks import header_text, json_object, secret_path, whole
from gds_vault._exchange import Exchange
from gds_vault._forks import AfterFork
from gds_vault._lifetime import lifetime
from gds_vault._mounts import Mounts, spellings
from gds_vault._report import Report
from gds_vault._secrets import Secrets
from gds_vault._tokens import Tokens
from gds_vault._wire import Once, Steps
from gds_vault.auth import is_login, is_token
from gds_vault.cache import SecretCache, copied
from gds_vault.exceptions import (
    VaultConfigurationError,
    VaultError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)
from gds_vault.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from gds_vault._mounts import SecretLocation
    from gds_vault._report import Metrics
    from gds_vault._settings import Settings
    from gds_vault._wire import T
    from gds_vault.base import CacheProtocol
    from gds_vault.cache import Ticket

__all__ = ["Core"]

_MOST_CACHED = 1000


class Core:
    """One client's state and decisions.

    Args:
        settings: Checked ones.
        cache: None is a new one.
        retry_policy: None is the default.
        metrics: None is none.
    """

    def __init__(
        self,
        settings: Settings,
        cache: SecretCache | CacheProtocol | None,
        retry_policy: RetryPolicy | None,
        metrics: Metrics | None,
    ) -> None:
        if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
            raise VaultConfigurationError(f"retry_policy: expected a RetryPolicy, got {type(retry_policy).__name__}")
        self.settings = settings
        self.report = Report(metrics, settings.max_path_labels)
        self.closed = False
        self._owns_cache = cache is None
        cache = SecretCache(_MOST_CACHED) if cache is None else cache
        self.cache = cache if isinstance(cache, SecretCache) else BorrowedCache(cache, self.report)
        self._clock = self.cache.clock
        self._scope: Hashable = settings.scope
        self.exchange = Exchange(settings, retry_policy or RetryPolicy(), self.report)
        self.tokens = Tokens(self.exchange, self.report, self._clock, self._forget_leased)
        self._mounts = Mounts(self.exchange, self.tokens, self.report, self._clock)
        self._secrets = Secrets(self.exchange, self.tokens, self._mounts)
        self._drop_flights: Callable[[], None] | None = None
        self._warn_of_trust()
        _cores.add(self)

    def _warn_of_trust(self) -> None:
        if self.settings.is_secure and not self.settings.verify_ssl:
            self.report.warning("verify_ssl=False: whoever is in between can read the secrets of %s", self)

    def change(self, **settings: Any) -> None:
        """Go by other settings from now on; checked ones."""
        before = self.settings
        self.settings = self.exchange.settings = replace(before, **settings)
        self._scope = self.settings.scope
        if self.settings.mount_point != before.mount_point:
            self._mounts.forget()
        if before.verify_ssl and not self.settings.verify_ssl:
            self._warn_of_trust()

    def _forget_leased(self) -> None:
        self.cache.forget_leased(self._scope)

    def on_fork(self, drop_flights: Callable[[], None]) -> None:
        """What a client does in a forked child before anything else."""
        self._drop_flights = drop_flights

    def after_fork(self) -> None:
        """Threads that held locks, or were fetching, do not exist in the child. The token is good there too."""
        self.report.renew()
        if self._drop_flights is not None:
            self._drop_flights()

    def __str__(self) -> str:
        return self.settings.vault_addr

    def describe(self, name: str) -> str:
        """A client's `repr`."""
        mine = self.settings
        namespace = f", namespace={mine.namespace!r}" if mine.namespace else ""
        # One of the program's own may show anything.
        auth = repr(mine.auth) if is_login(mine.auth) or is_token(mine.auth) else f"<{type(mine.auth).__name__}>"
        return f"{name}({mine.vault_addr!r}, auth={auth}, mount_point={mine.mount_point!r}{namespace})"

    def clean_up(self) -> None:
        """Forget the token and what was read with it. Vault is not told: forked children use the same token."""
        self.tokens.forget()
        if self._owns_cache:
            self.cache.clear()

    def close(self) -> None:
        """As `clean_up`, for good."""
        self.closed = self.tokens.closed = True
        self.clean_up()

    # ------------------------------------------------------------------ the calls
    def cached(self, path: str, version: int | None) -> dict[str, Any] | None:
        """The secret if it is in the cache: what most calls come to, and all they do."""
        if self.closed:
            self._refuse()
        try:
            found = self.cache.find(self._scope, path, version, self.settings.name)
        except (TypeError, AttributeError):  # no path at all; the checks of `read` say what is wrong with it
            return None
        if found is not None:
            self.report.hit(path)
        return found

    def read(self, path: str, version: int | None, use_cache: bool) -> Steps[dict[str, Any]]:
        """A secret that `cached` did not have."""
        plain = secret_path(path)
        if version is not None:
            whole("version", version, 1, 2**31)
        if use_cache:
            found = None if plain == path else self.cached(plain, version)
            if found is not None:
                return found
            self.report.miss(plain)

        def begin() -> Ticket:
            return self.cache.begin(self._scope, plain, version, self.settings.name(plain, version))

        # Who asked not to use the cache does not want what somebody asked for earlier either.
        key = ("read", plain, version) if use_cache else object()
        once = Once(key, lambda ticket: self._fetch(ticket, plain, version), begin)
        value = yield from self._counted(plain, self._join(once))
        copy: dict[str, Any] = copied(value)
        return copy

    def names(self, path: str) -> Steps[list[str]]:
        """The names below a path; the whole mount's for an empty one."""
        plain = secret_path(path) if path != "" else ""
        return (yield from self._counted(plain or self.settings.mount_point, self._secrets.names(plain)))

    def write(self, path: str, data: Mapping[str, Any], cas: int | None, patch: bool = False) -> Steps[int | None]:
        """A new secret, or a new version of one; its number, where versions are kept."""
        plain = secret_path(path)
        content = json_object("data", data, plain)
        if cas is not None:
            whole("cas", cas, 0, 2**31)
        return (yield from self._change(plain, "PATCH" if patch else "POST", content, cas))

    def delete(self, path: str) -> Steps[None]:
        """A secret, or its last version, is no more."""
        yield from self._change(secret_path(path), "DELETE", None, None)

    def unwrap(self, wrapping_token: str) -> Steps[dict[str, Any]]:
        """What a wrapping token holds."""
        if self.closed:
            self._refuse()
        token = header_text("wrapping_token", wrapping_token)
        return (yield from self.tokens.unwrap(token, self.exchange.deadline()))

    def authenticate(self, attempts: int | None = None) -> Steps[None]:
        """A new login."""
        if self.closed:
            self._refuse()
        yield from self.tokens.log_in(self.exchange.deadline(), attempts)

    def make_ready(self) -> Steps[None]:
        """A login beforehand, if it succeeds at once: the first use tries harder."""
        if self.closed:
            self._refuse()
        if self.tokens.is_good():
            return
        try:
            yield from self.authenticate(attempts=1)
        except VaultError as error:
            self.report.warning("not logged in beforehand, the first use tries again: %s", error)

    def is_cached(self, path: object) -> bool:
        """Whether a secret is in the cache, perhaps expired, however its path was written."""
        return isinstance(path, str) and any(name in self.cache for name in self._names_of(path.strip("/")))

    def uncache(self, path: str) -> bool:
        """Forget a secret; whether it was in the cache."""
        return sum([self.cache.remove(name) for name in self._names_of(secret_path(path))]) > 0

    def _names_of(self, path: str) -> set[str]:
        return {self.settings.name(each, None) for each in self._mounts.spellings(path)}

    def _counted(self, path: str, steps: Steps[T]) -> Steps[T]:
        if self.closed:
            self._refuse()
        try:
            return (yield from steps)
        except VaultError as error:
            if error.path is None:
                error.path = path
            self.report.failed(path, type(error).__name__)
            raise

    def _refuse(self) -> NoReturn:
        raise VaultError("this client is closed; make a new one")

    def _join(self, once: Once) -> Steps[Any]:
        return (yield once)

    def _fetch(self, ticket: Ticket | None, path: str, version: int | None) -> Steps[dict[str, Any]]:
        assert ticket is not None  # noqa: S101 - `read` gives one
        begun = time.perf_counter()
        try:
            value, reply, metadata = yield from self._secrets.fetch(path, version, self.exchange.deadline())
            lives = lifetime(reply.body or {}, value, metadata, reply.date, self.tokens.end())
            self.cache.keep(ticket, value, lives)
            return value
        except (VaultSecretNotFoundError, VaultPermissionError):
            # What was read earlier is not to be had any more.
            self.cache.forget(self._scope, {path, self.settings.name(path, None)})
            raise
        finally:
            self.cache.end(ticket)
            self.report.fetched(path, (time.perf_counter() - begun) * 1000)

    def _change(self, path: str, method: str, content: Any, cas: int | None) -> Steps[int | None]:
        return (yield from self._counted(path, self._secrets.change(path, method, content, cas, self._forget)))

    def _forget(self, location: SecretLocation) -> None:
        self.cache.forget(self._scope, spellings(location, self.settings.mount_point))


_cores = AfterFork(Core.after_fork)
