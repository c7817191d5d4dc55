"""Settings of the collectors: checked once, at construction, with messages that say what to change."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DEFAULT_BUCKETS", "checked_buckets", "described", "log_failure", "path", "seconds", "secret_pairs"]
__all__ += ["text", "whole"]

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the buckets that nobody described; an infinite one follows by itself. Seconds for timings."""


def checked_buckets(buckets: Sequence[float]) -> list[float]:
    """Buckets as floats, without the infinite one that follows by itself."""
    expected = "ascending finite bounds, at least one"
    try:
        bounds = [float(bound) for bound in buckets]
    except (TypeError, ValueError) as error:
        raise TypeError(f"buckets={buckets!r}: expected {expected}, as a sequence of numbers") from error
    except OverflowError as error:
        raise ValueError(f"buckets={buckets!r}: expected {expected}, none beyond the range of a float") from error
    if bounds and bounds[-1] == math.inf:
        bounds.pop()
    ascending = all(low < high for low, high in pairwise(bounds))
    if not bounds or not ascending or not all(map(math.isfinite, bounds)):
        raise ValueError(f"buckets={buckets!r}: expected {expected}, such as (0.1, 1.0, 10.0)")
    return bounds


def described(
    help: str | None, unit: str | None, buckets: Sequence[float] | None, max_series: int | None
) -> dict[str, Any]:
    """What a program says about a metric."""
    return {
        "help": None if help is None else text("help", help),
        "unit": None if unit is None else text("unit", unit),
        "buckets": None if buckets is None else checked_buckets(buckets),
        "max_series": None
        if max_series is None
        else whole("max_series", max_series, 1, 100_000_000, "how many series the name may have"),
    }


def path(setting: str, value: str | os.PathLike[str]) -> str:
    """A path as text, from the root: what it names stays what it named when the program changes its folder later."""
    try:
        given = os.fsdecode(value)
    except TypeError as error:
        message = f"{setting}={value!r}: expected a path, as a str or os.PathLike, got {type(value).__name__}"
        raise TypeError(message) from error
    if not given or given.startswith("/"):
        return given
    from pathlib import Path

    return str(Path.cwd() / given)


def seconds(setting: str, value: float) -> float:
    """A duration in seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{setting}={value!r}: expected a number of seconds")
    if not 0.001 <= value <= 1e9:
        raise ValueError(f"{setting}={value!r}: expected a number of seconds from 0.001 to 1e9")
    return float(value)


def secret_pairs(setting: str, mapping: Mapping[str, object] | None) -> list[tuple[str, str]] | None:
    """Pairs of text of which only the names are ever shown: headers hold secrets, in whatever form they were passed."""
    if mapping is None:
        return None
    items = getattr(mapping, "items", None)
    if items is None:
        raise TypeError(f"{setting}: expected a dict of str to str, got {type(mapping).__name__}")
    found = []
    for name, value in items():
        if isinstance(value, (bytes, bytearray)):
            raise TypeError(f"{setting}[{name!r}]: expected a str, got {type(value).__name__}; decode it first")
        found.append((text(setting, name), str(value)))
    return found


def text(setting: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{setting}={value!r}: expected a str, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{setting}={value!r}: expected text that UTF-8 can hold, without lone surrogates") from error
    return value


def whole(setting: str, value: int, low: int, high: int, remedy: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{setting}={value!r}: expected a whole number from {low} to {high}; {remedy}")
    if not low <= value <= high:
        raise ValueError(f"{setting}={value!r}: expected a whole number from {low} to {high}; {remedy}")
    return value


def log_failure(message: str, *arguments: object) -> None:
    """Mention something in the log ``gds_metrics``; what a handler raises goes no further."""
    import logging
    from contextlib import suppress

    with suppress(Exception):
        logging.getLogger("gds_metrics").warning(message, *arguments)
