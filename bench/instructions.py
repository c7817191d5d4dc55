"""``python -m bench.instructions``: the instructions of the core's hot paths, beside those kept in the tree.

Time differs between runs and machines; instructions hardly do. ``make bench-check`` fails when a path takes more than
5 % more of them than `KEPT` says. What was made slower knowingly is kept anew with ``--write``, with the reason in the
commit.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services.install import ServiceUnavailable, install

ROOT = Path(__file__).parents[1]
KEPT = Path(__file__).with_suffix(".json")
MOST_GROWTH = 0.05
_TIMES = (100, 600)
_COLLECTED = re.compile(r"Collected : (\d+)")


def built() -> Path:
    """The program that runs a path, with the optimisations of the wheel."""
    command = ["cargo", "build", "--package", "gds-bench", "--release", "--locked", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    programs = [path for line in lines if (path := json.loads(line).get("executable"))]
    return Path(programs[-1])


def counted(valgrind: Path, program: Path, name: str, times: int) -> int:
    """The instructions of a process that runs a path so many times."""
    with tempfile.TemporaryDirectory() as folder:
        tool = [str(valgrind), "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        run = subprocess.run([*tool, str(program), name, str(times)], check=False, capture_output=True)
    said = run.stderr.decode("utf-8", "replace")
    found = _COLLECTED.search(said)
    if run.returncode != 0 or found is None:
        raise SystemExit(f"{name!r} cannot be counted (valgrind exited with {run.returncode}):\n{said}")
    return int(found[1])


def measured(valgrind: Path, program: Path) -> dict[str, int]:
    """The instructions of each path, once: what more rounds take, without beginning and end."""
    names = subprocess.run([str(program)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    few, many = _TIMES

    def each(name: str) -> int:
        return round((counted(valgrind, program, name, many) - counted(valgrind, program, name, few)) / (many - few))

    return {name: each(name) for name in names}


def grown(kept: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """What is to be said of each path that takes more than it may, or is not known on one side."""
    said = [f"{name}: no number is kept; run with --write" for name in now if name not in kept]
    said += [f"{name}: there is no such path any more; run with --write" for name in kept if name not in now]
    for name in kept.keys() & now.keys():
        if now[name] > kept[name] * (1 + MOST_GROWTH):
            growth = now[name] / kept[name] - 1
            said.append(f"{name}: {now[name]} instructions, {growth:.0%} more than the {kept[name]} kept")
    return sorted(said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and compare, or keep; the exit code is 1 when a path grew too much."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep what is counted in {KEPT.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    try:
        valgrind = install("valgrind")["valgrind"]
    except ServiceUnavailable as refusal:
        parser.error(refusal.reason)
    now = measured(valgrind, built())
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for name, count in now.items():
        before = kept.get(name)
        change = f"{count / before - 1:+.1%} of {before}" if before else "new"
        print(f"{name:34} {count:>9,} instructions  {change}")
    if options.write:
        KEPT.write_text(json.dumps(now, indent=2) + "\n", "utf-8")
        return 0
    said = grown(kept, now)
    print("\n".join(said), file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
