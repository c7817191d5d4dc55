"""``gds`` itself, and what becomes of what commands raise."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from gds_cli._commands import Root

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "run"]

# Typer has a copy of click of its own, and had the package before: neither can be named for both.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(name="gds", cls=Root, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _gds() -> None:
    """Telemetry for database platforms, from the command line."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        # By its name, whatever started it: the shell asks for completions under it.
        code = app(args=None if arguments is None else list(arguments), prog_name="gds", standalone_mode=False)
    except USAGE_ERROR as error:
        error.show()
        return WRONG
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has. Nothing more can be said, also not by the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        known = _code_of(error)
        if known is None:
            raise
        print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
        return known
    return code if isinstance(code, int) else OK


def _code_of(error: Exception) -> int | None:
    """The exit code for what a command may well meet; none for a defect, whose traceback is of use."""
    # Here, so that --help does not load the clients.
    from gds_kafka.errors import GdsKafkaError, KafkaConfigurationError
    from gds_store.errors import GdsStoreError, StoreConfigurationError, StoreSyntaxError

    if isinstance(error, (KafkaConfigurationError, StoreConfigurationError, StoreSyntaxError)):
        return WRONG
    return FAILED if isinstance(error, (GdsKafkaError, GdsStoreError, OSError)) else None
