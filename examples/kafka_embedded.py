"""Topics, groups and offsets without a server: a hub in a folder, which keeps what it was given."""

from __future__ import annotations

import sys

from gds_kafka import KafkaConsumerClient, KafkaProducerClient


def main(folder: str) -> None:
    """Run it twice: the second run goes on where the first one ended."""
    hub = f"embedded:{folder}"
    with KafkaProducerClient(hub, partitions=2) as producer:
        for name in ("ann", "bob", "cyd"):
            producer.send("visits", {"name": name}, key=name)
    reader = KafkaConsumerClient("visits", hub, "readers", auto_offset_reset="earliest", consumer_timeout_ms=2000)
    with reader as consumer:
        names = sorted(message["value"]["name"] for message in consumer)
        print("read:", names, "behind by:", sum(part["lag"] for part in consumer.lag()))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "hub")
