"""The commands of ``gds store``."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from gds_cli._options import Json, line, table
from gds_cli.query.moments import moment, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gds_cli.store.exposition import Sample
    from gds_store import Store

    Series = tuple[dict[str, str], list[tuple[float, float]]]
    Span = tuple[float | None, float | None]
    Metadata = dict[str, dict[str, str]]

__all__ = ["app"]

FAILED, WRONG = 1, 2
FOREVER_SECONDS = 1e12
"""Who has the store decides what is too old in it; a command never does."""

MOST_SAMPLES = 1 << 40
LAST_SECONDS = 7e9
RANGE_MS = 9_200_000_000_000
"""A range of PromQL is at most 292 years: by itself an export is of 1900 to 2191."""

AT_ONCE = 20_000
MEMORY_BYTES = 64 << 20
"""Of what is imported so much waits in memory before it is written to parts."""

app = typer.Typer(no_args_is_help=True, help="Look after a store of time series in a folder of this machine.")

Folder = Annotated[Path, typer.Argument(metavar="PATH", help="The folder of the store.", file_okay=False)]
Begin = Annotated[str | None, typer.Option("--from", metavar="TIME", help="From here on, as in gds query.")]
End = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until here.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, with counts, and do nothing.")]


class Form(str, Enum):
    """How samples are written in a file."""

    OPENMETRICS = "openmetrics"
    PARQUET = "parquet"
    PROMETHEUS = "prometheus"


def _opened(path: Path, *, read_only: bool) -> Store:
    from gds_store import Store

    if read_only and not path.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder of a store, there is none")
    limits: dict[str, Any] = dict.fromkeys(("max_samples", "max_series", "max_bytes"), MOST_SAMPLES)
    return Store(
        path,
        read_only=read_only,
        retention_seconds=FOREVER_SECONDS,
        maintain_seconds=None,
        timeout_seconds=86_400.0,
        **limits,
    )


def _time(name: str, given: str | None) -> float | None:
    try:
        return None if given is None else moment(given, time.time())
    except ValueError as error:
        raise typer.BadParameter(f"{name} {error}") from None


# ------------------------------------------------------------------ what there is
@app.command()
def stats(path: Folder, as_json: Json = False) -> None:
    """Show how much is in a store; another process may write to it."""
    with _opened(path, read_only=True) as store:
        series = store.series()
        found: dict[str, Any] = {"series": len(series), "metrics": len({each.get("__name__") for each in series})}
        found |= {name: count for name, count in store.stats().items() if name not in COUNTED}
        found["findings"] = len(store.findings())
    if as_json:
        line(found)
    else:
        table(("what", "how much"), ((name.replace("_", " "), f"{count:,}") for name, count in found.items()))


COUNTED = ("accepted", "duplicates", "too_old", "over_limit", "failed")
"""What is counted since a store was opened, which was just now."""


@app.command()
def verify(path: Folder, as_json: Json = False) -> int:
    """Read everything in a store and say what is damaged; the code is 1 if something is."""
    with _opened(path, read_only=True) as store:
        found = store.verify()
    for each in found:
        if as_json:
            line({**each, "path": str(each["path"])})
        else:
            print(f"{each['path']}: {each['detail']} ({each['kind']})")
    if not found and not as_json:
        print("all of it can be read")
    return FAILED if found else 0


# ------------------------------------------------------------------ copies
@app.command()
def backup(
    path: Folder,
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="A new folder, or one with a backup before.")],
    as_json: Json = False,
) -> None:
    """Make a copy that shares the files of the store; into the same folder again, only what is new.

    The store must not be open for writing elsewhere: a program that has it calls Store.backup itself.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder of a store, there is none")
    with _opened(path, read_only=False) as store:
        done = store.backup(folder)
    if as_json:
        line(done)
    else:
        print(f"{done['parts']} parts, {done['new_parts']} of them new, and {done['log_files']} files of the log")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder of the backup.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of the new store: empty, or not there.")],
) -> None:
    """Make a new store of a backup, once all of the backup is read and found whole."""
    from gds_store import restore as restored

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected the folder of a backup, there is none")
    restored(folder, path)
    print(f"{path} is as {folder}")


