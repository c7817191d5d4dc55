"""Asking servers whose address somebody typed."""

from __future__ import annotations

import base64
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ask", "without_password"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        return "it"


def ask(
    url: str, headers: Mapping[str, str], timeout_seconds: float, most_bytes: int, form: bytes | None = None
) -> bytes:
    """What a server answers; its credentials are those of the URL, whose scheme was checked.

    Raises:
        OSError: It was not reached, or refused.
    """
    parts: SplitResult = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), form, dict(headers))  # noqa: S310 - checked
    if credentials:
        encoded = base64.b64encode(unquote(credentials).encode()).decode()
        request.add_unredirected_header("authorization", f"Basic {encoded}")
    # The environment's proxies are for other machines.
    handlers = [urllib.request.ProxyHandler({})] if parts.hostname in LOOPBACK else []
    with urllib.request.build_opener(*handlers).open(request, timeout=timeout_seconds) as answer:
        body: bytes = answer.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise OSError(f"the answer has more than {most_bytes >> 20} MiB")
    return body
