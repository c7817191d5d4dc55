"""The tree of commands, and what becomes of what they raise."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click
import typer

from gds_cli import dlq, kafka

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "run"]

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(name="gds", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
kafka.app.add_typer(dlq.app, name="dlq")
app.add_typer(kafka.app, name="kafka")


@app.callback()
def _gds() -> None:
    """Telemetry for database platforms, from the command line."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    from gds_kafka.errors import GdsKafkaError, KafkaConfigurationError

    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has. Nothing more can be said, also not by the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KafkaConfigurationError as error:
        return _failed(error, WRONG)
    except (GdsKafkaError, OSError) as error:
        return _failed(error, FAILED)
    return code if isinstance(code, int) else OK


def _failed(error: Exception, code: int) -> int:
    print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
    return code
