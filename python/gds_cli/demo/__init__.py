"""``gds demo``: a program that uses Vault and is watched by all there is here, on one screen; and a database that is.

It needs no server: Vault is `gds_vault.testing.VaultServer`, the hub a folder. It ends with what the program, the page
and the topic counted, each for itself.
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer

from gds_cli._options import Json, Settings  # noqa: TC001 - typer reads annotations when it runs

__all__ = ["demo"]

MISSING_DATABASE = "gds: expected gds-database with psycopg; run: pip install 'gds-telemetry[demo]'"
MISSING = "gds: expected gds-vault with aiohttp; run: pip install 'gds-telemetry[demo]'"


class Chapter(str, Enum):
    """What is played."""

    VAULT = "vault"
    DATABASE = "database"


def demo(
    chapter: Annotated[
        Chapter,
        typer.Argument(help="A program that uses Vault, or a PostgreSQL under load as `gds watch` shows it."),
    ] = Chapter.VAULT,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A real Kafka instead of a hub in a temporary folder.")
    ] = None,
    vault: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A real Vault, with VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID. "
            "Written to only below gds-demo-<random>/, which is deleted at the end.",
        ),
    ] = None,
    prometheus_port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_535, help="Serve the page on 127.0.0.1:N; 0 takes a free port.")
    ] = 0,
    given: Settings = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long; 0 is until Ctrl-C.")] = 25.0,
    no_tui: Annotated[bool, typer.Option("--no-tui", help="A line a second, as where there is no terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Watch a program that uses Vault: metrics, messages and logs at once, without any server; or a database.

    `gds demo database` makes a PostgreSQL in a temporary folder, where one is installed, and watches it while a session
    blocks another one.

    Ctrl-C ends it early, with the summary. The exit code is 0 if program, page and topic counted the same and no secret
    got out, 1 if not, and 130 if a second Ctrl-C did not wait for the summary.
    """
    if chapter is Chapter.DATABASE:
        return _database(seconds, no_tui=no_tui, as_json=as_json)
    try:
        # Which gds_vault itself asks for only when it is used.
        import aiohttp

        from gds_cli.demo import stage
    except ImportError as error:
        # Only what an extra brings may be missing; anything else is a defect, whose traceback is of use.
        if (error.name or "").partition(".")[0] not in ("gds_vault", "hvac", "aiohttp"):
            raise
        print(MISSING, file=sys.stderr)
        return 2
    del aiohttp
    return stage.run(
        stage.Given(kafka, vault, prometheus_port, tuple(given or ()), seconds, no_tui=no_tui, as_json=as_json)
    )


def _database(seconds: float, *, no_tui: bool, as_json: bool) -> int:
    try:
        from gds_cli.demo import database
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("gds_database", "psycopg"):
            raise
        print(MISSING_DATABASE, file=sys.stderr)
        return 2
    return database.run(seconds, no_tui=no_tui, as_json=as_json)
