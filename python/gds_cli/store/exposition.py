"""Samples as lines: the text formats of Prometheus and OpenMetrics, read strictly and written."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, NamedTuple

from gds_cli.live.page import read_sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gds_cli.live.page import Line

__all__ = ["END", "LineError", "Sample", "family", "read", "write"]

_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VALUES = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[iI]nf(?:inity)?|[nN]a[nN])")
_ONE_LABEL = r'(?:(?:[a-zA-Z_]\w*|"(?:[^"\\]|\\.)*")\s*=\s*)?"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(rf"[^\s{{]*\s*(?:\{{\s*(?:{_ONE_LABEL}\s*(?:,\s*|(?=\}})))*\}})?\s*")
_SAID = re.compile(r'#\s+(TYPE|HELP|UNIT)\s+("(?:[^"\\]|\\.)*"|\S+)\s*(.*)')
_TYPES = ("counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown")
END = "# EOF"


class Sample(NamedTuple):
    """A sample of a page.

    Attributes:
        timestamp: Seconds since 1970; None where the line has none.
    """

    name: str
    labels: dict[str, str]
    value: float
    timestamp: float | None


class LineError(ValueError):
    """A line is no sample."""


def read(lines: Iterable[str], open_metrics: bool, said: dict[str, dict[str, str]] | None = None) -> Iterator[Sample]:
    """The samples of a page, line by line.

    Args:
        lines: With or without their ends.
        open_metrics: Whether timestamps are seconds, rather than milliseconds.
        said: Filled with the type, the help and the unit of metrics, as far as lines say them.

    Raises:
        LineError: A line is neither a sample nor a comment; the message says which one.
    """
    for number, raw in enumerate(lines, 1):
        text = raw.rstrip("\r\n")
        if not text.strip() or text.lstrip().startswith("#"):
            if open_metrics and text == END:
                return
            if said is not None:
                _comment(text, said)
            continue
        yield _sample(text.strip(), number, open_metrics)


def _comment(text: str, said: dict[str, dict[str, str]]) -> None:
    found = _SAID.fullmatch(text.strip())
    if not found:
        return
    what, name, rest = found[1].lower(), found[2], found[3]
    if name.startswith('"'):
        name = _unescaped(name[1:-1])
    if what == "type":
        rest = {"untyped": "unknown"}.get(rest, rest)
        if rest not in _TYPES:
            return
    said.setdefault(name, {})[what] = _unescaped(rest) if what == "help" else rest


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda each: {"n": "\n"}.get(each[1], each[1]), text)


def _sample(text: str, number: int, open_metrics: bool) -> Sample:
    found = read_sample(text)
    rest = found.rest if found else ""
    if open_metrics:
        # An exemplar follows.
        rest = rest.partition("# ")[0].rstrip()
    if found is None or not found.name or not _is_whole(text, found) or not _VALUES.fullmatch(found.value):
        raise LineError(f'line {number}: expected a sample such as requests_total{{job="api"}} 42, got {text!r}')
    timestamp = None
    if rest:
        try:
            timestamp = float(rest) / (1 if open_metrics else 1000)
        except ValueError:
            timestamp = math.nan
        if not math.isfinite(timestamp):
            raise LineError(f"line {number}: expected a timestamp behind the value, got {rest!r}")
    return Sample(found.name, dict(found.labels), float(found.value), timestamp)


def _is_whole(text: str, found: Line) -> bool:
    """Whether there is nothing in a line but what was found in it."""
    head = text[: len(text) - len(found.rest)].rstrip().removesuffix(found.value)
    return head[-1:] in (" ", "\t", "}") and _HEAD.fullmatch(head) is not None


def family(name: str, metadata: Mapping[str, Mapping[str, str]], open_metrics: bool) -> str:
    """The lines that begin a metric.

    A gauge, a counter and a histogram, which is given by its own name, are called so where that is known; all others
    are ``unknown``: what belongs to a summary may not stand together here, as its type would ask.
    """
    stem = name.removesuffix("_total")
    known = metadata.get(name) or (metadata.get(stem) if name != stem else None) or {}
    kind, shown = known.get("type", ""), name
    if kind == "counter" and open_metrics:
        shown = stem
    if kind not in ("gauge", "counter", "histogram") or (kind == "counter" and name == stem and open_metrics):
        kind, shown = ("unknown" if open_metrics else "untyped"), name
    title = shown if _PLAIN.fullmatch(shown) else _quoted(shown)
    text = known.get("help", "").replace("\\", "\\\\").replace("\n", "\\n")
    if open_metrics:
        text = text.replace('"', '\\"')
    unit = known.get("unit", "")
    lines = [f"# TYPE {title} {kind}\n"]
    if unit and open_metrics and shown.endswith(f"_{unit}"):
        lines.append(f"# UNIT {title} {unit}\n")
    if text:
        lines.append(f"# HELP {title} {text}\n")
    return "".join(lines)


def write(name: str, labels: dict[str, str], value: float, timestamp: float, open_metrics: bool) -> str:
    """A line, without its end."""
    pairs = [f"{_label(each)}={_quoted(labels[each])}" for each in sorted(labels) if each != "__name__"]
    head = name if _PLAIN.fullmatch(name) else ""
    if not head:
        pairs.insert(0, _quoted(name))
    inside = f"{{{','.join(pairs)}}}" if pairs else ""
    at = f"{timestamp:.3f}" if open_metrics else f"{timestamp * 1000:.0f}"
    return f"{head}{inside} {_number(value)} {at}"


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'


def _number(value: float) -> str:
    if math.isfinite(value):
        return json.dumps(value)
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
