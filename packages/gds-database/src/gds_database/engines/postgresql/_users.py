"""Roles. A password leaves this process only as a SCRAM verifier, from which it cannot be read back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gds_database._redact import MASK
from gds_database.engines._base import driver
from gds_database.engines.postgresql._asking import Ask
from gds_database.engines.postgresql._quoting import checked, identifier, literal
from gds_database.engines.postgresql._session import Sql
from gds_database.errors import ConfigurationError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_database.engines.postgresql._asking import Question
    from gds_database.engines.postgresql.engine import PostgreSQLEngine
    from gds_database.plan import Step

__all__ = ["checked_password", "create_steps", "drop_steps", "users", "verifier"]

_USERS = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin ORDER BY rolname"
_ROLES = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY(%s)"


def users() -> Question[list[str]]:
    """Who may log in."""
    rows = yield Ask(_USERS, ("rolname",))
    return [row["rolname"] for row in rows]


def existing(engine: PostgreSQLEngine, names: Sequence[str]) -> set[str]:
    """Those names that roles have, whether they may log in or not."""
    return {row["rolname"] for row in engine._query(_ROLES, (list(names),), columns=("rolname",))}


def verifier(password: str) -> str:
    """What the server keeps of a password, made by libpq."""
    pq: Any = driver("psycopg.pq", "postgresql")
    # libpq wants a connection although this needs none; to port 0 it does not even try.
    connection = pq.PGconn.connect(b"host=/ port=1 connect_timeout=1")
    try:
        made: bytes = connection.encrypt_password(password.encode(), b"", b"scram-sha-256")
    finally:
        connection.finish()
    return made.decode()


def checked_password(name: str, password: Any) -> str:
    """The password, unless it is none."""
    if not isinstance(password, str) or not password or "\0" in password:
        raise ConfigurationError("password: expected text, not empty and without NUL")
    if password.casefold() == str(name).casefold():
        raise ConfigurationError("password: expected another word than the name of the user")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("password: expected text that can be written as UTF-8") from None
    return password


def create_steps(
    engine: PostgreSQLEngine,
    name: str,
    password: str,
    *,
    roles: Sequence[str],
    valid_until: datetime | None,
    connection_limit: int | None,
    flags: dict[str, bool],
) -> list[Step]:
    """What creates a user; checked against what there is."""
    checked(name, "user")
    if name.startswith("pg_") or name in {"public", "none"}:
        raise ConfigurationError(f"user name {name!r}: PostgreSQL keeps it for itself; choose another one")
    if isinstance(roles, str):
        raise ConfigurationError(f"roles={roles!r}: expected a list of names")
    known = existing(engine, [name, *roles])
    if name in known:
        raise QueryError(f"role {name!r} exists already on {engine.name}; nothing was changed")
    for role in roles:
        engine._must_exist("role", role, known)
    head = f"CREATE ROLE {identifier(name)} WITH LOGIN"
    tail = [f"{'' if wanted else 'NO'}{flag.upper()}" for flag, wanted in flags.items()]
    limit: Any = connection_limit
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < -1:
            raise ConfigurationError(f"connection_limit={limit!r}: expected -1 (none) or more")
        tail.append(f"CONNECTION LIMIT {limit}")
    if valid_until is not None:
        if not isinstance(valid_until, datetime):
            raise ConfigurationError(f"valid_until={valid_until!r}: expected a datetime")
        tail.append(f"VALID UNTIL {literal(valid_until.astimezone().isoformat())}")
    if roles:
        tail.append("IN ROLE " + ", ".join(identifier(role) for role in roles))
    rest = " ".join(["", *tail])
    statement = Sql(f"{head} PASSWORD {literal(verifier(password))}{rest}")
    return [engine._step(statement, shown=f"{head} PASSWORD '{MASK}'{rest}", operation="CREATE ROLE")]


_OWNED = """
SELECT coalesce(d.datname, '(shared)') AS database, count(*)::int AS objects
FROM pg_catalog.pg_shdepend s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = (
  SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s)
GROUP BY 1 ORDER BY 1
"""


def drop_steps(engine: PostgreSQLEngine, name: str) -> list[Step]:
    """What drops a user; refused while it owns something or has rights on it."""
    engine._must_exist("user", name, engine.list_users())
    owned = engine._query(_OWNED, (name,), columns=("database", "objects"))
    if owned:
        where = ", ".join(f"{row['database']}: {row['objects']}" for row in owned)
        quoted = identifier(name)
        raise QueryError(
            f"user {name!r} owns objects or has rights on them ({where}); in each of these databases run "
            f"REASSIGN OWNED BY {quoted} TO another, then DROP OWNED BY {quoted}; nothing was changed"
        )
    return [engine._step(Sql(f"DROP ROLE {identifier(name)}"), operation="DROP ROLE")]
