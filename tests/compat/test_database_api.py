"""`gds_database` has every name, parameter and default that packages of its 1.x rely on."""

from __future__ import annotations

import importlib.metadata
from enum import Enum

import pytest
from packaging.version import Version

import gds_database
from tests.compat.api_lists import LISTS, differences, read
from tests.vault.test_alone import BLOCKED, run

DATABASE = read(LISTS / "gds_database.txt")


def test_everything_listed_is_there_with_its_parameters_and_defaults() -> None:
    assert differences(DATABASE) == []


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        (gds_database.DatabaseType, "MSSQL SNOWFLAKE POSTGRESQL MONGODB MYSQL ORACLE SQLITE"),
        (
            gds_database.DatabaseState,
            "ONLINE OFFLINE RESTORING RECOVERING SUSPECT EMERGENCY SINGLE_USER MULTI_USER UNKNOWN",
        ),
        (gds_database.BackupType, "FULL DIFFERENTIAL INCREMENTAL TRANSACTION_LOG"),
    ],
)
def test_enumerations_have_every_member_under_its_value(kind: type[Enum], members: str) -> None:
    for name in members.split():
        assert kind[name].value == name.lower()
        assert kind(name.lower()) is kind[name]


def test_the_package_itself_has_every_name_of_its_modules() -> None:
    listed = {kind.name for module in DATABASE for kind in module.kinds}
    assert listed <= set(gds_database.__all__)
    assert all(getattr(gds_database, name) for name in gds_database.__all__)


def test_pip_takes_it_for_the_newer_one() -> None:
    assert importlib.metadata.version("gds-database") == gds_database.__version__
    assert Version(gds_database.__version__) >= Version("2.0.0")


def test_an_import_loads_no_driver_and_starts_nothing() -> None:
    program = BLOCKED.format(blocked={"psycopg", "pymongo", "pymssql", "snowflake", "opentelemetry", "typer", "rich"})
    modules = ("base", "database", "engine", "metadata", "control", "tools", "config", "engines._base")
    program += "".join(f"import gds_database.{name}\n" for name in modules)
    program += (
        "import threading\nassert threading.active_count() == 1\nassert not {'asyncio', 'ssl'} & set(sys.modules)"
    )
    done = run(program)
    assert (done.returncode, done.stderr) == (0, "")
