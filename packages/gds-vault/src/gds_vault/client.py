"""`VaultClient`: Vault for programs with threads.

    from gds_vault import AppRoleAuth, VaultClient

    with VaultClient("https://vault.example:8200", AppRoleAuth("role", "secret")) as client:
        password = client.get_secret("app/database")["password"]

It logs in when it is first used and renews its token when that is used. It may be shared by threads, and used in forked
children. Requests go through hvac's adapter, so a ``requests`` session or an adapter of one's own can carry them.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

import requests
from hvac.adapters import Adapter, RawAdapter  # type: ignore[import-untyped, unused-ignore]
from requests import exceptions as failed

from gds_vault._core import Core
from gds_vault._flights import Flight, again
from gds_vault._settings import DEFAULT_TIMEOUT_SECONDS, resolve
from gds_vault._wire import Call, Failure, Once, Pause, Reply, kind_of, reply
from gds_vault.errors import VaultConfigurationError, VaultError

if TYPE_CHECKING:
    import os
    from collections.abc import Hashable, Mapping

    from typing_extensions import Self

    from gds_vault._report import Metrics
    from gds_vault._wire import Effect, Steps, T
    from gds_vault.auth import Auth
    from gds_vault.cache import SecretCache
    from gds_vault.retry import RetryPolicy

__all__ = ["VaultClient"]

_POOL = 64  # connections kept for threads that ask at once
_MAX_ORIGINS = 8  # servers that a standby has sent us to


class VaultClient:
    """Reads and writes secrets. A context manager; thread-safe.

    What is not given is taken from ``config``, else from the environment: ``VAULT_ADDR``, ``VAULT_ROLE_ID`` and
    ``VAULT_SECRET_ID``, ``VAULT_TOKEN``, ``VAULT_NAMESPACE``, ``VAULT_MOUNT_POINT``, ``VAULT_SSL_CERT``.

    Args:
        vault_addr: The address, such as ``https://vault.example:8200``.
        auth: `AppRoleAuth`, `TokenAuth` or `UserpassAuth`.
        cache: Where secrets are kept; None is a `SecretCache` of its own.
        retry_policy: What is tried again, and when; None is a `RetryPolicy` of its own.
        timeout: Seconds that one request may take to connect, and to answer.
        config: A mapping or a dataclass of settings; docs/vault.md has their names.
        verify_ssl: Whether the server's certificate is checked.
        ssl_cert_path: A CA bundle to check it by, instead of the usual one.
        mount_point: The mount that paths begin at; ``secret`` by default.
        namespace: The namespace, where there are any.
        transport: A ``requests.Session``, or a class of hvac adapter. A session is not closed.
        metrics: Any collector of ``gds_metrics``, or None.

    Raises:
        VaultConfigurationError: A setting is missing, unknown or makes no sense.
    """

    def __init__(
        self,
        vault_addr: str | None = None,
        auth: Auth | None = None,
        cache: SecretCache | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        config: object = None,
        verify_ssl: bool = True,
        ssl_cert_path: str | os.PathLike[str] | None = None,
        mount_point: str | None = None,
        namespace: str | None = None,
        transport: requests.Session | type[Adapter] | None = None,
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
        is_class = isinstance(transport, type) and issubclass(transport, Adapter)
        if transport is not None and not is_class and not isinstance(transport, requests.Session):
            raise VaultConfigurationError(
                f"transport: expected a requests.Session or a class of hvac adapter, got {type(transport).__name__}"
            )
        self._transport = transport
        self._core = Core(settings, cache, retry_policy, metrics)
        self._renew_locks()
        self._forked = False
        self._core.on_fork(self._after_fork)

    # ------------------------------------------------------------------ what it is for
    def get_secret(self, path: str, use_cache: bool = True, version: int | None = None) -> dict[str, Any]:
        """The fields of a secret; a copy that is the caller's own.

        Args:
            path: Where it is, within the mount.
            use_cache: Whether one that was read earlier will do. If not, what is read is kept all the same.
            version: Of KV version 2: which one; None is the latest.

        Raises:
            VaultSecretNotFoundError: There is none, or that version is deleted.
            VaultPermissionError: A policy denies it.
            VaultAuthError: Vault does not let us in.
            VaultConnectionError: Vault cannot be reached.
        """
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

    def put_secret(self, path: str, data: Mapping[str, Any]) -> None:
        """Write a secret: all its fields, as a new version where the mount keeps versions.

        Args:
            path: Where, within the mount.
            data: What JSON can hold.

        Raises:
            VaultError: As `get_secret`. After a `VaultConnectionError` it may be written or not.
        """
        self._run(self._core.write(path, data))

    def delete_secret(self, path: str) -> None:
        """Delete a secret; of KV version 2 its latest version, which Vault can bring back.

        Raises:
            VaultError: As `put_secret`.
        """
        self._run(self._core.delete(path))

    def close(self) -> None:
        """Close the connections and forget token and secrets. May be called again; other calls then raise."""
        self._core.close()
        with self._lock:
            adapters = list(self._adapters.values())
            self._adapters.clear()
        for adapter in adapters:
            if not isinstance(self._transport, requests.Session):
                adapter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
                shared = again(error)
            raise shared

    def _lead(self, flight: Flight[Future[Any]]) -> Any:
        try:
            value = self._run(flight.steps)
        except VaultError as error:
            self._landed(flight)
            flight.future.set_exception(again(error))
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
        _parents.append(self._adapters)
        self._renew_locks()
        self._forked = True

    # ------------------------------------------------------------------ HTTP
    def _requested(self, call: Call) -> Reply | Failure:
        settings: dict[str, Any] = {"timeout": call.timeout_seconds}
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
        base = origin or self._core.settings.vault_addr
        adapter = self._adapters.get(base)
        if adapter is None:
            with self._lock:
                adapter = self._adapters.get(base) or self._new_adapter(base)
                if len(self._adapters) < _MAX_ORIGINS and not self._core.closed:
                    self._adapters[base] = adapter
        return adapter

    def _new_adapter(self, base: str) -> Adapter:
        mine = self._core.settings
        verify: bool | str = mine.verify_ssl and (mine.ssl_cert_path or True)
        # Redirects are followed by the core, which does not send a token from https to http.
        common: dict[str, Any] = {"base_uri": base, "namespace": mine.namespace, "allow_redirects": False}
        kind: type[Adapter] = RawAdapter
        if isinstance(self._transport, type):
            kind = self._transport
        elif self._transport is not None:
            common["session"] = self._transport
            if self._forked:
                self._transport.close()  # its connections, not itself: it opens new ones
        else:
            common["session"] = _session(verify)
        return kind(verify=verify, timeout=mine.timeout_seconds, **common)


def _session(verify: bool | str) -> requests.Session:
    session = requests.Session()
    session.verify = verify
    for scheme in ("https://", "http://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_POOL))
    return session


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
_parents: list[dict[str, Adapter]] = []
