"""What the clients raise.

All of them are `GdsKafkaError` and answer "what now?": ``retriable`` says that trying again later may help, ``fatal``
that this client is of no more use, ``code`` is librdkafka's number or None. No message holds a secret.

| exception | says |
| --- | --- |
| `KafkaConfigurationError` | a setting is unknown or makes no sense; also a `ValueError` |
| `KafkaConnectionError` | the servers cannot be reached, or do not let us in |
| `KafkaMessageError` | this message, topic or request is refused |
| `KafkaSerializationError` | a value cannot be written or read |
| `KafkaTimeoutError` | no answer, or no room, in time; also a `TimeoutError` |
"""

from gds_native._lib import (
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
