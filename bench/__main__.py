"""The command: ``python -m bench [names...] [--quick] [--json FILE] [--write]``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import report
from bench.harness import Bar, Effort, Row

# Name of the benchmark -> module and function. Each runs in a process of its own: what one imports, fills or starts
# would change the next.
BENCHMARKS = {
    "increment": ("calls", "increment_labels"),
    "tracing": ("calls", "increment_tracing"),
    "bare": ("calls", "increment_bare"),
    "gauge": ("calls", "set_gauge"),
    "distributions": ("calls", "distributions"),
    "noop": ("calls", "noop"),
    "page": ("pages", "render"),
    "memory": ("pages", "memory"),
    "writers": ("pages", "writers"),
    "otel": ("exports", "counter"),
    "processes": ("processes", "scrape"),
    "kafka_sending": ("kafka_producing", "sending"),
    "kafka_calls": ("kafka_producing", "calls"),
    "kafka_durability": ("kafka_producing", "durability"),
    "kafka_consuming": ("kafka_consuming", "consuming"),
    "kafka_logging": ("kafka_logging", "logging_calls"),
    "redaction": ("redaction", "redaction"),
    "kafka_asyncio": ("kafka_asyncio", "awaiting"),
    "kafka_embedded": ("kafka_embedded", "embedded"),
    "kafka_memory": ("kafka_memory", "memory"),
    "monitor_output": ("monitor_output", "output"),
    "vault": ("vault", "reads"),
    "database": ("database", "statements"),
    "import": ("package", "imports"),
    "wheel": ("package", "wheel_size"),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Times this package beside its peers.")
    parser.add_argument("names", nargs="*", help=f"which benchmarks, all by default: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds: whether it works, not how fast it is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    parser.add_argument("--write", action="store_true", help=f"replace the table in {report.DOCUMENT}")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"{', '.join(unknown)}: expected names out of {', '.join(BENCHMARKS)}")
    if options.child:
        print(json.dumps([asdict(row) for row in _measure(options.names[0], quick=options.quick)]))
        return 0
    if options.write and options.names:
        parser.error("--write replaces the whole table; give no names")
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    # Files are not part of the command that a reader would repeat.
    head = report.header([*options.names, *(["--quick"] if options.quick else [])])
    rows, failed = [], []
    for name in options.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += _in_child(name, quick=options.quick)
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(error.stderr, file=sys.stderr)
    print("\n".join([*(f"{what}: {said}" for what, said in head.items()), "", *report.lines(rows)]))
    missed = [row for row in rows if row.met is False]
    print(f"\n{sum(row.met is True for row in rows)} bars met, {len(missed)} missed")
    if options.json:
        options.json.write_text(json.dumps(report.as_json(head, rows), indent=1) + "\n")
    if failed:
        print(f"failed, and so without figures: {', '.join(failed)}", file=sys.stderr)
        return 1
    if options.write:
        report.write_document(head, rows)
    return 0


def _in_child(name: str, *, quick: bool) -> list[Row]:
    command = [sys.executable, "-m", "bench", "--child", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [_row(given) for given in json.loads(done.stdout)]


def _row(given: dict[str, Any]) -> Row:
    bar = given.pop("bar")
    return Row(**given, bar=None if bar is None else Bar(**bar))


def _measure(name: str, *, quick: bool) -> list[Row]:
    module, function = BENCHMARKS[name]
    rows: list[Row] = getattr(import_module(f"bench.{module}"), function)(Effort.of(quick=quick))
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
