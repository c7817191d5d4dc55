"""``python -m tests.repeat``: what depends on time, many times beside busy processes; ``make test-repeat`` calls it.

A round is the Rust tests and the Python tests marked ``timing``, both at the same time, or, with a pattern, the tests
of both whose names hold it. Every round runs, whatever the others gave; what failed is listed at the end, and nothing
is tried again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "target" / "results"
_NO_TESTS_COLLECTED = 5
_FAILED = re.compile(r"^(?:---- (?P<rust>.*) stdout ----|(?:FAILED|ERROR) (?P<python>\S+).*)$", re.MULTILINE)
_RAN = re.compile(r"\b(\d+) passed\b")


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep ``count`` processes running in circles meanwhile."""
    spin = [sys.executable, "-c", "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"]
    processes = [subprocess.Popen(spin) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _run(name: str, command: Sequence[str]) -> tuple[int, list[str], float]:
    """How many passed, the names of those that did not, and the seconds that it took."""
    begin = time.monotonic()
    log = LOGS / f"{name}.log"
    with log.open("wb") as output:
        code = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    text = log.read_text("utf-8", errors="replace")
    failed = [found["rust"] or found["python"] for found in _FAILED.finditer(text)]
    if code not in {0, _NO_TESTS_COLLECTED} and not failed:
        failed = [f"{command[0]} exited with {code}; see {log.relative_to(ROOT)}"]
    return sum(map(int, _RAN.findall(text))), failed, time.monotonic() - begin


def _files_of_time() -> list[str]:
    """The test files in which the mark stands."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "mark.timing" in file.read_text("utf-8")]


def commands(pattern: str) -> tuple[list[str], dict[str, list[str]]]:
    """What builds the Rust tests, and what runs each part of a round."""
    # Each process of pytest imports all files that it is given, which takes longer than a tenth of the tests.
    select = ["-k", pattern] if pattern else ["-m", "timing", *_files_of_time()]
    # Only the tests: what is said about the code itself does not depend on time.
    rust = ["cargo", "test", "--workspace", "--locked", "--quiet", "--no-fail-fast", "--lib", "--bins", "--tests"]
    return [*rust, "--no-run"], {
        "rust": [*rust, "--", pattern] if pattern else rust,
        "python": [sys.executable, "-m", "pytest", "--quiet", "--numprocesses=4", "--dist=worksteal", *select],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds; the exit code is 1 when a test of any of them failed, or none was run."""
    parser = argparse.ArgumentParser(prog="python -m tests.repeat", description=__doc__)
    parser.add_argument("--times", type=int, default=20, metavar="N", help="rounds (default: 20)")
    parser.add_argument("--pattern", default="", metavar="K", help="part of the names of the tests to run")
    options = parser.parse_args(arguments)
    if options.times < 1:
        parser.error(f"--times is {options.times}, expected 1 or more")
    build, parts = commands(options.pattern)
    LOGS.mkdir(parents=True, exist_ok=True)
    print("building the Rust tests", flush=True)
    subprocess.run(build, cwd=ROOT, check=True)
    failures: list[str] = []
    passed = 0
    with busy_processes(os.cpu_count() or 1), ThreadPoolExecutor(len(parts)) as pool:
        for number in range(1, options.times + 1):
            names = [f"repeat-{number}-{part}" for part in parts]
            for part, (ran, failed, seconds) in zip(parts, pool.map(_run, names, parts.values()), strict=True):
                passed += ran
                failures += [f"round {number}: {name}" for name in failed]
                said = f"{len(failed)} failed: {', '.join(failed)}" if failed else "0 failed"
                print(f"round {number} of {options.times}, {part}: {ran} passed, {said} ({seconds:.0f} s)", flush=True)
    print("\nsummary")
    for failure in failures:
        print(f"  {failure}")
    if passed == 0 and not failures:
        print(f"  no test's name holds {options.pattern!r}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
