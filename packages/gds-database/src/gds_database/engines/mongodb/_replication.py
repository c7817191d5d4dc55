"""What ``replSetGetStatus`` means: who is who, and how far behind.

Lag is the distance of positions (optimes), not of clocks: a member that has applied what the primary has is not behind,
however long ago that was, and one that seems ahead is not ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from gds_database.engines.mongodb._commands import Command, Question, optional
from gds_database.errors import QueryError
from gds_database.metadata import ReplicationDetails

__all__ = ["CATCH_UP_SECONDS", "Member", "described", "electable", "replication", "with_skew"]

STATES = {
    0: "startup",
    1: "primary",
    2: "secondary",
    3: "recovering",
    5: "startup2",
    6: "unknown",
    7: "arbiter",
    8: "down",
    9: "rollback",
    10: "removed",
}
# Those that hold data and answer: whose position says how far they are.
BEARING = frozenset({1, 2, 3, 5, 9})
CATCH_UP_SECONDS = 10


@dataclass(frozen=True)
class Member:
    """One member of a replica set."""

    name: str
    state: int
    healthy: bool
    position: tuple[int, int, int] | None
    is_self: bool
    priority: float | None
    hidden: bool
    delay_seconds: float
    heartbeat: datetime | None

    @property
    def role(self) -> str:
        """In MongoDB's words."""
        return STATES.get(self.state, f"state {self.state}")


def replication() -> Question[ReplicationDetails]:
    """How far the members are that the server asked knows of."""
    hello = yield Command("hello")
    if hello.get("msg") == "isdbgrid":
        shards = yield from optional(Command("listShards"))
        hosts = [str(each.get("host", each.get("_id"))) for each in shards.get("shards") or ()]
        return ReplicationDetails(False, "sharded", "mongos", sync_state="ask each shard", partners=hosts)
    if not hello.get("setName"):
        return ReplicationDetails(False, "none", "standalone")
    status = yield Command("replSetGetStatus")
    config = yield from optional(Command("replSetGetConfig"))
    return described(status, config.get("config") or {})


def with_skew() -> Question[ReplicationDetails]:
    """As `replication`, with how far the server's clock is from this machine's, told apart from lag."""
    asked = datetime.now(timezone.utc)
    reply = yield Command("hello")
    answered = datetime.now(timezone.utc)
    clock = reply["localTime"]
    clock = clock.replace(tzinfo=timezone.utc) if clock.tzinfo is None else clock
    status = yield from replication()
    status.clock_skew_seconds = (clock - (asked + (answered - asked) / 2)).total_seconds()
    return status


def members(status: Mapping[str, Any], config: Mapping[str, Any]) -> list[Member]:
    """The members of a status, with what the configuration says of each where it is known."""
    configured = {each.get("host"): each for each in config.get("members") or ()}
    found = []
    for each in status.get("members") or ():
        known = configured.get(each.get("name"), {})
        found.append(
            Member(
                name=str(each.get("name", "")),
                state=int(each.get("state", 6)),
                healthy=float(each.get("health", 1)) > 0,
                position=_position(each.get("optime")),
                is_self=bool(each.get("self")),
                priority=float(known["priority"]) if "priority" in known else None,
                hidden=bool(known.get("hidden")),
                delay_seconds=float(known.get("secondaryDelaySecs", known.get("slaveDelay", 0)) or 0),
                heartbeat=each.get("lastHeartbeat"),
            )
        )
    return found


def _position(optime: Any) -> tuple[int, int, int] | None:
    """Term, seconds and number within the second; None of a member that has none."""
    term = -1
    if isinstance(optime, Mapping):
        term, optime = int(optime.get("t", -1)), optime.get("ts")
    seconds, number = getattr(optime, "time", None), getattr(optime, "inc", None)
    return None if not seconds else (term, int(seconds), int(number or 0))


def _reference(found: list[Member]) -> tuple[int, int, int] | None:
    """The position to be at: the primary's, else the furthest that anybody is."""
    of_primary = [each.position for each in found if each.state == 1 and each.healthy and each.position]
    if of_primary:
        return max(of_primary)
    return max((each.position for each in found if each.position and each.state in BEARING), default=None)


def _lag(member: Member, reference: tuple[int, int, int] | None) -> float | None:
    """Seconds of the oplog that a member is behind; None if nobody can tell."""
    if member.state not in BEARING or not member.healthy or member.position is None or reference is None:
        return None
    if member.position >= reference:
        return 0.0
    return float(max(0, reference[1] - member.position[1]))


def described(status: Mapping[str, Any], config: Mapping[str, Any]) -> ReplicationDetails:
    """The state of a replica set.

    Args:
        status: The reply of ``replSetGetStatus``.
        config: What ``replSetGetConfig`` has in ``config``; empty if it is not known.
    """
    found = members(status, config)
    reference = _reference(found)
    nodes, behind, own = [], [], None
    for each in found:
        lag = _lag(each, reference)
        # One that is told to stay behind is as far as it should be.
        late = None if lag is None else max(0.0, lag - each.delay_seconds)
        if late is not None and each.state != 1:
            behind.append(late)
            if each.is_self:
                own = late
        nodes.append(
            {
                "name": each.name,
                "role": each.role,
                "state": each.role if each.healthy else "not reachable",
                "lag_seconds": lag,
                "lag_bytes": None,
                "sync_state": "async" if each.state in BEARING and each.state != 1 else "",
                "delay_seconds": each.delay_seconds,
                "priority": each.priority,
                "hidden": each.hidden,
                "last_heartbeat": each.heartbeat,
            }
        )
    role = STATES.get(int(status.get("myState", 6)), "unknown")
    needed = status.get("majorityVoteCount") or len(found) // 2 + 1
    alive = sum(1 for each in found if each.healthy and each.state in BEARING | {7})
    primary = any(each.state == 1 and each.healthy for each in found)
    sync = "no primary" if not primary else "majority" if alive >= needed else "no majority"
    return ReplicationDetails(
        enabled=True,
        mode="replica set",
        role=role,
        lag_seconds=own if own is not None else max(behind, default=0.0),
        sync_state=sync,
        partners=[each.name for each in found if not each.is_self],
        nodes=nodes,
    )


def electable(status: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str | None, list[str], dict[str, str]]:
    """Who is the primary, who could take over now, and of the others why not."""
    found = members(status, config)
    reference = _reference(found)
    primary = next((each.name for each in found if each.state == 1), None)
    able, unable = [], {}
    for each in found:
        lag = _lag(each, reference)
        if each.state == 1:
            continue
        if not each.healthy:
            unable[each.name] = "it is not reachable"
        elif each.state != 2:
            unable[each.name] = f"it is {each.role}"
        elif each.priority == 0:
            unable[each.name] = "its priority is 0"
        elif lag is None or lag > CATCH_UP_SECONDS:
            unable[each.name] = f"it is {lag if lag is not None else 'an unknown number of'} seconds behind"
        else:
            able.append(each.name)
    return primary, able, unable


def standing() -> Question[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]:
    """What a failover is decided by: ``hello``, the status and, where it may be read, the configuration."""
    hello = yield Command("hello")
    if hello.get("msg") == "isdbgrid":
        raise QueryError("this is a mongos, which is no member of a replica set; connect to the primary of the shard")
    if not hello.get("setName"):
        raise QueryError("this server is in no replica set, so nothing can take over; start it with --replSet")
    status = yield Command("replSetGetStatus")
    config = yield from optional(Command("replSetGetConfig"))
    return hello, status, config.get("config") or {}
