"""The commands of ``gds monitor``."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gds_cli._options import Json, line, table
from gds_cli.monitor.pack import app as pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_monitor.base import MetricCollector, MonitoringResult
    from gds_monitor.config.load import MonitorConfig

__all__ = ["app"]

F = TypeVar("F", bound="Callable[..., Any]")

FAILED, WRONG = 1, 2

app = typer.Typer(no_args_is_help=True, help="Watch databases: a cycle once, what is missing, or all the time.")
app.add_typer(pack, name="pack")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="monitor.yaml: targets and outputs.")
]
Url = Annotated[
    list[str] | None,
    typer.Argument(metavar="[URL]...", help="Instead of a file: postgresql://user@host/database, mongodb://..., ..."),
]
Packs = Annotated[
    list[Path] | None,
    typer.Option("--pack", metavar="FILE", help="A pack instead of the one that comes with it. May be repeated."),
]


def command(function: F) -> F:
    """A command whose errors are one line on standard error and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> int:
        try:
            from gds_database.errors import ConfigurationError, MissingExtraError
        except ImportError:
            print("gds: gds monitor needs: pip install 'gds-telemetry[monitor]'", file=sys.stderr)
            return WRONG
        from gds_monitor.errors import MonitorConfigError
        from gds_monitor.packs.document import PackError

        try:
            code = function(*args, **kwargs)
        except (ConfigurationError, MissingExtraError, MonitorConfigError, PackError) as error:
            print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
            return WRONG
        return code if isinstance(code, int) else 0

    return run  # type: ignore[return-value]


# ------------------------------------------------------------------ once
@app.command()
@command
def once(urls: Url = None, config: Config = None, packs: Packs = None, as_json: Json = False) -> int:
    """Run one cycle and show what was measured."""
    results = asyncio.run(_once(_collectors(urls, config, packs), as_json=as_json))
    for result in results:
        if not as_json:
            _show(result)
        for outcome in result.outcomes:
            if not outcome.ok and not outcome.skipped:
                where = f" in {outcome.database}" if outcome.database else ""
                print(
                    f"gds: {result.instance_id}: {outcome.collector}{where}: {outcome.reason}: {outcome.detail}",
                    file=sys.stderr,
                )
    return 0 if all(result.success for result in results) else FAILED


async def _once(collectors: list[MetricCollector], *, as_json: bool) -> list[MonitoringResult]:
    from gds_monitor.base import BaseMonitor
    from gds_monitor.output import StdoutOutput

    outputs = [StdoutOutput(format="json")] if as_json else []
    try:
        return await asyncio.gather(*(BaseMonitor(each, outputs).run_monitoring_cycle() for each in collectors))
    finally:
        await asyncio.gather(*(each.close() for each in collectors))


def _show(result: MonitoringResult) -> None:
    print(
        f"{result.instance_id}: {len(result.metrics)} metrics in {result.duration_seconds:.2f} s; "
        f"{result.succeeded} of {result.planned} collectors succeeded, {result.skipped} do not apply"
    )
    rows = (
        (each.metric_name, " ".join(f"{name}={value}" for name, value in each.tags.items()), each.value, each.unit)
        for each in result.metrics
    )
    table(("metric", "tags", "value", "unit"), rows)


# ------------------------------------------------------------------ what is asked of
def _collectors(urls: list[str] | None, config: Path | None, packs: list[Path] | None) -> list[MetricCollector]:
    from gds_monitor.factory import DatabaseMonitorFactory
    from gds_monitor.packs.load import load_pack

    if bool(urls) == (config is not None):
        raise typer.BadParameter("expected either addresses or --config FILE")
    if config is not None:
        return _of_config(_read(config))
    settings = {"packs": [load_pack(path) for path in packs]} if packs else {}
    factory = DatabaseMonitorFactory()
    return [factory.create_collector(url, **settings) for url in urls or ()]


def _read(path: Path) -> MonitorConfig:
    from gds_monitor.config.load import load_config

    return load_config(path)


def _of_config(config: MonitorConfig) -> list[MetricCollector]:
    from gds_monitor.service import collector_of

    return [collector_of(target, config) for target in config.targets]


# ------------------------------------------------------------------ check
@app.command()
@command
def check(urls: Url = None, config: Config = None, packs: Packs = None, as_json: Json = False) -> int:
    """Say what cannot be measured and what would have to be granted; changes nothing."""
    from gds_monitor.check import checked

    reports = asyncio.run(checked(_collectors(urls, config, packs)))
    for report in reports:
        if as_json:
            line(report.fields())
            continue
        if report.error:
            print(f"{report.instance_id}: {report.error}")
            continue
        print(
            f"{report.instance_id}: {report.version}, {report.role}; {report.measured} of {report.planned} collectors"
        )
        for name, why in report.missing:
            print(f"  {name}: {why}")
        if report.grants:
            print("  what is missing is there after:")
        for grant in report.grants:
            print(f"    {grant}")
    return FAILED if any(report.error or report.grants for report in reports) else 0


# ------------------------------------------------------------------ run
@app.command()
@command
def run(config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="monitor.yaml.")]) -> int:
    """Watch until it is stopped; a changed file is read again, also with SIGHUP."""
    from gds_metrics import PrometheusMetrics
    from gds_monitor.service import MonitorService

    with PrometheusMetrics(start_server=False) as metrics:
        service = MonitorService(config, metrics=metrics, page=metrics.render)
        asyncio.run(service.run())
    return 0
