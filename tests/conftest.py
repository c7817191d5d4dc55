"""What every test can ask for."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

from tests.services.fixtures import (
    apicurio,
    ferretdb,
    kafka,
    kafka_cluster,
    kafka_factory,
    kerberized_kafka,
    leased_port,
    leased_udp_port,
    mongodb,
    otel_collector,
    otel_collector_factory,
    pgbouncer,
    postgresql,
    postgresql_factory,
    prometheus_factory,
    promtool,
    pushgateway,
    secure_kafka,
    secure_kafka_factory,
    snowflake,
    sql_server,
    sql_server_factory,
    statsd_exporter,
    toxiproxy,
    vault,
)

__all__ = [
    "apicurio",
    "ferretdb",
    "kafka",
    "kafka_cluster",
    "kafka_factory",
    "kerberized_kafka",
    "leased_port",
    "leased_udp_port",
    "mongodb",
    "otel_collector",
    "otel_collector_factory",
    "pgbouncer",
    "postgresql",
    "postgresql_factory",
    "prometheus_factory",
    "promtool",
    "pushgateway",
    "secure_kafka",
    "secure_kafka_factory",
    "snowflake",
    "sql_server",
    "sql_server_factory",
    "statsd_exporter",
    "toxiproxy",
    "vault",
]


def pytest_configure(config: pytest.Config) -> None:
    """Take back what the standard library says of itself."""
    if sys.version_info < (3, 11):
        # Its asyncio takes a TLS connection that the other side ended for one that was left open.
        config.addinivalue_line("filterwarnings", "ignore:unclosed transport <asyncio.sslproto:ResourceWarning")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what talks to a real server, by the fixtures it asks for."""
    if not set(__all__).isdisjoint(getattr(item, "fixturenames", ())):
        item.add_marker("server")


# A shell starts what it puts into the background with Ctrl-C ignored, and programs inherit that: those that the tests
# start to press Ctrl-C in would never end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Time limits for each example would fail on a busy machine and say nothing about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# The same examples in each run, so that a failure belongs to the change that is tested.
settings.register_profile("ci", settings.get_profile("project"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "project")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests."""
    return "asyncio"
