"""`KafkaConsumerClient`: gives messages to a loop, and commits what the loop has finished with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from gds_kafka._client import Client, log, opening, shown_servers
from gds_kafka._report import reporter
from gds_kafka.errors import KafkaConfigurationError
from gds_metrics._exit import close_at_exit, is_closed
from gds_metrics._settings import seconds, whole
from gds_native._lib import ConsumerCore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gds_metrics import MetricsCollector

__all__ = ["KafkaConsumerClient", "Message", "places"]

Message: TypeAlias = dict[str, Any]
"""``topic``, ``partition``, ``offset``, ``timestamp`` (ms since the epoch), ``key``, ``value``, ``headers``."""


class KafkaConsumerClient(Client, ConsumerCore):
    """Reads messages, alone or as a member of a group.

        for message in KafkaConsumerClient("orders", "localhost:9092", "billing").messages():
            bill(message["value"])

    The loop is finished with a message when it asks for the next one; only then is its offset committed, soon after and
    at `close`. A message whose loop body raised, or was left with ``break``, comes again, unless `commit` was called.

    Args:
        topics: A name or several; one that begins with ``^`` is a regular expression.
        bootstrap_servers: ``"host:port"``, several with commas or as a list; ``"embedded:PATH"`` is a hub in a folder
            of this machine.
        group_id: Members of a group share the partitions and go on where the group has committed. Without one every
            partition is read and nothing is committed.
        on_error: What becomes of values that cannot be parsed: ``"raise"`` raises `KafkaSerializationError`, which has
            ``topic``, ``partition`` and ``offset``; ``"skip"`` counts them; ``"dead_letter"`` sends them to
            ``{topic}.dlq``.
        metrics: A collector that is told the figures of `stats` and the lag, once an interval.
        value_deserializer: A function of the bytes of a value, instead of JSON read in Rust.
        key_deserializer: A function of the bytes of a key, which is text by default.
        config: All other settings, by kafka-python's names; ``docs/kafka.md`` has them in a table. librdkafka's own go
            into ``librdkafka={"dotted.name": value}``.

    Raises:
        KafkaConfigurationError: A setting is unknown or makes no sense.
        KafkaConnectionError: The servers were not reached in ``connect_timeout_seconds``, without ``lazy=True``.
    """

    __slots__ = ("_group_id", "_servers", "_topics")

    def __init__(
        self,
        topics: str | Sequence[str],
        bootstrap_servers: str | Sequence[str],
        group_id: str | None = None,
        *,
        on_error: str = "raise",
        metrics: MetricsCollector | None = None,
        value_deserializer: Callable[[bytes], Any] | None = None,
        key_deserializer: Callable[[bytes], Any] | None = None,
        **config: object,
    ) -> None:
        opened = opening(bootstrap_servers, config)
        names = _topics(topics)
        self._open(
            names,
            opened.servers,
            group_id,
            opened.config,
            opened.librdkafka,
            log=log,
            token=opened.token,
            value_deserializer=value_deserializer,
            key_deserializer=key_deserializer,
            on_error=on_error,
            report=reporter(metrics, "consumer", config.get("client_id")),
        )
        self._topics = names
        self._group_id = group_id
        self._servers = opened.servers
        close_at_exit(self)

    # Iteration, `commit`, `seek`, `pause`, `resume`, `assignment`, `lag` and `stats` are those of the native class.

    def messages(self) -> Iterator[Message]:
        """Messages as they come, without an end unless ``consumer_timeout_ms`` is set. Ctrl-C ends the wait at once."""
        return iter(self)

    def batches(self, max_messages: int = 500, timeout_seconds: float = 1.0) -> Iterator[list[Message]]:
        """Messages in lists, for what is cheaper in bulk.

        A list holds what came within the time; it is empty when nothing came, so that a loop can do other work. The
        loop is finished with a list when it asks for the next one.

        Args:
            max_messages: Most messages of a list.
            timeout_seconds: How long to wait for the first of them.
        """
        most = whole("max_messages", max_messages, 1, 1_000_000, "messages of one list")
        return self._batches(most, seconds("timeout_seconds", timeout_seconds))

    def _batches(self, max_messages: int, timeout_seconds: float) -> Iterator[list[Message]]:
        while (batch := self._poll(max_messages, timeout_seconds)) is not None:
            yield batch
            self._handled()

    def close(self, timeout: float | None = None) -> None:
        """Commit what the loop has finished with, and leave the group; may be called again.

        Args:
            timeout: Seconds to wait at most; ``close_timeout_seconds`` by default.
        """
        try:
            ConsumerCore.close(self, timeout)
        finally:
            is_closed(self)

    def _close_at_exit(self, timeout_seconds: float) -> None:
        """At the end of the program: within ``close_timeout_seconds``, whatever others need."""
        del timeout_seconds
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_servers"):  # shown in the traceback of a constructor that failed
            return f"<{type(self).__name__} without settings>"
        return (
            f"{type(self).__name__}(topics={self._topics!r}, bootstrap_servers={shown_servers(self._servers)!r}, "
            f"group_id={self._group_id!r})"
        )

    def __str__(self) -> str:
        return f"Kafka Consumer ({', '.join(self._topics)} from {shown_servers(self._servers)})"


def places(batch: Sequence[Message]) -> dict[tuple[str, int], int]:
    """Where to go on after a batch: the next offset, by topic and partition."""
    return {(message["topic"], message["partition"]): message["offset"] + 1 for message in batch}


def _topics(given: str | Sequence[str]) -> list[str]:
    names: list[Any] = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise KafkaConfigurationError(f"topics={given!r}: expected the name of a topic, or several, such as ['orders']")
    return names
