"""Runs one planned query on one database, and tells what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from gds_monitor.packs.literals import without_literals
from gds_monitor.packs.rows import memory_key, text, to_metrics, unfolded

if TYPE_CHECKING:
    from datetime import datetime

    from gds_monitor.metric import Metric
    from gds_monitor.packs.plan import PlannedQuery
    from gds_monitor.packs.rows import Target
    from gds_monitor.packs.top import StickyTop

__all__ = ["Outcome", "Run", "TextEvent", "ask_texts", "holds", "measured", "run_query", "take_texts"]

Run = Callable[[Any], Sequence[Mapping[str, Any]]]
"""Runs a statement, or a command; gives its rows as dicts. Whoever gives it sees to timeouts and to reading only."""


@dataclass(frozen=True, kw_only=True)
class TextEvent:
    """A text that is told once: that of a statement.

    Attributes:
        name: Of the event.
        instance_id: Of whom it is.
        database_type: Of whom it is.
        timestamp: When it was read.
        attributes: The labels that it belongs to.
        body: The text, without literals.
    """

    name: str
    instance_id: str
    database_type: str
    timestamp: datetime
    attributes: Mapping[str, str]
    body: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a query.

    Attributes:
        status: ``success``, or ``skipped`` by one of its predicates.
        reason: Of what is skipped.
        rows: How many were read.
        metrics: Of them.
        events: Texts that were not told before.
    """

    status: Literal["success", "skipped"]
    reason: str = ""
    rows: int = 0
    metrics: list[Metric] = field(default_factory=list)
    events: list[TextEvent] = field(default_factory=list)


def run_query(planned: PlannedQuery, run: Run, target: Target) -> Outcome:
    """Run it, and give its metrics. Whatever ``run`` raises is the caller's, who knows what it says.

    Raises:
        ValueError: A predicate answered something other than one true or false.
    """
    for predicate in planned.predicates:
        if not holds(predicate, run(predicate)):
            return Outcome(status="skipped", reason="predicate")
    rows = run(planned.statement)
    metrics = measured(planned, rows, target)
    asked = ask_texts(planned, target)
    events = take_texts(planned, run(asked), target) if asked else []
    return Outcome(status="success", rows=len(rows), metrics=metrics, events=events)


def measured(planned: PlannedQuery, rows: Sequence[Mapping[str, Any]], target: Target) -> list[Metric]:
    """The metrics of what its statement answered; rows beyond the limit of its collector are counted and left out."""
    query, most = planned.query, planned.collector.max_rows
    if query.unfold is not None:
        rows, query = unfolded(rows, query.unfold, query.unfold_key), replace(query, unfold=None)
    if len(rows) > most:
        target.counts["truncated"] += len(rows) - most
    return to_metrics(query, rows[:most], target)


def holds(predicate: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """What a predicate answered; no row is false.

    Raises:
        ValueError: It is not one true or false.
    """
    if not rows:
        return False
    values = list(rows[0].values())
    if len(rows) > 1 or len(values) != 1 or not isinstance(values[0], bool):
        shown = " ".join(predicate.split())[:60]
        raise ValueError(f"predicate {shown!r}: expected one row with true or false, got {len(rows)} rows")
    return values[0]


def ask_texts(planned: PlannedQuery, target: Target) -> str | None:
    """The statement that asks for texts that are not told yet; None if there are none."""
    memory, event = _memory(planned, target), planned.query.event
    if memory is None or event is None or planned.query.top is None:
        return None
    # Only integers go into a statement.
    keys = sorted(key for key in memory.unreported(event.key) if isinstance(key, int))
    return event.sql.replace("{keys}", ", ".join(map(str, keys))) if keys else None


def take_texts(planned: PlannedQuery, rows: Sequence[Mapping[str, Any]], target: Target) -> list[TextEvent]:
    """The events of what ``ask_texts`` asked for; they are not asked for again."""
    memory, event = _memory(planned, target), planned.query.event
    if memory is None or event is None or planned.query.top is None:
        return []
    label = next(name for name, column in planned.query.labels.items() if column == event.key)
    unreported = memory.unreported(event.key)
    bodies = {
        row[event.key]: row[event.body]
        for row in rows
        if row[event.key] in unreported and isinstance(row.get(event.body), str)
    }
    memory.mark_reported(bodies)
    return [
        TextEvent(
            name=event.name,
            instance_id=target.instance_id,
            database_type=target.database_type,
            timestamp=target.now,
            attributes={**target.tags, label: text(key)},
            body=without_literals(body)[: event.max_length],
        )
        for key, body in bodies.items()
    ]


def _memory(planned: PlannedQuery, target: Target) -> StickyTop | None:
    return target.memory.get(memory_key(planned.query, target))
