"""Logins, and users of databases that belong to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gds_database._redact import MASK
from gds_database.engines._base import only, operation
from gds_database.engines.mssql._server import SqlServerBase
from gds_database.engines.mssql._sql import LONGEST_PASSWORD, bracketed, constant, hashed, utf16_length
from gds_database.errors import ConfigurationError, ObjectNotFoundError, QueryError
from gds_database.plan import Step

if TYPE_CHECKING:
    from gds_database.base import OperationResult

__all__ = ["Users"]

SHORTEST_PASSWORD = 8
_KINDS_OF_CHARACTERS = 3


class Users(SqlServerBase):
    """Logins are what other platforms call users: those of the whole server."""

    def list_users(self) -> list[str]:
        """The names of all logins: of SQL Server, Windows and Entra; the server's internal ones are left out."""
        query = (
            "SELECT name FROM sys.server_principals WHERE type IN ('S', 'U', 'G', 'E', 'X')"
            " AND name NOT LIKE N'##%' ORDER BY name"
        )
        return [str(row["name"]) for row in self._read(query, columns=("name",))]

    @operation
    def create_user(self, name: str, password: str, **kwargs: Any) -> OperationResult:
        """Create a login.

        The password is hashed here and only its hash is sent, so it is in no statement, trace or cache of the server.
        As the server cannot look at it then, its rules are asked of it here: from 8 to 128 characters, of three kinds
        of capital and small letters, digits and others, without the name.

        Args:
            name: Without quotes.
            password: As above.
            kwargs: ``roles`` (of the server), ``databases`` (a dict: in each of these a user with these roles),
                ``default_database``, ``check_policy`` (bool, True: the rules, and what Windows asks later on),
                ``check_expiration`` (bool, False), ``dry_run``.
        """
        known = ("roles", "databases", "default_database", "check_policy", "check_expiration", "dry_run")
        if kwargs.get("valid_until") is not None:
            raise ConfigurationError("valid_until: SQL Server has no logins that end at a time; drop it then")
        only(kwargs, "create_user", *known, "valid_until")
        if self._is_azure_database:
            return self._azure_cannot("create_user")
        login = bracketed(name, "name")
        with self._secrets.during(password):
            self._check_password(name, password, by_policy=kwargs.get("check_policy", True))
            if name.lower() in {each.lower() for each in self.list_users()}:
                raise QueryError(f"login {name!r} exists on {self.name}; nothing was changed")
            steps = [self._create_login(login, password, kwargs)]
            steps += self._memberships(login, kwargs.get("roles") or ())
            steps += self._database_users(login, kwargs.get("databases") or {})
            return self._carry_out(f"created login {name}", steps, dry_run=bool(kwargs.get("dry_run")))

    def _check_password(self, name: str, password: str, *, by_policy: bool) -> None:
        if not password or not isinstance(password, str):
            raise ConfigurationError("password: expected text that is not empty")
        if utf16_length(password) > LONGEST_PASSWORD:
            raise ConfigurationError(f"password: expected at most {LONGEST_PASSWORD} characters")
        if any("\ud800" <= character <= "\udfff" for character in password):
            raise ConfigurationError("password: expected text without lone surrogates")
        if not by_policy:
            return
        if len(password) < SHORTEST_PASSWORD:
            raise ConfigurationError(
                f"password: expected at least {SHORTEST_PASSWORD} characters, or check_policy=False"
            )
        kinds = (str.isupper, str.islower, str.isdigit)
        found = sum(any(map(is_kind, password)) for is_kind in kinds) + any(not each.isalnum() for each in password)
        if found < _KINDS_OF_CHARACTERS:
            raise ConfigurationError(
                f"password: expected characters of {_KINDS_OF_CHARACTERS} kinds of these four: capital letters, small "
                f"letters, digits, others; got {found}; or check_policy=False"
            )
        if name.lower() in password.lower():
            raise ConfigurationError("password: expected one without the name of the login; or check_policy=False")

    def _create_login(self, login: str, password: str, options: Mapping[str, Any]) -> Step:
        words = []
        if (database := options.get("default_database")) is not None:
            if not self._read("SELECT 1 AS found FROM sys.databases WHERE name = @p1", (database,), columns=("found",)):
                raise ObjectNotFoundError("database", database, self.name)
            words.append(f"DEFAULT_DATABASE = {bracketed(database, 'default_database')}")
        policy, expiration = options.get("check_policy", True), options.get("check_expiration", False)
        if expiration and not policy:
            raise ConfigurationError("check_expiration: needs check_policy")
        words += [f"CHECK_POLICY = {_on(policy)}", f"CHECK_EXPIRATION = {_on(expiration)}"]
        start, end = f"CREATE LOGIN {login} WITH PASSWORD = ", f" HASHED, {', '.join(words)}"

        def run() -> None:
            secret = hashed(password)
            with self._secrets.during(secret):
                self._execute(f"{start}{secret}{end}", operation="CREATE")

        return Step(f"{start}{MASK}{end}", run)

    def _memberships(self, login: str, roles: Sequence[str]) -> list[Step]:
        if isinstance(roles, str):
            raise ConfigurationError(f"roles={roles!r}: expected a list of names")
        there = (
            self._read("SELECT name FROM sys.server_principals WHERE type = 'R'", columns=("name",)) if roles else []
        )
        for role in roles:
            self._must_exist("server role", role, (str(row["name"]) for row in there))
        return [self._step(f"ALTER SERVER ROLE {bracketed(role, 'role')} ADD MEMBER {login}") for role in roles]

    def _database_users(self, login: str, databases: Mapping[str, Sequence[str]]) -> list[Step]:
        if not isinstance(databases, Mapping):
            raise ConfigurationError(f"databases={databases!r}: expected a dict of names with lists of roles")
        steps = []
        for database, roles in databases.items():
            if isinstance(roles, str):
                raise ConfigurationError(f"databases[{database!r}]={roles!r}: expected a list of names")
            if not self._read("SELECT 1 AS found FROM sys.databases WHERE name = @p1", (database,), columns=("found",)):
                raise ObjectNotFoundError("database", database, self.name)
            there = {
                str(row["name"])
                for row in self._names_in(database, "SELECT name FROM sys.database_principals WHERE type = 'R'")
            }
            for role in roles:
                self._must_exist(f"role of database {database}", role, there)
            inside = [f"CREATE USER {login} FOR LOGIN {login}"]
            inside += [f"ALTER ROLE {bracketed(role, 'role')} ADD MEMBER {login}" for role in roles]
            # By three names it runs in that database, and the connection stays in its own.
            steps += [self._step(f"{self._inside(database)} {constant(each)}", operation="CREATE") for each in inside]
        return steps

    def _names_in(self, database: str, query: str) -> list[dict[str, Any]]:
        return self._query(f"{self._inside(database)} {constant(query)}", columns=("name",), operation="SELECT")

    @staticmethod
    def _inside(database: str) -> str:
        return f"EXEC {bracketed(database, 'database')}.sys.sp_executesql"

    @operation
    def drop_user(self, name: str, *, dry_run: bool = False) -> OperationResult:
        """Drop a login. Its users in databases stay, without a login, as the server has it.

        Args:
            name: Without quotes.
            dry_run: Show what would run.
        """
        login = bracketed(name, "name")
        rows = self._read(
            "SELECT principal_id, SUSER_SNAME() AS me FROM sys.server_principals WHERE name = @p1 AND type <> 'R'",
            (name,),
            columns=("principal_id", "me"),
        )
        if not rows:
            raise ObjectNotFoundError("login", name, self.name)
        if int(rows[0]["principal_id"]) == 1:
            raise ConfigurationError(f"login {name!r}: is the server's own administrator and cannot be dropped")
        if str(rows[0]["me"]).lower() == name.lower():
            raise ConfigurationError(f"login {name!r}: is the one that asks; ask with another")
        return self._carry_out(f"dropped login {name}", [self._step(f"DROP LOGIN {login}")], dry_run=dry_run)


def _on(value: Any) -> str:
    return "ON" if value else "OFF"
