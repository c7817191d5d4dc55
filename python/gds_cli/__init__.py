"""The command ``gds``; ``gds --help`` lists what it does. Each package may bring commands: see `gds_cli._commands`.

| exit code | says |
| --- | --- |
| 0 | done |
| 1 | refused, not reachable, not in time, not delivered |
| 2 | the command line or a setting is wrong, ``typer`` is not installed, or the command cannot be imported |
| 130 | ended by Ctrl-C, after what was handled was committed; for ``demo`` and ``top`` Ctrl-C is an end like another |

An error is one line on standard error. With ``--json`` standard output has one JSON object a line and nothing else.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process."""
    try:
        import rich
        import typer
    except ImportError:
        print("gds: expected typer and rich; run: pip install 'gds-telemetry[cli]'", file=sys.stderr)
        sys.exit(2)
    del rich, typer
    from gds_cli._app import run

    sys.exit(run())
