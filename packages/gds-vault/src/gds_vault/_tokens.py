"""The token of a client: had by a login, renewed, and replaced when it is dead."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from gds_vault._checks import current, header_text
from gds_vault._lifetime import duration_seconds
from gds_vault._token import Token
from gds_vault._wire import Ask, Call, Once, Reply, api_path, said
from gds_vault.auth import AppRoleAuth, TokenAuth, is_login, is_token, waits
from gds_vault.exceptions import VaultAuthError, VaultConnectionError, VaultError, VaultPermissionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_vault._exchange import Exchange
    from gds_vault._report import Report
    from gds_vault._wire import Steps

__all__ = ["Tokens"]

FRUITLESS_SECONDS = 60.0
"""How long no login follows a 403, where the token may not look itself up and the last login did not help."""


class Tokens:
    """The token of one client.

    Args:
        exchange: Asks Vault.
        report: What is told of it.
        clock: That of the cache.
        gone: Called when the token was replaced by another one: Vault revokes its leases with it.
    """

    def __init__(
        self, exchange: Exchange, report: Report, clock: Callable[[], float], gone: Callable[[], None]
    ) -> None:
        self._exchange = exchange
        self._report = report
        self._clock = clock
        self._gone = gone
        self._no_login_before = float("-inf")
        self._unwrapped: tuple[str, str] | None = None
        self.closed = False
        self.token: Token | None = None

    @property
    def _auth(self) -> Any:
        return self._exchange.settings.auth

    @property
    def _address(self) -> str:
        return self._exchange.settings.vault_addr

    @property
    def method(self) -> str:
        """How it is had, for people."""
        return str(getattr(self._auth, "method", None) or type(self._auth).__name__)

    @property
    def _is_given(self) -> bool:
        """Whether it is one token for ever, which cannot be had anew."""
        return is_token(self._auth) and not waits(self._auth)

    @property
    def namespace(self) -> str | None:
        """Where the token is had and renewed, if not in the namespace of the client."""
        found = getattr(self._auth, "namespace", None)
        return found if isinstance(found, str) and (is_login(self._auth) or is_token(self._auth)) else None

    def is_good(self) -> bool:
        """Whether there is a token that has not expired."""
        return self.token is not None and not self.token.expired(self._clock())

    def end(self) -> float:
        """When the token ends, by the clock of the cache."""
        return float("inf") if self.token is None else self.token.expires_at

    def handed_out(self) -> tuple[str, float]:
        """The token, and its end in seconds since 1970."""
        token = self.token
        if token is None:
            raise VaultAuthError("there is no token")
        return token.value, time.time() + (token.expires_at - self._clock())

    def forget(self) -> None:
        """Have none."""
        self.token = None
        self._unwrapped = None

    # ------------------------------------------------------------------ with a token
    def ask(self, call: Call, path: str, deadline: float) -> Steps[Reply]:
        """An answer other than 403, 412, 429 and 5xx.

        Raises:
            VaultPermissionError: The token is good, and may not.
        """
        token = yield from self.usable(deadline)
        reply = yield from self._exchange.ask(replace(call, token=token.value), deadline)
        if reply.status != 403:
            return reply
        if (yield from self._replaced(token, reply, deadline)):
            fresh = self.token or token
            reply = yield from self._exchange.ask(replace(call, token=fresh.value), deadline)
            if reply.status != 403:
                return reply
            if not (yield from self._alive(fresh, deadline)):
                # Its policy does not even let it look itself up, so the next 403 would lead to a login too.
                self._no_login_before = self._clock() + FRUITLESS_SECONDS
        raise VaultPermissionError(
            f"{path!r}: vault denies it to the token of {self.method}; see the policies of the token",
            path=path,
            status=403,
        )

    def usable(self, deadline: float) -> Steps[Token]:
        """A token that has not expired, as far as is known."""
        known = self.token
        now = self._clock()
        if known is None or known.expired(now):
            yield Once("login", lambda _: self._sign_in(known, deadline))
        elif known.due(now):
            old = known
            # Who finds a renewal under way goes on with what is still good.
            yield Once("login", lambda _: self._renew(old, deadline), join=False)
        token = self.token
        if token is None:
            raise VaultError("this client was closed meanwhile")
        if token.expires_at != float("inf"):
            self._report.token_ttl(token.expires_at - self._clock())
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
        return self.token is not None and self.token.value != token.value

    def _revive(self, token: Token, reply: Reply, deadline: float) -> Steps[bool]:
        if self._is_new(token):
            return True
        if self._clock() < self._no_login_before:
            return False
        if "invalid token" not in said(reply) and (yield from self._alive(token, deadline)):
            return False
        if self._is_given:
            self._turned_away(
                "the token is not accepted: it has expired, was revoked or is mistyped; a new one is needed", 403
            )
        self._report.info("the token is not accepted any more; logging in to %s again", self._address)
        yield Once("login", lambda _: self._sign_in(token, deadline))
        return True

    def _alive(self, token: Token, deadline: float) -> Steps[bool]:
        reply = yield from self._exchange.ask(self._about("lookup-self", token.value), deadline)
        return reply.status != 403

    def _about(self, what: str, token: str) -> Call:
        method, body = ("POST", b"{}") if what == "renew-self" else ("GET", None)
        return Call(method, f"auth/token/{what}", token=token, namespace=self.namespace, body=body)

    # ------------------------------------------------------------------ getting one
    def log_in(self, deadline: float, attempts: int | None = None) -> Steps[None]:
        """Have another token, whatever there is."""
        yield Once("login", lambda _: self._log_in(deadline, attempts))

    def _log_in(self, deadline: float, attempts: int | None) -> Steps[None]:
        token = yield from self._granted(deadline, attempts)
        self._take(token)

    def _sign_in(self, bad: Token | None, deadline: float) -> Steps[None]:
        """A token other than ``bad``, which is dead."""
        if self.token is not None and (bad is None or self._is_new(bad)) and not self.token.expired(self._clock()):
            return
        token = yield from self._granted(deadline)
        if bad is not None:
            self._gone()
        self._take(token)

    def _take(self, token: Token) -> None:
        if not self.closed:
            self.token = token

    def _granted(self, deadline: float, attempts: int | None = None) -> Steps[Token]:
        began_at = self._clock()
        auth = self._auth
        try:
            if is_token(auth):
                return (yield from self._looked_up(auth, began_at, deadline, attempts))
            if not is_login(auth):
                return (yield from self._by_strategy(auth, began_at, deadline, attempts))
            return (yield from self._logged_in(auth, began_at, deadline, attempts))
        except VaultConnectionError:
            self._report.authenticated(self.method, success=False)
            raise

    def _logged_in(self, auth: Any, began_at: float, deadline: float, attempts: int | None) -> Steps[Token]:
        path, credentials = (yield Ask(auth.login)) if waits(auth) else auth.login()
        if isinstance(auth, AppRoleAuth) and auth.secret_id_wrapped:
            secret_id = yield from self._unwrapped_once(credentials["secret_id"], deadline)
            credentials = {**credentials, "secret_id": secret_id}
        body = json.dumps(credentials).encode()
        call = Call("POST", api_path(path), namespace=self.namespace, body=body)
        reply = yield from self._exchange.ask(call, deadline, attempts)
        granted = (reply.body or {}).get("auth")
        value = granted.get("client_token") if isinstance(granted, dict) else None
        if reply.status != 200 or not isinstance(granted, dict) or not isinstance(value, str) or not value:
            self._turned_away(
                f"{auth.method} login at {path.rpartition('/login')[0]!r} was refused{said(reply)}", reply.status
            )
        ttl_seconds = duration_seconds(granted.get("lease_duration")) or 0.0
        self._entered(ttl_seconds)
        return Token.granted(value, ttl_seconds, granted.get("renewable") is True, began_at)

    def _entered(self, ttl_seconds: float) -> None:
        self._report.authenticated(self.method, success=True)
        lives = f"lives for {ttl_seconds:g} s" if ttl_seconds else "does not expire"
        self._report.info("logged in to %s with %s; the token %s", self._address, self.method, lives)

    def _looked_up(self, auth: TokenAuth, began_at: float, deadline: float, attempts: int | None) -> Steps[Token]:
        """A token that was given: Vault says how long it lives, unless its policy forbids the question."""
        value = cast("str", (yield Ask(lambda: current("token", auth.token))) if waits(auth) else auth.token)
        reply = yield from self._exchange.ask(self._about("lookup-self", value), deadline, attempts)
        data = (reply.body or {}).get("data")
        if reply.status != 200 or not isinstance(data, dict):
            if "invalid token" in said(reply):
                self._turned_away("the token is not accepted; a new one is needed", reply.status)
            return Token(value, verified=False)
        self._report.authenticated(self.method, success=True)
        ttl_seconds = duration_seconds(data.get("ttl")) or 0.0
        token = Token.granted(value, ttl_seconds, data.get("renewable") is True, began_at)
        # Its whole life is the measure, not what was left of it when it came to us.
        whole_seconds = duration_seconds(data.get("creation_ttl")) if ttl_seconds else None
        return replace(token, ttl_seconds=max(ttl_seconds, whole_seconds)) if whole_seconds else token

    def _by_strategy(self, auth: Any, began_at: float, deadline: float, attempts: int | None) -> Steps[Token]:
        """A token that a program gets in its own way."""
        mine = self._exchange.settings
        timeout = int(mine.timeout_seconds) if mine.timeout_seconds.is_integer() else mine.timeout_seconds

        def authenticate() -> Any:
            return auth.authenticate(
                mine.vault_addr, timeout, verify_ssl=mine.verify_ssl, ssl_cert_path=mine.ssl_cert_path
            )

        try:
            answer = yield from self._exchange.repeated(lambda: self._answered(authenticate), deadline, attempts)
        except VaultAuthError:
            self._report.authenticated(self.method, success=False)
            raise
        try:
            value, ends = answer
            value = header_text("token", value)
            ttl_seconds = float("inf") if ends is None else float(ends) - time.time()
        except (TypeError, ValueError):
            self._turned_away(f"{self.method}.authenticate: expected a token and its end in seconds since 1970", None)
        self._entered(0.0 if ttl_seconds == float("inf") else max(0.0, round(ttl_seconds, 3)))
        return Token(value, max(0.0, ttl_seconds), began_at + ttl_seconds, renewable=False)

    def _answered(self, function: Callable[[], Any]) -> Steps[Any]:
        return (yield Ask(function))

    def _turned_away(self, message: str, status: int | None) -> NoReturn:
        self._report.authenticated(self.method, success=False)
        raise VaultAuthError(message, status=status)

    # ------------------------------------------------------------------ unwrapping
    def unwrap(self, wrapping_token: str, deadline: float) -> Steps[dict[str, Any]]:
        """What a wrapping token holds. It can be asked once, so nothing is tried again that Vault may have taken."""
        call = Call("POST", "sys/wrapping/unwrap", token=wrapping_token, body=b"{}", repeatable=False)
        reply = yield from self._exchange.ask(replace(call, namespace=self.namespace), deadline)
        body = reply.body or {}
        found = body.get("auth") or body.get("data")
        if reply.status != 200 or not isinstance(found, dict):
            raise VaultAuthError(
                f"the wrapping token is not accepted{said(reply)}: it has expired or somebody else has unwrapped it, "
                "who may know the secret",
                status=reply.status,
            )
        inner = found.get("data")
        return inner if isinstance(inner, dict) and set(found) == {"data", "metadata"} else found

    def _unwrapped_once(self, wrapping_token: str, deadline: float) -> Steps[str]:
        wrapping_token = header_text("secret_id", wrapping_token)
        if self._unwrapped is None or self._unwrapped[0] != wrapping_token:
            found = yield from self.unwrap(wrapping_token, deadline)
            secret_id = found.get("secret_id")
            if not isinstance(secret_id, str):
                raise VaultAuthError("secret_id_wrapped: expected a wrapped secret id, got something else")
            self._unwrapped = (wrapping_token, secret_id)
        return self._unwrapped[1]

    # ------------------------------------------------------------------ keeping it
    def _renew(self, token: Token, deadline: float) -> Steps[None]:
        """The token with a later end, or another one. If neither can be had, it is used until its end."""
        if self.token is not token:
            return
        try:
            renewed = yield from self._renewed(token, deadline)
            if renewed is not None and not renewed.due(self._clock()):
                self.token = renewed
                return
            token = renewed or token
            # Not renewable, or at its maximum.
            if not self._is_given:
                fresh = yield from self._granted(deadline)
                if fresh.value != token.value:
                    self._gone()
                now = self._clock()
                self.token = fresh.postponed(now) if fresh.due(now) else fresh
                return
        except VaultError as error:
            self._report.warning("the token could not be renewed, %s s are left: %s", self._left(token), error)
        self.token = token.postponed(self._clock())

    def _left(self, token: Token) -> int:
        return max(0, int(token.expires_at - self._clock()))

    def _renewed(self, token: Token, deadline: float) -> Steps[Token | None]:
        if not token.renewable:
            return None
        began_at = self._clock()
        # One attempt: the token is still good, and somebody waits.
        reply = yield from self._exchange.ask(self._about("renew-self", token.value), deadline, attempts=1)
        granted = (reply.body or {}).get("auth")
        ttl_seconds = duration_seconds(granted.get("lease_duration")) if isinstance(granted, dict) else None
        if reply.status != 200 or not isinstance(granted, dict) or ttl_seconds is None:
            return replace(token, renewable=False) if reply.status == 400 else None
        self._report.renewed()
        self._report.info("the token was renewed and lives for %g s", ttl_seconds)
        return token.renewed(ttl_seconds, granted.get("renewable") is True, began_at)
