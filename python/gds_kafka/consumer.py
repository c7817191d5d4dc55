"""`KafkaConsumerClient`: gives messages to a loop, and commits what the loop has finished with."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias

from gds_kafka._client import Client, log, opening, shown_servers
from gds_kafka._report import reporter
from gds_kafka.errors import GdsKafkaError, KafkaConfigurationError
from gds_metrics._exit import close_at_exit, is_closed
from gds_metrics._settings import seconds, whole
from gds_native._lib import ConsumerCore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gds_metrics import MetricsCollector

    Listener: TypeAlias = Callable[[list[tuple[str, int]]], object]

__all__ = ["KafkaConsumerClient", "Message", "listener", "places"]

Message: TypeAlias = dict[str, Any]
"""``topic``, ``partition``, ``offset``, ``timestamp`` (ms since the epoch), ``key``, ``value``, ``headers``."""


class KafkaConsumerClient(Client, ConsumerCore):
    """Reads messages, alone or as a member of a group.

        for message in KafkaConsumerClient("orders", "localhost:9092", "billing").messages():
            bill(message["value"])

    The loop is finished with a message when it asks for the next one; only then is its offset committed, soon after and
    at `close`. A message whose loop body raised, or was left with ``break``, comes again, in another loop over the same
    client too, unless `commit` was called.

    Args:
        topic: A name or several; one that begins with ``^`` is a regular expression. None, ``[]``, to `assign`
            partitions by hand.
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
        start_at: Where to begin without a commit, instead of ``auto_offset_reset``: with the first message of this time
            or later, milliseconds since the epoch or a datetime.
        on_assign: Called with the ``(topic, partition)`` pairs that the group gives to this member, before any message
            of them is fetched; may `seek`, `pause`, and take its time, up to ``max_poll_interval_ms``.
        on_revoke: Called with those that it is to give up, after what the loop has finished with was committed; may
            `commit`. Both are called by the thread that reads, between messages; what they raise goes into the log
            ``gds_kafka``. They are functions, also with `AsyncKafkaConsumerClient`: coroutine functions are refused.
        config: All other settings, by kafka-python's names; ``docs/kafka.md`` has them in a table. librdkafka's own go
            into ``librdkafka={"dotted.name": value}``.

    Raises:
        KafkaConfigurationError: A setting is unknown or makes no sense.
        KafkaConnectionError: The servers were not reached in ``connect_timeout_seconds``, without ``lazy=True``.
    """

    __slots__ = ("_group_id", "_listener", "_servers", "_topics")

    def __init__(
        self,
        topic: str | Sequence[str],
        bootstrap_servers: str | Sequence[str],
        group_id: str | None = None,
        *,
        on_error: str = "raise",
        metrics: MetricsCollector | None = None,
        value_deserializer: Callable[[bytes], Any] | None = None,
        key_deserializer: Callable[[bytes], Any] | None = None,
        start_at: int | datetime | None = None,
        on_assign: Listener | None = None,
        on_revoke: Listener | None = None,
        **config: object,
    ) -> None:
        opened = opening(bootstrap_servers, config if start_at is None else config | {"start_at": _time(start_at)})
        names = _topics(topic)
        given: object = group_id
        if given is not None and not (isinstance(given, str) and given):
            raise KafkaConfigurationError(f"group_id={given!r}: expected a group's name, or None to read without one")
        self._listener = listener(on_assign, on_revoke)
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
            listener=self._listener,
        )
        self._topics = names
        self._group_id = group_id
        self._servers = opened.servers
        close_at_exit(self)

    # Iteration, `commit`, `seek`, `assign`, `pause`, `resume`, `assignment`, `lag` and `stats` are those of the native
    # class.

    def messages(self) -> Iterator[Message]:
        """Messages as they come, without an end unless ``consumer_timeout_ms`` is set. Ctrl-C ends the wait at once."""
        return iter(self)

    def batches(self, max_messages: int = 500, timeout_seconds: float = 1.0) -> Iterator[list[Message]]:
        """Messages in lists, for what is cheaper in bulk.

        A list holds what came within the time; it is empty when nothing came, so that a loop can do other work. The
        loop is finished with a list when it asks for the next one.

        Args:
            max_messages: Most messages of a list.
            timeout_seconds: How long to wait for the first of them; 0.001 is hardly at all.
        """
        most = whole("max_messages", max_messages, 1, 1_000_000, "messages of one list")
        return self._batches(most, seconds("timeout_seconds", timeout_seconds))

    def _batches(self, max_messages: int, timeout_seconds: float) -> Iterator[list[Message]]:
        loop = self._begin()
        while (batch := self._poll(loop, max_messages, timeout_seconds)) is not None:
            yield batch
            self._handled(loop)

    def offsets_for_times(self, times: Mapping[tuple[str, int], int | datetime]) -> dict[tuple[str, int], int | None]:
        """Where a time begins, to `seek` there.

        Args:
            times: Milliseconds since the epoch, or a datetime, by topic and partition.

        Returns:
            By topic and partition, the offset of the first message of that time or later; None where there is none.
        """
        return self._offsets_for_times(milliseconds(times))

    def beginning_offsets(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset of the oldest message of each partition, by topic and partition."""
        return self._offsets(list(partitions), latest=False)

    def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset that the next message of each partition will have, by topic and partition."""
        return self._offsets(list(partitions), latest=True)

    def close(self, timeout: float | None = None) -> None:
        """Commit what the loop has finished with, and leave the group; may be called again.

        Args:
            timeout: Seconds to wait at most; ``close_timeout_seconds`` by default.
        """
        try:
            self._tell_revoking()
            ConsumerCore.close(self, timeout)
        finally:
            is_closed(self)

    def _tell_revoking(self) -> None:
        """Before it closes: all its partitions go."""
        if self._listener is not None and not self.closed:
            with suppress(GdsKafkaError):
                self._listener("revoking", self.assignment())

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
    names: list[Any] = (
        [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else [None]
    )
    if not all(isinstance(name, str) and name for name in names):
        raise KafkaConfigurationError(f"topic={given!r}: expected the name of a topic, or several, such as ['orders']")
    return names


def milliseconds(times: Mapping[tuple[str, int], int | datetime]) -> dict[tuple[str, int], int]:
    """Times as the hub takes them: milliseconds since the epoch."""
    return {place: _time(time) for place, time in times.items()}


def _time(given: int | datetime) -> int:
    return int(given.timestamp() * 1000) if isinstance(given, datetime) else given


def listener(on_assign: Listener | None, on_revoke: Listener | None) -> _Listener | None:
    """What tells these functions, if there are any; a `KafkaConfigurationError` where one cannot be called so."""
    return None if on_assign is on_revoke is None else _Listener(on_assign, on_revoke)


class _Listener:
    """Tells a program of partitions that come and go; what it raises does not end the reading."""

    __slots__ = ("_going", "_on_assign", "_on_revoke")

    def __init__(self, on_assign: Listener | None, on_revoke: Listener | None) -> None:
        from inspect import iscoroutinefunction

        for name, function in (("on_assign", on_assign), ("on_revoke", on_revoke)):
            if function is not None and not callable(function):
                raise KafkaConfigurationError(f"{name} is of type {type(function).__name__}: expected a function")
            if iscoroutinefunction(function) or iscoroutinefunction(getattr(type(function), "__call__", None)):  # noqa: B004
                raise KafkaConfigurationError(
                    f"{name} is a coroutine function, which the thread that reads cannot await: expected a function; "
                    "what is to run on an event loop it can hand over with loop.call_soon_threadsafe"
                )
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._going: set[tuple[str, int]] = set()

    def __call__(self, what: str, partitions: list[tuple[str, int]]) -> None:
        if what == "assigned":
            self._tell("on_assign", self._on_assign, partitions)
            return
        # Those that were lost go without notice.
        told = [place for place in partitions if place not in self._going]
        self._going = self._going | set(told) if what == "revoking" else self._going - set(partitions)
        if told:
            self._tell("on_revoke", self._on_revoke, told)

    def _tell(self, name: str, function: Listener | None, partitions: list[tuple[str, int]]) -> None:
        if function is None:
            return
        try:
            answer: Any = function(partitions)
            if isinstance(answer, CoroutineType):
                answer.close()
                log(4, name, "returned a coroutine, which nobody awaits: expected a function that does it all itself")
        except Exception as error:  # noqa: BLE001 - whatever it is, reading goes on
            log(4, name, f"raised {type(error).__name__}: {error}")
