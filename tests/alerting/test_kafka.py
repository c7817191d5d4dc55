"""``gds alert run`` on Kafka: what an embedded hub does, and what only a cluster has."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from queue import Empty

import pytest

from tests.alerting.running import LONG_SECONDS, TOPIC, Measuring, ingest, signs_of_life, watching
from tests.cli.commands import gds, objects
from tests.helpers.web import fetch
from tests.services.fixtures import KafkaFactory

RULES = """\
version: 1
routing:
  default_channel: ingest
  channels:
    ingest: {{type: gds_notification, url: "{url}"}}
    bus: {{type: hub}}
  routes:
    - {{channels: [ingest, bus]}}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {{op: ">", value: 85}}
"""


@pytest.mark.timeout(240)
def test_an_alert_survives_a_kill_and_what_is_read_again_is_not_told_again(
    kafka_factory: KafkaFactory, tmp_path: Path
) -> None:
    hub, rules = kafka_factory().bootstrap_servers, tmp_path / "rules.yaml"
    state = ("--state", str(tmp_path / "state.redb"))
    with ingest() as received, Measuring(hub) as measuring:
        rules.write_text(RULES.format(url=received.url))
        with watching(rules, hub, *state) as watcher:
            measuring.measure("db-1", 92)
            received.wait_for(1)
            watcher.process.send_signal(signal.SIGKILL)
            watcher.process.wait()
        # What the group has not noted is read once more.
        measuring.measure("db-1", 10)
        with watching(rules, hub, *state) as watcher:
            fired, over = received.wait_for(2)
            measuring.measure("db-2", 92)
            received.wait_for(3)
            assert watcher.end(signal.SIGINT) == 0
    assert (fired["subject"].split()[1], over["subject"].split()[1]) == ("FIRING", "RESOLVED")
    events = objects(gds("kafka", "tail", "gds.alerts", "-b", hub, "--from-beginning", "--max", 3, "--json"))
    assert [each["value"]["type"] for each in events] == ["alert.triggered", "alert.resolved", "alert.triggered"]
    lag = objects(gds("kafka", "lag", "gds-alerting-default", "-b", hub, "--json"))
    assert {each["topic"] for each in lag} == {TOPIC}
    assert sum(each["lag"] for each in lag) == 0


HEARTBEAT = """\
version: 1
routing:
  default_channel: terminal
  heartbeat: {{channel: deadman, every: 1s}}
  channels:
    terminal: {{type: log}}
    deadman: {{type: webhook, url: "{url}"}}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {{op: ">", value: 85}}
"""


@pytest.mark.timeout(240)
def test_no_sign_of_life_goes_out_while_the_hub_is_away(kafka_factory: KafkaFactory, tmp_path: Path) -> None:
    kafka = kafka_factory()
    rules = tmp_path / "rules.yaml"

    def wait_for_status(port: int, status: int) -> None:
        until = time.monotonic() + LONG_SECONDS
        while fetch(port, "/readyz").status != status:
            assert time.monotonic() < until, f"/readyz does not become {status}"

    arguments = ("--state", str(tmp_path / "state.redb"), "--listen", "127.0.0.1:0")
    with signs_of_life() as (url, beats), Measuring(kafka.bootstrap_servers) as measuring:
        rules.write_text(HEARTBEAT.format(url=url))
        measuring.measure("db-1", 10)
        with watching(rules, kafka.bootstrap_servers, *arguments) as watcher:
            port = int(watcher.wait_for("gds: API on ").rpartition(":")[2])
            wait_for_status(port, 200)
            assert beats.get(timeout=LONG_SECONDS)["alerts"][0]["labels"]["alertname"] == "Watchdog"
            kafka.pause()
            wait_for_status(port, 503)
            while not beats.empty():
                beats.get()
            with pytest.raises(Empty):
                beats.get(timeout=3)
            kafka.resume()
            wait_for_status(port, 200)
            beats.get(timeout=LONG_SECONDS)
            assert watcher.end(signal.SIGINT) == 0
