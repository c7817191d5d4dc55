"""What a pack says, whichever dialect it was written in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SERVER_START",
    "Collector",
    "ColumnMetrics",
    "EventText",
    "MetricDefinition",
    "Pack",
    "Query",
    "Requirements",
    "TopN",
    "VersionRange",
]

MetricType = Literal["gauge", "counter"]
Role = Literal["any", "primary", "standby"]
Scope = Literal["instance", "database"]

SERVER_START = "@server_start"
"""As ``start``: a counter counts since the server was started."""

_TERM = re.compile(r"(>=|<=|!=|==|=|!|<|>)?v?(\d+(?:\.\d+)*)")


class VersionRange:
    """Versions of a server: ``>=14 <17``, alternatives with ``||``.

    Raises:
        ValueError: The text is no range.
    """

    __slots__ = ("_alternatives", "text")

    def __init__(self, text: str = "") -> None:
        self.text = " ".join(text.replace(",", " ").split())
        self._alternatives = [self._terms(part) for part in self.text.split("||")] if self.text else []

    def _terms(self, text: str) -> list[tuple[str, tuple[int, ...]]]:
        joined = re.sub(r"([<>=!])\s+(?=v?\d)", r"\1", text)
        terms = []
        for word in joined.split():
            found = _TERM.fullmatch(word)
            if found is None:
                raise ValueError(f"{self.text!r}: expected versions like '>=14 <17', alternatives with '||'")
            terms.append((found[1] or "=", _numbers(found[2])))
        if not terms:
            raise ValueError(f"{self.text!r}: expected a version on each side of '||'")
        return terms

    def __contains__(self, version: tuple[int, ...]) -> bool:
        return not self._alternatives or any(
            all(_holds(operator, version, bound) for operator, bound in terms) for terms in self._alternatives
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VersionRange) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"VersionRange({self.text!r})"


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as error:  # thousands of digits
        raise ValueError(f"{text[:20]}...: expected a version of fewer digits") from error


def _holds(operator: str, version: tuple[int, ...], bound: tuple[int, ...]) -> bool:
    length = max(len(version), len(bound))
    ours, theirs = (each + (0,) * (length - len(each)) for each in (version, bound))
    return {
        ">=": ours >= theirs,
        ">": ours > theirs,
        "<=": ours <= theirs,
        "<": ours < theirs,
        "!": ours != theirs,
        "!=": ours != theirs,
    }.get(operator, ours == theirs)


@dataclass(frozen=True, kw_only=True)
class MetricDefinition:
    """One metric of the rows of a query.

    Attributes:
        name: Of the metric.
        type: A gauge, or a counter, which only grows from its start time on.
        unit: In UCUM.
        description: What it tells.
        value: The column, or of a document the dotted path; of several the first that is there. Empty with
            ``constant``.
        expression: What the column is in SQL, for a query with ``{columns}``; the column itself if empty.
        needs: Columns as ``view.column`` without which it is left out.
        versions: Servers that have it.
        labels: Label by column, beyond those of the query.
        static_labels: Labels with fixed values.
        start: The column with the start time of a counter, or ``@server_start``.
        timestamp: The column that says when it was measured.
        scale: What the value is multiplied with.
        default: Instead of NULL.
        constant: The value, for rows that are there or not.
        mapping: Numbers of texts.
        duration: The value is a text like ``1m30s``; milliseconds become of it.
        buckets: Upper bounds: the rows are counted into a distribution of their values.
        histogram: The column and those with ``_bucket``, ``_sum`` and ``_count`` behind its name are a distribution,
            the first two as arrays.
    """

    name: str
    type: MetricType = "gauge"
    unit: str | None = None
    description: str = ""
    value: str | tuple[str, ...] = ""
    expression: str = ""
    needs: tuple[str, ...] = ()
    versions: VersionRange = field(default_factory=VersionRange)
    labels: Mapping[str, str] = field(default_factory=dict)
    static_labels: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    timestamp: str | None = None
    scale: float = 1.0
    default: float | None = None
    constant: float | None = None
    mapping: Mapping[str, float] = field(default_factory=dict)
    duration: bool = False
    buckets: tuple[float, ...] = ()
    histogram: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that may have the value."""
        return (self.value,) if isinstance(self.value, str) else self.value


@dataclass(frozen=True, kw_only=True)
class ColumnMetrics:
    """Metrics that no definition names: the columns of the rows are looked at.

    Attributes:
        prefix: Of their names.
        tag_prefix: Columns that begin so are labels, named by the rest.
        gauges: Columns that are gauges, ``*`` for all; the others are counters.
        skip: Columns that are neither.
    """

    prefix: str
    tag_prefix: str = ""
    gauges: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TopN:
    """Keeps series few: of rows by key only the busiest are shown one by one, the rest is added up.

    Attributes:
        key: Columns that tell rows apart.
        by: The counter whose growth decides.
        keep: How many are shown one by one.
        admit_per_hour: How many may come instead of others, which bounds the series of a day.
        other: The value of each label of the key for the rest.
    """

    key: tuple[str, ...]
    by: str
    keep: int = 50
    admit_per_hour: int = 10
    other: str = "other"


