"""Log records as messages, set up by dictConfig alone; secrets do not leave the process."""

from __future__ import annotations

import logging
import logging.config
import os

from gds_kafka import KafkaConsumerClient

SERVERS = os.environ.get("GDS_BOOTSTRAP_SERVERS", "embedded:hub")
CONFIG = {
    "version": 1,
    "handlers": {
        "kafka": {
            "class": "gds_kafka.KafkaLoggingHandler",
            "bootstrap_servers": SERVERS,
            "topic": "logs",
            "service": "shop",
        },
    },
    "root": {"handlers": ["kafka"], "level": "INFO"},
}


def main() -> None:
    """Log, and read what arrived."""
    logging.config.dictConfig(CONFIG)
    logger = logging.getLogger("shop.orders")
    logger.info("order %d taken", 7, extra={"kind": "book"})
    logger.warning("cannot reach postgres://shop:hunter2@db/orders")
    logging.shutdown()

    with KafkaConsumerClient("logs", SERVERS, auto_offset_reset="earliest", consumer_timeout_ms=2000) as consumer:
        for message in consumer:
            record = message["value"]
            print(record["level"], record["logger"], record["message"], record.get("extra", {}))


if __name__ == "__main__":
    main()
