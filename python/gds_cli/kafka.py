"""``gds kafka``: produce, read, look at topics and groups."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_cli._options import Json, Servers, Settings, line, settings, shown, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gds_kafka import DeliveredMessage
    from gds_native._lib import HubAdmin

__all__ = ["admin", "app", "message_fields", "text"]

app = typer.Typer(no_args_is_help=True, help="Messages, topics and groups of a hub: Kafka's, or one on this machine.")

TIMEOUT_SECONDS = 30.0
"""How long a command waits for an answer of the hub."""


def admin(servers: str, given: Sequence[str] | None) -> HubAdmin:
    """The hub, to look after its topics."""
    config = settings(given)
    from gds_kafka._client import log, opening
    from gds_native._lib import HubAdmin

    opened = opening(servers, config)
    return HubAdmin(opened.servers, opened.config, opened.librdkafka, log=log, token=opened.token)


@app.command()
def produce(
    topic: Annotated[str, typer.Argument(help="Where to send to.")],
    servers: Servers,
    value: Annotated[str, typer.Argument(help="The message; - reads standard input, a message a line.")] = "-",
    key: Annotated[str | None, typer.Option(help="The key of the message, or of all.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")] = None,
    partition: Annotated[int | None, typer.Option(help="The partition; by default the key decides.")] = None,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Send a message, or each line of standard input; waits until all of them are delivered."""
    headers = [_header(each) for each in header or ()]
    config = settings(given)
    from gds_kafka import KafkaProducerClient

    outcomes = _Outcomes(as_json)
    values: Iterable[bytes] = (row.rstrip(b"\r\n") for row in sys.stdin.buffer) if value == "-" else [value.encode()]
    with KafkaProducerClient(servers, **config) as producer:
        for each in values:
            with outcomes.refusals():
                producer.send(topic, each, key, headers=headers, partition=partition, on_delivery=outcomes.told)
    outcomes.show()
    return 1 if outcomes.failed else 0


class _Outcomes:
    """What became of messages; told by the producer's thread."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._delivered = 0
        self._last: DeliveredMessage | None = None
        self.failed = 0

    def told(self, error: Exception | None, delivered: DeliveredMessage | None) -> None:
        if error is not None:
            self.failed += 1
            print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
        elif delivered is not None:
            self._delivered += 1
            self._last = delivered
            if self._as_json:
                line({name: getattr(delivered, name) for name in ("topic", "partition", "offset", "timestamp")})

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """What is not even taken is an outcome as well."""
        from gds_kafka import GdsKafkaError

        try:
            yield
        except GdsKafkaError as error:
            self.told(error, None)

    def show(self) -> None:
        if self._as_json:
            return
        if self._delivered == 1 and self._last is not None:
            print(f"delivered to {self._last.topic}[{self._last.partition}] at offset {self._last.offset}")
        else:
            print(f"delivered {self._delivered} messages")


def _header(given: str) -> tuple[str, bytes]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--header {name}: expected NAME=VALUE, such as --header source=shell")
    return name, value.encode()


@app.command()
def tail(
    topics: Annotated[list[str], typer.Argument(help="Names; one that begins with ^ is a regular expression.")],
    servers: Servers,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with the oldest message.")] = False,
    maximum: Annotated[int | None, typer.Option("--max", min=1, help="End after this many messages.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Read as a member of this group, which remembers the place.")
    ] = None,
    given: Settings = None,
    as_json: Json = False,
) -> None:
    """Show messages as they come, until Ctrl-C."""
    from gds_kafka import KafkaConsumerClient

    config: dict[str, Any] = {"auto_offset_reset": "earliest" if from_beginning else "latest"} | settings(given)
    with KafkaConsumerClient(
        topics, servers, group, value_deserializer=raw, key_deserializer=raw, **config
    ) as consumer:
        for count, message in enumerate(consumer.messages(), 1):
            show(message, as_json)
            if count == maximum:
                if group:
                    consumer.commit()
                break


def raw(value: bytes) -> bytes:
    """Shows also what is no JSON."""
    return value


def message_fields(message: dict[str, Any]) -> dict[str, Any]:
    """A message as JSON has it."""
    return {
        "topic": message["topic"],
        "partition": message["partition"],
        "offset": message["offset"],
        "timestamp": message["timestamp"],
        "key": text(message["key"]),
        "value": shown(message["value"]),
        "headers": [[name, text(value)] for name, value in message["headers"]],
    }


def text(value: Any) -> Any:
    """A key or a header's value: text where it is some, never taken apart as JSON."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return shown(value)


def show(message: dict[str, Any], as_json: bool) -> None:
    fields = message_fields(message)
    if as_json:
        line(fields)
        return
    import json

    value = fields["value"] if isinstance(fields["value"], str) else json.dumps(fields["value"], ensure_ascii=False)
    key = "" if fields["key"] is None else f" {fields['key']}"
    headers = "".join(f" {name}={each}" for name, each in fields["headers"])
    print(f"{fields['topic']}[{fields['partition']}]@{fields['offset']}{key}:{headers} {value}", flush=True)


@app.command("topics")
def list_topics(
    servers: Servers,
    name: Annotated[str | None, typer.Argument(help="Only this one, with its partitions.")] = None,
    create: Annotated[int | None, typer.Option(min=1, metavar="N", help="Make it, with N partitions.")] = None,
    replication: Annotated[int, typer.Option(help="With --create: copies of it; -1 is the hub's default.")] = -1,
    given: Settings = None,
    as_json: Json = False,
) -> None:
    """List topics, describe one, or make one."""
    if create is not None and name is None:
        raise typer.BadParameter("--create: expected the NAME of the topic before it")
    hub = admin(servers, given)
    if create is not None and name is not None:
        hub.create_topic(name, create, replication, timeout=TIMEOUT_SECONDS)
    found = hub.topics(name, timeout=TIMEOUT_SECONDS)
    if as_json:
        for topic in found:
            line(topic)
    elif name is None:
        table(
            ("topic", "partitions", "messages"),
            [(topic["name"], len(topic["partitions"]), _messages(topic)) for topic in found],
        )
    else:
        rows = [
            [part[field] for field in ("id", "leader", "replicas", "in_sync", "start", "end")]
            for topic in found
            for part in topic["partitions"]
        ]
        table(("partition", "leader", "replicas", "in sync", "start", "end"), rows)


def _messages(topic: dict[str, Any]) -> int:
    return sum(part["end"] - part["start"] for part in topic["partitions"])


@app.command()
def lag(
    group: Annotated[str, typer.Argument(help="The group.")],
    servers: Servers,
    given: Settings = None,
    as_json: Json = False,
) -> None:
    """Show how far a group is behind, partition by partition."""
    fields = ("topic", "partition", "position", "end", "lag")
    found = admin(servers, given).lag(group, timeout=TIMEOUT_SECONDS)
    if as_json:
        for each in found:
            line({field: each[field] for field in fields})
    else:
        table(fields, [[each[field] for field in fields] for each in found])
