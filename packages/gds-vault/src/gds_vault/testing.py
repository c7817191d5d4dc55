"""For the tests of programs that use Vault: a small Vault in this process, which fails when it is told to.

    from gds_vault import TokenAuth, VaultClient
    from gds_vault.testing import VaultServer

    with VaultServer() as server:
        server.put("app/database", {"password": "s3cret"})
        with VaultClient(server.url, TokenAuth(server.root_token)) as client:
            assert client.get_secret("app/database")["password"] == "s3cret"

It speaks the part of Vault's HTTP API that reading and writing secrets needs: AppRole, userpass and token login, token
lookup and renewal, KV version 1 and 2, leases, mounts, health. It keeps everything in memory, knows no policies beyond
`VaultServer.deny`, and is no place for anything but tests and demonstrations.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import string
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

__all__ = ["VaultServer"]

_LETTERS = string.ascii_letters + string.digits
_KEPT_CALLS = 10_000


@dataclass(slots=True)
class _Token:
    """A token that was handed out; times are of the server's own clock."""

    ttl_seconds: float
    expires_at: float | None
    last_at: float | None
    renewable: bool = True
    root: bool = False


@dataclass(slots=True)
class _Version:
    data: dict[str, Any]
    created: datetime
    deleted: datetime | None = None
    destroyed: bool = False


@dataclass(slots=True)
class _Secret:
    versions: list[_Version] = field(default_factory=list)
    custom: dict[str, str] | None = None


