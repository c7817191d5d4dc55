"""Environments to install into, and distributions made for the purpose."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.metrics.programs import environment
from tests.services.fixtures import missing

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
TIMEOUT_SECONDS = 120.0


def wheel(pattern: str) -> Path:
    """The one of the wheels that ``make`` builds."""
    found = sorted(DIST.glob(pattern))
    if not found:
        missing(f"dist/ has no {pattern}; `make wheel` builds it")
    assert len(found) == 1, found
    return found[0]


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str], metadata: Sequence[str] = ()) -> Path:
    """A wheel of pure Python with these files and further lines of metadata."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, ""]
    contents = {
        **files,
        f"{stem}.dist-info/METADATA": "\n".join(lines),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    rows = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in contents.items()]
    made = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
        archive.writestr(record, "\n".join([*rows, f"{record},,", ""]))
    return made


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Installation:
    """An environment of its own, which installs from a folder of wheels and nowhere else."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self._variables = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_COMPILE": "0",  # which is how pip wants to be told not to
            "PYTHONDONTWRITEBYTECODE": "1",
            "UV_NO_INDEX": "1",
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(wheels),
            "UV_CACHE_DIR": str(folder / "uv"),
        }
        made = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True, env=self._environment())
        self.python = made / "bin" / "python"
        [self.packages] = made.glob("lib/python*/site-packages")

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in environment().items() if not name.startswith(("PYTHONPATH", "PIP_", "UV_"))
        }
        return kept | self._variables

    def pip(self, command: str) -> str:
        """Run ``pip`` with the arguments; what it says."""
        return self._run(sys.executable, "-m", "pip", "--python", self.python, *command.split())

    def uv(self, command: str) -> str:
        """Run ``uv pip`` with the arguments; what it says."""
        uv = shutil.which("uv", path=sysconfig.get_path("scripts"))
        if uv is None:
            missing("uv is not in this environment")
        verb, *rest = command.split()
        return self._run(uv, "pip", verb, "--python", self.python, *rest)

    def run(self, source: str) -> str:
        """Run a program there, to its end; what it prints. It must say nothing else."""
        done = subprocess.run(
            [self.python, "-W", "error", "-c", source],
            cwd="/",
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def _run(self, *command: str | os.PathLike[str]) -> str:
        done = subprocess.run(
            command,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout
