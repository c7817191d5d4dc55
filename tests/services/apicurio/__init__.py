"""A registry of schemas of its own for each who enters it: Apicurio, which keeps them in memory.

    with Apicurio() as registry:
        registry.subjects()

``url`` is where it speaks as Confluent's registry does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.services.install import install
from tests.services.process import LOOPBACK, Server, http_json, http_ready

__all__ = ["Apicurio"]

_API = "/apis/ccompat/v7"


class Apicurio(Server):
    """One server. It forgets all when it ends."""

    name = "apicurio"
    # Four seconds on two idle cores.
    ready_timeout_seconds = 180.0

    def __init__(self) -> None:
        super().__init__()
        self._binary = install("apicurio")["apicurio"]
        self._port = 0

    @property
    def port(self) -> int:
        """The loopback port of its HTTP API."""
        return self._port

    @property
    def url(self) -> str:
        """Where it answers as Confluent's registry, without a final slash."""
        return f"http://{LOOPBACK}:{self._port}{_API}"

    def subjects(self) -> list[str]:
        """All that schemas are registered under."""
        found: list[str] = http_json(self._port, "GET", f"{_API}/subjects")
        return found

    def register(self, subject: str, schema: str) -> int:
        """Register a schema of Avro; returns its id."""
        number: int = http_json(self._port, "POST", f"{_API}/subjects/{subject}/versions", {"schema": schema})["id"]
        return number

    def _prepare(self) -> None:
        self._port = self._port or self._lease_port()

    def _command(self) -> Sequence[str | Path]:
        options = [
            *("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            f"-Dquarkus.http.host={LOOPBACK}",
            f"-Dquarkus.http.port={self._port}",
        ]
        return [self._binary, *options]

    def _is_ready(self) -> bool:
        return http_ready(self._port, f"{_API}/subjects")
