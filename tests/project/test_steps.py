"""`make test` runs all its steps, says which failed and counts the tests of all."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.project.documents import ROOT, make

RESULTS = "target/results"
STEPS = {
    "rust": f"""
        echo 'test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s
---- spool::goes_on stdout ----
test result: FAILED. 3 passed; 1 failed; 0 ignored' > {RESULTS}/rust.log
        exit 101""",
    "servers": "echo servers are there",
    "python": f"""
        echo 'FAILED tests/x.py::test_slow - assert 1 == 2
ERROR tests/y.py::test_fast
1 failed, 20 passed, 4 skipped, 1 xfailed, 1 error in 62.00s (0:01:02)' > {RESULTS}/python.log
        exit 1""",
}
TEXTS = [f"{name}=the {name}" for name in STEPS]


@pytest.fixture(autouse=True)
def _make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of make: its targets are the scripts of a folder."""
    stand_in = tmp_path / "make"
    stand_in.write_text('#!/bin/sh\n[ "$1" = --no-print-directory ] && echo "$2" >> ran && exec sh "$2"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("MAKE", str(stand_in))
    monkeypatch.delenv("K", raising=False)
    for name, script in STEPS.items():
        (tmp_path / name).write_text(script)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / ".ci" / "steps"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text().split()


def test_a_step_that_fails_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    done = run(tmp_path, "--keep-going", *TEXTS)
    assert (done.returncode, done.stderr, ran(tmp_path)) == (1, "", ["rust", "servers", "python"])
    before, _, summary = done.stdout.partition("\nsummary\n")
    assert re.sub(r"\d+ min \d\d s", "a while", before).splitlines() == [
        "[1/3] the rust",
        "[2/3] the servers",
        "servers are there",
        "[2/3] done in a while",
        "[3/3] the python",
    ]
    *told, last = summary.splitlines()
    assert told[:2] == ["  failed step: the rust (make rust)", "  failed step: the python (make python)"]
    assert sorted(told[2:]) == [
        "  failed test: spool::goes_on",
        "  failed test: tests/x.py::test_slow - assert 1 == 2",
        "  failed test: tests/y.py::test_fast",
    ]
    assert last == "28 passed, 3 failed, 4 skipped"


def test_without_keep_going_it_stops_at_the_first_failure(tmp_path: Path) -> None:
    done = run(tmp_path, TEXTS[1], TEXTS[0], TEXTS[2])
    assert (done.returncode, ran(tmp_path)) == (1, ["servers", "rust"])
    assert done.stdout.splitlines()[-1] == "[2/3] the rust"


def test_a_step_that_counts_no_test_can_fail(tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("exit 2")
    done = run(tmp_path, "--keep-going", TEXTS[1])
    assert done.returncode == 1
    assert done.stdout.endswith("\nsummary\n  failed step: the servers (make servers)\n0 passed, 0 failed, 0 skipped\n")


def test_steps_that_pass_are_a_success_and_earlier_results_do_not_count(tmp_path: Path) -> None:
    assert run(tmp_path, "--keep-going", *TEXTS).returncode == 1
    (tmp_path / "rust").write_text(f"echo 'test result: ok. 8 passed; 0 failed; 0 ignored' > {RESULTS}/rust.log")
    done = run(tmp_path, "--keep-going", *TEXTS[:2])
    assert done.returncode == 0
    assert done.stdout.endswith("\nsummary\n8 passed, 0 failed, 0 skipped\n")


def test_make_test_runs_the_model_of_the_producer_too() -> None:
    assert "'test-model=" in make("--dry-run", "test")
    commands = make("--dry-run", "test-model")
    assert re.search(rf"cargo test .*--features shuttle .*producer::model \| tee {RESULTS}/\S+\.log", commands)


# ------------------------------------------------------------------ a part of it
NOTHING_CHOSEN = {
    "rust": "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.00s",
    "python": "3838 deselected in 4.00s",
}


def test_a_pattern_that_no_test_has_is_a_failure_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "misspelt")
    for name, says in NOTHING_CHOSEN.items():
        (tmp_path / name).write_text(f"echo '{says}' > {RESULTS}/{name}.log")
    done = run(tmp_path, "--keep-going", TEXTS[0], TEXTS[2])
    assert done.returncode == 1
    assert done.stdout.endswith("\nsummary\n  no test's name holds 'misspelt'\n0 passed, 0 failed, 0 skipped\n")


def test_a_pattern_that_one_runner_has_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "order")
    (tmp_path / "rust").write_text(f"echo '{NOTHING_CHOSEN['rust']}' > {RESULTS}/rust.log")
    (tmp_path / "python").write_text(f"echo '2 passed, 3836 deselected in 4.00s' > {RESULTS}/python.log")
    done = run(tmp_path, "--keep-going", TEXTS[0], TEXTS[2])
    assert done.returncode == 0
    assert done.stdout.endswith("\nsummary\n2 passed, 0 failed, 0 skipped\n")


def test_make_test_gives_each_runner_the_pattern() -> None:
    rust, model, python = (make("--dry-run", f"test-{part}", "K=spool") for part in ("rust", "model", "python"))
    assert re.search(r"^cargo test --workspace .* -- 'spool' \| tee", rust, re.MULTILINE)
    assert "grep -F -- 'spool'" in model
    assert re.search(r"-m pytest --quiet +-k 'spool' \| tee", python)


def test_make_bench_times_what_is_named_and_else_the_core_too() -> None:
    named, all_of_it = make("--dry-run", "bench", "NAME=page increment"), make("--dry-run", "bench")
    assert ("-m bench page increment\n" in named, "cargo bench" in named) == (True, False)
    assert (" -m bench" in all_of_it, "cargo bench" in all_of_it) == (True, True)


def test_make_dev_makes_the_tests_install_the_release_wheel_again() -> None:
    recipe = make("--dry-run", "dev")
    assert "--release" not in recipe
    installing = make("--dry-run", "--always-make", "install")
    stamps = set(re.findall(r"^touch (\S+/\.(?:wheel-)?installed)$", installing, re.MULTILINE))
    removed = re.search(r"^rm -rf (.* target/dev)$", recipe, re.MULTILINE)
    assert removed
    assert stamps == {".venv/.wheel-installed", ".venv/.installed"} <= set(removed[1].split())
