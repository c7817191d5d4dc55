"""Pytest fixtures of the services; ``from tests.services.fixtures import *`` in a conftest.

On a machine that cannot have a service its tests are skipped with the reason. Where ``CI=true``
they fail instead, so that a missing server is never mistaken for a passing run.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, Protocol

import pytest

from .apicurio import Apicurio
from .ferretdb import FerretDB
from .install import ServiceUnavailable, install
from .kafka import KafkaBroker, KafkaCluster, KerberizedKafka, SecureKafka
from .kafka.secure import Certificate
from .kerberos import Kerberos
from .mongodb import MongoDB
from .mssql import SqlServer
from .pgbouncer import PgBouncer
from .postgresql import Certificate as PostgreSQLCertificate
from .postgresql import PostgreSQL
from .process import lease_port
from .run import (
    OtelCollector,
    Prometheus,
    Pushgateway,
    ServerTls,
    StatsdExporter,
    promtool_check_metrics,
)
from .snowflake import Snowflake
from .toxiproxy import Toxiproxy
from .vault import Vault

__all__ = [
    "apicurio",
    "ferretdb",
    "kafka",
    "kafka_cluster",
    "kafka_factory",
    "kerberized_kafka",
    "leased_port",
    "leased_udp_port",
    "missing",
    "mongodb",
    "otel_collector",
    "otel_collector_factory",
    "pgbouncer",
    "postgresql",
    "postgresql_factory",
    "prometheus_factory",
    "promtool",
    "pushgateway",
    "require_service",
    "secure_kafka",
    "secure_kafka_factory",
    "snowflake",
    "sql_server",
    "sql_server_factory",
    "statsd_exporter",
    "toxiproxy",
    "vault",
]


@pytest.fixture
def leased_port() -> Iterator[int]:
    """A TCP port of the loopback interface that stays the test's own while nothing listens there.

    One that the kernel gave is anybody's as soon as it is closed.
    """
    with ExitStack() as leases:
        yield lease_port(leases)


@pytest.fixture
def leased_udp_port() -> Iterator[int]:
    """The same for datagrams."""
    with ExitStack() as leases:
        yield lease_port(leases, socket.SOCK_DGRAM)


class PrometheusFactory(Protocol):
    """Starts a server that is stopped when the test ends."""

    def __call__(
        self,
        scrape_configs: Sequence[Mapping[str, object]] = (),
        extra_flags: Sequence[str] = (),
        *,
        scrape_interval_ms: int = 500,
    ) -> Prometheus: ...


class OtelCollectorFactory(Protocol):
    """Starts a collector that is stopped when the test ends."""

    def __call__(self, *, tls: ServerTls | None = None) -> OtelCollector: ...


class KafkaFactory(Protocol):
    """Starts brokers that are stopped when the test ends."""

    def __call__(
        self,
        nodes: int = 1,
        settings: Mapping[str, str | int | bool] | None = None,
        *,
        auto_create_topics: bool = True,
    ) -> KafkaCluster: ...


class PostgreSQLFactory(Protocol):
    """Starts a server that is stopped when the test ends."""

    def __call__(
        self,
        settings: Mapping[str, str | int] | None = None,
        *,
        server_certificate: PostgreSQLCertificate | None = None,
    ) -> PostgreSQL: ...


class SecureKafkaFactory(Protocol):
    """Starts brokers that are stopped when the test ends."""

    def __call__(self, *, server_certificate: Certificate = "valid") -> SecureKafka: ...


def missing(reason: str) -> NoReturn:
    """Skip the test for want of something this machine does not have; in CI, where nothing is skipped, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_service(name: str) -> None:
    """Go on when the service is there, skip the test when it cannot be, fail it in CI."""
    try:
        install(name)
    except ServiceUnavailable as refusal:
        missing(refusal.reason)


@pytest.fixture
def prometheus_factory() -> Iterator[PrometheusFactory]:
    """Make Prometheus servers, each with its own scrape jobs."""
    require_service("prometheus")
    with ExitStack() as servers:

        def start(
            scrape_configs: Sequence[Mapping[str, object]] = (),
            extra_flags: Sequence[str] = (),
            *,
            scrape_interval_ms: int = 500,
        ) -> Prometheus:
            return servers.enter_context(Prometheus(scrape_configs, extra_flags, scrape_interval_ms=scrape_interval_ms))

        yield start


@pytest.fixture
def promtool() -> Callable[[bytes], tuple[int, str]]:
    """``promtool check metrics``: page -> exit code and output."""
    require_service("prometheus")
    return promtool_check_metrics


@pytest.fixture
def pushgateway() -> Iterator[Pushgateway]:
    """An empty Pushgateway."""
    require_service("pushgateway")
    with Pushgateway() as server:
        yield server


@pytest.fixture
def otel_collector_factory() -> Iterator[OtelCollectorFactory]:
    """Make collectors, with or without TLS."""
    require_service("otelcol")
    with ExitStack() as servers:

        def start(*, tls: ServerTls | None = None) -> OtelCollector:
            return servers.enter_context(OtelCollector(tls=tls))

        yield start


@pytest.fixture
def otel_collector(otel_collector_factory: OtelCollectorFactory) -> OtelCollector:
    """A collector that has received nothing yet, without TLS."""
    return otel_collector_factory()


