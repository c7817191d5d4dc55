"""Another node takes over: what has to be so before, what is done, what is looked at after it.

A standby is promoted. Which checks it has to pass depends on what is known of its primary:

- The engine is connected to the standby, and the primary is gone: replay must not be paused.
- The same, and the primary is heard of: refused, as there would be two; it has to be stopped first.
- The engine is connected to the primary and has ``control=``: the standby must stream. The primary is stopped, sends
  all that it has before it ends, and only then the standby is promoted.
- The same without ``control=``: the standby must be synchronous. The primary goes on until the standby is promoted, and
  then waits for it in vain: nothing is acknowledged that the standby has not.

``force=True`` leaves the checks out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_database.base import QueryError
from gds_database.engines.postgresql import _replication
from gds_database.engines.postgresql._backup import login_of
from gds_database.engines.postgresql._session import Sql
from gds_database.engines.postgresql._waiting import wait_until
from gds_database.engines.postgresql.connection import PostgreSQLConnection
from gds_database.errors import ConfigurationError, StatementTimeoutError
from gds_database.plan import Step

if TYPE_CHECKING:
    from gds_database.base import OperationResult
    from gds_database.engines.postgresql.engine import PostgreSQLEngine

__all__ = ["TIMEOUT_SECONDS", "elsewhere", "failover"]

TIMEOUT_SECONDS = 60.0
# A receiver sends a message at least every ten seconds, unless it is told otherwise.
_HEARD_SECONDS = 30.0

_NODE = """
SELECT pg_catalog.pg_is_in_recovery() AS standby, c.system_identifier::text AS system,
  k.timeline_id AS timeline, current_setting('synchronous_standby_names') AS waits_for,
  current_setting('synchronous_commit') AS commits,
  coalesce(pg_catalog.pg_last_wal_replay_lsn()::text, '') AS position
