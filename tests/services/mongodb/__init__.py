"""A server that speaks MongoDB's protocol, of its own for each who enters it: a replica set of one node, with users.

    with MongoDB() as mongodb:
        pymongo.MongoClient(mongodb.url)     # as root

It is SecantusDB, run as a separate process with packages of its own; it says that it is 8.2. It has no second node, no
locks and no figures of the cache.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from tests.services.install import install
from tests.services.process import LOOPBACK, Server, accepts_tcp

__all__ = ["MongoDB"]


class MongoDB(Server):
    """One server. What it keeps survives ``restart`` and ``kill``."""

    name = "mongodb"
    # It is written in Python, and makes its first user before it is ready.
    ready_timeout_seconds = 120.0
    replica_set = "rs0"
    user = "root"

    def __init__(self, certificate: bytes | None = None) -> None:
        """``certificate`` is a private key and a chain, in PEM; with one it takes TLS alone."""
        super().__init__()
        self._certificate = certificate
        self._binary = install("mongodb")["mongodb-emulator"]
        self._port = 0
        self.password = f"root-{secrets.token_hex(8)}"

    @property
    def port(self) -> int:
        """The loopback port."""
        return self._port

    @property
    def url(self) -> str:
        """An address with the user who may do everything."""
        return f"mongodb://{self.user}:{self.password}@{LOOPBACK}:{self._port}/?directConnection=true"

    def _prepare(self) -> None:
        self._port = self._lease_port()
        (self.folder / "root-password").write_text(self.password, "utf-8")
        if self._certificate is not None:
            (self.folder / "certificate.pem").write_bytes(self._certificate)

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, str(self._port), self.folder, self.replica_set]

    def _is_ready(self) -> bool:
        return accepts_tcp(self._port)
