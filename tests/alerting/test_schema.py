"""What the engine takes, the JSON Schema for editors takes too."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.kafka.schemas import problems

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "crates" / "gds-alerting" / "tests" / "cases").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_rules_of_each_case_are_those_of_the_schema(case: Path) -> None:
    loaded = yaml.safe_load(case.read_text("utf-8"))
    if "rules" in loaded:
        assert problems("alert-rules.json", loaded["rules"]) == []
    for action in loaded.get("actions", ()):
        if "reload" in action:
            assert problems("alert-rules.json", action["reload"]) == []


def test_there_are_cases() -> None:
    assert len(CASES) > 30
