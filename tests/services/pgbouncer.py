"""pgbouncer: a pool between programs and a PostgreSQL, in which sessions of the server are anybody's.

with PostgreSQL() as server, PgBouncer(server) as pool:
    psycopg.connect(**server.address(port=pool.port))
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .install import install
from .postgresql import PASSWORD, SUPERUSER, PostgreSQL
from .process import LOOPBACK, Identity, Server, accepts_tcp

__all__ = ["PgBouncer"]


class PgBouncer(Server):
    """A pool, by transaction unless ``settings`` say otherwise.

    Args:
        server: Whose sessions it hands out.
        sessions: How many it has there, for each user and database.
        passwords: Of the users that it lets in besides the superuser, by name.
        settings: Further lines of its configuration.
    """

    name = "pgbouncer"

    def __init__(
        self,
        server: PostgreSQL,
        *,
        sessions: int = 1,
        passwords: Mapping[str, str] = MappingProxyType({}),
        settings: Mapping[str, str | int] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self._binary = install("pgbouncer")["pgbouncer"]
        self._server = server
        self._passwords = {SUPERUSER: PASSWORD, **passwords}
        self._settings = {"pool_mode": "transaction", "default_pool_size": sessions, **settings}
        self.port = 0

    def _prepare(self) -> None:
        self.port = self._lease_port()
        lines: dict[str, str | int] = {
            "listen_addr": LOOPBACK,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(self.folder / "users"),
            **self._settings,
        }
        identity = Identity()
        if os.geteuid() == 0:  # which it refuses to stay
            nobody = pwd.getpwnam("nobody")
            lines["user"], identity = nobody.pw_name, Identity(nobody.pw_uid, nobody.pw_gid)
        users = (f'"{_quoted(name)}" "{_quoted(password)}"\n' for name, password in self._passwords.items())
        (self.folder / "users").write_text("".join(users), "utf-8")
        settings = "".join(f"{name} = {value}\n" for name, value in lines.items())
        databases = f"* = host={LOOPBACK} port={self._server.port}\n"
        (self.folder / "pgbouncer.ini").write_text(f"[databases]\n{databases}[pgbouncer]\n{settings}", "utf-8")
        identity.own(self.folder)

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, self.folder / "pgbouncer.ini"]

    def _is_ready(self) -> bool:
        return accepts_tcp(self.port)


def _quoted(text: str) -> str:
    return text.replace('"', '""')
