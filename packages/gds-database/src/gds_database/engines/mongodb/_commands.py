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
from gds_database.errors import ConfigurationError, QueryError

__all__ = ["Command", "Question", "optional", "reading", "shown"]

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


# Commands that change nothing, whatever their arguments are; but see `reading` for aggregate.
_READS = frozenset(
    (
        *("aggregate", "buildInfo", "collStats", "connectionStatus", "connPoolStats", "count", "currentOp", "dbStats"),
        *("distinct", "explain", "find", "getCmdLineOpts", "getLog", "getParameter", "hello", "hostInfo", "isMaster"),
        *("listCollections", "listDatabases", "listIndexes", "ping", "replSetGetConfig", "replSetGetStatus"),
        *("rolesInfo", "serverStatus", "top", "usersInfo"),
    )
)


def reading(document: Any) -> Command:
    """A command that reads, from what is sent for it: its name first, and ``$db`` where it is not for ``admin``.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(document, Mapping) or not document:
        raise ConfigurationError(f"statement: expected a command such as {{'serverStatus': 1}}, got {document!r}"[:200])
    name, value = next(iter(document.items()))
    stages = document.get("pipeline", ()) if name == "aggregate" else ()
    writes = any(isinstance(stage, Mapping) and not {"$out", "$merge"}.isdisjoint(stage) for stage in stages)
    if name not in _READS or writes:
        raise ConfigurationError(
            f"statement: expected a command that reads, got {name}{' with a stage that writes' * writes}"
        )
    rest = {key: given for key, given in document.items() if key not in (name, "$db")}
    return Command(str(name), value, rest, str(document.get("$db", "admin")))


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