@pytest.fixture
def statsd_exporter() -> Iterator[StatsdExporter]:
    """A StatsD server that has received nothing yet."""
    require_service("statsd_exporter")
    with StatsdExporter() as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """One broker for the whole run, which creates topics when they are written to.

    Tests share it, so each has topics of its own, and none stops it.
    """
    require_service("kafka")
    with KafkaBroker() as broker:
        yield broker


@pytest.fixture
def kafka_factory() -> Iterator[KafkaFactory]:
    """Make brokers and clusters of one's own, to stop, kill and pause. Each takes seconds to start."""
    require_service("kafka")
    with ExitStack() as clusters:

        def start(
            nodes: int = 1,
            settings: Mapping[str, str | int | bool] | None = None,
            *,
            auto_create_topics: bool = True,
        ) -> KafkaCluster:
            return clusters.enter_context(KafkaCluster(nodes, settings, auto_create_topics=auto_create_topics))

        yield start


@pytest.fixture(scope="module")
def kafka_cluster() -> Iterator[KafkaCluster]:
    """Three nodes for the tests of a module, with three copies of each topic.

    A test that takes a node down has it back up, by ``start``, before it ends.
    """
    require_service("kafka")
    with KafkaCluster(nodes=3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[SecureKafka]:
    """One broker for the whole run that asks who is there; tests share it as they do ``kafka``."""
    require_service("kafka")
    with SecureKafka() as broker:
        yield broker


@pytest.fixture
def secure_kafka_factory() -> Iterator[SecureKafkaFactory]:
    """Make brokers with a server certificate of one's choice."""
    require_service("kafka")
    with ExitStack() as brokers:

        def start(*, server_certificate: Certificate = "valid") -> SecureKafka:
            return brokers.enter_context(SecureKafka(server_certificate=server_certificate))

        yield start


@pytest.fixture(scope="module")
def kerberized_kafka() -> Iterator[KerberizedKafka]:
    """One broker, and the realm it is in, for the tests of a module."""
    require_service("kafka")
    require_service("kerberos")
    with Kerberos() as realm, KerberizedKafka(realm) as broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One server for the whole run; tests have names of their own in it, and leave it running."""
    require_service("postgresql")
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def postgresql_factory() -> Iterator[PostgreSQLFactory]:
    """Make servers of one's own, to stop, kill and promote."""
    require_service("postgresql")
    with ExitStack() as servers:

        def start(
            settings: Mapping[str, str | int] | None = None,
            *,
            server_certificate: PostgreSQLCertificate | None = None,
        ) -> PostgreSQL:
            return servers.enter_context(PostgreSQL(settings, server_certificate=server_certificate))

        yield start


@pytest.fixture
def pgbouncer(postgresql: PostgreSQL) -> Iterator[PgBouncer]:
    """A pool of one session before ``postgresql``, which whoever has no transaction open leaves to the next one."""
    require_service("pgbouncer")
    with PgBouncer(postgresql) as pool:
        yield pool


@pytest.fixture
def toxiproxy() -> Iterator[Toxiproxy]:
    """A server without proxies yet."""
    require_service("toxiproxy")
    with Toxiproxy() as server:
        yield server


@pytest.fixture
def apicurio() -> Iterator[Apicurio]:
    """A registry of one's own, to stop and start, which knows no schema yet."""
    require_service("apicurio")
    with Apicurio() as server:
        yield server


@pytest.fixture(scope="session")
def vault() -> Iterator[Vault]:
    """One server for the whole run; tests have names of their own in it, and leave it unsealed and running."""
    require_service("vault")
    with Vault() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongoDB]:
    """One server for the whole run; tests have databases and users of their own in it, and leave it running."""
    require_service("mongodb")
    with MongoDB() as server:
        yield server


@pytest.fixture(scope="session")
def ferretdb(postgresql: PostgreSQL) -> Iterator[FerretDB]:
    """One server for the whole run, over ``postgresql``; tests have databases of their own in it."""
    require_service("ferretdb")
    with FerretDB(postgresql) as server:
        yield server


@pytest.fixture(scope="module")
def sql_server() -> Iterator[SqlServer]:
    """One that the tests of a module share: what they make in it, they name by themselves."""
    with SqlServer() as server:
        yield server


class SqlServerFactory(Protocol):
    """Starts one that is stopped when the test ends."""

    def __call__(
        self,
        *,
        version: int = 16,
        engine_edition: int = 3,
        offset_minutes: int = 0,
        instance: str = "SQL1",
        tls: bool = True,
        expired: bool = False,
    ) -> SqlServer:
        """Start it; see `SqlServer`."""
        ...


@pytest.fixture
def sql_server_factory() -> Iterator[SqlServerFactory]:
    """Starts SQL Servers of the test's own."""
    with ExitStack() as servers:

        def start(**settings: Any) -> SqlServer:
            return servers.enter_context(SqlServer(**settings))

        yield start


@pytest.fixture(scope="session")
def snowflake() -> Iterator[Snowflake]:
    """One server for the whole run; tests leave it as they found it."""
    require_service("snowflake")
    with Snowflake() as server:
        yield server
