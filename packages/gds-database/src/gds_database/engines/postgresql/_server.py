"""What a server is, and which databases it has."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from gds_database.engines.postgresql._asking import Ask
from gds_database.metadata import EngineMetadata

if TYPE_CHECKING:
    from gds_database.engines.postgresql._asking import Question

__all__ = ["databases", "metadata", "server_time", "version", "version_number"]

_VERSION = "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number"
_TIME = "SELECT clock_timestamp() AS now"
_DATABASES = "SELECT datname::text AS name FROM pg_catalog.pg_database WHERE %s OR NOT datistemplate ORDER BY datname"
# The number of a cluster begins with the second in which it was made.
_METADATA = """
SELECT current_setting('server_version') AS version, version() AS text, pg_catalog.pg_is_in_recovery() AS standby,
  pg_catalog.pg_postmaster_start_time() AS started, current_setting('server_encoding') AS encoding,
  current_setting('data_checksums') AS checksums, current_setting('max_connections')::int AS max_connections,
  current_setting('cluster_name') AS cluster, c.system_identifier AS system
FROM pg_catalog.pg_control_system() c
"""
_METADATA_COLUMNS = (
    *("version", "text", "standby", "started", "encoding", "checksums", "max_connections", "cluster", "system"),
)


def version() -> Question[str]:
    """Such as ``15.18``."""
    (row,) = yield Ask(_VERSION, ("version", "number"))
    found: str = row["version"].partition(" ")[0]
    return found


def version_number() -> Question[int]:
    """Such as 150018."""
    (row,) = yield Ask(_VERSION, ("version", "number"))
    found: int = row["number"]
    return found


def server_time() -> Question[datetime]:
    """The server's clock."""
    (row,) = yield Ask(_TIME, ("now",))
    now: datetime = row["now"]
    return now


def databases(*, templates: bool = False) -> Question[list[str]]:
    """Their names."""
    rows = yield Ask(_DATABASES, ("name",), (templates,))
    return [row["name"] for row in rows]


def metadata(name: str, host: str | None, port: int | None) -> Question[EngineMetadata]:
    """What is known of it.

    Args:
        name: Of the engine.
        host: Where it is.
        port: There.
    """
    (row,) = yield Ask(_METADATA, _METADATA_COLUMNS)
    return EngineMetadata(
        name=name,
        version=row["version"].partition(" ")[0],
        edition="PostgreSQL",
        host=host,
        port=port,
        status="standby" if row["standby"] else "primary",
        created_at=datetime.fromtimestamp(row["system"] >> 32, timezone.utc),
        additional_attributes={
            "version_text": row["text"],
            "started_at": row["started"],
            "encoding": row["encoding"],
            "data_checksums": row["checksums"] == "on",
            "max_connections": row["max_connections"],
            "cluster_name": row["cluster"],
            "system_identifier": str(row["system"]),
        },
    )
