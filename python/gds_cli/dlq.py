"""``gds kafka dlq``: look at dead letters, and send them where they came from."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_cli._messages import message_fields, raw, show
from gds_cli._options import Json, Servers, Settings, line, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gds_kafka import KafkaConsumerClient, KafkaProducerClient

    Message = dict[str, Any]

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Dead letters: messages that were refused, or could not be handled.")

SUFFIX = ".dlq"
PREFIX = "dlq."
ATTEMPTS = "dlq.attempts"
BATCH = 500
TIMEOUT_SECONDS = 1.0
QUIET_SECONDS = 10.0
"""How long to wait for partitions to be assigned, and for messages that should be there and do not come."""


def dead_letters_of(topic: str) -> str:
    """The topic of its dead letters; given that topic, itself."""
    return topic if topic.endswith(SUFFIX) else topic + SUFFIX


@app.command("list")
def list_letters(
    topic: Annotated[str, typer.Argument(help="The topic whose dead letters to show.")],
    servers: Servers,
    maximum: Annotated[int | None, typer.Option("--max", min=1, help="Show at most this many.")] = None,
    given: Settings = None,
    as_json: Json = False,
) -> None:
    """Show the dead letters of a topic, the oldest first."""
    with _consumer(topic, servers, None, given) as consumer:
        for batch in _to_the_end(consumer, maximum):
            for message in batch:
                show(message, as_json)


@app.command()
def replay(
    topic: Annotated[str, typer.Argument(help="The topic whose dead letters to send again.")],
    servers: Servers,
    maximum: Annotated[int | None, typer.Option("--max", min=1, help="Send at most this many.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Send dead letters to the topic they came from, with their keys and headers.

    What was sent is remembered in the group gds-dlq-replay-TOPIC, so that a second run goes on where this one ended.
    The header dlq.attempts counts how often a message was tried.
    """
    from gds_kafka import KafkaProducerClient
    from gds_kafka.consumer import places

    letters = dead_letters_of(topic)
    sent = 0
    with _consumer(topic, servers, f"gds-dlq-replay-{letters.removesuffix(SUFFIX)}", given) as consumer:
        if dry_run:
            for batch in _to_the_end(consumer, maximum):
                for message in batch:
                    _tell(message, _target(message, letters), as_json)
            return 0
        with KafkaProducerClient(servers, **settings(given)) as producer:
            for batch in _to_the_end(consumer, maximum):
                failed = _send_again(producer, batch, letters, as_json)
                if failed:
                    print(f"gds: {failed}; run again to go on with it", file=sys.stderr)
                    return 1
                consumer.commit(places(batch))
                sent += len(batch)
    if not as_json:
        print(f"sent {sent} messages again")
    return 0


def _consumer(topic: str, servers: str, group: str | None, given: list[str] | None) -> KafkaConsumerClient:
    from gds_kafka import KafkaConsumerClient

    config: dict[str, Any] = {"auto_offset_reset": "earliest", "enable_auto_commit": False} | settings(given)
    letters = dead_letters_of(topic)
    return KafkaConsumerClient([letters], servers, group, value_deserializer=raw, key_deserializer=raw, **config)


def _to_the_end(consumer: KafkaConsumerClient, maximum: int | None) -> Iterator[list[Message]]:
    """Batches of at most `maximum` messages in all, until nothing is left in the partitions of this member."""
    left = sys.maxsize if maximum is None else maximum
    heard = monotonic()
    for batch in consumer.batches(min(BATCH, left), TIMEOUT_SECONDS):
        if batch:
            heard = monotonic()
            # What is cut off of the last batch is not committed.
            yield batch[:left]
            left -= len(batch)
        if left <= 0 or (consumer.assignment() and not sum(part["lag"] for part in consumer.lag())):
            return
        if monotonic() - heard > QUIET_SECONDS:
            return


def _send_again(producer: KafkaProducerClient, batch: list[Message], letters: str, as_json: bool) -> str:
    """Send a batch and wait for its delivery; what went wrong, or nothing."""
    errors: list[str] = []

    def on_delivery(error: Exception | None, _delivered: object) -> None:
        if error is not None:
            errors.append(" ".join(str(error).split()))

    for message in batch:
        target, headers = _target(message, letters), _headers(message)
        producer.send(
            target,
            message["value"],
            message["key"],
            headers=headers,
            # Before 1970 there are none that could be sent.
            timestamp=message["timestamp"] if (message["timestamp"] or 0) > 0 else None,
            on_delivery=on_delivery,
        )
    left = producer.flush(None)
    if left:
        return f"{left} messages were not delivered"
    if not errors:
        for message in batch:
            _tell(message, _target(message, letters), as_json)
    return errors[0] if errors else ""


def _target(message: Message, letters: str) -> str:
    named = _header(message, "dlq.topic")
    return named or letters.removesuffix(SUFFIX)


def _header(message: Message, wanted: str) -> str:
    for name, value in message["headers"]:
        if name == wanted:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return ""


def _headers(message: Message) -> list[tuple[str, Any]]:
    """The message's own, and how often it was tried: who refuses it again adds one."""
    kept = [(name, value) for name, value in message["headers"] if not name.startswith(PREFIX)]
    return [*kept, (ATTEMPTS, (_header(message, ATTEMPTS) or "1").encode())]


def _tell(message: Message, target: str, as_json: bool) -> None:
    if as_json:
        line({"to": target} | message_fields(message))
    else:
        print(f"{message['topic']}[{message['partition']}]@{message['offset']} -> {target}", flush=True)
