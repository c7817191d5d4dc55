"""A request, its repetitions, and where standby servers send it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gds_vault._wire import Pause, Reply, said
from gds_vault.exceptions import VaultConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_vault._report import Report
    from gds_vault._settings import Settings
    from gds_vault._wire import Call, Failure, Steps
    from gds_vault.retry import RetryPolicy

__all__ = ["Exchange"]

MAX_REDIRECTS = 3

# Vault 1.13 may answer 500 to a wrong secret, which will be as wrong the next time.
_WRONG_CREDENTIALS = ("invalid role", "invalid secret id", "invalid username or password")

_LATER = {412, 429}
"""Besides 5xx. 412: this server has not yet heard of what another one has written."""

_NOT_TAKEN = {412, 429, 503}  # Vault refuses these before it does anything


class Exchange:
    """Asks one Vault, again where that can help.

    Args:
        settings: Of the client; it may replace them.
        policy: What is tried again, and when.
        report: What is told of it.
    """

    def __init__(self, settings: Settings, policy: RetryPolicy, report: Report) -> None:
        self.settings = settings
        self.policy = policy
        self._report = report

    def deadline(self) -> float:
        """When a call that begins now has to be over."""
        return time.monotonic() + self.policy.max_total_seconds

    def ask(self, call: Call, deadline: float, attempts: int | None = None) -> Steps[Reply]:
        """An answer other than 412, 429 and 5xx.

        Raises:
            VaultConnectionError: There was none, in any attempt.
        """
        if call.namespace is None:
            call = replace(call, namespace=self.settings.namespace or "")
        attempts = attempts or self.policy.attempts
        address = self.settings.vault_addr
        attempt = 1
        while True:
            outcome = yield from self._followed(call, deadline)
            what, retries = _judged(outcome, call)
            if what is None:
                assert isinstance(outcome, Reply)  # noqa: S101 - a failure always has words
                return outcome
            status = outcome.status if isinstance(outcome, Reply) else None
            asked = outcome.retry_after_seconds if isinstance(outcome, Reply) else None
            delay = self.policy.delay_seconds(attempt, asked)
            if not retries or attempt >= attempts or time.monotonic() + delay >= deadline:
                tried = f" in {attempt} attempts" if attempt > 1 else ""
                raise VaultConnectionError(f"no good answer from {address}{tried}: {what}", status=status)
            self._report.warning("attempt %d of %d at %s: %s; again in %.2f s", attempt, attempts, address, what, delay)
            yield Pause(delay)
            attempt += 1

    def repeated(self, start: Callable[[], Steps[Any]], deadline: float, attempts: int | None = None) -> Steps[Any]:
        """What these steps give, begun again after each failure to connect.

        Raises:
            VaultConnectionError: That of the last attempt.
        """
        attempts = attempts or self.policy.attempts
        attempt = 1
        while True:
            try:
                return (yield from start())
            except VaultConnectionError as error:
                delay = self.policy.delay_seconds(attempt)
                if attempt >= attempts or time.monotonic() + delay >= deadline:
                    raise
                self._report.warning("attempt %d of %d: %s; again in %.2f s", attempt, attempts, error, delay)
            yield Pause(delay)
            attempt += 1

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
            port = parts.port
        except ValueError:
            return None
        # Servers differ in what of a path they quote, so it is compared without.
        path, wanted = unquote(parts.path), "/v1/" + unquote(call.target.partition("?")[0])
        if not path.endswith(wanted) or not parts.hostname or parts.username or parts.scheme not in {"http", "https"}:
            return None
        if port == 0 or self.settings.socket_path is not None:
            return None  # who was told of a socket may not reach what is behind it
        if parts.scheme == "http" and self.settings.is_secure:
            return None
        return f"{parts.scheme}://{parts.netloc}{path[: -len(wanted)]}"


def _judged(outcome: Reply | Failure, call: Call) -> tuple[str | None, bool]:
    """What is wrong with it, in words, and whether to try again."""
    if not isinstance(outcome, Reply):
        return outcome.text, outcome.transient and (call.repeatable or not outcome.sent)
    if outcome.status >= 500 and any(words in said(outcome) for words in _WRONG_CREDENTIALS):
        return None, False
    if outcome.status in _LATER or outcome.status >= 500:
        return f"{outcome.status}{said(outcome)}", call.repeatable or outcome.status in _NOT_TAKEN
    if outcome.status in {301, 302, 303, 307, 308}:
        return f"{outcome.status}, a redirect that is not followed; see vault_addr", False
    return None, False
