"""A real broker for the benchmarks, and the message that all of them send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tests.services.kafka import KafkaBroker

__all__ = ["MESSAGE", "SETTINGS", "broker", "fresh_topic"]

MESSAGE: dict[str, object] = {
    "timestamp": 1763700000.123456,
    "type": "timing",
    "name": "database.query.duration",
    "value": 12.75,
    "labels": {"database": "orders", "instance": "db-17.example.com", "operation": "select", "ok": True},
    "attempts": 3,
}
"""About 200 bytes of JSON, as a database tool would send it."""

# What the clients have in common, so that they do the same work.
SETTINGS = {"acks": "all", "linger_ms": 5}

_numbers = count()


@contextmanager
def broker() -> Iterator[KafkaBroker]:
    """One node; topics are made by name."""
    with KafkaBroker() as started:
        yield started


def fresh_topic(kafka: KafkaBroker, partitions: int = 1) -> str:
    """A topic that is ready to be written to."""
    name = f"bench-{next(_numbers)}"
    kafka.create_topic(name, partitions)
    return name
