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
        delivered = await asyncio.gather(*(producer.send("visits", {"number": n}, key="a") for n in range(MESSAGES)))
    print(
        "delivered:", len(delivered), "offsets in order:", [place.offset for place in delivered] == [*range(MESSAGES)]
    )

    total = 0
    async with AsyncKafkaConsumerClient("visits", SERVERS, auto_offset_reset="earliest") as consumer:
        async for message in consumer:
            total += message["value"]["number"]
            if message["offset"] == MESSAGES - 1:
                break
    print("sum:", total)


if __name__ == "__main__":
    asyncio.run(main())
