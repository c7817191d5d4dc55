"""``gds alert replay`` and ``gds alert explain``: rules on what was measured before."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_cli._options import Json, Settings, line, settings, table

if TYPE_CHECKING:
    from gds_cli.alert.history import History

__all__ = ["app"]

app = typer.Typer()

FAILED, WRONG = 1, 2
METRICS = r"^gds\.metrics\.[^.]+\..+"
SHOWN_SAMPLES = 5

Rules = Annotated[Path, typer.Option("--rules", "-r", metavar="FILE", help="rules.yaml: rules, routes, channels.")]
Hub = Annotated[
    str | None,
    typer.Option(
        "--hub", "-b", envvar="GDS_BOOTSTRAP_SERVERS", help="host:port, or embedded:PATH for a hub of this machine."
    ),
]
File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Metrics in a file, a message on each line, in its place.")
]
From = Annotated[str, typer.Option("--from", metavar="TIME", help="From when on: ISO 8601, or so long ago, as 2h.")]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until when; now, without it.")]
Topic = Annotated[list[str] | None, typer.Option(help="What to read; ^... is a pattern. May be repeated.")]


@app.command()
def replay(
    rules: Rules,
    since: From = "1d",
    until: To = None,
    hub: Hub = None,
    file: File = None,
    topic: Topic = None,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Say how often rules would have fired, for whom, and how noisily; nobody is told."""
    history, (effects, noise) = _replayed(rules, since, until, hub, file, topic, given)
    if as_json:
        for effect in effects:
            if "transition" in effect:
                line({"transition": effect["transition"]})
        for rule, counts in noise.items():
            line({"rule": rule, **counts})
        return 0
    rows = []
    for rule, counts in noise.items():
        noisiest = max(counts["keys"], key=counts["keys"].get, default="")
        told = sum(counts["notifications"].values())
        often = f"{noisiest} ({counts['keys'][noisiest]}x)" if noisiest else ""
        rows.append((rule, counts["fired"], counts["resolved"], counts["no_data"], told, len(counts["keys"]), often))
    table(("rule", "fired", "resolved", "no data", "told", "alerts", "most often"), rows)
    skipped = f", and {history.skipped} messages that are no metrics" if history.skipped else ""
    print(f"{len(history.samples)} samples{skipped}")
    return 0


@app.command()
def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of the alert, as gds alert list shows it.")],
    rules: Rules,
    since: From = "1d",
    until: To = None,
    hub: Hub = None,
    file: File = None,
    topic: Topic = None,
    given: Settings = None,
    as_json: Json = False,
) -> int:
    """Say why an alert is what it is: each change of it with its reason, and the samples that led there."""
    history, (effects, _) = _replayed(rules, since, until, hub, file, topic, given)
    changes = [effect["transition"] for effect in effects if "transition" in effect]
    found = [each for each in changes if each["key"] == key]
    if not found:
        others = sorted({each["key"] for each in changes})
        print(f"gds: {key} was nothing but well within {len(history.samples)} samples", file=sys.stderr)
        for other in others[:10]:
            print(f"gds: there was {other}", file=sys.stderr)
        return FAILED
    samples = _samples(history, found[0]["labels"])
    for change in found:
        before = [each for each in samples if each[0] <= change["at_ms"]][-SHOWN_SAMPLES:]
        samples = [each for each in samples if each[0] > change["at_ms"]]
        if as_json:
            shown = [{"time_ms": at_ms, "value": value, "tags": tags} for at_ms, value, tags in before]
            line({"transition": change, "samples": shown})
            continue
        for at_ms, value, tags in before:
            labels = ", ".join(f"{name}={text}" for name, text in tags.items())
            print(f"    {_time(at_ms)}  {value}  {labels}".rstrip())
        value = f" at {change['value']}" if change["value"] else ""
        print(f"{_time(change['at_ms'])}  {change['from']} -> {change['to']}{value}: {change['reason']}")
    return 0


def _samples(history: History, labels: dict[str, str]) -> list[tuple[int, str, dict[str, str]]]:
    """Those of the metric and instance, by the time at which they were measured."""
    found = [
        (at_ms, text, tags)
        for _, _, (metric, instance, _, tags, _, text, at_ms) in history.samples
        if metric == labels.get("metric") and tags.get("instance_id", instance) == labels.get("instance_id", "")
    ]
    return sorted(found, key=lambda sample: sample[0])


def _replayed(
    rules: Path,
    since: str,
    until: str | None,
    hub: str | None,
    file: Path | None,
    topic: list[str] | None,
    given: list[str] | None,
) -> tuple[History, tuple[list[dict[str, Any]], dict[str, Any]]]:
    from gds_cli.alert.history import moment, of_file, of_hub
    from gds_native._lib import replay_alerts

    if (hub is None) == (file is None):
        raise typer.BadParameter("expected --hub or --file: where the metrics are")
    since_ms = moment("--from", since)
    until_ms = round(time.time() * 1000) if until is None else moment("--to", until)
    if since_ms >= until_ms:
        raise typer.BadParameter(f"--from {since}: is not before --to")
    text = rules.read_text("utf-8")
    if file is None:
        history = of_hub(str(hub), settings(given), topic or [METRICS], since_ms, until_ms)
    else:
        history = of_file(file, since_ms, until_ms)
        if until is None and history.samples:
            until_ms = history.samples[-1][0]
    try:
        # The clock goes on to the end, so that silence is seen.
        return history, json.loads(replay_alerts(text, history.samples, until_ms))
    except ValueError as error:
        for each in str(error).splitlines():
            print(f"gds: {rules}:{each}", file=sys.stderr)
        raise typer.Exit(WRONG) from None


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
