"""What a client tells of itself, as metrics: its ``stats()``, whenever it has new ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gds_metrics._guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gds_metrics import MetricsCollector

__all__ = ["Report", "reporter"]

COUNTER_SUFFIX = "_total"
LAG = "lag"
LAG_PREFIX = "consumer_lag."
"""As librdkafka's statistics have it: the topic and the partition follow."""


class Report:
    """Reports ``stats()`` to a collector; called by the client's own thread, once an interval, and when it is flushed.

    What ends in ``_total`` is a counter, reported by how much it grew; the rest are gauges. A dict is one metric with a
    label ``reason``, the lag one with labels ``topic`` and ``partition``. Names begin with ``kafka.producer.`` or
    ``kafka.consumer.``.

    Args:
        metrics: Any collector.
        client: ``producer`` or ``consumer``.
        labels: Put on every metric, so that two clients of one process are told apart.
    """

    __slots__ = ("_counted", "_labels", "_metrics", "_prefix", "_process_id")

    def __init__(self, metrics: MetricsCollector, client: str, labels: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._prefix = f"kafka.{client}."
        self._labels = dict(labels)
        self._counted: dict[tuple[str, str], float] = {}
        self._process_id = os.getpid()

    def __call__(self, stats: Mapping[str, object]) -> None:
        """Report them; never raises, where the collector keeps its word."""
        for name, value in stats.items():
            if name.startswith(LAG_PREFIX):
                topic, _, partition = name.removeprefix(LAG_PREFIX).rpartition(".")
                self._lag([{"topic": topic, "partition": partition, "lag": value}])
            elif name == LAG:
                self._lag(value)
            elif isinstance(value, dict):
                for reason, part in value.items():
                    self._one(name, part, str(reason))
            else:
                self._one(name, value, "")

    def _lag(self, partitions: Any) -> None:
        for each in partitions:
            place = {"topic": each["topic"], "partition": str(each["partition"])}
            self._metrics.gauge(self._prefix + LAG, each["lag"], self._labels | place)

    def _one(self, name: str, value: object, reason: str) -> None:
        if not isinstance(value, (int, float)):
            return
        labels = self._labels | {"reason": reason} if reason else self._labels
        if not name.endswith(COUNTER_SUFFIX):
            self._metrics.gauge(self._prefix + name, value, labels or None)
            return
        with guard():
            # A forked child counts from zero.
            if self._process_id != os.getpid():
                self._process_id = os.getpid()
                self._counted.clear()
            grown = value - self._counted.get((name, reason), 0)
            self._counted[name, reason] = max(value, self._counted.get((name, reason), 0))
        # Two threads may bring their figures in the wrong order.
        if grown > 0:
            self._metrics.increment(self._prefix + name.removesuffix(COUNTER_SUFFIX), grown, labels or None)


def reporter(
    metrics: MetricsCollector | None, client: str, client_id: object
) -> Callable[[dict[str, object]], None] | None:
    """What the client calls with its stats; none without a collector."""
    if metrics is None:
        return None
    return Report(metrics, client, {"client_id": client_id} if isinstance(client_id, str) else {})
