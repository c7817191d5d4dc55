"""What was measured before: of a hub, or of a file."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gds_kafka import KafkaConsumerClient

__all__ = ["History", "moment", "of_file", "of_hub"]

MOST = 2_000_000
"""Samples that are held in memory at once."""
AT_ONCE = 5000
PATIENCE_SECONDS = 0.5
FIRST_SECONDS = 10.0
"""How long there may be no topic of this name."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_HEADER = "__value_schema_id"

Sample = tuple[int, int, tuple[str, str, str, dict[str, str], float, str, int]]


class History(NamedTuple):
    """Samples in the order in which they came, and how many messages were none."""

    samples: list[Sample]
    skipped: int


def moment(option: str, text: str) -> int:
    """A time in milliseconds since 1970: ISO 8601, or so long ago, as ``2h`` or ``7d``."""
    if found := re.fullmatch(r"(\d+)([smhdw])", text):
        return round((time.time() - int(found[1]) * UNITS[found[2]]) * 1000)
    try:
        given = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        expected = "expected a time such as 2026-11-28T09:00:00Z, or 2h for two hours ago"
        raise typer.BadParameter(f"{option} {text}: {expected}") from None
    return round(given.astimezone(timezone.utc).timestamp() * 1000)


def of_hub(hub: str, config: Mapping[str, Any], topics: list[str], since_ms: int, until_ms: int) -> History:
    """The metrics of topics of a hub that came within a time.

    Raises:
        ValueError: There are too many.
        GdsKafkaError: The hub cannot be read.
    """
    from gds_kafka import KafkaConsumerClient

    numbers: dict[tuple[str, int], int] = {}
    newest: dict[tuple[str, int], int] = {}
    samples: list[Sample] = []
    skipped = quiet = 0
    settings = {**config, "start_at": since_ms, "value_deserializer": bytes}
    with KafkaConsumerClient(topics, hub, **settings) as consumer:
        for batch in consumer.batches(AT_ONCE, PATIENCE_SECONDS):
            for message in batch:
                place, came_ms = (message["topic"], message["partition"]), message["timestamp"] or 0
                newest[place] = came_ms
                if message["topic"].endswith(".dlq") or not since_ms <= came_ms <= until_ms:
                    continue
                header = next((value for name, value in message["headers"] if name == _HEADER), None)
                sample = _sample(message["value"] or b"", came_ms, header, numbers.setdefault(place, len(numbers)))
                if sample is None:
                    skipped += 1
                    continue
                samples.append(sample)
                _bound(len(samples))
            quiet = 0 if batch else quiet + 1
            if _has_all(consumer, newest, until_ms, quiet):
                break
    # By the hub's time, as a reader of all partitions sees them that keeps up.
    samples.sort(key=lambda sample: sample[0])
    return History(samples, skipped)


def _has_all(consumer: KafkaConsumerClient, newest: Mapping[tuple[str, int], int], until_ms: int, quiet: int) -> bool:
    """Whether every partition is read to its end, or beyond the time."""
    partitions = consumer.lag()
    if not partitions:
        # A pattern is looked up first.
        return quiet * PATIENCE_SECONDS >= FIRST_SECONDS
    left = [each for each in partitions if newest.get((each["topic"], each["partition"]), 0) <= until_ms]
    return not any(each["lag"] for each in left) and (quiet > 0 or bool(newest))


def of_file(file: Path, since_ms: int, until_ms: int) -> History:
    """The metrics of a file, a message on each line: as the monitor prints them, or as ``gds kafka tail --json`` does.

    Raises:
        ValueError: There are too many.
        OSError: It cannot be read.
    """
    samples: list[Sample] = []
    skipped = came_ms = 0
    for value, hub_ms, partition in _messages(file):
        sample = _sample(value, hub_ms, None, partition)
        if sample is None:
            skipped += 1
        elif since_ms <= (hub_ms or sample[2][6]) <= until_ms:
            # One that says no time came when it was measured; and never before the one above it.
            came_ms = max(came_ms, hub_ms or sample[2][6])
            samples.append((came_ms, partition, sample[2]))
            _bound(len(samples))
    return History(samples, skipped)


def _messages(file: Path) -> Iterator[tuple[bytes, int, int]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                said = json.loads(line)
                tailed = isinstance(said, dict) and "value" in said and "offset" in said
                value = json.dumps(said["value"]).encode() if tailed else line.encode()
                yield value, int(said["timestamp"]) if tailed else 0, int(said["partition"]) if tailed else 0
            except (ValueError, KeyError, TypeError):
                yield b"", 0, 0


def _sample(value: bytes, came_ms: int, header: bytes | None, partition: int) -> Sample | None:
    from gds_native._lib import parse_metric

    try:
        read = parse_metric(value, came_ms, header)
    except ValueError:
        return None
    names = read["metric_name"], read["instance_id"], read["database_type"], read["tags"]
    return came_ms, partition, (*names, float(read["value"]), read["value_text"], read["time_ms"])


def _bound(count: int) -> None:
    if count > MOST:
        raise ValueError(f"more than {MOST:,} samples; take a shorter time, or fewer topics with --topic")
