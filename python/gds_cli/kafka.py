"""``gds kafka``: produce, read, look at topics and groups."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_cli import dlq
from gds_cli._messages import raw, show
from gds_cli._options import Json, Servers, Settings, line, settings, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from gds_kafka import DeliveredMessage
    from gds_native._lib import HubAdmin

__all__ = ["admin", "app"]

app = typer.Typer(no_args_is_help=True, help="Messages, topics and groups of a hub: Kafka's, or one on this machine.")
app.add_typer(dlq.app, name="dlq")

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
    tombstone: Annotated[
        bool, typer.Option("--tombstone", help="Without a value: deletes the --key in a compacted topic.")
    ] = False,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Send a message, or each line of standard input; waits until all of them are delivered."""
    if tombstone and (value != "-" or key is None):
        raise typer.BadParameter("--tombstone: expected the --key that it deletes, and no VALUE")
    headers = [_header(each) for each in header or ()]
    config = settings(given)
    from gds_kafka import KafkaProducerClient

    outcomes = _Outcomes(as_json)
    values: Iterable[bytes | None] = [None] if tombstone else [value.encode()]
    if value == "-" and not tombstone:
        values = (row.rstrip(b"\r\n") for row in sys.stdin.buffer)
    with KafkaProducerClient(servers, **config) as producer:
        for each in values:
            with outcomes.refusals():
                producer.send(topic, each, key, headers=headers, partition=partition, on_delivery=outcomes.on_delivery)
    outcomes.show()
    return 1 if outcomes.failed else 0


class _Outcomes:
    """What became of messages; told by the producer's thread."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._delivered = 0
        self._last: DeliveredMessage | None = None
        self.failed = 0

    def on_delivery(self, error: Exception | None, delivered: DeliveredMessage | None) -> None:
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
            self.on_delivery(error, None)

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
    offset: Annotated[
        int | None,
        typer.Option(help="Begin at this offset in each partition; -10 is with the last ten messages of each."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin at a time: 2026-01-31T12:00, or 90s, 10m, 2h or 3d ago."),
    ] = None,
    partition: Annotated[list[int] | None, typer.Option(min=0, help="Only this partition. May be repeated.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Read as a member of this group, which remembers the place.")
    ] = None,
    given: Settings = None,
    as_json: Json = False,
) -> None:
    """Show messages as they come, until Ctrl-C."""
    if from_beginning + (offset is not None) + (since is not None) > 1:
        raise typer.BadParameter("--from-beginning, --offset and --since: expected one of them")
    start: dict[str, Any] = {"auto_offset_reset": "earliest" if from_beginning else "latest"}
    if since is not None:
        start = {"start_at": _since(since)}
    config = start | settings(given)
    places = _places(admin(servers, given), topics, partition, offset) if partition or offset is not None else {}
    from gds_kafka import KafkaConsumerClient

    with KafkaConsumerClient(
        [] if places else topics, servers, group, value_deserializer=raw, key_deserializer=raw, **config
    ) as consumer:
        if places:
            consumer.assign(list(places))
        for (topic, number), at in places.items():
            if at is not None:
                consumer.seek(topic, number, at)
        for count, message in enumerate(consumer.messages(), 1):
            show(message, as_json)
            if count == maximum:
                if group:
                    consumer.commit()
                break


def _since(given: str) -> datetime:
    """A time, or a duration before now."""
    from datetime import datetime, timedelta, timezone

    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}.get(given[-1:])
    try:
        if unit is not None:
            return datetime.now(timezone.utc) - timedelta(**{unit: float(given[:-1])})
        return datetime.fromisoformat(given.replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"--since {given}: expected a time such as 2026-01-31T12:00+01:00, or how long ago: 90s, 10m, 2h, 3d"
        ) from None


def _places(
    hub: HubAdmin, topics: Sequence[str], partitions: Sequence[int] | None, offset: int | None
) -> dict[tuple[str, int], int | None]:
    """The partitions to read, and the offset at which to begin in each."""
    places: dict[tuple[str, int], int | None] = {}
    for name in topics:
        if name.startswith("^"):
            raise typer.BadParameter(f"--offset and --partition: expected names of topics, not the pattern {name}")
        [topic] = hub.topics(name, timeout=TIMEOUT_SECONDS)
        there = {part["id"]: part for part in topic["partitions"]}
        for number in partitions or there:
            if number not in there:
                raise typer.BadParameter(f"--partition {number}: {name} has partitions 0 to {len(there) - 1}")
            part = there[number]
            at = None if offset is None else offset if offset >= 0 else part["end"] + offset
            places[name, number] = None if at is None else min(max(at, part["start"]), part["end"])
    return places


@app.command("topics")
def list_topics(
    servers: Servers,
    name: Annotated[str | None, typer.Argument(help="Only this one, with its partitions.")] = None,
    create: Annotated[int | None, typer.Option(min=1, metavar="N", help="Make it, with N partitions.")] = None,
    replication: Annotated[int, typer.Option(help="With --create: copies of it; -1 is the hub's default.")] = -1,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the topic, such as cleanup.policy=compact; no VALUE is the hub's own. May be repeated.",
        ),
    ] = None,
    config: Annotated[bool, typer.Option("--config", help="Show the settings of the topic.")] = False,
    given: Settings = None,
    as_json: Json = False,
) -> None:
    """List topics, describe one, make or change one."""
    for option, is_given in (("--create", create is not None), ("--set", bool(change)), ("--config", config)):
        if is_given and name is None:
            raise typer.BadParameter(f"{option}: expected the NAME of the topic before it")
    changes = _changes(change or ())
    hub = admin(servers, given)
    if create is not None and name is not None:
        made_with = {key: value for key, value in changes.items() if value is not None}
        hub.create_topic(name, create, replication, made_with, timeout=TIMEOUT_SECONDS)
    elif changes and name is not None:
        hub.alter_topic(name, changes, timeout=TIMEOUT_SECONDS)
    found = hub.topics(name, timeout=TIMEOUT_SECONDS)
    if config and name is not None:
        found = [topic | {"config": hub.topic_config(name, timeout=TIMEOUT_SECONDS)} for topic in found]
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
        if config:
            table(("setting", "value"), [setting for topic in found for setting in topic["config"].items()])


def _changes(given: Sequence[str]) -> dict[str, str | None]:
    changes: dict[str, str | None] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--set {each}: expected NAME=VALUE, such as --set cleanup.policy=compact")
        changes[name] = value or None
    return changes


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
    elif not found:
        print(f"group {group} has committed nothing yet")
    else:
        table(fields, [[each[field] for field in fields] for each in found])
