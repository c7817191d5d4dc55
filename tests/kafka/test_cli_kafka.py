"""The command line with a broker: what scripts read, and the exit codes they decide by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gds_cli.kafka import admin
from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from tests.kafka.schemas import problems
from tests.kafka.test_cli import gds
from tests.kafka.test_cli_hub import kafka as told
from tests.services.kafka import KafkaBroker, SecureKafka
from tests.services.kafka.secure import PASSWORDS

LONG = 60.0
"""More than any delivery takes once the broker is there."""


def refused(code: int, *arguments: object, stdin: str = "") -> tuple[str, str]:
    """What a command that fails prints, and all that it says of it."""
    done = gds("kafka", *arguments, stdin=stdin)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    # One line is the command's own; before it may stand what librdkafka wrote to the log.
    assert [line for line in lines if line.startswith("gds: ")] == lines[-1:], done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_messages_topics_and_lag(kafka: KafkaBroker) -> None:
    servers, topic, group = kafka.bootstrap_servers, "cli-orders", "cli-billing"
    [made] = told(servers, "topics", topic, "--create", 2)
    assert made["name"] == topic
    assert [part["id"] for part in made["partitions"]] == [0, 1]
    options = ("--key", "ann", "--header", "source=shell", "--partition", 1)
    [first] = told(servers, "produce", topic, '{"id": 7}', *options)
    more = told(servers, "produce", topic, "--partition", 1, stdin="größe\n[8]\n")
    assert [(each["topic"], each["partition"], each["offset"]) for each in (first, *more)] == [
        (topic, 1, offset) for offset in range(3)
    ]
    # By another client: it is the broker that has them.
    records = kafka.read(topic)
    assert [record.value for record in records] == [b'{"id": 7}', "größe".encode(), b"[8]"]
    assert (records[0].key, records[0].headers) == (b"ann", (("source", b"shell"),))
    [described] = told(servers, "topics", topic)
    assert [(part["leader"], part["start"], part["end"]) for part in described["partitions"]] == [(1, 0, 0), (1, 0, 3)]
    assert topic in [each["name"] for each in told(servers, "topics")]
    tail = ("tail", topic, "--from-beginning", "--group", group)
    [shown] = told(servers, *tail, "--max", 1)
    assert shown == first | {"key": "ann", "value": {"id": 7}, "headers": [["source", "shell"]]}
    # Of a partition of which it has committed nothing, a group is as far behind as there are messages.
    lags = {each.pop("partition"): each for each in told(servers, "lag", group)}
    assert lags[1] == {"topic": topic, "position": 1, "end": 3, "lag": 2}
    assert [message["value"] for message in told(servers, *tail, "--max", 2)] == ["größe", [8]]
    assert {each["lag"] for each in told(servers, "lag", group)} == {0}


def buried(kafka: KafkaBroker, topic: str) -> list[dict[str, Any]]:
    """A dead letter of each of two messages that do not parse."""
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        for number, value in enumerate((b"poison", b'{"id": 1}', b"\xff")):
            producer.send(topic, value, key=f"k{number}", headers={"source": "shop"}, timestamp=1_790_000_000_000)
        assert producer.flush(LONG) == 0
    with KafkaConsumerClient(
        topic, kafka.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=30_000, on_error="dead_letter"
    ) as consumer:
        assert next(consumer)["value"] == {"id": 1}
        # The one at the end is read when the next one is asked for.
        lists = consumer.batches(timeout_seconds=0.1)
        while consumer.stats()["dead_lettered_total"] < 2:
            assert next(lists) == []
    return told(kafka.bootstrap_servers, "dlq", "list", topic)


def test_dead_letters_are_listed_and_sent_again(kafka: KafkaBroker) -> None:
    servers, topic = kafka.bootstrap_servers, "cli-dead"
    kafka.create_topic(topic)
    kafka.create_topic(f"{topic}.dlq")
    letters = buried(kafka, topic)
    assert [(letter["key"], letter["value"]) for letter in letters] == [("k0", "poison"), ("k2", {"base64": "/w=="})]
    for letter in letters:
        assert problems("dead-letter.json", dict(letter["headers"])) == []
    assert told(servers, "dlq", "list", topic, "--max", 1) == letters[:1]
    planned = told(servers, "dlq", "replay", topic, "--dry-run")
    assert planned == [{"to": topic} | letter for letter in letters]
    assert len(kafka.read(topic)) == 3, "nothing was sent"
    assert told(servers, "dlq", "replay", topic, "--max", 1) == planned[:1]
    assert told(servers, "dlq", "replay", topic) == planned[1:]
    assert told(servers, "dlq", "replay", topic) == []
    again = kafka.read(topic)[3:]
    assert [(record.key, record.value, record.timestamp_ms) for record in again] == [
        (b"k0", b"poison", 1_790_000_000_000),
        (b"k2", b"\xff", 1_790_000_000_000),
    ]
    for record in again:
        assert dict(record.headers) == {"source": b"shop", "dlq.attempts": b"1"}


def test_a_replay_that_is_refused_is_not_remembered(kafka: KafkaBroker) -> None:
    servers, topic = kafka.bootstrap_servers, "cli-refused"
    kafka.create_topic(topic, config={"max.message.bytes": 1_000})
    kafka.create_topic(f"{topic}.dlq")
    with KafkaProducerClient(servers) as producer:
        producer.send_many(f"{topic}.dlq", ["x" * 2_000], timeout=LONG)
    for _ in range(2):
        printed, said = refused(1, "dlq", "replay", topic, "--json", "-b", servers)
        assert printed == ""
        assert said.endswith("run again to go on with it\n")
    [planned] = told(servers, "dlq", "replay", topic, "--dry-run")
    assert (planned["to"], planned["value"]) == (topic, "x" * 2_000)


def test_a_message_that_is_refused_does_not_stop_the_others(kafka: KafkaBroker) -> None:
    topic = "cli-large"
    kafka.create_topic(topic, config={"max.message.bytes": 1_000})
    rows = ["1", "x" * 2_000, "2"]
    # Told of one by one: a batch that is too large is sent again message by message.
    command = ("produce", topic, "--json", "-b", kafka.bootstrap_servers)
    printed, said = refused(1, *command, stdin="\n".join(rows))
    assert [json.loads(row)["topic"] for row in printed.splitlines()] == [topic] * 2
    assert "larger than the broker takes" in said
    assert sorted(record.value or b"" for record in kafka.read(topic)) == [b"1", b"2"]


def test_a_topic_is_known_once_it_was_made(kafka: KafkaBroker) -> None:
    hub = admin(kafka.bootstrap_servers, None)
    for number in range(100):
        name = f"cli-made-{number}"
        hub.create_topic(name, 3)
        [topic] = hub.topics(name)
        assert [part["leader"] for part in topic["partitions"]] == [1, 1, 1]


def test_a_topic_that_is_there_cannot_be_made(kafka: KafkaBroker) -> None:
    kafka.create_topic("cli-there")
    printed, said = refused(1, "topics", "cli-there", "--create", 1, "--json", "-b", kafka.bootstrap_servers)
    assert printed == ""
    assert "cli-there" in said


COMMANDS = (
    ("produce", "cli", "1"),
    ("tail", "cli", "--max", 1),
    ("topics",),
    ("lag", "cli"),
    ("dlq", "list", "cli"),
    ("dlq", "replay", "cli"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command[:2])))
def test_a_broker_that_is_not_there_is_exit_code_1(command: tuple[object, ...]) -> None:
    printed, said = refused(1, *command, "--json", "-X", "connect_timeout_seconds=1", "-b", "127.0.0.1:9")
    assert printed == ""
    assert "127.0.0.1:9" in said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command[:2])))
def test_a_wrong_password_is_exit_code_1_and_not_shown(secure_kafka: SecureKafka, command: tuple[object, ...]) -> None:
    password = f"not-{PASSWORDS['alice']}"
    given = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "alice",
        "sasl_plain_password": password,
        "ssl_cafile": secure_kafka.certificates.ca,
    }
    options = [word for name, value in given.items() for word in ("-X", f"{name}={value}")]
    printed, said = refused(1, *command, "--json", *options, "-b", secure_kafka.bootstrap_servers)
    assert printed == ""
    assert "uthentication" in said
    assert password not in said
