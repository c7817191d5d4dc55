"""Rows as dicts, in whatever form a connection returns them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gds_database.errors import QueryError

__all__ = ["Rows", "dicts", "driver_object"]


class Rows(list[tuple[Any, ...]]):
    """The rows of a cursor, all of them tuples of one width.

    Attributes:
        cursor: It; asked for the names of the columns only where nobody else knows them.
    """

    __slots__ = ("cursor",)
    cursor: Any


def dicts(result: Any, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of a result.

    Args:
        result: None, a cursor, `Rows`, or rows alone: dicts, named tuples, rows with ``keys()``, or plain sequences.
        columns: The names of the columns in their order. Plain sequences need them; of other rows these columns are
            taken, whatever their case; without it all of them, in lower case.

    Raises:
        QueryError: A row has not these columns.
    """
    if result is None:
        return []
    rows = result
    if type(result) is Rows:
        columns = columns or _names(result.cursor.description)
        if not result or len(result[0]) == len(columns):
            return [dict(zip(columns, row)) for row in result]  # noqa: B905 - just seen
    elif hasattr(result, "fetchall"):
        description = getattr(result, "description", None)
        if description is None:
            return []
        columns = columns or _names(description)
        rows = result.fetchall()
    elif (inner := getattr(result, "rows", None)) is not None:  # a result set of its own kind, with its columns
        columns = columns or [str(each).lower() for each in result.columns]
        rows = inner() if callable(inner) else inner
    if type(rows) is not list and not isinstance(rows, Iterable):
        return []
    width = len(columns)
    return [
        dict(zip(columns, row)) if type(row) is tuple and len(row) == width else _dict(row, columns)  # noqa: B905 - just seen
        for row in rows
    ]


def _names(description: Iterable[Sequence[Any]]) -> list[str]:
    return [str(each[0]).lower() for each in description]


def _dict(row: Any, columns: Sequence[str]) -> dict[str, Any]:
    named = _named(row)
    if named is None:
        if not columns:
            raise QueryError("expected rows with names; the connection returns plain tuples")
        if len(row) != len(columns):
            raise QueryError(f"expected {len(columns)} columns ({', '.join(columns)}), got {len(row)}")
        return dict(zip(columns, row, strict=True))
    lower = {str(name).lower(): value for name, value in named.items()}
    if not columns:
        return lower
    missing = [name for name in columns if name.lower() not in lower]
    if missing:
        raise QueryError(f"expected the columns {', '.join(missing)}, got {', '.join(lower) or 'none'}")
    return {name: lower[name.lower()] for name in columns}


def _named(row: Any) -> Mapping[str, Any] | None:
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "_asdict"):
        return dict(row._asdict())
    if hasattr(row, "_mapping"):
        return dict(row._mapping)
    if hasattr(row, "keys"):
        return {name: row[name] for name in row.keys()}  # noqa: SIM118 - iterating over it gives values
    return None


_PLACES = ("connection", "_connection", "conn", "_conn", "client", "_client")


def driver_object(connection: Any, *attributes: str) -> Any | None:
    """The object of the driver behind a connection; None if there is none to be found.

    Args:
        connection: An engine's connection, connected.
        attributes: What the object must have to be it, such as ``cursor`` or ``list_database_names``.
    """
    for candidate in (connection, *(getattr(connection, place, None) for place in _PLACES)):
        if candidate is not None and all(hasattr(candidate, each) for each in attributes):
            return candidate
    return None
