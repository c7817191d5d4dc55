"""`AsyncVaultClient`: Vault for asyncio and uvloop.

    from gds_vault import AppRoleAuth, AsyncVaultClient

    async with AsyncVaultClient("https://vault.example:8200", AppRoleAuth("role", "secret")) as client:
        password = (await client.get_secret("app/database"))["password"]

As `VaultClient`, and decided by the same code. Tasks that want one secret at the same time share one fetch, which is a
task of its own: who is cancelled takes nothing from the others. It needs aiohttp, the extra ``async``.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gds_vault._core import Core
from gds_vault._face import Face
from gds_vault._flights import Flight, copied
from gds_vault._settings import DEFAULT_TIMEOUT_SECONDS, resolve
from gds_vault._tls import proxy_of, tls_context
from gds_vault._wire import Ask, Call, Failure, Once, Pause, Reply, kind_of, own_failure, reply
from gds_vault.base import AsyncResourceManager, AsyncSecretProvider
from gds_vault.exceptions import VaultConfigurationError, VaultError

if TYPE_CHECKING:
    import os
    from collections.abc import Hashable, Mapping

    import aiohttp

    from gds_vault._report import Metrics
    from gds_vault._wire import Effect, Steps, T
    from gds_vault.auth import Auth
    from gds_vault.base import CacheProtocol
    from gds_vault.cache import SecretCache
    from gds_vault.retry import RetryPolicy

__all__ = ["AsyncVaultClient"]


class AsyncVaultClient(Face, AsyncSecretProvider, AsyncResourceManager):  # type: ignore[misc] # as there
    """Reads and writes secrets. An asynchronous context manager, for the tasks of one event loop at a time.

    Args:
        vault_addr: As in `VaultClient`, and so are the others that are not explained here.
        auth: As in `VaultClient`, or an `AsyncAuthStrategy`. What does not have to be awaited runs in a thread.
        cache: Where secrets are kept: a `SecretCache`, or any `CacheProtocol`; None is one of its own.
        retry_policy: What is tried again, and when; None is a `RetryPolicy` of its own.
        timeout: Seconds that one request may take.
        config: A mapping or a dataclass of settings; docs/vault.md has their names.
        verify_ssl: Whether the server's certificate is checked.
        ssl_cert_path: A CA bundle to check it by, instead of the usual one.
        mount_point: The mount that paths begin at; ``secret`` by default.
        namespace: The namespace, where there are any.
        metrics: Any collector of ``gds_metrics``, or None.
        transport: An ``aiohttp.ClientSession``, which is not closed.

    Raises:
        VaultConfigurationError: A setting is missing, unknown or makes no sense.
        ImportError: aiohttp is not installed.
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
        metrics: Metrics | None = None,
        transport: aiohttp.ClientSession | None = None,
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
        Face.__init__(self, config)
        self._aiohttp = aiohttp
        self._transport = transport
        self._core = Core(settings, cache, retry_policy, metrics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        # Files are read here and not when the first request is under way.
        self._tls = tls_context(settings) if settings.is_secure else None
        self._flights: dict[Hashable, Flight[asyncio.Task[Any]]] = {}
        self._core.on_fork(self._forget_loop)

    # ------------------------------------------------------------------ what it is for
    async def get_secret(
        self, path: str, use_cache: bool = True, version: int | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The fields of a secret; a copy that is the caller's own.

        Args:
            path: Where it is, within the mount; or as in Vault's API, ``secret/data/app``.
            use_cache: Whether one that was read earlier will do. If not, what is read is kept all the same.
            version: Of KV version 2: which one; None is the latest.
            kwargs: Ignored: for programs that say more to another `AsyncSecretProvider`.

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
        return await self._run(self._core.read(path, version, use_cache))

    async def list_secrets(self, path: str) -> list[str]:
        """The names below a path; those that end in ``/`` have more below them. An empty path is the whole mount.

        Raises:
            VaultSecretNotFoundError: There is nothing below it.
            VaultError: As `get_secret`.
        """
        return await self._run(self._core.names(path))

    async def put_secret(self, path: str, data: Mapping[str, Any], *, cas: int | None = None) -> int | None:
        """Write a secret: all its fields, as a new version where the mount keeps versions; its number is returned.

        Args:
            path: Where, within the mount.
            data: What JSON can hold.
            cas: Of KV version 2: write only if this is the latest version; 0 if there is none yet.

        Raises:
            VaultConflictError: Another version is the latest.
            VaultError: As `get_secret`. After a `VaultConnectionError` it may be written or not.
        """
        return await self._run(self._core.write(path, data, cas))

    async def patch_secret(self, path: str, data: Mapping[str, Any], *, cas: int | None = None) -> int | None:
        """Change fields of a secret of KV version 2 and leave the others: a new version, whose number is returned.

        Args:
            path: Where, within the mount.
            data: The fields that change; None removes one (JSON Merge Patch, RFC 7396).
            cas: Write only if this is the latest version.

        Raises:
            VaultError: As `put_secret`. The policy needs the capability ``patch``.
        """
        return await self._run(self._core.write(path, data, cas, patch=True))

    async def delete_secret(self, path: str) -> None:
        """Delete a secret; of KV version 2 its latest version, which Vault can bring back.

        Raises:
            VaultError: As `put_secret`.
        """
        await self._run(self._core.delete(path))

    async def unwrap(self, wrapping_token: str) -> dict[str, Any]:
        """The fields of what was wrapped in a token, which works once; needs no login.

        Raises:
            VaultAuthError: It has expired, or was unwrapped by somebody else.
            VaultError: As `get_secret`.
        """
        return await self._run(self._core.unwrap(wrapping_token))

    # ------------------------------------------------------------------ its life
    async def authenticate(self) -> bool:
        """Log in now, and anew; a client does so by itself when it is used.

        Returns:
            True.

        Raises:
            VaultAuthError: Vault does not let us in.
            VaultError: As `get_secret`.
        """
        await self._run(self._core.authenticate())
        return True

    async def initialize(self) -> None:
        """Log in beforehand, once. What fails is told in the log, and tried again by the first use."""
        await self._run(self._core.make_ready())
        self._initialized = True

    async def cleanup(self) -> None:
        """End what is under way, close the connections, forget token and secrets, as at the end of ``async with``.

        It may be used again.
        """
        self._core.clean_up()
        await self._disconnect()

    async def aclose(self) -> None:
        """As `cleanup`, for good: other calls then raise. May be called again."""
        self._core.close()
        await self._disconnect()

    async def _disconnect(self) -> None:
        self._initialized = False
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

    def _changed(self, **settings: Any) -> None:
        after = replace(self._core.settings, **settings)
        tls = tls_context(after) if after.is_secure else None
        super()._changed(**settings)
        self._tls = tls

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
        if isinstance(effect, Ask):
            return await _asked(effect)
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
            raised = copied(raised)
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
            path = self._core.settings.socket_path
            kinds = self._aiohttp
            connector = kinds.TCPConnector() if path is None else kinds.UnixConnector(path)
            # The environment is not trusted as a whole: a password of `.netrc` would come with its proxies.
            self._session = kinds.ClientSession(connector=connector)
        return self._session

    async def _requested(self, call: Call) -> Reply | Failure:
        mine = self._core.settings
        try:
            from yarl import URL

            address = f"{call.origin or mine.origin}/v1/{call.target}"
            async with self._open_session().request(
                call.method,
                URL(address, encoded=True),
                headers=call.headers(),
                data=call.body,
                # Redirects are followed by the core, which does not send a token from https to http.
                allow_redirects=False,
                timeout=self._aiohttp.ClientTimeout(total=call.timeout_seconds),
                **self._session_settings(address),
            ) as answer:
                return reply(answer.status, answer.headers, await answer.read())
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold what was sent
            return self._failure(error, call)

    def _session_settings(self, address: str) -> dict[str, Any]:
        """What is said about TLS and proxies here."""
        mine = self._core.settings
        found: dict[str, Any] = {}
        if self._transport is None and mine.socket_path is None:
            found["proxy"] = proxy_of(address)
        elif mine.verify_ssl and mine.ssl_cert_path is None and mine.client_cert is None:
            return {}  # a session that was made elsewhere knows best
        if address.startswith("https"):
            self._tls = self._tls or tls_context(mine)  # a standby without TLS may send us to one with it
            found["ssl"] = self._tls
        return found

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


async def _asked(ask: Ask) -> Any:
    failure: VaultError
    try:
        # What has to be awaited says so; what does not may block, as a file on a network does.
        if inspect.iscoroutinefunction(ask.function):
            return await ask.function()
        answer = await asyncio.to_thread(ask.function)
        return await answer if inspect.isawaitable(answer) else answer
    except Exception as error:  # noqa: BLE001 - it is the program's, and may raise anything
        failure = own_failure(error)
    raise failure


def _abandon(connections: object) -> None:
    """Let go of connections without closing them, ever.

    Their finalizer would take them off the poll of their loop, and that poll is the parent's too where we are a forked
    child. So they are kept even beyond the end of the interpreter.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connections))
