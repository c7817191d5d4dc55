"""For the tests of programs that use Vault: a small Vault in this process, which fails when it is told to.

    from gds_vault import TokenAuth, VaultClient
    from gds_vault.testing import VaultServer

    with VaultServer() as server:
        server.put("app/database", {"password": "s3cret"})
        with VaultClient(server.url, TokenAuth(server.root_token)) as client:
            assert client.get_secret("app/database")["password"] == "s3cret"

It speaks the part of Vault's HTTP API that reading and writing secrets needs: AppRole, JWT, userpass and token login,
token lookup and renewal, unwrapping, KV version 1 and 2, leases, mounts, health. It keeps everything in memory, knows
no policies beyond `VaultServer.deny`, and is no place for anything but tests and demonstrations.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gds_vault._fake import FakeVault, Login, Mount, Secret, Version, new_token
from gds_vault._fake_http import Server, SocketServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

__all__ = ["VaultServer"]


class VaultServer(FakeVault):
    """A Vault in this process, unsealed, with KV version 2 at ``secret/``. A context manager that starts and stops it.

    Args:
        port: Where to listen on 127.0.0.1; 0 takes a free one, which it keeps from then on.
        ssl_context: Makes it ``https``; None is ``http``.
        socket_path: A Unix socket to listen at, instead of a port.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
        socket_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self._port = port
        self._socket_path = None if socket_path is None else os.fspath(socket_path)
        self._ssl_context = ssl_context
        super().__init__()
        self._httpd: Server | None = None
        self._thread: threading.Thread | None = None
        self.redirect_to: str | None = None
        """Answers 307 with this as ``Location``, as a standby does.

        ``{target}`` in it is what was asked for, ``{path}`` the same without quotes.
        """
        self.on_headers: Callable[[Mapping[str, str]], object] | None = None
        """Called with the headers of each request."""

    # ------------------------------------------------------------------ its life
    def start(self) -> None:
        """Listen; after a `stop` on the same port, and with all it had."""
        if self._httpd is not None:
            return
        if self._socket_path is not None:
            self._httpd = SocketServer(self, self._socket_path)
        else:
            self._httpd = Server(self, self._port, self._ssl_context)
            self._port = self._httpd.server_address[1]
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, name="gds_vault.testing", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and refuse further ones: an outage, until `start`. May be called again."""
        httpd, self._httpd = self._httpd, None
        if httpd is None or self._thread is None:
            return
        self.release()
        httpd.shutdown()
        self._thread.join()
        httpd.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Where it listens; 0 before the first start if that was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Its address, as clients take it."""
        if self._socket_path is not None:
            return f"unix://{self._socket_path}"
        return f"{'https' if self._ssl_context else 'http'}://127.0.0.1:{self._port}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(port={self._port})"

    # ------------------------------------------------------------------ what it holds
    def mount(self, name: str, kv_version: int | None = 2) -> None:
        """Mount a secrets engine: KV of a version, or another one (None), which answers what `lease` gave it."""
        with self._lock:
            self._mounts[name.strip("/")] = Mount("kv" if kv_version else "database", kv_version)

    def put(
        self,
        path: str,
        data: Mapping[str, Any],
        *,
        mount: str = "secret",
        custom_metadata: Mapping[str, str] | None = None,
        delete_after_seconds: float | None = None,
    ) -> None:
        """Write a secret, as an administrator would.

        Args:
            path: Where, within the mount.
            data: What it holds.
            mount: Of version 1 or 2.
            custom_metadata: Of version 2: what Vault keeps beside all versions of the secret.
            delete_after_seconds: Of version 2: this version is deleted that much later.
        """
        with self._lock:
            engine = self._mounts[mount]
            copied = json.loads(json.dumps(dict(data)))
            if engine.version != 2:
                engine.plain[path] = copied
                return
            secret = engine.secrets.setdefault(path, Secret())
            now = self._date()
            gone = None if delete_after_seconds is None else now + timedelta(seconds=delete_after_seconds)
            secret.versions.append(Version(copied, now, gone))
            if custom_metadata is not None:
                secret.custom = dict(custom_metadata)

    def delete(self, path: str, *, mount: str = "secret") -> None:
        """Delete the last version of a secret, as ``vault kv delete`` does."""
        with self._lock:
            engine = self._mounts[mount]
            if engine.version != 2:
                engine.plain.pop(path, None)
            elif path in engine.secrets:
                engine.secrets[path].versions[-1].deleted = self._date()

    def lease(self, path: str, data: Mapping[str, Any], lease_seconds: float, *, mount: str = "database") -> None:
        """Let an engine that is not KV answer with a secret that has a lease; mounts it if it is not there."""
        with self._lock:
            if mount not in self._mounts:
                self.mount(mount, kv_version=None)
            self._mounts[mount].leased[path] = (dict(data), lease_seconds)

    # ------------------------------------------------------------------ who may come in
    def add_approle(
        self,
        role_id: str,
        secret_id: str,
        token_ttl_seconds: float = 3600,
        *,
        token_max_ttl_seconds: float | None = None,
        renewable: bool = True,
    ) -> None:
        """Let an AppRole log in; its tokens live so long, and with renewals no longer than the maximum."""
        with self._lock:
            self._approles[role_id] = Login(secret_id, token_ttl_seconds, token_max_ttl_seconds, renewable)

    def add_user(
        self, name: str, password: str, token_ttl_seconds: float = 3600, *, token_max_ttl_seconds: float | None = None
    ) -> None:
        """Let a user log in with a password."""
        with self._lock:
            self._users[name] = Login(password, token_ttl_seconds, token_max_ttl_seconds, renewable=True)

    def add_jwt_role(self, role: str, jwt: str, token_ttl_seconds: float = 3600, *, mount: str = "jwt") -> None:
        """Let who brings this JWT log in as a role, at ``auth/jwt`` or, as Kubernetes does, at ``auth/kubernetes``."""
        with self._lock:
            self._jwt_roles.setdefault(mount, {})[role] = Login(jwt, token_ttl_seconds, None, renewable=True)

    def wrap(self, data: Mapping[str, Any]) -> str:
        """A wrapping token that gives these fields to the first who unwraps it."""
        with self._lock:
            token = new_token()
            self._wrapped[token] = dict(data)
            return token

    def add_token(self, ttl_seconds: float = 3600, *, renewable: bool = True) -> str:
        """A new token that is not root's."""
        with self._lock:
            return self._issue(Login("", ttl_seconds, None, renewable))[0]

    def revoke_tokens(self) -> None:
        """Forget all tokens but root's."""
        with self._lock:
            self._tokens = {value: token for value, token in self._tokens.items() if token.root}

    def deny(self, path_prefix: str) -> None:
        """Answer 403 to every token but root's, for paths that begin so: within the mount, or as in the API."""
        with self._lock:
            self._denied.append(path_prefix.lstrip("/"))

    def allow(self, path_prefix: str) -> None:
        """Take a `deny` back."""
        with self._lock:
            self._denied.remove(path_prefix.lstrip("/"))

    # ------------------------------------------------------------------ what goes wrong
    def fail(self, times: int, status: int = 503, *, retry_after: str | None = None) -> None:
        """Answer the next requests with a status instead.

        Args:
            times: How many of them. Called again, further ones fail after those.
            status: The HTTP status; 0 closes the connection without an answer.
            retry_after: The header ``Retry-After``, if any.
        """
        with self._lock:
            self._failures.extend([(status, retry_after)] * times)

    def recover(self) -> None:
        """Fail no further requests."""
        with self._lock:
            self._failures.clear()

    def hold(self) -> None:
        """Let requests wait until `release`."""
        self._held = self._held or threading.Event()

    def release(self) -> None:
        """Answer the requests that wait, and further ones at once."""
        held, self._held = self._held, None
        if held is not None:
            held.set()

    def wait_until(self, condition: Callable[[], object], timeout_seconds: float = 60.0) -> None:
        """Wait until a request that came in has made something true.

        Raises:
            TimeoutError: None has.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: bool(condition()), timeout_seconds):
                raise TimeoutError(f"no request has made it true within {timeout_seconds:g} s")

    def seal(self) -> None:
        """Answer every request with 503, as a sealed Vault does."""
        self._sealed = True

    def unseal(self) -> None:
        """Take the seal back."""
        self._sealed = False

    def advance(self, seconds: float) -> None:
        """Put its clock forward: tokens expire and versions are deleted without waiting for it."""
        with self._lock:
            self._ahead_seconds += seconds
