"""FerretDB: MongoDB's protocol by other people than SecantusDB's, a second opinion on what is asked of MongoDB.

    with PostgreSQL() as server, FerretDB(server) as ferretdb:
        pymongo.MongoClient(ferretdb.url)     # as the superuser of that PostgreSQL

It is one node without a replica set, says that it is 7.0, and has the data and the users of a PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.services.install import install
from tests.services.postgresql import PASSWORD, SUPERUSER, PostgreSQL
from tests.services.process import LOOPBACK, Server, accepts_tcp

__all__ = ["FerretDB"]


class FerretDB(Server):
    """One server, with a new database in a PostgreSQL that stays there.

    Args:
        server: That PostgreSQL.
    """

    name = "ferretdb"

    def __init__(self, server: PostgreSQL) -> None:
        super().__init__()
        self._binary = install("ferretdb")["ferretdb"]
        self._server = server
        self._port = 0

    @property
    def port(self) -> int:
        """The loopback port."""
        return self._port

    @property
    def url(self) -> str:
        """An address with the user who may do everything."""
        return f"mongodb://{SUPERUSER}:{PASSWORD}@{LOOPBACK}:{self._port}/?authMechanism=PLAIN&directConnection=true"

    @property
    def _database(self) -> str:
        return f"ferretdb_{self._port}"

    def _prepare(self) -> None:
        self._port = self._lease_port()
        self._server.ask(f"DROP DATABASE IF EXISTS {self._database}")
        self._server.ask(f"CREATE DATABASE {self._database} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")

    def _command(self) -> Sequence[str | Path]:
        kept = f"postgres://{LOOPBACK}:{self._server.port}/{self._database}"
        return [self._binary, "-listen", f"{LOOPBACK}:{self._port}", "-postgresql", kept]

    def _is_ready(self) -> bool:
        return accepts_tcp(self._port)
