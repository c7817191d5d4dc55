"""`AsyncVaultClient`: Vault for asyncio and uvloop.

    from gds_vault import AppRoleAuth, AsyncVaultClient

    async with AsyncVaultClient("https://vault.example:8200", AppRoleAuth("role", "secret")) as client:
        password = (await client.get_secret("app/database"))["password"]

As `VaultClient`, and decided by the same code. Tasks that want one secret at the same time share one fetch, which is a
task of its own: who is cancelled takes nothing from the others. It needs aiohttp, the extra ``async``.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_vault._core import Core
from gds_vault._flights import Flight, again
from gds_vault._settings import DEFAULT_TIMEOUT_SECONDS, resolve
from gds_vault._wire import Call, Failure, Once, Pause, Reply, kind_of, reply
from gds_vault.errors import VaultConfigurationError, VaultError

if TYPE_CHECKING:
    import os
    from collections.abc import Hashable, Mapping

    import aiohttp
    from typing_extensions import Self

    from gds_vault._report import Metrics
    from gds_vault._wire import Effect, Steps, T
    from gds_vault.auth import Auth
    from gds_vault.cache import SecretCache
    from gds_vault.retry import RetryPolicy

__all__ = ["AsyncVaultClient"]


class AsyncVaultClient:
    """Reads and writes secrets. An asynchronous context manager, for the tasks of one event loop at a time.

    Args:
        vault_addr: As in `VaultClient`, and so are the others that are not explained here.
        auth: `AppRoleAuth`, `TokenAuth` or `UserpassAuth`.
        cache: Where secrets are kept; None is a `SecretCache` of its own.
        retry_policy: What is tried again, and when; None is a `RetryPolicy` of its own.
        timeout: Seconds that one request may take.
        config: A mapping or a dataclass of settings; docs/vault.md has their names.
        verify_ssl: Whether the server's certificate is checked.
        ssl_cert_path: A CA bundle to check it by, instead of the usual one.
        mount_point: The mount that paths begin at; ``secret`` by default.
        namespace: The namespace, where there are any.
        transport: An ``aiohttp.ClientSession``, which is not closed.
        metrics: Any collector of ``gds_metrics``, or None.

    Raises:
        VaultConfigurationError: A setting is missing, unknown or makes no sense.
        ImportError: aiohttp is not installed.
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
        transport: aiohttp.ClientSession | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise ImportError("AsyncVaultClient needs aiohttp; pip install 'gds-vault[async]'") from error
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
        if transport is not None and not isinstance(transport, aiohttp.ClientSession):
            raise VaultConfigurationError(
                f"transport: expected an aiohttp.ClientSession, got {type(transport).__name__}"
            )
        self._aiohttp = aiohttp
        self._transport = transport
        self._core = Core(settings, cache, retry_policy, metrics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._flights: dict[Hashable, Flight[asyncio.Task[Any]]] = {}
        self._core.on_fork(self._forget_loop)

    # ------------------------------------------------------------------ what it is for
    async def get_secret(self, path: str, use_cache: bool = True, version: int | None = None) -> dict[str, Any]:
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
        return await self._run(self._core.read(path, version, use_cache))

    async def list_secrets(self, path: str) -> list[str]:
        """The names below a path; those that end in ``/`` have more below them. An empty path is the whole mount.

        Raises:
            VaultSecretNotFoundError: There is nothing below it.
            VaultError: As `get_secret`.
        """
        return await self._run(self._core.names(path))

    async def put_secret(self, path: str, data: Mapping[str, Any]) -> None:
        """Write a secret: all its fields, as a new version where the mount keeps versions.

        Args:
            path: Where, within the mount.
            data: What JSON can hold.

        Raises:
            VaultError: As `get_secret`. After a `VaultConnectionError` it may be written or not.
        """
        await self._run(self._core.write(path, data))

    async def delete_secret(self, path: str) -> None:
        """Delete a secret; of KV version 2 its latest version, which Vault can bring back.

        Raises:
            VaultError: As `put_secret`.
        """
        await self._run(self._core.delete(path))

    async def aclose(self) -> None:
        """End what is under way, close the connections, forget token and secrets. May be called again."""
        self._core.close()
        if self._loop is not asyncio.get_running_loop():
            self._forget_loop()
        tasks = [flight.future for flight in self._flights.values() if not flight.future.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        session, self._session = self._session, None
        if session is not None and self._transport is None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return self._core.describe(type(self).__name__)

    # ------------------------------------------------------------------ how it waits
    async def _run(self, steps: Steps[T]) -> T:
        self._on_this_loop()
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
                answer = await self._performed(effect)
            except VaultError as raised:
                error = raised
            except BaseException:
                steps.close()  # now, so that what it began is ended in this loop
                raise

    async def _performed(self, effect: Effect) -> Any:
        if isinstance(effect, Call):
            return await self._requested(effect)
        if isinstance(effect, Pause):
            return await asyncio.sleep(effect.seconds)
        return await self._once(effect)

    async def _once(self, once: Once) -> Any:
        flight = self._flights.get(once.key)
        if flight is None or flight.stale:
            flight = self._fly(once)
        elif not once.join:
            return None
        # A task that is waited for this way goes on when its waiter is cancelled.
        await asyncio.wait([flight.future])
        if flight.future.cancelled():
            raise VaultError("this client was closed while it fetched")
        raised = flight.future.exception()
        if raised is None:
            return flight.future.result()
        if isinstance(raised, VaultError):
            raised = again(raised)
        raise raised

    def _fly(self, once: Once) -> Flight[asyncio.Task[Any]]:
        flight: Flight[Any] = Flight(once, None, 0)
        flight.future = asyncio.get_running_loop().create_task(self._run(flight.steps))
        self._flights[once.key] = flight

        def landed(task: asyncio.Task[Any]) -> None:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            if not task.cancelled():
                task.exception()  # somebody has seen it, even if all who waited were cancelled

        flight.future.add_done_callback(landed)
        return flight

    def _on_this_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and self._loop.is_running():
            raise VaultConfigurationError("this client is in use by another event loop; make one for each loop")
        self._forget_loop()
        self._loop = loop

    def _forget_loop(self) -> None:
        """The loop is over, or the parent's; so are its tasks and connections, which nobody can close in order."""
        self._loop = None
        self._flights = {}
        session, self._session = self._session, None
        if session is not None:
            _abandon(session.connector)
            session.detach()

    # ------------------------------------------------------------------ HTTP
    def _open_session(self) -> aiohttp.ClientSession:
        if self._transport is not None:
            return self._transport
        if self._session is None:
            connector = self._aiohttp.TCPConnector(ssl=_tls(self._core))
            # As requests does: proxies of the environment.
            self._session = self._aiohttp.ClientSession(connector=connector, trust_env=True)
        return self._session

    async def _requested(self, call: Call) -> Reply | Failure:
        mine = self._core.settings
        # As hvac's adapter does.
        headers = {"X-Vault-Request": "true", **call.headers()}
        if mine.namespace is not None:
            headers["X-Vault-Namespace"] = mine.namespace
        try:
            from yarl import URL

            url = URL(f"{call.origin or mine.vault_addr}/v1/{call.target}", encoded=True)
            async with self._open_session().request(
                call.method,
                url,
                headers=headers,
                data=call.body,
                # Redirects are followed by the core, which does not send a token from https to http.
                allow_redirects=False,
                timeout=self._aiohttp.ClientTimeout(total=call.timeout_seconds),
                **self._tls_settings(),
            ) as answer:
                return reply(answer.status, answer.headers, await answer.read())
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold what was sent
            return self._failure(error, call)

    def _tls_settings(self) -> dict[str, Any]:
        """What is said about TLS here, for a session that was made elsewhere."""
        mine = self._core.settings
        if self._transport is None or (mine.verify_ssl and mine.ssl_cert_path is None):
            return {}
        return {"ssl": _tls(self._core)}

    def _failure(self, error: Exception, call: Call) -> Failure:
        """What happened, without the exception's own text: it holds addresses, and may hold headers."""
        kinds = self._aiohttp
        if isinstance(error, (kinds.ClientSSLError, ssl.SSLError, kinds.ServerFingerprintMismatch)):
            return Failure(f"TLS: {kind_of(error)}; see ssl_cert_path", sent=False, transient=False)
        if isinstance(error, asyncio.TimeoutError):
            return Failure(f"no answer within {call.timeout_seconds:.3g} s")
        if isinstance(error, (kinds.ClientConnectorError, kinds.ClientProxyConnectionError)):
            return Failure(kind_of(error), sent=False)
        if isinstance(error, (kinds.ClientConnectionError, kinds.ClientPayloadError, OSError)):
            return Failure(kind_of(error))
        return Failure(kind_of(error), sent=False, transient=False)


def _tls(core: Core) -> ssl.SSLContext | bool:
    mine = core.settings
    if not mine.verify_ssl:
        return False
    if mine.ssl_cert_path is None:
        return True
    if Path(mine.ssl_cert_path).is_dir():
        return ssl.create_default_context(capath=mine.ssl_cert_path)
    return ssl.create_default_context(cafile=mine.ssl_cert_path)


def _abandon(connections: object) -> None:
    """Let go of connections without closing them, ever.

    Their finalizer would take them off the poll of their loop, and that poll is the parent's too where we are a forked
    child. So they are kept even beyond the end of the interpreter.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connections))
