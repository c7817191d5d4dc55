"""The server's log of a time range: csvlog or jsonlog, read through the server or from a folder of this machine."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gds_database.errors import ConfigurationError, QueryError
from gds_database.metadata import LogEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gds_database.engines.postgresql.engine import PostgreSQLEngine

__all__ = ["MAX_BYTES", "kept", "read"]

MAX_BYTES = 256 * 1024**2
_CHUNK_BYTES = 4 * 1024**2

_SETUP = """
SELECT current_setting('log_destination') AS destination, current_setting('logging_collector') AS collects,
  current_setting('log_timezone') AS zone
"""
_FILES = "SELECT name, size, modification FROM pg_catalog.pg_ls_logdir() ORDER BY modification, name"
# The folder may be absolute; pg_read_binary_file takes both for whom it may be read.
_READ = """
SELECT pg_catalog.pg_read_binary_file(current_setting('log_directory') || '/' || %s, %s::bigint, %s::bigint) AS content
"""

_CSV_NAMES = (
    *("timestamp", "user", "dbname", "pid", "remote", "session_id", "line_num", "ps", "session_start", "vxid"),
    *("txid", "error_severity", "state_code", "message", "detail", "hint", "internal_query", "internal_position"),
    *("context", "statement", "cursor_position", "func_name", "application_name", "backend_type", "leader_pid"),
    "query_id",
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) ?(\S+)?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")


def read(
    engine: PostgreSQLEngine,
    start: datetime,
    end: datetime,
    *,
    directory: str | None,
    level: str | None,
    max_bytes: int,
) -> list[LogEntry]:
    """The lines of the range in their order.

    Args:
        engine: Whose.
        start: First, aware.
        end: Last, aware.
        directory: A folder of this machine with the log files; by default they are read through the server.
        level: Only lines of this level, such as ``ERROR``.
        max_bytes: How much to read at most.
    """
    (setup,) = engine._query(_SETUP, columns=("destination", "collects", "zone"))
    files = _local(Path(directory)) if directory is not None else _remote(engine, setup)
    # Both may be there, of now or of earlier settings.
    is_json = (
        "jsonlog" in setup["destination"] if directory is None else any(file[0].endswith(".json") for file in files)
    )
    kind = "json" if is_json else "csv"
    chosen = _of_range([file for file in files if file[0].endswith(f".{kind}")], start, end)
    total = sum(size for _, size, _, _ in chosen)
    if total > max_bytes:
        raise QueryError(
            f"the log of this range is in {len(chosen)} files of {total:,} bytes, more than max_bytes={max_bytes:,}; "
            "narrow the range, or raise max_bytes"
        )
    zone = _Zone(setup["zone"])
    found: list[LogEntry] = []
    for name, _, _, content in chosen:
        for fields in (_json if kind == "json" else _csv)(content()):
            with suppress(ValueError):
                at = zone.parse(fields.pop("timestamp"))
                if start <= at <= end and level in (None, fields.get("error_severity")):
                    found.append(_entry(fields, at, name, engine._secrets.redact))
    return sorted(found, key=lambda entry: entry.timestamp)


def kept(engine: PostgreSQLEngine) -> bool:
    """Whether the server writes its log so that it can be read."""
    return _kept(engine._query(_SETUP, columns=("destination", "collects", "zone"))[0])


def _kept(setup: dict[str, Any]) -> bool:
    written = {each.strip() for each in setup["destination"].split(",")}
    return setup["collects"] == "on" and bool(written & {"csvlog", "jsonlog"})


File = tuple[str, int, datetime, "Callable[[], bytes]"]


def _remote(engine: PostgreSQLEngine, setup: dict[str, Any]) -> list[File]:
    if not _kept(setup):
        raise QueryError(
            f"log_destination={setup['destination']}, logging_collector={setup['collects']}: expected csvlog or "
            "jsonlog with the collector on; set both and restart the server, or read its standard error where that goes"
        )

    def content(name: str, size: int) -> bytes:
        parts = []
        for offset in range(0, size, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, size - offset)
            (row,) = engine._query(_READ, (name, offset, length), columns=("content",))
            parts.append(bytes(row["content"]))
        return b"".join(parts)

    rows = engine._query(_FILES, columns=("name", "size", "modification"))
    return [
        (row["name"], row["size"], row["modification"], functools.partial(content, row["name"], row["size"]))
        for row in rows
    ]


def _local(folder: Path) -> list[File]:
    if not folder.is_dir():
        raise ConfigurationError(f"directory={str(folder)!r}: expected a folder with log files")
    found: list[File] = []
    for path in folder.iterdir():
        if path.suffix in {".csv", ".json"} and path.is_file():
            known = path.stat()
            at = datetime.fromtimestamp(known.st_mtime, timezone.utc)
            found.append((path.name, known.st_size, at, path.read_bytes))
    return sorted(found, key=lambda file: (file[2], file[0]))


def _of_range(files: list[File], start: datetime, end: datetime) -> list[File]:
    """Those that may hold lines of the range: a file begins when the one before it ends."""
    chosen = []
    begins: datetime | None = None
    for file in files:
        # Clocks of files are coarse.
        if file[2] >= start - timedelta(seconds=2) and (begins is None or begins <= end):
            chosen.append(file)
        begins = file[2]
    return chosen


def _csv(content: bytes) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(2**31 - 1)
    for row in csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")):
        if len(row) >= 23:  # what is being written is shorter
            yield {name: value for name, value in zip(_CSV_NAMES, row, strict=False) if value}


def _json(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        with suppress(ValueError):
            fields = json.loads(line.decode("utf-8", "replace"))
            if isinstance(fields, dict) and "timestamp" in fields:
                yield fields


def _entry(fields: dict[str, Any], at: datetime, source: str, redact: Callable[[str], str]) -> LogEntry:
    level = fields.pop("error_severity", "LOG")
    message = fields.pop("message", "")
    context = {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}
    return LogEntry(at, level, redact(message), source, context)


class _Zone:
    """Reads the times of a log, which are local ones with the short name of a zone."""

    def __init__(self, name: str) -> None:
        self._zone: Any = timezone.utc
        self._known = name.upper() in {"UTC", "GMT", "ETC/UTC"}
        if not self._known:
            with suppress(ZoneInfoNotFoundError, ValueError):
                self._zone = ZoneInfo(name)
                self._known = True
        self._name = name

    def parse(self, text: str) -> datetime:
        match = _TIME.fullmatch(text)
        if match is None:
            raise ValueError(text)
        naive = datetime.fromisoformat(_six(match[1]))
        short = match[2] or "UTC"
        if short in {"UTC", "GMT"}:
            return naive.replace(tzinfo=timezone.utc)
        if offset := _OFFSET.fullmatch(short):
            delta = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
            return (naive - (delta if offset[1] == "+" else -delta)).replace(tzinfo=timezone.utc)
        if not self._known:
            raise QueryError(f"log_timezone={self._name}: this machine does not know it; install the package tzdata")
        first, second = (naive.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        # The hour that is there twice: the short name tells which one it is.
        chosen = second if second.tzname() == short != first.tzname() else first
        return chosen.astimezone(timezone.utc)


def _six(text: str) -> str:
    """A fraction of three digits as Python 3.10 takes it: of six."""
    whole, point, fraction = text.partition(".")
    return f"{whole}.{fraction[:6]:0<6}" if point else whole
