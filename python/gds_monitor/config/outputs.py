"""Outputs as ``monitor.yaml`` names them."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from gds_monitor.errors import MonitorConfigError
from gds_monitor.output import WriteResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_monitor.metric import Metric
    from gds_monitor.output import OutputHandler

__all__ = ["Hub", "Lines", "fields_of", "make_output", "topic_of"]


def make_output(kind: str, given: Any, environment: str = "") -> OutputHandler:
    """The output.

    Args:
        kind: ``kafka`` or ``stdout``.
        given: Of ``kafka``: the servers as text, or a mapping of the settings of its producer.
        environment: A part of topics.

    Raises:
        MonitorConfigError: A setting cannot be used.
    """
    if kind == "stdout":
        return Lines()
    from gds_kafka.errors import KafkaConfigurationError

    settings = {"bootstrap_servers": given} if isinstance(given, str) else dict(given)
    try:
        return Hub(environment=environment, **settings)
    except (KafkaConfigurationError, TypeError) as error:
        raise MonitorConfigError(f"outputs: kafka: {error}") from None


def topic_of(metric: Metric, environment: str) -> str:
    """The topic of a metric: by its environment, else by its instance."""
    return f"gds.metrics.{metric.database_type}.{environment or _safe(metric.instance_id)}"


def _safe(text: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in text)


def fields_of(metric: Metric) -> dict[str, Any]:
    """A metric as the hub has it."""
    value = metric.value
    return {
        "timestamp": None if metric.timestamp is None else metric.timestamp.isoformat(),
        "database_type": metric.database_type,
        "instance_id": metric.instance_id,
        "metric_name": metric.metric_name,
        "value": value if isinstance(value, (int, float)) else float(value),
        "tags": metric.tags,
        "unit": metric.unit,
        "metric_type": metric.metric_type,
        "start_timestamp": None if metric.start_timestamp is None else metric.start_timestamp.isoformat(),
        "metadata": {
            "collection_duration_ms": round(metric.collection_duration_ms),
            "version": metric.version,
            "correlation_id": metric.correlation_id,
        },
    }


class Lines:
    """Metrics on standard output, one JSON object a line."""

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Print them."""
        text = "".join(f"{json.dumps(fields_of(each), ensure_ascii=False)}\n" for each in metrics)
        await asyncio.to_thread(_print, text)
        return WriteResult(published=len(metrics))

    async def close(self) -> None:
        """Nothing is left to be printed."""


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Hub:
    """Metrics on topics of Kafka or of an embedded hub; of one instance in their order.

    Args:
        environment: A part of topics; without one each instance has a topic of its own.
        settings: Of `gds_kafka.KafkaProducerClient`.
    """

    def __init__(self, *, environment: str = "", **settings: Any) -> None:
        from gds_kafka import KafkaProducerClient

        self._environment = environment
        # Cycles never wait for a hub: with a spool nothing is lost meanwhile, without one what is lost is counted.
        self._producer = KafkaProducerClient(**{"lazy": True, **settings})

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Hand them to the producer."""
        return await asyncio.to_thread(self._send, metrics)

    def _send(self, metrics: Sequence[Metric]) -> WriteResult:
        from gds_kafka.errors import GdsKafkaError

        published = 0
        dropped: dict[str, int] = {}
        for each in metrics:
            try:
                self._producer.send(topic_of(each, self._environment), fields_of(each), key=each.instance_id)
                published += 1
            except GdsKafkaError as error:  # noqa: PERF203 - the others are sent all the same
                reason = type(error).__name__
                dropped[reason] = dropped.get(reason, 0) + 1
        return WriteResult(published=published, dropped=dropped)

    async def close(self) -> None:
        """Deliver what is left."""
        await asyncio.to_thread(self._producer.close)
