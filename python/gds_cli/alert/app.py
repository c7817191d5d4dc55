"""The commands of ``gds alert``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gds_cli._options import Json, Settings, line, settings
from gds_cli.alert.looking import app as looking
from gds_cli.alert.people import app as people
from gds_cli.alert.shipped import app as shipped

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["app"]

FAILED, WRONG = 1, 2
SURVEY_SECONDS = 60.0

app = typer.Typer(no_args_is_help=True, help="Watch for alerts: rules in a file, samples from a hub.")
# Those who deal with alerts that are open.
app.registered_commands.extend(people.registered_commands)
app.registered_commands.extend(shipped.registered_commands)
app.registered_commands.extend(looking.registered_commands)

RulesFile = Annotated[Path, typer.Option("--rules", "-r", metavar="FILE", help="rules.yaml: rules, routes, channels.")]
ADDRESS = "host:port, several with commas, or embedded:PATH for a hub in a folder of this machine."
Hub = Annotated[str, typer.Option("--hub", "-b", envvar="GDS_BOOTSTRAP_SERVERS", help=ADDRESS)]
FilePath = Annotated[Path | None, typer.Option(metavar="FILE")]


@app.command()
def run(
    rules: RulesFile,
    hub: Hub,
    group: Annotated[str, typer.Option(help="Rules that run apart have groups of their own.")] = "default",
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where state is kept. Without it beside the hub, or in this folder."),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="What to read; ^... is a pattern. All topics of metrics without it. May be repeated."),
    ] = None,
    vault_secret: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A secret of Vault that holds credentials by their names, as variables do."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Answer the API there, such as 127.0.0.1:9095.")
    ] = None,
    certfile: FilePath = None,
    keyfile: FilePath = None,
    client_cafile: FilePath = None,
    bearer_token_file: FilePath = None,
    basic_auth_file: FilePath = None,
    given: Settings = None,
) -> int:
    """Watch until Ctrl-C. The file is read again when it has changed, and with SIGHUP."""
    from gds_cli.alert.watching import Watching

    api: dict[str, object] | None = None
    if listen is not None:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise typer.BadParameter(f"--listen {listen}: expected HOST:PORT, such as 127.0.0.1:9095")
        api = {
            "addr": host,
            "port": int(port),
            "certfile": certfile,
            "keyfile": keyfile,
            "client_cafile": client_cafile,
            "bearer_token_file": bearer_token_file,
            "basic_auth_file": basic_auth_file,
        }
    try:
        return Watching(rules, hub, settings(given), group, state, topic or [], vault_secret, api).run()
    except ValueError as error:
        _complain(rules, str(error).splitlines())
        return WRONG


def _complain(file: Path, lines: Iterable[str]) -> None:
    """Each line begins with a place in the file, or with what it is about."""
    for each in lines:
        print(f"gds: {file}:{each}" if each[:1].isdigit() else f"gds: {each}", file=sys.stderr)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of rules.")],
    hub: Annotated[str | None, typer.Option("--hub", "-b", help=f"Look up names of metrics there. {ADDRESS}")] = None,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Say what is wrong with rules, and what nobody can have meant; each with line and column."""
    from gds_native._lib import check_alert_rules

    metrics = None if hub is None else _metrics(hub, given)
    failed = False
    for file in files:
        errors, doubts = check_alert_rules(file.read_text("utf-8"), metrics)
        failed = failed or bool(errors or doubts)
        for level, found in (("error", errors), ("doubt", doubts)):
            for row, column, key, message in found:
                if as_json:
                    fields = {"file": str(file), "line": row, "column": column, "key": key, "message": message}
                    line(fields | {"level": level})
                else:
                    print(f"{file}:{row}:{column}: {level}: {key + ': ' if key else ''}{message}")
        if not (errors or doubts or as_json):
            print(f"{file}: nothing is wrong")
    return FAILED if failed else 0


def _metrics(hub: str, given: list[str] | None) -> set[str]:
    from gds_kafka._client import log, opening
    from gds_native._lib import hub_metrics

    opened = opening(hub, settings(given))
    return hub_metrics(
        opened.servers, opened.config, opened.librdkafka, timeout=SURVEY_SECONDS, log=log, token=opened.token
    )


@app.command("test")
def run_cases(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tests of rules: docs/alerting.md.")],
    as_json: Json = False,
) -> int:
    """Run tests of rules: series, and the transitions and notifications that are expected."""
    from gds_native._lib import run_alert_case

    code = 0
    for file in files:
        try:
            description, differences = run_alert_case(file.read_text("utf-8"), file.parent)
        except ValueError as error:
            _complain(file, str(error).splitlines())
            code = WRONG
            continue
        if differences:
            code = max(code, FAILED)
        if as_json:
            line({"file": str(file), "description": description, "differences": differences})
            continue
        print(f"{'FAILED' if differences else 'ok'}  {file}: {description}")
        for difference in differences:
            print(f"    {difference}")
    return code
