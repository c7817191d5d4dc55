"""The clients for asyncio, on its own event loop and on uvloop.

    async with AsyncKafkaProducerClient("localhost:9092") as producer:
        delivered = await producer.send("orders", {"id": 7})
        print(delivered.partition, delivered.offset)

No call holds up the event loop. Cancelling a task loses no message: one that was sent is delivered whether or not
anyone waits for it, and one that was being fetched is kept for the next who asks.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gds_kafka.consumer import KafkaConsumerClient, listener, milliseconds, places
from gds_kafka.errors import GdsKafkaError, KafkaConnectionError
from gds_kafka.producer import KafkaProducerClient
from gds_metrics._collector import Pinned
from gds_metrics._exit import is_closed
from gds_metrics._settings import seconds, whole
from gds_native._lib import AsyncConsumerCore, AsyncProducerCore, DeliveredMessage, prepare_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from gds_kafka.consumer import Message

    T = TypeVar("T")
    Headers = Mapping[str, Any] | Iterable[tuple[str, Any]] | None

prepare_asyncio()

__all__ = ["AsyncKafkaConsumerClient", "AsyncKafkaProducerClient", "DeliveredMessage"]

ROOM_SECONDS = 0.5
PAUSE_SECONDS = 0.001

POLL_MESSAGES = 500
POLL_SECONDS = 0.5
"""How long a fetch in the background waits; also how long the end of a program may wait for one."""


class _Client(Pinned):
    """A context manager that starts and closes itself."""

    __slots__ = ()

    async def start(self) -> None:
        """Connect; may be called again."""
        raise NotImplementedError

    async def close(self) -> object:
        """Let go of what is held; may be called again."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncKafkaProducerClient(_Client):
    """`KafkaProducerClient` for asyncio: ``await send(...)`` gives the place where the message landed.

    It connects when it is entered, or by `start`, or at the first `send`: that is where a bad setting or an unreachable
    server raises.

    Args:
        bootstrap_servers: As for `KafkaProducerClient`.
        config: As for `KafkaProducerClient`. With ``on_full="block"`` (the default) a `send` into a full buffer waits
            for ``max_block_ms`` at most, while the event loop goes on.
    """

    __slots__ = ("__weakref__", "_config", "_opening", "_producer", "_room", "_servers")

    def __init__(self, bootstrap_servers: str | Sequence[str], **config: Any) -> None:
        self._servers = bootstrap_servers
        self._config = config
        self._producer: KafkaProducerClient | None = None
        self._opening: asyncio.Future[KafkaProducerClient] | None = None
        self._room: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Connect; may be called again.

        Raises:
            KafkaConfigurationError: A setting is unknown or makes no sense.
            KafkaConnectionError: The servers were not reached.
        """
        await self._opened()

    async def send(
        self,
        topic: str,
        value: object,
        key: str | bytes | bytearray | memoryview | None = None,
        *,
        headers: Headers = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> DeliveredMessage:
        """Send a message and wait until it is delivered.

        Cancelling the wait does not take the message back.

        Args:
            topic: Where to.
            value: A dict or what else JSON has; bytes go as they are.
            key: Messages of one key keep their order.
            headers: Names and values.
            partition: Which one; by default the key decides.
            timestamp: Milliseconds since the epoch, or a datetime; now by default.

        Raises:
            KafkaTimeoutError: There was no room for ``max_block_ms``, or no answer for ``delivery_timeout_ms``.
            KafkaMessageError: It was refused for good.
        """
        producer = self._producer or await self._opened()
        loop = asyncio.get_running_loop()
        outcome = producer.send_future(
            loop, topic, value, key, headers=headers, partition=partition, timestamp=timestamp
        )
        if outcome is None:
            attempt = partial(
                producer.send_future,
                *(loop, topic, value, key),
                headers=headers,
                partition=partition,
                timestamp=timestamp,
            )
            outcome = await self._when_there_is_room(producer, attempt)
        return await outcome

    async def _when_there_is_room(
        self, producer: KafkaProducerClient, attempt: Callable[[], asyncio.Future[DeliveredMessage] | None]
    ) -> asyncio.Future[DeliveredMessage]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + producer._max_block_seconds
        while loop.time() < deadline:
            # One thread waits for all tasks.
            room = self._room
            if room is None or room.done():
                room = self._room = AsyncProducerCore(producer).wait_for_room(ROOM_SECONDS)
            await asyncio.wait([room], timeout=deadline - loop.time())
            if (outcome := attempt()) is not None:
                return outcome
            # There may be room, and too little for this message.
            await asyncio.sleep(PAUSE_SECONDS)
        raise producer._no_room()

    async def flush(self, timeout: float | None = None) -> int:
        """Wait until everything is delivered; the number of messages that are not, after ``timeout`` seconds."""
        return 0 if self._producer is None else await AsyncProducerCore(self._producer).flush(timeout)

    async def close(self, timeout: float | None = None) -> int:
        """Deliver what is queued and stop; see `KafkaProducerClient.close`."""
        opening, producer = self._opening, self._producer
        if producer is None and opening is not None:
            producer = await asyncio.shield(opening)
        if producer is None:
            return 0
        try:
            return await AsyncProducerCore(producer).close(timeout)
        finally:
            is_closed(producer)

    def stats(self) -> dict[str, Any]:
        """As `KafkaProducerClient.stats`; empty before it is connected."""
        return {} if self._producer is None else self._producer.stats()

    async def _opened(self) -> KafkaProducerClient:
        if self._producer is not None:
            return self._producer
        # Many tasks may come here first; one cancelled among them does not stop the others.
        opening = self._opening
        if opening is None:
            make = partial(KafkaProducerClient, self._servers, **self._config)
            opening = self._opening = asyncio.get_running_loop().run_in_executor(None, make)
        try:
            self._producer = await asyncio.shield(opening)
        except GdsKafkaError:
            self._opening = None  # the next call tries again
            raise
        return self._producer

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bootstrap_servers={self._servers!r})"


class AsyncKafkaConsumerClient(_Client):
    """`KafkaConsumerClient` for asyncio.

        async with AsyncKafkaConsumerClient("orders", "localhost:9092", "billing") as consumer:
            async for message in consumer:
                await bill(message["value"])

    It connects when it is entered, or by `start`, or when the first message is asked for. One task reads at a time. As
    with the other client, a message is committed after the loop body has finished with it.

    Args:
        topic: As for `KafkaConsumerClient`.
        bootstrap_servers: As for `KafkaConsumerClient`.
        group_id: As for `KafkaConsumerClient`.
        config: As for `KafkaConsumerClient`. ``on_assign`` and ``on_revoke`` are called by a thread of the client, that
            waits for them: they are functions, and hand over to the event loop with ``loop.call_soon_threadsafe``.

    Raises:
        KafkaConfigurationError: ``on_assign`` or ``on_revoke`` is no function, or a coroutine function.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_closed",
        "_fetch",
        "_given",
        "_given_to",
        "_handled",
        "_loop",
        "_make",
        "_opening",
        "_process",
        "_thread",
    )

    def __init__(
        self,
        topic: str | Sequence[str],
        bootstrap_servers: str | Sequence[str],
        group_id: str | None = None,
        **config: Any,
    ) -> None:
        listener(config.get("on_assign"), config.get("on_revoke"))
        self._make = partial(KafkaConsumerClient, topic, bootstrap_servers, group_id, **config)
        # Where Python code runs that may wait: deserializers, and functions that are told of partitions.
        self._thread = ThreadPoolExecutor(1, "gds-kafka-consumer")
        self._opening: asyncio.Future[KafkaConsumerClient] | None = None
        self._fetch: asyncio.Future[list[Message] | None] | None = None
        self._buffer: deque[Message] = deque()
        self._given: list[Message] = []
        """What a loop was given and has not finished with."""
        self._given_to: object = None
        self._loop = 0
        self._handled: dict[tuple[str, int], int] = {}
        self._closed = False
        self._process: int | None = None
        """Where it was opened."""

    async def start(self) -> None:
        """Connect and join the group; may be called again."""
        await self._opened()

    def __aiter__(self) -> AsyncIterator[Message]:
        return _Loop(self)

    async def __anext__(self) -> Message:
        return await self._next(None)

    async def _next(self, loop: _Loop | None) -> Message:
        await self._finished(loop)
        while not self._buffer:
            if not await self._fetched(POLL_MESSAGES, POLL_SECONDS):
                raise StopAsyncIteration
        # Nothing is awaited from here on, so that a message is either handed over or still in the buffer.
        message = self._buffer.popleft()
        self._given, self._given_to = [message], loop
        return message

    def messages(self) -> AsyncIterator[Message]:
        """Messages as they come; the same as iterating over the client."""
        return aiter(self)

    def batches(self, max_messages: int = 500, timeout_seconds: float = 1.0) -> AsyncIterator[list[Message]]:
        """Messages in lists; see `KafkaConsumerClient.batches`."""
        most = whole("max_messages", max_messages, 1, 1_000_000, "messages of one list")
        return self._batches(most, seconds("timeout_seconds", timeout_seconds))

    async def _batches(self, most: int, timeout: float) -> AsyncIterator[list[Message]]:
        loop = _Loop(self)
        while True:
            await self._finished(loop)
            if not self._buffer and not await self._fetched(most, timeout):
                return
            batch = [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]
            self._given, self._given_to = batch, loop
            yield list(batch)

    async def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None:
        """Keep places for the group now, and wait until they are kept.

        Args:
            offsets: The next offset to read, by topic and partition. By default all that was handled so far, the
                message or batch at hand included.
        """
        calls = await self._calls()
        kept = self._handled | places(self._given) if offsets is None else dict(offsets)
        await calls.commit(kept)
        # What is committed does not come again.
        self._given = [each for each in self._given if each["offset"] >= kept.get(_place(each), 0)]
        if offsets is None:
            self._handled = kept

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        """Go on at another place of a partition. What was fetched from the old place is dropped."""
        calls = await self._calls()
        await self._fetched_before()
        await calls.seek(topic, partition, offset)
        self._buffer = deque(each for each in self._buffer if _place(each) != (topic, partition))
        # The group goes on there, whatever was finished with before.
        self._given = [each for each in self._given if _place(each) != (topic, partition)]
        self._handled.pop((topic, partition), None)

    async def assign(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Read these partitions and no others; see `KafkaConsumerClient.assign`."""
        calls = await self._calls()
        await self._fetched_before()
        await calls.assign(list(partitions))
        own = set(partitions)
        self._buffer = deque(each for each in self._buffer if _place(each) in own)
        # Nobody has finished with what is at hand, and of a partition that is left out it comes again.
        self._given = [each for each in self._given if _place(each) in own]

    async def offsets_for_times(
        self, times: Mapping[tuple[str, int], int | datetime]
    ) -> dict[tuple[str, int], int | None]:
        """Where a time begins; see `KafkaConsumerClient.offsets_for_times`."""
        return await (await self._calls()).offsets_for_times(milliseconds(times))

    async def beginning_offsets(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset of the oldest message of each partition; see `KafkaConsumerClient.beginning_offsets`."""
        return await (await self._calls()).offsets(list(partitions), latest=False)

    async def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The offset that the next message of each partition will have; see `KafkaConsumerClient.end_offsets`."""
        return await (await self._calls()).offsets(list(partitions), latest=True)

    async def pause(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Fetch no more from partitions, until `resume`."""
        await (await self._calls()).pause(list(partitions))

    async def resume(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Fetch from partitions again."""
        await (await self._calls()).resume(list(partitions))

    async def assignment(self) -> list[tuple[str, int]]:
        """The partitions of this member."""
        return await (await self._calls()).assignment()

    async def lag(self) -> list[dict[str, Any]]:
        """How far this member is behind; see `KafkaConsumerClient.lag`."""
        return await (await self._calls()).lag()

    async def close(self, timeout: float | None = None) -> None:
        """Commit what was finished with, and leave the group; may be called again."""
        if self._closed:
            return
        self._closed = True
        try:
            # In a forked child it is the parent's, who closes it.
            if self._opening is not None and self._process == os.getpid():
                # Whoever waits may be cancelled: the group is left all the same.
                await asyncio.shield(self._leave(await asyncio.shield(self._opening), timeout))
        finally:
            self._thread.shutdown(wait=False)

    async def _leave(self, consumer: KafkaConsumerClient, timeout: float | None) -> None:
        await self._aside(consumer._tell_revoking)
        left = AsyncConsumerCore(consumer).close(timeout)
        is_closed(consumer)
        await left

    async def _finished(self, loop: _Loop | None) -> None:
        """A loop asks for more: it has finished with what it was given. What another one left comes again."""
        given, self._given = self._given, []
        begins = True
        if loop is not None:
            begins, loop.begins = loop.begins, False
        if begins and self._given_to is not None and self._given_to is not loop:
            self._buffer.extendleft(reversed(given))
        elif given:
            finished = places(given)
            self._handled |= finished
            consumer = await self._opened()
            consumer._handled(self._loop, finished)
            if not self._buffer and self._fetch is None:
                consumer._handled(self._loop)  # all that was fetched, and what was left out behind the last message

    async def _fetched(self, most: int, timeout_seconds: float) -> bool:
        """Wait for messages, or for the time to pass; False when there will be none any more."""
        consumer = await self._opened()
        if self._closed:
            return False
        if self._fetch is None:
            self._fetch = asyncio.ensure_future(self._aside(partial(consumer._poll, self._loop, most, timeout_seconds)))
        return await self._fetched_before()

    async def _fetched_before(self) -> bool:
        """Take what is being fetched; a task that is cancelled here leaves it to the next."""
        fetch = self._fetch
        if fetch is None:
            return True
        await asyncio.shield(asyncio.wait([fetch]))
        if self._fetch is fetch:
            self._fetch = None
            found = fetch.result()
            self._buffer.extend(found or ())
            return found is not None
        return True

    async def _opened(self) -> KafkaConsumerClient:
        # Many tasks may come here first; one cancelled among them does not stop the others.
        opening = self._opening
        if opening is not None and self._process != os.getpid():
            raise KafkaConnectionError(
                f"this consumer was opened in process {self._process} and cannot be used in process {os.getpid()}, "
                "which is a fork of it: make a new AsyncKafkaConsumerClient in this process"
            )
        if opening is None:
            self._process = os.getpid()
            opening = self._opening = asyncio.ensure_future(self._aside(self._make))
        try:
            return await asyncio.shield(opening)
        except GdsKafkaError:
            self._opening = None  # the next call tries again
            raise

    async def _calls(self) -> AsyncConsumerCore:
        return AsyncConsumerCore(await self._opened())

    def _aside(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    def __repr__(self) -> str:
        topics, servers, group_id = self._make.args
        return f"{type(self).__name__}(topics={topics!r}, bootstrap_servers={servers!r}, group_id={group_id!r})"


class _Loop:
    """One loop over the messages: what it leaves comes again in the next one."""

    __slots__ = ("_consumer", "begins")

    def __init__(self, consumer: AsyncKafkaConsumerClient) -> None:
        self._consumer = consumer
        self.begins = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        return await self._consumer._next(self)


def _place(message: Message) -> tuple[str, int]:
    return message["topic"], message["partition"]
