"""``capabilities()`` and the page say in the same words what was run on what."""

from __future__ import annotations

from pathlib import Path

import pytest

from gds_database import DatabaseConnection, DatabaseConnectionError, DatabaseEngine, TestedAgainst
from gds_database.control import Command, Control, Kubernetes, PgCtl, Systemd
from gds_database.engines.mongodb import MongoDBEngine
from gds_database.engines.mssql import MSSQLEngine
from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.engines.snowflake import SnowflakeEngine

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "database.md").read_text("utf-8").split())


class Down(DatabaseConnection):
    """To a server that does not answer: what an engine can do it says all the same."""

    def connect(self) -> None:
        raise DatabaseConnectionError("it is down")

    def disconnect(self) -> None:
        pass

    def execute_query(self, query: str, params: tuple[object, ...] | None = None) -> list[object]:
        del query, params
        raise DatabaseConnectionError("it is down")

    def is_connected(self) -> bool:
        return True

    def get_connection_info(self) -> dict[str, object]:
        return {}


@pytest.mark.parametrize(
    ("kind", "name", "words", "tested"),
    [
        (PostgreSQLEngine, "failover", "run on PostgreSQL 15; other versions checked only", "real"),
        (PostgreSQLEngine, "create_database", "behind a pool with the pool's time limits", "real"),
        (PostgreSQLEngine, "drop_database", "behind a pool with the pool's time limits", "real"),
        (PostgreSQLEngine, "backup_full", "not behind a pool", "real"),
        (PostgreSQLEngine, "backup_incremental", "", "checked only"),
        (MongoDBEngine, "backup_full", "run on SecantusDB 0.7 and FerretDB 1.24; MongoDB protocol", "emulator"),
        (MongoDBEngine, "create_user", "run on SecantusDB 0.7; MongoDB protocol; never run on MongoDB", "emulator"),
        (MongoDBEngine, "failover", "never run on MongoDB", "checked only"),
        (MongoDBEngine, "failover", "checked on replies of 4.4 to 8.0 written after MongoDB's manual", "checked only"),
        (
            MSSQLEngine,
            "backup_full",
            "by pyodbc with FreeTDS 1.3 only; protocol and SQL checked; never run",
            "emulator",
        ),
        (SnowflakeEngine, "backup_full", "emulator only; connector 5.x untested", "emulator"),
        (SnowflakeEngine, "failover", "checked only", "checked only"),
    ],
)
def test_it_says_what_it_was_run_on(kind: type[DatabaseEngine], name: str, words: str, tested: str) -> None:
    found = kind(Down()).capabilities()[name]
    assert words in found.how
    assert found.tested_against is TestedAgainst(tested)


REALLY: dict[str, tuple[Control | None, set[str]]] = {
    "PgCtl": (PgCtl("/data"), {"build", "startup", "shutdown"}),
    "Command": (Command(start=["a"], stop=["b"], build=["c"], destroy=["d"]), {"shutdown"}),
    "Systemd": (Systemd("pg"), set()),
    "Kubernetes": (Kubernetes("statefulset/pg", manifest="pg.yaml"), set()),
    "none": (None, set()),
}
"""What tests here do to a PostgreSQL by means of each control."""


@pytest.mark.parametrize("name", REALLY)
def test_only_those_controls_are_told_as_run_that_were(name: str) -> None:
    control, really = REALLY[name]
    found = PostgreSQLEngine(Down(), control=control).capabilities()
    controlled = [found[each] for each in ("build", "destroy", "startup", "shutdown")]
    assert {each.name for each in controlled if each.tested_against is TestedAgainst.REAL} == really
    for each in controlled:
        assert each.tested_against in {TestedAgainst.REAL, TestedAgainst.CHECKED}
        words = "run on PostgreSQL 15; other versions checked only" if each.name in really else "checked only"
        assert each.how == f"by control={name} ({words})" or not each.supported
    actions = {"build": "build", "startup": "start", "shutdown": "stop"}
    told = ", ".join(actions[each] for each in ("build", "startup", "shutdown") if each in really)
    assert not really or f"`{name}` ({told})" in PAGE


@pytest.mark.parametrize("kind", [MongoDBEngine, MSSQLEngine, SnowflakeEngine])
def test_no_control_was_run_on_another_platform(kind: type[DatabaseEngine]) -> None:
    found = kind(Down(), control=REALLY["Command"][0]).capabilities()  # type: ignore[call-arg]
    controlled = [each for each in found.values() if each.how.startswith("by control=")]
    assert {"build", "destroy"} <= {each.name for each in controlled}
    assert {each.tested_against for each in controlled} == {TestedAgainst.CHECKED}


@pytest.mark.parametrize(
    "words",
    [
        "MongoDB protocol; never run on MongoDB",
        "the choice is checked on replies of 4.4 to 8.0 written after MongoDB's manual",
        "SecantusDB 0.7",
        "FerretDB 1.24",
        "protocol and SQL checked; never run on SQL Server",
        "pyodbc was run with FreeTDS's ODBC driver 1.3",
        "the real PostgreSQL 15",
        "other controls, `Systemd` and `Kubernetes` among them, are checked only",
        "nothing of that was run, incremental backups (17) included",
        "such as `CREATE DATABASE` and `DROP DATABASE`, have the time limits that the pool has",
        "emulator only; connector 5.x untested",
    ],
)
def test_the_page_says_it_too(words: str) -> None:
    assert words in PAGE
