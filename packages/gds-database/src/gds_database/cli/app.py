"""The commands of ``gds db``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_database.cli.options import (
    ControlBy,
    DryRun,
    Force,
    Json,
    PasswordFrom,
    Since,
    Timeout,
    Url,
    Yes,
    command,
    control_by,
    opened,
    secret,
    since,
)
from gds_database.cli.output import confirmed, fields, line, outcome, progressing, rows, size
from gds_database.metadata import BackupType

if TYPE_CHECKING:
    from gds_database.database import Database
    from gds_database.engine import DatabaseEngine

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Databases: list, create, back up, restore; users, sessions, settings, metrics, logs, replication, failover.",
)

TIMEOUT_SECONDS = 30.0
LONG_SECONDS = 24 * 3600.0

Name = Annotated[str, typer.Argument(help="The database.")]
Limit = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="For all of it.")]


# ------------------------------------------------------------------ looking
@app.command("list")
@command
def list_(
    url: Url, password_from: PasswordFrom = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: Json = False
) -> None:
    """The databases."""
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        rows(
            (_described(each, as_json) for each in engine.list_databases()),
            ("name", "size", "owner", "state", "collation"),
            as_json=as_json,
        )


def _described(database: Database, as_json: bool) -> dict[str, Any]:
    found = vars(database.metadata) | {"name": database.name}
    extra = found.pop("additional_attributes", None) or {}
    return {**extra, **found} if as_json else {**found, "size": size(found.get("size_bytes"))}


@app.command()
@command
def info(
    url: Url, password_from: PasswordFrom = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: Json = False
) -> None:
    """The server: version, clock, role, databases, sessions."""
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        found = vars(engine.metadata).copy()
        more = found.pop("additional_attributes", None) or {}
        found |= {"name": engine.name, "server_time": engine.get_server_time()}
        status = engine.get_replication_status()
        found |= {"role": status.role, "replication": status.mode, "partners": status.partners}
        found["databases"] = [each.name for each in engine.list_databases()]
        if engine.capabilities().supports("list_processes"):
            found["sessions"] = len(engine.list_processes())
        found |= {name: value for name, value in more.items() if name not in found}
        fields({name: value for name, value in found.items() if value is not None}, as_json=as_json)


@app.command()
@command
def capabilities(url: Url, password_from: PasswordFrom = None, as_json: Json = False) -> None:
    """What can be done on this platform, how, and what that was tested against."""
    with opened(url, password_from) as engine:
        found = engine.capabilities().to_dict().values()
        rows(found, ("name", "supported", "tested_against", "how"), as_json=as_json)


@app.command()
@command
def users(
    url: Url, password_from: PasswordFrom = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: Json = False
) -> None:
    """The users."""
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        rows(({"name": name} for name in engine.list_users()), ("name",), as_json=as_json)


@app.command()
@command
def processes(
    url: Url,
    every: Annotated[bool, typer.Option("--all", help="Idle ones, too.")] = False,
    password_from: PasswordFrom = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: Json = False,
) -> None:
    """The sessions: who, since when, what they wait for, and who blocks them."""
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        found = engine.list_processes()
        if not every and not as_json:
            found = [each for each in found if each.get("state") != "idle" or each.get("blocked_by")]
        columns = ("id", "user", "database", "state", "seconds", "wait", "blocked_by", "client", "statement")
        rows(found, columns, as_json=as_json)


@app.command()
@command
def replication(
    url: Url, password_from: PasswordFrom = None, timeout: Timeout = TIMEOUT_SECONDS, as_json: Json = False
) -> None:
    """How far the copies are."""
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        found = dict(vars(engine.get_replication_status()))
        nodes = found.pop("nodes", None)
        if as_json:
            line({**found, "nodes": nodes or []})
            return
        fields(found, as_json=False)
        if nodes:
            rows(nodes, ("name", "role", "state", "lag_seconds", "lag_bytes", "sync_state"), as_json=False)


@app.command()
@command
def metrics(
    url: Url,
    ago: Since = "5m",
    name: Annotated[str, typer.Option(help="Only names that hold this.")] = "",
    password_from: PasswordFrom = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: Json = False,
) -> None:
    """Metrics of a time range."""
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        found = (vars(each) for each in engine.get_metrics(*since(ago)) if name in each.name)
        rows(found, ("name", "value", "unit", "labels", "timestamp"), as_json=as_json)


@app.command()
@command
def logs(
    url: Url,
    ago: Since = "1h",
    level: Annotated[str | None, typer.Option(help="Only lines of this level.")] = None,
    password_from: PasswordFrom = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    as_json: Json = False,
) -> None:
    """The log of a time range."""
    options: dict[str, Any] = {} if level is None else {"level": level}
    with opened(url, password_from, timeout_seconds=timeout) as engine:
        found = (vars(each) for each in engine.get_logs(*since(ago), **options))
        rows(found, ("timestamp", "level", "source", "message"), as_json=as_json)


# ------------------------------------------------------------------ databases
@app.command()
@command
def create(name: Name, url: Url, password_from: PasswordFrom = None, as_json: Json = False) -> int:
    """Create a database."""
    with opened(url, password_from) as engine:
        return outcome(engine.get_database(name).create(), as_json=as_json)


@app.command()
@command
def drop(
    name: Name,
    url: Url,
    force: Force = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Drop a database."""
    with opened(url, password_from) as engine:
        ask = partial(engine.get_database(name).drop, force)
        return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
