"""Settings of the server: sys.configurations and sp_configure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gds_database.engines._base import operation
from gds_database.engines.mssql._server import SqlServerBase
from gds_database.errors import ConfigurationError, ObjectNotFoundError

if TYPE_CHECKING:
    from gds_database.base import OperationResult
    from gds_database.plan import Step

__all__ = ["Settings"]

_COLUMNS = ("name", "value", "minimum", "maximum", "value_in_use", "description", "is_dynamic", "is_advanced")
_QUERY = (
    "SELECT name, CAST(value AS bigint) AS value, CAST(minimum AS bigint) AS minimum,"
    " CAST(maximum AS bigint) AS maximum, CAST(value_in_use AS bigint) AS value_in_use, description, is_dynamic,"
    " is_advanced FROM sys.configurations ORDER BY name"
)
_UNIT = re.compile(r"\((\w+)\)$")
_UNITS = {"mb": "MBy", "kb": "kBy", "b": "By", "s": "s", "min": "min", "ms": "ms"}
_ADVANCED = "show advanced options"


class Settings(SqlServerBase):
    """What sp_configure knows; all are numbers."""

    def get_configuration(self) -> dict[str, Any]:
        """The value that each setting has now."""
        return {row["name"]: int(row["value_in_use"]) for row in self._settings()}

    def _settings(self) -> list[dict[str, Any]]:
        return self._read(_QUERY, columns=_COLUMNS)

    def get_setting(self, name: str) -> dict[str, Any]:
        """One setting: ``value``, ``unit``, ``source``, ``minimum``, ``maximum`` and what a change of it takes.

        ``source`` is ``running`` where what is configured is also in use, ``configured`` where it waits for a
        RECONFIGURE or a restart. The server does not tell defaults.

        Raises:
            ObjectNotFoundError: There is none of that name.
        """
        row = self._setting(name, self._settings())
        waits = int(row["value"]) != int(row["value_in_use"])
        unit = _UNIT.search(row["name"])
        return {
            "name": row["name"],
            "value": int(row["value_in_use"]),
            "configured_value": int(row["value"]),
            "unit": _UNITS.get(unit[1].lower()) if unit else None,
            "source": "configured" if waits else "running",
            "minimum": int(row["minimum"]),
            "maximum": int(row["maximum"]),
            "restart_required": not row["is_dynamic"],
            "pending_restart": waits and not row["is_dynamic"],
            "description": row["description"],
            "default": None,
            "is_advanced": bool(row["is_advanced"]),
        }

    def _setting(self, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        found = next((row for row in rows if row["name"].lower() == str(name).lower()), None)
        if found is None:
            raise ObjectNotFoundError("setting", str(name), self.name)
        return found

    @operation
    def set_configuration(self, key: str, value: Any, *, dry_run: bool = False) -> OperationResult:
        """Change a setting.

        RECONFIGURE takes over all that is configured: ``data["also_takes_effect"]`` names what of others waits for it.

        Args:
            key: As `get_configuration` has it.
            value: A whole number within its range; True and False are 1 and 0.
            dry_run: Show what would run.
        """
        if self._is_azure_database:
            return self._azure_cannot("set_configuration")
        rows = self._settings()
        row = self._setting(key, rows)
        number = _number(row, value)
        shown = next((bool(each["value_in_use"]) for each in rows if each["name"] == _ADVANCED), True)
        hidden = bool(row["is_advanced"]) and not shown
        steps = self._set(_ADVANCED, 1) if hidden else []
        steps += self._set(row["name"], number)
        steps += self._set(_ADVANCED, 0) if hidden else []
        others = [
            each["name"]
            for each in rows
            if each["name"] not in (row["name"], _ADVANCED)
            and each["is_dynamic"]
            and int(each["value"]) != int(each["value_in_use"])
        ]
        data = {
            "restart_required": not row["is_dynamic"],
            "previous_value": int(row["value_in_use"]),
            "also_takes_effect": others,
        }
        return self._carry_out(f"set {row['name']} to {number}", steps, dry_run=dry_run, data=data)

    def _set(self, name: str, number: int) -> list[Step]:
        statement = "EXEC sys.sp_configure @configname = ?, @configvalue = ?"
        return [self._step(statement, (name, number), operation="sp_configure"), self._step("RECONFIGURE")]


def _number(row: dict[str, Any], value: Any) -> int:
    number = int(value) if isinstance(value, (bool, int)) else None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value.strip()):
        number = int(value)
    if number is None or not int(row["minimum"]) <= number <= int(row["maximum"]):
        raise ConfigurationError(
            f"{row['name']}={value!r}: expected a whole number from {row['minimum']} to {row['maximum']}"
        )
    return number
