"""Errors as the server reports them, and the texts of the longer ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path


class SqlError(Exception):
    """An error as the server reports it: number, severity, state and text."""

    def __init__(self, number: int, text: str, severity: int = 16, state: int = 1) -> None:
        super().__init__(text)
        self.number = number
        self.text = text
        self.severity = severity
        self.state = state


@functools.cache
def _messages() -> Mapping[int, tuple[int, int, str]]:
    found = {}
    for line in (Path(__file__).parent / "messages.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            number, severity, state, text = line.split(" ", 3)
            found[int(number)] = (int(severity), int(state), text)
    return found


def said(number: int, *values: object) -> SqlError:
    """The error of a number of ``messages.txt``, with these values in its text."""
    severity, state, text = _messages()[number]
    return SqlError(number, text.format(*values), severity, state)
