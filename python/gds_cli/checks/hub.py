"""Whether a hub is reached, and what one may do with its topics."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_cli.checks import FAILED, OK, WARNING, Finding, Steps
from gds_cli.checks.machine import can_be_made

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["steps"]

QUIET_SECONDS = 1.0
"""A broker that refuses a read says so at once; one that does not for so long allows it."""

TOPIC_UNKNOWN, TOPIC_REFUSED = 3, 29
"""Kafka's numbers of errors."""


def steps(servers: str, topics: Sequence[str], write: bool, config: dict[str, Any], seconds: float) -> Steps:
    """The checks: the hub, and each topic.

    Args:
        servers: As for a client.
        topics: What to describe and to read.
        write: Also send a message to each.
        config: Settings of a client.
        seconds: How long to wait for an answer.
    """
    hub = _Hub(servers, {"connect_timeout_seconds": seconds, "close_timeout_seconds": seconds} | config, seconds)
    found: Steps = [("brokers", hub.reached)]
    for topic in topics:
        found.append((f"topic {topic}", partial(hub.described, topic)))
        found.append((f"topic {topic}, read", partial(hub.read, topic)))
        if write:
            found.append((f"topic {topic}, write", partial(hub.written, topic)))
    return found


class _Hub:
    def __init__(self, servers: str, config: dict[str, Any], seconds: float) -> None:
        self._servers = servers
        self._config = config
        self._seconds = seconds
        self._down = ""
        """Why further checks are of no use."""
        self._unseen: set[str] = set()
        """Topics that are not there, or not to be seen."""

    def reached(self) -> Finding:
        from gds_kafka.errors import GdsKafkaError

        before, embedded, path = self._servers.partition("embedded:")
        if embedded and not before and not Path(path).exists():
            self._down = "there is no hub yet"
            finding = can_be_made(Path(path))
            return finding or Finding(OK, f"there is no hub in {path} yet; the first message makes it")
        try:
            self._admin()
        except GdsKafkaError as error:
            self._down = "the hub is not reached"
            if embedded and error.retriable:
                return Finding(WARNING, _text(error), "the program that has the hub may be what you want")
            return Finding(FAILED, _text(error), "start it, or name the right one with -b and its settings with -X")
        return Finding(OK, f"{self._servers} answers")

    def _admin(self) -> Any:
        from gds_kafka._client import log, opening
        from gds_native._lib import HubAdmin

        opened = opening(self._servers, self._config)
        return HubAdmin(opened.servers, opened.config, opened.librdkafka, log=log, token=opened.token)

    def described(self, topic: str) -> Finding:
        from gds_kafka.errors import GdsKafkaError

        if self._down:
            return Finding(WARNING, f"not looked at: {self._down}")
        try:
            [found] = self._admin().topics(topic, timeout=self._seconds)
        except GdsKafkaError as error:
            self._unseen.add(topic)
            return self._refused(error, topic, "Describe")
        leaderless = [part["id"] for part in found["partitions"] if part["leader"] is None]
        if leaderless:
            return Finding(FAILED, f"partitions {leaderless} have no leader", "see why their brokers are down")
        return Finding(OK, f"{len(found['partitions'])} partitions")

    def read(self, topic: str) -> Finding:
        from gds_kafka import KafkaConsumerClient
        from gds_kafka.errors import GdsKafkaError

        if self._down or topic in self._unseen:
            return Finding(WARNING, f"not tried: {self._down or 'it cannot be described'}")
        # Without a group nothing is committed; from the end on, nothing is carried over.
        config = self._config | {"auto_offset_reset": "latest", "allow_auto_create_topics": False}
        end = time.monotonic() + self._seconds
        quiet: float | None = None
        try:
            with KafkaConsumerClient(topic, self._servers, value_deserializer=bytes, **config) as consumer:
                for batch in consumer.batches(1, 0.1):
                    now = time.monotonic()
                    if quiet is None and consumer.assignment():
                        quiet = now + QUIET_SECONDS
                    if batch or (quiet is not None and now >= quiet):
                        return Finding(OK, "allowed")
                    if quiet is None and now >= end:
                        break
        except GdsKafkaError as error:
            return self._refused(error, topic, "Read")
        return Finding(FAILED, f"no partition of it could be read within {self._seconds:g} s", "raise --timeout")

    def written(self, topic: str) -> Finding:
        from gds_kafka import KafkaProducerClient
        from gds_kafka.errors import GdsKafkaError

        if self._down:
            return Finding(WARNING, f"not tried: {self._down}")
        try:
            # A refusal of the topic is told when the time of the record is over, which is before ours.
            config = {"delivery_timeout_ms": max(1, int(self._seconds * 700))} | self._config
            with KafkaProducerClient(self._servers, **config) as producer:
                [outcome] = producer.send_many(topic, [{"from": "gds doctor"}], timeout=self._seconds)
        except GdsKafkaError as error:
            outcome = error
        if isinstance(outcome, GdsKafkaError):
            return self._refused(outcome, topic, "Write")
        return Finding(OK, f"a message was sent, to partition {outcome.partition} at offset {outcome.offset}")

    def _refused(self, error: Exception, topic: str, operation: str) -> Finding:
        code = getattr(error, "code", None)
        if code == TOPIC_UNKNOWN:
            return Finding(
                WARNING,
                "it is not there; some brokers make a topic when it is first written to",
                f"gds kafka topics {topic} --create 1 -b {self._servers}",
            )
        if code == TOPIC_REFUSED:
            return Finding(
                FAILED,
                _text(error),
                f"ask for the right: kafka-acls.sh --add --allow-principal User:... --operation {operation} "
                f"--topic {topic}",
            )
        return Finding(FAILED, _text(error), "see the message; docs/kafka.md has what happens when something breaks")


def _text(error: Exception) -> str:
    return " ".join(str(error).split())
