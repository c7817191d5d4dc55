"""What all parts of the engine stand on: how a statement runs in a session, within its time, and how it is ended."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from gds_database._calls import ended_by
from gds_database.base import QueryError
from gds_database.engines._base import EngineBase, driver
from gds_database.engines._rows import driver_object
from gds_database.engines.snowflake._errors import translated, was_ended
from gds_database.engines.snowflake._text import literal
from gds_database.engines.snowflake.connection import SnowflakeConnection
from gds_database.errors import StatementTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_database.config import EngineConfig

__all__ = ["SnowflakeBase"]

SHOWN = 10_000
# A cancel that comes before its statement finds nothing, so it is said again until the statement has ended.
_AGAIN_SECONDS = 1.0


class SnowflakeBase(EngineBase):
    """Statements on Snowflake."""

    system: ClassVar[str] = "snowflake"
    extra: ClassVar[str] = "snowflake"

    @classmethod
    def _open(cls, config: EngineConfig) -> SnowflakeConnection:
        return SnowflakeConnection.of(config)

    def _run(self, statement: Any, params: tuple[Any, ...] | None, timeout_seconds: float) -> Any:
        session = driver_object(self.connection, "cursor", "is_closed")
        if session is None and hasattr(self.connection, "get_connection"):
            session = self.connection.get_connection()
        if session is None:
            # It is then bound by what the session allows a statement.
            return super()._run(statement, params, timeout_seconds)
        if params and not getattr(session, "is_pyformat", True):
            statement = statement.replace("%s", "?")
        # The connector counts in whole seconds; after them it has the server end the statement.
        limit = max(1, math.ceil(timeout_seconds))
        began, over = time.monotonic(), threading.Event()
        with session.cursor(driver("snowflake.connector", "snowflake").DictCursor) as cursor:
            end = self._ending(session, cursor, str(statement), over)
            try:
                with ended_by(end):
                    cursor.execute(statement, params, timeout=limit)
                    return cursor.fetchall()
            except Exception as error:
                if not was_ended(error) or time.monotonic() - began < limit:
                    raise
            finally:
                over.set()
        # Outside of the handler: the connector's error is no context of this one.
        raise StatementTimeoutError(f"Snowflake ended the statement after {limit} s, which is its timeout_seconds")

    def _ending(self, session: Any, cursor: Any, statement: str, over: threading.Event) -> Callable[[], None]:
        """Has the server end a statement, from a thread of its own, for that is a request that waits for its answer.

        The connector ends statements at their deadline in the same way; one that has no such way leaves it at that.
        """
        shown = self._secrets.hide(statement)

        def cancel() -> None:
            while not over.is_set():
                with suppress(Exception):  # it ends by its time then
                    if cursor._request_id is not None:
                        session._cancel_query(shown, cursor._request_id)
                over.wait(_AGAIN_SECONDS)

        def end() -> None:
            if hasattr(session, "_cancel_query") and hasattr(cursor, "_request_id"):
                threading.Thread(target=cancel, name="gds-snowflake-cancel", daemon=True).start()

        return end

    def _translate(self, error: Exception) -> Exception:
        found = translated(error, self._said)
        return found if self._secrets.redact(str(found)) == str(found) else super()._translate(error)

    def _rows(self, statement: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        """The rows of a query, with names in lower case."""
        return self._query(statement, params)

    def _all(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind, of which one SHOW tells no more than 10,000."""
        found = self._rows(f"SHOW {kind}")
        page = found
        while len(page) >= SHOWN:
            page = self._rows(f"SHOW {kind} LIMIT {SHOWN} FROM {literal(str(page[-1]['name']))}")
            found += page
        return found

    def _where_allowed(self, statement: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]] | None:
        """The rows of a query; None where the role may not ask."""
        try:
            return self._rows(statement, params)
        except QueryError:
            return None
