"""What passes between the core, which decides, and a client, which waits.

The core is made of generators. Each asks its client for one of four things: a request, a pause, a call of something of
the program's, or that several who want the same wait for one of them. That is all in which `VaultClient` and
`AsyncVaultClient` differ.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

from gds_vault._lifetime import server_time
from gds_vault.exceptions import VaultAuthError, VaultConnectionError, VaultError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from gds_vault.cache import Ticket

__all__ = ["Ask", "Call", "Effect", "Failure", "Once", "Pause", "Reply", "Steps", "api_path", "kind_of", "own_failure"]
__all__ += ["reply", "said"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        method: GET, POST, PATCH or DELETE.
        target: What follows ``/v1/``, quoted.
        timeout_seconds: How long it may take.
        token: Goes with it.
        namespace: Goes with it; an empty one is the root.
        body: JSON.
        origin: Where to, if not to the address of the client.
        repeatable: Whether it may be sent again when nobody knows whether Vault has taken it.
    """

    method: str
    target: str
    timeout_seconds: float = 0.0
    token: str | None = field(default=None, repr=False)
    namespace: str | None = None
    body: bytes | None = field(default=None, repr=False)
    origin: str | None = None
    repeatable: bool = True

    def headers(self) -> dict[str, str]:
        """The headers that belong to this request; a new dict each time."""
        headers = {"X-Vault-Request": "true"}  # an agent may insist on it
        if self.token is not None:
            headers["X-Vault-Token"] = self.token
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        if self.body is not None:
            merge = "merge-patch+" if self.method == "PATCH" else ""
            headers["Content-Type"] = f"application/{merge}json"
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
class Ask:
    """Call something of the program's, which may wait: a way to log in, a file, a function. May be a coroutine's."""

    function: Callable[[], Any] = field(repr=False)


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


Effect: TypeAlias = Call | Pause | Ask | Once
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
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        asked = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None  # neither: as if it were not there
    asked = asked if asked.tzinfo else asked.replace(tzinfo=timezone.utc)
    return max(0.0, (asked - server_time(date)).total_seconds())


def own_failure(error: Exception) -> VaultError:
    """What to raise where something of the program's raised, which an `Ask` has called."""
    if isinstance(error, VaultError):
        return error
    # Without its text: it may hold what it was about.
    if isinstance(error, OSError):
        return VaultConnectionError(f"the program's own way to log in has failed: {kind_of(error)}")
    return VaultAuthError(f"the program's own way to log in raised {type(error).__name__}")


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
