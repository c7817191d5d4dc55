"""``gds alert check`` and ``gds alert test``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.alerting.running import Measuring
from tests.cli.commands import gds, objects
from tests.project.documents import EXAMPLES, ROOT

RULES = """\
version: 1
routing:
  default_channel: terminal
  channels:
    terminal: {type: log}
rules:
  - id: cpu_high
    metric: cpu_usge
    threshold: {op: ">", value: 85, for: 5m}
    annotations: {summary: "{{ instance }} is busy"}
"""

CASE = """\
description: It fires after five minutes
rules_file: rules.yaml
input_series:
  - {series: 'cpu_usge{instance_id="db-1"}', values: "90x6"}
expect:
  transitions: [firing@AT cpu_high:db-1:cpu_usge]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def test_the_example_is_as_it_is_meant() -> None:
    done = gds("alert", "check", EXAMPLES / "monitoring" / "rules.yaml")
    assert (done.returncode, done.stdout.endswith("nothing is wrong\n")) == (0, True), done.stdout


def test_doubts_have_line_and_column(rules: Path) -> None:
    done = gds("alert", "check", rules)
    assert done.returncode == 1
    assert f"{rules}:10:19: doubt: rules[0].annotations.summary: `instance` is always empty" in done.stdout


def test_errors_have_line_and_column_and_a_remedy(rules: Path) -> None:
    rules.write_text(RULES.replace("rules:", "ruels:"))
    done = gds("alert", "check", rules, "--json")
    assert done.returncode == 1
    found = objects(done)
    assert [each["level"] for each in found] == ["error"] * len(found)
    assert {"line": 6, "column": 1}.items() <= found[0].items() or {"line": 6, "column": 1}.items() <= found[1].items()
    assert "did you mean `rules`?" in json.dumps(found)


def test_a_metric_that_nobody_reports_is_found_on_the_hub(rules: Path, tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path / 'hub'}"
    with Measuring(hub) as measuring:
        measuring.measure("db-1", 1)
        done = gds("alert", "check", rules, "--hub", hub)
    assert (
        f"{rules}:8:5: doubt: rules[0].metric: there is no metric `cpu_usge` on the hub; did you mean `cpu_usage`?"
        in done.stdout
    )


def test_cases_are_run_and_what_differs_is_shown(rules: Path) -> None:
    case = rules.with_name("case.yaml")
    case.write_text(CASE.replace("AT", "300"))
    done = gds("alert", "test", case)
    assert (done.returncode, done.stdout) == (0, f"ok  {case}: It fires after five minutes\n")
    case.write_text(CASE.replace("AT", "240"))
    done = gds("alert", "test", case)
    assert done.returncode == 1
    assert done.stdout.startswith(f"FAILED  {case}: ")
    assert "firing@240" in done.stdout
    assert "firing@300" in done.stdout
    case.write_text(CASE.replace("rules.yaml", "none.yaml"))
    done = gds("alert", "test", case)
    assert (done.returncode, "none.yaml" in done.stderr) == (2, True), done.stderr


def test_the_cases_of_the_engine_are_cases_of_the_command() -> None:
    cases = sorted((ROOT / "crates" / "gds-alerting" / "tests" / "cases").glob("*.yaml"))
    done = gds("alert", "test", *cases, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [each["differences"] for each in objects(done)] == [[]] * len(cases)
    assert len(cases) > 30
