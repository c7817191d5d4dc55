"""Keeps the connector's log from holding a password."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["unlogged"]


@contextmanager
def unlogged(*secrets: str) -> Iterator[None]:
    """Drop what the connector logs of its doings, and of warnings those with any of these in them.

    It logs statements, also the beginnings of them, and DDL takes no values apart.
    """

    def harmless(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return False
        text = record.getMessage()
        return not any(secret and secret in text for secret in secrets)

    # A filter is of one logger: those below it are not asked, so each has it.
    names = [name for name in logging.root.manager.loggerDict if name.startswith("snowflake.connector")]
    loggers = [logging.getLogger(name) for name in names]
    for each in loggers:
        each.addFilter(harmless)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(harmless)
