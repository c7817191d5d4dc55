"""`KafkaProducerClient`: takes messages without waiting for the network, and tells what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_kafka._client import Client, log, opening, shown_servers
from gds_kafka._report import reporter
from gds_metrics._exit import close_at_exit, is_closed
from gds_native._lib import DeliveredMessage, OutgoingMessage, ProducerCore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gds_metrics import MetricsCollector

__all__ = ["DeliveredMessage", "KafkaProducerClient", "OutgoingMessage"]


class KafkaProducerClient(Client, ProducerCore):
    """Sends messages to Kafka, or to a hub on this machine.

    ``send`` writes the message into a bounded buffer and returns; a thread in Rust does all that may have to wait. What
    is queued when the program ends is sent within a bound, and what cannot be sent is kept in the spool, or counted and
    mentioned in the log ``gds_kafka``. A forked child has a client of its own, with an empty buffer.

    Args:
        bootstrap_servers: ``"host:port"``, several with commas or as a list; ``"embedded:PATH"`` is a hub in a folder
            of this machine.
        metrics: A collector that is told the figures of `stats`, once an interval and at `flush` and `close`.
        value_serializer: A function that makes bytes of a value, instead of JSON written in Rust.
        key_serializer: A function that makes bytes of a key.
        config: All other settings, by kafka-python's names; ``docs/kafka.md`` has them in a table. librdkafka's own go
            into ``librdkafka={"dotted.name": value}``.

    Raises:
        KafkaConfigurationError: A setting is unknown or makes no sense.
        KafkaConnectionError: The servers were not reached in ``connect_timeout_seconds``, and neither ``lazy=True`` nor
            ``spool_dir`` was given.
    """

    __slots__ = ("_servers",)

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        *,
        metrics: MetricsCollector | None = None,
        value_serializer: Callable[[Any], bytes | None] | None = None,
        key_serializer: Callable[[Any], bytes | None] | None = None,
        **config: object,
    ) -> None:
        opened = opening(bootstrap_servers, config)
        self._open(
            opened.servers,
            opened.config,
            opened.librdkafka,
            log=log,
            token=opened.token,
            value_serializer=value_serializer,
            key_serializer=key_serializer,
            report=reporter(metrics, "producer", config.get("client_id")),
        )
        self._servers = opened.servers
        close_at_exit(self)

    # `send`, `send_many`, `flush` and `stats` are those of the native class, so that no call of Python stands between.

    def close(self, timeout: float | None = None) -> int:
        """Deliver what is queued and stop; may be called again.

        Args:
            timeout: Seconds to wait at most; ``close_timeout_seconds`` by default.

        Returns:
            How many messages were not delivered. With a spool they are there, and the next process sends them; without,
            they are counted as dropped, told to their ``on_delivery`` and mentioned in the log.
        """
        try:
            return ProducerCore.close(self, timeout)
        finally:
            is_closed(self)

    def __repr__(self) -> str:
        if not hasattr(self, "_servers"):  # shown in the traceback of a constructor that failed
            return f"<{type(self).__name__} without settings>"
        return f"{type(self).__name__}(bootstrap_servers={shown_servers(self._servers)!r})"

    def __str__(self) -> str:
        return f"Kafka Producer ({shown_servers(self._servers)})"
