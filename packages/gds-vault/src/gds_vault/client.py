"""`VaultClient`: Vault for programs with threads.

    from gds_vault import AppRoleAuth, VaultClient

    with VaultClient("https://vault.example:8200", AppRoleAuth("role", "secret")) as client:
        password = client.get_secret("app/database")["password"]

It logs in when it is first used and renews its token when that is used. It may be shared by threads, and used in forked
children. Requests go through hvac's adapter, so a ``requests`` session or an adapter of one's own can carry them.
"""

from __future__ import annotations

import inspect
import threading
import time
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import requests
from hvac.adapters import Adapter, RawAdapter  # type: ignore[import-untyped, unused-ignore]
from requests import exceptions as failed

from gds_vault._borrowed import BorrowedTransport
from gds_vault._core import Core
from gds_vault._face import Face
from gds_vault._flights import Flight, copied
from gds_vault._session import new_session, unchanged
from gds_vault._settings import DEFAULT_TIMEOUT_SECONDS, resolve
from gds_vault._tls import tls_context
from gds_vault._wire import Ask, Call, Failure, Once, Pause, Reply, kind_of, own_failure, reply
from gds_vault.base import ResourceManager, SecretProvider
from gds_vault.exceptions import VaultConfigurationError, VaultError

if TYPE_CHECKING:
    import os
    from collections.abc import Hashable, Mapping

    from gds_vault._report import Metrics
    from gds_vault._wire import Effect, Steps, T
    from gds_vault.auth import Auth
    from gds_vault.base import CacheProtocol
    from gds_vault.cache import SecretCache
    from gds_vault.retry import RetryPolicy
    from gds_vault.transport import VaultTransport

__all__ = ["VaultClient", "get_secret_from_vault"]

_MAX_ORIGINS = 8  # servers that a standby has sent us to


