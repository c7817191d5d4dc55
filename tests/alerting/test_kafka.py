"""``gds alert run`` on Kafka: what an embedded hub does, and what only a cluster has."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.alerting.running import TOPIC, Measuring, ingest, watching
from tests.cli.commands import gds, objects
from tests.services.kafka import KafkaBroker

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
def test_an_alert_survives_a_kill_and_what_is_read_again_is_not_told_again(kafka: KafkaBroker, tmp_path: Path) -> None:
    hub, rules = kafka.bootstrap_servers, tmp_path / "rules.yaml"
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
