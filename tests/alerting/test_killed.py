"""Killed at random points, the watcher loses no transition, and tells none twice where ids are honoured.

``GDS_ALERTING_KILLS=200`` kills more often; ``GDS_ALERTING_SEED=17`` at other points.
"""

from __future__ import annotations

import os
import random
import re
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from tests.alerting.running import Ingest, Measuring, ingest, watching

KILLS = int(os.environ.get("GDS_ALERTING_KILLS", "6"))
SEED = os.environ.get("GDS_ALERTING_SEED", "1")
INSTANCES = [f"db-{number}" for number in range(5)]

RULES = """\
version: 1
routing:
  default_channel: ingest
  channels:
    ingest: {{type: gds_notification, url: "{url}"}}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {{op: ">", value: 85}}
"""

pytestmark = pytest.mark.timing


def states(received: Ingest) -> dict[str, list[str]]:
    """What was told of each instance, in order."""
    told = defaultdict(list)
    for message in received.by_id.values():
        state, instance = re.match(r"Alert: (\w+) warning: cpu_high:(db-\d):", message["subject"]).groups()  # type: ignore[union-attr]
        told[instance].append(state)
    return told


def test_no_transition_is_lost_and_none_told_twice(tmp_path: Path) -> None:
    hub, rules = f"embedded:{tmp_path / 'hub'}", tmp_path / "rules.yaml"
    dice = random.Random(SEED)
    measured: dict[str, list[str]] = defaultdict(list)

    def work(measuring: Measuring, samples: int) -> None:
        for _ in range(samples):
            instance = dice.choice(INSTANCES)
            state = "RESOLVED" if measured[instance][-1:] == ["FIRING"] else "FIRING"
            measuring.measure(instance, 92 if state == "FIRING" else 10)
            measured[instance].append(state)

    with ingest() as received, Measuring(hub) as measuring:
        rules.write_text(RULES.format(url=received.url))
        for _ in range(KILLS):
            with watching(rules, hub) as watcher:
                work(measuring, dice.randrange(1, 40))
                # At whatever it is with the last of them.
                watcher.process.send_signal(signal.SIGKILL)
                watcher.process.wait()
            work(measuring, dice.randrange(10))
        with watching(rules, hub) as watcher:
            work(measuring, 5)
            received.wait_for(sum(map(len, measured.values())))
            assert watcher.end(signal.SIGINT) == 0
        assert states(received) == measured, f"GDS_ALERTING_SEED={SEED}"
