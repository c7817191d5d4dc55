"""Where metrics go. `OutputHandler` is what a monitor writes to, `KafkaOutput` a hub, `StdoutOutput` a terminal."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar, runtime_checkable

from gds_kafka import KafkaProducerClient
from gds_monitor.errors import MonitorConfigError
from gds_native._lib import LogEncoder, MetricWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gds_monitor.heartbeat import Heartbeat
    from gds_monitor.metric import Metric
    from gds_monitor.packs.execute import TextEvent
    from gds_monitor.registry import SchemaRegistry

    _Written = tuple[int, int, int, dict[str, int]]

__all__ = ["EventHandler", "KafkaOutput", "OutputHandler", "StdoutOutput", "WriteResult", "beat", "tell"]

T = TypeVar("T")

logger = logging.getLogger("gds_monitor")


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a batch: published, dead lettered and dropped add up to its length.

    Attributes:
        published: Accepted by the output; with a spool, what is accepted for the hub survives that the hub is away.
        dead_lettered: Could not be written as metrics, and went to the dead letters with their reason.
        dropped: Lost, by reason.
        scrubbed: How many of the published had secrets taken out.
    """

    published: int = 0
    dead_lettered: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    scrubbed: int = 0


@runtime_checkable
class OutputHandler(Protocol):
    """Takes metrics. Neither method raises for what becomes of them: the result says it."""

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Write a batch; metrics of one instance keep their order."""
        ...

    async def close(self) -> None:
        """Write what is left and let go of everything. A second call does nothing."""
        ...


@runtime_checkable
class EventHandler(Protocol):
    """Takes what is no metric, too; as little raises as in `OutputHandler`. Outputs may have it or not."""

    async def beat(self, heartbeats: Sequence[Heartbeat]) -> WriteResult:
        """Write heartbeats of collectors."""
        ...

    async def tell(self, texts: Sequence[TextEvent]) -> WriteResult:
        """Write texts that are told once."""
        ...


async def beat(output: OutputHandler, heartbeats: Sequence[Heartbeat]) -> WriteResult:
    """Write heartbeats where there is a place for them."""
    return await output.beat(heartbeats) if isinstance(output, EventHandler) else WriteResult()


async def tell(output: OutputHandler, texts: Sequence[TextEvent]) -> WriteResult:
    """Write texts; an output that has no place for them has dropped them."""
    if isinstance(output, EventHandler):
        return await output.tell(texts)
    return WriteResult(dropped={"no_place": len(texts)})


class KafkaOutput:
    """Writes metrics to Kafka, or to a hub on this machine, as ``schemas/database-metric.json`` has them.

    Secrets are taken out of names, tags and metadata, messages are written and queued in Rust, beside the event loop.
    What is no metric goes to the topic ``gds.metrics.dlq`` with the reason; what the hub refuses to ``{topic}.dlq``.
    Metrics of one instance have one key, so they keep their order.

    Args:
        hub: ``"host:port"``, several with commas or as a list; ``"embedded:PATH"`` is a hub in a folder of this
            machine. Or a `gds_kafka.KafkaProducerClient`, which stays the program's: it is flushed and not closed.
        environment: The last part of the topics ``gds.metrics.{database_type}.{environment}``.
        topic_by: ``"environment"``, or ``"instance"`` for a topic for each instance.
        key_by: ``"instance"``, or ``"instance_and_type"`` for keys with the type of the metric behind the instance.
        format: ``"json"``, or ``"avro"`` in Confluent's frame.
        schema_id: The id of ``schemas/database-metric.avsc`` in the registry; needed for Avro.
        heartbeat_schema_id: That of ``schemas/heartbeat.avsc``; without it heartbeats are JSON.
        schema_registry: Who knows these ids instead: the address of a registry that speaks as Confluent's does, or a
            dict with ``url`` and settings of `gds_monitor.registry.SchemaRegistry`. Each topic has the subject
            ``{topic}-value``.
        redact: Regular expressions of further secrets.
        close_timeout_seconds: How long `close` waits for the hub.
        config: Settings of the producer, as `gds_kafka.KafkaProducerClient` has them. With ``spool_dir`` nothing is
            lost while the hub is away. Without, a batch waits for room ``max_block_ms`` at most, 1 second by default.

    Raises:
        MonitorConfigError: A setting makes no sense.
        KafkaConfigurationError: A setting of the producer is unknown or makes no sense.
        KafkaConnectionError: The hub was not reached, and ``lazy=False`` was given without a spool.
    """

    def __init__(
        self,
        hub: str | Sequence[str] | KafkaProducerClient,
        *,
        environment: str | None = None,
        topic_by: str = "environment",
        key_by: str = "instance",
        format: str = "json",
        schema_id: int | None = None,
        heartbeat_schema_id: int | None = None,
        schema_registry: str | Mapping[str, Any] | None = None,
        redact: Sequence[str] = (),
        close_timeout_seconds: float = 10.0,
        **config: Any,
    ) -> None:
        _one_of("topic_by", topic_by, ("environment", "instance"))
        _one_of("key_by", key_by, ("instance", "instance_and_type"))
        _one_of("format", format, ("json", "avro"))
        if (topic_by == "environment") != bool(environment):
            raise MonitorConfigError(
                f"environment={environment!r} with topic_by={topic_by!r}: expected an environment, such as "
                "'production', with topic_by='environment', and none with topic_by='instance'"
            )
        ids = [each for each in (schema_id, schema_registry) if each is not None]
        if len(ids) != (format == "avro"):
            raise MonitorConfigError(
                f"schema_id={schema_id!r} with format={format!r}: expected the schema's id in the registry or the "
                "schema_registry with format='avro', and neither with format='json'"
            )
        self._registry = _registry(schema_registry)
        self._places: set[tuple[str, str]] = set()
        self._told_unknown = False
        self._owned = not isinstance(hub, KafkaProducerClient)
        if isinstance(hub, KafkaProducerClient):
            if config:
                raise MonitorConfigError(f"{', '.join(sorted(config))}: expected where the producer was made")
            self._producer = hub
        else:
            # Unless they are asked for, a monitor starts without its hub, and no cycle waits longer than this.
            settings = {"lazy": True, "max_block_ms": 1000, "dead_letter": True} | config
            self._producer = KafkaProducerClient(hub, **settings)
        try:
            self._writer = MetricWriter(
                self._producer,
                environment=environment,
                key_with_type=key_by == "instance_and_type",
                schema_id=schema_id,
                heartbeat_schema_id=heartbeat_schema_id,
                redact=list(redact),
            )
        except ValueError as error:
            if self._owned:
                self._producer.close(0)
            raise MonitorConfigError(str(error)) from None
        self._patience = close_timeout_seconds
        # One thread, so that batches keep the order in which they were written.
        self._thread = ThreadPoolExecutor(1, "gds-monitor-output")
        self._closed = False

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Queue a batch for the hub; `flush` waits until the hub has it."""
        return await self._in_thread(self._write, metrics)

    def _write(self, metrics: Sequence[Metric]) -> WriteResult:
        if not self._ready(metrics):
            return WriteResult(dropped={"no_schema": len(metrics)})
        return _result(self._writer.write(metrics))

    async def _in_thread(self, write: Callable[[Sequence[T]], WriteResult], given: Sequence[T]) -> WriteResult:
        if self._closed:
            return WriteResult(dropped={"closed": len(given)} if given else {})
        return await asyncio.get_running_loop().run_in_executor(self._thread, write, given)

    async def prepare(self, places: Iterable[tuple[str, str]] = ()) -> None:
        """Ask the registry for the ids of schemas now; otherwise that is done when there is something to write.

        Args:
            places: Type of database and instance of those whose metrics will come.

        Raises:
            MonitorConfigError: It does not tell, and they are not known from before.
        """
        if self._registry is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, set(places))

    def _ask(self, places: set[tuple[str, str]]) -> None:
        """Have ids for the topics of these; the heartbeats' is one of all."""
        assert self._registry is not None  # noqa: S101 - who calls this has looked
        metric, heartbeat = self._writer.schemas()
        beats, known = self._registry.id_of("gds.heartbeats-value", heartbeat)
        for place in places:
            number, confirmed = self._registry.id_of(f"{self._writer.topic(*place)}-value", metric)
            self._writer.use_schemas(number, beats)
            if confirmed and known:
                self._places.add(place)

    def _ready(self, batch: Iterable[Metric | Heartbeat]) -> bool:
        """Whether it is known which schemas to name; asks about topics that are new."""
        if self._registry is None:
            return True
        found = {(each.database_type, each.instance_id) for each in batch if _is_placed(each)}
        try:
            self._ask(found - self._places)
        except MonitorConfigError as error:
            if not self._told_unknown:
                logger.error("%s", error)  # noqa: TRY400 - it says all
            self._told_unknown = True
            return False
        self._told_unknown = False
        return True

    async def beat(self, heartbeats: Sequence[Heartbeat]) -> WriteResult:
        """Queue heartbeats for the topic ``gds.heartbeats``, as ``schemas/heartbeat.json`` has them."""
        return await self._in_thread(self._beat, heartbeats)

    def _beat(self, heartbeats: Sequence[Heartbeat]) -> WriteResult:
        if not self._ready(heartbeats):
            return WriteResult(dropped={"no_schema": len(heartbeats)})
        return _result(self._writer.write_heartbeats([_fields(each) for each in heartbeats]))

    async def tell(self, texts: Sequence[TextEvent]) -> WriteResult:
        """Queue texts for the topic ``gds.texts``, as ``schemas/database-text.json`` has them; in Avro's case, too."""
        return await self._in_thread(self._tell, texts)

    def _tell(self, texts: Sequence[TextEvent]) -> WriteResult:
        return _result(self._writer.write_texts([_text_fields(each) for each in texts]))

    async def flush(self, timeout_seconds: float | None = None) -> int:
        """Wait until the hub has all that was written; how many messages it has not, after that many seconds."""
        flush = partial(self._producer.flush, timeout_seconds)
        return await asyncio.get_running_loop().run_in_executor(self._thread, flush)

    def stats(self) -> dict[str, Any]:
        """What the producer counted; see `gds_kafka.KafkaProducerClient`."""
        return self._producer.stats()

    async def close(self) -> None:
        """Have delivered what is queued, within ``close_timeout_seconds``; what is left stays in the spool."""
        if self._closed:
            return
        self._closed = True
        end = self._producer.close if self._owned else self._producer.flush
        await asyncio.get_running_loop().run_in_executor(self._thread, end, self._patience)
        self._thread.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._producer!r})"


