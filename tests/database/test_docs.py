"""The engine of docs/database.md passes the contract, and the page has every name there is."""

from __future__ import annotations

import contextlib
import inspect
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gds_database
import gds_database.control
from gds_database import Database, DatabaseEngine
from gds_database.cli import app
from gds_database.testing import EngineContract

TEXT = (Path(__file__).parents[2] / "docs" / "database.md").read_text("utf-8")


def toy() -> dict[str, Any]:
    found = re.search(r"## An engine of your own\n.*?```python\n(.*?)```", TEXT, re.DOTALL)
    assert found
    assert len(found[1].splitlines()) < 140
    scope: dict[str, Any] = {"__name__": "toy"}
    exec(compile(found[1], "docs/database.md", "exec"), scope)
    return scope


TOY = toy()


class TestFolderEngine(EngineContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[DatabaseEngine]:
        folder = tmp_path / "databases"
        folder.mkdir()
        with TOY["FolderEngine"](TOY["FolderConnection"](folder)) as engine:
            yield engine

    def fill(self, database: Database) -> None:
        with contextlib.closing(sqlite3.connect(database.path)) as connection:  # type: ignore[attr-defined]
            connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1), ('two')")

    def content(self, database: Database) -> Any:
        with contextlib.closing(sqlite3.connect(database.path)) as connection:  # type: ignore[attr-defined]
            return connection.execute("SELECT a FROM t ORDER BY rowid").fetchall()


def test_every_method_error_and_control_is_explained() -> None:
    names = {name for name in vars(DatabaseEngine) if not name.startswith("_")}
    names |= {name for name in vars(Database) if not name.startswith("_")}
    names |= {name for name in gds_database.__all__ if name.endswith("Error")}
    names |= {name for name in gds_database.control.__all__ if name not in {"ACTIONS", "Control"}}
    names |= {"open_engine", "open_engine_async", "AsyncDatabaseEngine", "EngineConfig"}
    assert sorted(name for name in names if not re.search(rf"`{name}\b", TEXT)) == []


def test_every_setting_of_an_engine_is_explained() -> None:
    from gds_database.engines import EngineBase

    settings = set(inspect.signature(EngineBase).parameters) - {"connection", "unknown"}
    assert sorted(name for name in settings if not re.search(rf"\b{name}\b", TEXT)) == []


def test_every_command_is_explained() -> None:
    table = TEXT[TEXT.index("## The command line") : TEXT.index("## Testing")]
    names = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    assert len(names) > 15
    assert sorted(name for name in names if not re.search(rf"`{name}\b", table)) == []


def test_the_lines_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "packages" / "gds-database" / "README.md").read_text("utf-8")
    [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(program, {})
    assert capsys.readouterr().out == "[\"DROP DATABASE 'shop'\"]\n"
