"""`KafkaMetrics`: each measurement is a message; with ``aggregate_seconds`` many measurements are one.

A message is a JSON object, as ``schemas/metric.json`` has it:

    {"timestamp": 1700000000.25, "type": "counter", "name": "orders", "value": 1.0, "labels": {"kind": "book"}}

Like every collector this one never raises; what cannot be sent is counted in ``dropped`` and mentioned once in the log
``gds_metrics``. With a `gds_kafka.KafkaProducerClient` it never waits, whatever ``on_full`` says; whether another
producer does is that one's business.
"""

from __future__ import annotations

from math import isfinite
from time import time
from types import BuiltinMethodType
from typing import TYPE_CHECKING

from gds_kafka._aggregate import Aggregates, message
from gds_metrics._collector import DEFAULT_TIMEOUT_SECONDS, Collector
from gds_metrics._exit import close_at_exit, is_closed
from gds_metrics._input import (
    BadInput,
    Drops,
    failure,
    shown,
    valid_increment,
    valid_labels,
    valid_name,
    valid_number,
    valid_observation,
)
from gds_metrics._settings import checked_buckets, seconds, text
from gds_native._lib import ProducerCore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol, TypeAlias

    from gds_kafka._aggregate import Kind, Message

    class Sends(Protocol):
        """What `KafkaMetrics` needs of a producer; `gds_kafka.KafkaProducerClient` and kafka-python's have it."""

        @property
        def send(self) -> Callable[..., object]: ...

    Key: TypeAlias = str | bytes | bytearray | memoryview | None

__all__ = ["KafkaMetrics"]

_SMALL = 1 << 53


