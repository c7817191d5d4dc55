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

    from gds_monitor.packs import CollectionPlan, Outcome, Pack, ServerFacts, Target
    from gds_monitor.packs.plan import PlannedQuery

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Packs: what is measured of a database, as data.")

WRONG = 2
TIMEOUT_SECONDS = 10.0
"""Of a statement where the pack says nothing."""

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
    url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://user@host/database")],
    collectors: Annotated[
        list[str] | None, typer.Option("--collector", "-c", help="Only this one. May be repeated.")
    ] = None,
    preset: Preset = None,
    as_json: Json = False,
) -> int:
    """Run a pack once on a PostgreSQL, in read-only transactions, and show what it tells and why it does not."""
    from gds_monitor.packs import PackError, plan

    try:
        pack = _load(file, None, preset)
    except (PackError, OSError) as error:
        _tell_wrong(file, error, as_json=as_json)
        return WRONG
    if pack.engine != "postgresql":
        print(f"gds: {file}: expected a pack for postgresql, got one for {pack.engine}", file=sys.stderr)
        return WRONG
    pack = _only(pack, collectors)
    from gds_database.errors import ConfigurationError
    from gds_monitor.errors import CollectionError

    try:
        session = _Session(url)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        facts = session.facts(pack)
        failed = 0
        for row in _results(session, plan(pack, facts), facts):
            failed += row["status"] == "failed"
            _show(row, as_json=as_json)
    except CollectionError as error:
        print(f"gds: {error.reason}: {error}", file=sys.stderr)
        return 1
    finally:
        session.close()
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


class _Session:
    """The monitor's own session, asked one statement after the other."""

    def __init__(self, url: str) -> None:
        from gds_monitor.collectors._session import PostgreSQLSession
        from gds_monitor.secrets import Credentials

        self._loop = asyncio.new_event_loop()
        self._session = PostgreSQLSession(Credentials(url), application_name="gds monitor pack")
        self.timeout = TIMEOUT_SECONDS
        self.database: str | None = None

    @property
    def home(self) -> str:
        return self._session.home

    def run(self, sql: Any) -> list[dict[str, Any]]:
        work = self._session.query(sql, timeout_seconds=self.timeout, database=self.database)
        answer = self._loop.run_until_complete(work)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def facts(self, pack: Pack) -> ServerFacts:
        from gds_monitor.packs import postgresql_facts

        settings = {
            name for each in pack.collectors for query in each.queries for name in query.requires.settings
        }  # fmt: skip
        return postgresql_facts(self.run, settings=settings)

    def close(self) -> None:
        self._loop.run_until_complete(self._session.close())
        self._loop.close()


def _results(session: _Session, todo: CollectionPlan, facts: ServerFacts) -> Iterator[dict[str, Any]]:
    """What became of each query in each database, and of those that do not run."""
    memory: dict[Any, Any] = {}
    for planned in todo.queries:
        for database in planned.databases:
            yield _result(session, planned, facts, database, memory)
    for skipped in todo.skipped:
        yield {"collector": skipped.collector, "query": skipped.query, "database": "", "status": "skipped",
               "reason": skipped.reason, "detail": skipped.detail, "metrics": []}  # fmt: skip


def _result(
    session: _Session, planned: PlannedQuery, facts: ServerFacts, database: str, memory: dict[Any, Any]
) -> dict[str, Any]:
    from gds_monitor.errors import CollectionError
    from gds_monitor.packs import Target, run_query

    each = planned.collector.scope != "instance"
    session.database = database if each else None
    session.timeout = planned.collector.timeout_seconds or TIMEOUT_SECONDS
    target = Target(
        instance_id=session.home,
        database_type="postgresql",
        database=database if each else None,
        server_start=facts.server_start,
        memory=memory,
    )
    told: dict[str, Any] = {"collector": planned.collector.name, "query": planned.query.name, "database": database}
    try:
        outcome = run_query(planned, session.run, target)
    except CollectionError as error:
        return {**told, "status": "failed", "reason": error.reason, "detail": str(error), "metrics": []}
    except ValueError as error:
        return {**told, "status": "failed", "reason": "error", "detail": str(error), "metrics": []}
    return {**told, **_told(outcome, target)}


def _told(outcome: Outcome, target: Target) -> dict[str, Any]:
    noted = {kind: count for kind, count in target.counts.items() if kind != "null"}
    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "detail": ", ".join(f"{count} {kind}" for kind, count in sorted(noted.items())),
        "metrics": [
            {
                "name": metric.metric_name,
                "value": float(metric.value),
                "unit": metric.unit,
                "type": metric.metric_type,
                "start": metric.start_timestamp.isoformat() if metric.start_timestamp else None,
                "tags": metric.tags,
            }
            for metric in outcome.metrics
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
