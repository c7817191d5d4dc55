"""Takes secrets out of text that leaves an engine: errors, results, statements that are shown."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MASK", "Secrets"]

MASK = "********"
_SHORT = 4

# What looks like a secret although nobody told: user:password@ in addresses, PASSWORD '...', pwd=...
_URL = re.compile(r"(?P<head>\b[\w.+-]+://[^\s/:@]*:)[^\s@]+(?=@)")
_WORD = r"(?:\w*(?:password|passwd|passphrase|pwd|secret|token)|identified\s+by)"
_NAMED = re.compile(
    rf"(?P<head>\b{_WORD}\b['\"]?\s*(?:[:=]\s*|\s)N?)(?P<value>'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"|(?<=[:=])[^\s,;)\"']+)",
    re.IGNORECASE,
)


def _spellings(secret: str) -> set[str]:
    """As it stands in SQL, in JSON, in an address and in a connection string."""
    return {
        secret,
        secret.replace("'", "''"),
        secret.replace("\\", "\\\\").replace("'", "\\'"),
        secret.replace("}", "}}"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
    }


class Secrets:
    """The secrets that one engine knows.

    ``hide`` leaves none of them in a text that is ours, such as a statement; ``redact`` also takes out what is written
    like a secret in a text that somebody else wrote, such as an error of a driver.
    """

    def __init__(self) -> None:
        self._known: list[str] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._known)} known)"

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")

    def add(self, *secrets: str | None) -> None:
        """Know secrets from now on."""
        self._known.extend(secret for secret in secrets if secret)

    @contextmanager
    def during(self, *secrets: str | None) -> Iterator[None]:
        """Know secrets for as long as the block lasts."""
        given = [secret for secret in secrets if secret]
        self._known.extend(given)
        try:
            yield
        finally:
            for secret in given:
                self._known.remove(secret)

    def hide(self, text: str) -> str:
        """The text without them, and otherwise exactly as it was."""
        for secret in sorted(set(self._known), key=len, reverse=True):
            spellings = sorted(_spellings(secret), key=len, reverse=True)
            if len(secret) < _SHORT:
                # Its places alone would give it away in an ordinary sentence.
                if any(spelling in text for spelling in spellings):
                    return "the message is withheld: it may hold a password"
                continue
            for spelling in spellings:
                text = text.replace(spelling, MASK)
        return text

    def redact(self, text: str) -> str:
        """The text without them, and without what is written like one."""
        text = self.hide(text)
        text = _URL.sub(rf"\g<head>{MASK}", text)
        return _NAMED.sub(rf"\g<head>{MASK}", text)
