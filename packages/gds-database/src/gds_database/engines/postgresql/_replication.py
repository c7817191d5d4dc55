"""How far the copies of a server are: by position first, by time only where positions differ."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gds_database.engines.postgresql._asking import Ask
from gds_database.metadata import ReplicationDetails

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gds_database.engines.postgresql._asking import Question
    from gds_database.engines.postgresql.engine import PostgreSQLEngine

__all__ = ["status"]

_CLOCK = "SELECT clock_timestamp() AS now, pg_catalog.pg_is_in_recovery() AS standby"

# To be had on a primary and, for those that follow a standby, there too.
_SENDERS = """
SELECT application_name AS name, coalesce(host(client_addr), 'local') AS client, state, sync_state,
  EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots s
          WHERE s.active_pid = r.pid AND s.slot_type = 'logical') AS logical,
  greatest(0, pg_catalog.pg_wal_lsn_diff(here.lsn, sent_lsn))::bigint AS send_lag_bytes,
  greatest(0, pg_catalog.pg_wal_lsn_diff(here.lsn, replay_lsn))::bigint AS lag_bytes,
  extract(epoch FROM replay_lag)::float8 AS replay_lag, extract(epoch FROM flush_lag)::float8 AS flush_lag,
  replay_lsn::text AS position
FROM pg_catalog.pg_stat_replication r,
  (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn()
    ELSE pg_catalog.pg_current_wal_lsn() END AS lsn) here
WHERE state <> 'backup'
ORDER BY name
"""
_SENDER_COLUMNS = (
    *("name", "client", "state", "sync_state", "logical", "send_lag_bytes", "lag_bytes", "replay_lag", "flush_lag"),
    "position",
)
_SLOTS = """
SELECT slot_name::text AS name, slot_type AS kind, active,
  greatest(0, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn))::bigint AS held_bytes
FROM pg_catalog.pg_replication_slots WHERE NOT active
"""

# One row whether the receiver runs or not. The clocks of both nodes are in it: what the primary wrote into its last
# message, and when that was here.
_RECEIVER = """
SELECT w.status, w.sender_host AS host, w.sender_port AS port, w.slot_name AS slot,
  pg_catalog.pg_last_wal_receive_lsn()::text AS received, pg_catalog.pg_last_wal_replay_lsn()::text AS position,
  greatest(0, pg_catalog.pg_wal_lsn_diff(
    greatest(w.latest_end_lsn, pg_catalog.pg_last_wal_receive_lsn()), pg_catalog.pg_last_wal_replay_lsn()
  ))::bigint AS lag_bytes,
  extract(epoch FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8 AS since_replay,
  extract(epoch FROM w.last_msg_receipt_time - w.last_msg_send_time)::float8 AS skew,
  extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS since_message,
  -- What is promoted between two statements has no answer to this any more.
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() END AS paused
FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON true
"""
_RECEIVER_COLUMNS = (
    *("status", "host", "port", "slot", "received", "position", "lag_bytes", "since_replay", "skew", "since_message"),
    "paused",
)
# Half a round trip on a wide network: below it, clocks are not known to differ.
_TRANSIT_SECONDS = 0.5


def status(name: str) -> Question[ReplicationDetails]:
    """Of the server of that name, whatever it is now."""
    before = time.time()
    (clock,) = yield Ask(_CLOCK, ("now", "standby"))
    skew = clock["now"].timestamp() - (before + time.time()) / 2
    senders = yield Ask(_SENDERS, _SENDER_COLUMNS)
    nodes = [_node(row) for row in senders]
    if clock["standby"]:
        (row,) = yield Ask(_RECEIVER, _RECEIVER_COLUMNS)
        return _of_standby(row, nodes, name)
    slots = yield Ask(_SLOTS, ("name", "kind", "active", "held_bytes"))
    nodes += [
        {
            "name": row["name"],
            "role": "slot",
            "state": "disconnected",
            "lag_seconds": None,
            "lag_bytes": row["held_bytes"],
            "sync_state": "unknown",
        }
        for row in slots
    ]
    connected = [node for node in nodes if node["role"] != "slot"]
    states = {node["sync_state"] for node in connected}
    found = ReplicationDetails(
        enabled=bool(nodes),
        mode=_mode(connected),
        role="primary" if nodes else "standalone",
        lag_seconds=max((node["lag_seconds"] for node in connected), default=0.0),
        sync_state=next((each for each in ("sync", "quorum", "potential", "async") if each in states), "unknown"),
        partners=[node["name"] for node in nodes],
    )
    found.lag_bytes = max((node["lag_bytes"] for node in nodes if node["lag_bytes"] is not None), default=None)
    found.clock_skew_seconds = skew
    found.nodes = nodes
    return found


def receiver(engine: PostgreSQLEngine) -> dict[str, Any]:
    """Where a standby is and whether it hears of its primary."""
    (row,) = engine._query(_RECEIVER, columns=_RECEIVER_COLUMNS)
    return row


def _mode(nodes: list[dict[str, Any]]) -> str:
    kinds = {node["role"] for node in nodes}
    return "logical" if kinds == {"subscriber"} else "streaming" if kinds else "none"


def _node(row: Mapping[str, Any]) -> dict[str, Any]:
    lag_bytes = row["lag_bytes"]
    # The time that the server remembers is that of the last thing that was late, however long ago.
    seconds = 0.0 if lag_bytes == 0 else max(0.0, row["replay_lag"] or row["flush_lag"] or 0.0)
    return {
        "name": row["name"] or row["client"],
        "role": "subscriber" if row["logical"] else "standby",
        "client": row["client"],
        "state": row["state"],
        "sync_state": row["sync_state"],
        "lag_seconds": seconds,
        "lag_bytes": lag_bytes,
        "position": row["position"],
    }


def lag_of_standby(row: Mapping[str, Any]) -> tuple[float, float | None]:
    """Seconds that a standby is behind, and how much its clock is ahead of the primary's; None if that is not known."""
    skew = row["skew"]
    if skew is not None and 0 <= skew <= _TRANSIT_SECONDS:
        skew = 0.0  # what the message was on its way
    if row["status"] == "streaming" and row["lag_bytes"] == 0:
        return 0.0, skew
    # The time of the transaction is by the primary's clock.
    return max(0.0, (row["since_replay"] or 0.0) - (skew or 0.0)), skew


def _of_standby(row: Mapping[str, Any], followers: list[dict[str, Any]], name: str) -> ReplicationDetails:
    seconds, skew = lag_of_standby(row)
    primary = f"{row['host']}:{row['port']}" if row["host"] else None
    found = ReplicationDetails(
        enabled=True,
        mode="streaming" if row["status"] else "disconnected",
        role="standby",
        lag_seconds=seconds,
        sync_state="unknown",
        partners=[*([primary] if primary else []), *(node["name"] for node in followers)],
    )
    found.lag_bytes = row["lag_bytes"]
    found.clock_skew_seconds = skew
    itself = {
        "name": name,
        "role": "standby",
        "state": "paused" if row["paused"] else row["status"] or "disconnected",
        "lag_seconds": seconds,
        "lag_bytes": row["lag_bytes"],
        "sync_state": "unknown",
        "position": row["position"],
    }
    above = [{"name": primary, "role": "primary", "state": row["status"], "sync_state": "unknown"}] if primary else []
    found.nodes = [*above, itself, *followers]
    return found
