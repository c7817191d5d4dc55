"""Engines over what stands in for SQL Server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gds_database.engines.mssql import MSSQLConnection, MSSQLEngine
from tests.services.fixtures import require_service
from tests.services.mssql import SqlServer
from tests.services.mssql.drivers import odbc_driver
from tests.services.process import wait_until

__all__ = ["AG", "connection_to", "drop_login", "engine_on", "set_up_group"]

AG = "0e1c0a4e-0000-4000-8000-0000000000aa"


def connection_to(server: SqlServer, driver: str = "pymssql", **settings: Any) -> MSSQLConnection:
    """A connection of ours that is not connected yet."""
    more: dict[str, Any] = {"trust_server_certificate": True, **settings}
    if driver == "python-tds":
        more.setdefault("ca_file", str(server.certificate_authority))
    if driver == "pyodbc":
        require_service("odbc")
        driver = odbc_driver()
    given = {"user": "sa", "password": server.password, "port": server.port, **more}
    return MSSQLConnection("127.0.0.1", driver=driver, **given)


def engine_on(server: SqlServer, driver: str = "pymssql", **settings: Any) -> MSSQLEngine:
    """An engine that is to be used in a ``with`` statement."""
    return MSSQLEngine(connection_to(server, driver), **settings)


def drop_login(engine: MSSQLEngine, name: str) -> None:
    """Drop a login, after its sessions: mssql-python keeps those of closed connections for the next one."""

    def dropped() -> bool:
        for process in engine.list_processes():
            if process["user"] == name:
                engine.kill_process(process["id"])
        return engine.drop_user(name).is_success()

    wait_until(dropped, what=f"{name!r} to be dropped")


def set_up_group(
    server: SqlServer,
    local: str,
    nodes: Mapping[str, Mapping[str, Any]],
    *,
    name: str = "ag'1",
    cluster_type: str = "WSFC",
    columns: Sequence[str] = (),
) -> None:
    """Let a server be in a group of the database ``shop``.

    Args:
        server: Which.
        local: The node that it is.
        nodes: By name: ``role``, ``mode``, ``ready`` and whatever columns its copy of the database has.
        name: Of the group.
        cluster_type: Who manages it.
        columns: Of the view of copies that are left out, as of an older server.
    """
    server.put("sys.availability_groups", [{"group_id": AG, "name": name, "cluster_type_desc": cluster_type}])
    replicas, states, copies, cluster = [], [], [], []
    primary = next((node for node, of in nodes.items() if of["role"] == "PRIMARY"), None)
    for number, (node, of) in enumerate(nodes.items()):
        ids = {"replica_id": f"0e1c0a4e-0000-4000-8000-00000000000{number}", "group_id": AG}
        mode = of.get("mode", "SYNCHRONOUS_COMMIT")
        replicas.append({**ids, "replica_server_name": node, "availability_mode_desc": mode})
        # A secondary sees itself only.
        if node != local and local != primary:
            continue
        is_local = node == local
        states.append({**ids, "is_local": is_local, "role_desc": of["role"], "connected_state_desc": "CONNECTED"})
        known = {
            "end_of_log_lsn": 500,
            "last_hardened_lsn": 500,
            "last_commit_lsn": 490,
            "synchronization_state_desc": "SYNCHRONIZED",
            "is_suspended": False,
            **{key: value for key, value in of.items() if key not in ("role", "mode", "ready")},
        }
        base = {**ids, "group_database_id": AG, "is_local": is_local, "is_primary_replica": of["role"] == "PRIMARY"}
        copies.append({key: value for key, value in {**base, **known}.items() if key not in columns})
        ready = {"is_failover_ready": of.get("ready", True), "is_database_joined": True}
        cluster.append({"replica_id": ids["replica_id"], "group_database_id": AG, "database_name": "shop", **ready})
    server.put("sys.availability_replicas", replicas)
    server.put("sys.dm_hadr_availability_replica_states", states)
    server.put("sys.dm_hadr_database_replica_states", copies)
    server.put("sys.dm_hadr_database_replica_cluster_states", cluster)
