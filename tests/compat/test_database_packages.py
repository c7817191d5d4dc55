"""The distributions named by platform hold the names of `gds_database` and nothing else."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.compat.api_lists import LISTS, differences, read
from tests.vault.test_alone import BLOCKED, run

PACKAGES = {path.name: path for path in (Path(__file__).parents[2] / "packages").glob("gds-*")}
PLATFORMS = {
    "gds-mongodb": ("mongodb", "MongoDB", "pymongo"),
    "gds-mssql": ("mssql", "MSSQL", "pymssql"),
    "gds-postgres": ("postgresql", "PostgreSQL", "psycopg"),
    "gds-snowflake": ("snowflake", "Snowflake", "snowflake.connector"),
}
DRIVERS = {driver.partition(".")[0] for _, _, driver in PLATFORMS.values()}


@pytest.mark.parametrize("distribution", PLATFORMS)
def test_its_names_are_those_of_the_engine(distribution: str) -> None:
    engine, prefix, _ = PLATFORMS[distribution]
    package = importlib.import_module(distribution.replace("-", "_"))
    home = importlib.import_module(f"gds_database.engines.{engine}")
    assert set(package.__all__) == {f"{prefix}{kind}" for kind in ("Connection", "Database", "Engine")}
    for name in package.__all__:
        assert getattr(package, name) is getattr(home, name)
    connection = importlib.import_module(f"{package.__name__}.connection")
    assert getattr(connection, f"{prefix}Connection") is getattr(home, f"{prefix}Connection")


@pytest.mark.parametrize("distribution", PLATFORMS)
def test_its_connection_has_all_that_the_earlier_one_had(distribution: str) -> None:
    assert differences(read(LISTS / f"{distribution.replace('-', '_')}.txt")) == []


@pytest.mark.parametrize("distribution", PLATFORMS)
def test_it_needs_the_engine_with_its_driver_and_is_newer_than_what_there_was(distribution: str) -> None:
    found = importlib.metadata.distribution(distribution)
    assert Version(found.version) >= Version("2.0.0")
    [needed] = map(Requirement, found.requires or ())
    assert (needed.name, needed.extras) == ("gds-database", {PLATFORMS[distribution][0]})
    assert Version(importlib.metadata.version("gds-database")) in needed.specifier
    assert needed.extras <= set(importlib.metadata.metadata("gds-database").get_all("Provides-Extra") or ())


@pytest.mark.parametrize("distribution", PLATFORMS)
def test_it_is_imported_without_the_driver_which_is_asked_for_when_it_is_needed(distribution: str) -> None:
    engine, _, _ = PLATFORMS[distribution]
    program = (
        BLOCKED.format(blocked=DRIVERS)
        + f"""
import {distribution.replace("-", "_")}
from gds_database import MissingExtraError, open_engine
try:
    open_engine("{engine}://user@127.0.0.1:1/x")
except MissingExtraError as error:
    print(error)
"""
    )
    done = run(program)
    assert done.stderr == ""
    assert f"pip install 'gds-database[{engine}]'" in done.stdout


def test_every_platform_has_its_distribution() -> None:
    extras = {
        entry.name
        for entry in importlib.metadata.entry_points(group="gds_database.engines")
        if entry.value.startswith("gds_database.engines.")
    }
    assert {engine for engine, _, _ in PLATFORMS.values()} >= extras - {"memory"}
    assert set(PLATFORMS) <= set(PACKAGES)


def test_all_has_every_other_extra() -> None:
    metadata = importlib.metadata.metadata("gds-database")
    needed: dict[str, set[str]] = {name: set() for name in metadata.get_all("Provides-Extra") or ()}
    for requirement in map(Requirement, metadata.get_all("Requires-Dist") or ()):
        for extra, what in needed.items():
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                what.add(f"{requirement.name} {requirement.specifier}")
    whole = needed.pop("all")
    assert whole == set().union(*needed.values())
