"""Memory while the broker is away: a million messages into a client that may hold far fewer."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.brokers import MESSAGE, broker, fresh_topic
from bench.harness import AT_MOST, Bar, Effort, Row, expect, percentile
from gds_kafka import KafkaProducerClient
from tests.services.kafka import KafkaBroker

__all__ = ["measure", "memory"]

SENDS = 1_000_000
BUFFER_BYTES = 64 << 20


def memory(effort: Effort) -> list[Row]:
    """How far the resident memory of a new process grows, without a spool and with one."""
    rounds = max(2, effort.long_rounds // 8)
    with broker() as kafka:
        dropping = [_in_child(kafka) for _ in range(rounds)]
        with TemporaryDirectory() as folder:
            spooling = [_in_child(kafka, str(Path(folder) / str(number))) for number in range(rounds)]
    for stats in dropping:
        expect("messages dropped or pending", _dropped(stats) + stats["pending"], SENDS)
        expect("some are dropped", _dropped(stats) > 0, True)
        expect("the buffer is within its setting", stats["queued_bytes"] <= BUFFER_BYTES, True)
    for stats in spooling:
        expect("messages dropped", _dropped(stats), 0)
        expect("messages pending, spooled", (stats["pending"], stats["spooled"]), (SENDS, SENDS))
    said = f"{SENDS:,} sends, broker away, buffer_memory of 64 MiB: resident memory grows"
    return [
        _growth(f"{said}, the oldest dropped and counted", dropping),
        _growth(f"{said}, the rest in the spool", spooling),
    ]


def _dropped(stats: dict[str, Any]) -> int:
    return sum(stats["dropped_total"].values())


def _growth(name: str, measured: list[dict[str, Any]]) -> Row:
    grown = [stats["grown_bytes"] / (1 << 20) for stats in measured]
    limit = Bar(AT_MOST, 1.5 * BUFFER_BYTES / (1 << 20))
    low, high = percentile(grown, 10), percentile(grown, 90)
    return Row(name=name, ours=percentile(grown, 50), unit="MiB", bar=limit, low=low, high=high)


def _in_child(kafka: KafkaBroker, spool_dir: str = "") -> dict[str, Any]:
    """What a new process says that connects, loses the broker, and sends."""
    kafka.start()
    command = [sys.executable, "-m", "bench.kafka_memory", kafka.bootstrap_servers, fresh_topic(kafka), spool_dir]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        expect("the child", child.stdout.readline(), "connected\n")
        kafka.kill()
        child.stdin.close()
        answer = child.stdout.readline()
    expect("how the child ended", child.returncode, 0)
    stats: dict[str, Any] = json.loads(answer)
    return stats


def measure(servers: str, topic: str, spool_dir: str) -> dict[str, Any]:
    """Statistics of the producer, and by how much the peak of this process rose; the first message is left out."""
    config: dict[str, Any] = {"spool_dir": spool_dir} if spool_dir else {}
    producer = KafkaProducerClient(
        servers, on_full="drop_oldest", buffer_memory=BUFFER_BYTES, close_timeout_seconds=0, **config
    )
    producer.send(topic, MESSAGE)
    expect("messages left", producer.flush(), 0)
    print("connected", flush=True)
    sys.stdin.read()
    gc.collect()
    before = psutil.Process().memory_info().rss
    send = producer.send
    for _ in range(SENDS):
        send(topic, MESSAGE)
    stats = producer.stats()
    expect("messages accepted", stats["accepted_total"], SENDS + 1)
    expect("messages delivered", stats["delivered_total"], 1)
    stats["grown_bytes"] = _peak_bytes() - before
    producer.close(0)
    return stats


def _peak_bytes() -> int:
    # getrusage would give the peak of the process that started this one, if that was higher.
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:4])), flush=True)
