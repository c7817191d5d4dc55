"""What cannot be measured of an instance, and the least that has to be granted for it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gds_monitor.collectors._packs import PackCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_monitor.base import MetricCollector

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
    report.grants = grants(
        collector.database_type, facts.user, wanted, facts.settings.get("authentication_database", "admin")
    )
    return report


def grants(platform: str, user: str, privileges: Sequence[str], database: str = "admin") -> list[str]:
    """The statements that grant privileges, each once, and of alternatives the first; none without a user.

    Args:
        platform: Whose statements.
        user: To whom.
        privileges: As packs name them.
        database: Which knows the user, on MongoDB.
    """
    if not user:
        return []
    wanted = dict.fromkeys(each.partition("|")[0].strip() for each in privileges)
    if platform == "postgresql":
        return [f"GRANT {_quoted(each)} TO {_quoted(user)};" for each in wanted]
    if platform == "mssql":
        name = "[" + user.replace("]", "]]") + "]"
        return [f"GRANT {each} TO {name};" for each in wanted]
    if platform == "mongodb" and wanted:
        roles = [{"role": role, "db": where or "admin"} for role, _, where in (each.partition("@") for each in wanted)]
        where = f"db.getSiblingDB({json.dumps(database)})"
        return [f"{where}.grantRolesToUser({json.dumps(user)}, {json.dumps(roles)})"]
    return [f"grant {each} to {user}" for each in wanted]


def _quoted(name: str) -> str:
    plain = name.isascii() and name.replace("_", "a").isalnum() and name.islower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'
