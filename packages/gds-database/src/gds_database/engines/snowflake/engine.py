"""Snowflake as an engine: an account."""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from gds_database._redact import MASK
from gds_database.base import OperationResult, QueryError
from gds_database.capabilities import Capabilities, Capability, TestedAgainst
from gds_database.engines._base import aware, only, operation
from gds_database.engines.snowflake import _usage
from gds_database.engines.snowflake._quiet import unlogged
from gds_database.engines.snowflake._text import instant, key, literal, moment, quoted
from gds_database.engines.snowflake._warehouses import Warehouses
from gds_database.engines.snowflake.database import SnowflakeDatabase
from gds_database.errors import ConfigurationError, ObjectNotFoundError, PrivilegeError
from gds_database.metadata import EngineMetadata, LogEntry, Metric, ReplicationDetails

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SnowflakeEngine"]

TESTED = "emulator only; connector 5.x untested"
STATEMENT_CHARACTERS = 1000
LOG_LINES = 1000

_RUN = (
    ("list_databases", "SHOW DATABASES"),
    ("create_database", "CREATE DATABASE"),
    ("drop_database", "DROP DATABASE; UNDROP brings it back within its retention time"),
    ("backup_full", "CREATE DATABASE ... CLONE in the same account; use replication to survive the account"),
    ("restore", "CLONE of a clone, of a time past (at=), or UNDROP"),
    ("list_users", "SHOW USERS"),
    ("create_user", "CREATE USER, GRANT ROLE"),
    ("drop_user", "DROP USER"),
    ("list_processes", "INFORMATION_SCHEMA.QUERY_HISTORY and SHOW LOCKS"),
    ("kill_process", "SYSTEM$CANCEL_QUERY"),
    ("get_configuration", "SHOW PARAMETERS IN ACCOUNT"),
    ("set_configuration", "ALTER ACCOUNT SET"),
    ("get_metrics", "views of ACCOUNT_USAGE, which are up to 3 hours late"),
    ("get_logs", "LOGIN_HISTORY and failed statements of QUERY_HISTORY, which are up to 2 hours late"),
    ("startup", "ALTER WAREHOUSE ... RESUME, of warehouse= or the session's"),
    ("shutdown", "ALTER WAREHOUSE ... SUSPEND, of warehouse= or the session's"),
)
_CHECKED = (
    ("get_replication_status", "SHOW FAILOVER GROUPS, REPLICATION_GROUP_REFRESH_HISTORY"),
    ("failover", "ALTER FAILOVER GROUP ... PRIMARY, on the account that takes over"),
)
_LACKS = (
    ("backup_differential", "clones share what did not change, so each is a full one; use BackupType.FULL"),
    ("backup_incremental", "clones share what did not change, so each is a full one; use BackupType.FULL"),
    ("backup_transaction_log", "there is no log to copy: Time Travel keeps the past; use restore(name, at=...)"),
    ("build", "accounts are made by an organisation's administrator; use CREATE ACCOUNT as ORGADMIN, or control="),
    ("destroy", "accounts are dropped by an organisation's administrator; use DROP ACCOUNT as ORGADMIN, or control="),
)
_QUERY = re.compile(r"[0-9a-fA-F-]{8,64}")
_UNITS = (("_IN_SECONDS", "s"), ("_SECONDS", "s"), ("_IN_MINUTES", "min"), ("_MINS", "min"), ("_IN_DAYS", "d"))
_SECONDS = frozenset({"LOCK_TIMEOUT"})


