"""What is in a cluster, told by clients that are not ours: confluent-kafka and kcat."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.install import install
from tests.services.process import WAIT_TIMEOUT_SECONDS, ServerFailed, wait_until

# Importing the fixtures must not need it.
if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a consumer got it. ``timestamp_ms`` is ``None`` where the record has none."""

    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """Who has a partition, by node id; ``leader`` is ``None`` while there is none."""

    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class Inspection:
    """What can be asked of a cluster and changed in it, through a listener without security.

    Whatever cannot be had within 30 seconds raises ``KafkaException`` or ``TimeoutError``. Asking
    never creates a topic.
    """

    @property
    def direct_bootstrap_servers(self) -> str:
        """``host:port,...`` of the listeners without security, to which these methods connect."""
        raise NotImplementedError

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication: int | None = None,
        config: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        """Create a topic and wait until each partition has a leader.

        Without ``replication`` it is what the cluster does by default: a copy on each node.
        """
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # public, but not marked so

        topic = NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=-1 if replication is None else replication,
            config=properties(config or {}),
        )
        with self._admin() as admin:
            admin.create_topics([topic])[name].result(WAIT_TIMEOUT_SECONDS)
        wait_until(
            lambda: self._all_led(name, partitions),
            what=lambda: f"a leader of each partition of {name}: {self.describe(name)}",
        )

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        with self._admin() as admin:
            admin.delete_topics([name])[name].result(WAIT_TIMEOUT_SECONDS)
        wait_until(lambda: not self.describe(name), what=f"topic {name} to be gone")

    def configure_topic(self, name: str, config: Mapping[str, str | int | bool]) -> None:
        """Change settings of a topic; those that are not named stay."""
        from confluent_kafka.admin import (  # type: ignore[attr-defined]  # as above
            AlterConfigOpType,
            ConfigEntry,
            ConfigResource,
            ResourceType,
        )

        changes = [
            ConfigEntry(each, value, incremental_operation=AlterConfigOpType.SET)
            for each, value in properties(config).items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=changes)
        with self._admin() as admin:
            admin.incremental_alter_configs([resource])[resource].result(WAIT_TIMEOUT_SECONDS)

    def describe(self, topic: str) -> dict[int, Partition]:
        """The partitions by number; empty when there is no such topic."""
        from confluent_kafka import KafkaError, KafkaException

        # Not by way of an AdminClient, which waits for ever on a node that was killed.
        with self._consumer() as consumer:
            description = consumer.list_topics(topic, timeout=WAIT_TIMEOUT_SECONDS).topics[topic]
        if description.error is not None:
            if description.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return {}
            raise KafkaException(description.error)
        return {
            number: Partition(
                leader=partition.leader if partition.leader >= 0 else None,
                replicas=tuple(partition.replicas),
                in_sync=tuple(partition.isrs),
            )
            for number, partition in description.partitions.items()
        }

    def leader(self, topic: str, partition: int = 0) -> int | None:
        """The id of the node that leads, ``None`` while none does."""
        return self.describe(topic)[partition].leader

    def wait_for_leader(self, topic: str, partition: int = 0, *, other_than: int | None = None) -> int:
        """The id of the node that leads, once there is one, or one that is not the old one."""
        led = wait_until(
            lambda: [leader for leader in [self.leader(topic, partition)] if leader not in (None, other_than)],
            what=lambda: f"a leader of {topic}[{partition}] other than {other_than}: {self.describe(topic)}",
        )
        [leader] = led
        assert leader is not None, "filtered out above"
        return leader

    def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset that the next record of each partition gets."""
        with self._consumer() as consumer:
            return {partition: _offsets(consumer, topic, partition)[1] for partition in self._partitions(topic)}

    def read(self, topic: str, partition: int | None = None, *, committed_only: bool = True) -> list[Record]:
        """Every record there is now, of one partition or of all, by partition and offset.

        Records of transactions that are aborted or open are left out, unless ``committed_only`` is
        false. Checksums are verified.
        """
        partitions = self._partitions(topic) if partition is None else [partition]
        isolation = "read_committed" if committed_only else "read_uncommitted"
        with self._consumer({"isolation.level": isolation}) as consumer:
            return sorted(_records(consumer, topic, partitions), key=lambda record: (record.partition, record.offset))

    def kcat(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run ``kcat -b <servers> <arguments>`` and return what it printed.

        Raises ``ServerFailed`` with its complaint when it fails.
        """
        command: list[str | Path] = [install("kcat")["kcat"], "-b", self.direct_bootstrap_servers, *arguments]
        answer = subprocess.run(command, input=stdin, capture_output=True, timeout=WAIT_TIMEOUT_SECONDS, check=False)
        if answer.returncode != 0:
            words = " ".join(map(str, command))
            raise ServerFailed(f"{words} exited with {answer.returncode}: {answer.stderr.decode(errors='replace')}")
        return answer.stdout.decode()

    def kcat_read(self, topic: str, *arguments: str) -> list[dict[str, Any]]:
        """Every record there is now, as ``kcat -J`` puts it into JSON.

        The keys are ``topic``, ``partition``, ``offset``, ``tstype``, ``ts``, ``broker``, ``key``,
        ``payload`` and, where there are any, ``headers``: names and values alternating.
        """
        consume = ("-C", "-J", "-e", "-q", "-o", "beginning", "-X", "fetch.wait.max.ms=10")
        return [json.loads(line) for line in self.kcat(*consume, "-t", topic, *arguments).splitlines()]

    def _admin(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        # Its complaints about brokers that tests take down are of no interest to anybody.
        return AdminClient({"bootstrap.servers": self.direct_bootstrap_servers, "log_level": 2})

    def _consumer(self, settings: Mapping[str, str] | None = None) -> Consumer:
        from confluent_kafka import Consumer

        return Consumer(
            {
                "bootstrap.servers": self.direct_bootstrap_servers,
                "log_level": 2,
                "group.id": f"inspection-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "check.crcs": True,
                # How long a broker thinks before it says that a partition has ended.
                "fetch.wait.max.ms": 10,
                **(settings or {}),
            }
        )

    def _partitions(self, topic: str) -> list[int]:
        found = sorted(self.describe(topic))
        if not found:
            raise ServerFailed(f"there is no topic {topic}")
        return found

    def _all_led(self, topic: str, partitions: int) -> bool:
        found = self.describe(topic)
        return len(found) == partitions and all(partition.leader is not None for partition in found.values())


def properties(settings: Mapping[str, str | int | bool]) -> dict[str, str]:
    """Values the way Java writes them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}


def _records(consumer: Consumer, topic: str, partitions: Iterable[int]) -> list[Record]:
    """Read the partitions from the first record to where they end now."""
    from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, TopicPartition

    unfinished = set(partitions)
    # Looked up here, because a consumer that does so itself waits half a second for the leaders.
    begins = {partition: _offsets(consumer, topic, partition)[0] for partition in unfinished}
    consumer.assign([TopicPartition(topic, partition, begin) for partition, begin in begins.items()])
    records = []
    while unfinished:
        message = consumer.poll(WAIT_TIMEOUT_SECONDS)
        if message is None:
            raise TimeoutError(
                f"timed out after {WAIT_TIMEOUT_SECONDS:g} s reading {topic}, partitions {sorted(unfinished)}"
            )
        partition, offset, error = message.partition(), message.offset(), message.error()
        assert partition is not None, "every message and event of a consumer is about a partition"
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            unfinished.discard(partition)
            continue
        assert offset is not None, "every message has one"
        kind, timestamp_ms = message.timestamp()
        headers: Any = message.headers() or ()
        records.append(
            Record(
                partition=partition,
                offset=offset,
                timestamp_ms=None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
                key=message.key(),
                value=message.value(),
                headers=tuple(headers),
            )
        )
    return records


def _offsets(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The offsets of the first record and after the last."""
    from confluent_kafka import TopicPartition

    begin, end = consumer.get_watermark_offsets(
        TopicPartition(topic, partition), timeout=WAIT_TIMEOUT_SECONDS, cached=False
    )
    return begin, end
