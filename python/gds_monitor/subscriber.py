"""`MetricSubscriber`: reads metrics of databases back from the hub."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from gds_kafka import AsyncKafkaConsumerClient
from gds_monitor.metric import Metric
from gds_native._lib import parse_metric

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from gds_kafka.consumer import Message

__all__ = ["METRIC_TOPICS", "MetricSubscriber"]

METRIC_TOPICS = r"^gds\.metrics\.[^.]+\..+"
"""All topics of metrics, as a pattern."""

_HEADER = "__value_schema_id"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LOG = logging.getLogger("gds_monitor")


class MetricSubscriber:
    """Reads metrics of databases, alone or as a member of a group, from Kafka or a hub on this machine.

        async with MetricSubscriber("embedded:hub", "reports") as metrics:
            async for metric in metrics:
                print(metric.instance_id, metric.metric_name, metric.value)

    Messages are those of `KafkaOutput`, as JSON or Avro, those of `gds_kafka.KafkaMetrics`, and what else looks like
    them: without tags; without a time, which is the hub's then. What is no metric is counted in `skipped` by its
    reason, and the first of each reason is mentioned in the log ``gds_monitor``. As with
    `gds_kafka.AsyncKafkaConsumerClient` a metric is finished with when the next one is asked for.

    Args:
        hub: ``"host:port"``, several with commas or as a list; ``"embedded:PATH"`` is a hub in a folder of this
            machine.
        group_id: Members of a group share the topics and go on where the group has committed. Without one everything
            is read and nothing is committed.
        topics: A name or several; one that begins with ``^`` is a regular expression.
        config: Settings of the consumer, as `gds_kafka.KafkaConsumerClient` has them.
    """

    def __init__(
        self,
        hub: str | Sequence[str],
        group_id: str | None = None,
        *,
        topics: str | Sequence[str] = METRIC_TOPICS,
        **config: Any,
    ) -> None:
        self._skipped: dict[str, int] = {}
        self._consumer = AsyncKafkaConsumerClient(topics, hub, group_id, value_deserializer=bytes, **config)

    @property
    def skipped(self) -> dict[str, int]:
        """How many messages were no metrics, by reason."""
        return dict(self._skipped)

    async def __aiter__(self) -> AsyncIterator[Metric]:
        async for message in self._consumer:
            if (metric := self._metric(message)) is not None:
                yield metric

    async def batches(self, max_messages: int = 500, timeout_seconds: float = 1.0) -> AsyncIterator[list[Metric]]:
        """Metrics in lists; see `gds_kafka.KafkaConsumerClient.batches`."""
        async for messages in self._consumer.batches(max_messages, timeout_seconds):
            metrics = [metric for message in messages if (metric := self._metric(message)) is not None]
            if metrics:
                yield metrics

    async def commit(self) -> None:
        """Keep for the group now what was read so far, the metric or list at hand included."""
        await self._consumer.commit()

    async def close(self) -> None:
        """Let go of the hub. A second call does nothing."""
        await self._consumer.close()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _metric(self, message: Message) -> Metric | None:
        if message["topic"].endswith(".dlq"):
            return None  # the pattern has them, too
        header = next((value for name, value in message["headers"] if name == _HEADER), None)
        try:
            fields = parse_metric(message["value"] or b"", message["timestamp"], header)
        except ValueError as error:
            reason, text = error.args
            if reason not in self._skipped:
                place = message["topic"], message["partition"], message["offset"]
                _LOG.warning("topic %s, partition %s, offset %s: %s", *place, text)
            self._skipped[reason] = self._skipped.get(reason, 0) + 1
            return None
        return _metric(fields)


def _metric(fields: dict[str, Any]) -> Metric:
    value, start_ms = fields["value"], fields["start_ms"]
    if isinstance(value, float) and value.is_integer() and fields["value_text"].lstrip("-").isdigit():
        value = int(fields["value_text"])
    return Metric(
        metric_name=fields["metric_name"],
        value=value,
        instance_id=fields["instance_id"],
        database_type=fields["database_type"],
        timestamp=_moment(fields["time_ms"]),
        tags=fields["tags"],
        unit=fields["unit"],
        metric_type="counter" if fields["metric_type"] == "counter" else "gauge",
        start_timestamp=None if start_ms is None else _moment(start_ms),
        collection_duration_ms=float(fields["collection_duration_ms"]),
        version=fields["version"] or "1.0",
        correlation_id=fields["correlation_id"],
    )


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
