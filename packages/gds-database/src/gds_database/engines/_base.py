"""What all engines have in common. An engine of a platform subclasses `EngineBase` and `DatabaseBase`.

What a subclass writes:

| | |
| --- | --- |
| ``system`` | OpenTelemetry's name: ``postgresql``, ``mongodb``, ``microsoft.sql_server``, ``snowflake`` |
| ``extra`` | the extra of the distribution that brings the driver |
| `EngineBase._run` | runs one statement on ``self.connection`` within a time; may be as the base has it |
| `EngineBase._translate` | an exception of the driver becomes one of `gds_database.errors` |
| `EngineBase._open` | a connection of ours for an `EngineConfig`; see `EngineBase.from_config` |
| ``capabilities()`` | a `Capability` for each of ``OPERATIONS``; `EngineBase._controls` has those of ``control=`` |
| the methods of the contract | those that return an `OperationResult` are decorated with `operation` |

What it uses:

- ``self._query(statement, params, columns=("pid", "state"))`` for rows as dicts, ``self._execute(statement, params)``
  without: one statement at a time, timed, with a time limit, with errors translated and redacted. On MongoDB
  ``statement`` is a command (a dict) with ``operation=`` its name.
- ``self._step(statement, params, shown=...)`` makes a `Step`; `tool_step` and ``control.steps`` make others.
  ``self._carry_out("dropped x", steps, dry_run=dry_run)`` runs them in order, or shows them: ``data["statements"]``.
- ``self._cannot("shutdown", "it runs itself", use="ALTER WAREHOUSE ... SUSPEND")`` for what the platform has not.
- ``self._must_exist("user", name, self.list_users())`` before anything runs.
- `EngineBase.read` is `_query` for everybody: `EngineBase._must_read` refuses what does more than to read, and
  `EngineBase._reading` runs the rest.
- ``with self._secrets.during(password):`` around whatever has a password in its hands.
- ``with ended_by(end):`` of ``_calls`` around a statement of a driver that can end it from another thread.
- ``driver("psycopg", "postgresql")`` where the driver is needed, never at import.
- ``aware(start_time, end_time)`` for time ranges, and only aware times in what it returns.
- ``only(kwargs, "create_user", "roles", "valid_until")`` for options that it knows.

What a subclass leaves out is as in `Unsupported`: a failure with what its ``capabilities()`` says of it.

A method decorated with `operation` returns a failure for whatever `gds_database.errors` it raises: with ``error`` and
``metadata["error_type"]``. All other methods raise.
"""

from __future__ import annotations

import difflib
import importlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from gds_database._calls import current
from gds_database._redact import Secrets
from gds_database.base import ConfigurationError, OperationResult
from gds_database.capabilities import Capability, TestedAgainst
from gds_database.config import EngineConfig
from gds_database.control import Control
from gds_database.engines._database import DatabaseBase
from gds_database.engines._operation import OURS, operation
from gds_database.engines._statements import Statements
from gds_database.errors import MissingExtraError, ObjectNotFoundError
from gds_database.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

    from gds_database._report import Metrics
    from gds_database.base import DatabaseConnection

__all__ = ["OURS", "DatabaseBase", "EngineBase", "aware", "driver", "only", "operation"]

TIMEOUT_SECONDS = 30.0
CONTROL_TIMEOUT_SECONDS = 60.0

_SETTINGS = ("connection_string", "control", "metrics", "timeout_seconds", "lock_timeout_seconds")


def only(options: Mapping[str, Any], method: str, *known: str) -> None:
    """Refuse options that nothing reads.

    Raises:
        ConfigurationError: There is one; the message names the nearest known one.
    """
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it knows {', '.join(known) or 'none'}"
            raise ConfigurationError(f"{method}: there is no option {name!r}{hint}")


