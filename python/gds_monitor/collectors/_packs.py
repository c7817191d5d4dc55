"""Runs packs on an instance: what is due, where, within which budget, and what became of it."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gds_monitor.base import MetricCollector, Outcome
from gds_monitor.errors import CollectionError
from gds_monitor.metric import Metric
from gds_monitor.packs.execute import ask_texts, holds, measured, take_texts
from gds_monitor.packs.plan import plan
from gds_monitor.packs.rows import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gds_monitor.packs.execute import TextEvent
    from gds_monitor.packs.model import Collector, Pack
    from gds_monitor.packs.plan import CollectionPlan, PlannedQuery, ServerFacts
    from gds_monitor.packs.top import StickyTop

__all__ = ["PackCollector", "Spent", "Todo"]

logger = logging.getLogger("gds_monitor")

STATEMENT_SECONDS = 5.0
"""What a statement may take where the pack says nothing."""
VISIT_SECONDS = 3.0
"""How long one database may be visited at a time: less than the five seconds that DROP DATABASE waits for sessions."""
BUDGET_SECONDS = 10.0
"""What a collector may take in all databases together, where the pack says nothing."""
TOLERANCE = 0.1
"""An interval of a pack is due when so little of it is left, for cycles do not come at the very same time."""

_LOST = {"authentication", "connection", "database_gone", "too_many_connections"}


@dataclass
class Todo:
    """A collector that is due in a database."""

    pack: Pack
    collector: Collector
    database: str
    queries: list[PlannedQuery]
    reason: str = ""
    detail: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.pack.name, self.collector.name, self.database


@dataclass
class Spent:
    """What a cycle has used up."""

    until: float
    visits: dict[str, float] = field(default_factory=dict)
    collectors: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))


class PackCollector(MetricCollector):
    """A collector whose measurements are data.

    Args:
        instance_id: The instance.
        database_type: Its platform.
        packs: What is measured.
        tags: Of all its metrics.
        disabled: Collectors that are left out, by name.
        databases: Which databases are visited; None are all.
        excluded: Which are not.
    """

    def __init__(
        self,
        instance_id: str,
        database_type: str,
        packs: Sequence[Pack],
        *,
        tags: Mapping[str, str] | None = None,
        disabled: Iterable[str] = (),
        databases: Iterable[str] | None = None,
        excluded: Iterable[str] = (),
    ) -> None:
        super().__init__(instance_id, database_type)
        self.packs = list(packs)
        self.tags = dict(tags or {})
        self.disabled = set(disabled)
        self.events: list[TextEvent] = []
        """Texts of the last cycle that were not told before."""
        self.counts: Counter[str] = Counter()
        """What happened to rows, by kind: duplicates merged, values that are no number, rows beyond a limit."""
        self.facts: ServerFacts | None = None
        self.plans: list[tuple[Pack, CollectionPlan]] = []
        self._databases = None if databases is None else set(databases)
        self._excluded = set(excluded)
        self._memory: dict[tuple[str, ...], StickyTop] = {}
        self._last: dict[tuple[str, str, str], float] = {}
        self._outcomes: list[Outcome] = []
        self._planned = 1

    # ------------------------------------------------------------------ what a platform is
    @abstractmethod
    async def _begin(self) -> ServerFacts:
        """Connect where that is needed, and find out what the server is now."""

    @abstractmethod
    async def _ask(self, statement: Any, database: str, seconds: float) -> Sequence[Mapping[str, Any]]:
        """The rows of a statement in a database, which the server may take so long for.

        Raises:
            CollectionError: There are none, and why.
        """

    async def _end(self) -> None:
        """Leave the database that was visited last."""

    def _may_visit(self) -> str:
        """Why other databases are not visited now; empty if they are."""
        return ""

    # ------------------------------------------------------------------ a cycle
    @property
    def planned(self) -> int:
        """How many collectors in how many databases were due."""
        return self._planned

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """One for each of them."""
        return self._outcomes

    async def collect(self) -> list[Metric]:
        """Run what is due; what fails leaves the rest alone, and is among the outcomes."""
        self._outcomes, self.events = [], []
        began = time.monotonic()
        spent = Spent(began + (self.budget_seconds or float("inf")))
        try:
            await self.learn()
        except CollectionError as error:
            return self._down(error, time.monotonic() - began)
        todo = self.due(began)
        self._planned = len(todo) or 1
        metrics: list[Metric] = []
        for each in todo:
            metrics += await self._collector(each, spent)
        try:
            await self._end()
        except CollectionError as error:
            logger.info("%s: %s", self.instance_id, error)
        if not todo:
            self._outcomes.append(Outcome("nothing_due"))
        return [*metrics, *self._self_metrics(up=1)]

    async def validate_connection(self) -> bool:
        """Whether it can be reached and lets us in."""
        try:
            await self.learn()
        except CollectionError:
            return False
        return True

    def get_metadata(self) -> dict[str, Any]:
        """What is known of the instance; no secrets."""
        found = super().get_metadata() | {"packs": [pack.name for pack in self.packs], "tags": self.tags}
        if self.facts is not None:
            found |= {
                "version": ".".join(map(str, self.facts.version)),
                "role": self.facts.role,
                "databases": list(self.facts.databases),
                "privileges": sorted(self.facts.privileges),
            }
        return found

    # ------------------------------------------------------------------ the plan
    async def learn(self) -> None:
        """Connect where that is needed, and plan anew if the server is another than it was.

        Raises:
            CollectionError: It cannot be reached, or does not let us in.
        """
        facts = await self._begin()
        visited = tuple(name for name in facts.databases if self._visits(name))
        facts = replace(facts, databases=visited, tags=frozenset(self.tags.values()) | facts.tags)
        if facts != self.facts:
            self.facts = facts
            self.plans = [(pack, plan(pack, facts)) for pack in self.packs]

    def use(self, packs: Sequence[Pack]) -> None:
        """Measure something else from the next cycle on."""
        self.packs, self.facts = list(packs), None

    def _visits(self, name: str) -> bool:
        return name not in self._excluded and (self._databases is None or name in self._databases)

    def due(self, now: float) -> list[Todo]:
        """What is due, the instance's first, then database by database, those first that waited longest."""
        found: list[Todo] = []
        for pack, its in self.plans:
            by_name = {each.name: each for each in pack.collectors}
            idle = its.idle()
            for name, database in its.expected:
                collector = by_name[name]
                todo = Todo(pack, collector, database, [])
                if self._waits(todo, now):
                    continue
                todo.queries = [
                    query for query in its.queries if query.collector.name == name and database in query.databases
                ]
                if name in self.disabled:
                    todo.reason, todo.detail = "disabled", "switched off"
                elif not todo.queries:
                    why = idle.get(name)
                    todo.reason, todo.detail = (why.reason, why.detail) if why else ("database", "")
                found.append(todo)
        waited: dict[str, float] = {}
        for each in found:
            if each.collector.scope != "instance":
                last = self._last.get(each.key, -1.0)
                waited[each.database] = min(waited.get(each.database, last), last)
        return sorted(
            found, key=lambda each: (each.collector.scope != "instance", waited.get(each.database, 0.0), each.database)
        )

    def _waits(self, todo: Todo, now: float) -> bool:
        interval, last = todo.collector.interval_seconds, self._last.get(todo.key)
        return interval is not None and last is not None and now - last < interval * (1 - TOLERANCE)

    # ------------------------------------------------------------------ one of it
    async def _collector(self, todo: Todo, spent: Spent) -> list[Metric]:
        began = time.monotonic()
        metrics: list[Metric] = []
        reason, detail, rows = todo.reason, todo.detail, 0
        if not reason:
            allowed = self.allowed(todo, spent, began)
            if isinstance(allowed, CollectionError):
                reason, detail = allowed.reason, str(allowed)
            else:
                metrics, rows, reason, detail = await self._queries(todo, allowed)
                self._last[todo.key] = began
        seconds = time.monotonic() - began
        spent.collectors[todo.pack.name, todo.collector.name] += seconds
        where = None if todo.collector.scope == "instance" else todo.database
        self._outcomes.append(Outcome(todo.collector.name, where, reason, detail, seconds, rows, todo.pack.name))
        return metrics

    async def _queries(self, todo: Todo, until: float) -> tuple[list[Metric], int, str, str]:
        """The metrics of its queries and how many rows they are of; why some are missing, and what was said."""
        metrics: list[Metric] = []
        rows, reason, detail = 0, "", ""
        for query in todo.queries:
            try:
                rows += await self.query(query, todo, until, metrics) or 0
            except CollectionError as error:  # noqa: PERF203 - the other queries are asked all the same
                reason, detail = reason or error.reason, detail or f"{query.query.name}: {error}"
                if error.reason in _LOST:
                    break
        return metrics, rows, reason, detail

    def allowed(self, todo: Todo, spent: Spent, now: float) -> float | CollectionError:
        """Until when a collector may run in a database, or why it may not."""
        until = spent.until
        if now >= until:
            return CollectionError("cycle_budget")
        if todo.collector.scope != "instance":
            left = (todo.collector.budget_seconds or BUDGET_SECONDS) - spent.collectors[
                todo.pack.name, todo.collector.name
            ]
            if left <= 0:
                return CollectionError("database_budget", "left for the next cycle, in which it comes first")
            assert self.facts is not None  # noqa: S101 - there is no plan without
            if todo.database != self.facts.database and (why := self._may_visit()):
                return CollectionError("connections_scarce", why)
            until = min(until, now + left)
            if todo.database != self.facts.database:
                leave = spent.visits.setdefault(todo.database, now + VISIT_SECONDS)
                if now >= leave:
                    return CollectionError("database_budget", "the visit was long enough; the rest comes in the next")
                until = min(until, leave)
        return until

    async def query(self, planned: PlannedQuery, todo: Todo, until: float, metrics: list[Metric]) -> int | None:
        """Add the metrics of a query, which stay whatever becomes of its texts.

        Args:
            planned: It.
            todo: Where, and for which collector.
            until: When it has to be over, as ``time.monotonic()`` has it.
            metrics: What they are added to.

        Returns:
            How many rows they are of; None if a predicate says that it is not to run.

        Raises:
            CollectionError: There are none, and why.
        """
        database = todo.database
        # A command may be for another database than the one that it is about.
        place = planned.query.database or database

        async def ask(statement: Any) -> Sequence[Mapping[str, Any]]:
            left = until - time.monotonic()
            if left <= 0:
                raise CollectionError("cycle_budget" if todo.collector.scope == "instance" else "database_budget")
            return await self._ask(statement, place, min(todo.collector.timeout_seconds or STATEMENT_SECONDS, left))

        for predicate in planned.predicates:
            rows = await ask(predicate)
            try:
                if not holds(predicate, rows):
                    return None
            except ValueError as error:
                raise CollectionError("error", str(error)) from None
        began = time.monotonic()
        rows = await ask(planned.statement)
        assert self.facts is not None  # noqa: S101 - there is no plan without
        target = Target(
            instance_id=self.instance_id,
            database_type=self.database_type,
            database=None if todo.collector.scope == "instance" else database,
            server_start=self.facts.server_start,
            tags=self.tags,
            duration_ms=(time.monotonic() - began) * 1000,
            counts=self.counts,
            memory=self._memory,
        )
        metrics += measured(planned, rows, target)
        asked = ask_texts(planned, target)
        if asked is not None:
            self.events += take_texts(planned, await ask(asked), target)
        return len(rows)

    # ------------------------------------------------------------------ what it says of itself
    def _down(self, error: CollectionError, seconds: float) -> list[Metric]:
        """Nothing can be measured: each thing that was planned says why."""
        due = self.due(time.monotonic()) if self.plans else []
        self._outcomes = [
            Outcome(
                each.collector.name,
                None if each.collector.scope == "instance" else each.database,
                error.reason,
                str(error),
                0.0,
                0,
                each.pack.name,
            )
            for each in due
        ] or [Outcome("connection", None, error.reason, str(error), seconds)]
        self._planned = len(self._outcomes)
        return self._self_metrics(up=0)

    def _self_metrics(self, *, up: int) -> list[Metric]:
        """That it is up, and for each collector that was due whether it succeeded: 0 is told like 1."""
        found = [Metric("monitor.up", up, self.instance_id, self.database_type, tags=dict(self.tags), unit="1")]
        for each in self._outcomes:
            tags = {**self.tags, "collector": each.collector}
            if each.database is not None:
                tags["db.namespace"] = each.database
            if not each.skipped:
                found.append(
                    Metric(
                        "monitor.collector.success",
                        int(each.ok),
                        self.instance_id,
                        self.database_type,
                        tags=tags,
                        unit="1",
                    )
                )
        return found
