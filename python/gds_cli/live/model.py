"""What the sources told, and what can be said of it now: rates, percentiles, lag.

Sources feed it from threads of their own; `Model.snapshot` is what a view shows. Rates and percentiles are those of the
last `WINDOW_SECONDS`. Nothing is kept for longer, and a counter that begins anew counts on.
"""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gds_cli.live.rising import Rising

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from gds_cli.live.page import Family, Labels

__all__ = ["Counter", "Distribution", "Gauge", "Group", "LogLine", "Model", "Snapshot", "State", "Topic", "quantile"]

TRAIL = 24
"""How many rates a row remembers, to draw them."""

LOG_LINES = 200
QUANTILES = (0.5, 0.9, 0.99)

# What nobody wants to see grow: by the name of the counter, or by the label of an answer.
_BAD = re.compile(r"error|fail|denied|refus|reject|drop|unreachable|time(d_)?out|panic|abort|lost", re.IGNORECASE)
_ANSWERS = ("code", "status", "status_code")


@dataclass(slots=True)
class State:
    """Whether a source answers. ``error`` is empty until it did not."""

    kind: str
    name: str
    reachable: bool | None = None
    error: str = ""


@dataclass(slots=True)
class Counter:
    """A counter, its series together; one that tells of something bad has a row for each series."""

    name: str
    labels: Labels = ()
    unit: str = ""
    total: float = 0.0
    per_second: float | None = None
    trail: tuple[float, ...] = ()


@dataclass(slots=True)
class Distribution:
    """A histogram or summary, its series together. A quantile is infinite beyond ``highest_bound``."""

    name: str
    unit: str = ""
    count: float = 0.0
    per_second: float | None = None
    quantiles: tuple[float | None, ...] = (None,) * len(QUANTILES)
    highest_bound: float | None = None


@dataclass(slots=True)
class Gauge:
    """One series of a gauge."""

    name: str
    labels: Labels
    unit: str
    value: float
    moves: bool


@dataclass(slots=True)
class Topic:
    """A topic: messages it ever took, as its end offsets tell."""

    name: str
    messages: int
    per_second: float | None


@dataclass(slots=True)
class Group:
    """How far a group is behind in a topic; ``lag`` is None while it has committed nothing."""

    name: str
    topic: str
    lag: int | None
    per_second: float | None = None


@dataclass(slots=True)
class LogLine:
    """A line of the logs topic, ``number`` counting from one."""

    number: int
    at_seconds: float
    level: str
    logger: str
    message: str


@dataclass(slots=True)
class Snapshot:
    """What is to be shown now."""

    elapsed_seconds: float = 0.0
    sources: list[State] = field(default_factory=list)
    counters: list[Counter] = field(default_factory=list)
    errors: list[Counter] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    gauges: list[Gauge] = field(default_factory=list)
    topics: list[Topic] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)

    def as_json(self, logs_after: int = 0) -> dict[str, Any]:
        """It as JSON has it, with the log lines behind that number."""

        def rate(value: float | None) -> float | None:
            return None if value is None or not math.isfinite(value) else round(value, 3)

        return {
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "sources": [
                {"kind": each.kind, "name": each.name, "reachable": each.reachable, "error": each.error or None}
                for each in self.sources
            ],
            "counters": {
                each.name: {"total": _number(each.total), "per_second": rate(each.per_second)} for each in self.counters
            },
            "errors": [
                {
                    "name": each.name,
                    "labels": dict(each.labels),
                    "total": _number(each.total),
                    "per_second": rate(each.per_second),
                }
                for each in self.errors
            ],
            "distributions": {
                each.name: {
                    "unit": each.unit or None,
                    "count": _number(each.count),
                    "per_second": rate(each.per_second),
                    **{
                        f"p{q * 100:g}": None if value is None else _number(value)
                        for q, value in zip(QUANTILES, each.quantiles, strict=True)
                    },
                    "highest_bound": each.highest_bound,
                }
                for each in self.distributions
            },
            "gauges": [
                {"name": each.name, "labels": dict(each.labels), "value": _number(each.value)} for each in self.gauges
            ],
            "topics": {
                each.name: {"messages": each.messages, "per_second": rate(each.per_second)} for each in self.topics
            },
            "groups": [
                {"group": each.name, "topic": each.topic or None, "lag": each.lag, "per_second": rate(each.per_second)}
                for each in self.groups
            ],
            "logs": [
                {"timestamp": each.at_seconds, "level": each.level, "logger": each.logger, "message": each.message}
                for each in self.logs
                if each.number > logs_after
            ],
        }


def _number(value: float) -> float | None:
    """JSON has neither infinities nor NaN."""
    return value if math.isfinite(value) else None


