"""Start a server process, wait until it answers, show its log when it does not, stop it.

Nothing here sleeps for a guessed time: everything that waits polls with a deadline and says what
it was waiting for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from .install import cache_folder
from .locks import try_lock

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound="Server")

LOOPBACK = "127.0.0.1"
# On a busy machine a start of 0.1 seconds has been seen to take several seconds.
READY_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0
WAIT_TIMEOUT_SECONDS = 30.0

_POLL_SECONDS = 0.02
_LOG_LINES_SHOWN = 40
# Linux hands out ports from 32768 on, macOS from 49152 on, to whoever asks for any port. Below
# that, a port stays ours while its server is stopped.
_PORTS = range(20_000, 32_000)
# The kernel's limit is 108 bytes on Linux and 104 on macOS, the final zero included.
_UNIX_PATH_BYTES = 103


class ServerFailed(RuntimeError):
    """A server died, never became ready, or answered something unexpected."""


def wait_until(
    check: Callable[[], T],
    *,
    timeout_seconds: float = WAIT_TIMEOUT_SECONDS,
    what: str | Callable[[], str],
) -> T:
    """Poll until ``check`` returns something truthy, and return that.

    ``what`` completes "timed out after 30 s waiting for ..."; give a function to have it describe
    the state at the end. Raises ``TimeoutError``.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() >= deadline:
            described = what if isinstance(what, str) else what()
            raise TimeoutError(f"timed out after {timeout_seconds:g} s waiting for {described}")
        time.sleep(_POLL_SECONDS)


def http_get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """GET from a loopback port; returns status and body."""
    return _http(port, "GET", path, None, headers)


def http_text(port: int, path: str) -> str:
    """GET a page that must be there; anything but 200 raises ``ServerFailed``."""
    status, body = http_get(port, path)
    text = body.decode()
    if status != 200:
        raise ServerFailed(f"GET {path} answered {status}, expected 200: {text}")
    return text


def http_json(
    port: int,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """One request with JSON both ways; returns the parsed answer, ``None`` for none.

    A status from 300 on raises ``ServerFailed``.
    """
    content = None if body is None else json.dumps(body)
    status, answer = _http(port, method, path, content, {"Content-Type": "application/json", **(headers or {})})
    if status >= 300:
        raise ServerFailed(f"{method} {path} answered {status}: {answer.decode()}")
    return json.loads(answer) if answer else None


def http_ready(port: int, path: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether the page answers 200 now; refused connections are a no."""
    try:
        return http_get(port, path, headers)[0] == 200
    except OSError:
        return False


def _http(
    port: int, method: str, path: str, content: str | None, headers: Mapping[str, str] | None
) -> tuple[int, bytes]:
    # Plain http.client: unlike urllib it never sends loopback traffic through a proxy named in the environment.
    connection = HTTPConnection(LOOPBACK, port, timeout=WAIT_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, content, headers or {})
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


def accepts_tcp(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def lease_port(leases: ExitStack, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that is free, and ours until ``leases`` end, even while nothing listens.

    The lock file keeps other test processes away from it, and its number whoever asks the kernel for any port.
    """
    folder = cache_folder() / "ports"
    for port in random.sample(_PORTS, 200):
        lease = try_lock(folder / str(port))
        if lease is None:
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # As the servers do: connections of the past do not make a port taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                lease.close()
                continue
        leases.enter_context(lease)
        return port
    raise ServerFailed(f"200 ports tried in {_PORTS.start}-{_PORTS.stop}, all taken")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a process runs as: who we are, or another one where that is root."""

    user: int | None = None
    group: int | None = None

    def as_arguments(self) -> dict[str, Any]:
        """What ``subprocess`` takes for it."""
        return {} if self.user is None else {"user": self.user, "group": self.group, "extra_groups": []}

    def own(self, folder: Path) -> None:
        """Give the folder and all that is in it to them."""
        if self.user is not None and self.group is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.user, self.group, follow_symlinks=False)


class Server:
    """One server process and its folder; subclasses say how it is started and when it is ready.

    A context manager: entering starts it, leaving stops it and removes the folder. Between the
    two, ``stop``, ``start``, ``kill`` and ``restart`` may be called at will; ports and files stay.
    """

    name = "server"
    ready_timeout_seconds = READY_TIMEOUT_SECONDS
    stop_signal = signal.SIGTERM
    identity = Identity()

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begin = 0
        # Not under pytest's tmp_path, whose length leaves no room for a unix socket path.
        self._folder: Path | None = None
        self._leases = ExitStack()

    def _command(self) -> Sequence[str | Path]:
        """The command line; called at each start, after ``_prepare``."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """Lease ports and write configuration; called once, on entering."""

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def __enter__(self: ServerT) -> ServerT:
        self.open()
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Make the folder and lease the ports: the half of entering that starts nothing."""
        if self._folder is not None:
            raise ServerFailed(f"{self.name} is entered already; make a second one")
        self._folder = Path(tempfile.mkdtemp(prefix="gds-"))
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the process, remove its folder and give its ports back."""
        self.stop()
        self._leases.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def folder(self) -> Path:
        """Where configuration, data and log lie while the server is entered."""
        if self._folder is None:
            raise ServerFailed(f"{self.name} is not started; use it in a with statement")
        return self._folder

    @property
    def running(self) -> bool:
        """Whether the process is there and alive."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the process printed since the last start."""
        try:
            with self._log_file.open("rb") as file:
                file.seek(self._log_begin)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def start(self) -> None:
        """Start the process and wait until it is ready; raises ``ServerFailed``."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process without waiting, so that servers that need each other can be started together."""
        if self.running:
            raise ServerFailed(f"{self.name} runs already; stop it first")
        self.stop()
        command = self._command()
        with self._log_file.open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                # What examines our process is not meant for servers.
                env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # An interrupt from the terminal must reach us alone, so that we stop it in order.
                start_new_session=True,
                **self.identity.as_arguments(),
            )

    def wait_ready(self) -> None:
        """Wait until the launched process is ready; kills it and raises ``ServerFailed`` when that takes too long."""
        try:
            wait_until(
                self._alive_and_ready,
                timeout_seconds=self.ready_timeout_seconds,
                what=f"{self.name} to be ready",
            )
        except TimeoutError as error:
            self.kill()
            raise ServerFailed(f"{error}; {self._log_tail()}") from None
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the process to end, and kill it when it does not; no error when it is gone."""
        process = self._process
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def kill(self) -> None:
        """End the process with no chance to say goodbye, as in a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop, then start on the same ports with the same files."""
        self.stop()
        self.start()

    def _alive_and_ready(self) -> bool:
        process = self._process
        assert process is not None, "called between launch and stop only"
        code = process.poll()
        if code is not None:
            raise ServerFailed(f"{self.name} exited with {code} before it was ready; {self._log_tail()}")
        return self._is_ready()

    @property
    def _log_file(self) -> Path:
        return self.folder / "log"

    def _log_tail(self) -> str:
        lines = self.log().splitlines()
        return "its log ends with:\n" + "\n".join(lines[-_LOG_LINES_SHOWN:])

    def _lease_port(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
        """A loopback port that is free, and ours until ``close`` even while nothing listens."""
        return lease_port(self._leases, kind)

    def _unix_path(self, name: str) -> Path:
        """A path in the folder that is short enough for a unix socket."""
        path = self.folder / name
        size = len(str(path).encode())
        if size > _UNIX_PATH_BYTES:
            raise ServerFailed(
                f"{path} has {size} bytes, a unix socket path at most {_UNIX_PATH_BYTES}; "
                "set TMPDIR to a shorter folder"
            )
        return path
