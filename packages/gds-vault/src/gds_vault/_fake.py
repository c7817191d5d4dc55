"""What `gds_vault.testing.VaultServer` answers: the part of Vault's API that clients of secrets need, in memory."""

from __future__ import annotations

import json
import secrets
import string
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FakeVault", "Login", "Mount", "Secret", "Version", "new_token"]

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
class Version:
    data: dict[str, Any]
    created: datetime
    deleted: datetime | None = None
    destroyed: bool = False


@dataclass(slots=True)
class Secret:
    versions: list[Version] = field(default_factory=list)
    custom: dict[str, str] | None = None


@dataclass(slots=True)
class Mount:
    """What is mounted: ``secrets`` of KV version 2, ``plain`` of version 1, ``leased`` of any other engine."""

    kind: str
    version: int | None
    secrets: dict[str, Secret] = field(default_factory=dict)
    plain: dict[str, dict[str, Any]] = field(default_factory=dict)
    leased: dict[str, tuple[dict[str, Any], float]] = field(default_factory=dict)


@dataclass(slots=True)
class Login:
    secret: str
    token_ttl_seconds: float
    token_max_ttl_seconds: float | None
    renewable: bool


class _Refused(Exception):  # noqa: N818 - an answer, not a defect
    def __init__(self, status: int, *errors: str, **more: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = more or {"errors": list(errors)}


class FakeVault:
    """The state of a Vault, and its answers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self._mounts = {"secret": Mount("kv", 2)}
        self._approles: dict[str, Login] = {}
        self._users: dict[str, Login] = {}
        self._jwt_roles: dict[str, dict[str, Login]] = {}
        self._wrapped: dict[str, dict[str, Any]] = {}
        self._denied: list[str] = []
        self._failures: deque[tuple[int, str | None]] = deque()
        self._held: threading.Event | None = None
        self._sealed = False
        self._ahead_seconds = 0.0
        self.root_token = new_token()
        """A token that may do everything and does not expire."""
        self._tokens = {self.root_token: _Token(0, None, None, renewable=False, root=True)}
        self.requests = 0
        """How many requests came in, those that were failed on purpose too."""
        self.calls: deque[tuple[str, str]] = deque(maxlen=_KEPT_CALLS)
        """The method and path of the last requests, such as ``("GET", "secret/data/app")``."""

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
            self._arrived.notify_all()
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
        mount, found, _ = path.removeprefix("auth/").partition("/login")
        if path.startswith("auth/") and found and mount in self._jwt_roles:
            return self._login(self._jwt_roles[mount], body.get("role"), body.get("jwt"), "permission denied")
        if path == "sys/wrapping/unwrap":
            return self._unwrap(token)
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

    def _unwrap(self, token: str | None) -> tuple[int, dict[str, Any]]:
        data = self._wrapped.pop(token or "", None)
        if data is None:
            raise _Refused(400, "wrapping token is not valid or does not exist")
        return 200, _wrapped(data)

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
        # As Vault does it: a whole path is asked for by its mount.
        name = next((each for each in self._mounts if f"{name}/".startswith(f"{each}/")), name)
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

    def _issue(self, login: Login) -> tuple[str, _Token]:
        now = self._now()
        most = login.token_max_ttl_seconds
        ttl = login.token_ttl_seconds if most is None else min(login.token_ttl_seconds, most)
        token = _Token(ttl, now + ttl, None if most is None else now + most, login.renewable)
        value = new_token()
        self._tokens[value] = token
        return value, token

    def _login(self, known: dict[str, Login], name: object, secret: object, refusal: str) -> tuple[int, dict[str, Any]]:
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
        seconds = token.ttl_seconds if token.last_at is None else min(token.ttl_seconds, token.last_at - now)
        token.expires_at = now + seconds
        return 200, _authenticated(value, seconds, token.renewable)

    # ------------------------------------------------------------------ KV version 2
    def _versioned(
        self, engine: Mount, method: str, rest: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        kind, _, path = rest.partition("/")
        if kind == "metadata" and method == "LIST":
            return _listed(engine.secrets, path)
        secret = engine.secrets.get(path)
        if kind == "data" and method in ("POST", "PUT", "PATCH"):
            return self._write(engine, path, secret, body, patch=method == "PATCH")
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
        self, engine: Mount, path: str, secret: Secret | None, body: dict[str, Any], *, patch: bool
    ) -> tuple[int, dict[str, Any]]:
        if not isinstance(body.get("data"), dict):
            raise _Refused(400, "no data provided")
        if patch and secret is None:
            raise _Refused(404)
        secret = secret or Secret()
        expected = body.get("options", {}).get("cas")
        if expected is not None and expected != len(secret.versions):
            raise _Refused(400, "check-and-set parameter did not match the current version")
        engine.secrets[path] = secret
        data = _merged(secret.versions[-1].data, body["data"]) if patch else body["data"]
        secret.versions.append(Version(data, self._date()))
        return 200, _wrapped(_metadata(secret, len(secret.versions)))

    def _read(self, secret: Secret, number: int) -> tuple[int, dict[str, Any]]:
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
def new_token() -> str:
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


def _merged(target: object, patch: object) -> Any:
    """JSON Merge Patch, RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _metadata(secret: Secret, number: int) -> dict[str, Any]:
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


def _plain(engine: Mount, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
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


def _leased(engine: Mount, path: str) -> tuple[int, dict[str, Any]]:
    if path not in engine.leased:
        raise _Refused(404)
    data, lease_seconds = engine.leased[path]
    named = {"lease_id": f"{path}/{uuid4()}", "renewable": True} if lease_seconds else {}
    return 200, _wrapped(dict(data), lease_duration=int(lease_seconds), **named)