def quantile(wanted: float, buckets: Mapping[float, float]) -> float | None:
    """A quantile of a histogram, linear within its bucket, as Prometheus reckons it.

    Args:
        wanted: Which, from 0 to 1.
        buckets: How many are at most each bound, the last of which is infinite.

    Returns:
        In the unit of the bounds; infinite if it is beyond the last finite one, None without observations.
    """
    total = max(buckets.values(), default=0.0)
    if total <= 0:
        return None
    rank = wanted * total
    low, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank and count > below:
            if math.isinf(bound):
                return math.inf
            if low == 0.0 and bound <= 0:
                return bound
            return low + (bound - low) * max(0.0, rank - below) / (count - below)
        low, below = bound, max(below, count)
    return math.inf


class _PageState:
    """The last page of one source."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}
        self.before: dict[str, Family] = {}
        self.rising: Rising[tuple[str, str, Labels]] = Rising()

    def feed(self, at_seconds: float, families: dict[str, Family]) -> None:
        self.before, self.families = self.families, families
        self.rising.feed(
            at_seconds,
            {
                (family.name, suffix, labels): value
                for family in families.values()
                if family.kind in ("counter", "histogram", "summary")
                for (suffix, labels), value in family.samples.items()
                if not math.isnan(value) and (suffix or family.kind == "counter")
            },
        )


class Model:
    """What is known of all sources. Any thread may call any method.

    Args:
        first: What the names of those metrics begin with that are to be shown before others.
    """

    def __init__(self, first: str = "") -> None:
        self._first = first
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._pages: dict[str, _PageState] = {}
        self._trails: dict[str, deque[float]] = {}
        self._topics: dict[str, Rising[str]] = {}
        self._groups: dict[tuple[str, str], tuple[Rising[str], dict[str, int | None]]] = {}
        self._logs: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._log_count = 0

    # -------------------------------------------------------------- what sources say
    def add(self, kind: str, name: str) -> None:
        """A source that is going to be asked."""
        with self._lock:
            self._states[name] = State(kind, name)

    def reached(self, name: str) -> None:
        """A source answered."""
        with self._lock:
            state = self._states[name]
            state.reachable, state.error = True, ""

    def lost(self, name: str, error: str) -> None:
        """A source did not answer."""
        with self._lock:
            state = self._states[name]
            state.reachable, state.error = False, error

    def page(self, name: str, at_seconds: float, families: dict[str, Family]) -> None:
        """A page of the source with that name."""
        with self._lock:
            self._pages.setdefault(name, _PageState()).feed(at_seconds, families)
            rates: dict[str, float] = {}
            for state in self._pages.values():
                for family in state.families.values():
                    if family.kind == "counter":
                        rates[family.name] = rates.get(family.name, 0.0) + sum(
                            state.rising.stepped((family.name, *sample)) for sample in family.samples
                        )
            for family_name, rate in rates.items():
                self._trails.setdefault(family_name, deque(maxlen=TRAIL)).append(rate)

    def topics(self, name: str, at_seconds: float, ends: Mapping[str, int]) -> None:
        """How many messages each topic of a hub ever took."""
        with self._lock:
            self._topics.setdefault(name, Rising()).feed(at_seconds, ends)

    def group(self, name: str, group: str, at_seconds: float, parts: Iterable[Mapping[str, Any]]) -> None:
        """How far a group is, by partition; nothing while it has committed nothing."""
        positions: dict[str, float] = {}
        lags: dict[str, int | None] = {}
        for part in parts:
            topic = str(part["topic"])
            positions[topic] = positions.get(topic, 0.0) + max(0, part["position"] or 0)
            lags[topic] = (lags.get(topic) or 0) + int(part["lag"])
        with self._lock:
            rising, _ = self._groups.get((name, group), (Rising[str](), {}))
            if positions:
                rising.feed(at_seconds, positions)
            self._groups[name, group] = (rising, lags)

    def log(self, at_seconds: float, level: str, logger: str, message: str) -> None:
        """A line of the logs topic."""
        with self._lock:
            self._log_count += 1
            self._logs.append(LogLine(self._log_count, at_seconds, level, logger, message))

    # -------------------------------------------------------------- what there is to show
    def snapshot(self, elapsed_seconds: float) -> Snapshot:
        """All of it, as it is now."""
        with self._lock:
            shown = Snapshot(elapsed_seconds, sources=[_copy(state) for state in self._states.values()])
            live = {name: page for name, page in self._pages.items() if self._states[name].reachable}
            self._counters(shown, live)
            self._distributions(shown, live)
            shown.gauges = self._gauges(live)
            shown.topics, shown.groups = self._hub()
            shown.logs = list(self._logs)
            return shown

    def _is_first(self, name: str) -> bool:
        return bool(self._first) and name.startswith(self._first)

    def _order(self, name: str, per_second: float | None, total: float) -> tuple[bool, float, float, str]:
        return (not self._is_first(name), -(per_second or 0.0), -total, name)

    def _counters(self, shown: Snapshot, live: Mapping[str, _PageState]) -> None:
        good: dict[str, Counter] = {}
        bad: dict[tuple[str, Labels], Counter] = {}
        for page in live.values():
            for family in page.families.values():
                if family.kind != "counter":
                    continue
                for suffix, labels in family.samples:
                    key = (family.name, suffix, labels)
                    if _is_bad(family.name, labels):
                        row = bad.setdefault((family.name, labels), Counter(family.name, labels, family.unit))
                    else:
                        row = good.setdefault(family.name, Counter(family.name, (), family.unit))
                    row.total += page.rising.value(key)
                    row.per_second = _plus(row.per_second, page.rising.grown(key), page.rising.seconds)
        for row in good.values():
            row.trail = tuple(self._trails.get(row.name, ()))
        shown.counters = sorted(good.values(), key=lambda row: self._order(row.name, row.per_second, row.total))
        shown.errors = sorted(
            (row for row in bad.values() if row.total > 0),
            key=lambda row: self._order(row.name, row.per_second, row.total),
        )

    def _distributions(self, shown: Snapshot, live: Mapping[str, _PageState]) -> None:
        rows: dict[str, Distribution] = {}
        buckets: dict[str, dict[float, float]] = {}
        for page in live.values():
            for family in page.families.values():
                if family.kind in ("histogram", "summary"):
                    row = rows.setdefault(family.name, Distribution(family.name, family.unit))
                    _observe(row, family, page, buckets.setdefault(family.name, {}))
        for name, row in rows.items():
            if buckets[name]:
                row.quantiles = tuple(quantile(wanted, buckets[name]) for wanted in QUANTILES)
                row.highest_bound = max((bound for bound in buckets[name] if math.isfinite(bound)), default=None)
        shown.distributions = sorted(rows.values(), key=lambda row: self._order(row.name, row.per_second, row.count))

    def _gauges(self, live: Mapping[str, _PageState]) -> list[Gauge]:
        rows = []
        for name, page in live.items():
            for family in page.families.values():
                if family.kind not in ("gauge", "untyped"):
                    continue
                before = page.before.get(family.name, family).samples
                for sample, value in family.samples.items():
                    labels = (*sample[1], ("page", name)) if len(live) > 1 else sample[1]
                    moves = before.get(sample, value) != value
                    rows.append(Gauge(family.name, labels, family.unit, value, moves))
        return sorted(
            rows,
            key=lambda row: (
                not (self._first and row.name.startswith(self._first)),
                not row.moves,
                row.name,
                row.labels,
            ),
        )

    def _hub(self) -> tuple[list[Topic], list[Group]]:
        topics = []
        for source, rising in self._topics.items():
            if self._states[source].reachable:
                for name in rising:
                    rate = rising.grown(name) / rising.seconds if rising.seconds else None
                    topics.append(Topic(name, int(rising.value(name)), rate))
        groups = []
        for (source, group), (rising, lags) in self._groups.items():
            if not self._states[source].reachable:
                continue
            if not lags:
                groups.append(Group(group, "", None))
            for topic, lag in sorted(lags.items()):
                rate = rising.grown(topic) / rising.seconds if rising.seconds else None
                groups.append(Group(group, topic, lag, rate))
        return sorted(topics, key=lambda topic: (-(topic.per_second or 0.0), -topic.messages, topic.name)), groups


def _copy(state: State) -> State:
    return State(state.kind, state.name, state.reachable, state.error)


def _plus(rate: float | None, grown: float, seconds: float) -> float | None:
    if not seconds:
        return rate
    return (rate or 0.0) + grown / seconds


def _is_bad(name: str, labels: Sequence[tuple[str, str]]) -> bool:
    return bool(_BAD.search(name)) or any(key in _ANSWERS and value.startswith("5") for key, value in labels)


def _observe(row: Distribution, family: Family, page: _PageState, buckets: dict[float, float]) -> None:
    """Add what one page says of a distribution."""
    told: list[float | None] = [None] * len(QUANTILES)
    for suffix, labels in family.samples:
        key = (family.name, suffix, labels)
        if suffix == "_count":
            row.count += page.rising.value(key)
            row.per_second = _plus(row.per_second, page.rising.grown(key), page.rising.seconds)
        elif suffix == "_bucket":
            bound = _bound(dict(labels).get("le", ""))
            if bound is not None:
                buckets[bound] = buckets.get(bound, 0.0) + page.rising.grown(key)
        elif not suffix:
            # A summary's own quantiles, of which those of several series cannot be added: the largest is shown.
            which, value = _bound(dict(labels).get("quantile", "")), family.samples[suffix, labels]
            if which in QUANTILES and not math.isnan(value):
                index = QUANTILES.index(which)
                told[index] = max(told[index] or 0.0, value)
    if family.kind == "summary":
        row.quantiles = tuple(
            max((each for each in pair if each is not None), default=None)
            for pair in zip(row.quantiles, told, strict=True)
        )


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
