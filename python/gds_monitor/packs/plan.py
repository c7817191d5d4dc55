"""Which queries of a pack run on a server, and why the others do not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from gds_monitor.packs.model import VersionRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gds_monitor.packs.model import Collector, MetricDefinition, Pack, Query

__all__ = ["SUPERUSER", "CollectionPlan", "Dropped", "PlannedQuery", "ServerFacts", "Skipped", "plan"]

SUPERUSER = "superuser"
"""The privilege that has all others."""

_LIST = ", "

Reason = Literal[
    "disabled", "version", "role", "privilege", "extension", "schema", "database", "user", "tag", "setting", "column"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """What a server is, as it was found when it was connected to.

    Attributes:
        version: As in ``(15, 14)``.
        role: Of the server now.
        privileges: What the login has: roles of PostgreSQL, permissions of SQL Server.
        columns: Columns by view; None where nobody looked, and a view that is not in it has none that are known.
        extensions: Versions of what is installed in the database connected to.
        schemas: Of the database connected to; None where nobody looked.
        settings: Of the server.
        database: The one connected to.
        databases: Those that can be visited.
        user: The login.
        tags: Of the monitor.
        server_start: When the server was started.
    """

    version: tuple[int, ...]
    role: Literal["primary", "standby"] = "primary"
    privileges: frozenset[str] = frozenset()
    columns: Mapping[str, frozenset[str]] | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    schemas: frozenset[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    databases: tuple[str, ...] = ()
    user: str = ""
    tags: frozenset[str] = frozenset()
    server_start: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedQuery:
    """A query that runs.

    Attributes:
        collector: Whose it is.
        query: With the metrics that the server has.
        statement: SQL, or the command as a document.
        predicates: Statements that each have to answer one row with true; it is skipped otherwise.
        databases: Where it runs, in turn; of an instance's query the one connected to.
    """

    collector: Collector
    query: Query
    statement: str | Mapping[str, Any]
    predicates: tuple[str, ...] = ()
    databases: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Skipped:
    """A query that does not run, and why.

    Attributes:
        collector: Its name.
        query: Its name.
        reason: The kind of reason, for a label.
        detail: What was expected, for a person.
    """

    collector: str
    query: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Dropped:
    """A metric that is left out of a query that runs, and why."""

    collector: str
    query: str
    metric: str
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class CollectionPlan:
    """What runs, and what does not.

    Attributes:
        queries: What runs, in the order of the pack.
        skipped: What does not.
        dropped: Metrics that are left out of what runs.
        expected: Each collector and database that has to report success or a reason in a cycle: those that run, and
            those of ``skipped`` of which no query runs.
    """

    queries: tuple[PlannedQuery, ...]
    skipped: tuple[Skipped, ...]
    dropped: tuple[Dropped, ...]
    expected: tuple[tuple[str, str], ...]

    def missing_privileges(self) -> tuple[str, ...]:
        """Privileges for want of which queries are skipped."""
        lacking = (each.detail.split(_LIST) for each in self.skipped if each.reason == "privilege")
        return tuple(dict.fromkeys(privilege for each in lacking for privilege in each))

    def idle(self) -> dict[str, Skipped]:
        """The collectors of which nothing runs, with the reason that is nearest to being met."""
        running = {each.collector.name for each in self.queries}
        found: dict[str, Skipped] = {}
        for each in self.skipped:
            if each.collector not in running:
                known = found.get(each.collector)
                if known is None or _HOPE.get(each.reason, 0) > _HOPE.get(known.reason, 0):
                    found[each.collector] = each
        return found


_HOPE: dict[str, int] = {"privilege": 3, "extension": 2, "setting": 2, "column": 2, "role": 1}


def plan(pack: Pack, server: ServerFacts) -> CollectionPlan:
    """Decide what of a pack runs on a server. Nothing is asked of the server."""
    queries: list[PlannedQuery] = []
    skipped: list[Skipped] = []
    dropped: list[Dropped] = []
    expected: list[tuple[str, str]] = []
    for collector in pack.collectors:
        databases = server.databases if collector.scope != "instance" else (server.database,)
        if not collector.enabled:
            skipped.extend(Skipped(collector.name, each.name, "disabled", "disabled") for each in collector.queries)
            continue
        expected.extend((collector.name, database) for database in databases)
        for query in collector.queries:
            why = _why_not(collector, query, server)
            if why is None:
                kept, left_out = _metrics(query, server)
                dropped.extend(Dropped(collector.name, query.name, *each) for each in left_out)
                if query.metrics and not kept and query.column_metrics is None:
                    why = ("column", f"none of its metrics is there: {left_out[0][2]}")
                else:
                    queries.append(_planned(collector, replace(query, metrics=tuple(kept)), databases))
            if why is not None:
                skipped.append(Skipped(collector.name, query.name, *why))
    return CollectionPlan(
        queries=tuple(queries), skipped=tuple(skipped), dropped=tuple(dropped), expected=tuple(expected)
    )


Why = tuple[Reason, str]


def _why_not(collector: Collector, query: Query, server: ServerFacts) -> Why | None:
    return next(_reasons(collector, query, server), None)


def _reasons(collector: Collector, query: Query, server: ServerFacts) -> Iterator[Why]:
    if server.version not in query.versions:
        yield "version", f"expected {query.versions.text}, got {'.'.join(map(str, server.version))}"
    if query.role not in {"any", server.role}:
        yield "role", f"expected a {query.role}, got a {server.role}"
    if SUPERUSER not in server.privileges:
        lacking = [
            privilege
            for privilege in query.privileges
            if server.privileges.isdisjoint(each.strip() for each in privilege.split("|"))
        ]
        if lacking:
            yield "privilege", _LIST.join(lacking)
    yield from _unmet(collector, query, server)


def _unmet(collector: Collector, query: Query, server: ServerFacts) -> Iterator[Why]:
    requires = query.requires
    if collector.scope == "instance":
        yield from _unmet_in_database(query, server)
    if requires.users and server.user not in requires.users:
        yield "user", f"expected the user {' or '.join(requires.users)}, got {server.user}"
    for tag in (*requires.tags, *requires.not_tags):
        if (tag in server.tags) == (tag in requires.not_tags):
            yield "tag", f"expected {'no' if tag in server.tags else 'the'} tag {tag}"
    for name, values in requires.settings.items():
        if name in server.settings and server.settings[name] not in values:
            yield "setting", f"expected {name} to be {' or '.join(values)}, got {server.settings[name]}"


def _unmet_in_database(query: Query, server: ServerFacts) -> Iterator[Why]:
    requires = query.requires
    for wanted in requires.extensions:
        if not _installed(wanted, server.extensions):
            yield "extension", f"expected the extension {wanted} in the database {server.database}"
    for schema in requires.schemas:
        if server.schemas is not None and schema not in server.schemas:
            yield "schema", f"expected the schema {schema} in the database {server.database}"
    if requires.databases and server.database not in requires.databases:
        yield "database", f"expected the database {' or '.join(requires.databases)}, got {server.database}"


def _installed(wanted: str, extensions: Mapping[str, str]) -> bool:
    name, versions = _extension(wanted)
    if name not in extensions:
        return False
    numbers = re.match(r"\d+(?:\.\d+)*", extensions[name])
    return numbers is None or tuple(int(part) for part in numbers[0].split(".")) in versions


def _extension(wanted: str) -> tuple[str, VersionRange]:
    found = re.match(r"([^<>=!\s]+)\s*(.*)", wanted)
    assert found is not None  # noqa: S101 - the schema asks for text
    return found[1], VersionRange(found[2])


def _metrics(query: Query, server: ServerFacts) -> tuple[list[MetricDefinition], list[tuple[str, Reason, str]]]:
    kept: list[MetricDefinition] = []
    left_out: list[tuple[str, Reason, str]] = []
    view = query.view.split()[0] if query.view else ""
    for metric in query.metrics:
        missing = _missing(metric, view, server)
        if server.version not in metric.versions:
            left_out.append((metric.name, "version", f"expected {metric.versions.text}"))
        elif missing:
            left_out.append((metric.name, "column", f"expected the column {missing}"))
        else:
            kept.append(metric)
    return kept, left_out


def _missing(metric: MetricDefinition, view: str, server: ServerFacts) -> str | None:
    if server.columns is None:
        return None
    needs = metric.needs
    if not needs and view and metric.value and not metric.expression:
        needs = (f"{view}.{metric.columns[0]}",)
    for need in needs:
        name, _, column = need.rpartition(".")
        if column not in server.columns.get(name, ()):
            return need
    return None


def _planned(collector: Collector, query: Query, databases: tuple[str, ...]) -> PlannedQuery:
    requires = query.requires
    predicates = list(requires.predicates)
    if collector.scope != "instance":
        # What a database has is known only there.
        if requires.databases:
            databases = tuple(name for name in databases if name in requires.databases)
        predicates += [_exists("pg_extension", "extname", _extension(each)[0]) for each in requires.extensions]
        predicates += [_exists("pg_namespace", "nspname", each) for each in requires.schemas]
    statement = query.command if query.command else _statement(collector, query)
    return PlannedQuery(
        collector=collector, query=query, statement=statement, predicates=tuple(predicates), databases=databases
    )


def _exists(catalogue: str, column: str, name: str) -> str:
    literal = "'" + name.replace("'", "''") + "'"
    return f"SELECT EXISTS (SELECT FROM {catalogue} WHERE {column} = {literal})"  # noqa: S608 - a literal


def _statement(collector: Collector, query: Query) -> str:
    sql = query.sql
    if "{columns}" in sql:
        alias = query.view.split()[-1] if query.view else ""
        listed: dict[str, str] = {}
        for metric in query.metrics:
            for column in metric.columns:
                if column:
                    own = f"{alias}.{column}" if alias else column
                    listed.setdefault(column, f"{metric.expression} AS {column}" if metric.expression else own)
        sql = sql.replace("{columns}", ", ".join(listed.values()))
    return sql.replace("{max_rows}", str(collector.max_rows + 1)).strip().rstrip(";").rstrip()