@dataclass(slots=True)
class _Mount:
    """What is mounted: ``secrets`` of KV version 2, ``plain`` of version 1, ``leased`` of any other engine."""

    kind: str
    version: int | None
    secrets: dict[str, _Secret] = field(default_factory=dict)
    plain: dict[str, dict[str, Any]] = field(default_factory=dict)
    leased: dict[str, tuple[dict[str, Any], float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Login:
    secret: str
    token_ttl_seconds: float
    token_max_ttl_seconds: float | None
    renewable: bool


class _Refused(Exception):  # noqa: N818 - an answer, not a defect
    def __init__(self, status: int, *errors: str, **more: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = more or {"errors": list(errors)}


class VaultServer:
    """A Vault in this process, unsealed, with KV version 2 at ``secret/``. A context manager that starts and stops it.

    Args:
        port: Where to listen on 127.0.0.1; 0 takes a free one, which it keeps from then on.
        ssl_context: Makes it ``https``; None is ``http``.
    """

    def __init__(self, port: int = 0, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._ssl_context = ssl_context
        self._lock = threading.RLock()
        self._httpd: _Httpd | None = None
        self._thread: threading.Thread | None = None
        self._mounts = {"secret": _Mount("kv", 2)}
        self._approles: dict[str, _Login] = {}
        self._users: dict[str, _Login] = {}
        self._denied: list[str] = []
        self._failures: deque[tuple[int, str | None]] = deque()
        self._held: threading.Event | None = None
        self._sealed = False
        self._ahead_seconds = 0.0
        self.root_token = _new_token()
        """A token that may do everything and does not expire."""
        self._tokens = {self.root_token: _Token(0, None, None, renewable=False, root=True)}
        self.redirect_to: str | None = None
        """Answers 307 with this as ``Location``, as a standby does; ``{target}`` in it is what was asked for."""
        self.on_headers: Callable[[Mapping[str, str]], object] | None = None
        """Called with the headers of each request."""
        self.requests = 0
        """How many requests came in, those that were failed on purpose too."""
        self.calls: deque[tuple[str, str]] = deque(maxlen=_KEPT_CALLS)
        """The method and path of the last requests, such as ``("GET", "secret/data/app")``."""

    # ------------------------------------------------------------------ its life
    def start(self) -> None:
        """Listen; after a `stop` on the same port, and with all it had."""
        if self._httpd is not None:
            return
        self._httpd = _Httpd(self, self._port, self._ssl_context)
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
        return f"{'https' if self._ssl_context else 'http'}://127.0.0.1:{self._port}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(port={self._port})"

    # ------------------------------------------------------------------ what it holds
    def mount(self, name: str, kv_version: int | None = 2) -> None:
        """Mount a secrets engine: KV of a version, or another one (None), which answers what `lease` gave it."""
        with self._lock:
            self._mounts[name.strip("/")] = _Mount("kv" if kv_version else "database", kv_version)

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
            secret = engine.secrets.setdefault(path, _Secret())
            now = self._date()
            gone = None if delete_after_seconds is None else now + timedelta(seconds=delete_after_seconds)
            secret.versions.append(_Version(copied, now, gone))
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
            self._approles[role_id] = _Login(secret_id, token_ttl_seconds, token_max_ttl_seconds, renewable)

    def add_user(
        self, name: str, password: str, token_ttl_seconds: float = 3600, *, token_max_ttl_seconds: float | None = None
    ) -> None:
        """Let a user log in with a password."""
        with self._lock:
            self._users[name] = _Login(password, token_ttl_seconds, token_max_ttl_seconds, renewable=True)

    def add_token(self, ttl_seconds: float = 3600, *, renewable: bool = True) -> str:
        """A new token that is not root's."""
        with self._lock:
            return self._issue(_Login("", ttl_seconds, None, renewable))[0]

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

    # ------------------------------------------------------------------ a request
    def _now(self) -> float:
        return time.monotonic() + self._ahead_seconds

    def _date(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self._ahead_seconds)

    def _answer(
        self, method: str, target: str, token: str | None, content: bytes
    ) -> tuple[int, dict[str, Any] | None, str | None]:
        """Status, body and Retry-After; status 0 hangs up."""
        parts = urlsplit(target)
        path = unquote(parts.path).removeprefix("/v1/").strip("/")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if method == "GET" and query.get("list") == "true":
            method = "LIST"
        with self._lock:
            self.requests += 1
            self.calls.append((method, path))
            if self._failures:
                status, retry_after = self._failures.popleft()
                return status, {"errors": ["failed on purpose"]}, retry_after
            held = self._held
        if held is not None:
            held.wait(60)
        with self._lock:
            try:
                body = json.loads(content) if content else {}
                if not isinstance(body, dict):
                    raise _Refused(400, "failed to parse JSON input")
                return (*self._route(method, path, query, token, body), None)
            except _Refused as refused:
                return refused.status, refused.body, None
            except ValueError:
                return 400, {"errors": ["failed to parse JSON input"]}, None

    def _route(
        self, method: str, path: str, query: dict[str, str], token: str | None, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        if path == "sys/health":
            health = {"initialized": True, "sealed": self._sealed, "standby": False, "version": "1.13.0"}
            return (503 if self._sealed else 200), health
        if path == "sys/seal-status":
            return 200, {"type": "shamir", "initialized": True, "sealed": self._sealed, "version": "1.13.0"}
        if self._sealed:
            raise _Refused(503, "Vault is sealed")
        if path == "auth/approle/login":
            return self._login(self._approles, body.get("role_id"), body.get("secret_id"), "invalid role or secret ID")
        if path.startswith("auth/userpass/login/"):
            name = path.removeprefix("auth/userpass/login/")
            return self._login(self._users, name, body.get("password"), "invalid username or password")
        return self._entered(method, path, query, token, body)

    def _entered(
        self, method: str, path: str, query: dict[str, str], token: str | None, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        """What needs a token."""
        who = self._who(token)
        if not who.root and self._is_denied(path):
            raise _Refused(403, "1 error occurred:\n\t* permission denied\n\n")
        if path == "auth/token/lookup-self":
            remaining = 0 if who.expires_at is None else int(who.expires_at - self._now())
            return 200, _wrapped({"ttl": remaining, "creation_ttl": int(who.ttl_seconds), "renewable": who.renewable})
        if path == "auth/token/renew-self":
            return self._renew(cast("str", token), who)
        if path.startswith("sys/internal/ui/mounts/"):
            return self._ui_mount(path.removeprefix("sys/internal/ui/mounts/"))
        return self._engine(method, path, query, body)

    def _engine(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        for name, engine in self._mounts.items():
            if path == name or path.startswith(f"{name}/"):
                rest = path[len(name) + 1 :]
                if engine.kind != "kv":
                    return _leased(engine, rest)
                if engine.version == 2:
                    return self._versioned(engine, method, rest, query, body)
                return _plain(engine, method, rest, body)
        raise _Refused(404, f'no handler for route "{path}". route entry not found.')

    def _is_denied(self, path: str) -> bool:
        mount, _, rest = path.partition("/")
        names = [path, rest]
        for kind in ("data/", "metadata/"):
            if rest.startswith(kind):
                names += [rest.removeprefix(kind), f"{mount}/{rest.removeprefix(kind)}"]
        return any(name.startswith(prefix) for prefix in self._denied for name in names)

    def _ui_mount(self, name: str) -> tuple[int, dict[str, Any]]:
        engine = self._mounts.get(name)
        if engine is None:
            raise _Refused(403, "preflight capability check returned 403, please ensure client's policies grant access")
        options = {"version": str(engine.version)} if engine.version else None
        return 200, _wrapped({"path": f"{name}/", "type": engine.kind, "options": options})

    # ------------------------------------------------------------------ tokens
    def _who(self, token: str | None) -> _Token:
        who = self._tokens.get(token or "")
        if who is None or (who.expires_at is not None and self._now() >= who.expires_at):
            raise _Refused(403, "permission denied")
        return who

    def _issue(self, login: _Login) -> tuple[str, _Token]:
        now = self._now()
        most = login.token_max_ttl_seconds
        ttl = login.token_ttl_seconds if most is None else min(login.token_ttl_seconds, most)
        token = _Token(ttl, now + ttl, None if most is None else now + most, login.renewable)
        value = _new_token()
        self._tokens[value] = token
        return value, token

    def _login(
        self, known: dict[str, _Login], name: object, secret: object, refusal: str
    ) -> tuple[int, dict[str, Any]]:
        login = known.get(name) if isinstance(name, str) else None
        if (
            login is None
            or not isinstance(secret, str)
            or not secrets.compare_digest(login.secret.encode(), secret.encode())
        ):
            raise _Refused(400, refusal)
        value, token = self._issue(login)
        return 200, _authenticated(value, token.ttl_seconds, token.renewable)

    def _renew(self, value: str, token: _Token) -> tuple[int, dict[str, Any]]:
        if not token.renewable:
            raise _Refused(400, "lease is not renewable")
        now = self._now()
        token.expires_at = now + token.ttl_seconds
        if token.last_at is not None:
            token.expires_at = min(token.expires_at, token.last_at)
        return 200, _authenticated(value, token.expires_at - now, token.renewable)

    # ------------------------------------------------------------------ KV version 2
    def _versioned(
        self, engine: _Mount, method: str, rest: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        kind, _, path = rest.partition("/")
        if kind == "metadata" and method == "LIST":
            return _listed(engine.secrets, path)
        secret = engine.secrets.get(path)
        if kind == "data" and method in ("POST", "PUT"):
            return self._write(engine, path, secret, body)
        if secret is None:
            raise _Refused(404)
        if kind == "data" and method == "GET":
            return self._read(secret, int(query.get("version", "0")))
        if kind == "data" and method == "DELETE":
            secret.versions[-1].deleted = self._date()
            return 204, None
        if kind == "metadata" and method == "DELETE":
            del engine.secrets[path]
            return 204, None
        if kind == "metadata" and method in ("POST", "PUT"):
            secret.custom = body.get("custom_metadata")
            return 204, None
        if kind == "destroy":
            for number in body.get("versions", []):
                secret.versions[number - 1].destroyed = True
            return 204, None
        raise _Refused(405, "unsupported operation")

    def _write(
        self, engine: _Mount, path: str, secret: _Secret | None, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        if not isinstance(body.get("data"), dict):
            raise _Refused(400, "no data provided")
        secret = secret or _Secret()
        expected = body.get("options", {}).get("cas")
        if expected is not None and expected != len(secret.versions):
            raise _Refused(400, "check-and-set parameter did not match the current version")
        engine.secrets[path] = secret
        secret.versions.append(_Version(body["data"], self._date()))
        return 200, _wrapped(_metadata(secret, len(secret.versions)))

    def _read(self, secret: _Secret, number: int) -> tuple[int, dict[str, Any]]:
        number = number or len(secret.versions)
        if number > len(secret.versions):
            raise _Refused(404)
        version = secret.versions[number - 1]
        gone = version.destroyed or (version.deleted is not None and version.deleted <= self._date())
        found = {"data": None if gone else version.data, "metadata": _metadata(secret, number)}
        if gone:
            raise _Refused(404, **_wrapped(found))
        return 200, _wrapped(found)


# ---------------------------------------------------------------------- answers, as Vault words them
def _new_token() -> str:
    return "hvs." + "".join(secrets.choice(_LETTERS) for _ in range(24))


def _wrapped(data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "request_id": str(uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        **more,
    }


def _authenticated(value: str, ttl_seconds: float, renewable: bool) -> dict[str, Any]:
    auth = {"client_token": value, "lease_duration": int(ttl_seconds), "renewable": renewable, "token_type": "service"}
    return {**_wrapped({}), "data": None, "auth": auth}


def _metadata(secret: _Secret, number: int) -> dict[str, Any]:
    version = secret.versions[number - 1]
    return {
        "created_time": _written(version.created),
        "custom_metadata": secret.custom,
        "deletion_time": "" if version.deleted is None else _written(version.deleted),
        "destroyed": version.destroyed,
        "version": number,
    }


def _written(moment: datetime) -> str:
    # Vault writes nanoseconds, which datetime does not have.
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}123Z"


def _listed(secrets_: Mapping[str, object], path: str) -> tuple[int, dict[str, Any]]:
    prefix = f"{path}/" if path else ""
    names = {name[len(prefix) :] for name in secrets_ if name.startswith(prefix)}
    keys = sorted({f"{first}/" if slash else first for first, slash, _ in (name.partition("/") for name in names)})
    if not keys:
        raise _Refused(404)
    return 200, _wrapped({"keys": keys})


def _plain(engine: _Mount, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    if method == "LIST":
        return _listed(engine.plain, path)
    if method in ("POST", "PUT"):
        engine.plain[path] = body
        return 204, None
    if method == "DELETE":
        engine.plain.pop(path, None)
        return 204, None
    if path not in engine.plain:
        raise _Refused(404)
    data = engine.plain[path]
    # As in Vault, a field `ttl` is what clients are told to wait before they ask again.
    ttl = data.get("ttl")
    return 200, _wrapped(data, lease_duration=ttl if isinstance(ttl, int) else 2_764_800)


def _leased(engine: _Mount, path: str) -> tuple[int, dict[str, Any]]:
    if path not in engine.leased:
        raise _Refused(404)
    data, lease_seconds = engine.leased[path]
    named = {"lease_id": f"{path}/{uuid4()}", "renewable": True} if lease_seconds else {}
    return 200, _wrapped(dict(data), lease_duration=int(lease_seconds), **named)


# ---------------------------------------------------------------------- HTTP
class _Httpd(ThreadingHTTPServer):
    # Threads are joined: `stop` leaves nothing behind.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, vault: VaultServer, port: int, ssl_context: ssl.SSLContext | None) -> None:
        self.vault = vault
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        if ssl_context is not None:
            # The handshake is the connection's own business: it must not keep others from being accepted.
            self.socket = ssl_context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or refused our certificate, is no news."""

    def close(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "gds-vault-testing"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        vault = cast("_Httpd", self.server).vault
        if vault.on_headers is not None:
            vault.on_headers(dict(self.headers))
        token = self.headers.get("x-vault-token")
        status, body, retry_after = vault._answer(self.command, self.path, token, content)
        redirect_to = vault.redirect_to
        if redirect_to is not None:
            status, body = 307, None
        if status == 0:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        encoded = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("cache-control", "no-store")
        if retry_after is not None:
            self.send_header("retry-after", retry_after)
        if redirect_to is not None:
            self.send_header("location", redirect_to.replace("{target}", self.path))
        if status != 204:
            self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(encoded)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_LIST = _serve  # noqa: N815 - what http.server looks for

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - it asks for now only
        """The header ``Date``, by the clock that `VaultServer.advance` puts forward."""
        return super().date_time_string(cast("_Httpd", self.server).vault._date().timestamp())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test has its own output."""
