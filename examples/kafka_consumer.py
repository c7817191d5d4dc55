"""Read messages as a member of a group; what cannot be handled comes again."""

from __future__ import annotations

import os

from gds_kafka import KafkaConsumerClient, KafkaProducerClient

SERVERS = os.environ.get("GDS_BOOTSTRAP_SERVERS", "embedded:hub")


def read(name: str, *, fail_at: int | None = None) -> None:
    """Read until nothing comes for a while."""
    with KafkaConsumerClient(
        "jobs", SERVERS, "workers", auto_offset_reset="earliest", consumer_timeout_ms=2000
    ) as consumer:
        for message in consumer.messages():
            number = message["value"]["number"]
            if number == fail_at:
                raise RuntimeError(f"job {number} fails")
            print(name, "did job", number)


def main() -> None:
    """The second reader goes on with the message that the first one failed at."""
    with KafkaProducerClient(SERVERS) as producer:
        for number in range(4):
            producer.send("jobs", {"number": number}, key="jobs")
    try:
        read("first", fail_at=2)
    except RuntimeError as error:
        print("first ended:", error)
    read("second")


if __name__ == "__main__":
    main()