class VaultClient(Face, SecretProvider, ResourceManager):  # type: ignore[misc] # a property is asked as a method is
    """Reads and writes secrets. A context manager; thread-safe.

    What is not given is taken from ``config``, else from the environment: ``VAULT_ADDR``, ``VAULT_ROLE_ID`` and
    ``VAULT_SECRET_ID``, ``VAULT_TOKEN``, ``VAULT_NAMESPACE``, ``VAULT_CACERT`` and the others in docs/vault.md.

    It is true, as in ``if client:``, while it has a token, and its length is that of its cache.

    Args:
        vault_addr: The address, such as ``https://vault.example:8200``, or ``unix:///run/vault.sock``.
        auth: `AppRoleAuth`, `KubernetesAuth`, `JwtAuth`, `UserpassAuth`, `TokenAuth`, or an `AuthStrategy`.
        cache: Where secrets are kept: a `SecretCache`, or any `CacheProtocol`; None is one of its own.
        retry_policy: What is tried again, and when; None is a `RetryPolicy` of its own.
        timeout: Seconds that one request may take to connect, and to answer.
        config: A mapping or a dataclass of settings; docs/vault.md has their names.
        verify_ssl: Whether the server's certificate is checked.
        ssl_cert_path: A CA bundle to check it by, instead of the usual one.
        mount_point: The mount that paths begin at; ``secret`` by default.
        namespace: The namespace, where there are any.
        transport: A ``requests.Session``, which is not closed, a class of hvac adapter, or a `VaultTransport`.
        metrics: Any collector of ``gds_metrics``, or None.

    Raises:
        VaultConfigurationError: A setting is missing, unknown or makes no sense.
    """

    def __init__(
        self,
        vault_addr: str | None = None,
        auth: Auth | None = None,
        cache: SecretCache | CacheProtocol | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        config: object = None,
        verify_ssl: bool = True,
        ssl_cert_path: str | os.PathLike[str] | None = None,
        mount_point: str | None = None,
        namespace: str | None = None,
        transport: requests.Session | type[Adapter] | VaultTransport | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        settings = resolve(
            vault_addr=vault_addr,
            auth=auth,
            timeout=timeout,
            config=config,
            verify_ssl=verify_ssl,
            ssl_cert_path=ssl_cert_path,
            mount_point=mount_point,
            namespace=namespace,
        )
        Face.__init__(self, config)
        is_class = isinstance(transport, type) and issubclass(transport, Adapter)
        if transport is not None and not is_class and not BorrowedTransport.fits(transport):
            raise VaultConfigurationError(
                "transport: expected a requests.Session, a class of hvac adapter or a VaultTransport, "
                f"got {type(transport).__name__}"
            )
        self._transport: Any = transport
        self._core = Core(settings, cache, retry_policy, metrics)
        self._renew_locks()
        self._forked = False
        # Files are read here and not when the first request is under way.
        self._tls = tls_context(settings) if settings.is_secure else None
        self._session = None if transport is not None and not is_class else new_session(settings, self._tls)
        self._core.on_fork(self._after_fork)

    # ------------------------------------------------------------------ what it is for
    def get_secret(
        self, path: str, use_cache: bool = True, version: int | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The fields of a secret; a copy that is the caller's own.

        Args:
            path: Where it is, within the mount; or as in Vault's API, ``secret/data/app``.
            use_cache: Whether one that was read earlier will do. If not, what is read is kept all the same.
            version: Of KV version 2: which one; None is the latest.
            kwargs: Ignored: for programs that say more to another `SecretProvider`.

        Raises:
            VaultSecretNotFoundError: There is none, or that version is deleted.
            VaultPermissionError: A policy denies it.
            VaultAuthError: Vault does not let us in.
            VaultConnectionError: Vault cannot be reached.
        """
        if kwargs:
            self._ignored(kwargs)
        if use_cache:
            found = self._core.cached(path, version)
            if found is not None:
                return found
        return self._run(self._core.read(path, version, use_cache))

    def list_secrets(self, path: str) -> list[str]:
        """The names below a path; those that end in ``/`` have more below them. An empty path is the whole mount.

        Raises:
            VaultSecretNotFoundError: There is nothing below it.
            VaultError: As `get_secret`.
        """
        return self._run(self._core.names(path))

    def put_secret(self, path: str, data: Mapping[str, Any], *, cas: int | None = None) -> int | None:
        """Write a secret: all its fields, as a new version where the mount keeps versions; its number is returned.

        Args:
            path: Where, within the mount.
            data: What JSON can hold.
            cas: Of KV version 2: write only if this is the latest version; 0 if there is none yet.

        Raises:
            VaultConflictError: Another version is the latest.
            VaultError: As `get_secret`. After a `VaultConnectionError` it may be written or not.
        """
        return self._run(self._core.write(path, data, cas))

    def patch_secret(self, path: str, data: Mapping[str, Any], *, cas: int | None = None) -> int | None:
        """Change fields of a secret of KV version 2 and leave the others: a new version, whose number is returned.

        Args:
            path: Where, within the mount.
            data: The fields that change; None removes one (JSON Merge Patch, RFC 7396).
            cas: Write only if this is the latest version.

        Raises:
            VaultError: As `put_secret`. The policy needs the capability ``patch``.
        """
        return self._run(self._core.write(path, data, cas, patch=True))

    def delete_secret(self, path: str) -> None:
        """Delete a secret; of KV version 2 its latest version, which Vault can bring back.

        Raises:
            VaultError: As `put_secret`.
        """
        self._run(self._core.delete(path))

    def unwrap(self, wrapping_token: str) -> dict[str, Any]:
        """The fields of what was wrapped in a token, which works once; needs no login.

        Raises:
            VaultAuthError: It has expired, or was unwrapped by somebody else.
            VaultError: As `get_secret`.
        """
        return self._run(self._core.unwrap(wrapping_token))

    # ------------------------------------------------------------------ its life
    def authenticate(self) -> bool:
        """Log in now, and anew; a client does so by itself when it is used.

        Returns:
            True.

        Raises:
            VaultAuthError: Vault does not let us in.
            VaultError: As `get_secret`.
        """
        self._run(self._core.authenticate())
        return True

    def initialize(self) -> None:
        """Log in beforehand, once. What fails is told in the log, and tried again by the first use."""
        self._run(self._core.make_ready())
        self._initialized = True

    def cleanup(self) -> None:
        """Close the connections and forget token and secrets, as at the end of ``with``; it may be used again."""
        self._core.clean_up()
        self._initialized = False
        self._disconnect()

    def close(self) -> None:
        """As `cleanup`, for good: other calls then raise. May be called again."""
        self._core.close()
        self._initialized = False
        self._disconnect()

    def _disconnect(self) -> None:
        with self._lock:
            self._adapters.clear()
        if self._session is not None:
            self._session.close()  # its connections; it opens new ones

    def _changed(self, **settings: Any) -> None:
        after = replace(self._core.settings, **settings)
        trust = {"verify_ssl", "ssl_cert_path"} & set(settings)
        if trust:
            self._tls = tls_context(after) if after.is_secure else None
        super()._changed(**settings)
        if trust and self._session is not None:
            self._disconnect()
            self._session = new_session(after, self._tls)

    def __len__(self) -> int:
        return self.cached_secret_count

    def __contains__(self, secret_path: str) -> bool:
        return self._core.is_cached(secret_path)

    def __bool__(self) -> bool:
        return self.is_authenticated

    def __repr__(self) -> str:
        return self._core.describe(type(self).__name__)

    # ------------------------------------------------------------------ how it waits
    def _run(self, steps: Steps[T]) -> T:
        answer: Any = None
        error: VaultError | None = None
        while True:
            try:
                effect = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                value: T = end.value
                return value
            answer = error = None
            try:
                answer = self._performed(effect)
            except VaultError as raised:
                error = raised
            except BaseException:
                steps.close()  # now, so that what it began is ended
                raise

    def _performed(self, effect: Effect) -> Any:
        if isinstance(effect, Call):
            return self._requested(effect)
        if isinstance(effect, Pause):
            return time.sleep(effect.seconds)
        if isinstance(effect, Ask):
            return _asked(effect)
        return self._once(effect)

    def _once(self, once: Once) -> Any:
        me = threading.get_ident()
        while True:
            with self._lock:
                flight = self._flights.get(once.key)
                leads = flight is None or flight.stale
                if flight is None or flight.stale:
                    flight = self._flights[once.key] = Flight(once, Future(), me)
            if leads:
                return self._lead(flight)
            if flight.owner == me:
                # A collector, a log handler or a signal handler that reads a secret would wait for itself.
                return self._run(Flight(once, None, me).steps)
            if not once.join:
                return None
            try:
                return flight.future.result()
            except CancelledError:
                continue  # who fetched was interrupted, which is no reason for others
            except VaultError as error:
                shared = copied(error)
            raise shared

    def _lead(self, flight: Flight[Future[Any]]) -> Any:
        try:
            value = self._run(flight.steps)
        except VaultError as error:
            self._landed(flight)
            flight.future.set_exception(copied(error))
            raise
        except BaseException:
            self._landed(flight)
            flight.future.cancel()
            raise
        self._landed(flight)
        flight.future.set_result(value)
        return value

    def _landed(self, flight: Flight[Future[Any]]) -> None:
        # First, so that nobody joins what is over.
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._flights: dict[Hashable, Flight[Future[Any]]] = {}
        self._adapters: dict[str, Adapter] = {}

    def _after_fork(self) -> None:
        # The connections are the parent's: two processes must not talk on one.
        _parents.append((self._adapters, self._session))
        self._renew_locks()
        self._forked = True
        if self._session is not None:
            self._session = new_session(self._core.settings, self._tls)

    # ------------------------------------------------------------------ HTTP
    def _requested(self, call: Call) -> Reply | Failure:
        settings: dict[str, Any] = {"timeout": call.timeout_seconds, **self._own_session_settings()}
        if call.body is not None:
            settings["data"] = call.body
        try:
            answer = self._adapter(call.origin).request(
                call.method.lower(), f"/v1/{call.target}", headers=call.headers(), raise_exception=False, **settings
            )
            if isinstance(answer, dict):  # from an adapter that reads JSON
                return Reply(200, answer)
            return reply(answer.status_code, answer.headers, answer.content)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold what was sent
            return _failure(error, call)

    def _adapter(self, origin: str | None) -> Adapter:
        base = origin or self._core.settings.origin
        adapter = self._adapters.get(base)
        if adapter is None:
            with self._lock:
                adapter = self._adapters.get(base) or self._new_adapter(base)
                if len(self._adapters) < _MAX_ORIGINS and not self._core.closed:
                    self._adapters[base] = adapter
        return adapter

    def _new_adapter(self, base: str) -> Adapter:
        mine = self._core.settings
        if self._session is None and not isinstance(self._transport, requests.Session):
            return BorrowedTransport(self._transport, base)
        # Redirects are followed by the core, which does not send a token from https to http.
        common: dict[str, Any] = {"base_uri": base, "allow_redirects": False, "timeout": mine.timeout_seconds}
        if self._session is not None:
            if base.startswith("https") and self._tls is None:
                self._tls = tls_context(mine)  # a standby without TLS sends us to one with it
                self._session = new_session(mine, self._tls)
            kind = self._transport if isinstance(self._transport, type) else RawAdapter
            return kind(session=self._session, **common)
        if self._forked:
            self._transport.close()  # its connections, not itself: it opens new ones
        return RawAdapter(session=self._transport, **common)

    def _own_session_settings(self) -> dict[str, Any]:
        """What is said about TLS here, for a session that was made elsewhere."""
        if not isinstance(self._transport, requests.Session):
            return {}
        mine = self._core.settings
        verify: bool | str = mine.verify_ssl and (mine.ssl_cert_path or True)
        found: dict[str, Any] = {"verify": verify, "auth": self._transport.auth or unchanged}
        if mine.client_cert is not None:
            found["cert"] = (mine.client_cert, mine.client_key or mine.client_cert)
        return found


def get_secret_from_vault(
    secret_path: str, vault_addr: str | None = None, mount_point: str | None = None
) -> dict[str, Any]:
    """One secret, with a client of what the environment says that lives as long as this call.

    Args:
        secret_path: As for `VaultClient.get_secret`.
        vault_addr: The address; None takes ``VAULT_ADDR``.
        mount_point: The mount that the path begins at.

    Raises:
        VaultError: As `VaultClient.get_secret`.
    """
    client = VaultClient(vault_addr, mount_point=mount_point)
    try:
        return client.get_secret(secret_path)
    finally:
        client.close()


def _asked(ask: Ask) -> Any:
    failure: VaultError
    try:
        answer = ask.function()
    except Exception as error:  # noqa: BLE001 - it is the program's, and may raise anything
        failure = own_failure(error)
    else:
        if not inspect.iscoroutine(answer):
            return answer
        answer.close()
        failure = VaultConfigurationError("auth: its authenticate has to be awaited, which AsyncVaultClient does")
    raise failure


def _failure(error: Exception, call: Call) -> Failure:
    """What happened, without the exception's own text: it holds addresses, and may hold headers."""
    if isinstance(error, failed.SSLError):
        return Failure(f"TLS: {kind_of(error)}; see ssl_cert_path", sent=False, transient=False)
    if isinstance(error, failed.ConnectTimeout):
        return Failure(f"no connection within {call.timeout_seconds:.3g} s", sent=False)
    if isinstance(error, failed.Timeout):
        return Failure(f"no answer within {call.timeout_seconds:.3g} s")
    if isinstance(error, failed.ConnectionError):
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        return Failure(kind_of(error), sent=type(reason).__name__ not in {"NewConnectionError", "NameResolutionError"})
    if isinstance(error, (failed.ChunkedEncodingError, failed.ContentDecodingError)):
        return Failure("the answer broke off")
    return Failure(kind_of(error), sent=False, transient=False)


# Kept on purpose: closing TLS in a child would tell the parent's server goodbye.
_parents: list[tuple[dict[str, Any], requests.Session | None]] = []
