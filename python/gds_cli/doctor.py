"""``gds doctor``: what a program that reports metrics, logs and messages needs, looked at one after the other.

Each check has a bounded time, and after one that failed the others go on. Nothing is written to a topic unless that is
asked for, and no secret is shown.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from gds_cli._options import Json, Settings, line, settings
from gds_cli.checks import FAILED, OK, WARNING, Finding, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Check", "checked", "doctor"]

SPARE_SECONDS = 2.0
"""What a check takes beside waiting for answers."""

COLOURS = {OK: "green", WARNING: "yellow", FAILED: "red"}


class Check(NamedTuple):
    """A finding, and what it is about."""

    check: str
    level: str
    found: str
    remedy: str


def doctor(
    servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers",
            "-b",
            envvar="GDS_BOOTSTRAP_SERVERS",
            help="Brokers to reach: host:port, several with commas, or embedded:PATH.",
        ),
    ] = None,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="A topic to describe and read. May be repeated.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Also send a message to each --topic.")] = False,
    vault: Annotated[
        str | None, typer.Option("--vault", metavar="URL", envvar="VAULT_ADDR", help="A Vault to reach.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65_535, help="A port that PrometheusMetrics is to listen on.")
    ] = None,
    spool: Annotated[Path | None, typer.Option("--spool", metavar="DIR", help="A spool_dir.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds that each check may wait.")] = 5.0,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Check what a setup needs, and say what to do about each thing that is missing.

    The exit code is 0 if nothing failed, and 1 otherwise.
    """
    if topics and servers is None:
        raise typer.BadParameter("--topic: expected the brokers that have it, with -b HOST:PORT")
    if write and not topics:
        raise typer.BadParameter("--write: expected the topics to send a message to, with --topic NAME")
    # Here, so that other commands do not load what the checks need.
    from gds_cli.checks import hub, installed, machine
    from gds_cli.checks.vault import vault_steps

    steps: Steps = [*installed.steps()]
    if servers is not None:
        steps += hub.steps(servers, topics or [], write, settings(given), timeout)
    steps += vault_steps(vault, timeout)
    if port is not None:
        steps.append((f"port {port}", partial(machine.port_free, port)))
    if spool is not None:
        steps.append((f"spool {spool}", partial(machine.spool_usable, spool)))
    # A check says itself what is wrong; librdkafka's lines about it would stand between.
    logging.getLogger("gds_kafka").addHandler(logging.NullHandler())
    failed = False
    for check in checked(steps, timeout):
        failed |= check.level == FAILED
        if as_json:
            line(check._asdict())
        else:
            _show(check)
    return 1 if failed else 0


def checked(steps: Iterable[tuple[str, Callable[[], Finding]]], seconds: float) -> Iterator[Check]:
    """Each check's finding, in order; of one that does not come to an end, that it does not.

    Args:
        steps: The checks by name.
        seconds: How long a check waits for one answer. It may ask for three.
    """
    timeout = 3 * seconds + SPARE_SECONDS
    for name, step in steps:
        found: list[Finding] = []
        # A thread, since looking up a name and asking a disk over a network have no time limit of their own.
        thread = threading.Thread(target=_run, args=(step, found), name=f"gds doctor: {name}", daemon=True)
        thread.start()
        thread.join(timeout)
        if not found:
            found.append(Finding(FAILED, f"no end after {timeout:g} s", "see what it waits for, or raise --timeout"))
        yield Check(name, *found[0])


def _run(step: Callable[[], Finding], found: list[Finding]) -> None:
    try:
        found.append(step())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are of use
        # Without its text, which may hold anything.
        found.append(Finding(FAILED, f"the check itself failed: {type(error).__name__}", "report it"))


def _show(check: Check) -> None:
    level = typer.style(f"{check.level:8}", fg=COLOURS[check.level], bold=True)
    typer.echo(f"{level} {check.check}: {check.found}")
    if check.remedy:
        typer.echo(f"{'':9}-> {check.remedy}")
