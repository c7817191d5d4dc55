"""The rules that come with this package: about metrics that there are, tested, and each with its runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gds_cli.alert.shipped import shipped
from gds_monitor.packs.load import shipped_pack
from tests.cli.commands import gds, objects
from tests.project.documents import ROOT

FILES = shipped()
CASES = ROOT / "tests" / "alerting" / "shipped"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = [(name, rule) for name, text in FILES.items() for rule in yaml.safe_load(text)["rules"]]
IDS = [rule["id"] for _, rule in RULES]
PARTS = ("Means", "Verify", "Do", "Undo")


def metrics_of_packs() -> set[str]:
    packs = [shipped_pack(engine) for engine in ("postgresql", "mongodb", "mssql", "snowflake")]
    return {
        metric.name
        for pack in packs
        for collector in pack.collectors
        for query in collector.queries
        for metric in query.metrics
    }


def metrics_of_this_system() -> set[str]:
    """Those that the sources of monitor, alerting and clients name."""
    found: set[str] = set()
    monitor = (ROOT / "python" / "gds_monitor" / "collectors" / "_packs.py").read_text("utf-8")
    found |= set(re.findall(r'"(monitor\.[\w.]+)"', monitor))
    alerting = "".join(each.read_text("utf-8") for each in (ROOT / "crates/gds-alert-service/src").rglob("*.rs"))
    found |= set(re.findall(r'"(gds_alerting\.\w+)"', alerting))
    clients = (ROOT / "docs" / "kafka.md").read_text("utf-8")
    found |= {f"kafka.producer.{name}" for name in re.findall(r"^\| `(\w+)` \|", clients, re.MULTILINE)}
    return found | {"kafka.consumer.lag"}


EVERY = metrics_of_packs() | metrics_of_this_system()


def test_there_are_rules_for_every_platform() -> None:
    assert sorted(FILES) == ["kafka", "mongodb", "postgresql", "snowflake", "sqlserver", "telemetry"]
    assert len(set(IDS)) == len(IDS) > 30
    assert all(rule["id"].startswith(f"{name}_") for name, rule in RULES)


def test_the_files_are_as_they_are_meant() -> None:
    files = sorted((ROOT / "python" / "gds_alerting" / "shipped").glob("*.yaml"))
    done = gds("alert", "check", *files)
    assert (done.returncode, done.stdout.count("nothing is wrong")) == (0, len(FILES)), done.stdout


@pytest.mark.parametrize(("name", "rule"), RULES, ids=IDS)
def test_a_rule_is_about_a_metric_that_there_is(name: str, rule: dict[str, object]) -> None:
    assert rule["metric"] in (metrics_of_this_system() if name in {"kafka", "telemetry"} else EVERY), rule["metric"]


def test_an_age_has_the_time_at_which_it_was_measured() -> None:
    """One with the time of what it is the age of is never newer than the one before, so no rule would see it grow."""
    wrong = [
        metric.name
        for engine in ("postgresql", "mongodb", "mssql", "snowflake")
        for collector in shipped_pack(engine).collectors
        for query in collector.queries
        for metric in query.metrics
        if metric.name.endswith("age") and query.timestamp
    ]
    assert wrong == []


@pytest.mark.parametrize(("name", "rule"), RULES, ids=IDS)
def test_a_rule_says_what_it_costs_and_what_to_do(name: str, rule: dict[str, object]) -> None:
    assert {"description", "severity", "impact", "runbook_url", "annotations"} <= rule.keys()
    assert rule["runbook_url"] == f"docs/runbooks/{name}.md#{rule['id']}"
    text = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    found = re.search(rf"^## {rule['id']}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no runbook for {rule['id']}"
    assert tuple(re.findall(r"^\*\*(\w+)\.\*\* \S", found[1], re.MULTILINE)) == PARTS


def test_every_rule_fires_and_ends_as_its_case_says() -> None:
    done = gds("alert", "test", *(CASES / f"{id}.yaml" for id in IDS), "--json")
    assert done.returncode == 0, done.stdout
    assert [each["differences"] for each in objects(done)] == [[]] * len(IDS)


@pytest.mark.parametrize("id", IDS)
def test_a_case_is_about_its_rule(id: str) -> None:
    opens, ends = yaml.safe_load((CASES / f"{id}.yaml").read_text("utf-8"))["expect"]["transitions"]
    assert re.match(rf"(firing|no_data)@\d+ {id}:", opens)
    assert re.match(rf"resolved@\d+ {id}:", ends)


def test_there_is_no_case_and_no_runbook_without_a_rule() -> None:
    assert sorted(path.stem for path in CASES.glob("*.yaml")) == sorted(IDS)
    headings = {
        each for path in RUNBOOKS.glob("*.md") for each in re.findall(r"^## (\w+)$", path.read_text(), re.MULTILINE)
    }
    assert headings == set(IDS)


def test_the_command_lists_them_and_prints_a_file_to_begin_with(tmp_path: Path) -> None:
    listed = objects(gds("alert", "rules", "--json"))
    assert [each["rule"] for each in listed] == IDS
    assert listed[IDS.index("postgresql_down")] == {
        "platform": "postgresql",
        "rule": "postgresql_down",
        "severity": "critical",
        "description": "The monitor cannot ask a PostgreSQL server",
    }
    done = gds("alert", "rules", "postgresql", "kafka", "telemetry", "--runbooks", "https://wiki.example.com/runbooks/")
    file = tmp_path / "rules.yaml"
    file.write_text(done.stdout)
    assert gds("alert", "check", file).stdout == f"{file}: nothing is wrong\n"
    printed = yaml.safe_load(done.stdout)["rules"]
    assert [rule["id"] for rule in printed] == [
        rule["id"] for name in ("postgresql", "kafka", "telemetry") for each, rule in RULES if each == name
    ]
    assert printed[0]["runbook_url"] == "https://wiki.example.com/runbooks/postgresql.md#postgresql_down"
    refused = gds("alert", "rules", "oracle")
    assert (refused.returncode, "oracle: expected one of kafka, mongodb" in refused.stderr) == (2, True), refused.stderr
