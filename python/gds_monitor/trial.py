"""Runs packs once on a server, query by query, as a cycle of the monitor would: with its session and its budgets."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from gds_monitor.collectors._packs import Spent
from gds_monitor.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gds_monitor.collectors._packs import PackCollector, Todo
    from gds_monitor.metric import Metric
    from gds_monitor.packs.plan import PlannedQuery

__all__ = ["Trial", "tried"]

_AWAY = frozenset(("aborted", "authentication", "authentication_backoff", "connection", "too_many_connections"))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of a query in a database.

    Attributes:
        collector: Whose query it is.
        query: Its name.
        database: Where it ran; empty where it was not to run.
        status: ``skipped`` if it does not apply here.
        reason: Of what is skipped or failed, for a label.
        detail: The same for a person, and what was noticed about the rows.
        metrics: What it told.
    """

    collector: str
    query: str
    database: str = ""
    status: Literal["success", "skipped", "failed"]
    reason: str = ""
    detail: str = ""
    metrics: list[Metric] = field(default_factory=list)


async def tried(collector: PackCollector) -> AsyncIterator[Trial]:
    """Each query of its packs in each database, then those that do not run.

    A query fails alone, whatever it fails at. A collector that was used for this is of no further use but to be closed.

    Raises:
        CollectionError: The server cannot be reached, or does not let us in.
    """
    began = time.monotonic()
    await collector.learn()
    spent = Spent(began + (collector.budget_seconds or float("inf")))
    lost: CollectionError | None = None
    for todo in collector.due(began):
        started = time.monotonic()
        allowed = lost or collector.allowed(todo, spent, started)
        for planned in todo.queries:
            trial = Trial(
                collector=todo.collector.name, query=planned.query.name, database=todo.database, status="success"
            )
            if not isinstance(allowed, CollectionError):
                try:
                    yield await _tried(collector, planned, todo, allowed, trial)
                except CollectionError as error:
                    # Who is asked again and again while he is away takes as long each time.
                    lost = error if error.reason in _AWAY else None
                    allowed = error if lost or error.reason == "database_gone" else allowed
                    yield _failed(trial, error)
            else:
                yield _failed(trial, allowed)
        spent.collectors[todo.pack.name, todo.collector.name] += time.monotonic() - started
    for _, its in collector.plans:
        for each in its.skipped:
            yield Trial(
                collector=each.collector, query=each.query, status="skipped", reason=each.reason, detail=each.detail
            )


async def _tried(collector: PackCollector, planned: PlannedQuery, todo: Todo, until: float, trial: Trial) -> Trial:
    metrics: list[Metric] = []
    before = Counter(collector.counts)
    if await collector.query(planned, todo, until, metrics) is None:
        return replace(trial, status="skipped", reason="predicate")
    noticed = sorted((collector.counts - before).items())
    return replace(
        trial, detail=", ".join(f"{count} {kind}" for kind, count in noticed if kind != "null"), metrics=metrics
    )


def _failed(trial: Trial, error: CollectionError) -> Trial:
    return replace(trial, status="failed", reason=error.reason, detail=str(error))
