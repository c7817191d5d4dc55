"""What a query that is being typed can go on with: names of metrics, of labels, and values of labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gds_cli.query.asked import Asked

__all__ = ["complete"]

_METRIC = re.compile(r"[a-zA-Z_:][\w:]*")
# An open brace, the metric before it, whole matchers, and what is being typed: a label, or the text behind one.
_IN_BRACES = re.compile(
    r'(?P<metric>[a-zA-Z_:][\w:]*)?\{(?:\s*\w+\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"\s*,)*\s*'
    r'(?:(?P<label>\w*)|(?P<of>\w+)\s*(?:=~|!~|!=|=)\s*"(?P<value>[^"\\]*))$'
)
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\((?:\s*\w+\s*,)*\s*(\w*)$")
_WORD = re.compile(r"[a-zA-Z_:][\w:]*$")

MOST = 200


def complete(typed: str, asked: Asked, functions: Sequence[str] = ()) -> list[str]:
    """The query with each of its possible next words.

    Args:
        typed: As far as it is typed.
        asked: Who knows the names.
        functions: What may stand where a metric may.
    """
    inside = _IN_BRACES.search(typed)
    if inside:
        selectors = [inside["metric"]] if inside["metric"] else []
        if inside["of"]:
            return _extended(typed, inside["value"], asked.values(inside["of"], selectors), '"')
        return _extended(typed, inside["label"], asked.labels(selectors), '="', lambda name: name != "__name__")
    grouped = _GROUPED.search(typed)
    if grouped:
        named = _METRIC.findall(typed)
        metrics = [name for name in named if name in set(asked.values("__name__"))]
        return _extended(typed, grouped[1], asked.labels(metrics), "", lambda name: name != "__name__")
    word = _WORD.search(typed)
    begun = word[0] if word else ""
    names = _extended(typed, begun, asked.values("__name__"), "", lambda name: _METRIC.fullmatch(name) is not None)
    return (names + _extended(typed, begun, functions if begun else (), "("))[:MOST]


def _extended(
    typed: str, begun: str, names: Sequence[str], end: str, wanted: Callable[[str], bool] = lambda _: True
) -> list[str]:
    head = typed[: len(typed) - len(begun)]
    return [head + name + end for name in names if name.startswith(begun) and wanted(name)][:MOST]
