"""Watch a PostgreSQL from a program, with a measurement of its own beside what the packs have.

python monitor.py postgresql://watcher@db1/postgres embedded:hub
"""

import asyncio
import sys

from gds_kafka import KafkaConsumerClient
from gds_monitor import Metric, MetricCollector, MonitoringResult, MonitoringSystemBuilder
from gds_monitor.config.outputs import make_output
from gds_monitor.scheduler import Job


class Orders(MetricCollector):
    """How many orders wait: a number that only the shop knows."""

    async def collect(self) -> list[Metric]:
        """Measure."""
        return [Metric("shop.orders.waiting", 3, self.instance_id, self.database_type, unit="{order}")]


async def watch(url: str, hub: str) -> None:
    """Until each of the two had a cycle."""
    done = asyncio.Event()
    seen: set[str] = set()

    async def told(job: Job, result: MonitoringResult) -> None:
        print(
            f"{job.job_id}: {result.succeeded} of {result.planned} collectors, missing: {result.reasons or 'nothing'}"
        )
        seen.add(job.job_id)
        if len(seen) == 2:
            done.set()

    system = (
        MonitoringSystemBuilder()
        .interval(10)
        .database(url, instance_id="db1", tags={"team": "shop"})
        .collector(Orders("shop", "postgresql"))
        .output(make_output("kafka", hub, "production"))
        .on_result(told)
        .build()
    )
    await system.start()
    await done.wait()
    await system.stop()


url, hub = sys.argv[1:]
asyncio.run(watch(url, hub))
with KafkaConsumerClient(["gds.metrics.postgresql.production"], hub, auto_offset_reset="earliest") as consumer:
    names = {message["value"]["metric_name"] for message in next(consumer.batches(1000, 10))}
print(f"{len(names)} metrics on the hub, shop.orders.waiting among them: {'shop.orders.waiting' in names}")
