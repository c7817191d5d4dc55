"""``gds monitor pack``: look at packs, convert them, and try one on a server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gds_cli._options import Json, line, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gds_monitor.base import MetricCollector
    from gds_monitor.packs import Pack
    from gds_monitor.trial import Trial

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Packs: what is measured of a database, as data.")

WRONG = 2
PackFile = Annotated[
    str,
    typer.Argument(
        metavar="PACK",
        help="A file of ours, sql_exporter, postgres_exporter, pg_exporter or pgwatch; or postgresql, mongodb, mssql or"
        " snowflake for the pack that comes with it.",
    ),
]
Engine = Annotated[
    str | None, typer.Option(help="The kind of database, which files of sql_exporter do not say. [default: postgresql]")
]
Preset = Annotated[str | None, typer.Option(help="Only the metrics of this preset of pgwatch, at its intervals.")]


@app.command()
def lint(
    files: Annotated[list[str], typer.Argument(metavar="PACK...", help="Files of packs.")],
    engine: Engine = None,
    as_json: Json = False,
) -> int:
    """Check packs: each mistake with its file, line and column, and what was expected."""
    from gds_monitor.packs import PackError

    wrong = 0
    for name in files:
        try:
            pack = _load(name, engine)
        except (PackError, OSError) as error:
            wrong += 1
            _tell_wrong(name, error, as_json=as_json)
            continue
        metrics = sum(len(query.metrics) for collector in pack.collectors for query in collector.queries)
        notes = list(_notes(pack))
        if as_json:
            line({"file": name, "ok": True, "engine": pack.engine, "collectors": len(pack.collectors),
                  "metrics": metrics, "notes": notes})  # fmt: skip
        else:
            print(f"{name}: fine, {len(pack.collectors)} collectors and {metrics} metrics for {pack.engine}")
            for note in notes:
                print(f"  {note}")
    return WRONG if wrong else 0


@app.command()
def convert(
    file: PackFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; standard output if not given.")
    ] = None,
    preset: Preset = None,
    engine: Engine = None,
) -> int:
    """Write a pack of any dialect as one of ours. It measures the same."""
    from gds_monitor.packs import PackError, dump

    try:
        pack = _load(file, engine, preset)
    except (PackError, OSError) as error:
        _tell_wrong(file, error, as_json=False)
        return WRONG
    text = dump(pack)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")
    return 0


@app.command()
def run(
    file: PackFile,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="postgresql://user@host/database, mongodb://..., mssql://... or snowflake://..."
        ),
    ],
    collectors: Annotated[
        list[str] | None, typer.Option("--collector", "-c", help="Only this one. May be repeated.")
    ] = None,
    preset: Preset = None,
    as_json: Json = False,
) -> int:
    """Run a pack once on a server, within the budgets of the monitor, and show what it tells and why it does not."""
    from gds_database.config import EngineConfig
    from gds_database.errors import ConfigurationError, MissingExtraError
    from gds_monitor.errors import CollectionError
    from gds_monitor.factory import DatabaseMonitorFactory
    from gds_monitor.packs import PackError

    factory = DatabaseMonitorFactory()
    try:
        where = EngineConfig.parse(url)
        if where.engine not in factory.platforms:
            raise typer.BadParameter(
                f"{where.scheme}://: expected a platform that is monitored: {', '.join(factory.platforms)}"
            )
        pack = _load(file, where.engine, preset)
        if pack.engine != where.engine:
            print(f"gds: {file}: expected a pack for {where.engine}, got one for {pack.engine}", file=sys.stderr)
            return WRONG
        settings = {"packs": [_only(pack, collectors)], "application_name": "gds monitor pack"}
        collector = factory.create_collector(where, **settings)
        return asyncio.run(_run(collector, as_json=as_json))
    except (PackError, OSError) as error:
        _tell_wrong(file, error, as_json=as_json)
        return WRONG
    except MissingExtraError as error:
        print(f"gds: {error}", file=sys.stderr)
        return WRONG
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    except CollectionError as error:
        print(f"gds: {error.reason}: {error}", file=sys.stderr)
        return 1


async def _run(collector: MetricCollector, *, as_json: bool) -> int:
    from gds_monitor.collectors._packs import PackCollector
    from gds_monitor.trial import tried

    assert isinstance(collector, PackCollector)  # noqa: S101 - those of the factory are
    failed = False
    try:
        async for each in tried(collector):
            failed |= each.status == "failed"
            _show(_told(each), as_json=as_json)
    finally:
        await collector.close()
    return 1 if failed else 0


def _load(name: str, engine: str | None, preset: str | None = None) -> Pack:
    from gds_monitor.packs import load_pack, shipped_pack
    from gds_monitor.packs.native import ENGINES

    try:
        pack = shipped_pack(name) if name in ENGINES else load_pack(name, engine=engine)
        return pack if preset is None else pack.preset(preset)
    except ValueError as error:
        from gds_monitor.packs import PackError

        if isinstance(error, PackError):
            raise
        raise typer.BadParameter(str(error)) from None


def _only(pack: Pack, names: list[str] | None) -> Pack:
    from dataclasses import replace

    known = {each.name for each in pack.collectors}
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"--collector {name}: expected one of {', '.join(sorted(known))}")
    return replace(pack, collectors=tuple(each for each in pack.collectors if not names or each.name in names))


def _tell_wrong(name: str, error: Exception, *, as_json: bool) -> None:
    from gds_monitor.packs import PackError

    if as_json:
        place = {"line": error.line, "column": error.column} if isinstance(error, PackError) else {}
        line({"file": name, "ok": False, **place, "error": str(error)})
    else:
        print(str(error), file=sys.stderr)


def _notes(pack: Pack) -> Iterator[str]:
    """What is no mistake, and yet should be known."""
    for collector in pack.collectors:
        for query in collector.queries:
            if query.setup:
                yield f"{collector.name}: its init_sql is not run; whoever owns the server runs it once"
                break
        if not collector.enabled:
            yield f"{collector.name}: is left out"


def _told(trial: Trial) -> dict[str, Any]:
    return {
        "collector": trial.collector,
        "query": trial.query,
        "database": trial.database,
        "status": trial.status,
        "reason": trial.reason,
        "detail": trial.detail,
        "metrics": [
            {
                "name": metric.metric_name,
                "value": float(metric.value),
                "unit": metric.unit,
                "type": metric.metric_type,
                "start": metric.start_timestamp.isoformat() if metric.start_timestamp else None,
                "tags": metric.tags,
            }
            for metric in trial.metrics
        ],
    }


def _show(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        line(row)
        return
    where = f" in {row['database']}" if row["database"] else ""
    why = ": ".join(each for each in (row["reason"], row["detail"]) if each)
    print(f"{row['collector']}/{row['query']}{where}: {row['status']}{f' ({why})' if why else ''}")
    if row["metrics"]:
        cells = [
            (each["name"], ", ".join(f"{name}={value}" for name, value in sorted(each["tags"].items())),
             f"{each['value']:.15g}", each["unit"] or "")
            for each in row["metrics"]
        ]  # fmt: skip
        table(("metric", "labels", "value", "unit"), cells)
