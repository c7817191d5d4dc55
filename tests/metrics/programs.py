"""Programs in processes of their own: a script from end to end, or one that does as it is told, line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from typing_extensions import Self

TIMEOUT_SECONDS = 60.0
"""A program that takes longer hangs; on a busy machine the longest takes a tenth of it."""

# Python warns about a fork beside threads, which is what some of these programs are about.
_PYTHON = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c"]

_OBEY = """
import json, sys
answers, sys.stdout = sys.stdout, sys.stderr
names = {"__name__": "__main__"}
for line in sys.stdin:
    kind, source = json.loads(line)
    answer = eval(source, names) if kind == "ask" else exec(source, names)
    print(json.dumps(answer), file=answers, flush=True)
"""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what would set up a collector."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PROMETHEUS_"))}
    return {**kept, **(extra or {})}


def run(source: str, *arguments: object, extra: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Run a script to its end, which must be quiet and with ``status``; returns what it printed."""
    done = _done(source, arguments, extra)
    assert (done.returncode, done.stderr) == (status, ""), f"{done.stdout}\n{done.stderr}"
    return done.stdout


def run_aloud(source: str, *arguments: object, extra: Mapping[str, str] | None = None) -> str:
    """Run a script to its end; returns what it said on the error stream."""
    done = _done(source, arguments, extra)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stderr


def _done(
    source: str, arguments: tuple[object, ...], extra: Mapping[str, str] | None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_PYTHON, source, *map(str, arguments)],
        env=environment(extra),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


class Program:
    """An interpreter that does and answers what it is told, until it is left or killed."""

    def __init__(self, setup: str = "", *, source: str = _OBEY, extra: Mapping[str, str] | None = None) -> None:
        self._setup = setup
        self._source = source
        self._extra = extra

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [*_PYTHON, self._source],
            env=environment(self._extra),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Whoever waits for an answer of a program that hangs then reads the end of the file.
        self._watchdog = threading.Timer(TIMEOUT_SECONDS, self.process.kill)
        self._watchdog.start()
        if self._setup:
            self.do(self._setup)
        return self

    def do(self, source: str) -> None:
        """Run statements."""
        self._tell("do", source)

    def ask(self, source: str) -> Any:
        """The value of an expression."""
        return self._tell("ask", source)

    def line(self) -> str:
        """The next line the program prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the program ended: {self.end(expect=None)}"
        return line.rstrip("\n")

    def kill(self) -> None:
        """SIGKILL, and the process is gone when this returns."""
        self.process.kill()
        self.end(expect=-9)

    def end(self, *, expect: int | None = 0) -> str:
        """Close its input, wait for its end and return what it said on the error stream."""
        _, errors = self.process.communicate()
        assert expect is None or self.process.returncode == expect, f"{self.process.returncode}: {errors}"
        return errors

    def _tell(self, kind: str, source: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([kind, source]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):
                    stream.close()
