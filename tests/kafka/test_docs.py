"""docs/kafka.md has every setting, figure, reason and exception there is."""

from __future__ import annotations

import re
from pathlib import Path

import gds_kafka
from gds_kafka.metrics import KafkaMetrics

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "kafka.md").read_text("utf-8")
HUB = ROOT / "crates" / "gds-hub" / "src"


def missing(names: set[str]) -> list[str]:
    return sorted(name for name in names if f"`{name}`" not in TEXT)


def test_every_setting_is_explained() -> None:
    settings = set(re.findall(r'entry\(\s*"([a-z_]+)"', (HUB / "settings" / "table.rs").read_text("utf-8")))
    assert len(settings) > 80
    assert missing(settings) == []


def test_every_figure_of_a_producer_is_explained() -> None:
    folder = ROOT / "src" / "kafka" / "producer"
    source = "".join(path.read_text("utf-8") for path in folder.glob("*.rs"))
    figures = set(re.findall(r'\("([a-z_]+)", stats\.|set_item\("([a-z_]+)", &?stats\.', source))
    names = {name for pair in figures for name in pair if name}
    assert len(names) > 10
    assert missing(names) == []


def test_every_reason_is_explained() -> None:
    folder = HUB / "producer"
    reasons = set(re.findall(r'=> "([a-z_]+)"', (folder / "outcome.rs").read_text("utf-8")))
    for path in folder.glob("*.rs"):
        reasons |= set(re.findall(r'count_dropped\("([a-z_]+)"', path.read_text("utf-8")))
    assert reasons >= {"message_too_large", "buffer_full"}
    assert missing(reasons) == []


def test_every_public_name_is_explained() -> None:
    assert [name for name in gds_kafka.__all__ if name not in TEXT] == []


def test_every_reason_of_kafka_metrics_is_explained() -> None:
    reasons = set(re.findall(r"``([a-z_]+)``", KafkaMetrics.dropped.__doc__ or ""))
    assert missing(reasons) == []
