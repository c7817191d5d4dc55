"""``gds alert run``: a page and its resolve in a terminal, other rules, faults, a good end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.alerting.running import LONG_SECONDS, Measuring, ingest, watching
from tests.cli.commands import clean_environment, gds
from tests.project.documents import EXAMPLES

MONITORING = EXAMPLES / "monitoring"
GENERATOR = MONITORING / "generate_synthetic_metrics.py"

RULES = """\
version: 1
routing:
  default_channel: terminal
  channels:
    terminal: {type: log}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {op: ">", value: 85}
    severity: critical
    page: true
"""


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"embedded:{tmp_path / 'hub'}"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def test_a_page_and_its_resolve_are_seen_within_a_minute(hub: str) -> None:
    generator = [sys.executable, str(GENERATOR), "spike", "--hub", hub, "--seconds", "40"]
    with watching(MONITORING / "rules.yaml", hub) as watcher:
        began = time.monotonic()
        with subprocess.Popen(generator, env=clean_environment()) as made:
            watcher.wait_for(" FIRING critical page cpu_high:db-1:cpu_usage")
            watcher.wait_for("    runbook: https://example.com/runbooks/cpu")
            watcher.wait_for(" RESOLVED critical page cpu_high:db-1:cpu_usage")
            assert time.monotonic() - began < 60
            made.send_signal(signal.SIGINT)
            assert made.wait(LONG_SECONDS) == 0
        assert watcher.end(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in watcher.printed), watcher.printed


@pytest.mark.parametrize("scenario", ["steady", "drift", "season", "outage"])
def test_each_scenario_gives_messages_on_standard_output(scenario: str) -> None:
    made = subprocess.run(
        [sys.executable, str(GENERATOR), scenario, "--seconds", "0.3", "--interval", "0.1"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG_SECONDS,
    )
    assert made.stdout.count('"metric_name": "availability"') == 3
    assert made.stderr == ""


def test_state_is_beside_the_hub_and_goes_on(hub: str, rules: Path, tmp_path: Path) -> None:
    with Measuring(hub) as measuring:
        with watching(rules, hub) as watcher:
            measuring.measure("db-1", 92)
            watcher.wait_for(" FIRING critical page cpu_high:db-1:cpu_usage")
            assert watcher.end(signal.SIGTERM) == 0
        assert (tmp_path / "hub.alerting-default.redb").is_file()
        with watching(rules, hub) as watcher:
            measuring.measure("db-1", 10)
            watcher.wait_for(" RESOLVED critical page cpu_high:db-1:cpu_usage")
            assert watcher.end(signal.SIGINT) == 0
        assert not any("FIRING" in line for line in watcher.printed)


def test_a_changed_file_is_taken_and_a_faulty_one_is_not(hub: str, rules: Path) -> None:
    with Measuring(hub) as measuring, watching(rules, hub) as watcher:
        rules.write_text(RULES.replace("85", "eighty"))
        complaint = watcher.wait_for("rules[0].threshold")
        assert f"{rules}:9:" in complaint, complaint
        watcher.wait_for("stays as it was before")
        rules.write_text(RULES.replace("cpu_high", "cpu_busy"))
        watcher.wait_for("was read again")
        measuring.measure("db-1", 92)
        watcher.wait_for(" FIRING critical page cpu_busy:db-1:cpu_usage")
        watcher.process.send_signal(signal.SIGHUP)
        watcher.wait_for("was read again")
        assert watcher.end(signal.SIGINT) == 0


def test_what_keeps_it_from_starting_is_said_with_its_place(hub: str, rules: Path, tmp_path: Path) -> None:
    rules.write_text(RULES.replace("threshold", "treshold"))
    done = gds("alert", "run", "--rules", rules, "--hub", hub)
    assert done.returncode == 2
    assert f"{rules}:9:5: rules[0].treshold: unknown key `treshold`; did you mean `threshold`?" in done.stderr
    rules.write_text(RULES.replace("{type: log}", "{type: pagerduty, service: oncall}"))
    done = gds("alert", "run", "--rules", rules, "--hub", hub)
    assert done.returncode == 2
    assert "GDS_ALERTING_TERMINAL_ROUTING_KEY" in done.stderr
    done = gds("alert", "run", "--rules", tmp_path / "none.yaml", "--hub", hub)
    assert (done.returncode, "none.yaml" in done.stderr) == (1, True)


def test_a_second_process_leaves_the_state_to_the_first(hub: str, rules: Path) -> None:
    with watching(rules, hub):
        done = gds("alert", "run", "--rules", rules, "--hub", hub)
        assert done.returncode == 1
        assert "in use by another process" in done.stderr


def test_credentials_come_from_files_and_the_environment(hub: str, rules: Path, tmp_path: Path) -> None:
    with ingest() as received, Measuring(hub) as measuring:
        (tmp_path / "url").write_text(received.url + "\n")
        rules.write_text(RULES.replace("{type: log}", "{type: gds_notification, db_instance_ids: {db-1: 17}}"))
        where = str(tmp_path / "url")
        with watching(rules, hub, GDS_ALERTING_TERMINAL_URL_FILE=where) as watcher:
            measuring.measure("db-1", 92)
            measuring.measure("db-1", 10)
            fired, over = received.wait_for(2)
            assert watcher.end(signal.SIGINT) == 0
    assert (fired["alert_name"], fired["db_instance_id"]) == ("cpu_high", 17)
    assert fired["subject"].startswith("Alert: FIRING critical: ")
    assert over["subject"].startswith("Alert: RESOLVED critical: ")
