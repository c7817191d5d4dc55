"""The program of docs/alerting.md runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.metrics.programs import environment
from tests.project.documents import ROOT, python_of


def test_the_program_of_the_document_runs(tmp_path: Path) -> None:
    program = tmp_path / "alerts.py"
    program.write_text(python_of(ROOT / "docs" / "alerting.md"))
    command = [sys.executable, str(program)]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}\n", "")
    assert (tmp_path / "alerting.json").exists()
