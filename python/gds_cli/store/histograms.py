"""Histograms on their way out of a store: native ones as classic ones, and these as the text formats want them."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Labels = dict[str, str]
    Series = tuple[Labels, list[tuple[float, float]]]
    Point = tuple[float, str, Labels, float]

__all__ = ["BUCKET", "COUNT", "SUFFIXES", "SUM", "bases", "from_native", "points"]

BUCKET, COUNT, SUM = SUFFIXES = ("_bucket", "_count", "_sum")
"""What a classic histogram consists of, in the order in which a page has it."""


def bases(names: Iterable[str]) -> set[str]:
    """The names of the classic histograms all of whose parts are among names of metrics."""
    known = {*names}
    found = {name.removesuffix(BUCKET) for name in known if name.endswith(BUCKET)}
    return {base for base in found if base and all(base + suffix in known for suffix in SUFFIXES)}


def from_native(labels: Labels, values: list[tuple[float, dict[str, Any]]]) -> Iterator[Series]:
    """The series of a classic histogram that say what a native one says, as far as they can.

    There is a bucket for each bound that a bucket with observations has at any time. At a time at which the bound is
    inside a wider bucket nobody knows how many are below it, and the series has no sample. What is between two bounds
    of a bucket is no more known than before: the classic histogram is as exact as the native one was.

    Args:
        labels: Those of the series, ``__name__`` among them.
        values: Times and histograms as `gds_store.Store.query` has them.
    """
    bounds = sorted({bound for _, value in values for low, high, _ in value["buckets"] for bound in (low, high)})
    below: dict[float, list[tuple[float, float]]] = {bound: [] for bound in bounds if math.isfinite(bound)}
    for at, value in values:
        buckets = value["buckets"]
        uppers = [high for _, high, _ in buckets]
        counts, total = [0.0], 0.0
        for _, _, count in buckets:
            total += count
            counts.append(total)
        for bound, samples in below.items():
            place = bisect_left(uppers, bound)
            inside = place < len(buckets) and buckets[place][0] < bound < buckets[place][1]
            if not inside:
                samples.append((at, counts[place + (place < len(buckets) and uppers[place] == bound)]))
    name = labels["__name__"]
    # The zero bucket begins below zero: where nothing is below that, it is no bound of the classic one.
    for bound in [bound for bound, samples in below.items() if bound < 0 and not any(count for _, count in samples)]:
        del below[bound]
    for bound, samples in below.items():
        yield {**labels, "__name__": name + BUCKET, "le": json.dumps(bound)}, samples
    yield {**labels, "__name__": name + BUCKET, "le": "+Inf"}, [(at, value["count"]) for at, value in values]
    yield {**labels, "__name__": name + COUNT}, [(at, value["count"]) for at, value in values]
    yield {**labels, "__name__": name + SUM}, [(at, value["sum"]) for at, value in values]


def points(series: Iterable[Series], base: str, open_metrics: bool) -> list[Point] | None:
    """The samples of a classic histogram in the order of a page: for each labels time after time, buckets first.

    Returns:
        Time, name, labels and value of each; None where a page may not call it a histogram: at some time a part is
        missing, buckets fall, or OpenMetrics does not have it: fractions of counts, bounds that are written otherwise,
        sums below zero.
    """
    groups: dict[frozenset[tuple[str, str]], dict[float, dict[str, tuple[Labels, float]]]] = {}
    for labels, samples in series:
        part = labels["__name__"].removeprefix(base)
        key = frozenset((name, value) for name, value in labels.items() if name not in ("__name__", "le"))
        bound = labels.get("le")
        if (bound is not None) is not (part == BUCKET) or (bound is not None and not _is_bound(bound, open_metrics)):
            return None
        times = groups.setdefault(key, defaultdict(dict))
        for at, value in samples:
            if times[at].setdefault(part if bound is None else bound, (labels, value))[0] is not labels:
                return None
    found: list[Point] = []
    for times in groups.values():
        for at in sorted(times):
            parts = times[at]
            ordered = [*sorted((each for each in parts if each not in SUFFIXES), key=float), COUNT, SUM]
            if len(ordered) != len(parts) or not _is_whole(parts, open_metrics):
                return None
            found += [(at, labels["__name__"], labels, value) for labels, value in (parts[each] for each in ordered)]
    return found


def _is_bound(text: str, open_metrics: bool) -> bool:
    try:
        bound = float(text)
    except ValueError:
        return False
    return not math.isnan(bound) and (not open_metrics or text == ("+Inf" if bound == math.inf else json.dumps(bound)))


def _is_whole(parts: dict[str, tuple[Labels, float]], open_metrics: bool) -> bool:
    if not {"+Inf", COUNT, SUM} <= {*parts} or not all(math.isfinite(value) for _, value in parts.values()):
        return False
    bounds = sorted((each for each in parts if each not in SUFFIXES), key=float)
    counts = [parts[each][1] for each in bounds]
    if counts != sorted(counts) or counts[0] < 0 or counts[-1] != parts[COUNT][1]:
        return False
    # OpenMetrics has whole counts, and no sum where there are bounds below zero, or what is summed may be.
    return not open_metrics or (all(map(float.is_integer, counts)) and float(bounds[0]) >= 0 and parts[SUM][1] >= 0)
