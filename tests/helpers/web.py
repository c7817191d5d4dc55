"""A plain HTTP client for loopback servers, on the standard library alone."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection

__all__ = ["TIMEOUT_SECONDS", "Answer", "fetch"]

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What a server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body, unzipped where it came zipped."""
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return body.decode()


def fetch(
    port: int,
    path: str = "/metrics",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own; never through a proxy of the environment."""
    if tls is None:
        connection = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    else:
        connection = HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=tls)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        with connection.getresponse() as response:
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())
    finally:
        connection.close()
