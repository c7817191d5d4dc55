"""The views of the catalogue, at one version."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DUCKDB_TYPES = {
    "sysname": "VARCHAR",
    "nvarchar": "VARCHAR",
    "sql_variant": "VARCHAR",
    "varbinary": "BLOB",
    "bit": "BOOLEAN",
    "tinyint": "UTINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "numeric": "DECIMAL(25,0)",
    "real": "FLOAT",
    "float": "DOUBLE",
    "datetime": "TIMESTAMP",
    "uniqueidentifier": "UUID",
}
OLDEST = 13


@dataclass(frozen=True, slots=True)
class View:
    """One view or function: its columns with the types of DuckDB, in order."""

    name: str
    is_per_database: bool
    is_function: bool
    columns: Mapping[str, str]


@functools.cache
def views(version: int) -> Mapping[str, View]:
    """All that a server of this major version has, by their names in lower case."""
    found: dict[str, View] = {}
    for block in (Path(__file__).parent / "catalogue.txt").read_text("utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        name, scope, *rest = lines[0].split()
        columns = {}
        for line in lines[1:]:
            column, kind, *since = line.split()
            if version >= int(since[0] if since else OLDEST):
                columns[column] = _DUCKDB_TYPES[kind]
        if columns:
            found[name.lower()] = View(name, scope == "database", "function" in rest, columns)
    return found
