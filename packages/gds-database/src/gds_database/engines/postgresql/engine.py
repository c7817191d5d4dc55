"""The engine of PostgreSQL 12 and newer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gds_database.capabilities import Capabilities
from gds_database.engines._base import EngineBase, aware, only, operation
from gds_database.engines.postgresql import (
    _backup,
    _capabilities,
    _failover,
    _logs,
    _metrics,
    _replication,
    _server,
    _sessions,
    _settings,
    _users,
)
from gds_database.engines.postgresql._errors import translate
from gds_database.engines.postgresql._quoting import checked
from gds_database.engines.postgresql._session import run
from gds_database.engines.postgresql._waiting import wait_until
from gds_database.engines.postgresql.connection import PostgreSQLConnection, parameters_of
from gds_database.engines.postgresql.database import PostgreSQLDatabase
from gds_database.errors import ConfigurationError, DatabaseConnectionError
from gds_database.metadata import BackupType, EngineMetadata

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable, Sequence

    from gds_database.base import OperationResult
    from gds_database.config import EngineConfig
    from gds_database.database import Database
    from gds_database.engines.postgresql._asking import Question
    from gds_database.engines.postgresql.aio import AsyncPostgreSQLEngine
    from gds_database.metadata import LogEntry, Metric, ReplicationDetails
    from gds_database.plan import Step

__all__ = ["PostgreSQLEngine"]

_RELOAD_SECONDS = 10.0
_KILL_SECONDS = 5.0
# The end of a range is usually "now", asked for before the sample is taken.
_JUST_NOW = timedelta(minutes=1)

T = TypeVar("T")


class PostgreSQLEngine(EngineBase):
    """A PostgreSQL server.

    Every statement of it is bounded in time on the server, and some seconds later here, and waits for locks no longer
    than ``lock_timeout_seconds``. On a connection of others, what only reads does so in read-only transactions.

    Args:
        connection: Any connection: ours, one of ``gds_postgres``, or another that runs statements.
        tools_folder: Where ``pg_dump`` and the others are, if not on ``PATH``.
        settings: As `EngineBase` has them: ``connection_string``, ``control``, ``metrics``, ``timeout_seconds`` (30),
            ``lock_timeout_seconds`` (5): how long a statement may wait for another session.
    """

    system: ClassVar[str] = "postgresql"
    extra: ClassVar[str] = "postgresql"
    default_lock_timeout_seconds: ClassVar[float | None] = 5.0
    lock_timeout_seconds: float

    def __init__(
        self,
        connection: Any = None,
        *,
        tools_folder: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(connection, **settings)
        self.tools_folder = tools_folder
        self._number = 0

    @classmethod
    async def open_async(cls, config: EngineConfig, **settings: Any) -> AsyncPostgreSQLEngine:
        """A twin for asyncio, connected; see `open_engine_async`."""
        from gds_database.engines.postgresql.aio import AsyncPostgreSQLEngine

        return await AsyncPostgreSQLEngine.opened(cls.from_config(config, **settings))

    @classmethod
    def _open(cls, config: EngineConfig) -> PostgreSQLConnection:
        connection = PostgreSQLConnection(config=parameters_of(config))
        connection.parameters()
        return connection

    def connect(self) -> Any:
        """Open the connection if it is not open; then `close` closes it."""
        if isinstance(self.connection, PostgreSQLConnection):
            # Its connect() hands out the driver's own object: the session is to be the engine's alone.
            return self._connect(self.connection.initialize)
        return super().connect()

    def _run(self, statement: Any, params: tuple[Any, ...] | None, timeout_seconds: float) -> Any:
        return run(
            self.connection,
            statement,
            params,
            timeout_seconds=timeout_seconds,
            lock_timeout_seconds=self.lock_timeout_seconds,
        )

    def _answer(self, question: Question[T]) -> T:
        """What the server says to a question."""
        try:
            ask = next(question)
            while True:
                ask = question.send(self._query(ask.statement, ask.params, columns=ask.columns))
        except StopIteration as end:
            answer: T = end.value
            return answer

    def _translate(self, error: Exception) -> Exception:
        failed = translate(error)
        text = self._said(failed)
        return failed if text == " ".join(str(failed).split()) else type(failed)(text)

    def _version_number(self) -> int:
        """Such as 150018."""
        if not self._number:
            self._number = self._answer(_server.version_number())
        return self._number

    # ------------------------------------------------------------------ what it is
    def capabilities(self) -> Capabilities:
        """What it can do. ``REAL`` is PostgreSQL 15; statements for other versions are checked only."""
        try:
            number, logs = self._version_number(), _logs.kept(self)
        except DatabaseConnectionError:
            number, logs = 0, True  # what is down can be started
        controlled = _capabilities.by_control(number, self.control, self._controls())
        return Capabilities([*_capabilities.of(number, logs=logs), *controlled])

    @property
    def metadata(self) -> EngineMetadata:
        """What is known of the server."""
        info = self._info()
        return self._answer(_server.metadata(self.name, info.get("host"), info.get("port")))

    def get_version(self) -> str:
        """The version of the server, such as ``15.18``."""
        return self._answer(_server.version())

    def get_server_time(self) -> datetime:
        """The server's clock."""
        return self._answer(_server.server_time())

    # ------------------------------------------------------------------ databases
    def list_databases(self, *, templates: bool = False) -> list[Database]:
        """All databases by name; templates only if asked for."""
        return [PostgreSQLDatabase(self, name) for name in self._answer(_server.databases(templates=templates))]

    def get_database(self, name: str) -> PostgreSQLDatabase:
        """The database of a name, whether it exists or not.

        Raises:
            ConfigurationError: PostgreSQL cannot have one of that name.
        """
        return PostgreSQLDatabase(self, checked(name, "database"))

    # ------------------------------------------------------------------ backups of the server
    @operation
    def backup(
        self,
        path: str | os.PathLike[str],
        backup_type: BackupType = BackupType.FULL,
        *,
        since: str | os.PathLike[str] | None = None,
        checkpoint: str = "fast",
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        progress: Callable[[str], object] | None = None,
        cancelled: threading.Event | None = None,
    ) -> OperationResult:
        """Copy the whole server to a folder of this machine, by pg_basebackup; the login needs REPLICATION.

        Args:
            path: Where nothing is yet.
            backup_type: ``FULL``, or ``INCREMENTAL`` on 17 and newer.
            since: The folder of the backup before an incremental one.
            checkpoint: ``fast``, or ``spread`` to begin with less load.
            dry_run: Only show how.
            timeout_seconds: When it is ended; by default after four hours.
            progress: Called with each line that the program says.
            cancelled: Ends it when set.
        """
        kind = BackupType(backup_type)
        if not self.capabilities().supports(f"backup_{kind.value}"):
            return self._lacks(f"backup_{kind.value}")
        if checkpoint not in {"fast", "spread"}:
            raise ConfigurationError(f"checkpoint={checkpoint!r}: expected fast or spread")
        if (kind is BackupType.INCREMENTAL) != (since is not None):
            raise ConfigurationError(
                f"since={since!r}: expected the folder of a backup for an incremental one, else none"
            )
        arguments = [f"--checkpoint={checkpoint}", *(["--progress", "--verbose"] if progress else [])]
        tools = self._tools(timeout_seconds, progress, cancelled)
        steps = _backup.physical_steps(tools, Path(path), arguments, since=None if since is None else Path(since))
        data = {"path": str(path), "type": kind.value, "method": "physical", "format": "plain"}
        return self._backed_up(Path(path), steps, data, dry_run=dry_run)

    @operation
    def restore(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        data_directory: str | os.PathLike[str],
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        cancelled: threading.Event | None = None,
    ) -> OperationResult:
        """Make a data directory of a physical backup, on this machine; start a server on it with ``control=``.

        Args:
            path: Of the backup, or of a full one and the incremental ones after it in their order.
            data_directory: An empty folder, or none yet.
            dry_run: Only show how.
            timeout_seconds: When it is ended; by default after four hours.
            cancelled: Ends it when set.
        """
        paths = [Path(each) for each in ([path] if isinstance(path, str) or hasattr(path, "__fspath__") else path)]
        for each in paths:
            if _backup.format_of(each) != "physical":
                raise ConfigurationError(f"path={str(each)!r}: expected a physical backup; a database restores others")
        tools = self._tools(timeout_seconds, None, cancelled)
        steps = _backup.restore_physical_steps(tools, paths, Path(data_directory))
        data = {"path": [str(each) for each in paths], "data_directory": str(data_directory)}
        return self._carry_out(f"restored {data_directory}", steps, dry_run=dry_run, data=data)

    def _tools(
        self,
        timeout_seconds: float | None,
        progress: Callable[[str], object] | None,
        cancelled: threading.Event | None,
    ) -> _backup.Tools:
        folders = [] if self.tools_folder is None else [str(self.tools_folder)]
        return _backup.Tools(self, folders, timeout_seconds=timeout_seconds, progress=progress, cancelled=cancelled)

    def _backed_up(self, path: Path, steps: list[Step], data: dict[str, Any], *, dry_run: bool) -> OperationResult:
        result = self._carry_out(f"wrote a backup to {path}", steps, dry_run=dry_run, data=data)
        if not dry_run and result.data is not None:
            result.data["size_bytes"] = _backup.size_of(path)
        return result

    # ------------------------------------------------------------------ users
    def list_users(self) -> list[str]:
        """Roles that may log in, by name."""
        return self._answer(_users.users())

    @operation
    def create_user(
        self,
        name: str,
        password: str,
        *,
        roles: Sequence[str] = (),
        valid_until: datetime | None = None,
        connection_limit: int | None = None,
        superuser: bool = False,
        createdb: bool = False,
        createrole: bool = False,
        replication: bool = False,
        inherit: bool = True,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> OperationResult:
        """Create a role that may log in. The server gets a SCRAM verifier, and never the password.

        Args:
            name: Without quotes.
            password: Not empty, and not the name.
            roles: Whose member it becomes; they have to exist.
            valid_until: When the password ends.
            connection_limit: How many sessions it may have; -1 is any number.
            superuser: As the others below, an attribute of the role.
            createdb: May create databases.
            createrole: May create roles.
            replication: May replicate.
            inherit: Has the rights of its roles without ``SET ROLE``.
            dry_run: Only show how, with the password masked.
            kwargs: None; refused.
        """
        options = ("roles", "valid_until", "connection_limit", "superuser", "createdb", "createrole", "replication")
        only(kwargs, "create_user", *options, "inherit", "dry_run")
        flags = {"superuser": superuser, "createdb": createdb, "createrole": createrole, "replication": replication}
        with self._secrets.during(_users.checked_password(name, password)):
            steps = _users.create_steps(
                self,
                name,
                password,
                roles=roles,
                valid_until=valid_until,
                connection_limit=connection_limit,
                flags={**flags, "inherit": inherit},
            )
            return self._carry_out(f"created user {name}", steps, dry_run=dry_run)

    @operation
    def drop_user(self, name: str, *, dry_run: bool = False) -> OperationResult:
        """Drop a role that may log in; refused while it owns something, with where."""
        steps = _users.drop_steps(self, name)
        return self._carry_out(f"dropped user {name}", steps, dry_run=dry_run)

    # ------------------------------------------------------------------ sessions
    def list_processes(self, *, background: bool = False) -> list[dict[str, Any]]:
        """Sessions, the longest statement first.

        Each has at least ``id``, ``user``, ``database``, ``state``, ``statement`` (1,000 characters at most, without
        passwords), ``started_at``, ``seconds``, ``wait``, ``blocked_by``, ``client`` and ``application``.

        Args:
            background: The server's own processes as well.
        """
        return self._answer(_sessions.sessions(self._secrets.redact, background=background))

    @operation
    def kill_process(
        self, process_id: str, *, cancel: bool = False, dry_run: bool = False, timeout_seconds: float | None = None
    ) -> OperationResult:
        """End a session and wait until it is gone.

        Args:
            process_id: As ``list_processes`` has it.
            cancel: Only end what it runs; not waited for.
            dry_run: Only show how.
            timeout_seconds: How long to wait for its end.
        """
        steps = _sessions.kill_steps(self, process_id, cancel=cancel)
        what = "cancelled the statement of" if cancel else "ended"
        result = self._carry_out(f"{what} session {process_id}", steps, dry_run=dry_run)
        if not dry_run and not cancel:
            wait_until(
                lambda: _sessions.gone(self, process_id),
                timeout_seconds or _KILL_SECONDS,
                f"session {process_id} was told to end and is still there",
            )
        return result

    # ------------------------------------------------------------------ settings
    def get_configuration(self) -> dict[str, Any]:
        """All settings by name, as bool, int, float or text; `get_setting` tells the unit of one."""
        return self._answer(_settings.values(self._secrets.redact))

    def get_setting(self, name: str) -> dict[str, Any]:
        """One setting with all that the server tells of it.

        Returns:
            ``name``, ``value``, ``unit``, ``source``, ``source_file``, ``restart_required``, ``pending_restart``,
            ``context``, ``description``, ``category``, ``default``, ``minimum``, ``maximum`` and ``choices``.

        Raises:
            ObjectNotFoundError: There is none of that name; the message names the nearest one.
        """
        return _settings.told(self._answer(_settings.find(name, self.name)), self._secrets.redact)

    @operation
    def set_configuration(self, key: str, value: Any, *, dry_run: bool = False) -> OperationResult:
        """Change a setting for all sessions, in ``postgresql.auto.conf``.

        Args:
            key: Its name.
            value: A number is in the unit of the setting, text may have its own (``"64MB"``); None is the default.
            dry_run: Only check and show.
        """
        row = self._answer(_settings.find(key, self.name))
        steps = _settings.change_steps(self, row, value)
        restart = row["context"] == "postmaster"
        data = {
            "setting": row["name"],
            "before": _settings.told(row, self._secrets.redact)["value"],
            "restart_required": restart,
            "unit": row["unit"],
        }
        before = "" if dry_run else _settings.loaded(self)
        result = self._carry_out(f"changed {row['name']}", steps, dry_run=dry_run, data=data)
        if not dry_run:
            wait_until(
                lambda: _settings.loaded(self) != before,
                _RELOAD_SECONDS,
                f"{row['name']}: was written, and the server has not read it",
            )
            if not restart:
                _settings.check_applied(self, row["name"])
        return result

    # ------------------------------------------------------------------ what it reports
    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """One sample of now, with cumulative counters; nothing for a range that has passed: the server keeps none."""
        start, end = aware(start_time, end_time)
        now = datetime.now(timezone.utc)
        if not start <= now <= end + _JUST_NOW:
            return []
        return _metrics.sample(self)[1]

    def get_logs(
        self,
        start_time: datetime,
        end_time: datetime,
        *,
        directory: str | os.PathLike[str] | None = None,
        level: str | None = None,
        max_bytes: int = _logs.MAX_BYTES,
        **kwargs: Any,
    ) -> list[LogEntry]:
        """The server's log of a time range in its order, from csvlog or jsonlog.

        Args:
            start_time: First; without a zone it is this machine's local time.
            end_time: Last.
            directory: A folder of this machine with the files; by default the server reads them, which needs the role
                ``pg_monitor`` and the right to ``pg_read_binary_file``.
            level: Only lines of this level, such as ``ERROR``.
            max_bytes: How much to read at most; files of a busy server are large.
            kwargs: None; refused.

        Raises:
            PrivilegeError: The login may not read it.
            QueryError: The server writes neither, or there is more than ``max_bytes``.
        """
        only(kwargs, "get_logs", "directory", "level", "max_bytes")
        start, end = aware(start_time, end_time)
        folder = None if directory is None else str(directory)
        return _logs.read(self, start, end, directory=folder, level=level, max_bytes=max_bytes)

    # ------------------------------------------------------------------ replication
    def get_replication_status(self) -> ReplicationDetails:
        """How far the copies are, seen from this server."""
        return self._answer(_replication.status(self.name))

    @operation
    def failover(
        self,
        target_node: str | None = None,
        *,
        target: PostgreSQLEngine | None = None,
        dry_run: bool = False,
        force: bool = False,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> OperationResult:
        """Promote a standby, if it can take over without losing what was acknowledged.

        On an engine of a standby it is that one. On an engine of a primary it is ``target_node`` or ``target``; the
        primary is stopped first where the engine has ``control=``, else the standby has to be synchronous.

        Args:
            target_node: ``host:port`` of the standby, reached with the login of this engine.
            target: An engine of the standby instead.
            dry_run: Only check and show.
            force: Leave the checks out.
            timeout_seconds: Of each step; by default a minute.
            kwargs: None; refused.
        """
        only(kwargs, "failover", "target", "dry_run", "force", "timeout_seconds")
        opened: PostgreSQLEngine | None = None
        if target is None and target_node not in (None, self.name):
            opened = target = _failover.elsewhere(self, str(target_node))
        try:
            return _failover.failover(
                self,
                target,
                target_node,
                dry_run=dry_run,
                force=force,
                timeout_seconds=timeout_seconds or _failover.TIMEOUT_SECONDS,
            )
        finally:
            if opened is not None:
                opened.close()
