"""docs/store.md has what a store says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gds_store import Store
from tests.project.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "store.md").read_text("utf-8")


def test_every_figure_of_stats_is_in_the_document(tmp_path: Path) -> None:
    with Store(tmp_path / "series", maintain_seconds=None) as store:
        assert [name for name in store.stats() if f"`{name}`" not in PAGE] == []


def test_every_kind_of_finding_is_in_the_document() -> None:
    source = (ROOT / "crates" / "gds-store" / "src" / "finding.rs").read_text("utf-8")
    body = source.partition("pub enum FindingKind {")[2].partition("}")[0]
    kinds = [line.strip().removesuffix(",") for line in body.splitlines() if line.strip() and "///" not in line]
    assert len(kinds) > 4
    assert [kind for kind in kinds if f"`FindingKind::{kind}`" not in PAGE] == []
