"""The error log of the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gds_database.engines._base import aware, only
from gds_database.engines.mssql._azure import LACKS
from gds_database.engines.mssql._server import SqlServerBase, utc
from gds_database.errors import ConfigurationError, PrivilegeError, QueryError, StatementTimeoutError
from gds_database.metadata import LogEntry

if TYPE_CHECKING:
    from datetime import datetime, timezone

__all__ = ["Logs"]

FILES = 7
"""The current log and the six before it, as many as the server keeps unless told otherwise."""

_COLUMNS = ("logdate", "processinfo", "text")
_HEAD = re.compile(r"Error: (?P<number>\d+), Severity: (?P<severity>\d+), State: (?P<state>\d+)\.")
_ERROR, _FATAL = 11, 20


class Logs(SqlServerBase):
    """What the server has written."""

    def get_logs(self, start_time: datetime, end_time: datetime, **kwargs: Any) -> list[LogEntry]:
        """The error log from ``start_time`` to ``end_time``, oldest line first.

        A line ``Error: 18456, Severity: 14, State: 8.`` and the one behind it, which says what it was, are one entry.

        Args:
            start_time: From when on.
            end_time: Until when.
            kwargs: ``contains`` (text that the line has), ``limit`` (the last so many), ``files`` (how many logs to
                look into, the newest first; 7).
        """
        only(kwargs, "get_logs", "contains", "limit", "files")
        start, end = aware(start_time, end_time)
        limit, files = kwargs.get("limit"), kwargs.get("files", FILES)
        for name, number in (("limit", limit), ("files", files)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ConfigurationError(f"{name}={number!r}: expected 1 or more")
        if self._is_azure_database:
            raise QueryError(str(LACKS["get_logs"]))
        zone = self._zone()
        found: list[LogEntry] = []
        for file in range(files):
            entries = self._file(file, start, end, zone)
            if entries is None:
                break
            found = [*entries, *found]
            if file and not entries and found:
                break  # older ones end before it
        wanted = kwargs.get("contains")
        if wanted is not None:
            found = [entry for entry in found if str(wanted).lower() in entry.message.lower()]
        found.sort(key=lambda entry: entry.timestamp)
        return found[-limit:] if limit else found

    def _file(self, file: int, start: datetime, end: datetime, zone: timezone) -> list[LogEntry] | None:
        """The lines of one log; None if there is no such one. Its arguments may be nothing but constants."""
        since, until = (
            each.astimezone(zone).replace(tzinfo=None).isoformat(timespec="milliseconds") for each in (start, end)
        )
        statement = f"EXEC sys.xp_readerrorlog {file}, 1, NULL, NULL, N'{since}', N'{until}', N'asc'"
        try:
            rows = self._query(statement, columns=_COLUMNS, operation="xp_readerrorlog")
        except QueryError as error:
            if isinstance(error, (PrivilegeError, StatementTimeoutError)) or not file:
                raise
            return None  # the server keeps fewer
        return [entry for entry in self._entries(rows, zone, file) if start <= entry.timestamp <= end]

    def _entries(self, rows: list[dict[str, Any]], zone: timezone, file: int) -> list[LogEntry]:
        found: list[LogEntry] = []
        head: tuple[str, dict[str, int]] | None = None
        for row in rows:
            text, process = self._secrets.redact(str(row["text"])), str(row["processinfo"] or "").strip()
            error = _HEAD.fullmatch(text.strip())
            if error:
                head = process, {name: int(value) for name, value in error.groupdict().items()}
                continue
            context: dict[str, Any] = {"process": process}
            if head is not None and head[0] == process:
                context.update(head[1])
            head = None
            source = "errorlog" if file == 0 else f"errorlog.{file}"
            found.append(LogEntry(utc(row["logdate"], zone), _level(context), text, source, context))
        return found


def _level(context: dict[str, Any]) -> str:
    severity = context.get("severity")
    if severity is None:
        return "INFO"
    return "FATAL" if severity >= _FATAL else "ERROR" if severity >= _ERROR else "INFO"
