"""The command line with a hub in a folder: one process after the other has it, or they share it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from tests.kafka.schemas import problems
from tests.kafka.test_cli import gds
from tests.metrics.programs import environment


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"embedded:{tmp_path / 'hub'}"


def kafka(hub: str, *arguments: object, stdin: str = "") -> list[Any]:
    """What a command prints with --json; it must end well and quietly."""
    done = gds("kafka", *arguments, "--json", stdin=stdin, GDS_BOOTSTRAP_SERVERS=hub)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_message_is_produced_and_seen(hub: str) -> None:
    [delivered] = kafka(
        hub, "produce", "orders", '{"id": 7}', "--key", "ann", "--header", "a=1", "--header", "a=2", "--partition", 0
    )
    assert (delivered["topic"], delivered["partition"], delivered["offset"]) == ("orders", 0, 0)
    [message] = kafka(hub, "tail", "orders", "--from-beginning", "--max", 1)
    assert message == delivered | {"key": "ann", "value": {"id": 7}, "headers": [["a", "1"], ["a", "2"]]}


def test_standard_input_is_a_message_a_line(hub: str) -> None:
    lines = ["one", '{"two": 2}', "", "größe"]
    assert len(kafka(hub, "produce", "orders", stdin="\n".join(lines) + "\n")) == 4
    shown = kafka(hub, "tail", "orders", "--from-beginning", "--max", 4)
    assert [message["value"] for message in shown] == ["one", {"two": 2}, "", "größe"]


def test_people_are_told_in_words(hub: str) -> None:
    done = gds("kafka", "produce", "orders", "text", "--key", "ann", "-b", hub)
    assert (done.returncode, done.stdout) == (0, "delivered to orders[0] at offset 0\n")
    done = gds("kafka", "tail", "orders", "--from-beginning", "--max", 1, "-b", hub)
    assert (done.returncode, done.stdout) == (0, "orders[0]@0 ann: text\n")


def test_a_group_goes_on_where_it_was(hub: str) -> None:
    kafka(hub, "produce", "orders", stdin="1\n2\n3\n")
    for expected in ([1, 2], [3]):
        arguments = ("tail", "orders", "--from-beginning", "--group", "g", "--max", len(expected))
        assert [message["value"] for message in kafka(hub, *arguments)] == expected
    kafka(hub, "produce", "orders", "4")
    [lag] = kafka(hub, "lag", "g")
    assert lag == {"topic": "orders", "partition": 0, "position": 3, "end": 4, "lag": 1}


def test_topics_are_made_listed_and_described(hub: str) -> None:
    [made] = kafka(hub, "topics", "orders", "--create", 3)
    assert (made["name"], len(made["partitions"])) == ("orders", 3)
    assert [topic["name"] for topic in kafka(hub, "topics")] == ["orders"]
    again = gds("kafka", "topics", "orders", "--create", 3, "-b", hub)
    assert again.returncode == 1
    assert again.stderr.startswith("gds: ")
    assert "orders" in again.stderr
    assert again.stderr.count("\n") == 1
    table = gds("kafka", "topics", "-b", hub)
    assert "orders" in table.stdout


def test_the_settings_of_a_topic_are_shown_and_changed(hub: str) -> None:
    create = ("topics", "orders", "--create", 1, "--config")
    [made] = kafka(hub, *create, "--set", "cleanup.policy=compact", "--set", "retention.ms=1000")
    expected = {"cleanup.policy": "compact", "retention.ms": "1000", "delete.retention.ms": "86400000"}
    assert expected.items() <= made["config"].items()
    [changed] = kafka(hub, "topics", "orders", "--config", "--set", "cleanup.policy=delete", "--set", "retention.ms=")
    assert changed["config"] == made["config"] | {"cleanup.policy": "delete", "retention.ms": str(7 * 86_400_000)}
    assert "config" not in kafka(hub, "topics", "orders")[0]
    shown = gds("kafka", "topics", "orders", "--config", "-b", hub)
    assert "cleanup.policy" in shown.stdout
    for arguments, said in (
        (("orders", "--set", "cleanup.policy=squeeze"), '"compact,delete"'),
        (("orders", "--set", "cleanup.polcy=compact"), '"cleanup.policy"'),
        (("orders", "--set", "compact"), "expected NAME=VALUE"),
        (("--set", "cleanup.policy=compact"), "expected the NAME"),
        (("--config",), "expected the NAME"),
    ):
        done = gds("kafka", "topics", *arguments, "-b", hub)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_wrong_setting_is_a_line_and_exit_code_2(hub: str) -> None:
    done = gds("kafka", "topics", "-b", hub, "-X", "client_idd=x")
    assert done.returncode == 2
    assert "client_id" in done.stderr
    assert done.stderr.count("\n") == 1


def test_tail_shows_what_a_running_producer_sends(hub: str) -> None:
    with KafkaProducerClient(hub) as producer:
        producer.send_many("orders", [{"id": 1}])
        command = [sys.executable, "-m", "gds_cli", "kafka", "tail", "orders", "--from-beginning", "--json", "-b", hub]
        process = subprocess.Popen(
            [*command, "--max", "3"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["value"] == {"id": 1}
            producer.send_many("orders", [{"id": 2}])
            assert json.loads(process.stdout.readline())["value"] == {"id": 2}
            [delivered] = kafka(hub, "produce", "orders", '{"id": 3}')
            rest, errors = process.communicate()
        finally:
            watchdog.cancel()
            process.kill()
    assert (delivered["offset"], json.loads(rest)["value"], errors) == (2, {"id": 3}, "")


def test_a_hub_that_cannot_be_had_is_a_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = gds("kafka", "topics", "-b", f"embedded:{tmp_path / 'file' / 'hub'}")
    assert done.returncode == 1
    assert done.stderr.startswith("gds: ")
    assert done.stderr.count("\n") == 1


def send_dead_letters(hub: str) -> list[dict[str, Any]]:
    """Three orders of which two do not parse; the dead letters."""
    with KafkaProducerClient(hub) as producer:
        for number, value in enumerate((b"poison", b'{"id": 1}', b"\xff")):
            producer.send("orders", value, key=f"k{number}", headers={"source": "shop"}, timestamp=1_700_000_000_000)
        assert producer.flush(30) == 0
    with KafkaConsumerClient(
        "orders", hub, "billing", auto_offset_reset="earliest", consumer_timeout_ms=500, on_error="dead_letter"
    ) as consumer:
        assert [message["value"] for message in consumer] == [{"id": 1}]
    return kafka(hub, "dlq", "list", "orders")


def test_dead_letters_are_listed_with_what_killed_them(hub: str) -> None:
    letters = send_dead_letters(hub)
    assert [(letter["key"], letter["value"]) for letter in letters] == [("k0", "poison"), ("k2", {"base64": "/w=="})]
    for letter, offset in zip(letters, (0, 2), strict=True):
        headers = dict(letter["headers"])
        assert problems("dead-letter.json", headers) == []
        assert headers["source"] == "shop"
        assert (headers["dlq.topic"], headers["dlq.offset"], headers["dlq.attempts"]) == ("orders", str(offset), "1")
    assert kafka(hub, "dlq", "list", "orders", "--max", 1) == letters[:1]
    assert kafka(hub, "dlq", "list", "orders.dlq") == letters


def test_dead_letters_are_sent_again_once(hub: str) -> None:
    letters = send_dead_letters(hub)
    planned = kafka(hub, "dlq", "replay", "orders", "--dry-run")
    assert planned == [{"to": "orders"} | letter for letter in letters]
    assert kafka(hub, "dlq", "replay", "orders", "--max", 1) == planned[:1]
    assert kafka(hub, "dlq", "replay", "orders") == planned[1:]
    assert kafka(hub, "dlq", "replay", "orders") == []
    replayed = kafka(hub, "tail", "orders", "--from-beginning", "--max", 5)[3:]
    assert [message["key"] for message in replayed] == ["k0", "k2"]
    assert [message["value"] for message in replayed] == ["poison", {"base64": "/w=="}]
    for message in replayed:
        assert sorted(message["headers"]) == [["dlq.attempts", "1"], ["source", "shop"]]
        assert message["timestamp"] == 1_700_000_000_000


def test_a_message_that_dies_again_has_counted_its_attempts(hub: str) -> None:
    send_dead_letters(hub)
    kafka(hub, "dlq", "replay", "orders")
    with KafkaConsumerClient(
        "orders", hub, "billing", auto_offset_reset="earliest", consumer_timeout_ms=500, on_error="dead_letter"
    ) as consumer:
        assert list(consumer) == []
    attempts = [dict(letter["headers"])["dlq.attempts"] for letter in kafka(hub, "dlq", "list", "orders")]
    assert attempts == ["1", "1", "2", "2"]


def test_ctrl_c_ends_tail_at_once_and_quietly(hub: str) -> None:
    kafka(hub, "produce", "orders", "1")
    # A test run in the background ignores Ctrl-C, and what it starts inherits that.
    program = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom gds_cli import main\nmain()"
    )
    command = [sys.executable, "-c", program, "kafka", "tail", "orders", "--from-beginning", "--json", "-b", hub]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["value"] == 1
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
    assert (process.returncode, rest, errors) == (130, "", "")
