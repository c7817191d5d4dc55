"""The command ``gds query``."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_cli._options import Json, line
from gds_cli.query.moments import moment, seconds, shown

if TYPE_CHECKING:
    from gds_cli.query.asked import Answer, Asked, QueryError, Series

__all__ = ["named", "query"]

FAILED, WRONG = 1, 2
HOUR_SECONDS = 3_600.0
STEPS = 120
"""How many steps there are where no distance is given: about as many dots as a terminal has columns."""

ROWS = 15
COMPLETION_SECONDS = 2.0
BARS = 20


def _asked(store: Path | None, url: str | None, timeout_seconds: float) -> Asked:
    from gds_cli.query.asked import StoreAsked, UrlAsked

    if (store is None) == (url is None):
        raise typer.BadParameter("expected --store PATH or --url URL, one of them")
    if url is None:
        assert store is not None  # noqa: S101 - one of them, as was just seen
        return StoreAsked(store)
    try:
        return UrlAsked(url, timeout_seconds)
    except ValueError as error:
        raise typer.BadParameter(f"--url: {error}") from None


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of metrics and labels, where it is known by now who has them."""
    from gds_cli.query.asked import QueryError
    from gds_cli.query.completion import complete
    from gds_store.errors import GdsStoreError

    try:
        asked = _asked(ctx.params.get("store"), ctx.params.get("url"), COMPLETION_SECONDS)
        return complete(incomplete, asked)
    except (typer.BadParameter, OSError, ValueError, QueryError, GdsStoreError):
        # Whoever presses a key wants no error.
        return []


def query(
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="PromQL.", autocompletion=_complete, show_default=False)
    ],
    store: Annotated[
        Path | None, typer.Option("--store", envvar="GDS_STORE", metavar="PATH", help="The folder of a store.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", envvar="GDS_QUERY_URL", metavar="URL", help="A server such as http://127.0.0.1:9090."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Evaluate it once, at this time instead of now.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Evaluate it at each step from here on.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until here instead of now.")] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="TIME", help="How far the steps are from each other: 15s, 5m.")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row for each sample, a column for each label.")] = False,
    as_plot: Annotated[bool, typer.Option("--plot", help="Draw it; the last hour where --from does not say.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds that it may take.")] = 120.0,
) -> int:
    """Evaluate PromQL, on a store of this machine or on a server.

    A time is a duration before now (1h), seconds since 1970, or a date and time (2026-01-31T12:00:00Z). The code is 2
    if the query cannot be read, and 1 if it has no answer.
    """
    from gds_cli.query.asked import QueryError

    if as_json + as_csv + as_plot > 1:
        raise typer.BadParameter("expected at most one of --json, --csv and --plot")
    asked = _asked(store, url, timeout)
    try:
        span = _span(at, begin, end, step, range_wanted=as_plot)
        answer = asked.query_range(expression, *span) if span[2] else asked.query(expression, span[1])
    except QueryError as error:
        _point_at(expression, error)
        return WRONG if error.wrong else FAILED
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    for said in answer.said:
        print(f"gds: {' '.join(said.split())}", file=sys.stderr)
    if as_plot:
        _as_plot(answer, span)
    else:
        (_as_json if as_json else _as_csv if as_csv else _as_table)(answer)
    return 0


def _span(
    at: str | None, begin: str | None, end: str | None, step: str | None, *, range_wanted: bool
) -> tuple[float, float, float]:
    """Start, end and distance of the steps; no distance where it is evaluated once, at the end."""
    now = time.time()
    if at is not None:
        if (begin, end, step) != (None, None, None) or range_wanted:
            raise ValueError("--at: expected no --from, --to, --step or --plot with it")
        once = moment(at, now)
        return once, once, 0.0
    if begin is None and not range_wanted:
        if end or step:
            raise ValueError("--to and --step: expected --from with them")
        return now, now, 0.0
    finish = now if end is None else moment(end, now)
    start = finish - HOUR_SECONDS if begin is None else moment(begin, now)
    if finish < start:
        raise ValueError(f"--to {end or 'now'}: expected a time after --from")
    distance = max(1.0, math.ceil((finish - start) / STEPS)) if step is None else seconds(step)
    if distance <= 0:
        raise ValueError(f"--step {step}: expected more than nothing")
    return start, finish, distance


