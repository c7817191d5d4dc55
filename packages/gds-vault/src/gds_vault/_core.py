"""What both clients decide: which request comes next, what an answer means, when to log in, to renew, to try again.

Nothing here waits; see `gds_vault._wire`.
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from gds_vault._checks import secret_path, whole
from gds_vault._lifetime import duration_seconds, lifetime
from gds_vault._report import Report
from gds_vault._token import Token
from gds_vault._wire import Call, Failure, Once, Pause, Reply, Steps, api_path, said
from gds_vault.auth import TokenAuth
from gds_vault.cache import SecretCache, copied
from gds_vault.errors import (
    VaultAuthError,
    VaultConfigurationError,
    VaultConnectionError,
    VaultError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)
from gds_vault.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_vault._report import Metrics
    from gds_vault._settings import Settings
    from gds_vault._wire import T
    from gds_vault.cache import Ticket

__all__ = ["Core"]

MAX_REDIRECTS = 3
ASSUMED_SECONDS = 60.0
"""How long a mount is taken for KV version 2 because its version may not be asked for."""
FRUITLESS_SECONDS = 60.0
"""How long no login follows a 403, where the token may not look itself up and the last login did not help."""

# Vault 1.13 may answer 500 to a wrong secret, which will be as wrong the next time.
_WRONG_CREDENTIALS = ("invalid role", "invalid secret id", "invalid username or password")

_NOT_TAKEN = {429, 503}  # Vault refuses these before it does anything


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
        cache: SecretCache | None,
        retry_policy: RetryPolicy | None,
        metrics: Metrics | None,
    ) -> None:
        if cache is not None and not isinstance(cache, SecretCache):
            raise VaultConfigurationError(f"cache: expected a SecretCache, got {type(cache).__name__}")
        if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
            raise VaultConfigurationError(f"retry_policy: expected a RetryPolicy, got {type(retry_policy).__name__}")
        self.settings = settings
        self.report = Report(metrics, settings.max_path_labels)
        self.closed = False
        self._owns_cache = cache is None
        self._cache = cache or SecretCache()
        self._clock = self._cache.clock
        self._scope = settings.scope
        self._policy = retry_policy or RetryPolicy()
        self._token: Token | None = None
        self._no_login_before = float("-inf")
        self._kv_version = settings.kv_version
        self._ask_version_at = float("-inf")
        self._drop_flights: Callable[[], None] | None = None
        if settings.vault_addr.lower().startswith("https") and not settings.verify_ssl:
            self.report.warning("verify_ssl=False: whoever is in between can read the secrets of %s", self)
        _cores.add(self)

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
        return f"{name}({mine.vault_addr!r}, auth={mine.auth!r}, mount_point={mine.mount_point!r}{namespace})"

    def close(self) -> None:
        """Forget the token and what was read with it. Vault is not told: forked children use the same token."""
        self.closed = True
        self._token = None
        if self._owns_cache:
            self._cache.clear()

    # ------------------------------------------------------------------ the four calls
    def cached(self, path: str, version: int | None) -> dict[str, Any] | None:
        """The secret if it is in the cache: what most calls come to, and all they do."""
        if self.closed:
            self._refuse()
        try:
            found = self._cache.get(self._scope, path, version)
        except TypeError:  # unhashable; the checks of `read` say what is wrong with it
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
            return self._cache.begin(self._scope, plain, version)

        # Who asked not to use the cache does not want what somebody asked for earlier either.
        key = ("read", plain, version) if use_cache else object()
        once = Once(key, lambda ticket: self._fetch(ticket, plain, version), begin)
        value = yield from self._counted(plain, self._join(once))
        copy: dict[str, Any] = copied(value)
        return copy

    def names(self, path: str) -> Steps[list[str]]:
        """The names below a path; the whole mount's for an empty one."""
        plain = secret_path(path) if path != "" else ""
        return (yield from self._counted(plain or self.settings.mount_point, self._names(plain)))

    def write(self, path: str, data: Mapping[str, Any]) -> Steps[None]:
        """A new secret, or a new version of one."""
        plain = secret_path(path)
        content = _json(data, plain)
        yield from self._counted(plain, self._change(plain, "POST", content))

    def delete(self, path: str) -> Steps[None]:
        """A secret, or its last version, is no more."""
        plain = secret_path(path)
        yield from self._counted(plain, self._change(plain, "DELETE", None))

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

    # ------------------------------------------------------------------ secrets
    def _fetch(self, ticket: Ticket | None, path: str, version: int | None) -> Steps[dict[str, Any]]:
        assert ticket is not None  # noqa: S101 - `read` gives one
        begun = time.perf_counter()
        try:
            value, reply, metadata = yield from self._ask_secret(path, version)
            token = self._token
            token_end = float("inf") if token is None else token.expires_at
            self._cache.keep(ticket, value, lifetime(reply.body or {}, value, metadata, reply.date, token_end))
            return value
        except (VaultSecretNotFoundError, VaultPermissionError):
            # What was read earlier is not to be had any more.
            self._cache.forget(self._scope, path)
            raise
        finally:
            self._cache.end(ticket)
            self.report.fetched(path, (time.perf_counter() - begun) * 1000)

    def _ask_secret(self, path: str, version: int | None) -> Steps[tuple[dict[str, Any], Reply, dict[str, Any]]]:
        deadline = self._deadline()
        kv = yield from self._mount_version(deadline)
        if version is not None and kv != 2:
            raise VaultConfigurationError(
                f"version={version}: the mount {self.settings.mount_point!r} is not KV version 2 and keeps no versions",
                path=path,
            )
        target = self._data_path(kv, path)
        if version is not None:
            target += f"?version={version}"
        reply = yield from self._ask(Call("GET", target), path, deadline)
        if reply.status == 404:
            raise VaultSecretNotFoundError(
                _not_found(path, version, reply, self.settings.mount_point), path=path, status=404
            )
        data = self._good(reply, path).get("data")
        metadata: dict[str, Any] = {}
        if kv == 2 and isinstance(data, dict):
            beside = data.get("metadata")
            metadata = beside if isinstance(beside, dict) else {}
            data = data.get("data")
        if not isinstance(data, dict):
            raise VaultConnectionError(
                f"{path!r}: expected a secret from {self}, got something else; see mount_point and kv_version",
                path=path,
                status=reply.status,
            )
        return data, reply, metadata

    def _names(self, path: str) -> Steps[list[str]]:
        deadline = self._deadline()
        kv = yield from self._mount_version(deadline)
        kind = "metadata" if kv == 2 else ""
        target = api_path(self.settings.mount_point, kind, path) + "?list=true"
        reply = yield from self._ask(Call("GET", target), path, deadline)
        if reply.status == 404:
            raise VaultSecretNotFoundError(
                f"{path!r}: there is nothing below it in the mount {self.settings.mount_point!r}{said(reply)}",
                path=path,
                status=404,
            )
        data = self._good(reply, path).get("data")
        keys = data.get("keys") if isinstance(data, dict) else None
        return [str(key) for key in keys] if isinstance(keys, list) else []

    def _change(self, path: str, method: str, content: Any) -> Steps[None]:
        deadline = self._deadline()
        kv = yield from self._mount_version(deadline)
        body = None
        if method == "POST":
            body = json.dumps({"data": content} if kv == 2 else content).encode()
        call = Call(method, self._data_path(kv, path), body=body, repeatable=False)
        try:
            reply = yield from self._ask(call, path, deadline)
        finally:
            # Also after a failure: Vault may have taken it.
            self._cache.forget(self._scope, path)
        if reply.status == 404:
            raise VaultSecretNotFoundError(f"{path!r}: there is no such secret{said(reply)}", path=path, status=404)
        self._good(reply, path)

    def _data_path(self, kv: int, path: str) -> str:
        return api_path(self.settings.mount_point, "data" if kv == 2 else "", path)

    def _good(self, reply: Reply, path: str) -> dict[str, Any]:
        if reply.status >= 300:
            raise VaultError(
                f"{path!r}: vault refused with {reply.status}{said(reply)}", path=path, status=reply.status
            )
        if reply.body is None:
            raise VaultConnectionError(
                f"{path!r}: expected JSON from {self}, got something else; is this the address of a Vault?",
                path=path,
                status=reply.status,
            )
        return reply.body

    # ------------------------------------------------------------------ the mount
    def _mount_version(self, deadline: float) -> Steps[int]:
        if self._kv_version is None and self._clock() >= self._ask_version_at:
            yield Once("mount", lambda _: self._ask_mount(deadline))
        return 2 if self._kv_version is None else self._kv_version

    def _ask_mount(self, deadline: float) -> Steps[None]:
        mount = self.settings.mount_point
        call = Call("GET", api_path("sys/internal/ui/mounts", mount))
        try:
            reply = yield from self._ask(call, mount, deadline)
        except VaultPermissionError:
            reply = Reply(403, {})
        data = (reply.body or {}).get("data")
        if reply.status != 200 or not isinstance(data, dict):
            # A policy forbids it, or it is no Vault of 2018 or later. Asked again later: policies change.
            self._ask_version_at = self._clock() + ASSUMED_SECONDS
            self.report.info(
                "the mount %r does not tell its version (%d); taken for KV version 2, set kv_version if it is not",
                mount,
                reply.status,
            )
            return
        options = data.get("options")
        version = options.get("version") if isinstance(options, dict) else None
        # Engines other than KV answer as KV version 1 does: the secret is all there is.
        self._kv_version = 2 if data.get("type") in {"kv", "generic"} and str(version) == "2" else 1

    # ------------------------------------------------------------------ with a token
    def _ask(self, call: Call, path: str, deadline: float) -> Steps[Reply]:
        """An answer other than 403, 429 and 5xx."""
        token = yield from self._usable(deadline)
        reply = yield from self._exchange(replace(call, token=token.value), deadline)
        if reply.status != 403:
            return reply
        if (yield from self._replaced(token, reply, deadline)):
            fresh = self._token or token
            reply = yield from self._exchange(replace(call, token=fresh.value), deadline)
            if reply.status != 403:
                return reply
            if not (yield from self._alive(fresh, deadline)):
                # Its policy does not even let it look itself up, so the next 403 would lead to a login too.
                self._no_login_before = self._clock() + FRUITLESS_SECONDS
        raise VaultPermissionError(
            f"{path!r}: vault denies it to the token of {self.settings.auth.method}; see the policies of the token",
            path=path,
            status=403,
        )

    def _usable(self, deadline: float) -> Steps[Token]:
        known = self._token
        now = self._clock()
        if known is None or known.expired(now):
            yield Once("login", lambda _: self._sign_in(known, deadline))
        elif known.due(now):
            old = known
            # Who finds a renewal under way goes on with what is still good.
            yield Once("login", lambda _: self._renew(old, deadline), join=False)
        token = self._token
        if token is None:
            self._refuse()  # closed by another thread meanwhile
        if token.expires_at != float("inf"):
            self.report.token_ttl(token.expires_at - self._clock())
        return token

    def _replaced(self, token: Token, reply: Reply, deadline: float) -> Steps[bool]:
        """After a 403: whether there is another token now.

        Vault says 403 both for what a policy denies and for a token that is dead. Only the second is a reason to log
        in, so the token is looked up: a denied path does not lead to a login each time it is read.
        """
        if self._is_new(token):
            return True
        return bool((yield Once(("revive", token.value), lambda _: self._revive(token, reply, deadline))))

    def _is_new(self, token: Token) -> bool:
        return self._token is not None and self._token.value != token.value

    def _revive(self, token: Token, reply: Reply, deadline: float) -> Steps[bool]:
        if self._is_new(token):
            return True
        if self._clock() < self._no_login_before:
            return False
        if "invalid token" not in said(reply) and (yield from self._alive(token, deadline)):
            return False
        if isinstance(self.settings.auth, TokenAuth):
            self._turned_away(
                "the token is not accepted: it has expired, was revoked or is mistyped; a new one is needed", 403
            )
        self.report.info("the token is not accepted any more; logging in to %s again", self)
        yield Once("login", lambda _: self._sign_in(token, deadline))
        return True

    def _alive(self, token: Token, deadline: float) -> Steps[bool]:
        reply = yield from self._exchange(Call("GET", "auth/token/lookup-self", token=token.value), deadline)
        return reply.status != 403

    # ------------------------------------------------------------------ getting one
    def _sign_in(self, bad: Token | None, deadline: float) -> Steps[None]:
        """A token other than ``bad``, which is dead."""
        if self._token is not None and (bad is None or self._is_new(bad)) and not self._token.expired(self._clock()):
            return
        token = yield from self._granted(deadline)
        if bad is not None:
            self._cache.forget_leased(self._scope)
        if not self.closed:
            self._token = token

    def _granted(self, deadline: float) -> Steps[Token]:
        auth = self.settings.auth
        began_at = self._clock()
        if isinstance(auth, TokenAuth):
            return (yield from self._looked_up(auth, began_at, deadline))
        path, credentials = auth.login()
        call = Call("POST", api_path(path), body=json.dumps(credentials).encode())
        reply = yield from self._knocked(call, deadline)
        granted = (reply.body or {}).get("auth")
        value = granted.get("client_token") if isinstance(granted, dict) else None
        if reply.status != 200 or not isinstance(granted, dict) or not isinstance(value, str) or not value:
            self._turned_away(
                f"{auth.method} login at {path.rpartition('/login')[0]!r} was refused{said(reply)}", reply.status
            )
        ttl_seconds = duration_seconds(granted.get("lease_duration")) or 0.0
        self.report.authenticated(auth.method, success=True)
        lives = f"lives for {ttl_seconds:g} s" if ttl_seconds else "does not expire"
        self.report.info("logged in to %s with %s; the token %s", self, auth.method, lives)
        return Token.granted(value, ttl_seconds, granted.get("renewable") is True, began_at)

    def _looked_up(self, auth: TokenAuth, began_at: float, deadline: float) -> Steps[Token]:
        """A token that was given: Vault says how long it lives, unless its policy forbids the question."""
        reply = yield from self._knocked(Call("GET", "auth/token/lookup-self", token=auth.token), deadline)
        data = (reply.body or {}).get("data")
        if reply.status != 200 or not isinstance(data, dict):
            if "invalid token" in said(reply):
                self._turned_away("the token is not accepted; a new one is needed", reply.status)
            return Token(auth.token, verified=False)
        self.report.authenticated(auth.method, success=True)
        ttl_seconds = duration_seconds(data.get("ttl")) or 0.0
        token = Token.granted(auth.token, ttl_seconds, data.get("renewable") is True, began_at)
        # Its whole life is the measure, not what was left of it when it came to us.
        whole_seconds = duration_seconds(data.get("creation_ttl")) if ttl_seconds else None
        return replace(token, ttl_seconds=max(ttl_seconds, whole_seconds)) if whole_seconds else token

    def _knocked(self, call: Call, deadline: float) -> Steps[Reply]:
        try:
            return (yield from self._exchange(call, deadline))
        except VaultConnectionError:
            self.report.authenticated(self.settings.auth.method, success=False)
            raise

    def _turned_away(self, message: str, status: int) -> NoReturn:
        self.report.authenticated(self.settings.auth.method, success=False)
        raise VaultAuthError(message, status=status)

    def _renew(self, token: Token, deadline: float) -> Steps[None]:
        """The token with a later end, or another one. If neither can be had, it is used until its end."""
        if self._token is not token:
            return
        try:
            renewed = yield from self._renewed(token, deadline)
            if renewed is not None and not renewed.due(self._clock()):
                self._token = renewed
                return
            token = renewed or token
            # Not renewable, or at its maximum.
            if not isinstance(self.settings.auth, TokenAuth):
                self._token = yield from self._granted(deadline)
                self._cache.forget_leased(self._scope)
                return
        except VaultError as error:
            self.report.warning("the token could not be renewed, %s s are left: %s", self._left(token), error)
        self._token = token.postponed(self._clock())

    def _left(self, token: Token) -> int:
        return max(0, int(token.expires_at - self._clock()))

    def _renewed(self, token: Token, deadline: float) -> Steps[Token | None]:
        if not token.renewable:
            return None
        began_at = self._clock()
        call = Call("POST", "auth/token/renew-self", token=token.value, body=b"{}")
        # One attempt: the token is still good, and somebody waits.
        reply = yield from self._exchange(call, deadline, attempts=1)
        granted = (reply.body or {}).get("auth")
        ttl_seconds = duration_seconds(granted.get("lease_duration")) if isinstance(granted, dict) else None
        if reply.status != 200 or not isinstance(granted, dict) or ttl_seconds is None:
            return replace(token, renewable=False) if reply.status == 400 else None
        self.report.renewed()
        self.report.info("the token was renewed and lives for %g s", ttl_seconds)
        return token.renewed(ttl_seconds, granted.get("renewable") is True, began_at)

    # ------------------------------------------------------------------ a request and its repetitions
    def _deadline(self) -> float:
        return time.monotonic() + self._policy.max_total_seconds

    def _exchange(self, call: Call, deadline: float, attempts: int | None = None) -> Steps[Reply]:
        """An answer other than 429 and 5xx."""
        attempts = attempts or self._policy.attempts
        attempt = 1
        while True:
            outcome = yield from self._followed(call, deadline)
            what, again = self._judged(outcome, call)
            if what is None:
                assert isinstance(outcome, Reply)  # noqa: S101 - a failure always has words
                return outcome
            status = outcome.status if isinstance(outcome, Reply) else None
            asked = outcome.retry_after_seconds if isinstance(outcome, Reply) else None
            delay = self._policy.delay_seconds(attempt, asked)
            if not again or attempt >= attempts or time.monotonic() + delay >= deadline:
                tried = f" in {attempt} attempts" if attempt > 1 else ""
                raise VaultConnectionError(f"no good answer from {self}{tried}: {what}", status=status)
            self.report.warning("attempt %d of %d at %s: %s; again in %.2f s", attempt, attempts, self, what, delay)
            yield Pause(delay)
            attempt += 1

    def _judged(self, outcome: Reply | Failure, call: Call) -> tuple[str | None, bool]:
        """What is wrong with it, in words, and whether to try again."""
        if isinstance(outcome, Failure):
            return outcome.text, outcome.transient and (call.repeatable or not outcome.sent)
        if outcome.status >= 500 and any(words in said(outcome) for words in _WRONG_CREDENTIALS):
            return None, False
        if outcome.status == 429 or outcome.status >= 500:
            return f"{outcome.status}{said(outcome)}", call.repeatable or outcome.status in _NOT_TAKEN
        if outcome.status in {301, 302, 303, 307, 308}:
            return f"{outcome.status}, a redirect that is not followed; see vault_addr", False
        return None, False

    def _followed(self, call: Call, deadline: float) -> Steps[Reply | Failure]:
        """An answer, from where standby servers send us if they do."""
        followed = 0
        while True:
            left = max(0.001, min(self.settings.timeout_seconds, deadline - time.monotonic()))
            outcome: Reply | Failure = yield replace(call, timeout_seconds=left)
            if not isinstance(outcome, Reply) or outcome.status not in {307, 308} or followed == MAX_REDIRECTS:
                return outcome
            origin = self._origin(outcome.location, call)
            if origin is None:
                return outcome
            call = replace(call, origin=origin)
            followed += 1

    def _origin(self, location: str | None, call: Call) -> str | None:
        """Where a redirect leads, if it is the same request to another server. A token does not leave TLS."""
        try:
            parts = urlsplit(location or "")
            head, found, _ = (location or "").partition("/v1/" + call.target.partition("?")[0])
            if not found or not parts.hostname or parts.username or parts.scheme not in {"http", "https"}:
                return None
        except ValueError:
            return None
        if parts.scheme == "http" and self.settings.vault_addr.lower().startswith("https"):
            return None
        return head


def _not_found(path: str, version: int | None, reply: Reply, mount: str) -> str:
    data = (reply.body or {}).get("data")
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if isinstance(metadata, dict):
        which = f"version {metadata.get('version')}" if isinstance(metadata.get("version"), int) else "its version"
        how = "destroyed" if metadata.get("destroyed") is True else "deleted"
        return f"{path!r}: {which} was {how}"
    asked = f" of version {version}" if version is not None else ""
    return f"{path!r}: there is no such secret{asked} in the mount {mount!r}{said(reply)}"


def _json(data: object, path: str) -> Any:
    """What is written, as JSON knows it. Its values are not shown."""
    if not isinstance(data, Mapping):
        raise VaultConfigurationError(f"data: expected a mapping, got {type(data).__name__}", path=path)
    try:
        return json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        pass
    raise VaultConfigurationError("data: expected what JSON can hold: text, finite numbers, lists, mappings", path=path)


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_cores):
        core.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
