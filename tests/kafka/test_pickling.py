"""What belongs to its process is not sent to another, and says so; what has nothing of its process is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from gds_kafka import (
    AsyncKafkaConsumerClient,
    AsyncKafkaProducerClient,
    KafkaConsumerClient,
    KafkaLoggingHandler,
    KafkaMetrics,
    KafkaProducerClient,
)
from gds_metrics import (
    CompositeMetrics,
    ConsoleMetrics,
    NoOpMetrics,
    OpenTelemetryMetrics,
    PrometheusMetrics,
    StatsdMetrics,
)

Make = Callable[[str], Any]


class OwnConsumer(AsyncKafkaConsumerClient):
    """Of a program."""


class OwnHandler(KafkaLoggingHandler):
    """Of a program."""


class OwnMetrics(OpenTelemetryMetrics):
    """Of a program."""


def provider() -> MeterProvider:
    return MeterProvider(shutdown_on_exit=False)


PINNED: dict[str, tuple[Make, str]] = {
    "producer": (KafkaProducerClient, "KafkaProducerClient"),
    "consumer": (lambda hub: KafkaConsumerClient("orders", hub), "KafkaConsumerClient"),
    "asynchronous producer": (AsyncKafkaProducerClient, "AsyncKafkaProducerClient"),
    "asynchronous consumer": (lambda hub: AsyncKafkaConsumerClient("orders", hub), "AsyncKafkaConsumerClient"),
    "consumer of a program": (lambda hub: OwnConsumer("orders", hub), "OwnConsumer"),
    "handler": (lambda hub: KafkaLoggingHandler(bootstrap_servers=hub), "KafkaLoggingHandler"),
    "handler of a program": (lambda hub: OwnHandler(KafkaProducerClient(hub)), "OwnHandler"),
    "metrics by Kafka": (lambda hub: KafkaMetrics(KafkaProducerClient(hub)), "KafkaProducerClient"),
    "Prometheus": (lambda _: PrometheusMetrics(start_server=False), "PrometheusMetrics"),
    "OTLP": (lambda _: OpenTelemetryMetrics(endpoint="http://127.0.0.1:9"), "OpenTelemetryMetrics"),
    "meter provider": (lambda _: OpenTelemetryMetrics(meter_provider=provider()), "OpenTelemetryMetrics"),
    "meter provider of a program": (lambda _: OwnMetrics(meter_provider=provider()), "OwnMetrics"),
    "StatsD": (lambda _: StatsdMetrics("127.0.0.1", 9), "StatsdMetrics"),
    "composite": (lambda _: CompositeMetrics([PrometheusMetrics(start_server=False)]), "PrometheusMetrics"),
}


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as closing:
        one = request.param(f"embedded:{tmp_path / 'hub'}")
        if not isinstance(one, (AsyncKafkaConsumerClient, AsyncKafkaProducerClient)):
            closing.callback(one.close)
        yield one


@pytest.mark.parametrize(("made", "name"), PINNED.values(), ids=PINNED, indirect=["made"])
@pytest.mark.parametrize("send", [pickle.dumps, copy.deepcopy])
def test_what_belongs_to_its_process_says_so(made: Any, name: str, send: Callable[[Any], Any]) -> None:
    with pytest.raises(
        TypeError, match=f"^cannot pickle {name}: it belongs to the process that made it; make one in each"
    ):
        send(made)


@pytest.mark.parametrize(
    "collector", [NoOpMetrics(), ConsoleMetrics(), CompositeMetrics([]), CompositeMetrics([ConsoleMetrics()])], ids=str
)
def test_what_has_nothing_of_its_process_is_sent(collector: Any) -> None:
    there = pickle.loads(pickle.dumps(collector))
    assert repr(there) == repr(collector)
    there.increment("jobs")