@command
def backup(
    name: Name,
    path: Annotated[str, typer.Argument(help="Where to; on the server where the platform writes there.")],
    url: Url,
    kind: Annotated[BackupType, typer.Option("--type", help="How much.")] = BackupType.FULL,
    timeout: Limit = LONG_SECONDS,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Back a database up."""
    with opened(url, password_from) as engine, progressing(f"backing up {name}", as_json=as_json) as progress:
        options = _long(engine, timeout, progress)
        result = engine.get_database(name).backup(path, kind, **options)
    return outcome(result, as_json=as_json)


@app.command()
@command
def restore(
    name: Name,
    path: Annotated[str, typer.Argument(help="Where from.")],
    url: Url,
    dry_run: DryRun = False,
    yes: Yes = False,
    timeout: Limit = LONG_SECONDS,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Restore a database."""
    with opened(url, password_from) as engine:

        def ask(*, dry_run: bool = False) -> Any:
            if dry_run:
                return engine.get_database(name).restore(path, dry_run=True)
            with progressing(f"restoring {name}", as_json=as_json) as progress:
                return engine.get_database(name).restore(path, **_long(engine, timeout, progress))

        return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)


def _long(engine: DatabaseEngine, timeout: float, progress: Any) -> dict[str, Any]:
    """Options of what takes long, which engines of others need not know."""
    from gds_database.engines._base import EngineBase

    return {"timeout_seconds": timeout, "progress": progress} if isinstance(engine, EngineBase) else {}


# ------------------------------------------------------------------ users and sessions
@app.command("create-user")
@command
def create_user(
    name: Annotated[str, typer.Argument(help="The user; the password is asked for.")],
    url: Url,
    role: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    new_password_from: Annotated[
        str, typer.Option(metavar="SOURCE", help="vault://path#field, file:PATH, or prompt.")
    ] = "prompt",  # noqa: S107 - where it comes from
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Create a user."""
    password = secret(new_password_from) or ""
    with opened(url, password_from) as engine:
        options = {"roles": role} if role else {}
        return outcome(engine.create_user(name, password, **options), as_json=as_json)


@app.command("drop-user")
@command
def drop_user(
    name: Annotated[str, typer.Argument(help="The user.")],
    url: Url,
    dry_run: DryRun = False,
    yes: Yes = False,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Drop a user."""
    with opened(url, password_from) as engine:
        ask = partial(engine.drop_user, name)
        return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
@command
def kill(
    process: Annotated[str, typer.Argument(help="The id of a session, as `gds db processes` shows it.")],
    url: Url,
    dry_run: DryRun = False,
    yes: Yes = False,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """End a session."""
    with opened(url, password_from) as engine:
        ask = partial(engine.kill_process, process)
        return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)


# ------------------------------------------------------------------ the server
@app.command()
@command
def config(
    url: Url,
    name: Annotated[str | None, typer.Argument(help="One setting; without it all.")] = None,
    value: Annotated[str | None, typer.Argument(help="Its new value.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """The settings; with NAME one of them, with VALUE set it."""
    with opened(url, password_from) as engine:
        if name is not None and value is not None:
            ask = partial(engine.set_configuration, name, value)
            return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)
        if name is not None:
            fields(engine.get_setting(name), as_json=as_json)
            return 0
        found = ({"name": each, "value": value} for each, value in engine.get_configuration().items())
        rows(found, ("name", "value"), as_json=as_json)
        return 0


@app.command()
@command
def failover(
    url: Url,
    target: Annotated[str | None, typer.Argument(help="The node that takes over; by default the best.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    password_from: PasswordFrom = None,
    control: ControlBy = None,
    as_json: Json = False,
) -> int:
    """Let another node take over."""
    with opened(url, password_from, control=control_by(control)) as engine:
        ask = partial(engine.failover, target)
        with progressing("failing over", as_json=as_json or not yes):
            return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
@command
def stop(
    url: Url,
    control: ControlBy = None,
    force: Force = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Stop the server."""
    with opened(url, password_from, control=control_by(control)) as engine:
        ask = partial(engine.shutdown, force)
        return confirmed(ask, engine.name, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
@command
def start(
    url: Url,
    control: ControlBy = None,
    dry_run: DryRun = False,
    password_from: PasswordFrom = None,
    as_json: Json = False,
) -> int:
    """Start the server."""
    with opened(url, password_from, control=control_by(control), connect=False) as engine:
        return outcome(engine.startup(dry_run=dry_run), as_json=as_json)
