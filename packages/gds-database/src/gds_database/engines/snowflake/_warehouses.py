"""Warehouses: what can be started and stopped of an account, which itself is always there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_database.engines._base import only, operation
from gds_database.engines.snowflake._session import SnowflakeBase
from gds_database.engines.snowflake._text import quoted
from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from gds_database.base import OperationResult
    from gds_database.plan import Step

__all__ = ["Warehouses"]


class Warehouses(SnowflakeBase):
    """Resumes and suspends them."""

    def _warehouses(self) -> dict[str, str]:
        """The state of each warehouse."""
        return {str(each["name"]): str(each["state"]) for each in self._rows("SHOW WAREHOUSES")}

    def _warehouse(self, given: str | None) -> tuple[str, str]:
        """A warehouse that exists, and its state."""
        name = given
        if name is None:
            name = self._query("SELECT CURRENT_WAREHOUSE() AS NAME", columns=("name",))[0]["name"]
        if not name:
            raise ConfigurationError("warehouse: the session has none; say which with warehouse=")
        there = self._warehouses()
        self._must_exist("warehouse", str(name), there)
        return str(name), there[str(name)].upper()

    @operation
    def startup(
        self,
        *,
        warehouse: str | None = None,
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> OperationResult:
        """Resume a warehouse; an account itself is always there.

        Args:
            warehouse: Which; by default that of the session.
            dry_run: Only show it.
            timeout_seconds: For the statement.
            kwargs: None.
        """
        only(kwargs, "startup", "warehouse", "dry_run", "timeout_seconds")
        name, _ = self._warehouse(warehouse)
        step = self._step(f"ALTER WAREHOUSE {quoted(name)} RESUME IF SUSPENDED", timeout_seconds=timeout_seconds)
        return self._carry_out(f"resumed the warehouse {name!r}", [step], dry_run=dry_run)

    @operation
    def shutdown(
        self,
        force: bool = False,
        *,
        warehouse: str | None = None,
        dry_run: bool = False,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> OperationResult:
        """Suspend a warehouse once its statements have ended; an account itself is always there.

        Args:
            force: End its statements first.
            warehouse: Which; by default that of the session.
            dry_run: Only show it.
            timeout_seconds: For each statement.
            kwargs: None.
        """
        only(kwargs, "shutdown", "warehouse", "dry_run", "timeout_seconds")
        name, state = self._warehouse(warehouse)
        statements = [f"ALTER WAREHOUSE {quoted(name)} ABORT ALL QUERIES"] if force else []
        if state not in {"SUSPENDED", "SUSPENDING"}:
            statements.append(f"ALTER WAREHOUSE {quoted(name)} SUSPEND")
        steps: list[Step] = [self._step(each, timeout_seconds=timeout_seconds) for each in statements]
        return self._carry_out(f"suspended the warehouse {name!r}", steps, dry_run=dry_run)
