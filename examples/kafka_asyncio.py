"""Send and read on an event loop, with many messages on their way at once."""

from __future__ import annotations

import asyncio
import os

from gds_kafka import AsyncKafkaConsumerClient, AsyncKafkaProducerClient

SERVERS = os.environ.get("GDS_BOOTSTRAP_SERVERS", "embedded:hub")
MESSAGES = 1000


async def main() -> None:
    """Each `send` waits for its own delivery, all of them together."""
    async with AsyncKafkaProducerClient(SERVERS) as producer:
        sends = [producer.send("visits", {"number": number}, key="a") for number in range(MESSAGES)]
        delivered = await asyncio.gather(*sends)
    offsets = [place.offset for place in delivered]
    print("delivered:", len(offsets), "in order:", offsets == sorted(offsets))

    total = 0
    async with AsyncKafkaConsumerClient("visits", SERVERS, auto_offset_reset="earliest") as consumer:
        async for message in consumer:
            total += message["value"]["number"]
            if message["offset"] == offsets[-1]:
                break
    print("sum:", total)


if __name__ == "__main__":
    asyncio.run(main())
