"""What an account has beyond what fakesnow knows: users, roles, parameters, warehouses, failover groups, databases.

Statements about them, which fakesnow refuses, become statements on tables of the schema ``SNOWFLAKE.LIVE``, which
fakesnow runs. They are read with sqlglot's tokenizer of Snowflake, so that quoting counts.
Written after Snowflake's manual.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

TABLES = {
    "LIVE.DATABASES": "created_on timestamp_tz, name varchar, origin varchar, owner varchar, comment varchar, "
    "options varchar, retention_time varchar, kind varchar, dropped_on timestamp_tz",
    "LIVE.USERS": "name varchar, created_on timestamp_tz, login_name varchar, disabled varchar, "
    "must_change_password varchar, default_warehouse varchar, default_role varchar, days_to_expiry varchar, "
    "type varchar",
    "LIVE.ROLES": "created_on timestamp_tz, name varchar, owner varchar",
    "LIVE.GRANTS": "role varchar, granted_to varchar, grantee_name varchar",
    "LIVE.PARAMETERS": "key varchar, value varchar, default_value varchar, level varchar, description varchar, "
    "type varchar",
    "LIVE.WAREHOUSES": "name varchar, state varchar, type varchar, size varchar, running number, queued number",
    "LIVE.LOCKS": "resource varchar, type varchar, transaction varchar, transaction_started_on timestamp_tz, "
    "status varchar, acquired_on timestamp_tz, query_id varchar",
    "LIVE.FAILOVER_GROUPS": "snowflake_region varchar, account_name varchar, name varchar, type varchar, "
    "is_primary varchar, primary_name varchar, organization_name varchar, replication_schedule varchar, "
    "secondary_state varchar, next_scheduled_refresh varchar",
    "ACCOUNT_USAGE.QUERY_HISTORY": "query_id varchar, query_text varchar, database_name varchar, user_name varchar, "
    "role_name varchar, warehouse_name varchar, session_id number, execution_status varchar, error_code varchar, "
    "error_message varchar, start_time timestamp_tz, end_time timestamp_tz, total_elapsed_time number, "
    "bytes_scanned number, bytes_spilled_to_remote_storage number, queued_overload_time number, "
    "transaction_blocked_time number",
    "ACCOUNT_USAGE.LOGIN_HISTORY": "event_id number, event_timestamp timestamp_tz, event_type varchar, "
    "user_name varchar, client_ip varchar, reported_client_type varchar, first_authentication_factor varchar, "
    "is_success varchar, error_code number, error_message varchar",
    "ACCOUNT_USAGE.WAREHOUSE_METERING_HISTORY": "start_time timestamp_tz, end_time timestamp_tz, warehouse_id number, "
    "warehouse_name varchar, credits_used float, credits_used_compute float, credits_used_cloud_services float",
    "ACCOUNT_USAGE.WAREHOUSE_LOAD_HISTORY": "start_time timestamp_tz, end_time timestamp_tz, warehouse_name varchar, "
    "avg_running float, avg_queued_load float, avg_queued_provisioning float, avg_blocked float",
    "ACCOUNT_USAGE.DATABASE_STORAGE_USAGE_HISTORY": "usage_date date, database_id number, database_name varchar, "
    "average_database_bytes float, average_failsafe_bytes float",
    "ACCOUNT_USAGE.STORAGE_USAGE": "usage_date date, storage_bytes float, stage_bytes float, failsafe_bytes float",
    "ACCOUNT_USAGE.TASK_HISTORY": "name varchar, database_name varchar, state varchar, completed_time timestamp_tz",
    "LIVE.COLUMNS": "table_name varchar, column_name varchar",
    "ACCOUNT_USAGE.REPLICATION_GROUP_REFRESH_HISTORY": "phase_name varchar, start_time timestamp_tz, "
    "end_time timestamp_tz, replication_group_name varchar, primary_snapshot_timestamp timestamp_tz",
}
# Which of them a database role of SNOWFLAKE shows.
VIEWERS = {
    "USAGE_VIEWER": (
        "WAREHOUSE_METERING_HISTORY",
        "WAREHOUSE_LOAD_HISTORY",
        "DATABASE_STORAGE_USAGE_HISTORY",
        "STORAGE_USAGE",
        "TASK_HISTORY",
        "REPLICATION_GROUP_REFRESH_HISTORY",
    ),
    "GOVERNANCE_VIEWER": ("QUERY_HISTORY",),
    "SECURITY_VIEWER": ("LOGIN_HISTORY",),
}
# What the functions of the session are here.
SESSION = {
    "CURRENT_ACCOUNT": "TESTLOCATOR",
    "CURRENT_ACCOUNT_NAME": "TESTACCOUNT",
    "CURRENT_ORGANIZATION_NAME": "TESTORG",
    "CURRENT_REGION": "AWS_EU_CENTRAL_1",
    "CURRENT_WAREHOUSE": "MAIN_WH",
}
ADMIN = "ACCOUNTADMIN"
DROPPED = "UPDATE SNOWFLAKE.LIVE.DATABASES SET dropped_on = CURRENT_TIMESTAMP() WHERE name = {} AND dropped_on IS NULL"
LIVE_FUNCTIONS = re.compile(r"TABLE\(SNOWFLAKE\.INFORMATION_SCHEMA\.(\w+)\([^)]*\)\)", re.IGNORECASE)


class Refused(Exception):
    """What Snowflake would answer: number, SQL state, text."""

    def __init__(self, number: int, state: str, text: str) -> None:
        super().__init__(text)
        self.number, self.state, self.text = number, state, text


def text(value: str | None) -> str:
    """A literal."""
    return "NULL" if value is None else "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


class Words:
    """The tokens of one statement, read from left to right."""

    def __init__(self, statement: str) -> None:
        dialect = importlib.import_module("sqlglot.dialects.snowflake").Snowflake
        self._kinds = importlib.import_module("sqlglot.tokens").TokenType
        self._tokens = dialect().tokenize(statement)
        self._at = 0

    def take(self, *words: str) -> bool:
        """Go past these words if they come next, none of them quoted."""
        following = self._tokens[self._at : self._at + len(words)]
        quoted = (self._kinds.IDENTIFIER, self._kinds.STRING)
        found = [token.text.upper() for token in following if token.token_type not in quoted]
        if found == list(words):
            self._at += len(words)
            return True
        return False

    def name(self) -> str:
        """An identifier: as it is if quoted, else in capitals."""
        token = self._next()
        return str(token.text) if token.token_type is self._kinds.IDENTIFIER else str(token.text).upper()

    def value(self) -> str:
        """A literal, or a word."""
        token = self._next()
        return str(token.text)

    def end(self) -> None:
        """Nothing may follow: a second statement least of all."""
        if self._at != len(self._tokens):
            raise Refused(1003, "42000", f"SQL compilation error: unexpected {self._tokens[self._at].text!r}")

    def properties(self) -> dict[str, str]:
        """``NAME = value`` for as long as they come."""
        found = {}
        while self._at < len(self._tokens):
            key = self.name()
            if not self.take("="):
                raise Refused(1003, "42000", f"SQL compilation error: expected = after {key}")
            found[key] = self.value()
        return found

    def _next(self) -> Any:
        if self._at == len(self._tokens):
            raise Refused(1003, "42000", "SQL compilation error: unexpected end")
        self._at += 1
        return self._tokens[self._at - 1]


class Account:
    """Turns statements into those that fakesnow runs.

    Args:
        run: Runs a statement and returns its rows.
    """

    def __init__(self, run: Callable[[str], Sequence[Sequence[Any]]]) -> None:
        self._run = run
        run("CREATE DATABASE SNOWFLAKE")
        for schema in ("LIVE", "ACCOUNT_USAGE"):
            run(f"CREATE SCHEMA SNOWFLAKE.{schema}")
        for table, columns in TABLES.items():
            run(f"CREATE TABLE SNOWFLAKE.{table} ({columns})")
        for view in (view for views in VIEWERS.values() for view in views):
            for column in TABLES[f"ACCOUNT_USAGE.{view}"].split(", "):
                self._add("COLUMNS", table_name=view, column_name=column.split()[0].upper())
        self._passwords: dict[str, str] = {}
        self._add("ROLES", name="PUBLIC", owner="")
        self._add("ROLES", name="ACCOUNTADMIN", owner="")
        self._add("DATABASES", name="SNOWFLAKE", kind="APPLICATION", owner="", retention_time="1")
        self._add("USERS", name="DBA", login_name="DBA", disabled="false")
        self._add("WAREHOUSES", name="MAIN_WH", state="STARTED", type="STANDARD", size="X-Small")
        for key, value, kind in (
            ("STATEMENT_TIMEOUT_IN_SECONDS", "172800", "NUMBER"),
            ("LOCK_TIMEOUT", "43200", "NUMBER"),
            ("TIMEZONE", "America/Los_Angeles", "STRING"),
            ("ABORT_DETACHED_QUERY", "false", "BOOLEAN"),
        ):
            self._add(
                "PARAMETERS", key=key, value=value, default_value=value, level="", description=f"About {key}", type=kind
            )

    def log_in(self, user: str, password: str, role: str | None) -> str:
        """The role of a new session; raises `Refused`. Who was made without a password may have any."""
        name = user.upper()
        if self._passwords.get(name, password) != password:
            raise Refused(390100, "08001", "Incorrect username or password was specified.")
        found = self._run(f"SELECT default_role FROM SNOWFLAKE.LIVE.USERS WHERE name = {text(name)}")
        return role or (str(found[0][0]) if found and found[0][0] else "PUBLIC" if found and name != "DBA" else ADMIN)

    def _shown(self, role: str) -> set[str]:
        """The views of ACCOUNT_USAGE that a role may see."""
        granted = self._run(f"SELECT role FROM SNOWFLAKE.LIVE.GRANTS WHERE grantee_name = {text(role)}")
        names = {str(row[0]).rpartition(".")[2] for row in granted}
        return {view for viewer, views in VIEWERS.items() if role == ADMIN or viewer in names for view in views}

    def statement(self, given: str, role: str = "ACCOUNTADMIN", user: str = "DBA") -> str:
        """The statement to run instead; raises `Refused`."""
        shown = self._shown(role)
        for view in re.findall(r"\bSNOWFLAKE\.ACCOUNT_USAGE\.(\w+)", given, re.IGNORECASE):
            if view.upper() not in shown:
                what = f"Object 'SNOWFLAKE.ACCOUNT_USAGE.{view}' does not exist or not authorized."
                raise Refused(2003, "02000", f"SQL compilation error: {what}")
        if re.fullmatch(r"\s*SHOW COLUMNS IN SCHEMA SNOWFLAKE\.ACCOUNT_USAGE\s*", given, re.IGNORECASE):
            if not shown:
                what = "Schema 'SNOWFLAKE.ACCOUNT_USAGE' does not exist or not authorized."
                raise Refused(2003, "02000", f"SQL compilation error: {what}")
            views = ", ".join(map(text, sorted(shown)))
            columns = 'table_name AS "table_name", column_name AS "column_name"'
            return f"SELECT {columns} FROM SNOWFLAKE.LIVE.COLUMNS WHERE table_name IN ({views})"
        for word, value in (SESSION | {"CURRENT_ROLE": role, "CURRENT_USER": user}).items():
            given = re.sub(rf"\b{word}\(\)", text(value), given, flags=re.IGNORECASE)
        given = LIVE_FUNCTIONS.sub(lambda found: f"SNOWFLAKE.ACCOUNT_USAGE.{found[1]}", given)
        words = Words(given)
        for beginning, method in self._beginnings().items():
            if words.take(*beginning.split()):
                return method(words)
        return given

    def _beginnings(self) -> dict[str, Callable[[Words], str]]:
        return {
            "SHOW DATABASES": self._show("DATABASES", "dropped_on IS NULL"),
            "SHOW USERS": self._show("USERS"),
            "SHOW ROLES": self._show("ROLES"),
            "SHOW WAREHOUSES": self._show("WAREHOUSES"),
            "SHOW FAILOVER GROUPS": self._show("FAILOVER_GROUPS"),
            "SHOW LOCKS IN ACCOUNT": self._show("LOCKS"),
            "SHOW PARAMETERS IN ACCOUNT": self._show("PARAMETERS"),
            "CREATE DATABASE": self._create_database,
            "CREATE TRANSIENT DATABASE": self._create_database,
            "CREATE OR REPLACE DATABASE": self._replace_database,
            "UNDROP DATABASE": self._undrop_database,
            "DROP DATABASE": self._drop_database,
            "CREATE USER": self._create_user,
            "DROP USER": self._drop_user,
            "GRANT ROLE": self._grant_role,
            "GRANT DATABASE ROLE": self._grant_viewer,
            "CREATE ROLE": self._create_role,
            "ALTER ACCOUNT SET": self._set_parameter,
            "ALTER ACCOUNT UNSET": self._unset_parameter,
            "ALTER WAREHOUSE": self._alter_warehouse,
            "ALTER FAILOVER GROUP": self._promote,
            "SELECT SYSTEM$CANCEL_QUERY": self._cancel,
        }

    # ------------------------------------------------------------------ tables
    def _add(self, table: str, **values: str | None) -> str:
        if "created_on" in TABLES[f"LIVE.{table}"]:
            columns, literals = ["created_on"], ["CURRENT_TIMESTAMP()"]
        else:
            columns, literals = [], []
        columns += values
        literals += [text(value) for value in values.values()]
        statement = f"INSERT INTO SNOWFLAKE.LIVE.{table} ({', '.join(columns)}) SELECT {', '.join(literals)}"
        self._run(statement)
        return "SELECT 'Statement executed successfully.' AS \"status\""

    def _change(self, statement: str) -> str:
        self._run(statement)
        return "SELECT 'Statement executed successfully.' AS \"status\""

    def _has(self, table: str, name: str, where: str = "TRUE", key: str = "name") -> bool:
        return bool(self._run(f"SELECT 1 FROM SNOWFLAKE.LIVE.{table} WHERE {key} = {text(name)} AND {where}"))

    def _must_have(self, kind: str, table: str, name: str, where: str = "TRUE", key: str = "name") -> None:
        if not self._has(table, name, where, key):
            raise Refused(2003, "02000", f"SQL compilation error: {kind} '{name}' does not exist or not authorized.")

    def _must_not_have(self, kind: str, table: str, name: str, where: str = "TRUE") -> None:
        if self._has(table, name, where):
            raise Refused(2002, "42710", f"SQL compilation error: {kind} '{name}' already exists.")

    def _show(self, table: str, where: str = "TRUE") -> Callable[[Words], str]:
        def show(words: Words) -> str:
            words.end()
            renamed = {"default_value": "default", "primary_name": "primary"}
            columns = [column.split()[0] for column in TABLES[f"LIVE.{table}"].split(", ")]
            named = ", ".join(f'{column} AS "{renamed.get(column, column)}"' for column in columns)
            return f"SELECT {named} FROM SNOWFLAKE.LIVE.{table} WHERE {where}"

        return show

    # ------------------------------------------------------------------ databases
    def _create_database(self, words: Words) -> str:
        name = words.name()
        self._must_not_have("Object", "DATABASES", name, "dropped_on IS NULL")
        return self._made_database(name, words)

    def _replace_database(self, words: Words) -> str:
        name = words.name()
        return self._made_database(name, words, replace=True)

    def _made_database(self, name: str, words: Words, *, replace: bool = False) -> str:
        origin = ""
        if words.take("CLONE"):
            origin = words.name()
            self._must_have("Database", "DATABASES", origin, "dropped_on IS NULL")
        _time_travel(words)
        given = words.properties()
        if replace:
            self._run(DROPPED.format(text(name)))
        self._add(
            "DATABASES",
            name=name,
            origin=origin,
            owner="ACCOUNTADMIN",
            comment=given.pop("COMMENT", ""),
            options="",
            retention_time=given.pop("DATA_RETENTION_TIME_IN_DAYS", "1"),
            kind="STANDARD",
        )
        _none_left(given)
        # One that can be connected to; each is a file: it cannot have any name, nor that of a word of SQL.
        dialect = importlib.import_module("sqlglot.dialects.snowflake").Snowflake
        if re.fullmatch(r"\w+", name, re.ASCII) and name.upper() not in dialect.Tokenizer.KEYWORDS:
            self._run(f'CREATE DATABASE IF NOT EXISTS "{name}"')
            self._run(f'CREATE SCHEMA IF NOT EXISTS "{name}".PUBLIC')
        return "SELECT 'Database successfully created.' AS \"status\""

    def _drop_database(self, words: Words) -> str:
        name = words.name()
        words.take("CASCADE") or words.take("RESTRICT")
        words.end()
        self._must_have("Database", "DATABASES", name, "dropped_on IS NULL")
        return self._change(DROPPED.format(text(name)))

    def _undrop_database(self, words: Words) -> str:
        name = words.name()
        words.end()
        self._must_have("Database", "DATABASES", name, "dropped_on IS NOT NULL")
        self._must_not_have("Object", "DATABASES", name, "dropped_on IS NULL")
        return self._change(f"UPDATE SNOWFLAKE.LIVE.DATABASES SET dropped_on = NULL WHERE name = {text(name)}")

    # ------------------------------------------------------------------ users
    def _create_user(self, words: Words) -> str:
        name, given = words.name(), words.properties()
        self._must_not_have("Object", "USERS", name)
        password = given.pop("PASSWORD", None)
        if password is not None and len(password) < 8:
            raise Refused(3002, "28P01", "SQL execution error: New password rejected by current password policy.")
        known = ("MUST_CHANGE_PASSWORD", "DEFAULT_WAREHOUSE", "DEFAULT_ROLE", "DAYS_TO_EXPIRY", "TYPE")
        values = {key.lower(): given.pop(key) for key in known if key in given}
        given.pop("RSA_PUBLIC_KEY", None)
        if password is not None:
            self._passwords[name.upper()] = password
        _none_left(given)
        return self._add("USERS", name=name, login_name=name.upper(), disabled="false", **values)

    def _drop_user(self, words: Words) -> str:
        name = words.name()
        words.end()
        self._must_have("User", "USERS", name)
        self._run(f"DELETE FROM SNOWFLAKE.LIVE.GRANTS WHERE grantee_name = {text(name)}")
        return self._change(f"DELETE FROM SNOWFLAKE.LIVE.USERS WHERE name = {text(name)}")

    def _grant_role(self, words: Words) -> str:
        role = words.name()
        if not words.take("TO", "USER"):
            raise Refused(1003, "42000", "SQL compilation error: expected TO USER")
        name = words.name()
        words.end()
        self._must_have("Role", "ROLES", role)
        self._must_have("User", "USERS", name)
        return self._add("GRANTS", role=role, granted_to="USER", grantee_name=name)

    def _grant_viewer(self, words: Words) -> str:
        words.take("SNOWFLAKE", ".")
        viewer = words.name()
        if viewer not in VIEWERS or not words.take("TO", "ROLE"):
            raise Refused(2003, "02000", f"SQL compilation error: Database role '{viewer}' does not exist.")
        role = words.name()
        words.end()
        self._must_have("Role", "ROLES", role)
        return self._add("GRANTS", role=f"SNOWFLAKE.{viewer}", granted_to="ROLE", grantee_name=role)

    def _create_role(self, words: Words) -> str:
        name = words.name()
        words.end()
        self._must_not_have("Object", "ROLES", name)
        return self._add("ROLES", name=name, owner=ADMIN)

    # ------------------------------------------------------------------ settings, warehouses, groups, queries
    def _set_parameter(self, words: Words) -> str:
        for key, value in words.properties().items():
            self._must_have("Parameter", "PARAMETERS", key, key="key")
            changed = f"value = {text(value)}, level = 'ACCOUNT'"
            self._run(f"UPDATE SNOWFLAKE.LIVE.PARAMETERS SET {changed} WHERE key = {text(key)}")
        return "SELECT 'Statement executed successfully.' AS \"status\""

    def _unset_parameter(self, words: Words) -> str:
        key = words.name()
        words.end()
        return self._change(
            f"UPDATE SNOWFLAKE.LIVE.PARAMETERS SET value = default_value, level = '' WHERE key = {text(key)}"
        )

    def _alter_warehouse(self, words: Words) -> str:
        name = words.name()
        self._must_have("Warehouse", "WAREHOUSES", name)
        if words.take("ABORT", "ALL", "QUERIES"):
            words.end()
            return self._change(
                f"DELETE FROM SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY "
                f"WHERE warehouse_name = {text(name)} AND execution_status = 'RUNNING'"
            )
        state = "STARTED" if words.take("RESUME", "IF", "SUSPENDED") else "SUSPENDED" if words.take("SUSPEND") else None
        words.end()
        if state is None or (state == "SUSPENDED" and self._has("WAREHOUSES", name, "state = 'SUSPENDED'")):
            raise Refused(90064, "22000", f"Invalid state. Warehouse '{name}' cannot be suspended.")
        return self._change(f"UPDATE SNOWFLAKE.LIVE.WAREHOUSES SET state = '{state}' WHERE name = {text(name)}")

    def _promote(self, words: Words) -> str:
        name = words.name()
        if not words.take("PRIMARY"):
            raise Refused(1003, "42000", "SQL compilation error: expected PRIMARY")
        words.end()
        self._must_have("Failover group", "FAILOVER_GROUPS", name, "is_primary = 'false'")
        return self._change(f"UPDATE SNOWFLAKE.LIVE.FAILOVER_GROUPS SET is_primary = 'true' WHERE name = {text(name)}")

    def _cancel(self, words: Words) -> str:
        words.take("(")
        query = words.value()
        words.take(")")
        words.end()
        self._run(f"DELETE FROM SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY WHERE query_id = {text(query)}")
        return f"SELECT {text(f'query [{query}] terminated.')} AS STATUS"


def _time_travel(words: Words) -> None:
    """``AT (TIMESTAMP => '...')``."""
    if words.take("AT"):
        while not words.take(")"):
            words.value()


def _none_left(given: dict[str, str]) -> None:
    if given:
        raise Refused(1008, "22023", f"SQL compilation error: invalid property '{next(iter(given))}'")
