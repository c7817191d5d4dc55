"""Metrics once more under the names that other monitors have for them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gds_monitor.packs.document import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gds_monitor.metric import Metric

__all__ = ["Alias", "aliased", "aliases"]

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, kw_only=True)
class Alias:
    """How another monitor calls a metric.

    Attributes:
        name: Theirs; labels of ours in braces are filled in.
        monitor: Whose name it is.
        metric: Ours.
        where: Labels that it has to have.
        labels: Our label by theirs; all others are left out.
        scale: What the value is multiplied with.
        sum: Series that are one without the labels that are left out are added up.
    """

    name: str
    monitor: str
    metric: str
    where: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0
    sum: bool = False


@functools.cache
def aliases() -> Mapping[str, tuple[Alias, ...]]:
    """All of them, by our name of the metric."""
    path = Path(__file__).parent / "data" / "aliases.yaml"
    found: dict[str, list[Alias]] = {}
    for monitor, names in Document.parse(path.read_text("utf-8"), path.name).data.items():
        for name, how in names.items():
            found.setdefault(how["metric"], []).append(Alias(name=name, monitor=monitor, **how))
    return {name: tuple(each) for name, each in found.items()}


def aliased(metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics under the names of other monitors, as far as these have names for them."""
    known = aliases()
    found: dict[tuple[str, frozenset[tuple[str, str]]], Metric] = {}
    for metric in metrics:
        for alias in known.get(metric.metric_name, ()):
            if alias.where.items() <= metric.tags.items():
                _add(found, alias, metric)
    return list(found.values())


def _add(found: dict[tuple[str, frozenset[tuple[str, str]]], Metric], alias: Alias, metric: Metric) -> None:
    labels = {theirs: metric.tags[ours] for theirs, ours in alias.labels.items() if ours in metric.tags}
    name = re.sub(r"\{(\w+)\}", lambda label: _ILLEGAL.sub("_", metric.tags.get(label[1], "")), alias.name)
    value = metric.value if alias.scale == 1.0 else float(metric.value) * alias.scale
    before = found.get((name, frozenset(labels.items())))
    if before is None:
        found[name, frozenset(labels.items())] = replace(metric, metric_name=name, value=value, tags=labels, unit=None)
    elif alias.sum:
        before.value = float(before.value) + float(value)
