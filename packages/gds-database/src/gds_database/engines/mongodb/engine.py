"""MongoDB as an engine: a server, a replica set or a mongos."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gds_database.base import DatabaseConnectionError, OperationResult, QueryError
from gds_database.capabilities import Capabilities, Capability, TestedAgainst
from gds_database.engines._base import OURS, EngineBase, aware, driver, only, operation
from gds_database.engines._rows import driver_object
from gds_database.engines.mongodb import _questions as questions
from gds_database.engines.mongodb import _replication
from gds_database.engines.mongodb._commands import Command, Question, reading
from gds_database.engines.mongodb._errors import translated
from gds_database.engines.mongodb.connection import MongoDBConnection
from gds_database.engines.mongodb.database import MongoDBDatabase
from gds_database.errors import ConfigurationError, ObjectNotFoundError
from gds_database.plan import Step

if TYPE_CHECKING:
    from datetime import datetime

    from gds_database.aio import AsyncDatabaseEngine
    from gds_database.config import EngineConfig
    from gds_database.metadata import EngineMetadata, LogEntry, Metric, ReplicationDetails

__all__ = ["MongoDBEngine"]

T = TypeVar("T")

TESTED = "MongoDB protocol; never run on MongoDB"
_SERVERS = "run on SecantusDB 0.7"
_WRITTEN = "the choice is checked on replies of 4.4 to 8.0 written after MongoDB's manual"
_BOTH = "run on SecantusDB 0.7 and FerretDB 1.24"
# What FerretDB has, too.
_SECOND = frozenset(
    (
        *("list_databases", "create_database", "drop_database", "backup_full", "restore"),
        *("get_configuration", "get_metrics"),
    )
)
_LOOK_SECONDS = 0.2
_OPERATION = re.compile(r"(?:[\w.-]+:)?-?\d+")

# What each operation does, and what it was run on.
_RUN = (
    ("list_databases", "listDatabases"),
    ("create_database", "create: a database is there as soon as it has a collection"),
    ("drop_database", "dropDatabase"),
    ("backup_full", "every collection as BSON with checksums; consistent within each collection, not between them"),
    ("restore", "create, insert, createIndexes, after the checksums were compared"),
    ("list_users", "usersInfo"),
    ("create_user", "createUser"),
    ("drop_user", "dropUser"),
    ("list_processes", "currentOp; MongoDB does not tell who blocks whom"),
    ("kill_process", "killOp"),
    ("get_configuration", "getParameter"),
    ("set_configuration", "setParameter; lost by a restart"),
    ("get_metrics", "serverStatus, listDatabases, replSetGetStatus, the ends of the oplog; only those of this moment"),
    ("get_logs", "getLog: the last 1024 lines"),
    ("get_replication_status", "replSetGetStatus"),
)
_LACKS = (
    "MongoDB has only full ones by its protocol; use mongodump --oplog, snapshots of the file system, or a cloud's own"
)


class MongoDBEngine(EngineBase):
    """A server of MongoDB 4.4 or later, or what speaks its protocol.

    Args and attributes: as `EngineBase`. The connection is any whose ``connect()`` returns a ``pymongo.MongoClient``,
    or that has one as ``client``.
    """

    system: ClassVar[str] = "mongodb"
    extra: ClassVar[str] = "mongodb"

    @classmethod
    def _open(cls, config: EngineConfig) -> MongoDBConnection:
        return MongoDBConnection.of(config)

    @classmethod
    async def open_async(cls, config: EngineConfig, **settings: Any) -> AsyncDatabaseEngine:
        """The twin for asyncio, over pymongo's own asynchronous client; as ``open_engine_async`` calls it."""
        from gds_database.engines.mongodb.aio import AsyncMongoDBEngine

        return await AsyncMongoDBEngine.opened(cls.from_config(config, **settings))

    # ------------------------------------------------------------------ commands
    def _client(self) -> Any:
        """The ``MongoClient`` behind the connection."""
        client = driver_object(self.connection, "list_database_names")
        if client is None:
            client = self.connection.connect()
            if not hasattr(client, "list_database_names"):
                raise ConfigurationError(
                    f"connection: expected one whose connect() returns a MongoClient, got {type(client).__name__}"
                )
        return client

    def _run(self, statement: Any, params: tuple[Any, ...] | None, timeout_seconds: float) -> Any:
        del params  # values are in the command
        # It ends the command on the server as well, by maxTimeMS.
        with driver("pymongo", "mongodb").timeout(timeout_seconds):
            return self._client()[statement.database].command(statement.document)

    def _translate(self, error: Exception) -> Exception:
        found = translated(error, self._secrets.redact)
        return found if isinstance(found, OURS) else QueryError(self._said(error))

    def _command(self, command: Command, timeout_seconds: float | None = None) -> Mapping[str, Any]:
        """The reply to one command."""
        reply: Mapping[str, Any] = self._statement(command, None, timeout_seconds, command.name)
        return reply

    def _must_read(self, statement: Any) -> None:
        reading(statement)

    def _reading(
        self, statement: Any, params: tuple[Any, ...], columns: Sequence[str], timeout_seconds: float | None
    ) -> list[dict[str, Any]]:
        del columns  # a reply has names
        if params:
            raise ConfigurationError("params: a command has none; its values are in it")
        return [dict(self._command(reading(statement), timeout_seconds))]

    def _ask(self, question: Question[T]) -> T:
        """What the replies to a question mean."""
        try:
            command = next(question)
            while True:
                try:
                    reply = self._command(command)
                except OURS as error:  # noqa: PERF203 - the question decides whether it can do without
                    command = question.throw(error)
                else:
                    command = question.send(reply)
        except StopIteration as end:
            found: T = end.value
            return found

    def _changes(self, command: Command) -> Step:
        return self._step(command, operation=command.name)

    # ------------------------------------------------------------------ what it is
    def capabilities(self) -> Capabilities:
        """What it can do, and what that was run on."""
        found = [
            Capability(
                name, True, f"{how} ({_BOTH if name in _SECOND else _SERVERS}; {TESTED})", TestedAgainst.EMULATOR
            )
            for name, how in _RUN
        ]
        found += [
            Capability(f"backup_{kind}", False, _LACKS, TestedAgainst.CHECKED)
            for kind in ("differential", "incremental", "transaction_log")
        ]
        found.append(
            Capability(
                "failover",
                True,
                f"replSetStepDown, after a look whether a secondary can take over ({TESTED}: {_WRITTEN}; "
                "the command was run on a set of one node)",
                TestedAgainst.CHECKED,
            )
        )
        return Capabilities([*found, *self._controls(TestedAgainst.CHECKED)])

    @property
    def metadata(self) -> EngineMetadata:
        """What is known of the server."""
        info = self._info()
        host, port = info.get("host"), info.get("port")
        return self._ask(questions.metadata(self.name, host, port))

    def get_version(self) -> str:
        """The version, such as ``8.0.4``."""
        return self._ask(questions.version())

    def get_server_time(self) -> datetime:
        """The server's clock."""
        return self._ask(questions.server_time())

    # ------------------------------------------------------------------ databases
    def list_databases(self) -> list[MongoDBDatabase]:  # type: ignore[override]
        """All databases that the login may see, ``admin``, ``config`` and ``local`` among them."""
        return [MongoDBDatabase(self, name) for name in self._ask(questions.database_names())]

    def get_database(self, name: str) -> MongoDBDatabase:
        """The database of a name, whether it exists or not."""
        return MongoDBDatabase(self, name)

    # ------------------------------------------------------------------ users
    def list_users(self, *, database: str | None = "admin") -> list[str]:
        """The users that a database knows.

        Args:
            database: Which; None is all of them, and names are ``database.user`` then.
        """
        return self._ask(questions.users(database))

    @operation
    def create_user(
        self,
        name: str,
        password: str,
        *,
        roles: Sequence[str | Mapping[str, str]] = (),
        database: str = "admin",
        mechanisms: Sequence[str] | None = None,
        valid_until: datetime | None = None,
        **kwargs: Any,
    ) -> OperationResult:
        """Create a user.

        Args:
            name: Any text.
            password: Any text but an empty one; in no log.
            roles: Names: ``"readWrite"`` is a role of the user's database, ``"readWrite@shop"`` of another; or dicts
                with ``role`` and ``db``.
            database: The one that knows the user.
            mechanisms: Such as ``["SCRAM-SHA-256"]``; by default the server's.
            valid_until: MongoDB has nothing like it.
            kwargs: None.
        """
        only(kwargs, "create_user", "roles", "database", "mechanisms", "valid_until")
        if valid_until is not None:
            raise ConfigurationError("valid_until: users of MongoDB do not expire; drop the user by then")
        if not name or not isinstance(name, str):
            raise ConfigurationError(f"name={name!r}: expected text")
        if not password or not isinstance(password, str):
            raise ConfigurationError("password: expected text of 1 character or more")
        with self._secrets.during(password):
            if name in self.list_users(database=database):
                raise QueryError(f"user {name!r} exists already in {database}")
            arguments: dict[str, Any] = {"pwd": password, "roles": questions.roles_of(roles, database)}
            if mechanisms is not None:
                arguments["mechanisms"] = list(mechanisms)
            step = self._changes(Command("createUser", name, arguments, database))
            return self._carry_out(f"created the user {name!r}", [step])

    @operation
    def drop_user(self, name: str, *, database: str = "admin", dry_run: bool = False) -> OperationResult:
        """Drop a user.

        Args:
            name: As `list_users` has it.
            database: The one that knows the user.
            dry_run: Only show it.
        """
        self._must_exist("user", name, self.list_users(database=database))
        step = self._changes(Command("dropUser", name, database=database))
        return self._carry_out(f"dropped the user {name!r}", [step], dry_run=dry_run)

    # ------------------------------------------------------------------ processes
    def list_processes(self) -> list[dict[str, Any]]:
        """Operations and idle connections; ``blocked_by`` is empty, for MongoDB does not tell."""
        return self._redacted(self._ask(questions.processes()))

    def _redacted(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Processes without secrets in their statements."""
        for each in found:
            each["statement"] = self._secrets.redact(each["statement"])[: questions.STATEMENT_CHARACTERS]
        return found

    @operation
    def kill_process(self, process_id: str, *, dry_run: bool = False) -> OperationResult:
        """End an operation; it ends at the next point where it may.

        Args:
            process_id: As `list_processes` has it.
            dry_run: Only show it.
        """
        if _OPERATION.fullmatch(process_id) is None:
            raise ConfigurationError(
                f"process_id={process_id!r}: expected the number of an operation, as list_processes() has it; "
                f"a connection without an operation cannot be ended"
            )
        self._must_exist("process", process_id, (each["id"] for each in self._ask(questions.processes())))
        number: Any = process_id if ":" in process_id else int(process_id)
        step = self._changes(Command("killOp", 1, {"op": number}))
        return self._carry_out(f"asked the operation {process_id} to end", [step], dry_run=dry_run)

    # ------------------------------------------------------------------ settings
    def get_configuration(self) -> dict[str, Any]:
        """All parameters of the server."""
        return self._ask(questions.configuration())

    def get_setting(self, name: str) -> dict[str, Any]:
        """One parameter: name, value, unit, source, restart_required, pending_restart, description, default.

        Raises:
            ObjectNotFoundError: The server has no such parameter.
        """
        return self._ask(questions.setting(name, self.name))

    @operation
    def set_configuration(self, key: str, value: Any, *, dry_run: bool = False) -> OperationResult:
        """Change a parameter until the server restarts.

        Args:
            key: As `get_configuration` has it.
            value: Of the type that it has; text is converted.
            dry_run: Only show it.
        """
        known = self.get_setting(key)
        if known["settable_at_runtime"] is False:
            raise ConfigurationError(
                f"{key}: cannot be changed while the server runs; set it as setParameter in its configuration file "
                "and restart it"
            )
        new = questions.fits(key, value, known["value"])
        step = self._changes(Command("setParameter", 1, {key: new}))
        data = {"restart_required": False, "persistent": False, "before": known["value"]}
        return self._carry_out(f"set {key}, until the server restarts", [step], dry_run=dry_run, data=data)

    # ------------------------------------------------------------------ what it reports
    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """The figures of this moment; none if it is not in the range, for MongoDB keeps no others."""
        start, end = aware(start_time, end_time)
        if not questions.is_now(start, end):
            return []
        return self._ask(questions.all_metrics(self.name))

    def get_logs(
        self, start_time: datetime, end_time: datetime, *, level: str | None = None, **kwargs: Any
    ) -> list[LogEntry]:
        """What the server still has in memory of its log: its last 1024 lines.

        Args:
            start_time: The first.
            end_time: The last.
            level: Only those of ``FATAL``, ``ERROR``, ``WARNING``, ``INFO`` or ``DEBUG``.
            kwargs: None.
        """
        only(kwargs, "get_logs", "level")
        start, end = aware(start_time, end_time)
        return self._without_secrets(self._ask(questions.logs(start, end, level)))

    def _without_secrets(self, found: list[LogEntry]) -> list[LogEntry]:
        """Lines of the log as they may be told."""
        for each in found:
            each.message = self._secrets.redact(each.message)
            each.context = {key: self._hidden(value) for key, value in each.context.items()}
        return found

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._secrets.redact(value)
        if isinstance(value, Mapping):
            return {key: self._hidden(each) for key, each in value.items()}
        return [self._hidden(each) for each in value] if isinstance(value, list) else value

    # ------------------------------------------------------------------ replication
    def get_replication_status(self) -> ReplicationDetails:
        """How far the members are, by their positions in the oplog; of a mongos and of a server on its own, that it is.

        ``lag_seconds`` is the server's own where it is a secondary, else that of the slowest; a member that is told to
        stay behind is not late for that. An arbiter has no data and no lag.
        """
        return self._ask(_replication.with_skew())

    @operation
    def failover(
        self,
        target_node: str | None = None,
        *,
        dry_run: bool = False,
        force: bool = False,
        timeout_seconds: float | None = None,
        step_down_seconds: int = 60,
        **kwargs: Any,
    ) -> OperationResult:
        """Make the primary step down, and wait until another member is primary.

        Args:
            target_node: Who is to take over, as the status names it; possible where no other member could win the
                election.
            dry_run: Only show it.
            force: Step down even if nobody can take over; the set may be left without a primary.
            timeout_seconds: How long to wait for the new primary; by default twice the time of a step.
            step_down_seconds: How long the old primary does not stand for election.
            kwargs: None.
        """
        only(kwargs, "failover", "dry_run", "force", "timeout_seconds", "step_down_seconds")
        if step_down_seconds <= _replication.CATCH_UP_SECONDS:
            raise ConfigurationError(
                f"step_down_seconds={step_down_seconds!r}: expected more than {_replication.CATCH_UP_SECONDS}, "
                "the time that secondaries are given to catch up"
            )
        _, status, config = self._ask(_replication.standing())
        primary, able, unable = _replication.electable(status, config)
        if status.get("myState") != 1:
            raise QueryError(
                f"this server is not the primary, and only that can step down; connect to {primary or 'it'}"
                if primary
                else "the set has no primary that could step down; its members elect one as soon as a majority is there"
            )
        if target_node is not None:
            _targeted(target_node, primary, able, unable, self.name)
        if not able and not force:
            reasons = "; ".join(f"{name}: {why}" for name, why in unable.items()) or "there is no other member"
            raise QueryError(f"no member can take over ({reasons}); force=True steps down all the same")
        arguments: dict[str, Any] = {"secondaryCatchUpPeriodSecs": _replication.CATCH_UP_SECONDS}
        if force:
            arguments["force"] = True
        command = Command("replSetStepDown", step_down_seconds, arguments)
        limit = timeout_seconds or 2 * self.timeout_seconds
        data: dict[str, Any] = {"old_primary": primary, "new_primary": None, "candidates": able}

        def step_down() -> None:
            self._command(command, self.timeout_seconds + _replication.CATCH_UP_SECONDS)
            if able:
                data["new_primary"] = self._new_primary(primary, limit)

        result = self._carry_out(f"made {primary} step down", [Step(str(command), step_down)], dry_run=dry_run)
        result.data = {**(result.data or {}), **data}
        return result

    def _new_primary(self, old: str | None, timeout_seconds: float) -> str:
        """Wait until a member says that another one is primary."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                found = self._command(Command("hello"), max(left, _LOOK_SECONDS)).get("primary")
            except (DatabaseConnectionError, QueryError):
                found = None  # between two primaries there may be nobody to ask
            if found and found != old:
                return str(found)
            if left <= 0:
                raise QueryError(
                    f"the primary has stepped down, and no other member became primary within {timeout_seconds:g} s; "
                    "look at get_replication_status() on each member"
                )
            time.sleep(_LOOK_SECONDS)


def _targeted(target: str, primary: str | None, able: list[str], unable: dict[str, str], where: str) -> None:
    """Refuse a target that cannot take over, or that an election may pass over."""
    if target == primary:
        raise QueryError(f"{target} is the primary already")
    if target in unable:
        raise QueryError(f"{target} cannot take over: {unable[target]}")
    if target not in able:
        raise ObjectNotFoundError("node", target, where)
    others = [name for name in able if name != target]
    if others:
        raise QueryError(
            f"MongoDB elects its primary, and {', '.join(others)} could win instead of {target}; run replSetFreeze "
            f"on each of them first, give {target} a higher priority, or leave out target_node"
        )