class SnowflakeEngine(Warehouses):
    """An account of Snowflake. Names are exactly as they are: ``shop`` is not ``SHOP``.

    Args and attributes: as `EngineBase`. The connection is any that has the connector's object, as ``connection`` or as
    what ``get_connection()`` returns, or else an ``execute_query_dict``.
    """

    # ------------------------------------------------------------------ what it is
    def capabilities(self) -> Capabilities:
        """What it can do, and what that was run on."""
        found = [Capability(name, True, f"{how} ({TESTED})", TestedAgainst.EMULATOR) for name, how in _RUN]
        found += [
            Capability(
                name,
                True,
                f"{how} (checked only: an emulator of the project's own answers; {TESTED})",
                TestedAgainst.CHECKED,
            )
            for name, how in _CHECKED
        ]
        found += [Capability(name, False, how, TestedAgainst.CHECKED) for name, how in _LACKS]
        if self.control is not None:
            # Warehouses are started and stopped by statements, whatever control= has.
            found += [each for each in self._controls(TestedAgainst.CHECKED) if each.name in {"build", "destroy"}]
        return Capabilities(found)

    @property
    def metadata(self) -> EngineMetadata:
        """What is known of the account."""
        columns = ("version", "account", "region", "warehouse", "role", "user_name")
        (found,) = self._query(
            "SELECT CURRENT_VERSION() AS VERSION, CURRENT_ACCOUNT() AS ACCOUNT, CURRENT_REGION() AS REGION, "
            "CURRENT_WAREHOUSE() AS WAREHOUSE, CURRENT_ROLE() AS ROLE, CURRENT_USER() AS USER_NAME",
            columns=columns,
        )
        attributes = {name: found[name] for name in columns[1:]}
        return EngineMetadata(
            name=self.name,
            version=str(found["version"]),
            host=self.name,
            status="online",
            additional_attributes=attributes,
        )

    def get_version(self) -> str:
        """The release that runs, such as ``9.1.2``."""
        return str(self._query("SELECT CURRENT_VERSION() AS VERSION", columns=("version",))[0]["version"])

    def get_server_time(self) -> datetime:
        """Snowflake's clock."""
        found = moment(self._query("SELECT CURRENT_TIMESTAMP() AS NOW", columns=("now",))[0]["now"])
        if found is None:
            raise QueryError("CURRENT_TIMESTAMP(): expected a time")
        return found

    # ------------------------------------------------------------------ databases
    def list_databases(self) -> list[SnowflakeDatabase]:  # type: ignore[override]
        """All databases that the role may see."""
        return [SnowflakeDatabase(self, name) for name in sorted(self._databases())]

    def _databases(self) -> dict[str, dict[str, Any]]:
        return {str(each["name"]): each for each in self._all("DATABASES")}

    def get_database(self, name: str) -> SnowflakeDatabase:
        """The database of a name, whether it exists or not."""
        return SnowflakeDatabase(self, name)

    # ------------------------------------------------------------------ users
    def list_users(self) -> list[str]:
        """All users that the role may see."""
        return sorted(str(each["name"]) for each in self._all("USERS"))

    @operation
    def create_user(
        self,
        name: str,
        password: str,
        *,
        roles: Sequence[str] = (),
        valid_until: datetime | None = None,
        must_change_password: bool = False,
        default_warehouse: str | None = None,
        rsa_public_key: str | None = None,
        **kwargs: Any,
    ) -> OperationResult:
        """Create a user and grant it roles.

        Args:
            name: Exactly as it is.
            password: By the account's rules; in no log of ours nor of the connector. Empty for a user that has
                ``rsa_public_key``.
            roles: Which exist; the first is the default.
            valid_until: When it expires; to the day, upwards.
            must_change_password: Whether the first login has to change it.
            default_warehouse: Which exists.
            rsa_public_key: For logins by key pair.
            kwargs: None.
        """
        known = ("roles", "valid_until", "must_change_password", "default_warehouse", "rsa_public_key")
        only(kwargs, "create_user", *known)
        if not password and rsa_public_key is None:
            raise ConfigurationError("password: expected text, or rsa_public_key= for logins by key pair")
        with self._secrets.during(password):
            if name in self.list_users():
                raise QueryError(f"user {name!r} exists already")
            roles = [roles] if isinstance(roles, str) else list(roles)
            there = {str(each["name"]) for each in self._all("ROLES")} if roles else set()
            for role in roles:
                self._must_exist("role", role, there)
            if default_warehouse is not None:
                self._must_exist("warehouse", default_warehouse, self._warehouses())
            properties = {
                "MUST_CHANGE_PASSWORD": must_change_password or None,
                "DEFAULT_ROLE": roles[0] if roles else None,
                "DEFAULT_WAREHOUSE": default_warehouse,
                "RSA_PUBLIC_KEY": rsa_public_key,
                "DAYS_TO_EXPIRY": _days(valid_until),
            }
            rest = "".join(f" {name} = {literal(value)}" for name, value in properties.items() if value is not None)
            begin = f"CREATE USER {quoted(name)}"
            secret = f" PASSWORD = {literal(password)}" if password else ""
            shown = f"{begin} PASSWORD = '{MASK}'{rest}" if password else begin + rest
            steps = [self._step(begin + secret + rest, shown=shown, operation="CREATE USER")]
            steps += [self._step(f"GRANT ROLE {quoted(role)} TO USER {quoted(name)}") for role in roles]
            with unlogged(password, secret):
                return self._carry_out(f"created the user {name!r}", steps)

    @operation
    def drop_user(self, name: str, *, dry_run: bool = False) -> OperationResult:
        """Drop a user; what it owns stays with the roles that own it."""
        self._must_exist("user", name, self.list_users())
        return self._carry_out(f"dropped the user {name!r}", [self._step(f"DROP USER {quoted(name)}")], dry_run=dry_run)

    # ------------------------------------------------------------------ processes
    def list_processes(self) -> list[dict[str, Any]]:
        """Statements that run, wait in a queue or are blocked, with the statements that hold the locks."""
        found = self._rows(_usage.RUNNING)
        blockers = _usage.blockers(self._where_allowed("SHOW LOCKS IN ACCOUNT") or [])
        now = self.get_server_time()
        return [_usage.process(each, blockers, now, self._shortened) for each in found]

    def _shortened(self, statement: str) -> str:
        return self._secrets.redact(statement)[:STATEMENT_CHARACTERS]

    @operation
    def kill_process(self, process_id: str, *, dry_run: bool = False) -> OperationResult:
        """End a statement.

        Args:
            process_id: The id of a query, as `list_processes` has it.
            dry_run: Only show it.
        """
        if _QUERY.fullmatch(process_id) is None:
            raise ConfigurationError(
                f"process_id={process_id!r}: expected the id of a query, as list_processes() has it"
            )
        self._must_exist("process", process_id, (each["id"] for each in self.list_processes()))
        step = self._step(f"SELECT SYSTEM$CANCEL_QUERY({literal(process_id)})")
        return self._carry_out(f"ended the query {process_id}", [step], dry_run=dry_run)

    # ------------------------------------------------------------------ settings
    def _parameters(self) -> dict[str, dict[str, Any]]:
        return {str(each["key"]): each for each in self._rows("SHOW PARAMETERS IN ACCOUNT")}

    def get_configuration(self) -> dict[str, Any]:
        """All parameters of the account."""
        return {name: _usage.value(each) for name, each in sorted(self._parameters().items())}

    def get_setting(self, name: str) -> dict[str, Any]:
        """One parameter: name, value, unit, source, restart_required, pending_restart, description, default.

        Raises:
            ObjectNotFoundError: The account has no such parameter.
        """
        found = self._parameters()
        if name not in found:
            raise ObjectNotFoundError("setting", name, self.name)
        each = found[name]
        unit = "s" if name in _SECONDS else next((unit for end, unit in _UNITS if name.endswith(end)), "")
        return {
            "name": name,
            "value": _usage.value(each),
            "unit": unit,
            "source": str(each.get("level") or "default").lower(),
            "restart_required": False,
            "pending_restart": False,
            "description": str(each.get("description") or ""),
            "default": _usage.value({**each, "value": each.get("default")}),
            "type": str(each.get("type") or "STRING"),
        }

    @operation
    def set_configuration(self, key: str, value: Any, *, dry_run: bool = False) -> OperationResult:
        """Change a parameter of the account at once.

        Args:
            key: As `get_configuration` has it.
            value: Of the type of the parameter; None sets its default again.
            dry_run: Only show it.
        """
        return self._set(key, value, dry_run)

    def _set(self, name: str, value: Any, dry_run: bool) -> OperationResult:
        known = self.get_setting(name)
        if value is None:
            statement = f"ALTER ACCOUNT UNSET {key(name)}"
        else:
            statement = f"ALTER ACCOUNT SET {key(name)} = {literal(_usage.fits(name, value, known['type']))}"
        data = {"restart_required": False, "before": known["value"]}
        return self._carry_out(f"set {name}", [self._step(statement)], dry_run=dry_run, data=data)

    # ------------------------------------------------------------------ what it reports
    def get_metrics(self, start_time: datetime, end_time: datetime) -> list[Metric]:
        """What happened in a time range, from ``ACCOUNT_USAGE``, with the time of each event.

        The views are up to 3 hours late: ``snowflake.account_usage.freshness`` says how old the newest event of each
        is.
        """
        start, end = aware(start_time, end_time)
        now = self.get_server_time()
        found: list[Metric] = []
        failed: QueryError | None = None
        for view in _usage.VIEWS:
            try:
                rows = self._rows(view.statement.replace(":start", instant(start)).replace(":end", instant(end)))
            except QueryError as error:  # noqa: PERF203 - a view that may not be read takes no other with it
                failed = error
            else:
                found += view.metrics(rows, now, self.name)
        if failed is not None and not found:
            raise PrivilegeError(f"no view of SNOWFLAKE.ACCOUNT_USAGE can be read: {failed}; {_usage.GRANT}")
        return found

    def get_logs(
        self,
        start_time: datetime,
        end_time: datetime,
        *,
        level: str | None = None,
        limit: int = LOG_LINES,
        **kwargs: Any,
    ) -> list[LogEntry]:
        """Logins, and statements that failed, from ``ACCOUNT_USAGE``; up to 2 hours late.

        Args:
            start_time: The first.
            end_time: The last.
            level: Only those of ``ERROR``, ``WARNING`` or ``INFO``.
            limit: How many of each, the latest.
            kwargs: None.
        """
        only(kwargs, "get_logs", "level", "limit")
        start, end = aware(start_time, end_time)
        if limit < 1:
            raise ConfigurationError(f"limit={limit!r}: expected a number from 1 on")
        found: list[LogEntry] = []
        for statement, entry in _usage.LOGS:
            asked = (
                statement.replace(":start", instant(start)).replace(":end", instant(end)).replace(":limit", str(limit))
            )
            found += [entry(each, self._shortened) for each in self._rows(asked)]
        chosen = [each for each in found if level is None or each.level == level.upper()]
        return sorted(chosen, key=lambda each: each.timestamp)

    # ------------------------------------------------------------------ replication
    def get_replication_status(self) -> ReplicationDetails:
        """The failover groups of this account.

        ``lag_seconds`` is that of the secondary group that is furthest behind: the time since the snapshot of the
        primary that its last refresh brought. Both times are Snowflake's own. A primary does not know how far its
        copies are: ask the other account.
        """
        groups = self._rows("SHOW FAILOVER GROUPS")
        if not groups:
            return ReplicationDetails(False, "none", "standalone")
        refreshed = self._where_allowed(_usage.REFRESHED)
        now = self.get_server_time()
        return _usage.replication(groups, refreshed or [], now, self._account())

    def _account(self) -> str:
        return str(self._query("SELECT CURRENT_ACCOUNT_NAME() AS NAME", columns=("name",))[0]["name"])

    @operation
    def failover(
        self,
        target_node: str | None = None,
        *,
        dry_run: bool = False,
        force: bool = False,
        timeout_seconds: float | None = None,
        group: str | None = None,
        **kwargs: Any,
    ) -> OperationResult:
        """Make this account the primary of its failover groups. Snowflake promotes the account that is asked.

        Args:
            target_node: This account, or nothing: another one has to be connected to.
            dry_run: Only show it.
            force: Also groups that never were refreshed, or whose refresh is suspended.
            timeout_seconds: For each group.
            group: Only this one.
            kwargs: None.
        """
        only(kwargs, "failover", "dry_run", "force", "timeout_seconds", "group")
        account = self._account()
        if target_node is not None and target_node.upper().rpartition(".")[2] != account.upper():
            raise QueryError(
                f"Snowflake promotes the account that is asked, and this is {account}; connect to {target_node} and "
                "call failover() there"
            )
        mine = [each for each in self._rows("SHOW FAILOVER GROUPS") if _usage.is_here(each, account)]
        if group is not None:
            self._must_exist("failover group", group, (str(each["name"]) for each in mine))
            mine = [each for each in mine if each["name"] == group]
        secondary = [each for each in mine if not _usage.is_primary(each)]
        if not secondary:
            raise QueryError(
                f"{account} has no secondary failover group that could become primary; connect to the account that "
                "has the copy"
            )
        status = _usage.replication(
            secondary, self._where_allowed(_usage.REFRESHED) or [], self.get_server_time(), account
        )
        if not force:
            for node in status.nodes:
                if node["lag_seconds"] is None:
                    raise QueryError(
                        f"{node['name']}: no refresh of it is known to be complete; force=True promotes it all the same"
                    )
                if str(node["state"]).upper() == "SUSPENDED":
                    raise QueryError(f"{node['name']}: its refresh is suspended; resume it, or use force=True")
        steps = [
            self._step(f"ALTER FAILOVER GROUP {quoted(str(each['name']))} PRIMARY", timeout_seconds=timeout_seconds)
            for each in secondary
        ]
        data = {"lag_seconds": {str(node["name"]): node["lag_seconds"] for node in status.nodes}}
        names = ", ".join(str(each["name"]) for each in secondary)
        return self._carry_out(f"made {account} the primary of {names}", steps, dry_run=dry_run, data=data)

    # ------------------------------------------------------------------ accounts
    @operation
    def build(self, **kwargs: Any) -> OperationResult:
        """Make an account, by ``control=``; the engine has no way of its own."""
        return super().build(**kwargs) if self.control is not None else self._lacks("build")

    @operation
    def destroy(self, force: bool = False, **kwargs: Any) -> OperationResult:
        """Remove an account, by ``control=``; the engine has no way of its own."""
        return super().destroy(force, **kwargs) if self.control is not None else self._lacks("destroy")


def _days(until: datetime | None) -> int | None:
    """In how many days that is, upwards."""
    if until is None:
        return None
    left = (until.astimezone(timezone.utc) - datetime.now(timezone.utc)).total_seconds()
    if left <= 0:
        raise ConfigurationError(f"valid_until={until.isoformat()}: expected a time to come")
    return math.ceil(left / 86_400)