@dataclass(frozen=True, kw_only=True)
class EventText:
    """A text that is told once as an event, and is no label.

    Attributes:
        name: Of the event.
        key: The label that it belongs to.
        sql: Asks for the columns ``key`` and ``body``; ``{keys}`` are those that are new.
        max_length: Characters that are kept.
    """

    name: str
    key: str
    sql: str
    body: str = "body"
    max_length: int = 4096


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What else has to be so for a query to run.

    Attributes:
        extensions: Installed in the database; ``name>=1.8`` asks for a version.
        schemas: Exist in the database.
        databases: Only these.
        users: Only these logins.
        tags: The monitor has all of them.
        not_tags: The monitor has none of them.
        settings: Settings of the server and the values that they may have.
        predicates: Queries that each have to answer one row with true.
    """

    extensions: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    predicates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Query:
    """One statement, or one command, and what becomes of its rows.

    Attributes:
        name: Within the collector.
        sql: The statement. ``{columns}`` are the columns of the metrics, ``{max_rows}`` is the collector's.
        command: Of MongoDB, instead of a statement.
        database: The one that a command is for; None is the one that is visited.
        unfold: The path of an array, or of documents by key, that are the rows of an answer.
        unfold_key: The column that the keys become.
        view: Where the columns are from, as in ``pg_stat_io io``: those it has not are left out.
        versions: Servers that it is for.
        role: Of the server.
        privileges: All of these are needed; without them it does not run.
        requires: What else has to be so.
        labels: Label by column, of all its metrics.
        static_labels: Of all its metrics.
        start: As in a metric, for all counters.
        timestamp: As in a metric, for all.
        metrics: What is told.
        column_metrics: What is told of columns without a metric.
        top: Keeps its series few.
        event: The text that belongs to its rows.
        setup: What whoever owns the server has to run once; a monitor never does.
    """

    name: str
    sql: str = ""
    command: Mapping[str, Any] = field(default_factory=dict)
    database: str | None = None
    unfold: str | None = None
    unfold_key: str = "key"
    view: str = ""
    versions: VersionRange = field(default_factory=VersionRange)
    role: Role = "any"
    privileges: tuple[str, ...] = ()
    requires: Requirements = field(default_factory=Requirements)
    labels: Mapping[str, str] = field(default_factory=dict)
    static_labels: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    timestamp: str | None = None
    metrics: tuple[MetricDefinition, ...] = ()
    column_metrics: ColumnMetrics | None = None
    top: TopN | None = None
    event: EventText | None = None
    setup: str = ""


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Queries that belong together, and run together.

    Attributes:
        name: Within the pack.
        description: What it is about.
        scope: ``instance`` runs once, ``database`` in each database.
        interval_seconds: None is the monitor's.
        timeout_seconds: Of each statement; None is the monitor's.
        budget_seconds: Of all databases together in one cycle; those left are visited first in the next.
        max_rows: Of each query. What is beyond it is counted.
        enabled: False leaves it out.
        fatal: As pg_exporter has it, kept for a conversion.
        queries: In the order in which they run.
    """

    name: str
    description: str = ""
    scope: Scope = "instance"
    interval_seconds: float | None = None
    timeout_seconds: float | None = None
    budget_seconds: float | None = None
    max_rows: int = 1000
    enabled: bool = True
    fatal: bool = False
    queries: tuple[Query, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Collectors for one kind of database.

    Attributes:
        name: Of the pack.
        engine: ``postgresql``, ``mongodb``, ``mssql`` or ``snowflake``.
        description: What it is about.
        collectors: In the order in which they run.
        presets: Choices of collectors with their intervals in seconds, by name.
    """

    name: str
    engine: str
    description: str = ""
    collectors: tuple[Collector, ...] = ()
    presets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def preset(self, name: str) -> Pack:
        """The pack with only the collectors of a preset, at its intervals.

        Raises:
            ValueError: There is no such preset.
        """
        from dataclasses import replace

        if name not in self.presets:
            raise ValueError(f"preset {name!r}: expected one of {', '.join(sorted(self.presets)) or 'none'}")
        chosen = self.presets[name]
        kept = tuple(
            replace(collector, interval_seconds=float(chosen[collector.name]))
            for collector in self.collectors
            if collector.name in chosen
        )
        return replace(self, collectors=kept)
