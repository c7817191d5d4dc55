"""Backups by the server's own programs: pg_dump and pg_restore for a database, pg_basebackup for the server.

A backup is written under another name beside its place and moved there when it is whole: what is at ``path`` is one, or
nothing is. Only this user can read it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_database.engines._base import driver
from gds_database.engines.postgresql._session import driver_connection
from gds_database.engines.postgresql.connection import is_pooled
from gds_database.errors import ConfigurationError, ToolError
from gds_database.tools import find_tool, private_file, run_tool, tool_step

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from gds_database.engines.postgresql.engine import PostgreSQLEngine
    from gds_database.plan import Step

__all__ = [
    "Tools",
    "dump_steps",
    "format_of",
    "login_of",
    "physical_steps",
    "restore_physical_steps",
    "restore_steps",
    "size_of",
]

FORMATS = {"custom": "c", "directory": "d", "tar": "t"}
MANIFEST = "backup_manifest"
TIMEOUT_SECONDS = 4 * 3600.0

# What libpq reads from its environment, by the name of the parameter.
_ENVIRONMENT = {
    name: f"PG{name.upper().replace('_', '')}"
    for name in (
        *("host", "hostaddr", "port", "user", "options", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl"),
        *("gssencmode", "krbsrvname", "service", "ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("channel_binding", "target_session_attrs"),
    )
}
_ENVIRONMENT["connect_timeout"] = "PGCONNECT_TIMEOUT"


class Tools:
    """The server's programs with the engine's login.

    Args:
        engine: Whose.
        folders: Where the programs are, before ``PATH``.
        timeout_seconds: When one is ended.
        progress: Called with each line that one says.
        cancelled: Ends it when set.
    """

    def __init__(
        self,
        engine: PostgreSQLEngine,
        folders: Sequence[str],
        *,
        timeout_seconds: float | None,
        progress: Callable[[str], object] | None,
        cancelled: threading.Event | None,
    ) -> None:
        self.engine = engine
        self.folders = folders
        self.timeout_seconds = timeout_seconds or TIMEOUT_SECONDS
        self.progress = progress
        self.cancelled = cancelled

    def path(self, name: str) -> str:
        """Where a program is."""
        return find_tool(name, *self.folders, install="install PostgreSQL's client programs, or give tools_folder=")

    def reach_the_server(self) -> None:
        """Whether the programs get sessions of the server itself.

        Raises:
            ConfigurationError: They would get those of a pool. What they set there, such as an empty ``search_path``,
                would stay for the programs that come next.
        """
        (row,) = self.engine._query("SELECT pg_catalog.pg_backend_pid() AS process", columns=("process",))
        raw = driver_connection(self.engine.connection)
        if raw is not None and is_pooled(raw, row["process"]):
            raise ConfigurationError(
                f"{self.engine.name}: the connection goes through a pool, whose sessions backups and restores would "
                "leave changed; use an engine that is connected to the server itself"
            )

    def step(self, name: str, *arguments: str, after: Callable[[], object] | None = None) -> Step:
        """A program as a step; the password is in no argument."""
        argv = [self.path(name), *arguments]

        def run() -> None:
            with self._login() as environment:
                run_tool(
                    argv,
                    timeout_seconds=self.timeout_seconds,
                    environment=environment,
                    secrets=self.engine._secrets,
                    progress=self.progress,
                    cancelled=self.cancelled,
                )
            if after is not None:
                after()

        return tool_step(argv, run, timeout_seconds=self.timeout_seconds)

    @contextmanager
    def _login(self) -> Iterator[dict[str, str]]:
        """What libpq finds in its environment."""
        parameters, password = login_of(self.engine)
        found = {_ENVIRONMENT[name]: str(value) for name, value in parameters.items() if name in _ENVIRONMENT}
        found["PGAPPNAME"] = "gds_database"
        with ExitStack() as files:
            if password:
                line = ":".join(["*"] * 4 + [password.replace("\\", "\\\\").replace(":", "\\:")])
                if "\n" in password or "\r" in password:
                    found["PGPASSWORD"] = password  # a file of lines cannot hold it
                else:
                    found["PGPASSFILE"] = str(files.enter_context(private_file(line + "\n")))
            yield found


def login_of(engine: PostgreSQLEngine) -> tuple[dict[str, Any], str | None]:
    """The parameters of the connection, and its password."""
    connection: Any = engine.connection
    raw = driver_connection(connection)
    if hasattr(connection, "parameters"):
        return connection.parameters(), connection.password
    if raw is not None:
        info = raw.info
        known = info.get_parameters() if hasattr(info, "get_parameters") else dict(info.dsn_parameters)
        return {**known, "host": info.host, "port": info.port, "user": info.user}, info.password
    told = engine._info()
    return {name: told[name] for name in ("host", "port", "user") if told.get(name)}, getattr(
        connection, "password", None
    )


# ------------------------------------------------------------------ one database
def dump_steps(tools: Tools, database: str, path: Path, form: str, options: Sequence[str]) -> list[Step]:
    """What writes a backup of one database."""
    if form not in FORMATS:
        raise ConfigurationError(f"format={form!r}: expected one of {', '.join(FORMATS)}")
    tools.reach_the_server()
    place = _Place(path)
    # It waits for the locks of all tables, by itself without end.
    lock_timeout = f"--lock-wait-timeout={max(1, int(tools.engine.lock_timeout_seconds * 1000))}"
    where = f"--dbname={_conninfo(database)}"
    arguments = [f"--format={FORMATS[form]}", f"--file={place.shown}", lock_timeout, *options, where]
    return [place.step(tools, "pg_dump", arguments)]


def restore_steps(tools: Tools, database: str, path: Path, options: Sequence[str]) -> list[Step]:
    """What reads a backup into one database, all of it or nothing."""
    tools.reach_the_server()
    whole = [] if any(option.startswith("--jobs=") for option in options) else ["--single-transaction"]
    arguments = [*whole, "--exit-on-error", *options, f"--dbname={_conninfo(database)}", str(path)]
    return [tools.step("pg_restore", *arguments)]


def _conninfo(database: str) -> str:
    # A bare name with an equals sign in it would be read as parameters.
    made: str = driver("psycopg.conninfo", "postgresql").make_conninfo(dbname=database)
    return made


def format_of(path: Path) -> str:
    """What a backup is: ``custom``, ``directory``, ``tar`` or ``physical``.

    Raises:
        ConfigurationError: It is none of them, or not there.
    """
    if (path / MANIFEST).is_file() or (path / "PG_VERSION").is_file():
        return "physical"
    if (path / "toc.dat").is_file():
        return "directory"
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(512)
        if head.startswith(b"PGDMP"):
            return "custom"
        if head[257:262] == b"ustar" or head.startswith(b"toc.dat\0"):
            return "tar"
    raise ConfigurationError(
        f"path={str(path)!r}: expected a backup of pg_dump (custom, directory or tar) or of pg_basebackup"
        + ("" if path.exists() else "; there is nothing")
    )


# ------------------------------------------------------------------ the server
def physical_steps(tools: Tools, path: Path, options: Sequence[str], *, since: Path | None) -> list[Step]:
    """What copies the whole server, with the log that makes the copy consistent."""
    tools.reach_the_server()
    place = _Place(path)
    arguments = [f"--pgdata={place.shown}", "--format=plain", "--wal-method=stream", *options]
    if since is not None:
        manifest = since / MANIFEST
        if not manifest.is_file():
            raise ConfigurationError(f"since={str(since)!r}: expected the folder of a physical backup with {MANIFEST}")
        arguments.append(f"--incremental={manifest}")
    steps = [place.step(tools, "pg_basebackup", arguments)]
    with suppress(ConfigurationError):  # older packages do not bring it
        verify = tools.path("pg_verifybackup")
        argv = [verify, "--quiet", str(path)]
        steps.append(tool_step(argv, lambda: _verified(tools, argv), timeout_seconds=tools.timeout_seconds))
    return steps


def _verified(tools: Tools, argv: Sequence[str]) -> None:
    run_tool(argv, timeout_seconds=tools.timeout_seconds, secrets=tools.engine._secrets, cancelled=tools.cancelled)


def restore_physical_steps(tools: Tools, paths: Sequence[Path], data_directory: Path) -> list[Step]:
    """What makes a data directory of a backup, or of a full one and the incremental ones after it."""
    if data_directory.exists() and any(data_directory.iterdir()):
        raise ConfigurationError(f"data_directory={str(data_directory)!r}: expected an empty folder or none")
    steps = []
    if len(paths) == 1:
        with suppress(ConfigurationError):
            argv = [tools.path("pg_verifybackup"), "--quiet", str(paths[0])]
            steps.append(tool_step(argv, lambda: _verified(tools, argv), timeout_seconds=tools.timeout_seconds))
        copy = ["cp", "--archive", "--no-target-directory", str(paths[0]), str(data_directory)]
        steps.append(tool_step(copy, lambda: _copy(paths[0], data_directory), timeout_seconds=tools.timeout_seconds))
    else:
        argv = [tools.path("pg_combinebackup"), f"--output={data_directory}", *map(str, paths)]
        steps.append(tool_step(argv, lambda: _verified(tools, argv), timeout_seconds=tools.timeout_seconds))
    return steps


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        for path in (source, *source.rglob("*")):
            own = path.lstat()
            copy = target / path.relative_to(source)
            if os.geteuid() == 0:
                os.chown(copy, own.st_uid, own.st_gid, follow_symlinks=False)
        target.chmod(0o700)
    except OSError as error:
        raise ToolError(f"{target}: cannot be written: {error.strerror}") from None


class _Place:
    """Where a backup is written until it is whole."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise ConfigurationError(f"path={str(path)!r}: expected a place where nothing is; backups are not replaced")
        if not path.parent.is_dir():
            raise ConfigurationError(f"path={str(path)!r}: expected a place in a folder that is there")
        self.path = path
        self.shown = str(path)

    def step(self, tools: Tools, name: str, arguments: Sequence[str]) -> Step:
        """A program that writes there."""
        shown = tools.step(name, *arguments)

        def run() -> None:
            try:
                room = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            except OSError as error:
                raise ToolError(f"{self.path.parent}: cannot be written: {error.strerror}") from None
            try:
                made = room / self.path.name
                targets = {f"--{option}={self.shown}": f"--{option}={made}" for option in ("file", "pgdata")}
                tools.step(name, *(targets.get(argument, argument) for argument in arguments)).run()
                made.chmod(0o700 if made.is_dir() else 0o600)
                made.rename(self.path)
            finally:
                shutil.rmtree(room, ignore_errors=True)

        return type(shown)(shown.shown, run)


def size_of(path: Path) -> int:
    """In bytes, of all files."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
