"""A connection to PostgreSQL by psycopg 3."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, overload

from gds_database.base import (
    ConfigurableComponent,
    ConfigurationError,
    DatabaseConnection,
    DatabaseConnectionError,
    ResourceManager,
)
from gds_database.config import EngineConfig
from gds_database.engines._base import driver, only
from gds_database.engines.postgresql._errors import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

__all__ = ["PostgreSQLConnection"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 10

# What libpq has no better value for: a peer that is gone is noticed within a minute.
_DEFAULTS: Mapping[str, Any] = {
    "application_name": "gds_database",
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# Names that programs use, and libpq's.
_NAMES = {"database": "dbname", "username": "user"}
_LIMITS = ("statement_timeout", "lock_timeout", "default_transaction_read_only")
_ASK = "SELECT pg_catalog.pg_backend_pid(), " + ", ".join(f"current_setting('{name}')" for name in _LIMITS)
READ_ONLY = "SELECT " + ", ".join(f"set_config('{name}', %s, false)" for name in _LIMITS)
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class PostgreSQLConnection(DatabaseConnection, ConfigurableComponent, ResourceManager):
    """A connection to one database of a server, in autocommit unless a transaction is begun.

    ``config`` and keywords may hold every parameter of libpq, ``sslmode``, ``sslrootcert`` and ``options`` for example.
    What is not given comes from libpq's environment variables, then from its defaults.

    Args:
        host: A name, an address or a folder of Unix sockets; several with commas.
        port: 5432 by default.
        database: By default of the user's name.
        user: Who.
        password: Not in ``repr``, errors or logs.
        connection_url: ``postgresql://user@host:5432/db?sslmode=verify-full``; the arguments before replace what it
            says.
        config: The same names in a dict; arguments replace what it says.
        kwargs: Further parameters of libpq.

    Raises:
        ConfigurationError: There is no such parameter, or one cannot be used.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        database: str | None = None,
        user: str | None = None,
        password: str | None = None,
        connection_url: str | None = None,
        config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = dict(config or {})
        url = connection_url or given.pop("connection_url", None)
        if url is not None:
            given = {**_from_url(url), **given}
        named = {"host": host, "port": port, "database": database, "user": user, "password": password}
        given.update({name: value for name, value in {**named, **kwargs}.items() if value is not None})
        settings: dict[str, Any] = {}
        for name, value in given.items():
            settings[_NAMES.get(name, name)] = value
        self._raw: psycopg.Connection[Any] | None = None
        # Engines set limits for the session and leave them in place, unless somebody else may run statements in it.
        self._lock = threading.RLock()
        self._shown = False
        self._limits: tuple[int, int] | None = None
        self._before: tuple[Any, ...] | None = None
        self._password: str | None = settings.pop("password", None)
        super().__init__(settings)
        self.validate_config()

    @property
    def connection(self) -> psycopg.Connection[Any] | None:
        """The driver's; None if it is not connected."""
        if self._raw is not None:
            with self._lock:
                self._shown = True
                self._own()
        return self._raw

    @connection.setter
    def connection(self, raw: psycopg.Connection[Any] | None) -> None:
        with self._lock:
            self._raw, self._shown, self._limits = raw, True, None

    @property
    def host(self) -> str | None:
        """As given."""
        host: str | None = self.get_config("host")
        return host

    @property
    def port(self) -> int | None:
        """As given."""
        port = self.get_config("port")
        return None if port is None else int(str(port).partition(",")[0])

    @property
    def database(self) -> str | None:
        """As given."""
        database: str | None = self.get_config("dbname")
        return database

    @property
    def user(self) -> str | None:
        """As given."""
        user: str | None = self.get_config("user")
        return user

    @property
    def password(self) -> str | None:
        """As given."""
        return self._password

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.user or ''}@{self.host or ''}:{self.port or 5432}/{self.database or ''})"

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a connection is not pickled: it holds a socket and a password")

    def validate_config(self) -> bool:
        """Whether all settings can be used; True, or `ConfigurationError`."""
        password: Any = self._password
        if password is not None and (not isinstance(password, str) or "\0" in password):
            raise ConfigurationError("password: expected text without NUL")
        for name, value in self.config.items():
            if isinstance(value, str) and "\0" in value:
                raise ConfigurationError(f"{name}={value!r}: expected text without NUL")
        port = self.config.get("port")
        if port is not None and not all(each.isdigit() and 0 < int(each) < 65536 for each in str(port).split(",")):
            raise ConfigurationError(f"port={port!r}: expected a number from 1 to 65535")
        return True

    def parameters(self) -> dict[str, Any]:
        """What libpq is given, without the password.

        Raises:
            ConfigurationError: It has no such parameter; the message names the nearest one.
        """
        found = {**_DEFAULTS, **{name: value for name, value in self.config.items() if value is not None}}
        only(found, "postgresql", *_keywords())
        return found

    # ------------------------------------------------------------------ open and close
    def connect(self) -> psycopg.Connection[Any]:
        """Connect unless it is connected.

        Raises:
            DatabaseConnectionError: The server cannot be reached, refuses, or is not the one its certificate says.
        """
        self.initialize()
        connection = self.connection
        if connection is None:
            raise DatabaseConnectionError("was closed by another thread")
        return connection

    def initialize(self) -> None:
        """As `connect`."""
        if self.is_connected():
            return
        module = driver("psycopg", "postgresql")
        parameters = self.parameters()
        try:
            # No prepared statements: behind a pool of connections the next one may be another session.
            raw = module.connect(**parameters, password=self._password, autocommit=True, prepare_threshold=None)
            with self._lock:
                self._raw, self._shown, self._limits = raw, False, None
            return
        except (module.Error, OSError, ValueError, UnicodeError) as error:
            failed = self._refused(error)
        raise failed

    def _refused(self, error: Exception) -> DatabaseConnectionError:
        """Why it could not connect."""
        failed = self._translate(error)
        if "certificate verify failed" in str(failed) and (why := _why_not_trusted(self.parameters())):
            return DatabaseConnectionError(f"{failed}: {why}")
        return failed if isinstance(failed, DatabaseConnectionError) else DatabaseConnectionError(str(failed))

    def disconnect(self) -> None:
        """Close; does nothing when it is closed."""
        connection, self._raw = self._raw, None
        if connection is not None:
            with suppress(Exception):  # it is gone, one way or the other
                connection.close()

    def is_connected(self) -> bool:
        """Whether it is open as far as is known; what the network lost is seen by the next statement."""
        return self._raw is not None and not self._raw.closed

    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads and whether it is connected; no password."""
        info: dict[str, Any] = {
            "host": self.host,
            "port": self.port or 5432,
            "database": self.database,
            "user": self.user,
            "connected": self.is_connected(),
        }
        if self._raw is not None and not self._raw.closed:
            known = self._raw.info
            version = known.server_version
            info |= {
                "host": known.host,
                "port": known.port,
                "database": known.dbname,
                "user": known.user,
                "server_version": f"{version // 10000}.{version % 10000}",
                "backend_pid": known.backend_pid,
            }
        return info

    # ------------------------------------------------------------------ statements
    @overload
    def execute_query(
        self,
        query: str,
        params: tuple[Any, ...] | None = None,
        fetch_all: bool = True,
        return_dict: Literal[False] = False,
    ) -> list[Any]: ...

    @overload
    def execute_query(
        self, query: str, params: tuple[Any, ...] | None = None, fetch_all: bool = True, *, return_dict: bool
    ) -> list[Any]: ...

    def execute_query(
        self,
        query: str,
        params: tuple[Any, ...] | None = None,
        fetch_all: bool = True,
        return_dict: bool = False,
    ) -> list[Any]:
        """Run a statement.

        Args:
            query: With ``%s`` for each of ``params``.
            params: Values that the driver binds.
            fetch_all: Whether to return all rows, not only the first.
            return_dict: Whether rows are dicts, not tuples.

        Raises:
            QueryError: The server refuses.
            DatabaseConnectionError: It is not connected, or was lost.
        """
        connection = self._raw
        if connection is None or connection.closed:
            raise DatabaseConnectionError("not connected; call connect() first")
        try:
            with self._lock:
                if self._limits is not None:
                    self._own()
                cursor = connection.execute(query, params)
            if cursor.description is None:
                return []
            rows: list[Any] = cursor.fetchall() if fetch_all else [row for row in (cursor.fetchone(),) if row]
        except Exception as error:  # noqa: BLE001 - whatever the driver raises, its text may hold what must not be seen
            failed = self._translate(error)
        else:
            if return_dict:
                names = [column.name for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in rows]
            return rows
        # Outside of the handler: the driver's error is no context of this one, where a traceback would print it.
        raise failed

    def execute_query_dict(self, query: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        """As `execute_query`, with rows as dicts."""
        return self.execute_query(query, params, return_dict=True)

    def close_active_cursor(self) -> None:
        """Nothing to do: each statement has a cursor of its own, which ends with its rows."""

    def begin_transaction(self) -> None:
        """Begin a transaction."""
        self.execute_query("BEGIN")

    def commit(self) -> None:
        """Keep what the transaction did; does nothing if there is none."""
        if self.in_transaction():
            self.execute_query("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did; does nothing if there is none."""
        if self.in_transaction():
            self.execute_query("ROLLBACK")

    def in_transaction(self) -> bool:
        """Whether one has begun."""
        return self._raw is not None and self.is_connected() and self._raw.info.transaction_status != 0

    def get_table_names(self, schema: str = "public") -> list[str]:
        """The tables of a schema, by name."""
        rows = self.execute_query(
            "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s ORDER BY tablename", (schema,)
        )
        return [row[0] for row in rows]

    def get_column_info(self, table_name: str, schema: str = "public") -> list[dict[str, Any]]:
        """The columns of a table in their order: name, type, whether it may be null, default, greatest length."""
        return self.execute_query_dict(
            "SELECT column_name, data_type, is_nullable, column_default, character_maximum_length "
            "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, table_name),
        )

    # ------------------------------------------------------------------ with-statement
    def cleanup(self) -> None:
        """Close."""
        self.disconnect()

    def is_initialized(self) -> bool:
        """Whether it is connected."""
        return self.is_connected()

    # ------------------------------------------------------------------ limits of engines
    def _bounded(self, limits: tuple[int, int]) -> psycopg.Connection[Any] | None:
        """The session, read-only and with limits in milliseconds for statements and locks, to be used under ``_lock``.

        None if its settings are not to be touched, because somebody else may be using it or is in a transaction.
        """
        raw = self._raw
        # A session that is closed or lost has another status than that of one that waits.
        if raw is None or self._shown or raw.pgconn.transaction_status != 0:
            return None
        if self._limits != limits:
            before = self._before
            if self._limits is None:
                pid, *known = raw.execute(_ASK).fetchall()[0]
                before = tuple(known)
                if is_pooled(raw, pid):
                    self._shown = True
                    return None
            raw.execute(READ_ONLY, (*map(str, limits), "on"))
            self._before, self._limits = before, limits
        return raw

    def _own(self) -> None:
        """Put the settings of the session back as they were."""
        if self._limits is not None and self._raw is not None:
            self._limits = None
            with suppress(Exception):  # it is gone, as the next statement will say
                self._raw.execute(READ_ONLY, self._before)

    def _translate(self, error: Exception) -> Exception:
        failed = translate(error)
        text = str(failed)
        if self._password and self._password in text:
            return type(failed)(text.replace(self._password, "********"))
        return failed


