"""A PostgreSQL for as long as the demo lasts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gds_cli.demo.folder import make_folder

if TYPE_CHECKING:
    from gds_cli.live.show import Ending

__all__ = ["Postgres", "find_postgres"]

SOCKET_CHARACTERS = 80
"""What the path of its folder may have: that of a socket in there has 107 at most."""

START_SECONDS, STOP_SECONDS, POLL_SECONDS = 60.0, 20.0, 0.05
QUIT_SECONDS = 8.0
"""PostgreSQL itself kills after 5 what has not ended by then."""
# Where Debian has its programs, which are not on PATH there.
_DEBIAN = Path("/usr/lib/postgresql")
_SETTINGS = {
    "listen_addresses": "",
    # What is lost with the machine is a demo.
    "fsync": "off",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "deadlock_timeout": "10s",
    "track_io_timing": "on",
}


def find_postgres() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: on PATH, or the newest where Debian has it; None if there is none."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    if _DEBIAN.is_dir():
        versions = [each for each in _DEBIAN.iterdir() if each.name.isdecimal()]
        folders += [each / "bin" for each in sorted(versions, key=lambda each: -int(each.name))]
    return next((each for each in folders if all((each / name).is_file() for name in ("initdb", "postgres"))), None)


class Postgres:
    """One server in a temporary folder; a Unix socket in there is the only way to it.

    Args:
        programs: The folder of ``initdb`` and ``postgres``.
        ending: Whether somebody has had enough; then it is not made.
    """

    def __init__(self, programs: Path, ending: Ending) -> None:
        self._programs, self._ending = programs, ending
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        """Where it is kept; gone at the end."""

    @property
    def address(self) -> str:
        """For `gds watch` and engines."""
        return f"postgresql://demo@/postgres?host={quote(str(self.folder), safe='/')}"

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Make it and wait until it answers, unless somebody has had enough before that. It goes at last."""
        given = tempfile.gettempdir()
        # As nobody, who runs it for root, one may not get to where root has its temporary files.
        elsewhere = os.geteuid() == 0 or len(given) + len("/gds-demo-12345678") > SOCKET_CHARACTERS
        self.folder = make_folder(self._ending, "/tmp" if elsewhere else given)  # noqa: S108 - private
        # Before its folder goes.
        self._ending.at_last(self._end)
        self._make()

    # ------------------------------------------------------------------ begin
    def _make(self) -> None:
        data = self.folder / "data"
        who = _not_root(self.folder)
        how = ["--username=demo", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        if not self._run([self._programs / "initdb", f"--pgdata={data}", *how], who):
            return
        try:
            self._start(data, who, {"shared_preload_libraries": "pg_stat_statements"})
        except OSError:
            # It is a package of its own in places.
            self._start(data, who, {})

    def _start(self, data: Path, who: dict[str, Any], more: dict[str, str]) -> None:
        sockets = {"unix_socket_directories": str(self.folder), "unix_socket_permissions": "0700"}
        command = [self._programs / "postgres", "-D", data]
        for name, value in (_SETTINGS | sockets | more).items():
            command += ["-c", f"{name}={value}"]
        self._begin(command, who)
        # Its last line; the socket is there before it answers.
        self._wait_for(lambda: _ends_with(data / "postmaster.pid", b"ready"), "start")

    def _begin(self, command: list[Any], who: dict[str, Any]) -> subprocess.Popen[bytes]:
        # Between the beginning of a process and that we know it, nothing may come.
        with self._ending.as_a_whole(), (self.folder / "log").open("wb") as log:
            # In a session of its own: Ctrl-C is for us alone, and what becomes of it is decided here.
            self._process = subprocess.Popen(  # noqa: S603 - programs of PostgreSQL, found where they are installed
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **who
            )
        return self._process

    def _run(self, command: list[Any], who: dict[str, Any]) -> bool:
        """Run a program to its end; whether it came to that."""
        process = self._begin(command, who)
        done = self._wait_for(lambda: process.poll() is not None, f"make its folder by {command[0].name}")
        if done:
            self._process = None
            if process.returncode:
                raise OSError(f"{command[0]} failed: {self._log()}")
        return done

    def _wait_for(self, come: Any, what: str) -> bool:
        """Wait for it; False if somebody has had enough before."""
        end = time.monotonic() + START_SECONDS
        process = self._process
        while not come():
            if self._ending.asked.wait(POLL_SECONDS):
                self._end()
                return False
            if process is None or process.poll() is not None:
                if come():
                    break
                raise OSError(f"PostgreSQL of the demo did not {what}: {self._log()}")
            if time.monotonic() > end:
                raise OSError(f"PostgreSQL of the demo did not {what} in {START_SECONDS:g} s: {self._log()}")
        return True

    def _log(self) -> str:
        return " ".join((self.folder / "log").read_text("utf-8", "replace").split())[-500:]

    # ------------------------------------------------------------------ end
    def _end(self) -> None:
        """End what runs, in any case: it is asked to, and then not asked."""
        process = self._process
        if process is not None and process.poll() is None:
            # Ends its sessions; what the other signal asks for is to wait until they end.
            process.send_signal(signal.SIGINT)
            end = time.monotonic() + STOP_SECONDS
            while process.poll() is None and not self._ending.hurried and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
            if process.poll() is None:
                _end_at_once(process)
        self._process = None


def _ends_with(path: Path, word: bytes) -> bool:
    return path.is_file() and path.read_bytes().strip().endswith(word)


def _end_at_once(process: subprocess.Popen[bytes]) -> None:
    # A server ends its sessions too and waits until they are gone. One that is killed leaves them, each in a process
    # group of its own, to see that by themselves, and they write to the folder meanwhile.
    process.send_signal(signal.SIGQUIT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(QUIT_SECONDS)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _not_root(folder: Path) -> dict[str, Any]:
    """Who runs it: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": folder}
