"""`make test-pythons` finds the Pythons to test on, and says which it did not find."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests import pythons
from tests.project.documents import ROOT, make

NEWER = (3, sys.version_info[1] + 1)


def interpreter(folder: Path, name: str, says: str) -> Path:
    """A program that answers what an interpreter is asked."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("here", "default", "chosen"),
    [
        ([(3, 10), (3, 11), (3, 12), (3, 13)], (3, 11), [(3, 10), (3, 13)]),
        ([(3, 10), (3, 11), (3, 12)], (3, 10), [(3, 12)]),
        ([(3, 10), (3, 12), (3, 13)], (3, 13), [(3, 10), (3, 12)]),
        ([(3, 11), (3, 12)], (3, 11), [(3, 12)]),
        ([(3, 10), (3, 11)], (3, 11), [(3, 10)]),
        ([(3, 11)], (3, 11), []),
    ],
)
def test_it_is_the_oldest_and_the_newest_beside_the_one_of_the_tests(
    here: list[pythons.Minor], default: pythons.Minor, chosen: list[pythons.Minor]
) -> None:
    assert pythons.chosen(dict.fromkeys(here, Path()), default) == chosen


def test_what_does_not_start_or_is_too_old_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims, versions = tmp_path / "shims", tmp_path / "versions"
    interpreter(shims, "python3.12", "echo no such version >&2; exit 127")
    interpreter(shims, "python3.10-config", "echo 3 10")
    interpreter(shims, "python3.13", "exit 0")  # of another kind: it says nothing
    interpreter(versions, "python3.9", "echo 3 9")
    there = interpreter(versions, "python3.12", "echo 3 12")
    (versions / "python3.14").write_text("no program")
    monkeypatch.setattr(pythons, "folders", lambda: [shims, tmp_path / "missing", versions])
    assert pythons.found() == {(3, 12): there}


def test_this_interpreter_is_found_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = tmp_path / "python3.99"
    linked.symlink_to(sys.executable)
    monkeypatch.setattr(pythons, "folders", lambda: [tmp_path])
    assert pythons.found() == {sys.version_info[:2]: linked}


def test_each_is_a_step_of_make_and_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {NEWER: tmp_path / "python"}
    monkeypatch.setattr(pythons, "found", lambda: found)
    assert pythons.main([]) == 0
    said = capsys.readouterr()
    version = f"3.{NEWER[1]}"
    assert re.fullmatch(rf"test-python-{version}=Python {version}: .*\n", said.out)
    assert said.err.count("\n") == (sys.version_info[:2] != pythons.OLDEST)
    assert pythons.main([version]) == 0
    assert capsys.readouterr().out == f"{found[NEWER]}\n"


def test_where_there_is_none_it_is_said_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pythons, "found", dict)
    assert pythons.main([]) == 0
    said = capsys.readouterr()
    assert (said.out, "skipped: a newer Python" in said.err) == ("", True)
    assert pythons.main(["3.10"]) == 1
    assert "there is no Python 3.10 here" in capsys.readouterr().err


def test_the_oldest_is_the_one_that_the_wheel_says_it_supports() -> None:
    [oldest] = re.findall(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert (3, int(oldest)) == pythons.OLDEST


def test_an_environment_of_another_python_is_apart_from_the_one_of_the_tests() -> None:
    recipe = make("--dry-run", "--always-make", "test-part", "VENV=target/pythons/3.13", "PYTHON=python3.13")
    assert not re.search(r"(?<!\S)\.venv\b", recipe)
    assert "mypy --no-error-summary --python-version 3.13 " in recipe
    assert re.search(r"-m 'not server' .* \| tee target/results/python-3\.13\.log", recipe, re.DOTALL)
