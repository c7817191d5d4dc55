"""What the tests of all collectors ask of a platform, on the server that stands for it here."""

from __future__ import annotations

import functools
import itertools
import json
import re
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote

import pymongo

from gds_monitor.collectors._packs import PackCollector
from gds_monitor.collectors.mongodb import MongoDBCollector
from gds_monitor.packs.load import parse_pack
from tests.services.process import LOOPBACK, Server

__all__ = ["MongoDBPlatform", "Platform"]

_numbers = itertools.count(1)


class Platform(ABC):
    """One server, and what differs between platforms.

    Attributes:
        pack: The collectors ``always``, which every login may run, ``each`` of each database, and ``allowed``, which
            needs a privilege; all tell a metric of their name.
    """

    name: str
    pack: str

    def __init__(self, server: Server) -> None:
        self.server: Any = server

    @abstractmethod
    def url(self, user: str | None = None, password: str | None = None, port: int | None = None) -> str:
        """The address, as whoever may do everything unless it says otherwise."""

    @abstractmethod
    def make_watcher(self, password: str) -> str:
        """A login that may do nothing but log in."""

    @abstractmethod
    def grant(self, statement: str) -> None:
        """Run what ``gds monitor check`` printed."""

    async def noticed(self, collector: Any) -> None:  # noqa: B027 - most need nothing
        """Whatever a server here needs that another one does not, to notice a grant."""

    @abstractmethod
    def knocks(self) -> int:
        """How many connections were made to it, or logins tried, so far; asking makes none."""

    @abstractmethod
    def make_things(self, database: str, count: int) -> None:
        """A database with so many of what ``each`` counts."""

    def close(self) -> None:  # noqa: B027 - not all have something
        """Let go of what was opened to do this."""

    @abstractmethod
    def collector(self, url: str | None = None, pack: str | None = None, **settings: Any) -> PackCollector:
        """One that measures ``pack``."""

    def _settings(self, pack: str | None, settings: dict[str, Any]) -> dict[str, Any]:
        return {"packs": [parse_pack(pack or self.pack, "contract.yaml")], **settings}


class MongoDBPlatform(Platform):
    name = "mongodb"
    pack = """
pack: contract
engine: mongodb
collectors:
- name: always
  queries:
  - name: always
    command: {hello: 1}
    database: admin
    metrics:
    - {name: always, value: ok}
    - {name: gone, value: notThere.ever}
- name: each
  scope: database
  queries:
  - name: each
    command: {count: things}
    metrics:
    - {name: each, value: n}
- name: allowed
  queries:
  - name: allowed
    command: {serverStatus: 1}
    privileges: [clusterMonitor]
    database: admin
    start: "@server_start"
    metrics:
    - {name: allowed, value: connections.totalCreated, type: counter}
"""

    def url(self, user: str | None = None, password: str | None = None, port: int | None = None) -> str:
        who = f"{user or self.server.user}:{quote(password or self.server.password)}"
        return f"mongodb://{who}@{LOOPBACK}:{port or self.server.port}/"

    def collector(self, url: str | None = None, pack: str | None = None, **settings: Any) -> PackCollector:
        return MongoDBCollector(url or self.url(), **self._settings(pack, settings))

    def make_watcher(self, password: str) -> str:
        name = f"watcher_{next(_numbers)}"
        self._command("createUser", name, pwd=password, roles=[])
        return name

    def grant(self, statement: str) -> None:
        found = re.fullmatch(r'db\.getSiblingDB\("admin"\)\.grantRolesToUser\(("[^"]+"), (\[.*\])\)', statement)
        assert found is not None, statement
        self._command("grantRolesToUser", json.loads(found[1]), roles=json.loads(found[2]))

    async def noticed(self, collector: Any) -> None:
        # What stands in for it keeps the roles that a connection had when it logged in.
        await collector.session.close()

    def knocks(self) -> int:
        return int(self._command("serverStatus")["connections"]["totalCreated"])

    def make_things(self, database: str, count: int) -> None:
        self._client[database]["things"].insert_many([{"n": number} for number in range(count)])

    def close(self) -> None:
        self._client.close()

    @functools.cached_property
    def _client(self) -> Any:
        return pymongo.MongoClient(self.server.url, serverMonitoringMode="poll")

    def _command(self, *command: Any, **more: Any) -> Any:
        return self._client.admin.command(*command, **more)
