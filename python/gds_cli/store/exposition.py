"""Samples as lines: the text formats of Prometheus and OpenMetrics, read strictly and written."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, NamedTuple

from gds_cli.live.page import read_sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gds_cli.live.page import Line

__all__ = ["END", "LineError", "Sample", "family", "read", "write"]

_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VALUES = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[iI]nf(?:inity)?|[nN]a[nN])")
_ONE_LABEL = r'(?:(?:[a-zA-Z_]\w*|"(?:[^"\\]|\\.)*")\s*=\s*)?"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(rf"[^\s{{]*\s*(?:\{{\s*(?:{_ONE_LABEL}\s*(?:,\s*|(?=\}})))*\}})?\s*")
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


def read(lines: Iterable[str], open_metrics: bool) -> Iterator[Sample]:
    """The samples of a page, line by line.

    Args:
        lines: With or without their ends.
        open_metrics: Whether timestamps are seconds, rather than milliseconds.

    Raises:
        LineError: A line is neither a sample nor a comment; the message says which one.
    """
    for number, raw in enumerate(lines, 1):
        text = raw.rstrip("\r\n")
        if not text.strip() or text.lstrip().startswith("#"):
            if open_metrics and text == END:
                return
            continue
        yield _sample(text.strip(), number, open_metrics)


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


def family(name: str) -> str:
    """The line that begins a metric, of which no more is known than its name."""
    return f"# TYPE {name if _PLAIN.fullmatch(name) else _quoted(name)} unknown\n"


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
