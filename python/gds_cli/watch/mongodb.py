"""What MongoDB tells beyond what all engines do: how much time is spent on what, collection by collection.

MongoDB keeps no statistics of statements unless somebody switches its profiler on, which this does not: ``top`` has
them by the kind of operation on each collection. It does not tell who blocks whom.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gds_cli.watch.picture import Statement
from gds_cli.watch.source import EngineSource
from gds_cli.watch.top import Top

if TYPE_CHECKING:
    from gds_cli.watch.picture import Picture, Session
    from gds_database.engines.mongodb import MongoDBEngine

__all__ = ["MongoDBSource"]

STATEMENTS_SECONDS = 4.0
"""How often it is asked for."""

TOP = 60
_KINDS = {
    "queries": "find",
    "getmore": "getMore",
    "insert": "insert",
    "update": "update",
    "remove": "delete",
    "commands": "other commands on",
}


class MongoDBSource(EngineSource):
    """A MongoDB of version 4.4 or newer."""

    engine: MongoDBEngine
    interval_seconds = 1.0
    tells = frozenset({"activity", "waits", "statements", "replication", "space", "metrics"})

    def __init__(self, engine: MongoDBEngine) -> None:
        super().__init__(engine, "mongodb")

    def _start(self) -> None:
        super()._start()
        self._statements = Top()

    def _picture(self) -> Picture:
        picture = super()._picture()
        return dataclasses.replace(picture, statements=self.slowly("statements", self._top, (), STATEMENTS_SECONDS))

    def sessions(self) -> tuple[Session, ...]:
        """Operations and connections; that of this view is among them."""
        mine = self.engine.read({"hello": 1})[0].get("connectionId")
        rows = self.engine.list_processes()
        return tuple(
            dataclasses.replace(self.session(row), own=mine is not None and row["connection"] == mine) for row in rows
        )

    def _top(self) -> tuple[Statement, ...]:
        (reply,) = self.engine.read({"top": 1})
        found = [
            Statement(
                f"{name} {kind}",
                f"{_KINDS[kind]} {name}",
                name.partition(".")[0],
                float(spent["count"]),
                float(spent["time"]) / 1e6,
                0.0,
                0.0,
                0.0,
            )
            for name, kinds in reply["totals"].items()
            if isinstance(kinds, dict)  # a note is among them
            for kind, spent in kinds.items()
            if kind in _KINDS and spent["count"]
        ]
        return tuple(self._statements.of(found, TOP))
