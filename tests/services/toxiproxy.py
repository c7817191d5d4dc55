"""Toxiproxy: proxies between a client and a server that delay, starve, lose or cut what they carry.

with Toxiproxy() as toxiproxy:
    proxy = toxiproxy.proxy(broker.port)
    proxy.cut()                          # a client of proxy.port is refused
    proxy.restore()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .install import install
from .process import LOOPBACK, Server, http_json, http_ready

__all__ = ["Proxy", "Toxiproxy"]

_BOTH_WAYS = ("upstream", "downstream")


class Toxiproxy(Server):
    """A server of proxies, each made by ``proxy``; they end with it."""

    name = "toxiproxy"

    def __init__(self) -> None:
        super().__init__()
        self._binary = install("toxiproxy")["toxiproxy-server"]
        self._port = 0

    @property
    def port(self) -> int:
        """The loopback port of its HTTP API."""
        return self._port

    def proxy(self, upstream: int, *, listen: int | None = None) -> Proxy:
        """A proxy to a loopback port, which listens on a free port, or on one the caller has leased."""
        port = self._lease_port() if listen is None else listen
        proxy = Proxy(self, port)
        self.call(
            "POST",
            "/proxies",
            {"name": proxy.name, "listen": f"{LOOPBACK}:{port}", "upstream": f"{LOOPBACK}:{upstream}"},
        )
        return proxy

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """One request to its HTTP API; returns the parsed answer, raises ``ServerFailed`` for a refusal."""
        return http_json(self._port, method, path, body)

    def _prepare(self) -> None:
        self._port = self._lease_port()

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, "-host", LOOPBACK, "-port", str(self._port)]

    def _is_ready(self) -> bool:
        return http_ready(self._port, "/version")


class Proxy:
    """One proxy. What is done to it adds up, until ``reset``."""

    def __init__(self, toxiproxy: Toxiproxy, port: int) -> None:
        self._toxiproxy = toxiproxy
        self.port = port
        self.name = f"to-{port}"

    @property
    def address(self) -> str:
        """``host:port`` where it listens."""
        return f"{LOOPBACK}:{self.port}"

    def cut(self) -> None:
        """Close every connection and refuse new ones, as a server that is down."""
        self._enable(False)

    def restore(self) -> None:
        """Accept connections again."""
        self._enable(True)

    def latency(self, latency_ms: int, jitter_ms: int = 0) -> None:
        """Delay what the server answers."""
        self._add("latency", ["downstream"], latency=latency_ms, jitter=jitter_ms)

    def bandwidth(self, kilobytes_per_second: int) -> None:
        """Carry no more than this, each way."""
        self._add("bandwidth", _BOTH_WAYS, rate=kilobytes_per_second)

    def half_open(self) -> None:
        """Keep connections open, and lose all that is sent either way."""
        self._add("timeout", _BOTH_WAYS, timeout=0)

    def reset_connections(self) -> None:
        """End every connection, and each new one, with a TCP reset."""
        self._add("reset_peer", ["downstream"], timeout=0)

    def reset(self) -> None:
        """Undo all of the above. Connections that were half open are closed."""
        path = f"/proxies/{self.name}"
        for toxic in self._toxiproxy.call("GET", path)["toxics"]:
            self._toxiproxy.call("DELETE", f"{path}/toxics/{toxic['name']}")
        self.restore()

    def _enable(self, enabled: bool) -> None:
        self._toxiproxy.call("POST", f"/proxies/{self.name}", {"enabled": enabled})

    def _add(self, kind: str, streams: Sequence[str], **attributes: int) -> None:
        for stream in streams:
            toxic = {"name": f"{kind}_{stream}", "type": kind, "stream": stream, "attributes": attributes}
            self._toxiproxy.call("POST", f"/proxies/{self.name}/toxics", toxic)
