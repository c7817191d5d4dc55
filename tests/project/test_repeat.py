"""`make test-repeat` goes through all rounds and says what failed in which."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import repeat


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(repeat, "ROOT", tmp_path)
    monkeypatch.setattr(repeat, "LOGS", tmp_path / "results")
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def stub(monkeypatch: pytest.MonkeyPatch, rust: str, python: str) -> list[str]:
    """Let a round be two programs; the patterns that they were asked for."""
    asked = []

    def commands(pattern: str) -> tuple[list[str], dict[str, list[str]]]:
        asked.append(pattern)
        programs = {"rust": rust, "python": python}
        return [sys.executable, "-c", ""], {part: [sys.executable, "-c", text] for part, text in programs.items()}

    monkeypatch.setattr(repeat, "commands", commands)
    return asked


RUST = "print('test result: ok. 3 passed; 0 failed; 1 ignored')"
NOTHING = "print('no tests ran in 0.01s'); raise SystemExit(5)"
FAILING = """
print("FAILED tests/x.py::test_slow - assert 1 == 2")
print("1 failed, 4 passed in 2.00s")
raise SystemExit(1)
"""


def test_what_fails_is_listed_for_each_round_and_keeps_no_round_from_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch, RUST, FAILING)
    assert repeat.main(["--times", "2"]) == 1
    said = capsys.readouterr().out
    assert (
        said.count("rust: 3 passed, 0 failed (")
        == said.count("python: 4 passed, 1 failed: tests/x.py::test_slow (")
        == 2
    )
    assert said.partition("summary\n")[2].splitlines() == [
        "  round 1: tests/x.py::test_slow",
        "  round 2: tests/x.py::test_slow",
        "14 passed, 2 failed",
    ]


def test_a_failure_of_rust_is_listed_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = (
        "print('---- spool::goes_on stdout ----\\ntest result: FAILED. 2 passed; 1 failed'); raise SystemExit(101)"
    )
    stub(monkeypatch, failing, "print('4 passed in 2.00s')")
    assert repeat.main(["--times", "1"]) == 1
    assert capsys.readouterr().out.endswith("summary\n  round 1: spool::goes_on\n6 passed, 1 failed\n")


def test_a_part_that_ends_before_any_test_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch, RUST, "raise SystemExit(3)")
    assert repeat.main(["--times", "1"]) == 1
    assert f"  round 1: {sys.executable} exited with 3; see results/repeat-1-python.log\n" in capsys.readouterr().out


def test_rounds_that_pass_are_a_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = stub(monkeypatch, RUST, NOTHING)
    assert repeat.main(["--times", "3", "--pattern", "spool"]) == 0
    assert asked == ["spool"]
    assert capsys.readouterr().out.endswith("summary\n9 passed, 0 failed\n")


def test_a_pattern_that_no_test_has_is_a_failure_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch, "print('test result: ok. 0 passed; 0 failed')", NOTHING)
    assert repeat.main(["--times", "1", "--pattern", "misspelt"]) == 1
    assert capsys.readouterr().out.endswith("summary\n  no test's name holds 'misspelt'\n0 passed, 0 failed\n")


def test_a_pattern_chooses_tests_of_both_and_else_those_of_time_are_run(tmp_path: Path) -> None:
    build, chosen = repeat.commands("spool")
    assert build[-1] == "--no-run"
    assert (chosen["rust"][-2:], chosen["python"][-2:]) == (["--", "spool"], ["-k", "spool"])
    (tmp_path / "tests" / "kafka").mkdir(parents=True)
    (tmp_path / "tests" / "kafka" / "test_late.py").write_text("pytestmark = pytest.mark.timing\n")
    (tmp_path / "tests" / "test_other.py").write_text("def test_other() -> None: ...\n")
    _, all_of_time = repeat.commands("")
    assert "--" not in all_of_time["rust"]
    assert all_of_time["python"][-3:] == ["-m", "timing", str(Path("tests", "kafka", "test_late.py"))]
