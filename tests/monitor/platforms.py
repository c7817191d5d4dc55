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
import pymssql
import snowflake.connector

from gds_monitor.collectors._packs import PackCollector
from gds_monitor.collectors.mongodb import MongoDBCollector
from gds_monitor.collectors.snowflake import SnowflakeCollector
from gds_monitor.collectors.sqlserver import SQLServerCollector
from gds_monitor.packs.load import parse_pack
from tests.services.process import LOOPBACK, Server

__all__ = ["MongoDBPlatform", "Platform", "SQLServerPlatform", "SnowflakePlatform"]

_numbers = itertools.count(1)


class Platform(ABC):
    """One server, and what differs between platforms.

    Attributes:
        pack: The collectors ``always``, which every login may run, ``each`` of each database, and ``allowed``, which
            needs a privilege; all tell a metric of their name.
    """

    name: str
    pack: str
    counts = True
    """Whether ``allowed`` is a counter, since the server was started."""

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


class SQLServerPlatform(Platform):
    name = "mssql"
    pack = """
pack: contract
engine: mssql
collectors:
- name: always
  queries:
  - name: always
    view: sys.databases d
    sql: SELECT {columns} FROM sys.databases d WHERE d.name = 'master'
    metrics:
    - {name: always, value: always, expression: "1", needs: [sys.databases.name]}
    - {name: gone, value: not_there_ever}
- name: each
  scope: database
  queries:
  - name: each
    sql: SELECT COUNT(*) AS n FROM things
    metrics:
    - {name: each, value: n}
- name: allowed
  queries:
  - name: allowed
    sql: SELECT cpu_count FROM sys.dm_os_sys_info
    privileges: ["VIEW SERVER STATE|VIEW SERVER PERFORMANCE STATE"]
    start: "@server_start"
    metrics:
    - {name: allowed, value: cpu_count, type: counter}
"""

    def url(self, user: str | None = None, password: str | None = None, port: int | None = None) -> str:
        who = f"{user or 'sa'}:{quote(password or self.server.password, safe='')}"
        return f"mssql://{who}@{LOOPBACK}:{port or self.server.port}/"

    def collector(self, url: str | None = None, pack: str | None = None, **settings: Any) -> PackCollector:
        return SQLServerCollector(url or self.url(), **self._settings(pack, settings))

    def make_watcher(self, password: str) -> str:
        name = f"watcher {next(_numbers)}]"
        self._run(f"CREATE LOGIN [{name.replace(']', ']]')}] WITH PASSWORD = '{password}'")
        return name

    def grant(self, statement: str) -> None:
        self._run(statement)

    def knocks(self) -> int:
        found: int = self.server.knocks()
        return found

    def make_things(self, database: str, count: int) -> None:
        self._run(f"IF DB_ID('{database}') IS NULL CREATE DATABASE [{database}]")
        self._run(f"USE [{database}]")
        there = "SELECT 1 FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = 'things'"
        self._run(f"IF NOT EXISTS ({there}) CREATE TABLE things (n int)")
        self._run("".join(f"INSERT INTO things (n) VALUES ({number});" for number in range(count)))
        self._run("USE master")

    def close(self) -> None:
        self._connection.close()

    @functools.cached_property
    def _connection(self) -> Any:
        return pymssql.connect(LOOPBACK, "sa", self.server.password, port=str(self.server.port), autocommit=True)

    def _run(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


class SnowflakePlatform(Platform):
    name = "snowflake"
    counts = False
    pack = """
pack: contract
engine: snowflake
collectors:
- name: always
  queries:
  - name: always
    sql: SELECT 1 AS ONE, 2 AS OTHER
    metrics:
    - {name: always, value: ONE}
    - {name: gone, value: NOT_THERE_EVER, needs: [SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY.NOT_THERE_EVER]}
- name: each
  scope: database
  queries:
  - name: each
    sql: SELECT COUNT(*) AS N FROM PUBLIC.THINGS
    metrics:
    - {name: each, value: N}
- name: allowed
  queries:
  - name: allowed
    sql: SELECT COUNT(*) AS N FROM SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY
    privileges: ["GOVERNANCE_VIEWER|IMPORTED PRIVILEGES"]
    metrics:
    - {name: allowed, value: N}
"""

    def url(self, user: str | None = None, password: str | None = None, port: int | None = None) -> str:
        who = f"{user or 'dba'}:{quote(password or 'any', safe='')}"
        return f"snowflake://{who}@{LOOPBACK}:{port or self.server.port}/?account=testaccount&protocol=http"

    def collector(self, url: str | None = None, pack: str | None = None, **settings: Any) -> PackCollector:
        return SnowflakeCollector(url or self.url(), **self._settings(pack, settings))

    def make_watcher(self, password: str) -> str:
        name = f"WATCHER_{next(_numbers)}"
        self._run(f"CREATE ROLE {name}_ROLE")
        self._run(f"CREATE USER {name} PASSWORD = '{password}' DEFAULT_ROLE = {name}_ROLE")
        return name

    def grant(self, statement: str) -> None:
        self._run(statement.rstrip(";"))

    def knocks(self) -> int:
        return str(self.server.log()).count("/session/v1/login-request")

    def make_things(self, database: str, count: int) -> None:
        with self._connection.cursor() as cursor:
            known = {str(row[1]) for row in cursor.execute("SHOW DATABASES").fetchall()}
        if database not in known:
            self._run(f'CREATE DATABASE "{database}"')
        self._run(f'CREATE TABLE IF NOT EXISTS "{database}".PUBLIC.THINGS (N INT)')
        values = ", ".join(f"({number})" for number in range(count))
        self._run(f'INSERT INTO "{database}".PUBLIC.THINGS VALUES {values}')

    def close(self) -> None:
        self._connection.close()

    @functools.cached_property
    def _connection(self) -> Any:
        return snowflake.connector.connect(**self.server.arguments, password="any")

    def _run(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
