"""What an engine costs beside its driver: one statement to a PostgreSQL on this machine, measured and bounded."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.harness import AT_MOST, Bar, Effort, Row, alternate, expect, row
from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine
from gds_metrics import PrometheusMetrics
from tests.services.postgresql import PostgreSQL

__all__ = ["statements"]

_STATEMENTS = 500
_TURNS = 20
_TEXT = "SELECT count(*) AS n FROM pg_class WHERE oid = %s::regclass"


def statements(effort: Effort) -> list[Row]:
    """The same statement by the driver alone, by our connection, and by an engine with metrics."""
    with PostgreSQL() as server, server.connect(prepare_threshold=None) as bare:
        address = server.address()
        connection = PostgreSQLConnection(
            address["host"], address["port"], address["dbname"], address["user"], address["password"]
        )
        metrics = PrometheusMetrics(start_server=False)
        with PostgreSQLEngine(connection, metrics=metrics) as engine:
            [wanted] = bare.execute(_TEXT, ("pg_class",)).fetchall()

            def by_driver() -> Any:
                return bare.execute(_TEXT, ("pg_class",)).fetchall()[0][0]

            def by_connection() -> Any:
                return connection.execute_query(_TEXT, ("pg_class",))[0][0]

            def by_engine() -> Any:
                return engine._query(_TEXT, ("pg_class",), columns=("n",))[0]["n"]

            rounds = max(2, effort.long_rounds)
            rows = []
            for name, ours in (("our connection", by_connection), ("an engine with metrics", by_engine)):
                taken = [_round(ours, by_driver, wanted[0]) for _ in range(rounds)]
                what = f"one statement to PostgreSQL by {name}"
                rows.append(row(what, taken, unit="us", against="psycopg", bar=Bar(AT_MOST, 1.2)))
                more = median(mine - alone for mine, alone in taken)
                rows.append(Row(f"{what}, more than by psycopg", more, "us", bar=Bar(AT_MOST, 20)))
            labels = {"db.operation.name": "SELECT", "db.namespace": "postgres", "db.system.name": "postgresql"}
            counted = metrics.sample(
                "db.client.operation.duration",
                {**labels, "server.address": address["host"], "server.port": str(address["port"])},
            )
            expect("statements that were counted", counted, float(rounds * (_STATEMENTS + _TURNS)))
            return rows


def _round(ours: Callable[[], Any], peer: Callable[[], Any], wanted: object) -> tuple[float, float]:
    """Microseconds of one statement; the best of short turns, which are not interrupted so often."""

    def timed(call: Callable[[], Any]) -> float:
        expect("rows", call(), wanted)
        begin = time.perf_counter()
        for _ in range(_STATEMENTS // _TURNS):
            call()
        return (time.perf_counter() - begin) / (_STATEMENTS // _TURNS) * 1e6

    turns = alternate(lambda: timed(ours), lambda: timed(peer), _TURNS)
    return min(taken for taken, _ in turns), min(taken for _, taken in turns)
