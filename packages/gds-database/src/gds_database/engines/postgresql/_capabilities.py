"""What the engine of PostgreSQL can do, by the version of the server, and what that was run on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gds_database.capabilities import Capability, TestedAgainst
from gds_database.control import Command, PgCtl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gds_database.control import Control

__all__ = ["by_control", "of", "tested"]

TESTED = "run on PostgreSQL 15; other versions checked only"
_POOL = "behind a pool with the pool's time limits"

_CAN = {
    "list_databases": "pg_database",
    "create_database": f"CREATE DATABASE; {_POOL}",
    "drop_database": f"DROP DATABASE, WITH (FORCE) to end sessions; {_POOL}",
    "backup_full": "pg_dump for a database, pg_basebackup with method='physical'; not behind a pool",
    "restore": "pg_restore, or a data directory of a physical backup; not behind a pool",
    "list_users": "pg_roles",
    "create_user": "CREATE ROLE with a SCRAM verifier made here",
    "drop_user": "DROP ROLE",
    "list_processes": "pg_stat_activity, pg_blocking_pids",
    "kill_process": "pg_terminate_backend, or pg_cancel_backend with cancel=True",
    "get_configuration": "pg_settings",
    "set_configuration": "ALTER SYSTEM and pg_reload_conf",
    "get_metrics": "pg_stat_*: one sample of now, the server keeps no history",
    "get_replication_status": "pg_stat_replication, pg_stat_wal_receiver",
    "failover": "pg_promote of a standby",
}
_LACKS = {
    "backup_differential": "the server has none; use incremental (17 and newer) with since= the full one",
    "backup_transaction_log": (
        "the log is archived all the time, not at request; use archive_command or pg_receivewal"
    ),
}
# What of each control was run; of all other controls nothing was.
_CONTROLS: dict[type, frozenset[str]] = {
    PgCtl: frozenset({"build", "startup", "shutdown"}),
    Command: frozenset({"shutdown"}),
}


def tested(number: int) -> TestedAgainst:
    """What statements for a version were run on.

    Args:
        number: Such as 150018; 0 is a server that does not answer.
    """
    return TestedAgainst.REAL if number // 10000 in (0, 15) else TestedAgainst.CHECKED


def of(number: int, *, logs: bool) -> list[Capability]:
    """All but what ``control=`` does.

    Args:
        number: The version, as above.
        logs: Whether the server keeps a log that can be read.
    """
    real = tested(number)
    has_incremental = number >= 170000
    incremental = (
        "pg_basebackup --incremental (checked only)"
        if has_incremental
        else "the server needs to be PostgreSQL 17 or newer; use BackupType.FULL, or archive WAL"
    )
    how = (
        "csvlog or jsonlog, by pg_read_binary_file or from a folder"
        if logs
        else "set log_destination to csvlog or jsonlog and logging_collector to on"
    )
    return [
        *(Capability(name, True, f"{how} ({TESTED})", real) for name, how in _CAN.items()),
        *(Capability(name, False, how, TestedAgainst.REAL) for name, how in _LACKS.items()),
        Capability("backup_incremental", has_incremental, incremental, TestedAgainst.CHECKED),
        Capability("get_logs", logs, f"{how} ({TESTED})" if logs else how, real),
    ]


def by_control(number: int, control: Control | None, found: Iterable[Capability]) -> list[Capability]:
    """What ``control=`` does, with what was run of it.

    Args:
        number: The version, as above.
        control: That of the engine.
        found: As `EngineBase._controls` has them.
    """
    run = _CONTROLS.get(type(control), frozenset())
    return [
        replace(
            each,
            how=f"{each.how} ({TESTED if each.name in run else 'checked only'})" if each.supported else each.how,
            tested_against=tested(number) if each.supported and each.name in run else TestedAgainst.CHECKED,
        )
        for each in found
    ]
