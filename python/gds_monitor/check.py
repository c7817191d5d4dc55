"""What cannot be measured of an instance, and the least that has to be granted for it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gds_monitor.collectors._packs import PackCollector
from gds_monitor.packs.facts import AZURE_SQL_DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gds_monitor.base import MetricCollector
    from gds_monitor.packs.plan import ServerFacts

__all__ = ["CheckReport", "checked", "grants"]


@dataclass
class CheckReport:
    """What is known of one instance.

    Attributes:
        instance_id: It.
        version: Of the server.
        role: Of the server.
        planned: How many collectors there are for it.
        measured: How many of them find what they need.
        missing: The others, and why.
        grants: Statements after which more can be measured, for somebody who may run them.
        error: Why nothing could be found out.
    """

    instance_id: str
    version: str = ""
    role: str = ""
    planned: int = 0
    measured: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)
    grants: list[str] = field(default_factory=list)
    error: str = ""

    def fields(self) -> dict[str, Any]:
        """As a dict."""
        return asdict(self)


async def checked(collectors: Sequence[MetricCollector]) -> list[CheckReport]:
    """A report of each; they are closed."""
    try:
        return list(await asyncio.gather(*map(_checked, collectors)))
    finally:
        await asyncio.gather(*(each.close() for each in collectors))


async def _checked(collector: MetricCollector) -> CheckReport:
    report = CheckReport(collector.instance_id)
    if not isinstance(collector, PackCollector):
        report.error = "" if await collector.validate_connection() else "it cannot be reached"
        return report
    await collector.collect()
    down = [each for each in collector.outcomes if each.collector == "connection" and not each.ok]
    facts = collector.facts
    if down or facts is None:
        report.error = f"{down[0].reason}: {down[0].detail}" if down else "nothing is known of it"
        return report
    report.version, report.role = ".".join(map(str, facts.version)), facts.role
    wanted: list[str] = []
    for pack, its in collector.plans:
        names = [each.name for each in pack.collectors]
        idle = its.idle()
        report.planned += len(names)
        report.measured += len(names) - len(idle)
        report.missing += [(name, f"{why.reason}: {why.detail}") for name, why in idle.items()]
        wanted += its.missing_privileges()
    failed = [each for each in collector.outcomes if not each.ok and not each.skipped and each.reason != "privilege"]
    report.missing += [(each.collector, f"{each.reason}: {each.detail}") for each in failed]
    report.grants = grants(collector.database_type, facts, wanted)
    return report


def grants(platform: str, facts: ServerFacts, privileges: Sequence[str]) -> list[str]:
    """The least statements that grant privileges to who asks; of alternatives the first, or that of the version.

    Args:
        platform: Whose statements.
        facts: Who asks, and of which server.
        privileges: As packs name them.
    """
    wanted = list(dict.fromkeys(privileges))
    if not facts.user or not wanted:
        return []
    return _GRANTS[platform](facts, wanted) if platform in _GRANTS else []


def _first(privilege: str) -> str:
    return privilege.partition("|")[0].strip()


def _postgresql(facts: ServerFacts, wanted: list[str]) -> list[str]:
    return [f"GRANT {_quoted(each)} TO {_quoted(facts.user)};" for each in dict.fromkeys(map(_first, wanted))]


def _mongodb(facts: ServerFacts, wanted: list[str]) -> list[str]:
    named = [_first(each).partition("@") for each in wanted]
    roles = json.dumps([{"role": role, "db": where or "admin"} for role, _, where in named])
    where = f"db.getSiblingDB({json.dumps(facts.settings['authentication_database'])})"
    return [f"{where}.grantRolesToUser({json.dumps(facts.user)}, {roles})"]


def _sql_server(facts: ServerFacts, wanted: list[str]) -> list[str]:
    name = "[" + facts.user.replace("]", "]]") + "]"
    if facts.settings.get("EngineEdition") == AZURE_SQL_DATABASE:
        return [f"GRANT VIEW DATABASE STATE TO {name};"]
    # From 2022 on there is one that shows less.
    newer = facts.version >= (16,)
    chosen = [each.split("|")[-1].strip() if newer else _first(each) for each in wanted]
    server = [each for each in chosen if not each.startswith("SELECT ON ")]
    found = ["USE master;", *(f"GRANT {each} TO {name};" for each in server)] if server else []
    tables = [each for each in chosen if each.startswith("SELECT ON ")]
    if tables:
        literal = facts.user.replace("'", "''")
        found += ["USE msdb;", f"IF USER_ID(N'{literal}') IS NULL CREATE USER {name} FOR LOGIN {name};"]
        found += [f"GRANT {each.replace('msdb.', '')} TO {name};" for each in tables]
    return found


def _snowflake(facts: ServerFacts, wanted: list[str]) -> list[str]:
    role = '"' + facts.settings["role"].replace('"', '""') + '"'
    return [f"GRANT DATABASE ROLE SNOWFLAKE.{_first(each)} TO ROLE {role};" for each in wanted]


_GRANTS: dict[str, Callable[[ServerFacts, list[str]], list[str]]] = {
    "mongodb": _mongodb,
    "mssql": _sql_server,
    "postgresql": _postgresql,
    "snowflake": _snowflake,
}


def _quoted(name: str) -> str:
    plain = name.isascii() and name.replace("_", "a").isalnum() and name.islower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'