FROM pg_catalog.pg_control_system() c, pg_catalog.pg_control_checkpoint() k
"""
_NODE_COLUMNS = ("standby", "system", "timeline", "waits_for", "commits", "position")
_REPLAYED = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), %s::pg_lsn) >= 0 AS done"


def failover(
    engine: PostgreSQLEngine,
    target: PostgreSQLEngine | None,
    target_name: str | None,
    *,
    dry_run: bool,
    force: bool,
    timeout_seconds: float,
) -> OperationResult:
    """Promote ``target``, or the engine's own server if that is a standby.

    Args:
        engine: That was asked.
        target: An engine of the standby; None is the engine's own server.
        target_name: As it was called.
        dry_run: Only check and show.
        force: Leave the checks out.
        timeout_seconds: Of all of it.
    """
    here = _node(engine)
    if target is None:
        if not here["standby"]:
            raise ConfigurationError(
                "target_node: expected host:port of a standby, or target= with an engine of it: "
                f"{engine.name} is the primary"
            )
        target, there = engine, here
    else:
        there = _node(target)
    if not there["standby"]:
        raise ConfigurationError(f"{target_name or target.name}: is no standby, so there is nothing to promote")
    steps: list[Step] = []
    if target is engine or here["standby"]:
        if not force:
            _check_alone(target)
    else:
        if here["system"] != there["system"]:
            raise ConfigurationError(
                f"{target.name}: is a copy of another server ({there['system']}, not {here['system']})"
            )
        if not force:
            _check_follows(engine, target, here)
        if engine.control is not None:
            steps += engine.control.steps("stop", timeout_seconds=timeout_seconds)
            steps.append(_caught_up(target, timeout_seconds))
    outcome: dict[str, Any] = {
        "target": target.name,
        "timeline_before": there["timeline"],
        "warnings": _warnings(engine, target, there, fenced=engine.control is not None),
    }
    steps.append(_promotion(target, timeout_seconds, outcome))
    result = engine._carry_out(f"made {target.name} the primary", steps, dry_run=dry_run, data=outcome)
    if result.data is not None:
        result.data.update(outcome)
    return result


def elsewhere(engine: PostgreSQLEngine, node: str) -> PostgreSQLEngine:
    """An engine of another node with the same login, connected.

    Args:
        engine: Whose login.
        node: ``host:port``.
    """
    host, _, port = node.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigurationError(f"target_node={node!r}: expected host:port, or target= with an engine of it")
    parameters, password = login_of(engine)
    others = {name: value for name, value in parameters.items() if name not in {"host", "hostaddr", "port", "password"}}
    connection = PostgreSQLConnection(host.strip("[]"), int(port), password=password, config=others)
    found = type(engine)(connection, timeout_seconds=engine.timeout_seconds)
    found.connect()
    return found


def _node(engine: PostgreSQLEngine) -> dict[str, Any]:
    (row,) = engine._query(_NODE, columns=_NODE_COLUMNS)
    return row


def _check_alone(target: PostgreSQLEngine) -> None:
    """A standby whose primary is not asked: it must not be heard of any more."""
    row = _replication.receiver(target)
    if row["paused"]:
        raise QueryError(f"{target.name}: replay is paused; run SELECT pg_wal_replay_resume() there first")
    heard = row["since_message"]
    if row["status"] == "streaming" and (heard is None or heard < _HEARD_SECONDS):
        raise QueryError(
            f"{target.name}: still hears of its primary at {row['host']}:{row['port']}, so there would be two; "
            "stop that one first, or ask an engine of it, or give force=True"
        )


def _check_follows(engine: PostgreSQLEngine, target: PostgreSQLEngine, here: dict[str, Any]) -> None:
    """A standby of a primary that runs."""
    row = _replication.receiver(target)
    if row["paused"]:
        raise QueryError(f"{target.name}: replay is paused; run SELECT pg_wal_replay_resume() there first")
    if row["status"] != "streaming":
        raise QueryError(
            f"{target.name}: does not follow its primary (its receiver: {row['status'] or 'not running'}), so it would "
            "lose what it has not; let it catch up, or give force=True"
        )
    if engine.control is not None:
        return
    nodes = engine.get_replication_status().nodes
    synchronous = [node for node in nodes if node["sync_state"] in {"sync", "quorum"}]
    if here["commits"] in {"off", "local"} or not synchronous:
        raise QueryError(
            f"{engine.name}: acknowledges what no standby has, and goes on doing so until it is stopped; "
            "give the engine control= to stop it first, make the standby synchronous, or give force=True"
        )
    if len(synchronous) > 1:
        # With a quorum, or several, one alone may lack what another has acknowledged.
        behind = [node["name"] for node in nodes if node["lag_bytes"]]
        if behind and any(node["sync_state"] == "quorum" for node in synchronous):
            raise QueryError(
                f"{engine.name}: any of {', '.join(node['name'] for node in synchronous)} may have acknowledged what "
                "the others have not; give the engine control= to stop it first, or give force=True"
            )


def _warnings(engine: PostgreSQLEngine, target: PostgreSQLEngine, there: dict[str, Any], *, fenced: bool) -> list[str]:
    found = []
    if there["waits_for"]:
        found.append(
            f"synchronous_standby_names of {target.name} is {there['waits_for']!r}: commits wait until such a standby "
            "follows it"
        )
    if target is not engine and not fenced:
        found.append(f"{engine.name} still runs; stop it and make it a standby of {target.name}, by pg_rewind")
    return found


def _caught_up(target: PostgreSQLEngine, timeout_seconds: float) -> Step:
    """Wait until all that was received is replayed; a primary that ends in order has sent everything before."""

    def run() -> None:
        wait_until(
            lambda: _replication.receiver(target)["status"] != "streaming",
            timeout_seconds,
            f"{target.name}: still hears of its primary, although control= has stopped it",
        )
        received = _replication.receiver(target)["received"]
        if received is None:  # fed from an archive
            return
        wait_until(
            lambda: bool(target._query(_REPLAYED, (received,), columns=("done",))[0]["done"]),
            timeout_seconds,
            f"{target.name}: has not replayed what it received",
        )

    return Step(f"-- wait until {target.name} has lost its primary and replayed all that came from it", run)


def _promotion(target: PostgreSQLEngine, timeout_seconds: float, outcome: dict[str, Any]) -> Step:
    wait = max(1, int(timeout_seconds))
    statement = Sql("SELECT pg_promote(true, %s) AS promoted")

    def run() -> None:
        (row,) = target._query(statement, (wait,), columns=("promoted",), timeout_seconds=timeout_seconds + 5)
        if not row["promoted"]:
            raise StatementTimeoutError(f"{target.name}: was not promoted within {wait} s; its log says why")
        wait_until(lambda: _is_primary(target), timeout_seconds, f"{target.name}: does not take changes")
        with suppress(QueryError):
            # The new timeline is in the control file with the next checkpoint.
            target._execute(Sql("CHECKPOINT", alone=True), timeout_seconds=timeout_seconds)
        outcome["timeline"] = _node(target)["timeline"]

    return Step(f"SELECT pg_promote(true, {wait}) -- on {target.name}", run)


def _is_primary(target: PostgreSQLEngine) -> bool:
    (row,) = target._query("SELECT NOT pg_catalog.pg_is_in_recovery() AS done", columns=("done",))
    return bool(row["done"])
