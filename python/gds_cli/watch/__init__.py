"""``gds watch``: one database server, live in a terminal, without any configuration."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gds_cli.live.show import Ending
    from gds_cli.watch.source import WatchSource

__all__ = ["watch"]

MISSING = "gds: expected gds-database; run: pip install 'gds-telemetry[watch]'"
ALERTS_SECONDS = 1.0
"""How long it may take to be told of alerts; so long a reading may be late for it."""

SECOND_LOOK_SECONDS = 1.0
"""How long --once waits before it looks again, to tell how fast things change."""


def watch(
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            envvar="GDS_DATABASE_URL",
            help="Where: postgresql://user@host/database, mongodb://..., mssql://..., snowflake://...",
        ),
    ],
    password_from: Annotated[
        str | None,
        typer.Option(
            "--password-from",
            envvar="GDS_DATABASE_PASSWORD_FROM",
            metavar="SOURCE",
            help="vault://path#field, file:PATH, or prompt. Without it: what the driver finds, such as ~/.pgpass.",
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            "-n",
            metavar="SECONDS",
            min=0.1,
            help="How often to read: every second by default, every 30 of Snowflake.",
        ),
    ] = None,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="End after so long; 0 is when q is pressed.")
    ] = 0.0,
    alerts: Annotated[
        str | None,
        typer.Option(
            envvar="GDS_ALERT_API",
            metavar="URL",
            help="Where gds alert run listens: alerts of this server are shown. GDS_ALERT_API_TOKEN, or _USER and"
            " _PASSWORD, say who asks.",
        ),
    ] = None,
    alerts_cafile: Annotated[
        Path | None, typer.Option(envvar="GDS_ALERT_API_CAFILE", metavar="FILE", help="Whom to trust behind https.")
    ] = None,
    instance: Annotated[
        str | None, typer.Option(metavar="ID", help="What the monitor calls this server, if not by its host:port.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one picture after two looks at it, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> int:
    """Watch a database server: activity, locks and who blocks whom, statements, replication, space, waits.

    One connection, which only reads; ? shows the keys. Without a terminal it does as with --once. The exit code is 1 if
    the server was not reached.
    """
    try:
        from gds_cli.watch.source import open_source
        from gds_database import ConfigurationError, DatabaseConnectionError, QueryError
        from gds_database.cli.options import secret
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gds_database":
            raise
        print(MISSING, file=sys.stderr)
        return 2
    from gds_cli.live.show import Ending, how
    from gds_cli.live.sources import quiet

    try:
        source = open_source(address, secret(password_from))
    except ConfigurationError as error:
        print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if alerts is not None:
        from gds_cli.alert.client import Client
        from gds_cli.watch.alerts import WithAlerts

        source = WithAlerts(source, Client(alerts, alerts_cafile, timeout_seconds=ALERTS_SECONDS), instance)
    live = not (once or as_json)
    if live and (how(False, False) != "live" or not sys.stdin.isatty()):
        print("gds: there is no terminal to draw on; this is one picture, as with --once", file=sys.stderr)
        live = False
    with quiet("gds_database"), Ending() as ending:
        if live:
            from gds_cli.watch.screen import watch_live
            from gds_cli.watch.ui import Ui

            return watch_live(source, Ui(interval_seconds=interval or source.interval_seconds), ending, duration)
        try:
            return _once(source, ending, as_json)
        except (DatabaseConnectionError, QueryError) as error:
            print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        finally:
            source.close()


def _once(source: WatchSource, ending: Ending, as_json: bool) -> int:
    """Two looks, so that there are rates; all of it at once."""
    source.read()
    ending.asked.wait(SECOND_LOOK_SECONDS)
    picture = source.read()
    if as_json:
        from gds_cli._options import line

        line(picture.as_json())
        return 0
    from rich.console import Console

    from gds_cli.watch.ui import Ui
    from gds_cli.watch.view import printed

    console = Console(file=sys.stdout, highlight=False)
    console.print(printed(picture, Ui(), console.width))
    return 0