# ------------------------------------------------------------------ out of it
@app.command()
def delete(
    path: Folder,
    selector: Annotated[str, typer.Argument(metavar="SELECTOR", help='Which series: up{job="api"}.')],
    begin: Begin = None,
    end: End = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete the samples of series, after asking.

    The store must not be open for writing elsewhere. Their space is given back by the program that writes to it.
    """
    span = _time("--from", begin), _time("--to", end)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder of a store, there is none")
    with _opened(path, read_only=dry_run) as store:
        found = store.delete(selector, *span, dry_run=True)
        what = f"{found['samples']:,} samples of {found['series']:,} series"
        if dry_run or not found["samples"]:
            print(f"{what} would be deleted" if dry_run else "nothing is to be deleted")
            return 0
        if not yes:
            if not sys.stdin.isatty():
                print(f"gds: {what} would be deleted; expected --yes where nobody can be asked", file=sys.stderr)
                return WRONG
            typer.confirm(f"Delete {what} in {path}?", abort=True)
        store.delete(selector, *span)
    print(f"{what} are deleted")
    return 0


@app.command()
def export(
    path: Folder,
    match: Annotated[
        list[str] | None, typer.Option("--match", metavar="SELECTOR", help="Only these series. May be repeated.")
    ] = None,
    begin: Begin = None,
    end: End = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of standard output.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="parquet needs --output and pyarrow.")] = Form.OPENMETRICS,
) -> int:
    """Write samples as text or Parquet; another process may write to the store.

    OpenMetrics is what `promtool tsdb create-blocks-from openmetrics` reads. Native histograms are written as classic
    ones, which all formats have.
    """
    span = _time("--from", begin), _time("--to", end)
    if form is Form.PARQUET and output is None:
        raise typer.BadParameter("--format parquet: expected --output FILE with it")
    with _opened(path, read_only=True) as store:
        families = functools.partial(_exported, store, match or [], span)
        if form is Form.PARQUET and output is not None:
            from gds_cli.store.columns import write_table

            labels = store.labels(*(match or ()), start=span[0], end=span[1])
            try:
                count = write_table(output, labels, itertools.chain.from_iterable(families()))
            except KeyError:
                # The first native histogram: the buckets that it becomes have a label that nothing had.
                labels = sorted({*labels, "le"})
                count = write_table(output, labels, itertools.chain.from_iterable(families()))
        else:
            with contextlib.ExitStack() as files:
                out: TextIO = sys.stdout
                if output is not None:
                    out = files.enter_context(output.open("w", encoding="utf-8", newline="\n"))
                count = 0
                for text, samples in _as_lines(families(), store.metadata(), form is Form.OPENMETRICS):
                    out.write(text)
                    count += samples
    print(f"gds: {count:,} samples", file=sys.stderr)
    return 0


def _exported(store: Store, match: list[str], span: Span) -> Iterator[list[Series]]:
    """Series with their numbers, those together that are one metric or that a selector chooses: so much is in memory.

    A native histogram is the series of a classic one.
    """
    from gds_cli.store.histograms import SUFFIXES, bases, from_native

    start, end = span
    finish = LAST_SECONDS if end is None else end
    # A range begins behind its start.
    length = round((finish - start) * 1000) + 1 if start is not None else RANGE_MS
    if not 0 < length <= RANGE_MS:
        raise typer.BadParameter("--from, --to: expected a time after the other, and at most 292 years")
    names = store.label_values("__name__", start=start, end=end)
    classic = bases(names)
    parts = {base + suffix for base in classic for suffix in SUFFIXES}
    alone = [[name] for name in names if name not in parts]
    together = [[base + suffix for suffix in SUFFIXES] for base in classic]
    chosen = [[f"{{__name__={json.dumps(name, ensure_ascii=False)}}}" for name in each] for each in alone + together]
    seen: set[frozenset[tuple[str, str]]] = set()
    native = left_out = 0
    for selectors in [[each] for each in match] or sorted(chosen):
        found: list[Series] = []
        for each in itertools.chain.from_iterable(store.query(f"{one}[{length}ms]", finish) for one in selectors):
            labels = frozenset(each["labels"].items())
            if labels in seen:
                continue
            if len(match) > 1:
                seen.add(labels)
            numbers = [(at, value) for at, value in each["values"] if isinstance(value, float)]
            histograms = [(at, value) for at, value in each["values"] if not isinstance(value, float)]
            found += [(each["labels"], numbers)] if numbers else []
            if any(each["labels"].get("__name__", "") + suffix in names for suffix in SUFFIXES):
                # The same observations are there as a classic one, or something else has its names.
                left_out += len(histograms)
            elif histograms:
                native += len(histograms)
                found += from_native(each["labels"], histograms)
        yield found
    if native:
        print(f"gds: {native:,} native histograms are written as classic ones", file=sys.stderr)
    if left_out:
        print(f"gds: {left_out:,} native histograms are left out: classic ones have their names", file=sys.stderr)


def _as_lines(families: Iterable[list[Series]], metadata: Metadata, open_metrics: bool) -> Iterator[tuple[str, int]]:
    """Pieces of a page, each with how many samples it has."""
    from gds_cli.store.exposition import END, family, write
    from gds_cli.store.histograms import SUFFIXES, bases, points

    for series in families:
        by_name: dict[str, list[Series]] = {}
        for each in series:
            by_name.setdefault(each[0].get("__name__", ""), []).append(each)
        for base in sorted(bases(by_name)):
            own = [each for suffix in SUFFIXES for each in by_name[base + suffix]]
            found = points(own, base, open_metrics) if base not in by_name else None
            if found is not None:
                for suffix in SUFFIXES:
                    del by_name[base + suffix]
                yield family(base, {base: {**metadata.get(base, {}), "type": "histogram"}}, open_metrics), 0
                lines = (write(name, labels, value, at, open_metrics) for at, name, labels, value in found)
                yield "".join(f"{text}\n" for text in lines), len(found)
        for name, others in by_name.items():
            yield family(name, metadata, open_metrics), 0
            for labels, samples in others:
                lines = (write(name, labels, value, at, open_metrics) for at, value in samples)
                yield "".join(f"{text}\n" for text in lines), len(samples)
    if open_metrics:
        yield f"{END}\n", 0


# ------------------------------------------------------------------ into it
@app.command(name="import")
def import_(
    path: Folder,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Pages or tables; - is standard input.", allow_dash=True)
    ],
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Instead of what the name of a file says: parquet, om, else prometheus."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When samples without a time were taken; now, else.")
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Append samples of files to a store, which is made where there is none.

    The store must not be open for writing elsewhere. Samples that are there already at the same time are replaced, so
    an import that was interrupted is done again. They belong to the default retention class.
    """
    when = _time("--at", at)
    said: Metadata = {}
    samples = _imported(files, form, time.time() if when is None else when, said)
    if dry_run:
        series: set[tuple[str, frozenset[tuple[str, str]]]] = set()
        count = 0
        times: list[float] = []
        for name, _, labels, timestamp in samples:
            series.add((name, frozenset((labels or {}).items())))
            count += 1
            times = [min(timestamp, *times), max(timestamp, *times)] if times else [timestamp, timestamp]
        between = f", from {shown(times[0])} to {shown(times[1])}" if times else ""
        print(f"{count:,} samples of {len(series):,} series would be appended{between}")
        return 0
    done = {"accepted": 0, "replaced": 0, "too_old": 0, "over_limit": 0}
    with _opened(path, read_only=False) as store:
        while rows := list(itertools.islice(samples, AT_ONCE)):
            for name, count in store.append_many(rows).items():
                done[name] += count
            if store.stats()["head_bytes"] > MEMORY_BYTES:
                store.flush()
        store.set_metadata(said)
        store.flush()
    print(f"{done['accepted']:,} samples are appended")
    return 0


def _imported(
    files: list[Path], form: Form | None, now: float, said: Metadata
) -> Iterator[tuple[str, float, dict[str, str], float]]:
    from gds_cli.store.exposition import LineError

    path = Path()
    try:
        for path in files:
            for name, labels, value, timestamp in _samples(path, form, said):
                yield name, value, labels, now if timestamp is None else timestamp
    except (LineError, UnicodeDecodeError) as error:
        # Those of the lines before are in the store.
        print(f"gds: {path}: {error}", file=sys.stderr)
        raise typer.Exit(WRONG) from None


def _samples(path: Path, form: Form | None, said: Metadata) -> Iterator[Sample]:
    from gds_cli.store.exposition import read

    if form is Form.PARQUET or (form is None and path.suffix == ".parquet"):
        from gds_cli.store.columns import read_table

        yield from read_table(path)
        return
    open_metrics = form is Form.OPENMETRICS or (form is None and path.suffix in (".om", ".openmetrics"))
    with contextlib.ExitStack() as opened:
        lines = sys.stdin if str(path) == "-" else opened.enter_context(path.open(encoding="utf-8", newline="\n"))
        yield from read(lines, open_metrics, said)
