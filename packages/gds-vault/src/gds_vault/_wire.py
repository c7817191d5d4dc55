"""What passes between the core, which decides, and a client, which waits.

The core is made of generators. Each asks its client for one of three things: a request, a pause, or that several who
want the same wait for one of them. That is all in which `VaultClient` and `AsyncVaultClient` differ.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

from gds_vault._lifetime import server_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from gds_vault.cache import Ticket

__all__ = ["Call", "Effect", "Failure", "Once", "Pause", "Reply", "Steps", "api_path", "kind_of", "reply", "said"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        method: GET, POST or DELETE.
        target: What follows ``/v1/``, quoted.
        timeout_seconds: How long it may take.
        token: Goes with it.
        body: JSON.
        origin: Where to, if not to the address of the client.
        repeatable: Whether it may be sent again when nobody knows whether Vault has taken it.
    """

    method: str
    target: str
    timeout_seconds: float = 0.0
    token: str | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    origin: str | None = None
    repeatable: bool = True

    def headers(self) -> dict[str, str]:
        """The headers that belong to this request; a new dict each time."""
        headers = {}
        if self.token is not None:
            headers["X-Vault-Token"] = self.token
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        return headers


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``body`` is {} where there was none, None where it was no JSON object."""

    status: int
    body: dict[str, Any] | None = field(repr=False)
    retry_after_seconds: float | None = None
    location: str | None = field(default=None, repr=False)
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer.

    Attributes:
        text: What happened, in words that hold no secret.
        sent: Vault may have taken the request.
        transient: Trying again may help.
    """

    text: str
    sent: bool = True
    transient: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Once:
    """Run the steps, or wait for who runs those of the same key; all get the same result.

    Attributes:
        key: What is wanted.
        start: The steps; called only if nobody runs them.
        ticket: What tells when those under way are too old to be joined.
        join: Whether to wait for another one's; else the result is None then.
    """

    key: Hashable
    start: Callable[[Ticket | None], Steps[Any]]
    ticket: Callable[[], Ticket] | None = None
    join: bool = True


Effect: TypeAlias = Call | Pause | Once
Steps: TypeAlias = Generator[Effect, Any, T]


def api_path(*parts: str) -> str:
    """Path parts as they stand in a URL."""
    return "/".join(quote(part.strip("/"), safe="/") for part in parts if part)


def reply(status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    """An answer from what HTTP gave; ``headers`` does not mind the case of names."""
    body: dict[str, Any] | None = {}
    if content:
        try:
            parsed = json.loads(content)
        except ValueError:
            parsed = None
        body = parsed if isinstance(parsed, dict) else None
    date = headers.get("Date")
    return Reply(status, body, _retry_after(headers.get("Retry-After"), date), headers.get("Location"), date)


def _retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds of a header that has a number, or a time."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - server_time(date)).total_seconds())
    except (ValueError, TypeError):
        return None


# Words of Vault's that are shown to people. All else it may write stays where it is: it might repeat what we sent.
_KNOWN_WORDS = (
    "check-and-set parameter did not match",
    "check-and-set parameter required",
    "invalid role or secret id",
    "invalid role id",
    "invalid secret id",
    "invalid token",
    "invalid username or password",
    "invalid path for a versioned k/v secrets engine",
    "lease is not renewable",
    "missing client token",
    "namespace not found",
    "no data provided",
    "no handler for route",
    "no namespace",
    "permission denied",
    "rate limit quota exceeded",
    "lease count quota exceeded",
    "request path is not supported",
    "token is expired",
    "unsupported operation",
    "unsupported path",
    "vault is sealed",
    "vault is not initialized",
    "wrapping token",
)


def said(answer: Reply) -> str:
    """What Vault said, as far as its words are known: ``" (vault is sealed)"``, or nothing."""
    errors = (answer.body or {}).get("errors")
    if not isinstance(errors, list):
        return ""
    text = " ".join(error for error in errors if isinstance(error, str)).lower()
    known = [words for words in _KNOWN_WORDS if words in text]
    return f" ({', '.join(known)})" if known else ""


def _words(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", None) or getattr(error, "reason", None)  # aiohttp's have neither
    if isinstance(error, OSError) and error.errno is not None:
        # asyncio writes texts of its own there; the numbers of name resolution are below zero and have only the text.
        return os.strerror(error.errno) if error.errno > 0 else error.strerror
    return None


def kind_of(error: BaseException) -> str:
    """What went wrong, as the operating system or its TLS library words it, else the name of the class.

    The text of the exceptions themselves is not used: they hold addresses, headers and parts of answers.
    """
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        words = _words(seen)
        if words:
            return words.lower()
        inner = getattr(seen, "reason", None) or next((each for each in seen.args if isinstance(each, Exception)), None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return type(error).__name__
