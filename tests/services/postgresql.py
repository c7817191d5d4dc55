"""A PostgreSQL of its own for each who enters it, and standbys that follow it.

    with PostgreSQL() as primary, primary.standby("one") as standby:
        with primary.connect() as session:
            session.execute("CREATE TABLE t (n int)")

It asks everybody for a password, on the loopback port and on the Unix socket in its folder. Root may not run it: then
it runs as nobody, on a copy of the binaries that nobody can read.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

from .install import install
from .process import LOOPBACK, WAIT_TIMEOUT_SECONDS, Identity, Server, ServerFailed, wait_until

if TYPE_CHECKING:
    import psycopg

__all__ = ["SUPERUSER", "PostgreSQL"]

Certificate = Literal["valid", "expired", "other_host"]

SUPERUSER = "postgres"
PASSWORD = "postgres-pa55"

_SETTINGS: Mapping[str, str | int] = MappingProxyType(
    {
        "listen_addresses": LOOPBACK,
        # What a test kills is the server, not the machine.
        "fsync": "off",
        # Needs a library of 100 MB.
        "jit": "off",
        "shared_buffers": "16MB",
        "max_connections": 60,
        "timezone": "UTC",
        "log_timezone": "UTC",
        # Whatever is told it is in its log, so that a test can look for secrets there.
        "log_statement": "all",
        "logging_collector": "on",
        "log_destination": "stderr,csvlog,jsonlog",
        "log_directory": "log",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }
)


class PostgreSQL(Server):
    """One server. What it keeps survives ``restart`` and ``kill``.

    ``settings`` are lines of its configuration. With a certificate it takes TLS only on its port; ``ca_file`` vouches
    for it.
    """

    name = "postgresql"
    # Ends its sessions; what the other signal asks for is to wait until they end.
    stop_signal = signal.SIGINT

    def __init__(
        self, settings: Mapping[str, str | int] | None = None, *, server_certificate: Certificate | None = None
    ) -> None:
        super().__init__()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._certificate = server_certificate
        self._binaries, self.identity = _binaries()
        self._origin: tuple[PostgreSQL, str] | None = None
        self.port = 0

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed the server's."""
        return self.folder / "ca.pem"

    @property
    def tools(self) -> Path:
        """The folder of its programs."""
        return self._binaries

    def binary(self, name: str) -> Path:
        """One of its programs, for whoever the server runs as."""
        return self._binaries / name

    def address(self, **changes: Any) -> dict[str, Any]:
        """What a client connects with, as the superuser unless it says otherwise."""
        standard = {
            "host": LOOPBACK,
            "port": self.port,
            "user": SUPERUSER,
            "password": PASSWORD,
            "dbname": "postgres",
            "connect_timeout": int(WAIT_TIMEOUT_SECONDS),
        }
        return {**standard, **changes}

    def connect(self, **changes: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A session of the superuser in autocommit, unless it says otherwise."""
        import psycopg

        return psycopg.connect(**self.address(**{"autocommit": True, **changes}))

    def ask(self, statement: str, parameters: Sequence[object] = (), **changes: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement, in a session of its own."""
        with self.connect(**changes) as session:
            cursor = session.execute(cast("Any", statement), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run one of its programs to its end; returns what it printed."""
        answer = subprocess.run(
            [self.binary(name), *arguments],
            cwd=self.folder,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * WAIT_TIMEOUT_SECONDS,
            check=False,
            **self.identity.as_arguments(),
        )
        if answer.returncode != 0:
            raise ServerFailed(f"{name} exited with {answer.returncode}: {answer.stderr}")
        printed: str = answer.stdout
        return printed

    def log(self) -> str:
        """What it printed since the last start, and all that it wrote to its own log files."""
        files: list[Path] = sorted((self.data / "log").glob("*")) if self._folder is not None else []
        return "\n".join([super().log(), *(file.read_text("utf-8", "replace") for file in files)])

    def standby(self, name: str, settings: Mapping[str, str | int] | None = None) -> PostgreSQL:
        """One more that copies this one when it is entered, and follows it from then on under that name."""
        follower = PostgreSQL({**self._settings, **(settings or {})})
        follower._origin = (self, name)
        return follower

    def configure(self, settings: Mapping[str, str | int]) -> None:
        """Further lines of configuration, in force at once where that needs no restart."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        if self.running:
            self.ask("SELECT pg_reload_conf()")

    @property
    def pid(self) -> int:
        """Of its first process."""
        return int((self.data / "postmaster.pid").read_text().split("\n")[0])

    def wait_stopped(self) -> None:
        """Wait until somebody else has stopped it."""
        wait_until(lambda: not self.running, what="the server to end")

    def caught_up(self, standby: PostgreSQL) -> None:
        """Wait until the standby shows all that was written here so far."""
        ((position,),) = self.ask("SELECT pg_current_wal_lsn()::text")
        wait_until(
            lambda: standby.ask("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)) == [(True,)],
            what=f"the standby to replay {position}",
        )

    def kill(self) -> None:
        process = self._process
        children = _children(process.pid) if process is not None else []
        super().kill()
        # They end by themselves once they see it; a start before that is refused.
        wait_until(lambda: not any(map(_alive, children)), what="the processes of a killed server to end")

    def _prepare(self) -> None:
        self.port = self._lease_port()
        self.identity.own(self.folder)
        if self._origin is not None:
            origin, name = self._origin
            connection = f"host={LOOPBACK} port={origin.port} user={SUPERUSER} application_name={name}"
            copying = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
            slot = ["--create-slot", f"--slot={name}"]
            self.run("pg_basebackup", f"--dbname={connection}", f"--pgdata={self.data}", *copying, *slot)
            # The connection of the copy is the one it follows by, under its own name.
            with (self.data / "postgresql.auto.conf").open("a") as file:
                file.write(f"primary_conninfo = '{connection} password={PASSWORD}'\n")
        else:
            shutil.copytree(_template(), self.data)
        if self._certificate is not None:
            self._settings |= {"ssl": "on", **_certificates(self.folder, self._certificate)}
        lines = {**self._settings, "port": self.port, "unix_socket_directories": self.folder}
        (self.data / "postgresql.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in lines.items()))
        kind = "host" if self._certificate is None else "hostssl"
        (self.data / "pg_hba.conf").write_text(
            "local all,replication all scram-sha-256\n"
            + "".join(f"{kind} {databases} all {LOOPBACK}/32 scram-sha-256\n" for databases in ("all", "replication"))
        )
        shutil.rmtree(self.data / "log", ignore_errors=True)  # the origin's
        self.identity.own(self.folder)

    def _command(self) -> Sequence[str | Path]:
        return [self.binary("postgres"), "-D", self.data]

    def _is_ready(self) -> bool:
        import psycopg

        # Over the socket: whether a certificate is good is the client's business.
        with suppress(psycopg.OperationalError):
            return self.ask("SELECT 1", host=str(self.folder), connect_timeout=5) == [(1,)]
        return False


def _certificates(folder: Path, certificate: Certificate) -> dict[str, str]:
    # Left out of the imports above: only a few of those who import this module have a use for it.
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    hosts = ["postgresql.invalid"] if certificate == "other_host" else [LOOPBACK, "localhost"]
    end = datetime.now(timezone.utc) - timedelta(days=1) if certificate == "expired" else None
    server = authority.issue_cert(*hosts, not_after=end)
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.key").chmod(0o600)
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return {"ssl_cert_file": str(folder / "server.pem"), "ssl_key_file": str(folder / "server.key")}


@functools.cache
def _room() -> Path:
    """A folder for what all servers of this process share."""
    room = Path(tempfile.mkdtemp(prefix="gds-postgresql-"))
    atexit.register(shutil.rmtree, room, ignore_errors=True)
    return room


@functools.cache
def _binaries() -> tuple[Path, Identity]:
    """The folder of the binaries, and who runs them."""
    found = install("postgresql")["postgres"].parent
    if os.geteuid() != 0:
        return found, Identity()
    nobody = pwd.getpwnam("nobody")
    identity = Identity(nobody.pw_uid, nobody.pw_gid)
    copy = _room() / "postgresql"
    shutil.copytree(
        found.parent, copy, symlinks=True, ignore=shutil.ignore_patterns("*-linux-gnu", "bitcode", "doc", "locale")
    )
    _room().chmod(0o755)
    return copy / "bin", identity


@functools.cache
def _template() -> Path:
    """A data directory as it is made, which takes seconds, to be copied."""
    binaries, identity = _binaries()
    folder = _room() / "template"
    folder.mkdir()
    secret = folder / "password"
    secret.write_text(PASSWORD)
    identity.own(folder)
    who = [f"--username={SUPERUSER}", "--auth=scram-sha-256", f"--pwfile={secret}"]
    how = ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(
        [binaries / "initdb", f"--pgdata={folder / 'data'}", *who, *how],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * WAIT_TIMEOUT_SECONDS,
        check=False,
        **identity.as_arguments(),
    )
    if done.returncode != 0:
        raise ServerFailed(f"initdb exited with {done.returncode}: {done.stderr}")
    return folder / "data"


def _children(pid: int) -> list[Any]:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _alive(process: Any) -> bool:
    alive: bool = process.is_running()
    return alive
