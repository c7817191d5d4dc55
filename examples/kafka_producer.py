"""Send messages: to a hub in the folder `hub`, or to the servers that GDS_BOOTSTRAP_SERVERS names."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from uuid import UUID

from gds_kafka import DeliveredMessage, GdsKafkaError, KafkaProducerClient

SERVERS = os.environ.get("GDS_BOOTSTRAP_SERVERS", "embedded:hub")


def told(error: GdsKafkaError | None, delivered: DeliveredMessage | None) -> None:
    """Called once for each message, by a thread of the client."""
    if delivered is not None:
        print(f"delivered to {delivered.topic}[{delivered.partition}] at offset {delivered.offset}")
    else:
        print("not delivered:", error)


def main() -> None:
    """One message with everything, and two at once."""
    order = {"id": UUID(int=7), "at": datetime(2026, 1, 1, tzinfo=timezone.utc), "books": ["A", "B"]}
    with KafkaProducerClient(SERVERS) as producer:
        producer.send("orders", order, key="ann", headers={"source": "shop"}, on_delivery=told)
        outcomes = producer.send_many("orders", [{"id": 8}, {"id": 9}])
        print("outcomes:", [type(outcome).__name__ for outcome in outcomes])
        producer.flush()
        print("delivered:", producer.stats()["delivered_total"])


if __name__ == "__main__":
    main()