class KafkaMetrics(Collector):
    """Sends each measurement to a topic, keyed by the metric's name.

    The producer stays the program's: closing the collector flushes it and does not close it. A
    `gds_kafka.KafkaProducerClient` is the fast way: measurements are written in Rust, those that it has no room for are
    dropped and counted in its ``stats()``, and unless its ``linger_ms`` is set they wait up to a tenth of a second for
    others to share a request with.

    Args:
        producer: Any object with ``send(topic, value, key=None)``, where ``value`` is a dict.
        topic: Where the messages go.
        key: The key of every message; or a function that is given the message, as a dict, and returns its key. Keys are
            str, bytes or None. The metric's name by default.
        aggregate_seconds: Counters, histograms and timings are added up for this long and sent as one message for each
            name and label set: also when the program ends, and never twice after a fork. Gauges are sent as they come.

    Raises:
        TypeError: The producer has no ``send``, or a setting has the wrong type.
        ValueError: A setting makes no sense.
    """

    __slots__ = ("_aggregates", "_closed", "_drops", "_key", "_native", "_producer", "_send", "_topic")

    def __init__(
        self,
        producer: Sends,
        topic: str = "metrics",
        *,
        key: Callable[[Message], Key] | Key = None,
        aggregate_seconds: float | None = None,
    ) -> None:
        send = getattr(producer, "send", None)
        if not callable(send):
            raise TypeError(f"producer {_kind(producer)} has no send; pass a KafkaProducerClient or another with it")
        if isinstance(key, (bytearray, memoryview)):
            key = bytes(key)
        if not (key is None or isinstance(key, (str, bytes)) or callable(key)):
            raise TypeError(f"key={shown(key)}: expected a str, bytes or a function of the message")
        if not text("topic", topic):
            raise ValueError("topic='': expected the name of a topic, such as 'metrics'")
        interval = None if aggregate_seconds is None else seconds("aggregate_seconds", aggregate_seconds)
        self._producer = producer
        self._send = send
        self._topic = topic
        self._key = key
        self._drops = Drops(type(self).__name__)
        self._closed = False
        # Unless a subclass or the program has a `send` of its own.
        self._native = None
        if isinstance(producer, ProducerCore) and type(send) is BuiltinMethodType:
            self._send = producer.send_nowait
            self._native = None if callable(key) or interval is not None else producer.send_measurement
        self._aggregates = None if interval is None else Aggregates(interval, self._ship)
        if self._aggregates is not None:
            close_at_exit(self)

    @property
    def producer(self) -> Sends:
        """What they are sent with."""
        return self._producer

    @property
    def topic(self) -> str:
        """Where the messages go."""
        return self._topic

    @property
    def dropped(self) -> dict[str, int]:
        """How many measurements were not handed to the producer, by reason; of aggregates, how many messages.

        The reasons are ``invalid_name``, ``invalid_value``, ``invalid_labels``, ``negative_increment``,
        ``invalid_description``, ``key_failed``, ``send_failed``, ``flush_failed`` and ``closed``. What the producer
        loses later is in its own ``stats()``.
        """
        return self._drops.counts()

    def increment(self, name: str, value: float = 1, labels: Mapping[str, object] | None = None) -> None:
        """Send an increment; see `MetricsCollector.increment`."""
        self._report("increment", "counter", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, object] | None = None) -> None:
        """Send the value of a gauge; see `MetricsCollector.gauge`."""
        self._report("gauge", "gauge", name, value, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, object] | None = None) -> None:
        """Send an observation; see `MetricsCollector.histogram`."""
        self._report("histogram", "histogram", name, value, labels)

    def timing(self, name: str, value_ms: float, labels: Mapping[str, object] | None = None) -> None:
        """Send a duration, in milliseconds; see `MetricsCollector.timing`."""
        self._report("timing", "timing", name, value_ms, labels)

    def describe(
        self,
        name: str,
        *,
        help: str | None = None,  # noqa: ARG002 - messages have no place for it
        unit: str | None = None,  # noqa: ARG002
        buckets: Sequence[float] | None = None,
        **settings: object,  # noqa: ARG002
    ) -> None:
        """Tell the buckets of a distribution that is aggregated; see `Collector.describe`.

        Args:
            name: The metric.
            help: Ignored.
            unit: Ignored.
            buckets: Upper bounds, ascending; in seconds for timings, whose messages have them in milliseconds.
            settings: Ignored.
        """
        try:
            if buckets is not None and self._aggregates is not None:
                self._aggregates.describe(valid_name(name), checked_buckets(buckets))
        except BadInput as refusal:
            self._drops.add("describe", refusal.reason, refusal.explanation)
        except Exception as error:  # noqa: BLE001 - the program goes on without the description
            self._drops.add("describe", "invalid_description", str(error))

    def flush(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> bool:
        """Send what was added up, and let the producer hand over what it has.

        Args:
            timeout_seconds: How long to wait at most.

        Returns:
            Whether the producer handed over all of it in that time.
        """
        if self._aggregates is not None:
            self._aggregates.ship()
        flush = getattr(self._producer, "flush", None)
        if flush is None:
            return True
        try:
            # Ours returns how many messages are left, kafka-python's nothing.
            return not flush(timeout_seconds)
        except Exception as error:  # noqa: BLE001 - a producer of the program's own choice
            self._drops.add("flush", "flush_failed", failure(error))
            return False

    def close(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """Flush and stop; may be called again. The producer stays open. What is reported afterwards is counted.

        Args:
            timeout_seconds: How long to wait at most.
        """
        if self._closed:
            return
        self._closed = True
        self._native = None
        try:
            if self._aggregates is not None:
                self._aggregates.stop(timeout_seconds)
            self.flush(timeout_seconds)
        finally:
            is_closed(self)

    def _report(self, method: str, kind: Kind, name: object, value: object, labels: object) -> None:
        try:
            native = self._native
            if native is not None and native(self._topic, self._key, kind, name, value, labels):
                return  # as nearly all are
            number = value if type(value) is float and kind == "gauge" else _number(kind, value)
            if self._closed:
                self._drops.add(method, "closed", "the collector is closed; close it last")
            elif self._aggregates is None or kind == "gauge" or not isfinite(number):
                self._ship(message(time(), kind, valid_name(name), number, valid_labels(labels)), method)
            else:
                self._aggregates.add(kind, valid_name(name), number, valid_labels(labels))
        except BadInput as refusal:
            self._drops.add(method, refusal.reason, refusal.explanation)
        except Exception as error:  # noqa: BLE001 - an observer never raises into what it observes
            self._drops.add(method, "send_failed", failure(error))

    def _ship(self, shipped: Message, method: str = "aggregate") -> None:
        key: Key = None
        if self._key is None:
            key = shipped["name"]
        elif isinstance(self._key, (str, bytes)):
            key = self._key
        else:
            try:
                key = self._key(shipped)
            except Exception as error:  # noqa: BLE001 - a function of the program's own
                self._drops.add(method, "key_failed", failure(error))
                return
        try:
            self._send(self._topic, shipped, key=key)
        except Exception as error:  # noqa: BLE001 - see flush
            self._drops.add(method, "send_failed", failure(error))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(topic={self._topic!r})"

    def __str__(self) -> str:
        return f"Kafka Metrics (topic {self._topic})"


def _number(kind: Kind, value: object) -> float:
    if type(value) is int and 0 <= value <= _SMALL:
        return float(value)  # as nearly all are
    if kind == "counter":
        return valid_increment(value)
    return valid_number(value) if kind == "gauge" else valid_observation(value)


def _kind(value: object) -> str:
    # Not its repr: a producer of somebody else's may show its password there.
    return f"of type {type(value).__name__}"
