"""Availability groups: how far the secondaries are, and which of them takes over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gds_database.engines._base import only, operation
from gds_database.engines.mssql._server import SqlServerBase
from gds_database.engines.mssql._sql import bracketed
from gds_database.errors import ConfigurationError, ObjectNotFoundError, QueryError, StatementTimeoutError
from gds_database.metadata import ReplicationDetails
from gds_database.plan import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_database.base import OperationResult

__all__ = ["Replication"]

FAILOVER_TIMEOUT_SECONDS = 120.0
_LOOK_SECONDS = 0.5

_NODE_COLUMNS = (
    *("group_name", "group_id", "replica_id", "node", "mode", "failover_mode", "is_local", "role", "connected"),
    *("health", "operational_state"),
)
_NODES = """SELECT g.name AS group_name, CAST(g.group_id AS nvarchar(36)) AS group_id,
 CAST(r.replica_id AS nvarchar(36)) AS replica_id, r.replica_server_name AS node, r.availability_mode_desc AS mode,
 r.failover_mode_desc AS failover_mode, s.is_local, s.role_desc AS role, s.connected_state_desc AS connected,
 s.synchronization_health_desc AS health, s.operational_state_desc AS operational_state
 FROM sys.availability_groups AS g
 JOIN sys.availability_replicas AS r ON r.group_id = g.group_id
 LEFT JOIN sys.dm_hadr_availability_replica_states AS s ON s.replica_id = r.replica_id
 ORDER BY g.name, r.replica_server_name"""

_COPY_COLUMNS = (
    *("replica_id", "group_database_id", "database_name", "is_local", "is_primary", "state", "is_suspended"),
    *("end_of_log_lsn", "last_hardened_lsn", "last_commit_lsn", "commit_seconds", "send_queue_kb", "redo_queue_kb"),
    *("lag_seconds", "is_ready"),
)
# Times are compared on the server, with each other: its clock and ours are not the same.
_COPIES = """SELECT CAST(d.replica_id AS nvarchar(36)) AS replica_id,
 CAST(d.group_database_id AS nvarchar(36)) AS group_database_id, c.database_name, d.is_local,
 d.is_primary_replica AS is_primary, d.synchronization_state_desc AS state, d.is_suspended,
 CAST(d.end_of_log_lsn AS nvarchar(30)) AS end_of_log_lsn,
 CAST(d.last_hardened_lsn AS nvarchar(30)) AS last_hardened_lsn,
 CAST(d.last_commit_lsn AS nvarchar(30)) AS last_commit_lsn,
 DATEDIFF_BIG(second, d.last_commit_time, GETDATE()) AS commit_seconds,
 d.log_send_queue_size AS send_queue_kb, d.redo_queue_size AS redo_queue_kb,
 d.secondary_lag_seconds AS lag_seconds, c.is_failover_ready AS is_ready
 FROM sys.dm_hadr_database_replica_states AS d
 LEFT JOIN sys.dm_hadr_database_replica_cluster_states AS c
 ON c.replica_id = d.replica_id AND c.group_database_id = d.group_database_id"""

_READY_COLUMNS = ("database_name", "is_ready", "is_joined")
_READY = """SELECT c.database_name, c.is_failover_ready AS is_ready, c.is_database_joined AS is_joined
 FROM sys.dm_hadr_database_replica_cluster_states AS c WHERE CAST(c.replica_id AS nvarchar(36)) = @p1"""

_WORST = ("NOT SYNCHRONIZING", "INITIALIZING", "REVERTING", "SYNCHRONIZING", "SYNCHRONIZED")


class Replication(SqlServerBase):
    """Always On availability groups."""

    def get_replication_status(self) -> ReplicationDetails:
        """How far the secondaries are; from the primary all of them, from a secondary itself.

        A copy whose log is hardened to the end, or whose last commit is the primary's, has no lag, however long ago
        that was. ``lag_bytes`` is what is not sent and not redone yet.
        """
        nodes = self._nodes()
        skew = self._clock_skew()
        if not nodes:
            return ReplicationDetails(False, "none", "standalone", clock_skew_seconds=skew)
        copies = self._read(_COPIES, columns=_COPY_COLUMNS)
        local = [node for node in nodes if node["is_local"]]
        role = _role(local)
        statuses = [_node_status(node, copies) for node in nodes]
        behind = [node for node in statuses if node["role"] != "primary"]
        lags = [node["lag_seconds"] for node in behind if node["lag_seconds"] is not None]
        amounts = [node["lag_bytes"] for node in behind if node["lag_bytes"] is not None]
        states = [node["sync_state"] for node in behind if node["sync_state"] != "unknown"]
        return ReplicationDetails(
            enabled=True,
            mode="availability group",
            role=role,
            lag_seconds=max(lags, default=0.0),
            sync_state=min(states, key=_rank, default="unknown"),
            partners=sorted({str(node["node"]) for node in nodes if not node["is_local"]}),
            lag_bytes=max(amounts, default=None) if amounts else None,
            clock_skew_seconds=skew,
            nodes=statuses,
        )

    def _nodes(self) -> list[dict[str, Any]]:
        """The replicas of all groups; none where there are no groups."""
        return self._read(_NODES, columns=_NODE_COLUMNS) if self._server.has_groups else []

    # ------------------------------------------------------------------ failover
    @operation
    def failover(self, target_node: str | None = None, **kwargs: Any) -> OperationResult:
        """Let a secondary take over its group, after a look whether it can.

        SQL Server is told so on the node that takes over: the engine's own, if that is a secondary, or the one that
        ``target`` leads to.

        Args:
            target_node: The name of a replica; by default the node of the engine, or that of ``target``.
            kwargs: ``group`` (which, where there are several), ``target`` (an engine of that node), ``force`` (bool,
                False: take over although it may lose what was committed), ``dry_run``, ``timeout_seconds`` (120: until
                it is the primary).
        """
        only(kwargs, "failover", "group", "target", "force", "dry_run", "timeout_seconds")
        target = kwargs.get("target")
        if target is not None:
            if not isinstance(target, Replication):
                raise ConfigurationError(f"target={type(target).__name__}: expected a MSSQLEngine of the other node")
            rest = {name: value for name, value in kwargs.items() if name != "target"}
            return target.failover(target_node, **rest)
        group = self._group(kwargs.get("group"))
        nodes = [node for node in self._nodes() if node["group_name"] == group]
        local = next(node for node in nodes if node["is_local"])
        wanted = self._wanted(target_node, nodes, local)
        name = bracketed(group, "group")
        force = bool(kwargs.get("force"))
        self._managed_elsewhere(group)
        if local["role"] == "PRIMARY":
            raise QueryError(
                f"node {local['node']!r} is the primary already"
                if wanted is local
                else f"{self.name} is the primary: SQL Server fails over on the node that takes over; connect an "
                f"engine to {wanted['node']} and call failover() there, or give it as target="
            )
        if not force:
            self._can_take_over(local)
        what = "FORCE_FAILOVER_ALLOW_DATA_LOSS" if force else "FAILOVER"
        statement = f"ALTER AVAILABILITY GROUP {name} {what}"
        limit = kwargs.get("timeout_seconds") or FAILOVER_TIMEOUT_SECONDS
        deadline = time.monotonic() + limit

        def run() -> None:
            self._execute(statement, timeout_seconds=limit)
            self._wait_for_primary(str(local["replica_id"]), deadline, limit)

        data = {"group": group, "node": local["node"], "may_lose_data": force}
        message = f"made {local['node']} the primary of {group}"
        return self._carry_out(message, [Step(statement, run)], dry_run=bool(kwargs.get("dry_run")), data=data)

    def _group(self, wanted: str | None) -> str:
        groups = sorted({str(node["group_name"]) for node in self._nodes() if node["is_local"]})
        if wanted is not None:
            if wanted not in groups:
                raise ObjectNotFoundError("availability group", wanted, self.name)
            return wanted
        if not groups:
            raise QueryError(f"{self.name} is in no availability group: there is nothing to fail over to")
        if len(groups) > 1:
            raise ConfigurationError(f"group: expected one of {', '.join(groups)}: the node is in several groups")
        return groups[0]

    def _wanted(
        self, target_node: str | None, nodes: Sequence[dict[str, Any]], local: dict[str, Any]
    ) -> dict[str, Any]:
        """The replica that is to take over."""
        if target_node is None:
            others = [node for node in nodes if node is not local]
            return others[0] if local["role"] == "PRIMARY" and others else local
        found = next((node for node in nodes if str(node["node"]).lower() == target_node.lower()), None)
        if found is None:
            raise ObjectNotFoundError("replica", target_node, self.name)
        if found is not local and local["role"] != "PRIMARY":
            raise ConfigurationError(
                f"target_node={target_node!r}: this engine is on {local['node']}; connect one to the node that is to "
                "take over, or give it as target="
            )
        return found

    def _managed_elsewhere(self, group: str) -> None:
        """Raise where a cluster manager has the last word."""
        rows = self._try_read(
            "SELECT cluster_type_desc FROM sys.availability_groups WHERE name = @p1",
            (group,),
            columns=("cluster_type_desc",),
        )
        if rows and rows[0]["cluster_type_desc"] == "EXTERNAL":
            raise QueryError(
                f"group {group!r} is managed by a cluster manager outside of SQL Server, such as Pacemaker; "
                "use that: pcs resource move, say"
            )

    def _can_take_over(self, local: dict[str, Any]) -> None:
        if local["mode"] != "SYNCHRONOUS_COMMIT":
            raise QueryError(
                f"node {local['node']!r} is {local['mode']}: it may not have all that was committed; make it "
                "SYNCHRONOUS_COMMIT and wait until it is synchronized, or lose data with force=True"
            )
        rows = self._read(_READY, (str(local["replica_id"]),), columns=_READY_COLUMNS)
        late = sorted(str(row["database_name"]) for row in rows if not row["is_ready"])
        if late or not rows:
            raise QueryError(
                f"node {local['node']!r} is not synchronized: "
                f"{', '.join(late) or 'it has joined no database'}; wait until it is, or lose data with force=True"
            )

    def _wait_for_primary(self, replica_id: str, deadline: float, limit: float) -> None:
        query = (
            "SELECT role_desc AS role FROM sys.dm_hadr_availability_replica_states"
            " WHERE CAST(replica_id AS nvarchar(36)) = @p1"
        )
        while not any(row["role"] == "PRIMARY" for row in self._read(query, (replica_id,), columns=("role",))):
            if time.monotonic() >= deadline:
                raise StatementTimeoutError(
                    f"the node was told to take over, and was not the primary after {limit:g} s"
                )
            time.sleep(_LOOK_SECONDS)


def _role(local: Sequence[dict[str, Any]]) -> str:
    roles = {str(node["role"] or "RESOLVING") for node in local}
    if roles == {"SECONDARY"}:
        return "secondary"
    return "primary" if "PRIMARY" in roles else "resolving"


def _rank(state: str) -> int:
    return _WORST.index(state) if state in _WORST else 0


def _node_status(node: dict[str, Any], copies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A node with the lag of the slowest of its databases."""
    own = [copy for copy in copies if copy["replica_id"] == node["replica_id"]]
    role = str(node["role"] or "unknown").lower()
    lags, amounts = [], []
    if role != "primary":
        for copy in own:
            source = next(
                (
                    each
                    for each in copies
                    if each["group_database_id"] == copy["group_database_id"] and each["is_primary"]
                ),
                None,
            )
            lags.append(_lag(copy, source))
            if copy["send_queue_kb"] is not None or copy["redo_queue_kb"] is not None:
                amounts.append((int(copy["send_queue_kb"] or 0) + int(copy["redo_queue_kb"] or 0)) * 1024)
    known = [lag for lag in lags if lag is not None]
    return {
        "name": node["node"],
        "group": node["group_name"],
        "role": role,
        "state": node["connected"] or node["operational_state"],
        "lag_seconds": 0.0 if role == "primary" else max(known, default=None),
        "lag_bytes": 0 if role == "primary" else max(amounts, default=None),
        "sync_state": min((str(copy["state"]) for copy in own if copy["state"]), key=_rank, default="unknown"),
        "mode": node["mode"],
        "failover_mode": node["failover_mode"],
        "health": node["health"],
        "databases": {
            str(copy["database_name"]): {
                "state": copy["state"],
                "is_suspended": bool(copy["is_suspended"]),
                "is_failover_ready": bool(copy["is_ready"]),
            }
            for copy in own
        },
    }


def _lag(copy: dict[str, Any], source: dict[str, Any] | None) -> float | None:
    """How far a copy is behind, in seconds: by position first."""
    position = copy["last_hardened_lsn"]
    if source is None:
        # On a secondary nothing is known of the primary but what came: nothing is left of that if all is redone.
        if copy["redo_queue_kb"] == 0 and position is not None and copy["end_of_log_lsn"] == position:
            return 0.0
        return _seconds(copy["lag_seconds"])
    if copy["last_commit_lsn"] is not None and copy["last_commit_lsn"] == source["last_commit_lsn"]:
        return 0.0
    end = source["end_of_log_lsn"]
    if position is not None and end is not None and int(position) >= int(end) and not copy["redo_queue_kb"]:
        return 0.0
    if copy["lag_seconds"] is not None:
        return _seconds(copy["lag_seconds"])
    if copy["commit_seconds"] is None or source["commit_seconds"] is None:
        return None
    return max(0.0, float(copy["commit_seconds"]) - float(source["commit_seconds"]))


def _seconds(value: Any) -> float | None:
    return None if value is None else max(0.0, float(value))
