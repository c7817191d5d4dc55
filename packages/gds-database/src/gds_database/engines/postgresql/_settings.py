"""The server's settings: what they are, and whether a new value is one."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from gds_database.engines.postgresql._asking import Ask
from gds_database.engines.postgresql._quoting import identifier, literal
from gds_database.engines.postgresql._session import Sql
from gds_database.errors import ConfigurationError, ObjectNotFoundError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gds_database.engines.postgresql._asking import Question
    from gds_database.engines.postgresql.engine import PostgreSQLEngine
    from gds_database.plan import Step

__all__ = ["change_steps", "check_applied", "find", "loaded", "read", "told", "values"]

COLUMNS = (
    *("name", "setting", "unit", "vartype", "context", "source", "sourcefile", "min_val", "max_val", "enumvals"),
    *("boot_val", "reset_val", "pending_restart", "short_desc", "category"),
)
_ALL = f"SELECT {', '.join(COLUMNS)} FROM pg_catalog.pg_settings ORDER BY name"  # noqa: S608 - fixed names
_RELOADED = "SELECT pg_conf_load_time()::text AS loaded"

# Lists whose elements are quoted one by one; to quote the whole makes one element of it.
_LISTS = frozenset(
    (
        *("local_preload_libraries", "session_preload_libraries", "shared_preload_libraries"),
        *("search_path", "temp_tablespaces", "unix_socket_directories"),
    )
)
_MEMORY = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_TIME = {"us": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_QUANTITY = re.compile(r"\s*(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>[A-Za-z]*)\s*")
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0")


def read() -> Question[dict[str, dict[str, Any]]]:
    """All settings by name, as the server describes them."""
    rows = yield Ask(_ALL, COLUMNS)
    return {row["name"]: row for row in rows}


def values(redact: Callable[[str], str]) -> Question[dict[str, Any]]:
    """All settings by name, with their values alone."""
    rows = yield from read()
    return {name: told(row, redact)["value"] for name, row in rows.items()}


def typed(row: Mapping[str, Any], value: str | None) -> Any:
    """A value as bool, int, float or text."""
    if value is None:
        return None
    match row["vartype"]:
        case "bool":
            return value in _ON
        case "integer":
            return int(value)
        case "real":
            return float(value)
    return value


def told(row: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    """A setting for people."""
    value = typed(row, row["setting"])
    return {
        "name": row["name"],
        "value": redact(value) if isinstance(value, str) else value,
        "unit": row["unit"],
        "source": row["source"],
        "source_file": row["sourcefile"],
        "restart_required": row["context"] == "postmaster",
        "pending_restart": row["pending_restart"],
        "context": row["context"],
        "description": row["short_desc"],
        "category": row["category"],
        "default": typed(row, row["boot_val"]),
        "minimum": typed(row, row["min_val"]),
        "maximum": typed(row, row["max_val"]),
        "choices": row["enumvals"],
    }


def find(name: str, where: str) -> Question[dict[str, Any]]:
    """One setting; `ObjectNotFoundError` with the nearest name if there is none.

    Args:
        name: Of the setting.
        where: On which server, for the error.
    """
    rows = yield from read()
    if name not in rows:
        near = difflib.get_close_matches(str(name), rows, 1)
        raise ObjectNotFoundError("setting", name, where + (f" (did you mean {near[0]}?)" if near else ""))
    return rows[name]


def change_steps(engine: PostgreSQLEngine, row: Mapping[str, Any], value: Any) -> list[Step]:
    """What changes a setting in ``postgresql.auto.conf`` and makes the server read it.

    Raises:
        ConfigurationError: It is no value for it, or the setting cannot be changed so.
    """
    name = row["name"]
    if row["context"] == "internal":
        raise ConfigurationError(f"{name}: is fixed when the server is built or initialised, and cannot be set")
    if row["source"] == "command line":
        raise ConfigurationError(f"{name}: is set on the command line of the server, which wins; change it there")
    quoted = identifier(*name.split("."))
    if value is None:
        statement = f"ALTER SYSTEM RESET {quoted}"
    else:
        statement = f"ALTER SYSTEM SET {quoted} = {_written(row, value)}"
    if engine._secrets.redact(statement) != statement:
        raise ConfigurationError(
            f"{name}: expected a value without a password, which the server would log; use a passfile"
        )
    return [
        engine._step(Sql(statement, alone=True), operation="ALTER SYSTEM"),
        engine._step(Sql("SELECT pg_reload_conf()"), operation="SELECT"),
    ]


def _written(row: Mapping[str, Any], value: Any) -> str:
    name = row["name"]
    if name in _LISTS or isinstance(value, (list, tuple)):
        parts = value if isinstance(value, (list, tuple)) else [part.strip() for part in str(value).split(",")]
        return ", ".join(literal(str(part).strip('"')) for part in parts) or "''"
    kind = row["vartype"]
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    if kind == "bool":
        if text.lower() not in (*_ON, *_OFF):
            raise ConfigurationError(f"{name}={value!r}: expected on or off")
    elif kind == "enum":
        choices = [*(row["enumvals"] or ())]
        # Several of them understand more words for on and off than they list.
        if text not in choices and text.lower() not in (*choices, *_ON, *_OFF):
            raise ConfigurationError(f"{name}={value!r}: expected one of {', '.join(choices)}")
    elif kind in {"integer", "real"}:
        _check_number(row, value, text)
    return literal(text)


def _check_number(row: Mapping[str, Any], value: Any, text: str) -> None:
    """Whether a number with or without a unit is within what the setting allows."""
    name, unit = row["name"], row["unit"]
    wanted = f"{name}={value!r}: expected a number" + (f" of {unit}, or with a unit" if unit else "")
    match = _QUANTITY.fullmatch(text)
    if match is None or isinstance(value, bool):
        raise ConfigurationError(wanted)
    number = float(match["number"])
    if match["unit"]:
        table = _TIME if unit in _TIME else _MEMORY
        base = re.fullmatch(r"(\d*)(\w+)", unit or "")
        if base is None or base[2] not in table or match["unit"] not in table:
            known = f" ({', '.join(table)})" if unit else ""
            raise ConfigurationError(f"{wanted}{known}")
        number *= table[match["unit"]] / (table[base[2]] * int(base[1] or 1))
    low, high = float(row["min_val"]), float(row["max_val"])
    # The server rounds what lies between two of its units.
    if not low - 0.5 <= number <= high + 0.5:
        raise ConfigurationError(f"{wanted} from {row['min_val']} to {row['max_val']}")


def loaded(engine: PostgreSQLEngine) -> str:
    """When this session has read the configuration."""
    (row,) = engine._query(_RELOADED, columns=("loaded",))
    return str(row["loaded"])


_FAULTS = "SELECT name, error FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL AND name = %s"


def check_applied(engine: PostgreSQLEngine, name: str) -> None:
    """Raise if the server says that it could not take what is in its files."""
    try:
        faults = engine._query(_FAULTS, (name,), columns=("name", "error"))
    except QueryError:
        return  # who may set it may not always look into the files
    for fault in faults:
        raise QueryError(f"{name}: the server did not take it: {fault['error']}")