def is_pooled(raw: Any, process: int) -> bool:
    """Whether a pool such as pgbouncer is between here and the server, so that a setting may be left to others.

    Args:
        raw: A connection of psycopg.
        process: What the server says its process is.
    """
    return bool(raw.info.backend_pid != process)


def _from_url(url: str) -> dict[str, Any]:
    config = EngineConfig.parse(url)
    if config.engine != "postgresql":
        raise ConfigurationError(f"connection_url: expected postgresql://..., got {config.scheme}://...")
    return parameters_of(config)


def parameters_of(config: EngineConfig) -> dict[str, Any]:
    """What libpq is given for a config."""
    hosts: Sequence[tuple[str, int | None]] = config.hosts
    found: dict[str, Any] = dict(config.options)
    if len(hosts) > 1:
        found |= {"host": ",".join(host for host, _ in hosts), "port": ",".join(str(port or 5432) for _, port in hosts)}
    else:
        found |= {"host": config.host, "port": config.port}
    found |= {"user": config.user, "password": config.password, "dbname": config.database}
    return {name: value for name, value in found.items() if value is not None}


def _keywords() -> list[str]:
    module = driver("psycopg", "postgresql")
    return [option.keyword.decode() for option in module.pq.Conninfo.get_defaults()]


def _why_not_trusted(parameters: Mapping[str, Any]) -> str | None:
    """What is wrong with the server's certificate, which libpq does not tell."""
    context = ssl.create_default_context(cafile=parameters.get("sslrootcert") or None)
    context.check_hostname = False
    host = str(parameters.get("hostaddr") or parameters.get("host") or "localhost").partition(",")[0]
    port = int(str(parameters.get("port") or 5432).partition(",")[0])
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_SECONDS) as plain:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) == b"S":
                context.wrap_socket(plain).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        pass
    return None