def aware(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A time range in UTC; times without a zone are this machine's local ones.

    Raises:
        ConfigurationError: It ends before it begins.
    """
    first, last = start.astimezone(timezone.utc), end.astimezone(timezone.utc)
    if last < first:
        raise ConfigurationError(f"end_time={end.isoformat()}: expected a time after start_time={start.isoformat()}")
    return first, last


def driver(module: str, extra: str) -> Any:
    """The module of a driver.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # Its first part may be a folder that other packages share, as `snowflake` is.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and broken
        raise MissingExtraError(f"{error.name} is not installed; run: pip install 'gds-database[{extra}]'") from None


class EngineBase(Statements):
    """An engine over any connection.

    It closes the connection only if it has opened it: with `connect`, as a context manager, or because it was made from
    an address.

    Args:
        connection: Any `DatabaseConnection`, in autocommit or not.
        connection_string: Instead of it an address, as ``open_engine`` takes it; opened by the first statement.
        control: What starts and stops the server; without it the engine does not.
        metrics: Any collector of ``gds_metrics``; None is none.
        timeout_seconds: How long one statement may take.
        lock_timeout_seconds: How long one may wait for locks, on platforms that have such a limit.
        unknown: Nothing; refused.
    """

    extra: ClassVar[str]

    def __init__(
        self,
        connection: DatabaseConnection | None = None,
        *,
        connection_string: str | None = None,
        control: Control | None = None,
        metrics: Metrics | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        lock_timeout_seconds: float | None = None,
        **unknown: Any,
    ) -> None:
        only(unknown, type(self).__name__, *_SETTINGS)
        config = None
        if connection_string is not None:
            if connection is not None:
                raise ConfigurationError("connection_string: expected either it or a connection, got both")
            config = EngineConfig.parse(connection_string)
            connection = self._make_connection(config)
        if connection is None:
            raise ConfigurationError(f"{type(self).__name__}: expected a connection or connection_string=, got neither")
        if control is not None and not isinstance(control, Control):
            raise ConfigurationError(
                f"control: expected an object with steps(), such as PgCtl or Command of gds_database.control, "
                f"got {type(control).__name__}"
            )
        super().__init__(connection, metrics, timeout_seconds, lock_timeout_seconds)
        self.control = control
        if config is not None:
            self._secrets.add(*config.secrets)
        self._opens = config is not None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # ------------------------------------------------------------------ made from an address
    @classmethod
    def from_config(cls, config: EngineConfig, **settings: Any) -> Self:
        """An engine over a connection of ours.

        Args:
            config: Where and who.
            settings: As the constructor takes them: ``control``, ``metrics``, ``timeout_seconds``.
        """
        engine = cls(cls._make_connection(config), **settings)
        engine._secrets.add(*config.secrets)
        engine._opens = True
        return engine

    @classmethod
    def _make_connection(cls, config: EngineConfig) -> DatabaseConnection:
        """As `_open`; what it says of an option that cannot be used is without secrets."""
        secrets = Secrets()
        # Not the password: it is no option, and a short one is in the word "expected".
        secrets.add(*(secret for secret in config.secrets if secret != config.password))
        try:
            return cls._open(config)
        except ConfigurationError as error:
            text = secrets.hide(str(error))
            if text == str(error):
                raise
        # Outside of the handler, so that the other one is no context of it.
        raise ConfigurationError(text)

    @classmethod
    def _open(cls, config: EngineConfig) -> DatabaseConnection:
        """A connection of ours, not connected yet; an unknown option is an error that names the nearest one."""
        raise ConfigurationError(
            f"{cls.__name__}: is not opened by an address of {config.engine}; give it a connection"
        )

    # ------------------------------------------------------------------ operations
    def _step(
        self,
        statement: Any,
        params: tuple[Any, ...] | None = None,
        *,
        shown: str | None = None,
        timeout_seconds: float | None = None,
        operation: str | None = None,
    ) -> Step:
        """A statement as a step.

        Args:
            statement: As `_execute` takes it.
            params: Values that the driver binds; shown behind the statement.
            shown: What is shown instead, where the statement holds a password.
            timeout_seconds: Instead of the engine's.
            operation: What it is called in metrics.
        """
        if shown is None:
            shown = f"{statement} -- {', '.join(map(repr, params))}" if params else str(statement)
        return Step(
            shown,
            lambda: self._execute(statement, params, timeout_seconds=timeout_seconds, operation=operation),
        )

    def _carry_out(
        self,
        message: str,
        steps: Iterable[Step],
        *,
        dry_run: bool = False,
        data: Mapping[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> OperationResult:
        """Run the steps in order, or only show them.

        Args:
            message: What is done then, in a sentence.
            steps: What does it.
            dry_run: Whether to run nothing.
            data: More than ``statements`` to return.
            metadata: As given.
        """
        steps = list(steps)
        statements = [self._secrets.hide(step.shown) for step in steps]
        found: dict[str, Any] = {**(data or {}), "statements": statements}
        if dry_run:
            found["dry_run"] = True
            return OperationResult.success_result(f"would have {message}; nothing was run", found, metadata)
        done: list[str] = []
        call = current()
        if call is not None:
            call.check()
            call.begun = True
        try:
            for step, shown in zip(steps, statements, strict=True):
                step.run()
                done.append(shown)
                if call is not None:
                    call.keep()
        except OURS as error:
            vars(error)["result_metadata"] = {"done": done, "failed": statements[len(done)]}
            raise
        return OperationResult.success_result(message, found, metadata)

    def _cannot(self, what: str, why: str, *, use: str) -> OperationResult:
        """A failure: the platform has no such thing.

        Args:
            what: The operation, as `Capability` names it.
            why: What the platform is like, in half a sentence.
            use: What to use instead.
        """
        return OperationResult.failure_result(
            f"{what.replace('_', ' ')} is not possible on {self.system}",
            f"{self.system}: {why}; use {use}",
            metadata={"error_type": "Unsupported", "capability": what},
        )

    def _must_exist(self, kind: str, name: str, names: Iterable[str]) -> None:
        """Raise `ObjectNotFoundError` unless the name is among the names."""
        if name not in set(names):
            raise ObjectNotFoundError(kind, name, self.name)

    # ------------------------------------------------------------------ by means of control=
    def _controlled(
        self, action: str, *, force: bool = False, dry_run: bool = False, timeout_seconds: float | None = None
    ) -> OperationResult:
        """An action of ``control=``."""
        if self.control is None:
            raise ConfigurationError(
                f"{action}: the engine has no way to do it, and does not guess; give it control=, such as PgCtl, "
                f"Systemd, Kubernetes or Command of gds_database.control"
            )
        steps = self.control.steps(action, force=force, timeout_seconds=timeout_seconds or CONTROL_TIMEOUT_SECONDS)
        return self._carry_out(f"{_PAST.get(action, action)} {self.name}", steps, dry_run=dry_run)

    def _controls(self, tested_against: TestedAgainst = TestedAgainst.CHECKED) -> list[Capability]:
        """The capabilities ``build``, ``destroy``, ``startup`` and ``shutdown`` by means of ``control=``.

        Args:
            tested_against: What all of them were run on, whatever the control is.
        """
        found = []
        for name, action in (("build", "build"), ("destroy", "destroy"), ("startup", "start"), ("shutdown", "stop")):
            supported, how = False, "give control=, such as PgCtl, Systemd, Kubernetes or Command"
            if self.control is not None:
                try:
                    self.control.steps(action)
                except ConfigurationError as error:
                    how = str(error)
                else:
                    supported, how = True, f"by control={type(self.control).__name__}"
            found.append(Capability(name, supported, how, tested_against))
        return found

    @operation
    def build(self, *, dry_run: bool = False, timeout_seconds: float | None = None, **kwargs: Any) -> OperationResult:
        """Make the server, by ``control=``."""
        only(kwargs, "build", "dry_run", "timeout_seconds")
        return self._controlled("build", dry_run=dry_run, timeout_seconds=timeout_seconds)

    @operation
    def destroy(
        self, force: bool = False, *, dry_run: bool = False, timeout_seconds: float | None = None, **kwargs: Any
    ) -> OperationResult:
        """Remove the server with all that it holds, by ``control=``."""
        only(kwargs, "destroy", "dry_run", "timeout_seconds")
        return self._controlled("destroy", force=force, dry_run=dry_run, timeout_seconds=timeout_seconds)

    @operation
    def startup(self, *, dry_run: bool = False, timeout_seconds: float | None = None, **kwargs: Any) -> OperationResult:
        """Start the server, by ``control=``."""
        only(kwargs, "startup", "dry_run", "timeout_seconds")
        return self._controlled("start", dry_run=dry_run, timeout_seconds=timeout_seconds)

    @operation
    def shutdown(
        self, force: bool = False, *, dry_run: bool = False, timeout_seconds: float | None = None, **kwargs: Any
    ) -> OperationResult:
        """Stop the server, by ``control=``."""
        only(kwargs, "shutdown", "dry_run", "timeout_seconds")
        return self._controlled("stop", force=force, dry_run=dry_run, timeout_seconds=timeout_seconds)


_PAST = {"start": "started", "stop": "stopped", "build": "built", "destroy": "destroyed", "promote": "promoted"}
