"""``python -m tests.services install [names...]`` and ``python -m tests.services list``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from .catalog import SERVICES
from .install import ServiceUnavailable, cache_folder, install, installed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 1 when a service could not be installed."""
    parser = argparse.ArgumentParser(prog="python -m tests.services")
    commands = parser.add_subparsers(dest="command", required=True)
    install_parser = commands.add_parser("install", help="obtain services that are missing")
    install_parser.add_argument("names", nargs="*", metavar="name", help="default: all")
    commands.add_parser("list", help="show each service and where it is")
    options = parser.parse_args(arguments)
    if options.command == "list":
        return _list()
    names: list[str] = options.names or list(SERVICES)
    unknown = [name for name in names if name not in SERVICES]
    if unknown:
        parser.error(f"unknown service {', '.join(unknown)}; expected {', '.join(SERVICES)}")
    return _install(names)


def _list() -> int:
    print(f"cache: {cache_folder()}")
    for service in SERVICES.values():
        binaries = installed(service)
        where = ", ".join(map(str, binaries.values())) if binaries else "not installed"
        print(f"{service.name} {service.version}: {where}")
    return 0


def _install(names: Sequence[str]) -> int:
    failed = False
    for number, name in enumerate(names, start=1):
        service = SERVICES[name]
        have = "" if installed(service) else f", from {service.recipe.origin} (up to some minutes)"
        print(f"{number} of {len(names)}: {name} {service.version}{have}", flush=True)
        begin = time.monotonic()
        try:
            binaries = install(name)
        except ServiceUnavailable as refusal:
            failed = True
            print(refusal.reason, file=sys.stderr)
        else:
            seconds = time.monotonic() - begin
            print(f"    {', '.join(map(str, binaries.values()))} ({seconds:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
