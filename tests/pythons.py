"""``python -m tests.pythons``: the other CPythons of this machine to run the wheel's tests on; ``make test-pythons``.

They are the oldest one that the project supports and the newest one there is, looked for on the path and in pyenv. Each
is a line for ``.ci/steps``; what is not there is said. ``python -m tests.pythons 3.10`` prints where that one is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

OLDEST = (3, 10)
TIMEOUT_SECONDS = 30.0

Minor = tuple[int, int]

_NAME = re.compile(r"python3\.\d+")
# A release of CPython with the lock that the stable ABI needs; also what pyenv has a name for and does not start.
_ASK = """
import sys, sysconfig
locked = not sysconfig.get_config_var("Py_GIL_DISABLED")
if sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final" and locked:
    print(*sys.version_info[:2])
"""


def folders() -> Iterable[Path]:
    """Where interpreters are looked for, in that order."""
    yield from map(Path, os.get_exec_path())
    yield from sorted(Path.home().glob(".pyenv/versions/*/bin"))


def _version(python: Path) -> Minor | None:
    """Which Python it is; none where it is none to test on."""
    command = [str(python), "-I", "-c", _ASK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.split()
    return (int(said[0]), int(said[1])) if done.returncode == 0 and len(said) == 2 else None


def found() -> dict[Minor, Path]:
    """Each supported version that is here with its interpreter, the first that was found."""
    pythons: dict[Minor, Path] = {}
    for folder in folders():
        for python in sorted(folder.glob("python3.*")):
            if _NAME.fullmatch(python.name) and (version := _version(python)) and version >= OLDEST:
                pythons.setdefault(version, python)
    return pythons


def chosen(pythons: Mapping[Minor, Path], default: Minor) -> list[Minor]:
    """The oldest supported and the newest, less the one that all tests run on anyway."""
    others = sorted(version for version in pythons if version != default)
    return sorted({version for version in (OLDEST, *others[-1:]) if version in others})


def main(arguments: list[str]) -> int:
    """Print the steps, or where one version is."""
    pythons = found()
    if arguments:
        at = {f"{major}.{minor}": python for (major, minor), python in pythons.items()}
        if arguments[0] not in at:
            print(f"there is no Python {arguments[0]} here; expected one of {', '.join(at)}", file=sys.stderr)
            return 1
        print(at[arguments[0]])
        return 0
    default = sys.version_info[:2]
    versions = chosen(pythons, default)
    for major, minor in versions:
        print(f"test-python-{major}.{minor}=Python {major}.{minor}: types, stub and the tests without servers")
    if OLDEST not in {default, *versions}:
        print("    skipped: Python {}.{}, which is not on the path or in pyenv".format(*OLDEST), file=sys.stderr)
    if not set(versions) - {OLDEST}:
        print("    skipped: a newer Python than that of the tests; none is on the path or in pyenv", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
