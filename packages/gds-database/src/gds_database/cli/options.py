"""What all commands are told, and how they open an engine and end."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gds_database.control import Control, Kubernetes, PgCtl, Systemd
from gds_database.errors import ConfigurationError, DatabaseConnectionError, QueryError
from gds_database.opening import VAULT, from_vault, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gds_database.engine import DatabaseEngine

__all__ = [
    "ControlBy",
    "DryRun",
    "Force",
    "Json",
    "PasswordFrom",
    "Since",
    "Timeout",
    "Url",
    "Yes",
    "command",
    "control_by",
    "opened",
    "secret",
    "since",
]

F = TypeVar("F", bound="Callable[..., Any]")

FAILED, WRONG = 1, 2

Url = Annotated[
    str,
    typer.Option(
        "--url",
        "-u",
        envvar="GDS_DATABASE_URL",
        help="Where: postgresql://user@host/database, mongodb://..., mssql://..., snowflake://...",
    ),
]
PasswordFrom = Annotated[
    str | None,
    typer.Option(
        "--password-from",
        envvar="GDS_DATABASE_PASSWORD_FROM",
        metavar="SOURCE",
        help="vault://path#field, file:PATH, or prompt. Without it: what the driver finds, such as ~/.pgpass.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the statements and run none.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Without regard to sessions.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="For one statement.")]
Since = Annotated[str, typer.Option("--since", metavar="AGO", help="How far back: 90s, 15m, 2h, 3d, or a time.")]
ControlBy = Annotated[
    str | None,
    typer.Option(
        "--control",
        envvar="GDS_DATABASE_CONTROL",
        metavar="HOW",
        help="pg_ctl:DATA_DIRECTORY, systemd:UNIT, or kubernetes:NAMESPACE/KIND/NAME.",
    ),
]


def command(function: F) -> F:
    """A command whose errors are one line on standard error and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> int:
        try:
            code = function(*args, **kwargs)
        except (ConfigurationError, DatabaseConnectionError, QueryError) as error:
            print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
            return WRONG if isinstance(error, ConfigurationError) else FAILED
        return code if isinstance(code, int) else 0

    return run  # type: ignore[return-value]


@contextmanager
def opened(url: str, password_from: str | None, **settings: Any) -> Iterator[DatabaseEngine]:
    """The engine, for the time of a command."""
    password = secret(password_from)
    if password is not None:
        settings["password"] = password
    # Engines of others need not know what was not asked for.
    engine = open_engine(url, **{name: value for name, value in settings.items() if value is not None})
    try:
        yield engine
    finally:
        engine.close()


def secret(source: str | None) -> str | None:
    """What a source such as ``vault://path#field``, ``file:PATH`` or ``prompt`` has."""
    if source is None:
        return None
    if source.startswith(VAULT):
        return from_vault(source)
    if source == "prompt":
        return str(typer.prompt("Password", hide_input=True, err=True))
    kind, _, path = source.partition(":")
    if kind != "file" or not path:
        # Without the text, which may be the password itself.
        raise ConfigurationError("--password-from: expected vault://path#field, file:PATH or prompt")
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(f"--password-from file:{path}: {error.strerror}") from None


def control_by(text: str | None) -> Control | None:
    """``--control`` as a control."""
    if text is None:
        return None
    kind, _, rest = text.partition(":")
    if rest and kind == "pg_ctl":
        return PgCtl(rest)
    if rest and kind == "systemd":
        return Systemd(rest)
    namespace, _, workload = rest.partition("/")
    if kind == "kubernetes" and "/" in workload:
        return Kubernetes(workload, namespace)
    raise ConfigurationError(
        f"--control {text}: expected pg_ctl:DATA_DIRECTORY, systemd:UNIT or kubernetes:NAMESPACE/KIND/NAME"
    )


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def since(text: str, now: datetime | None = None) -> tuple[datetime, datetime]:
    """The time range from ``--since`` until now, in UTC."""
    end = now or datetime.now(timezone.utc)
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _UNITS:
            return end - timedelta(seconds=float(number) * _UNITS[unit]), end
        return datetime.fromisoformat(text).astimezone(timezone.utc), end
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"--since {text}: expected 90s, 15m, 2h, 3d or a time such as 2026-01-31T12:00"
        ) from None
