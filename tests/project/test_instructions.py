"""The numbers of instructions that ``make bench-check`` compares with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.instructions import KEPT, grown

ROOT = Path(__file__).parents[2]


def test_a_number_is_kept_for_each_path() -> None:
    source = (ROOT / "bench" / "core" / "src" / "main.rs").read_text("utf-8")
    paths = re.search(r"const PATHS: .*?\];", source, re.DOTALL)
    assert paths is not None
    names = re.findall(r'^    \("([^"]+)",', paths[0], re.MULTILINE)
    assert len(names) > 10
    assert list(json.loads(KEPT.read_text("utf-8"))) == names


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"a": 100}, []),
        ({"a": 105}, []),
        ({"a": 50}, []),
        ({"a": 106}, ["a: 106 instructions, 6% more than the 100 kept"]),
        ({"a": 100, "b": 1}, ["b: no number is kept; run with --write"]),
        ({}, ["a: there is no such path any more; run with --write"]),
    ],
)
def test_only_growth_and_what_is_unknown_are_said(now: dict[str, int], said: list[str]) -> None:
    assert grown({"a": 100}, now) == said
