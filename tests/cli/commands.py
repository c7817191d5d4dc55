"""The command in a process of its own: to its end, or line by line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.metrics.programs import environment

TIMEOUT_SECONDS = 90.0
COMMAND = [sys.executable, "-W", "error", "-m", "gds_cli"]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """No setting of anybody's, and no terminal."""
    kept = {name: value for name, value in environment().items() if not name.startswith(("GDS_", "VAULT_"))}
    return kept | {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"} | dict(extra or {})


def gds(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=clean_environment(variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What it printed with --json, which is nothing else."""
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def started(*arguments: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """It while it runs; ended for good where a test gives up."""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=clean_environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()
