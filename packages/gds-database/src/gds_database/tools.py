"""Programs of the platforms, such as ``pg_dump``, run within bounds.

A password reaches them through their environment or a file that only this user can read, never through their
arguments, which everybody on the machine can see.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gds_database._redact import Secrets
from gds_database.errors import ConfigurationError, StatementTimeoutError, ToolError
from gds_database.plan import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["ToolOutcome", "find_tool", "private_file", "run_tool", "tool_step"]

_KEPT_LINES = 200
_TOLD_LINES = 5
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class ToolOutcome:
    """What a program did.

    Attributes:
        stdout: The end of its standard output.
        stderr: The end of its standard error.
        seconds: How long it ran.
    """

    stdout: str
    stderr: str
    seconds: float


def find_tool(name: str, *folders: str, install: str) -> str:
    """The path of a program.

    Args:
        name: Such as ``pg_dump``, or a path to it.
        folders: Where to look before ``PATH``.
        install: What to do if it is nowhere, such as ``apt install postgresql-client``.

    Raises:
        ConfigurationError: It is nowhere.
    """
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is None:
        raise ConfigurationError(f"{name}: there is no such program on this machine; {install}")
    return found


@contextmanager
def private_file(text: str) -> Iterator[Path]:
    """A file with this content that only this user can read, for the time of the block: a ``.pgpass``, say."""
    descriptor, name = tempfile.mkstemp(prefix="gds-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)


def run_tool(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    secrets: Secrets | None = None,
    progress: Callable[[str], object] | None = None,
    cancelled: threading.Event | None = None,
    stdout: IO[bytes] | None = None,
) -> ToolOutcome:
    """Run a program to its end.

    Args:
        argv: Program and arguments; no secret.
        timeout_seconds: When it is ended.
        environment: Variables beside those of this process; may hold secrets.
        secrets: What is taken out of what it says.
        progress: Called with each line that it writes to standard error, from another thread, one at a time.
        cancelled: Ends it when set.
        stdout: Where its output goes; by default its end is kept as text.

    Raises:
        ToolError: It failed, or was cancelled.
        StatementTimeoutError: It took longer.
        ConfigurationError: It cannot be started.
    """
    secrets = secrets or Secrets()
    started = time.monotonic()
    name = Path(argv[0]).name
    try:
        process = subprocess.Popen(  # noqa: S603 - arguments are a list: no shell reads them
            list(argv),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be started: {error.strerror}") from None
    readers = [_Reader(process.stderr, progress), _Reader(process.stdout, None)]
    try:
        why = _ended(process, started + timeout_seconds, cancelled)
    except BaseException:
        _end(process)
        raise
    if why is not None:
        _end(process)
    said, output = (secrets.redact(reader.text()) for reader in readers)
    seconds = time.monotonic() - started
    if why == "timeout":
        raise StatementTimeoutError(f"{name}: was ended after {timeout_seconds:g} s, the time it was allowed")
    if why == "cancelled":
        raise ToolError(f"{name}: was cancelled after {seconds:.1f} s")
    if process.returncode != 0:
        lines = [line for line in (said or output).splitlines() if line.strip()]
        raise ToolError(f"{name}: failed with {process.returncode}: {' | '.join(lines[-_TOLD_LINES:]) or 'no message'}")
    return ToolOutcome(output, said, seconds)


def tool_step(argv: Sequence[str], run: Callable[[], object] | None = None, *, timeout_seconds: float) -> Step:
    """A program as a step, shown as a shell would take it.

    Args:
        argv: Program and arguments; no secret.
        run: What runs it, where that is more than ``run_tool(argv)``.
        timeout_seconds: When it is ended.
    """
    return Step(shlex.join(argv), run or (lambda: run_tool(argv, timeout_seconds=timeout_seconds)))


class _Reader:
    """The end of what a program writes to one of its pipes."""

    def __init__(self, pipe: IO[bytes] | None, progress: Callable[[str], object] | None) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._thread: threading.Thread | None = None
        if pipe is not None:
            self._thread = threading.Thread(target=self._read, args=(pipe, progress), name="gds-tool", daemon=True)
            self._thread.start()

    def _read(self, pipe: IO[bytes], progress: Callable[[str], object] | None) -> None:
        with pipe:
            for raw in pipe:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                self._lines.append(line)
                if progress is not None:
                    with suppress(Exception):  # who only looks on does not break what he looks at
                        progress(line)

    def text(self) -> str:
        # A grandchild that keeps the pipe open must not keep us.
        if self._thread is not None:
            self._thread.join(_GRACE_SECONDS)
        return "\n".join(self._lines)


def _ended(process: subprocess.Popen[bytes], deadline: float, cancelled: threading.Event | None) -> str | None:
    """Wait for the end; why it has to be ended, if it did not come by itself."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return "timeout"
        if cancelled is not None and cancelled.is_set():
            return "cancelled"
        with suppress(subprocess.TimeoutExpired):
            process.wait(left if cancelled is None else min(left, _LOOK_SECONDS))
            return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started: with a request first, so that it can tidy up."""
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    _signal(process, signal.SIGKILL)  # also those of its group that did not listen
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
