"""The exceptions by the name of the module that existing programs import them from; see `gds_kafka.errors`."""

from gds_kafka.errors import (
    GdsKafkaError,
    KafkaConfigurationError,
    KafkaConnectionError,
    KafkaMessageError,
    KafkaSerializationError,
    KafkaTimeoutError,
)

__all__ = [
    "GdsKafkaError",
    "KafkaConfigurationError",
    "KafkaConnectionError",
    "KafkaMessageError",
    "KafkaSerializationError",
    "KafkaTimeoutError",
]
