"""What the engine asks of a server, and what the answers mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from gds_database.base import QueryError
from gds_database.engines.mongodb._commands import Command, Question, optional
from gds_database.engines.mongodb._metrics import metrics_of
from gds_database.engines.mongodb._replication import replication
from gds_database.errors import ConfigurationError, ObjectNotFoundError
from gds_database.metadata import DatabaseMetadata, DatabaseState, DatabaseType, EngineMetadata, LogEntry, Metric

__all__ = ["NOT_SETTINGS"]

NOT_SETTINGS = frozenset({"ok", "$clusterTime", "operationTime", "lastCommittedOpTime", "$gleStats"})
"""What is in a reply beside what was asked for."""

STATEMENT_CHARACTERS = 1000
_NOISE = frozenset({"lsid", "$clusterTime", "$db", "$readPreference", "signature", "apiVersion", "$audit", "txnNumber"})
_SECRET_KEYS = frozenset({"pwd", "payload", "password"})
_LEVELS = {"F": "FATAL", "E": "ERROR", "W": "WARNING", "I": "INFO"}
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\dT\S+)\s+([FEWID]\d?)\s+(\S+)\s+(?:\[([^\]]*)\]\s+)?(.*)", re.DOTALL)
# How a name of a parameter says what it is measured in.
_UNITS = (
    (re.compile(r"(?:MilliSec(?:ond)?s|Millis|MS|Ms)$"), "ms"),
    (re.compile(r"(?:Micro(?:second)?s|Micros)$"), "us"),
    (re.compile(r"(?:Seconds|Secs|Sec)$"), "s"),
    (re.compile(r"Minutes$"), "min"),
    (re.compile(r"(?:SizeMB|MB|Megabytes)$"), "MiBy"),
    (re.compile(r"(?:SizeGB|GB)$"), "GiBy"),
    (re.compile(r"(?:KB)$"), "KiBy"),
    (re.compile(r"Bytes$"), "By"),
    (re.compile(r"(?:Percent|Percentage)$"), "%"),
)


def utc(value: datetime) -> datetime:
    """With its zone: clients that are not told otherwise leave it out."""
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


# ------------------------------------------------------------------ the server
def version() -> Question[str]:
    """Such as ``8.0.4``."""
    return str((yield Command("buildInfo"))["version"])


def server_time() -> Question[datetime]:
    """The server's clock."""
    reply = yield Command("hello")
    return utc(reply["localTime"])


def metadata(name: str, host: str | None, port: int | None) -> Question[EngineMetadata]:
    """What is known of the server."""
    build = yield Command("buildInfo")
    hello = yield Command("hello")
    status = yield from optional(Command("serverStatus", 1, {"metrics": 0, "locks": 0, "tcmalloc": 0}))
    uptime = status.get("uptime")
    now = utc(status.get("localTime") or hello["localTime"])
    attributes = {
        "replica_set": hello.get("setName"),
        "process": status.get("process"),
        "storage_engine": (status.get("storageEngine") or {}).get("name"),
        "uptime_seconds": uptime,
        "started_at": None if uptime is None else now - timedelta(seconds=float(uptime)),
        "git_version": build.get("gitVersion"),
        "sharded": hello.get("msg") == "isdbgrid",
    }
    return EngineMetadata(
        name=name,
        version=str(build["version"]),
        edition="enterprise" if "enterprise" in (build.get("modules") or ()) else "community",
        host=host,
        port=port,
        status="online",
        additional_attributes={key: value for key, value in attributes.items() if value is not None},
    )


# ------------------------------------------------------------------ databases
def database_names() -> Question[list[str]]:
    """Those that the login may see."""
    reply = yield Command("listDatabases", 1, {"nameOnly": True})
    return sorted(str(each["name"]) for each in reply["databases"])


def database_metadata(name: str, where: str) -> Question[DatabaseMetadata]:
    """What is known of a database; MongoDB does not keep when it was made, nor by whom."""
    if name not in (yield from database_names()):
        raise ObjectNotFoundError("database", name, where)
    stats = yield Command("dbStats", 1, database=name)
    attributes = {
        key: stats[theirs]
        for key, theirs in (
            ("collections", "collections"),
            ("views", "views"),
            ("documents", "objects"),
            ("indexes", "indexes"),
            ("data_bytes", "dataSize"),
            ("storage_bytes", "storageSize"),
            ("index_bytes", "indexSize"),
        )
        if theirs in stats
    }
    return DatabaseMetadata(
        name=name,
        type=DatabaseType.MONGODB,
        size_bytes=int(stats.get("storageSize", 0) + stats.get("indexSize", 0)),
        state=DatabaseState.ONLINE,
        additional_attributes=attributes,
    )


