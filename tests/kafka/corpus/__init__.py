"""The lines that redaction is measured on, by family; README.md says how they are written."""

from __future__ import annotations

from pathlib import Path

__all__ = ["INNOCENT", "SECRETS"]


def _families(name: str) -> dict[str, list[str]]:
    return {path.stem: _lines(path.read_text("utf-8")) for path in sorted((Path(__file__).parent / name).glob("*.txt"))}


def _lines(text: str) -> list[str]:
    lines = (line.replace("␤", "\n").replace("¦", "") for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("# ")]


SECRETS = _families("secrets")
"""Lines with secrets, each of which is marked with « and »."""

INNOCENT = _families("innocent")
"""Lines without."""
