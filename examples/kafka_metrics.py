"""Metrics as messages: each by itself, and added up."""

from __future__ import annotations

import os

from gds_kafka import KafkaConsumerClient, KafkaMetrics, KafkaProducerClient

SERVERS = os.environ.get("GDS_BOOTSTRAP_SERVERS", "embedded:hub")


def main() -> None:
    """Report, and read what arrived."""
    # A collector does not make the program wait: what does not fit is dropped and counted.
    with KafkaProducerClient(SERVERS, on_full="drop_oldest") as producer:
        KafkaMetrics(producer).gauge("stock", 42, {"kind": "book"})
        with KafkaMetrics(producer, aggregate_seconds=10) as metrics:
            for _ in range(1000):
                metrics.increment("orders", labels={"kind": "book"})
            for milliseconds in (10.0, 20.0, 30.0):
                metrics.timing("order.time", milliseconds)

    with KafkaConsumerClient("metrics", SERVERS, auto_offset_reset="earliest", consumer_timeout_ms=2000) as consumer:
        for message in consumer:
            value = message["value"]
            print(message["key"], value["type"], value["value"], value["labels"], value.get("count", ""))


if __name__ == "__main__":
    main()
