"""A Kafka client, a metrics collector and a logging handler that lose nothing and never get in the way.

    from gds_kafka import KafkaProducerClient

    with KafkaProducerClient("localhost:9092") as producer:
        producer.send("orders", {"id": 7, "paid": True}, key="7")

``embedded:PATH`` instead of the servers is a durable hub on one machine, with the same topics, keys and groups.
Importing this package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

from gds_metrics import _lazy

TYPE_CHECKING = False  # `typing` is not imported for this: it would be most of the time this package takes to import

if TYPE_CHECKING:
    from gds_kafka.aio import AsyncKafkaConsumerClient, AsyncKafkaProducerClient
    from gds_kafka.consumer import KafkaConsumerClient
    from gds_kafka.errors import (
        GdsKafkaError,
        KafkaConfigurationError,
        KafkaConnectionError,
        KafkaMessageError,
        KafkaSerializationError,
        KafkaTimeoutError,
    )
    from gds_kafka.logging import KafkaLoggingHandler
    from gds_kafka.metrics import KafkaMetrics
    from gds_kafka.producer import DeliveredMessage, KafkaProducerClient, OutgoingMessage

__all__ = [
    "AsyncKafkaConsumerClient",
    "AsyncKafkaProducerClient",
    "DeliveredMessage",
    "GdsKafkaError",
    "KafkaConfigurationError",
    "KafkaConnectionError",
    "KafkaConsumerClient",
    "KafkaLoggingHandler",
    "KafkaMessageError",
    "KafkaMetrics",
    "KafkaProducerClient",
    "KafkaSerializationError",
    "KafkaTimeoutError",
    "OutgoingMessage",
]

_HOME = {
    "AsyncKafkaConsumerClient": "aio",
    "AsyncKafkaProducerClient": "aio",
    "DeliveredMessage": "producer",
    "GdsKafkaError": "errors",
    "KafkaConfigurationError": "errors",
    "KafkaConnectionError": "errors",
    "KafkaConsumerClient": "consumer",
    "KafkaLoggingHandler": "logging",
    "KafkaMessageError": "errors",
    "KafkaMetrics": "metrics",
    "KafkaProducerClient": "producer",
    "KafkaSerializationError": "errors",
    "KafkaTimeoutError": "errors",
    "OutgoingMessage": "producer",
}

# What a program does not use it does not load.
__getattr__, __dir__ = _lazy.exports(globals(), _HOME)
