"""A command of MongoDB, and questions made of commands.

A question is a generator: it yields a `Command`, is sent the reply, and returns what the replies mean. It knows no
driver, so that the engine and its twin for asyncio ask the same.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gds_database._redact import MASK
from gds_database.errors import QueryError

__all__ = ["Command", "Question", "optional", "shown"]

T = TypeVar("T")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: The first key.
        value: Its value.
        arguments: The other keys, in their order.
        database: Where it runs.
    """

    name: str
    value: Any = 1
    arguments: Mapping[str, Any] = ()  # type: ignore[assignment]
    database: str = "admin"

    @property
    def document(self) -> dict[str, Any]:
        """As it is sent."""
        return {self.name: self.value, **dict(self.arguments)}

    def __str__(self) -> str:
        return shown(self)


Question = Generator[Command, Mapping[str, Any], T]


def shown(command: Command) -> str:
    """As mongosh takes it, without a password."""
    document = {key: MASK if key == "pwd" else value for key, value in command.document.items()}
    where = "db" if command.database == "admin" else f"db.getSiblingDB({json.dumps(command.database)})"
    run = "adminCommand" if command.database == "admin" else "runCommand"
    return f"{where}.{run}({json.dumps(document, default=str, ensure_ascii=False)})"


def optional(command: Command) -> Question[Mapping[str, Any]]:
    """The reply, or nothing where the server does not know the command or the login may not run it."""
    try:
        return (yield command)
    except QueryError:
        return {}
