"""``gds top``: rates, percentiles, errors, topics and logs of what runs, in a terminal."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from gds_cli._options import Json, Settings, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_cli.live.model import Model
    from gds_cli.live.show import Ending
    from gds_cli.live.sources import Source

__all__ = ["top"]

JOIN_SECONDS = 5.0
ONCE_SECONDS, LOOK_SECONDS = 5.0, 1.5
"""How long --once waits for the first answer of each source, and then for those that tell how fast things change."""

ROWS = 1000
"""Of what does not have to fit a terminal."""


def top(
    metrics: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A page of metrics: http://host:port/metrics or host:port. May be repeated."),
    ] = None,
    servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers", "-b", envvar="GDS_BOOTSTRAP_SERVERS", help="A hub: host:port, several with commas."
        ),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Show how far this group is behind. May be repeated.")
    ] = None,
    logs_topic: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Show the last lines of this topic of log records.")
    ] = None,
    given: Settings = None,
    seconds: Annotated[float, typer.Option(min=0, help="End after so long; 0 is when Ctrl-C is pressed.")] = 0.0,
    once: Annotated[bool, typer.Option("--once", help="Show what there is after two looks at it, and end.")] = False,
    no_tui: Annotated[bool, typer.Option("--no-tui", help="A line a second, as where there is no terminal.")] = False,
    as_json: Json = False,
) -> int:
    """Watch any pages of metrics and any hub: rates, percentiles, errors, throughput, lag and log lines.

    Rates and percentiles are those of the last 10 seconds, over all pages together. What cannot be reached is shown as
    such and tried again. Ctrl-C ends it with exit code 0; the code is 1 if with --once a source was not reached.
    """
    if not metrics and not servers:
        raise typer.BadParameter("expected --metrics URL or --bootstrap-servers, or both")
    if not servers and (group or logs_topic):
        raise typer.BadParameter("--group and --logs-topic: expected --bootstrap-servers with them")
    from gds_cli.live.model import Model
    from gds_cli.live.show import Ending, how, show
    from gds_cli.live.sources import HubSource, LogsSource, PageSource, quiet
    from gds_cli.live.view import Heading

    model = Model()
    try:
        sources: list[Source] = [PageSource(model, url) for url in dict.fromkeys(metrics or ())]
    except ValueError as error:
        raise typer.BadParameter(f"--metrics: {error}") from None
    if servers:
        sources.append(HubSource(model, servers, group or (), given))
        if logs_topic:
            sources.append(LogsSource(model, servers, logs_topic, given))
    with quiet("gds_kafka"), Ending() as ending:
        for source in sources:
            source.start()
        try:
            if once:
                return _once(model, sources, ending, as_json)
            show(model, how(as_json, no_tui), ending, lambda: Heading("gds top", seconds=seconds), seconds)
            return 0
        finally:
            for source in sources:
                source.stop()
            for source in sources:
                source.join(JOIN_SECONDS)


def _once(model: Model, sources: Sequence[Source], ending: Ending, as_json: bool) -> int:
    """Two looks, so that there are rates; all of it at once."""
    begin = monotonic()
    for source in sources:
        source.asked.wait(ONCE_SECONDS)
    ending.asked.wait(LOOK_SECONDS)
    shown = model.snapshot(monotonic() - begin)
    if as_json:
        line(shown.as_json())
    else:
        from rich.console import Console

        from gds_cli.live.view import Heading, render

        console = Console(file=sys.stdout)
        console.print(render(shown, Heading("gds top"), console.width, ROWS))
    return 0 if all(state.reachable for state in shown.sources) else 1
