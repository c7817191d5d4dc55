"""Pages of `/metrics`: Prometheus text 0.0.4 and OpenMetrics 1.0, as far as a view needs them.

A line that is none is skipped: a view of somebody else's page shows what it can read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import TypeAlias

    Labels: TypeAlias = tuple[tuple[str, str], ...]
    Sample: TypeAlias = tuple[str, Labels]

__all__ = ["Family", "Line", "parse", "read_sample"]

# https://prometheus.io/docs/instrumenting/exposition_formats: names, labels, value, then a timestamp or an exemplar.
# A name that is not plain stands quoted among the labels.
_SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)?\s*(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?\s*(\S+)(?:\s+(.*)|$)')
_LABEL = re.compile(r'(?:([a-zA-Z_]\w*|"(?:[^"\\]|\\.)*")\s*=\s*)?"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("_count", "_sum"),
    "info": ("_info",),
}
_UNITS = ("seconds", "bytes")


@dataclass(slots=True)
class Family:
    """What a page has under one name.

    Attributes:
        kind: ``counter``, ``gauge``, ``histogram``, ``summary`` or ``untyped``; OpenMetrics has more.
        unit: ``seconds``, ``bytes`` or nothing, from the name or the help.
        samples: Values by what the name of the sample has beyond that of the family, and labels.
    """

    name: str
    kind: str = "untyped"
    unit: str = ""
    samples: dict[Sample, float] = field(default_factory=dict)


def parse(page: str) -> dict[str, Family]:
    """The families of a page, by name."""
    families: dict[str, Family] = {}
    for line in page.split("\n"):
        if line.startswith("#"):
            _read_comment(line, families)
        elif line and not line.isspace():
            _read_sample(line, families)
    return {name: family for name, family in families.items() if family.samples}


def _read_comment(line: str, families: dict[str, Family]) -> None:
    parts = line.split(None, 3)
    if len(parts) < 4 or parts[1] not in ("TYPE", "HELP", "UNIT"):
        return
    name, said = parts[2], parts[3].strip()
    family = families.setdefault(name, Family(name, unit=_unit_of(name)))
    if parts[1] == "TYPE":
        family.kind = "untyped" if said == "unknown" else said
    elif parts[1] == "UNIT" or not family.unit:
        # "Timing vault.secret.fetch in seconds." is how this project's own pages say it.
        words = re.findall(r"\w+", said)
        family.unit = words[-1] if words and words[-1] in _UNITS else family.unit


def _unit_of(name: str) -> str:
    stem = name.removesuffix("_total")
    return next((unit for unit in _UNITS if stem.endswith("_" + unit)), "")


class Line(NamedTuple):
    """A line of a sample, as it is written."""

    name: str
    labels: Labels
    value: str
    rest: str
    """What follows the value: a timestamp, an exemplar."""


def read_sample(line: str) -> Line | None:
    """A line with a sample; none where it is something else."""
    found = _SAMPLE.match(line)
    if not found:
        return None
    name, inside, number = found[1] or "", found[2] or "", found[3]
    labels = []
    for key, value in _LABEL.findall(inside):
        if key:
            labels.append((_unescaped(key[1:-1] if key.startswith('"') else key), _unescaped(value)))
        else:
            name = _unescaped(value)
    return Line(name, tuple(labels), number, (found[4] or "").strip())


def _read_sample(line: str, families: dict[str, Family]) -> None:
    found = read_sample(line)
    try:
        value_read = float(found.value) if found else None
    except ValueError:
        return
    if found and value_read is not None and found.name and not found.name.endswith("_created"):
        family, suffix = _family_of(found.name, families)
        family.samples[suffix, found.labels] = value_read


def _family_of(name: str, families: dict[str, Family]) -> tuple[Family, str]:
    own = families.get(name)
    if own is None:
        for suffix in ("_total", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_info"):
            stem = families.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if stem is not None and suffix in _SUFFIXES.get(stem.kind, ()):
                return stem, suffix
        own = families[name] = Family(name, unit=_unit_of(name))
    return own, ""


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text
