"""Rounds, ratios and rows: how everything here is timed and reported."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles
from time import thread_time_ns
from typing import Any, Literal

__all__ = [
    "AT_LEAST",
    "AT_MOST",
    "Bar",
    "Call",
    "Effort",
    "Row",
    "alternate",
    "alternate_pairs",
    "compare",
    "expect",
    "percentile",
    "row",
]

AT_LEAST: Literal["at least"] = "at least"
AT_MOST: Literal["at most"] = "at most"


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Rounds of calls that take less than a microsecond.
        batch_ns: How long one side of such a round takes.
        long_rounds: Rounds of what takes milliseconds to seconds.
        dead: Processes that die before the scrape of many processes.
    """

    rounds: int
    batch_ns: int
    long_rounds: int
    dead: int

    @classmethod
    def of(cls, *, quick: bool) -> Effort:
        """Enough for a figure to quote, or only to see that it works."""
        # A batch is shorter than a time slice of the scheduler, so that most batches are not interrupted at all.
        return cls(60, 1_000_000, 5, 100) if quick else cls(500, 2_000_000, 25, 1_000)


@dataclass(frozen=True)
class Bar:
    """What a ratio has to reach, or to stay below."""

    sense: Literal["at least", "at most"]
    limit: float

    def met(self, ratio: float) -> bool:
        """Whether a ratio, or a figure, does."""
        return ratio >= self.limit if self.sense == AT_LEAST else ratio <= self.limit


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is measured.
        ours: Our figure.
        peer: The peer's figure, if there is one.
        unit: What both are in.
        against: Who the peer is.
        ratio: How many times faster we are where more is better, else our share of the peer's figure.
        low: 10th percentile of the rounds' ratios.
        high: 90th percentile of the rounds' ratios.
        bar: What is to be reached, if anything.
    """

    name: str
    ours: float
    unit: str
    against: str = ""
    peer: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    bar: Bar | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without a bar."""
        if self.bar is None:
            return None
        return self.bar.met(self.ours if self.ratio is None else self.ratio)


class Call:
    """A statement that is timed without the loop around it.

    Args:
        statement: What is timed; the names given are local variables to it.
        spent: What the statement does before the call proper, such as making its arguments: timed alone and taken off.
        names: The variables.
    """

    def __init__(self, statement: str, *, spent: str = "pass", **names: Any) -> None:
        given = {f"given_{name}": value for name, value in names.items()}
        setup = "\n".join(f"{name} = given_{name}" for name in names) or "pass"
        # timeit's loop is `for _ in repeat(None, n)`, with the garbage collector held off. The clock is the CPU time of
        # this thread: these calls do not wait, and what others run meanwhile is not theirs.
        self._call = timeit.Timer(statement, setup, thread_time_ns, given)
        self._spent = timeit.Timer(spent, setup, thread_time_ns, given)

    def run(self, times: int) -> None:
        """Executes the statement that often."""
        self._call.timeit(times)

    def times_in(self, batch_ns: int) -> int:
        """How many calls fill a batch."""
        return max(1, int(batch_ns / min(self._call.timeit(1_000) / 1_000 for _ in range(5))))

    def cost_ns(self, times: int) -> float:
        """Nanoseconds of one call, over a batch of them."""
        return (self._call.timeit(times) - self._spent.timeit(times)) / times


def compare(ours: Call, peer: Call, effort: Effort) -> list[tuple[float, float]]:
    """Nanoseconds of one call of both, round by round."""
    ours_times, peer_times = ours.times_in(effort.batch_ns), peer.times_in(effort.batch_ns)
    rounds = [(ours.cost_ns(ours_times), peer.cost_ns(peer_times)) for _ in range(effort.rounds)]
    # A loop that was interrupted while the empty one ran looks free.
    return [(a, b) for a, b in rounds if a > 0 and b > 0]


def alternate(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """What both return, in turns."""
    return [(ours(), peer()) for _ in range(rounds)]


def alternate_pairs(
    ours: Callable[[], tuple[float, float]], peer: Callable[[], tuple[float, float]], rounds: int
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """What both return, in turns."""
    return [(ours(), peer()) for _ in range(rounds)]


def row(
    name: str,
    rounds: list[tuple[float, float]],
    *,
    unit: str,
    against: str,
    bar: Bar | None = None,
    sense: Literal["at least", "at most"] = AT_LEAST,
) -> Row:
    """The row of rounds of (ours, peer): with `AT_LEAST` the ratio says how many times faster we are."""
    sense = bar.sense if bar else sense
    ratios = [peer / ours if sense == AT_LEAST else ours / peer for ours, peer in rounds]
    return Row(
        name=name,
        ours=median(ours for ours, _ in rounds),
        unit=unit,
        against=against,
        peer=median(peer for _, peer in rounds),
        ratio=median(ratios),
        low=percentile(ratios, 10),
        high=percentile(ratios, 90),
        bar=bar,
    )


def percentile(values: list[float], percent: int) -> float:
    """A percentile, also of a single value."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def expect(what: str, got: object, wanted: object) -> None:
    """Stops the benchmark that would time a wrong answer."""
    if got != wanted:
        raise AssertionError(f"{what}: expected {wanted!r}, got {got!r}")


def clean(lines: bytes) -> Iterator[str]:
    """The samples of a page, without what is said about them."""
    return (line for line in lines.decode().splitlines() if not line.startswith("#"))
