"""Rows become metrics."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from gds_monitor.metric import Metric
from gds_monitor.packs.model import SERVER_START, ColumnMetrics, MetricDefinition, Query
from gds_monitor.packs.top import OTHER_SINCE, StickyTop

__all__ = ["Target", "as_time", "memory_key", "number", "text", "to_metrics", "unfolded"]

Row = Mapping[str, Any]

_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|h|m|s))+)")
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}


@dataclass(kw_only=True)
class Target:
    """Of whom rows are, and what has to be kept about them between cycles.

    Attributes:
        instance_id: Of all its metrics.
        database_type: Of all its metrics.
        database: The one that was visited, for a query of each database; it becomes ``db.namespace``.
        server_start: When counters of the server began.
        now: When the rows were read.
        tags: Of all its metrics.
        duration_ms: How long the rows took.
        correlation_id: Of the cycle.
        counts: What happened to rows, by kind: ``duplicate`` series that were merged, ``null`` values,
            ``not_a_number``, ``missing_column`` and ``truncated`` rows.
        memory: What stays from one cycle to the next, by query. Give the same to all targets of one instance.
    """

    instance_id: str
    database_type: str
    database: str | None = None
    server_start: datetime | None = None
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    tags: Mapping[str, str] = field(default_factory=dict)
    duration_ms: float = 0.0
    correlation_id: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    memory: dict[tuple[str, ...], StickyTop] = field(default_factory=dict)


def to_metrics(query: Query, rows: Sequence[Row], target: Target) -> list[Metric]:
    """The metrics of the rows of a query.

    A value that is NULL has no metric, unless its definition has a default, and a label that is NULL is left out. Two
    rows with one name and the same labels become one metric: counters are added, of gauges the greater is kept, and it
    is counted. Nothing is raised for what rows hold; it is counted in ``target.counts``.
    """
    if query.unfold is not None:
        rows = unfolded(rows, query.unfold, query.unfold_key)
    found = _Found(query, target)
    rest: Row | None = None
    if query.top is not None:
        counters = tuple(column for each in query.metrics if each.type == "counter" for column in each.columns)
        memory = target.memory.setdefault(memory_key(query, target), StickyTop(query.top, counters))
        rows, rest = memory.split(rows, target.now)
    for metric in query.metrics:
        if metric.buckets:
            found.distribution(metric, rows)
        else:
            for row in rows:
                found.add(metric, row)
            if rest is not None and metric.type == "counter":
                found.add(metric, rest)
    if query.column_metrics is not None:
        for row in rows:
            found.columns(query.column_metrics, row)
    return list(found.metrics.values())


def memory_key(query: Query, target: Target) -> tuple[str, ...]:
    """Where in ``target.memory`` that of a query is."""
    return (query.name, query.sql, target.database or "")


class _Found:
    """The metrics so far, by what tells their series apart."""

    def __init__(self, query: Query, target: Target) -> None:
        self._query = query
        self._target = target
        self.metrics: dict[tuple[str, frozenset[tuple[str, str]]], Metric] = {}
        self._tags = dict(target.tags)
        if target.database:
            self._tags["db.namespace"] = target.database
        self._tags.update(query.static_labels)

    def add(self, metric: MetricDefinition, row: Row) -> None:
        if metric.histogram:
            self._histogram(metric, row)
            return
        value = metric.constant if metric.constant is not None else self._value(metric, row)
        if value is not None:
            self._put(metric.name, metric, value, self._labels(metric, row), row)

    def distribution(self, metric: MetricDefinition, rows: Sequence[Row]) -> None:
        """Rows with the same labels are counted into the buckets of one distribution."""
        groups: dict[frozenset[tuple[str, str]], tuple[Row, list[float]]] = {}
        for row in rows:
            value = self._value(metric, row)
            if value is not None:
                labels = frozenset(self._labels(metric, row).items())
                groups.setdefault(labels, (row, []))[1].append(float(value))
        for labels, (row, values) in groups.items():
            counts = [sum(value <= bound for value in values) for bound in metric.buckets]
            self._buckets(metric, row, dict(labels), (list(metric.buckets), counts), len(values), math.fsum(values))

    def _histogram(self, metric: MetricDefinition, row: Row) -> None:
        column = metric.columns[0]
        bounds, counts = _cell(row, column), _cell(row, f"{column}_bucket")
        count, total = number(_cell(row, f"{column}_count")), number(_cell(row, f"{column}_sum"))
        given = [None] if bounds is None or counts is None else [number(each) for each in (*bounds, *counts)]
        if count is None or total is None or None in given:
            self._target.counts["null"] += 1
            return
        self._buckets(metric, row, self._labels(metric, row), (list(bounds), list(counts)), count, total)

    def _buckets(
        self, metric: MetricDefinition, row: Row, labels: dict[str, str], table: tuple[list[Any], list[Any]],
        count: Any, total: Any,
    ) -> None:  # fmt: skip
        for bound, below in zip(*table, strict=False):
            self._put(f"{metric.name}_bucket", metric, below, {**labels, "le": f"{float(bound):g}"}, row)
        self._put(f"{metric.name}_bucket", metric, count, {**labels, "le": "+Inf"}, row)
        self._put(f"{metric.name}_count", metric, count, labels, row)
        self._put(f"{metric.name}_sum", metric, total, labels, row)

    def columns(self, rule: ColumnMetrics, row: Row) -> None:
        """Metrics of the columns that no definition names."""
        labels = {
            column[len(rule.tag_prefix) :]: text(value)
            for column, value in row.items()
            if rule.tag_prefix and column.startswith(rule.tag_prefix) and value not in {None, ""}
        }
        labels.update(
            (name, text(row[column])) for name, column in self._query.labels.items() if row.get(column) is not None
        )
        if "*" in rule.skip:
            return
        for column, value in row.items():
            if value is None or column in rule.skip or (rule.tag_prefix and column.startswith(rule.tag_prefix)):
                continue
            known = number(value) if not isinstance(value, str) or not rule.tag_prefix else None
            if known is None:
                self._target.counts["not_a_number"] += 1
                continue
            gauge = "*" in rule.gauges or column in rule.gauges
            metric = MetricDefinition(name=f"{rule.prefix}{column}", type="gauge" if gauge else "counter")
            self._put(metric.name, metric, known, {**self._tags, **labels}, row)

    def _value(self, metric: MetricDefinition, row: Row) -> float | int | Decimal | None:
        value = next((each for each in (_cell(row, column) for column in metric.columns) if each is not None), None)
        if value is None:
            missing = not any(_has(row, column) for column in metric.columns)
            self._target.counts["missing_column" if missing else "null"] += 1
            return metric.default
        if metric.mapping:
            known: Any = metric.mapping.get(text(value))
        else:
            known = _milliseconds(value) if metric.duration else number(value)
        if known is None:
            self._target.counts["not_a_number"] += 1
            return None
        # The scale is a float, and would cost a great integer its last digits.
        return known if metric.scale == 1.0 else float(known) * metric.scale

    def _labels(self, metric: MetricDefinition, row: Row) -> dict[str, str]:
        labels = {**self._tags, **metric.static_labels}
        for name, column in (*self._query.labels.items(), *metric.labels.items()):
            value = _cell(row, column)
            if value is not None:
                labels[name] = text(value)
        return labels

    def _put(self, name: str, metric: MetricDefinition, value: Any, labels: dict[str, str], row: Row) -> None:
        key = (name, frozenset(labels.items()))
        known = self.metrics.get(key)
        if known is not None:
            self._target.counts["duplicate"] += 1
            known.value = known.value + value if metric.type == "counter" else max(known.value, value)
            return
        target = self._target
        stamp = metric.timestamp or self._query.timestamp
        self.metrics[key] = Metric(
            metric_name=name,
            value=value,
            instance_id=target.instance_id,
            database_type=target.database_type,
            timestamp=(as_time(_cell(row, stamp)) if stamp else None) or target.now,
            tags=labels,
            unit=metric.unit,
            metric_type=metric.type,
            start_timestamp=self._start(metric, row) if metric.type == "counter" else None,
            collection_duration_ms=target.duration_ms,
            correlation_id=target.correlation_id,
        )

    def _start(self, metric: MetricDefinition, row: Row) -> datetime | None:
        since = row.get(OTHER_SINCE)
        if since is not None:
            return since if isinstance(since, datetime) else None
        start = metric.start or self._query.start
        if start == SERVER_START:
            return self._target.server_start
        # NULL says that nobody knows: such counters outlive a restart, so its time would be wrong.
        return as_time(_cell(row, start)) if start else None


def unfolded(rows: Sequence[Row], path: str, key: str) -> list[Row]:
    """The rows within documents: of an array its elements, of documents by key each with its key in a column."""
    found: list[Row] = []
    for row in rows:
        inner = _cell(row, path) if path else row
        if isinstance(inner, Mapping):
            for name, each in inner.items():
                found.append({**each, key: name} if isinstance(each, Mapping) else {"value": each, key: name})
        elif isinstance(inner, Sequence) and not isinstance(inner, (str, bytes)):
            found.extend(each for each in inner if isinstance(each, Mapping))
    return found


def _cell(row: Row, column: str) -> Any:
    if column in row or "." not in column:
        return row.get(column)
    inner: Any = row
    for step in column.split("."):
        if isinstance(inner, Sequence) and not isinstance(inner, (str, bytes)) and step.isdecimal():
            inner = inner[int(step)] if int(step) < len(inner) else None
        else:
            inner = inner.get(step) if isinstance(inner, Mapping) else None
    return inner


def _has(row: Row, column: str) -> bool:
    return column in row or ("." in column and column.partition(".")[0] in row)


def number(value: Any) -> float | int | Decimal | None:
    """A value of a driver as a number: times are seconds, dates since 1970. None is no number, or no finite one."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, Decimal):
        return (int(value) if value == value.to_integral_value() else value) if value.is_finite() else None
    try:
        # Also of what a driver has for decimals, and of text.
        known = float(value) if isinstance(value, float) else float(str(value))
    except ValueError:
        return None
    return known if math.isfinite(known) else None


def text(value: Any) -> str:
    """A value as a label: any script as it is, bytes that are no UTF-8 and lone surrogates escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, datetime):
        return value.isoformat()
    plain = str(value)
    return plain if plain.isascii() else plain.encode("utf-8", "backslashreplace").decode("utf-8")


def _milliseconds(value: Any) -> float | None:
    found = _DURATION.fullmatch(text(value).strip())
    if found is None:
        return 0.0 if text(value).strip() == "0" else None
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|h|m|s)", found[2])
    total = math.fsum(float(amount) * _MILLISECONDS[unit] for amount, unit in parts)
    return -total if found[1] == "-" else total


_SCALES = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def as_time(value: Any) -> datetime | None:
    """A time of a row: a date, its text in ISO 8601, or a number since 1970 in s, ms, us or ns, told by its size."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    seconds = None if value is None else number(value)
    if seconds is None:
        return None
    known = float(seconds) / next((scale for bound, scale in _SCALES if abs(float(seconds)) >= bound), 1.0)
    try:
        return datetime.fromtimestamp(known, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