# ------------------------------------------------------------------ users
def users(database: str | None) -> Question[list[str]]:
    """Those that a database knows; None is all of them, as ``database.user``."""
    reply = yield Command("usersInfo", {"forAllDBs": True} if database is None else 1, database=database or "admin")
    return sorted(f"{each['db']}.{each['user']}" if database is None else str(each["user"]) for each in reply["users"])


# ------------------------------------------------------------------ processes
def processes() -> Question[list[dict[str, Any]]]:
    """Operations and idle connections."""
    hello = yield Command("hello")
    reply = yield Command("currentOp", 1, {"$all": True})
    now = utc(hello["localTime"])
    return [process(each, now) for each in reply["inprog"]]


def process(found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """One operation; statements are without what clients add, and without passwords."""
    active = bool(found.get("active"))
    micros = found.get("microsecs_running")
    seconds = float(micros) / 1e6 if micros is not None else found.get("secs_running")
    users = found.get("effectiveUsers") or []
    client = found.get("clientMetadata") or {}
    number = found.get("opid")
    waits = [
        name for name, key in (("lock", "waitingForLock"), ("flow control", "waitingForFlowControl")) if found.get(key)
    ]
    if found.get("waitingForLatch"):
        waits.append("latch")
    return {
        # Only what has the number of an operation can be killed.
        "id": str(number) if number is not None else f"connection {found.get('connectionId', '?')}",
        "user": ", ".join(f"{each.get('user')}@{each.get('db')}" for each in users),
        "database": str(found.get("ns") or "").partition(".")[0] or (found.get("command") or {}).get("$db", ""),
        "state": "waiting" if waits else "active" if active else "idle",
        "statement": statement(found.get("command") or {}),
        "started_at": now - timedelta(seconds=float(seconds)) if active and seconds is not None else None,
        "seconds": float(seconds) if active and seconds is not None else None,
        "wait": ", ".join(waits) or None,
        # MongoDB tells that an operation waits, not for which.
        "blocked_by": [],
        "client": found.get("client") or found.get("client_s") or "",
        "application": found.get("appName") or (client.get("application") or {}).get("name") or "",
        "operation": found.get("op"),
        "connection": found.get("connectionId"),
        "namespace": found.get("ns"),
        "plan": found.get("planSummary"),
        "description": found.get("desc"),
        "locks": dict(found.get("locks") or {}),
    }


def statement(command: Mapping[str, Any]) -> str:
    """A command as text, without what is not of it."""
    if not command:
        return ""
    return json.dumps(_masked(command), default=str, ensure_ascii=False)


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: "********" if key in _SECRET_KEYS else _masked(inner)
            for key, inner in value.items()
            if key not in _NOISE
        }
    if isinstance(value, (list, tuple)):
        return [_masked(each) for each in value]
    return value


# ------------------------------------------------------------------ settings
def configuration() -> Question[dict[str, Any]]:
    """All parameters."""
    reply = yield Command("getParameter", "*")
    return {key: value for key, value in sorted(reply.items()) if key not in NOT_SETTINGS}


def setting(name: str, where: str) -> Question[dict[str, Any]]:
    """One parameter with what the server tells of it."""
    known = yield from configuration()
    if name not in known:
        raise ObjectNotFoundError("setting", name, where)
    # Servers before 5.0 refuse to tell more than the value, and others may know nothing else.
    details = (yield from optional(Command("getParameter", {"showDetails": True}, {name: 1}))).get(name)
    is_detailed = isinstance(details, Mapping) and "settableAtRuntime" in details
    runtime = bool(details["settableAtRuntime"]) if details is not None and is_detailed else None
    options = yield from optional(Command("getCmdLineOpts"))
    given = ((options.get("parsed") or {}).get("setParameter") or {}).get(name)
    return {
        "name": name,
        "value": known[name],
        "unit": next((unit for pattern, unit in _UNITS if pattern.search(name)), ""),
        "source": "configuration file or command line" if given is not None else "default, or set while it runs",
        "restart_required": runtime is False,
        "settable_at_runtime": runtime,
        "pending_restart": None if given is None else str(given) != str(known[name]) and runtime is False,
        "description": "",
        "default": None,
    }


def fits(name: str, value: Any, before: Any) -> Any:
    """The value, of the type that the parameter has; ``ConfigurationError`` if it is of another."""
    if isinstance(before, bool):
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in {"true", "false", "on", "off"}:
            return value.lower() in {"true", "on"}
        raise ConfigurationError(f"{name}={value!r}: expected true or false")
    if isinstance(before, (int, float)):
        number = value
        if isinstance(value, str):
            try:
                number = float(value) if isinstance(before, float) or "." in value else int(value)
            except ValueError:
                number = None
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ConfigurationError(f"{name}={value!r}: expected a number, such as {before!r}")
        return number
    if isinstance(before, str) and not isinstance(value, str):
        raise ConfigurationError(f"{name}={value!r}: expected text, such as {before!r}")
    return value


