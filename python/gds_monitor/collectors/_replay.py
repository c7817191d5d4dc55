"""Lets what asks synchronously be answered asynchronously."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from gds_monitor.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["replayed"]

T = TypeVar("T")


class _NotYet(Exception):  # noqa: N818 - it is no error
    def __init__(self, key: str, statement: Any) -> None:
        super().__init__(key)
        self.key = key
        self.statement = statement


async def replayed(function: Callable[[Callable[[Any], Any]], T], ask: Callable[[Any], Awaitable[Any]]) -> T:
    """The result of a function that is given a ``run(statement)``.

    It is called again from its beginning for each statement, with the answers so far; so it may do nothing but ask. A
    `CollectionError` is raised where it asked, so that it may do without.
    """
    known: dict[str, Any] = {}

    def run(statement: Any) -> Any:
        key = statement if isinstance(statement, str) else json.dumps(statement, default=str)
        if key not in known:
            raise _NotYet(key, statement)
        answer = known[key]
        if isinstance(answer, CollectionError):
            raise answer
        return answer

    while True:
        try:
            return function(run)
        except _NotYet as wanted:
            key, statement = wanted.key, wanted.statement
        try:
            known[key] = await ask(statement)
        except CollectionError as error:
            known[key] = error
