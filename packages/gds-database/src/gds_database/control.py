"""How a server is started, stopped, built and destroyed: told with ``control=``, never guessed.

    from gds_database.control import PgCtl

    engine = PostgreSQLEngine(connection, control=PgCtl("/var/lib/postgresql/15/main"))
    engine.shutdown(dry_run=True).data["statements"]  # ['pg_ctl stop --pgdata=/var/lib/postgresql/15/main ...']

Any object with the method ``steps`` of `Control` will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gds_database.errors import ConfigurationError
from gds_database.tools import tool_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_database.plan import Step

__all__ = ["ACTIONS", "Command", "Control", "Kubernetes", "PgCtl", "Systemd"]

ACTIONS = ("start", "stop", "restart", "reload", "promote", "build", "destroy")
"""What may be asked of a control."""


@runtime_checkable
class Control(Protocol):
    """Has power over a server's process."""

    def steps(self, action: str, *, force: bool = False, timeout_seconds: float = 60.0) -> Sequence[Step]:
        """What an action takes; running the steps in order does it.

        Args:
            action: One of `ACTIONS`.
            force: Without waiting for sessions.
            timeout_seconds: When each step is given up.

        Raises:
            ConfigurationError: This control has no such action; the message says what has.
        """
        ...


class _Commands:
    """A control whose actions are command lines."""

    def _commands(self, action: str, force: bool, timeout_seconds: float) -> Sequence[Sequence[str]] | None:
        raise NotImplementedError

    def steps(self, action: str, *, force: bool = False, timeout_seconds: float = 60.0) -> Sequence[Step]:
        """What an action takes; see `Control`."""
        if action not in ACTIONS:
            raise ConfigurationError(f"action={action!r}: expected one of {', '.join(ACTIONS)}")
        commands = self._commands(action, force, timeout_seconds)
        if not commands:
            raise ConfigurationError(
                f"{type(self).__name__} has no way to {action}; use control=Command({action}=[...]) with what does"
            )
        return [tool_step(argv, timeout_seconds=timeout_seconds) for argv in commands]


@dataclass(frozen=True)
class PgCtl(_Commands):
    """PostgreSQL by ``pg_ctl``, on the machine of the server and as the user it runs as.

    Attributes:
        data_directory: The server's.
        program: ``pg_ctl`` or a path to it.
        log_file: Where the server writes before its own log begins; without it, nowhere.
        options: Arguments of the server, such as ``-c port=5433``.
        build_options: Arguments of ``initdb``.
    """

    data_directory: str
    program: str = "pg_ctl"
    log_file: str | None = None
    options: str | None = None
    build_options: str | None = None

    def _commands(self, action: str, force: bool, timeout_seconds: float) -> Sequence[Sequence[str]] | None:
        if action == "destroy":
            return None
        where = f"--pgdata={self.data_directory}"
        wait = ["--wait", f"--timeout={max(1, int(timeout_seconds))}"]
        if action == "build":
            options = ["-o", self.build_options] if self.build_options else []
            return [[self.program, "initdb", where, *options]]
        if action == "reload":
            return [[self.program, action, where]]
        argv = [self.program, action, where, *wait]
        if action in {"stop", "restart"}:
            argv.append(f"--mode={'immediate' if force else 'fast'}")
        if action in {"start", "restart"}:
            # The server inherits the pipes of pg_ctl and keeps them open, unless its output goes elsewhere.
            argv.append(f"--log={self.log_file or '/dev/null'}")
            if self.options:
                argv += ["-o", self.options]
        return [argv]


@dataclass(frozen=True)
class Systemd(_Commands):
    """A unit of systemd.

    Attributes:
        unit: Such as ``postgresql@15-main``.
        user: Whether it is one of this user's, not of the system's.
        program: ``systemctl``, or what has the right to run it, such as ``["sudo", "systemctl"]``.
    """

    unit: str
    user: bool = False
    program: Sequence[str] = ("systemctl",)

    def _commands(self, action: str, force: bool, timeout_seconds: float) -> Sequence[Sequence[str]] | None:
        del timeout_seconds
        base = [*self.program, *(["--user"] if self.user else [])]
        if action == "stop" and force:
            return [[*base, "kill", "--signal=SIGKILL", self.unit], [*base, "stop", self.unit]]
        return [[*base, action, self.unit]] if action in {"start", "stop", "restart", "reload"} else None


@dataclass(frozen=True)
class Kubernetes(_Commands):
    """A workload of Kubernetes, by ``kubectl``.

    It is stopped within the grace period of its pods. That cannot be forced, since kubectl knows pods by their labels
    and not by their workload.

    Attributes:
        workload: Such as ``statefulset/postgres``.
        namespace: Where it is.
        replicas: How many a start asks for.
        manifest: A file that ``build`` applies and ``destroy`` deletes.
        context: Of kubectl's configuration; by default the current one.
        program: ``kubectl`` or a path to it.
    """

    workload: str
    namespace: str = "default"
    replicas: int = 1
    manifest: str | None = None
    context: str | None = None
    program: str = "kubectl"

    def _commands(self, action: str, force: bool, timeout_seconds: float) -> Sequence[Sequence[str]] | None:
        base = [self.program, f"--namespace={self.namespace}"]
        if self.context:
            base.append(f"--context={self.context}")
        settled = [*base, "rollout", "status", self.workload, f"--timeout={max(1, int(timeout_seconds))}s"]
        match action:
            case "start":
                return [[*base, "scale", self.workload, f"--replicas={self.replicas}"], settled]
            case "stop" | "restart" if force:
                first = "stop it without force first, and then " if action == "stop" else ""
                raise ConfigurationError(
                    f"force: Kubernetes can only {action} {self.workload} within the grace period of its pods; "
                    f"{first}use kubectl delete pods --namespace={self.namespace} --selector=... --grace-period=0 "
                    f"--force"
                )
            case "stop":
                return [[*base, "scale", self.workload, "--replicas=0"], settled]
            case "restart":
                return [[*base, "rollout", "restart", self.workload], settled]
            case "build" if self.manifest:
                return [[*base, "apply", f"--filename={self.manifest}"], settled]
            case "destroy" if self.manifest:
                now = ["--grace-period=0", "--force"] if force else []
                return [[*base, "delete", f"--filename={self.manifest}", *now]]
        return None


@dataclass(frozen=True)
class Command(_Commands):
    """Command lines of your own, as lists of arguments; they hold no secret.

    Attributes:
        start, stop, restart, reload, promote, build, destroy: What does each; empty if nothing does.
        forced: Actions that have another command line when force is asked for.
    """

    start: Sequence[str] = ()
    stop: Sequence[str] = ()
    restart: Sequence[str] = ()
    reload: Sequence[str] = ()
    promote: Sequence[str] = ()
    build: Sequence[str] = ()
    destroy: Sequence[str] = ()
    forced: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for action in ACTIONS:
            argv = self.forced.get(action) or getattr(self, action)
            if isinstance(argv, str):
                raise ConfigurationError(f"{action}={argv!r}: expected a list of arguments, such as ['systemctl', ...]")

    def _commands(self, action: str, force: bool, timeout_seconds: float) -> Sequence[Sequence[str]] | None:
        del timeout_seconds
        argv: Sequence[str] = (self.forced.get(action) if force else None) or getattr(self, action)
        return [argv] if argv else None