# ------------------------------------------------------------------ what it reports
def metrics(name: str) -> Question[list[Metric]]:
    """The figures of this moment."""
    status = yield Command("serverStatus", 1, {"repl": 1})
    now = utc(status["localTime"])
    found = metrics_of(status, now, name)
    databases = yield from optional(Command("listDatabases"))
    for each in databases.get("databases") or ():
        labels = {"instance_id": name, "db.namespace": str(each["name"])}
        found.append(Metric("mongodb.storage.size", float(each.get("sizeOnDisk") or 0), "By", now, labels))
    return found


def is_now(start: datetime, end: datetime) -> bool:
    """Whether this moment is in a range, which may have ended a minute ago."""
    return start <= datetime.now(timezone.utc) <= end + timedelta(minutes=1)


def all_metrics(name: str) -> Question[list[Metric]]:
    """As `metrics`, with those of replication where the login may know them."""
    found = yield from metrics(name)
    try:
        status = yield from replication()
        window = yield from oplog_window()
    except QueryError:
        return found
    at, labels = found[0].timestamp, {"instance_id": name}
    if window is not None:
        found.append(Metric("mongodb.oplog.window", window, "s", at, labels))
    for node in status.nodes:
        if node["lag_seconds"] is not None and node["role"] != "primary":
            tags = {**labels, "member": str(node["name"])}
            found.append(Metric("mongodb.replication.lag", node["lag_seconds"], "s", at, tags))
    return found


def oplog_window() -> Question[float | None]:
    """How many seconds of changes the oplog holds, between its ends; None where there is none."""
    ends: list[int] = []
    for direction in (1, -1):
        command = Command(
            "find", "oplog.rs", {"sort": {"$natural": direction}, "limit": 1, "projection": {"ts": 1}}, "local"
        )
        batch = (((yield from optional(command)).get("cursor") or {}).get("firstBatch")) or [{}]
        seconds = getattr(batch[0].get("ts"), "time", None)
        if seconds is None:
            return None
        ends.append(int(seconds))
    return float(max(0, ends[1] - ends[0]))


def logs(start: datetime, end: datetime, level: str | None) -> Question[list[LogEntry]]:
    """What the server still has in memory: its last 1024 lines."""
    reply = yield Command("getLog", "global")
    entries = [entry for line in reply.get("log") or () if (entry := log_entry(str(line)))]
    wanted = None if level is None else level.upper()
    chosen = [entry for entry in entries if start <= entry.timestamp <= end and wanted in (None, entry.level)]
    return sorted(chosen, key=lambda entry: entry.timestamp)


def log_entry(line: str) -> LogEntry | None:
    """One line: JSON since 4.4, text of columns otherwise; None if it is neither."""
    if line.startswith("{"):
        try:
            found = json.loads(line)
            timestamp = datetime.fromisoformat(_iso(found["t"]["$date"]))
        except (ValueError, KeyError, TypeError):
            return None
        context = {"id": found.get("id"), "context": found.get("ctx"), **(found.get("attr") or {})}
        return LogEntry(
            timestamp=utc(timestamp),
            level=_level(str(found.get("s", "I"))),
            message=str(found.get("msg", "")),
            source=str(found.get("c", "")),
            context={key: value for key, value in context.items() if value is not None},
        )
    matched = _PLAIN.match(line)
    if matched is None:
        return None
    try:
        timestamp = datetime.fromisoformat(_iso(matched[1]))
    except ValueError:
        return None
    context = {"context": matched[4]} if matched[4] else {}
    return LogEntry(utc(timestamp), _level(matched[2]), matched[5], matched[3], context)


def _iso(text: str) -> str:
    # Python 3.10 reads neither a Z nor an offset without a colon.
    text = re.sub(r"Z$", "+00:00", text)
    return re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text)


def _level(letter: str) -> str:
    return _LEVELS.get(letter, "DEBUG")


def roles_of(roles: Sequence[str | Mapping[str, str]], database: str) -> list[Any]:
    """Roles as the server takes them: ``"read"`` is one of the user's database, ``"read@shop"`` of another."""
    found: list[Any] = []
    for role in [roles] if isinstance(roles, str) else roles:
        if isinstance(role, Mapping):
            if set(role) != {"role", "db"}:
                raise ConfigurationError(f"roles: expected role and db, got {', '.join(sorted(role)) or 'nothing'}")
            found.append(dict(role))
        elif role and isinstance(role, str):
            name, at, where = role.rpartition("@")
            found.append({"role": name, "db": where} if at and name else {"role": role, "db": database})
        else:
            raise ConfigurationError(f"roles: expected names such as 'readWrite@shop', got {role!r}")
    return found
