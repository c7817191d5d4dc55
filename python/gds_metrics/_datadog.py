"""Where the agent is, as Datadog's variables say it for every client of a machine or a pod.

What is given to the constructor wins. What a variable holds and cannot be used is mentioned in the log and left out: it
may be meant for another client.
"""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from gds_metrics._settings import log_failure

__all__ = ["address"]

URL = "DD_DOGSTATSD_URL"
HOST = "DD_AGENT_HOST"
PORT = "DD_DOGSTATSD_PORT"


def address(host: str | None, port: int | None) -> tuple[str | None, int | None, str | None]:
    """Host, port and path of a socket; None where neither the caller nor a variable says it."""
    if host is None and port is None:
        url = _variable(URL)
        found = None if url is None else _of_url(url)
        if found is not None:
            return found
    if host is None:
        host = _variable(HOST)
        if host is not None and not _is_host(host):
            _ignored(HOST, "a host name or address")
            host = None
    if port is None:
        number = _variable(PORT)
        port = None if number is None else _port(number)
        if number is not None and port is None:
            _ignored(PORT, "a port from 1 to 65535")
    return host, port, None


def _of_url(url: str) -> tuple[str | None, int | None, str | None] | None:
    scheme, _, rest = url.partition("://")
    if scheme in {"unix", "unixgram"} and rest.startswith("/"):
        return None, None, unquote(rest)
    if scheme == "udp" and "@" not in rest:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number, or brackets that do not close
            host, port = None, None
        if host and port != 0:
            return host, port, None
    # Without its value, which may hold a password.
    _ignored(URL, "udp://host:port or unix:///path of a datagram socket")
    return None


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _is_host(host: str) -> bool:
    bare = host.strip("[]")
    is_v6 = bare.count(":") > 1 and not set(bare) - set("0123456789abcdefABCDEF:.%")
    return is_v6 or not any(character in ":/@" or character.isspace() for character in host)


def _port(number: str) -> int | None:
    port = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
    return port if 1 <= port <= 65_535 else None


def _ignored(name: str, expected: str) -> None:
    log_failure("the variable %s is ignored: expected %s", name, expected)