def _registry(given: str | Mapping[str, Any] | None) -> SchemaRegistry | None:
    if given is None:
        return None
    from gds_monitor.registry import SchemaRegistry

    settings = {"url": given} if isinstance(given, str) else dict(given)
    try:
        return SchemaRegistry(**settings)
    except TypeError as error:
        raise MonitorConfigError(f"schema_registry: {error}") from None


def _is_placed(given: object) -> bool:
    """Whether it says whose it is; what does not is a dead letter."""
    return isinstance(getattr(given, "database_type", None), str) and isinstance(
        getattr(given, "instance_id", None), str
    )


def _result(written: _Written) -> WriteResult:
    published, scrubbed, dead_lettered, dropped = written
    return WriteResult(published, dead_lettered, dropped, scrubbed)


def _milliseconds(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def _fields(heartbeat: Heartbeat) -> dict[str, Any]:
    """A heartbeat as the native writer takes it."""
    return {
        "time_ms": _milliseconds(heartbeat.timestamp),
        "collector": heartbeat.collector,
        "instance_id": heartbeat.instance_id,
        "database_type": heartbeat.database_type,
        "status": heartbeat.status,
        "reason": heartbeat.reason,
        "interval_ms": round(heartbeat.interval_seconds * 1000),
        "metrics": heartbeat.metrics,
        "duration_ms": round(heartbeat.duration_seconds * 1000),
        "correlation_id": heartbeat.correlation_id,
    }


def _text_fields(text: TextEvent) -> dict[str, Any]:
    """A text as the native writer takes it."""
    return {
        "name": text.name,
        "time_ms": _milliseconds(text.timestamp),
        "instance_id": text.instance_id,
        "database_type": text.database_type,
        "attributes": list(text.attributes.items()),
        "text": text.body,
    }


class StdoutOutput:
    """Prints a line for each metric, without secrets.

    Args:
        stream: Where to; standard output as it is at the time by default.
        format: ``"text"`` for people, or ``"json"``: the object that the hub gets, for scripts.
        redact: Regular expressions of further secrets.

    Raises:
        MonitorConfigError: There is no such format.
    """

    def __init__(self, stream: TextIO | None = None, *, format: str = "text", redact: Sequence[str] = ()) -> None:
        _one_of("format", format, ("text", "json"))
        self._stream = stream
        self._line = _line if format == "text" else _object
        self._scrub = LogEncoder(redact=list(redact)).redact

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Print a batch."""
        tags = [{name: self._clean(name, str(value)) for name, value in metric.tags.items()} for metric in metrics]
        lines = [self._line(metric, clean) for metric, clean in zip(metrics, tags, strict=True)]
        try:
            # Whoever reads may be slow; the cycles of others go on meanwhile.
            await asyncio.to_thread(self._print, lines)
        except (OSError, ValueError):
            # Whoever read it has gone, or the stream is closed.
            return WriteResult(dropped={"closed": len(lines)})
        scrubbed = sum(clean != dict(metric.tags) for metric, clean in zip(metrics, tags, strict=True))
        return WriteResult(published=len(lines), scrubbed=scrubbed)

    def _print(self, lines: Sequence[str]) -> None:
        stream = self._stream or sys.stdout
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()

    def _clean(self, name: str, value: str) -> str:
        # Its name tells whether a value is a secret.
        return self._scrub(f'{name}="{value}"').removeprefix(f'{name}="').removesuffix('"')

    async def close(self) -> None:
        """Nothing is held."""


def _line(metric: Metric, tags: Mapping[str, str]) -> str:
    """``2026-03-01T12:00:00+00:00 pg-1 postgresql.backends{db.namespace="app"} 7 {backend}``."""
    shown = ",".join(f'{name}="{value}"' for name, value in sorted(tags.items()))
    when = f"{metric.timestamp.isoformat()} " if metric.timestamp else ""
    named = f"{metric.metric_name}{{{shown}}}" if shown else metric.metric_name
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{when}{metric.instance_id} {named} {metric.value}{unit}"


def _object(metric: Metric, tags: Mapping[str, str]) -> str:
    """The metric as ``schemas/database-metric.json`` has it."""
    value = metric.value if isinstance(metric.value, int) else float(metric.value)
    finite = math.isfinite(value)
    fields = {
        "timestamp": _utc(metric.timestamp or datetime.now(timezone.utc)),
        "database_type": metric.database_type,
        "instance_id": metric.instance_id,
        "metric_name": metric.metric_name,
        "value": value if finite else None,
        **({} if finite else {"non_finite": "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"}),
        "tags": tags,
        "unit": metric.unit,
        "metric_type": metric.metric_type,
        "start_timestamp": None if metric.start_timestamp is None else _utc(metric.start_timestamp),
        "metadata": {
            "collection_duration_ms": round(metric.collection_duration_ms),
            "version": metric.version,
            "correlation_id": metric.correlation_id,
        },
    }
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def _utc(when: datetime) -> str:
    return when.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _one_of(setting: str, given: str, expected: tuple[str, ...]) -> None:
    if given not in expected:
        raise MonitorConfigError(f"{setting}={given!r}: expected {' or '.join(map(repr, expected))}")
