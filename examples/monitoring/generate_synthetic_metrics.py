"""Made-up metrics of a database, to see alerts with.

    python generate_synthetic_metrics.py spike --hub embedded:hub

steady   nothing happens
spike    the processor is busy from the 8th second to the 23rd
drift    a disk fills
season   connections come and go as on a day that lasts a minute
outage   the database answers nobody from the 8th second to the 23rd, and then reports nothing for half a minute

Without --hub the messages go to standard output, one JSON object a line.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from gds_kafka import KafkaProducerClient

BEGINS, ENDS, SPEAKS = 8, 23, 53
SCENARIOS = ("steady", "spike", "drift", "season", "outage")


def values(scenario: str, second: float, noise: random.Random) -> dict[str, float]:
    """What is measured so many seconds after the start."""
    trouble = BEGINS <= second < ENDS
    measured = {
        "cpu_usage": 40 + noise.gauss(0, 2),
        "disk_used": 50.0,
        "connections": 60 + noise.gauss(0, 2),
        "availability": 1.0,
    }
    if scenario == "spike" and trouble:
        measured["cpu_usage"] = 95 + noise.gauss(0, 1)
    elif scenario == "drift":
        measured["disk_used"] = min(50 + second, 100.0)
    elif scenario == "season":
        measured["connections"] += 40 * math.sin(second * 2 * math.pi / 60)
    elif scenario == "outage" and trouble:
        measured = {"availability": 0.0}
    elif scenario == "outage" and ENDS <= second < SPEAKS:
        measured = {}
    return measured


def messages(scenario: str, instance: str, interval: float, seconds: float) -> Iterator[list[dict[str, Any]]]:
    """What a monitor would say, in real time: the same values in each run."""
    noise = random.Random(scenario)
    began = time.monotonic()
    turn = 0
    while (second := turn * interval) < seconds:
        time.sleep(max(0.0, began + second - time.monotonic()))
        timestamp = datetime.now(timezone.utc).isoformat()
        yield [
            {
                "timestamp": timestamp,
                "database_type": "postgresql",
                "instance_id": instance,
                "metric_name": name,
                "value": round(value, 2),
                "tags": {"environment": "production"},
            }
            for name, value in values(scenario, second, noise).items()
        ]
        turn += 1


def main() -> None:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--hub", help="embedded:PATH or host:port; standard output without it")
    parser.add_argument("--instance", default="db-1", help="the database that is made up")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two measurements")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    told = parser.parse_args()
    if told.interval <= 0:
        parser.error(f"--interval {told.interval}: expected seconds, more than 0")
    rounds = messages(told.scenario, told.instance, told.interval, told.seconds)
    if told.hub is None:
        send(rounds, lambda message: print(json.dumps(message), flush=True))
        return
    with KafkaProducerClient(told.hub) as producer:
        topic = "gds.metrics.postgresql.production"
        send(rounds, lambda message: producer.send(topic, message, key=told.instance))


def send(rounds: Iterator[list[dict[str, Any]]], to: Callable[[dict[str, Any]], object]) -> None:
    """Ctrl-C is a usual end."""
    try:
        for measured in rounds:
            for message in measured:
                to(message)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
