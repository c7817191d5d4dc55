"""The compiled module: what the packages of this wheel are built on. Private; use those packages."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from logging import LogRecord
from os import PathLike
from types import TracebackType
from typing import Any, TypeAlias, final

from typing_extensions import Self, disjoint_base

__all__ = [
    "AlertEngine",
    "AlertService",
    "AsyncConsumerCore",
    "AsyncProducerCore",
    "ConsumerCore",
    "DeliveredMessage",
    "GdsKafkaError",
    "GdsStoreError",
    "HubAdmin",
    "KafkaConfigurationError",
    "KafkaConnectionError",
    "KafkaMessageError",
    "KafkaSerializationError",
    "KafkaTimeoutError",
    "LogEncoder",
    "MetricWriter",
    "MockCluster",
    "NoOpMetrics",
    "OtlpCore",
    "OutgoingMessage",
    "ProducerCore",
    "PrometheusCore",
    "QueryResult",
    "StatsdCore",
    "StoreConfigurationError",
    "StoreCore",
    "StoreDamagedError",
    "StoreQueryError",
    "StoreSyntaxError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "check_alert_rules",
    "empty_call",
    "hub_metrics",
    "interpreter_ends",
    "json_dumps",
    "json_loads",
    "parse_metric",
    "prepare_asyncio",
    "replay_alerts",
    "restore_store",
    "run_alert_case",
]

_Path: TypeAlias = str | PathLike[str]
_Labels: TypeAlias = dict[str, str] | None
_Measured: TypeAlias = tuple[str, str, str, dict[str, str], float, str | None, int | None]

def empty_call(name: object, value: object = None, labels: object = None) -> None:
    """Takes the arguments of an observing method and does nothing: what benchmarks compare a collector with."""

def json_dumps(value: object, *, default: Callable[[Any], Any] | None = None, max_depth: int = 256) -> bytes:
    """The JSON that a message with this value has, as UTF-8.

    Beyond what `json.dumps` takes: datetime, date and time as ISO 8601, timedelta in seconds, UUID, Decimal and paths
    as text, the value of an Enum, the fields of a dataclass or of an object of
    attrs or msgspec, a pydantic model as what it says is its JSON, bytes in base64, sets as arrays, numpy scalars and
    arrays. NaN, NaT and infinities become null, lone surrogates U+FFFD.

    Args:
        value: What to write.
        default: Called with an object of any other type; what it returns is written instead.
        max_depth: How many levels of containers there may be, up to 256.

    Raises:
        TypeError: An object, or a key, is of a type that has no JSON; the message says where it stands.
        ValueError: It is too deep, contains itself, changed while it was written, or raised an exception.
    """

def json_loads(text: bytes) -> Any:
    """The object that JSON in UTF-8 says. Strict, except that a float beyond the range of floats is an infinity.

    Raises:
        ValueError: It is no JSON; the message says at which byte and what was expected, never what stands there.
    """

def interpreter_ends() -> None:
    """Waits, for 2 seconds at most, until no observing call of another thread is in Python code, and lets none in."""

def prepare_asyncio() -> None:
    """Fills what the futures of `AsyncProducerCore` and `AsyncConsumerCore` need of asyncio, while nothing forks."""

class NoOpMetrics:
    """Does nothing, as cheaply as a call can."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def increment(self, name: str, value: float = 1, labels: _Labels = None) -> None: ...
    def gauge(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def histogram(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def timing(self, name: str, value_ms: float, labels: _Labels = None) -> None: ...
    def gauge_add(self, name: str, delta: float, labels: _Labels = None) -> None: ...
    def remove(self, name: str, labels: _Labels = None) -> bool: ...
    def observable_gauge(
        self, name: str, callback: Callable[[], Any], labels: Mapping[str, str] | None = None
    ) -> None: ...
    def observable_counter(
        self, name: str, callback: Callable[[], Any], labels: Mapping[str, str] | None = None
    ) -> None: ...
    def describe(self, name: str, **_settings: object) -> None: ...
    def flush(self, timeout_seconds: float | None = None) -> bool: ...
    def close(self, timeout_seconds: float | None = None) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __bool__(self) -> bool: ...

@disjoint_base
class PrometheusCore:
    """Native side of `gds_metrics.PrometheusMetrics`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def increment(self, name: str, value: float = ..., labels: _Labels = None) -> None: ...
    def gauge(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def histogram(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def timing(self, name: str, value_ms: float, labels: _Labels = None) -> None: ...
    def gauge_add(self, name: str, delta: float, labels: _Labels = None) -> None: ...
    def remove(self, name: str, labels: _Labels = None) -> bool: ...
    def _set_total(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def _count_unanswered(self, in_time: bool) -> None: ...
    def _answers_here(self) -> None: ...
    def _ask(self, ask: Callable[[], None]) -> None: ...
    def _open(self, settings: dict[str, Any], serve: bool) -> None: ...
    def _show_beside(self, path: str, call: Callable[[str, str | None], tuple[int, bytes]] | None) -> None: ...
    def _describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        aggregation: str | None = None,
        max_series: int | None = None,
    ) -> None: ...
    @property
    def _bound_port(self) -> int | None: ...
    def _serve(self, port: int) -> int: ...
    def _page(self, openmetrics: bool, names: list[str]) -> bytes: ...
    def _sample(self, name: str, labels: _Labels) -> float | None: ...
    def _respond(
        self, method: str, path: str, query: str, accept: str | None, accept_encoding: str | None
    ) -> tuple[int, list[tuple[str, str]], bytes]: ...
    def _push(self, gateway: dict[str, Any], replace: bool) -> None: ...
    @staticmethod
    def _delete_from_gateway(gateway: dict[str, Any]) -> None: ...
    def _write_to_textfile(self, path: _Path) -> None: ...
    def _stop(self) -> None: ...

@disjoint_base
class OtlpCore:
    """Native side of `gds_metrics.OpenTelemetryMetrics`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def increment(self, name: str, value: float = ..., labels: _Labels = None) -> None: ...
    def gauge(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def histogram(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def timing(self, name: str, value_ms: float, labels: _Labels = None) -> None: ...
    def gauge_add(self, name: str, delta: float, labels: _Labels = None) -> None: ...
    def remove(self, name: str, labels: _Labels = None) -> bool: ...
    def _set_total(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def _count_unanswered(self, in_time: bool) -> None: ...
    def _ask(self, ask: Callable[[], None]) -> None: ...
    def _open(self, settings: dict[str, Any]) -> None: ...
    def _describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        max_series: int | None = None,
    ) -> None: ...
    def _flush(self, timeout_seconds: float) -> None: ...
    def _close(self, timeout_seconds: float) -> None: ...
    def _stats(self) -> dict[str, Any]: ...
    @property
    def _endpoint(self) -> str | None: ...

@disjoint_base
class StatsdCore:
    """Native side of `gds_metrics.StatsdMetrics`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def increment(self, name: str, value: float = ..., labels: _Labels = None) -> None: ...
    def gauge(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def histogram(self, name: str, value: float, labels: _Labels = None) -> None: ...
    def timing(self, name: str, value_ms: float, labels: _Labels = None) -> None: ...
    def gauge_add(self, name: str, delta: float, labels: _Labels = None) -> None: ...
    def _open(self, settings: dict[str, Any]) -> None: ...
    def _flush(self, timeout_seconds: float) -> None: ...
    def _close(self, timeout_seconds: float) -> None: ...
    def _stats(self) -> dict[str, int]: ...

# ------------------------------------------------------------------ gds_kafka
_Key: TypeAlias = str | bytes | bytearray | memoryview | None
_Headers: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]] | None
_Timestamp: TypeAlias = int | datetime | None
_Log: TypeAlias = Callable[[int, str, str], None]
_Token: TypeAlias = Callable[[], tuple[str, float, str, dict[str, str]]]
_Place: TypeAlias = tuple[int, int, str, str]

class GdsKafkaError(Exception):
    """What the clients of ``gds_kafka`` raise."""

    retriable: bool
    fatal: bool
    code: int | None

class KafkaConfigurationError(GdsKafkaError, ValueError):
    """A setting is unknown or makes no sense."""

class KafkaConnectionError(GdsKafkaError):
    """The servers cannot be reached, or do not let us in."""

class KafkaMessageError(GdsKafkaError):
    """This message, topic or request is refused."""

class KafkaSerializationError(GdsKafkaError):
    """A value cannot be written or read."""

class KafkaTimeoutError(GdsKafkaError, TimeoutError):
    """No answer, or no room, in time."""

@final
class LogEncoder:
    """Native side of `gds_kafka.KafkaLoggingHandler`: makes log records into messages, without their secrets."""

    def __new__(
        cls,
        service: str | None = None,
        fields: dict[str, object] | None = None,
        redact: Sequence[str] = ...,
        *,
        host: str | None = None,
        ignore: Sequence[str] = ...,
    ) -> Self:
        """Sets up what all records share.

        Args:
            service: In every record, if it is not empty.
            fields: Constants of every record; a name that records have already is a `ValueError`.
            redact: Regular expressions of further secrets. One that is none is a `ValueError`, which names it by its
                number: its text may be a secret.
            host: In every record, if it is not empty.
            ignore: Loggers of which no record is taken, nor of those below them.
        """

    def encode_record(self, record: LogRecord) -> bytes | None:
        """The record as JSON; None if there is nothing to send.

        There is nothing to send of loggers that are ignored, of what is logged while this thread writes another record,
        and while the interpreter ends around this thread. Raises nothing but what is no `Exception`.
        """

    def redact(self, text: str) -> str:
        """The text with `[REDACTED]` in place of each secret."""

    def counts(self) -> tuple[int, int, int]:
        """How many records were made into messages, skipped, and made into messages but not as they were."""

@final
class MetricWriter:
    """Native side of `gds_monitor.KafkaOutput`: writes batches of metrics to the hub."""

    def __new__(
        cls,
        producer: ProducerCore,
        *,
        environment: str | None = None,
        key_with_type: bool = False,
        schema_id: int | None = None,
        heartbeat_schema_id: int | None = None,
        redact: Sequence[str] = ...,
    ) -> Self:
        """Sets up where metrics go, and how.

        Args:
            producer: What sends them.
            environment: The last part of the topic; with None it is the instance.
            key_with_type: Whether the key is instance and type of metric, and not the instance alone.
            schema_id: Of the Avro schema in the registry; with None metrics are JSON.
            heartbeat_schema_id: Of that of heartbeats; with None they are JSON.
            redact: Regular expressions of further secrets. One that is none is a `ValueError`, which names it by its
                number: its text may be a secret.
        """

    def write(self, metrics: Iterable[object]) -> tuple[int, int, int, dict[str, int]]:
        """Queue metrics in their order.

        Returns how many were published, how many of those had secrets, how many went to the dead letters, and how many
        were dropped by reason. Waits for room as the producer's ``on_full`` and ``max_block_ms`` say, for all of them
        together. Raises nothing but what is no `Exception`.
        """

    def write_heartbeats(self, heartbeats: Sequence[Mapping[str, Any]]) -> tuple[int, int, int, dict[str, int]]:
        """Queue heartbeats of collectors, and say what became of them as `write` does."""

    def write_texts(self, texts: Sequence[Mapping[str, Any]]) -> tuple[int, int, int, dict[str, int]]:
        """Queue texts that are told once, and say what became of them as `write` does."""

    @staticmethod
    def schemas() -> tuple[str, str]:
        """The Avro schemas of metrics and of heartbeats, as JSON."""

    def use_schemas(self, schema_id: int, heartbeat_schema_id: int) -> None:
        """Write Avro from now on, with schemas that the registry has by these numbers."""

    def topic(self, database_type: str, instance_id: str) -> str:
        """The topic of the metrics of an instance."""

@final
class DeliveredMessage:
    """Where a message landed."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int:
        """Its place in the partition; -1 if the hub did not say (``acks=0``)."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, as the hub keeps it."""

@final
class OutgoingMessage:
    """A message for `KafkaProducerClient.send_many` that is more than its value."""

    def __new__(
        cls,
        value: object,
        key: _Key = None,
        *,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp: _Timestamp = None,
    ) -> Self: ...
    @property
    def value(self) -> Any: ...
    @property
    def key(self) -> Any: ...
    @property
    def headers(self) -> Any: ...
    @property
    def partition(self) -> int | None: ...
    @property
    def timestamp(self) -> Any: ...

@disjoint_base
class ProducerCore:
    """Native side of `gds_kafka.KafkaProducerClient`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _open(
        self,
        servers: list[str],
        config: dict[str, object],
        librdkafka: dict[str, object],
        *,
        log: _Log | None = None,
        token: _Token | None = None,
        value_serializer: Callable[[Any], bytes | None] | None = None,
        key_serializer: Callable[[Any], bytes | None] | None = None,
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> None: ...
    def send(
        self,
        topic: str,
        value: object,
        key: _Key = None,
        *,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp: _Timestamp = None,
        on_delivery: Callable[[GdsKafkaError | None, DeliveredMessage | None], object] | None = None,
    ) -> None: ...
    def send_many(
        self, topic: str, values: Iterable[object], *, timeout: float | None = None
    ) -> list[DeliveredMessage | GdsKafkaError]: ...
    def send_future(
        self,
        event_loop: AbstractEventLoop,
        topic: str,
        value: object,
        key: _Key = None,
        *,
        headers: _Headers = None,
        partition: int | None = None,
        timestamp: _Timestamp = None,
    ) -> Future[DeliveredMessage] | None: ...
    def send_record(self, topic: str, encoder: LogEncoder, record: LogRecord) -> bool: ...
    def send_measurement(
        self,
        topic: str,
        key: object,
        kind: str,
        name: object,
        value: object,
        labels: object,
    ) -> bool: ...
    def send_nowait(self, topic: str, value: object, key: _Key = None) -> None: ...
    def _turn_ended(self) -> None: ...
    @property
    def _max_block_seconds(self) -> float: ...
    def _no_room(self) -> GdsKafkaError: ...
    def flush(self, timeout: float | None = None) -> int: ...
    def close(self, timeout: float | None = None) -> int: ...
    def stats(self) -> dict[str, Any]: ...
    @property
    def closed(self) -> bool: ...

@final
class AsyncProducerCore:
    """Calls of a producer, as futures of the running event loop."""

    def __new__(cls, producer: ProducerCore) -> Self: ...
    def wait_for_room(self, seconds: float) -> Future[None]: ...
    def flush(self, timeout: float | None = None) -> Future[int]: ...
    def close(self, timeout: float | None = None) -> Future[int]: ...

@final
class AsyncConsumerCore:
    """Calls of a consumer, as futures of the running event loop."""

    def __new__(cls, consumer: ConsumerCore) -> Self: ...
    def commit(self, offsets: Mapping[tuple[str, int], int]) -> Future[None]: ...
    def seek(self, topic: str, partition: int, offset: int) -> Future[None]: ...
    def assign(self, partitions: Sequence[tuple[str, int]]) -> Future[None]: ...
    def pause(self, partitions: Sequence[tuple[str, int]]) -> Future[None]: ...
    def resume(self, partitions: Sequence[tuple[str, int]]) -> Future[None]: ...
    def assignment(self) -> Future[list[tuple[str, int]]]: ...
    def lag(self) -> Future[list[dict[str, Any]]]: ...
    def offsets(self, partitions: list[tuple[str, int]], latest: bool) -> Future[dict[tuple[str, int], int]]: ...
    def offsets_for_times(self, times: dict[tuple[str, int], int]) -> Future[dict[tuple[str, int], int | None]]: ...
    def close(self, timeout: float | None = None) -> Future[None]: ...

@final
class AlertEngine:
    """Rules for alerts and the state of what they have seen, without a clock, a thread or a file.

    What is wrong with the rules is a `ValueError` with a line for each thing.
    """

    def __new__(cls, rules: str, state: str | None = None) -> Self:
        """Begin with what `state` gave, or with nothing."""

    def evaluate(self, samples: list[_Measured], now_ms: int) -> str:
        """Take samples, then look at what the clock brings: as JSON, a list of what has to be done.

        A sample is metric, instance, type of database, tags, value, its digits where they are exact, and when it was
        measured, in milliseconds since the epoch.
        """

    def alerts(self) -> str:
        """As JSON, the alerts that are not over, pending ones among them."""

    def state(self) -> str:
        """Everything it knows."""

    def reload(self, rules: str) -> None:
        """Take other rules into use; what is open stays open."""

@final
class AlertService:
    """Rules for alerts that are watched for, from when it is made until it is stopped or let go of.

    ``say(kind, text)`` is called by other threads with notifications of channels of type ``log``, with warnings and
    notes. What is wrong with the rules or the channels is a `ValueError` with a line for each thing.
    """

    def __new__(
        cls,
        rules: str,
        servers: list[str],
        config: dict[str, object],
        librdkafka: dict[str, object],
        *,
        group: str,
        state: str | PathLike[str],
        topics: list[str],
        credentials: dict[str, str],
        say: Callable[[str, str], object],
        listen: dict[str, object] | None = None,
        log: _Log | None = None,
        token: _Token | None = None,
    ) -> Self: ...
    def wait(self, timeout: float) -> bool:
        """Wait for the end, for at most ``timeout`` seconds; whether it has come. What ended it is raised."""

    def stop(self) -> None:
        """Ask for the end. State is kept, and deliveries under way get three seconds."""

    def reload(self, rules: str) -> None:
        """Take another rules file into use; what is wrong with it is raised, and leaves the one before in use."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Where its API is, with the port that was chosen for port 0; None without one."""

    def counts(self) -> dict[str, int]:
        """What was counted, by name."""

@final
class HubAdmin:
    """Looks after the topics and groups of a hub."""

    def __new__(
        cls,
        bootstrap_servers: list[str],
        config: dict[str, object],
        librdkafka: dict[str, object],
        *,
        log: _Log | None = None,
        token: _Token | None = None,
    ) -> Self: ...
    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication: int = ...,
        config: dict[str, str] | None = None,
        *,
        timeout: float = 30.0,
    ) -> None: ...
    def alter_topic(self, name: str, config: Mapping[str, str | None], *, timeout: float = 30.0) -> None: ...
    def topic_config(self, name: str, *, timeout: float = 30.0) -> dict[str, str]: ...
    def delete_topic(self, name: str, *, timeout: float = 30.0) -> None: ...
    def topics(self, name: str | None = None, *, timeout: float = 30.0) -> list[dict[str, Any]]: ...
    def lag(self, group: str, *, timeout: float = 30.0) -> list[dict[str, Any]]: ...
    def groups(self, *, timeout: float = 30.0) -> list[str]: ...

@final
class MockCluster:
    """Native side of `gds_kafka.testing.MockKafkaCluster`."""

    def __new__(cls, brokers: int) -> Self: ...
    @property
    def bootstrap_servers(self) -> str: ...
    def create_topic(self, name: str, partitions: int, replication: int) -> None: ...
    def topic_error(self, topic: str, error: int) -> None: ...
    def push_request_errors(self, request: str, errors: list[int]) -> None: ...
    def clear_request_errors(self, request: str) -> None: ...
    def broker_down(self, broker: int) -> None: ...
    def broker_up(self, broker: int) -> None: ...
    def broker_rtt(self, broker: int, milliseconds: int) -> None: ...
    def set_leader(self, topic: str, partition: int, broker: int) -> None: ...
    def close(self) -> None: ...

@disjoint_base
class ConsumerCore:
    """Native side of `gds_kafka.KafkaConsumerClient`."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _open(
        self,
        topics: list[str],
        servers: list[str],
        group_id: str | None,
        config: dict[str, object],
        librdkafka: dict[str, object],
        *,
        log: _Log | None = None,
        token: _Token | None = None,
        value_deserializer: Callable[[bytes], Any] | None = None,
        key_deserializer: Callable[[bytes], Any] | None = None,
        on_error: str = "raise",
        report: Callable[[dict[str, Any]], None] | None = None,
        listener: Callable[[str, list[tuple[str, int]]], None] | None = None,
    ) -> None: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __next__(self) -> dict[str, Any]: ...
    def _begin(self) -> int: ...
    def _poll(self, by: int, max_messages: int, timeout_seconds: float) -> list[dict[str, Any]] | None: ...
    def _handled(self, by: int, offsets: Mapping[tuple[str, int], int] | None = None) -> None: ...
    def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None: ...
    def seek(self, topic: str, partition: int, offset: int) -> None: ...
    def assign(self, partitions: Sequence[tuple[str, int]]) -> None: ...
    def _offsets(self, partitions: list[tuple[str, int]], latest: bool) -> dict[tuple[str, int], int]: ...
    def _offsets_for_times(self, times: dict[tuple[str, int], int]) -> dict[tuple[str, int], int | None]: ...
    def pause(self, partitions: Iterable[tuple[str, int]]) -> None: ...
    def resume(self, partitions: Iterable[tuple[str, int]]) -> None: ...
    def assignment(self) -> list[tuple[str, int]]: ...
    def lag(self) -> list[dict[str, Any]]: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self, timeout: float | None = None) -> None: ...
    @property
    def closed(self) -> bool: ...

def check_alert_rules(text: str, metrics: set[str] | None = None) -> tuple[list[_Place], list[_Place]]:
    """What keeps a file of rules from being used, and, of one that can be, what nobody can have meant.

    Each with line, column, key and message.
    """

def hub_metrics(
    servers: list[str],
    config: dict[str, object],
    librdkafka: dict[str, object],
    *,
    timeout: float,
    log: _Log | None = None,
    token: _Token | None = None,
) -> set[str]:
    """The names of the metrics that the newest messages of a hub are about."""

def replay_alerts(rules: str, samples: Sequence[tuple[int, int, _Measured]], until_ms: int) -> str:
    """Run samples through rules as a running engine does; each has when it came, its partition, and what it says.

    As JSON, what would have been done, and how often each rule would have fired. What is wrong with the rules is a
    `ValueError` with a line for each thing.
    """

def run_alert_case(text: str, folder: str | PathLike[str]) -> tuple[str, list[str]]:
    """Run a test of rules: what it is about, and what is not as expected, a line each.

    A file that it names is in ``folder``. What is no test is a `ValueError`.
    """

def parse_metric(value: bytes, hub_ms: int, schema_header: bytes | None = None) -> dict[str, Any]:
    """What a message says: the fields of a metric by name, times in milliseconds since the epoch.

    ``value`` is a float and ``value_text`` its digits; ``time_from_hub`` tells that the message had no time, so that
    ``time_ms`` is ``hub_ms``. ``schema_header`` is the header ``__value_schema_id``. A message that is no metric is a
    `ValueError` with the name of the reason and its text.
    """

class GdsStoreError(Exception):
    """Something went wrong with a store.

    Attributes:
        retriable: Trying the same again later may help.
    """

    retriable: bool

class StoreConfigurationError(GdsStoreError, ValueError):
    """A setting makes no sense, or what is asked for cannot be done with a store that was opened so."""

class StoreUnavailableError(GdsStoreError):
    """The folder cannot be used now: there is no room, another process has it, it is closed, or the system refuses."""

class StoreDamagedError(GdsStoreError):
    """A file is not what was written, or was written by a newer version."""

class StoreQueryError(GdsStoreError):
    """A query has no answer.

    Attributes:
        expression: The query.
        line: The line of the place in it that is meant, counted from one; None where that is not known.
        column: Its first byte in that line, counted from one.
        end_column: One past its last byte.
    """

    expression: str | None
    line: int | None
    column: int | None
    end_column: int | None

class StoreSyntaxError(StoreQueryError, ValueError):
    """The text is no query."""

class StoreTimeoutError(StoreQueryError, TimeoutError):
    """The query took longer than it may."""

@final
class QueryResult:
    """What a query answers: a sequence of dicts, one for each series, and a table for what reads Arrow.

    A dict has ``labels`` and, of an instant query, ``timestamp`` and ``value``; of a range query, and of a range
    vector, ``values``, a list of pairs of timestamp and value. Timestamps are seconds since 1970. A value is a float,
    or of a native histogram a dict with ``count``, ``sum`` and ``buckets``: lower bound, upper bound and count of each.

    The table has a row for each sample: ``timestamp`` in milliseconds, a column for each label, ``value``, and
    ``histogram`` where there are any. A label of one of these names is called ``exported_...``.

    Attributes:
        type: ``"vector"``, ``"matrix"``, ``"scalar"`` or ``"string"``; the last two have one dict, without labels.
        warnings: Why the answer may be wrong, with line and column of the query.
        infos: Why it may not be what was meant.
    """

    @property
    def type(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def infos(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> dict[str, Any]: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...

@final
class StoreCore:
    """Native side of `gds_store.Store`. Times are milliseconds since 1970."""

    def __new__(
        cls,
        folder: _Path,
        *,
        read_only: bool,
        synced: bool,
        retention_ms: int,
        classes: Sequence[tuple[str, str, int]],
        shards: int,
        series_per_metric: int | None,
        series_per_tenant: int | None,
        tenant_label: str,
        flush_bytes: int,
        max_head_bytes: int,
        maintain_seconds: float | None,
        lookback_ms: int,
        max_samples: int,
        max_series: int,
        max_bytes: int,
        timeout_seconds: float,
    ) -> Self: ...
    def append(
        self, rows: Iterable[tuple[str, float | dict[str, Any], dict[str, str] | None, int]]
    ) -> dict[str, int]: ...
    def query(self, expression: str, time_ms: int) -> QueryResult: ...
    def query_range(self, expression: str, start_ms: int, end_ms: int, step_ms: int) -> QueryResult: ...
    def series(self, selectors: list[str], start_ms: int, end_ms: int) -> list[dict[str, str]]: ...
    def delete(self, selector: str, start_ms: int, end_ms: int, dry_run: bool) -> dict[str, int]: ...
    def backup(self, folder: _Path) -> dict[str, int]: ...
    def set_metadata(self, said: list[tuple[str, str, str, str]]) -> int: ...
    def metadata(self) -> dict[str, tuple[str, str, str]]: ...
    def verify(self) -> list[dict[str, Any]]: ...
    def findings(self) -> list[dict[str, Any]]: ...
    def stats(self) -> dict[str, int]: ...
    def flush(self) -> int: ...
    def maintain(self) -> dict[str, int]: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...

def restore_store(backup: _Path, folder: _Path) -> None:
    """Makes a new store of a backup, in a folder that is empty or not there."""