def _point_at(expression: str, error: QueryError) -> None:
    """The error, and below the query a mark where it is."""
    print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
    if error.place is None:
        return
    row, column, behind = error.place
    lines = expression.split("\n")
    if not 1 <= row <= len(lines):
        return
    text = lines[row - 1].encode()
    before, marked = text[: column - 1].decode("utf-8", "replace"), text[column - 1 : behind - 1]
    blank = "".join(each if each == "\t" else " " for each in before)
    print(f"  {lines[row - 1]}\n  {blank}{'^' * max(1, len(marked.decode('utf-8', 'replace')))}", file=sys.stderr)


# ------------------------------------------------------------------ how it is shown
def named(labels: dict[str, str]) -> str:
    """A series as PromQL writes it."""
    from gds_cli.live.layout import clean

    rest = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items() if name != "__name__"
    )
    return clean(labels.get("__name__", "") + (f"{{{rest}}}" if rest or "__name__" not in labels else ""))


def _text(value: Any) -> Any:
    """A value as JSON and people have it: numbers that JSON has not are texts, as in Prometheus."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    if isinstance(value, dict):
        return {name: _text(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_text(each) for each in value]
    return value


def _as_json(answer: Answer) -> None:
    for series in answer.series:
        values = [[at, _text(value)] for at, value in series.samples]
        if answer.kind == "matrix":
            line({"labels": series.labels, "values": values})
        else:
            [(at, value)] = values
            line({"labels": series.labels, "timestamp": at, "value": value})


def _as_csv(answer: Answer) -> None:
    names = sorted({name for series in answer.series for name in series.labels})
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["timestamp", *names, "value"])
    for series in answer.series:
        labels = [series.labels.get(name, "") for name in names]
        for at, value in series.samples:
            written = _text(value)
            shown_value = json.dumps(written) if isinstance(written, dict) else written
            out.writerow([f"{at:.3f}".rstrip("0").rstrip("."), *labels, shown_value])


def _as_plot(answer: Answer, span: tuple[float, float, float]) -> None:
    from rich.console import Console

    from gds_cli.query.plot import plot

    start, end, step = span
    lines = [(named(series.labels), _numbers(series)) for series in answer.series]
    console = Console(file=sys.stdout)
    for row in plot(lines, start, end, step * 1.5, console.width, ROWS):
        console.print(row, soft_wrap=True)


def _as_table(answer: Answer) -> None:
    from gds_cli._options import table

    if answer.kind in ("scalar", "string"):
        print(_shown(answer.series[0].samples[0][1]))
    elif answer.kind == "vector":
        table(("series", "value"), ((named(each.labels), _shown(each.samples[0][1])) for each in answer.series))
    else:
        columns = ("series", "samples", "least", "greatest", "last", "at", "")
        table(columns, (_summary(each) for each in answer.series))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{_shown(value['count'])} observations, {_shown(value['sum'])} in all"
    return str(_text(value)).removesuffix(".0") if isinstance(value, float) else str(value)


def _numbers(series: Series) -> list[tuple[float, float]]:
    return [(at, value) for at, value in series.samples if isinstance(value, float)]


def _summary(series: Series) -> tuple[object, ...]:
    finite = [value for _, value in _numbers(series) if math.isfinite(value)]
    at, last = series.samples[-1]
    ends = (_shown(min(finite)), _shown(max(finite))) if finite else (None, None)
    return named(series.labels), len(series.samples), *ends, _shown(last), shown(at), _bars(finite)


def _bars(values: list[float]) -> str:
    """How it went, in few columns: the mean of each piece."""
    from gds_cli.live.view import BARS as LEVELS

    if not values:
        return ""
    size = math.ceil(len(values) / BARS)
    means = [math.fsum(values[at : at + size]) / len(values[at : at + size]) for at in range(0, len(values), size)]
    low, high = min(means), max(means)
    room = (high - low) or 1.0
    return "".join(LEVELS[round((mean - low) / room * (len(LEVELS) - 1))] for mean in means)
