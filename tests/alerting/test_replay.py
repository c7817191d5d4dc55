"""``gds alert replay`` and ``gds alert explain``: rules on what was measured before."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from gds_kafka import KafkaProducerClient
from tests.alerting.running import TOPIC, Measuring, ingest, watching
from tests.cli.commands import gds, objects
from tests.services.fixtures import KafkaFactory

RULES = """\
version: 1
routing:
  default_channel: ingest
  channels:
    ingest: {{type: gds_notification, url: "{url}"}}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {{op: ">", value: 85, clear: 75}}
  - id: cpu_odd
    metric: cpu_usage
    threshold: {{op: "==", value: 91}}
    keep_firing_for: 1s
    limit: {{alerts: 1, within: 1h}}
"""


def measured_live(hub: str, rules: Path, *state: str) -> list[dict[str, object]]:
    """The history of a running ``gds alert run``, the oldest first."""
    with ingest() as received, Measuring(hub) as measuring:
        rules.write_text(RULES.format(url=received.url))
        with watching(rules, hub, "--listen", "127.0.0.1:0", *state) as watcher:
            api = "http://" + watcher.wait_for("gds: API on ").rpartition(" ")[2]
            for instance, value in (("db-1", 92), ("db-2", 91), ("db-1", 80), ("db-1", 10), ("db-2", 10), ("db-3", 91)):
                measuring.measure(instance, value)
            # db-1 and db-2 fire and end, db-3 fires; of the other rule db-2 is told, and that there are more.
            received.wait_for(7)
            history = objects(gds("alert", "history", "--api", api, "--json", "--limit", 100))
            assert watcher.end(signal.SIGINT) == 0
    return history[::-1]


def replays_to_the_byte(hub: str, rules: Path, *state: str) -> None:
    live = measured_live(hub, rules, *state)
    replayed = objects(gds("alert", "replay", "--rules", rules, "--hub", hub, "--from", "1h", "--json"))
    again = [each["transition"] for each in replayed if "transition" in each]
    assert [json.dumps(each) for each in again] == [
        json.dumps({name: each[name] for name in again[0]}) for each in live
    ]
    noise = {each["rule"]: each for each in replayed if "rule" in each}
    assert (noise["cpu_high"]["fired"], noise["cpu_high"]["resolved"]) == (3, 2)
    assert noise["cpu_odd"]["keys"] == {"cpu_odd:db-2:cpu_usage": 1, "cpu_odd:db-3:cpu_usage": 1}


def test_a_replay_of_a_hub_has_the_transitions_of_the_live_run(tmp_path: Path) -> None:
    replays_to_the_byte(f"embedded:{tmp_path / 'hub'}", tmp_path / "rules.yaml")


@pytest.mark.timeout(240)
def test_a_replay_of_kafka_has_the_transitions_of_the_live_run(kafka_factory: KafkaFactory, tmp_path: Path) -> None:
    # All that the broker has is replayed.
    replays_to_the_byte(
        kafka_factory().bootstrap_servers, tmp_path / "rules.yaml", "--state", str(tmp_path / "state.redb")
    )


LINES = [
    {"timestamp": f"2026-03-01T12:0{minute}:00Z", "instance_id": "db-1", "metric_name": "cpu_usage", "value": value}
    for minute, value in enumerate([10, 92, 95, 10, 92])
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES.format(url="http://localhost:1"))
    return file


@pytest.fixture
def history(tmp_path: Path) -> Path:
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join([*map(json.dumps, LINES), "no metric", ""]))
    return file


def test_a_file_is_replayed_within_a_time(rules: Path, history: Path) -> None:
    done = gds("alert", "replay", "--rules", rules, "--file", history, "--from", "2026-03-01T00:00:00Z")
    assert done.returncode == 0, done.stderr
    assert "cpu_high:db-1:cpu_usage (2x)" in done.stdout
    assert done.stdout.endswith("5 samples, and 1 messages that are no metrics\n")
    span = ("--from", "2026-03-01T12:02:00Z", "--to", "2026-03-01T12:03:00Z")
    replayed = objects(gds("alert", "replay", "--rules", rules, "--file", history, *span, "--json"))
    assert [each["transition"]["to"] for each in replayed if "transition" in each] == ["firing", "resolved"]


def test_what_gds_kafka_tail_printed_is_a_history(rules: Path, tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path / 'hub'}"
    with KafkaProducerClient(hub) as producer:
        for each in LINES:
            producer.send(TOPIC, each)
    tailed = tmp_path / "tailed.jsonl"
    tailed.write_text(gds("kafka", "tail", TOPIC, "-b", hub, "--from-beginning", "--max", 5, "--json").stdout)
    done = gds("alert", "replay", "--rules", rules, "--file", tailed, "--json")
    assert [each["fired"] for each in objects(done) if "rule" in each] == [2]


def test_an_alert_is_explained_with_the_samples_that_led_there(rules: Path, history: Path) -> None:
    span = ("--file", history, "--from", "2026-03-01T00:00:00Z")
    done = gds("alert", "explain", "cpu_high:db-1:cpu_usage", "--rules", rules, *span)
    assert done.stdout.splitlines() == [
        "    2026-03-01T12:00:00.000+00:00  10",
        "    2026-03-01T12:01:00.000+00:00  92",
        "2026-03-01T12:01:00.000+00:00  inactive -> firing at 92: condition true",
        "    2026-03-01T12:02:00.000+00:00  95",
        "    2026-03-01T12:03:00.000+00:00  10",
        "2026-03-01T12:03:00.000+00:00  firing -> resolved at 10: condition false",
        "    2026-03-01T12:04:00.000+00:00  92",
        "2026-03-01T12:04:00.000+00:00  inactive -> firing at 92: condition true",
    ]
    none = gds("alert", "explain", "cpu_high:db-7:cpu_usage", "--rules", rules, *span)
    assert none.returncode == 1
    assert "gds: there was cpu_high:db-1:cpu_usage" in none.stderr


def test_what_makes_no_sense_is_refused(rules: Path, history: Path) -> None:
    for given, message in (
        (("--file", history, "--from", "soon"), "--from soon: expected a time such as"),
        (("--file", history, "--from", "1h", "--to", "2h"), "is not before --to"),
        ((), "expected --hub or --file"),
        (("--file", history, "--hub", "embedded:hub"), "expected --hub or --file"),
    ):
        done = gds("alert", "replay", "--rules", rules, *given)
        assert (done.returncode, message in " ".join(done.stderr.split())) == (2, True), done.stderr
    rules.write_text("version: 2\n")
    done = gds("alert", "replay", "--rules", rules, "--file", history)
    assert (done.returncode, f"{rules}:1:10: version: 2 is not known" in done.stderr) == (2, True), done.stderr
