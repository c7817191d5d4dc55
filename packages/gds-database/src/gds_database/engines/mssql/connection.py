"""A connection of ours to SQL Server, by any of four drivers."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gds_database._redact import Secrets
from gds_database.base import ConfigurableComponent, DatabaseConnection, ResourceManager
from gds_database.engines._base import driver as driver_module
from gds_database.engines._base import only
from gds_database.engines._deadlines import TookTooLong, within
from gds_database.engines.mssql._errors import REFUSED, error_for, number_of, text_of
from gds_database.engines.mssql._line import Line, opened_since, sockets
from gds_database.engines.mssql._opening import LOGIN_TIMEOUT_SECONDS, OPENED
from gds_database.engines.mssql._sql import spliced, to_format
from gds_database.errors import ConfigurationError, DatabaseConnectionError, StatementTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gds_database.config import EngineConfig

__all__ = ["DRIVERS", "MODULES", "PORT", "MSSQLConnection"]

DRIVERS = ("pymssql", "mssql-python", "python-tds", "pyodbc")
PORT = 1433

_OPTIONS = ("encrypt", "trust_server_certificate", "ca_file", "login_timeout_seconds", "application_name", "autocommit")
MODULES = {"pymssql": "pymssql", "mssql-python": "mssql_python", "python-tds": "pytds", "pyodbc": "pyodbc"}
# Drivers whose connection has a time for each statement, and sends the server a cancel then.
_TIMED = ("mssql-python", "pyodbc")

_WORDS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}

# Those that lead to one address have to connect one at a time; there are as many as are of use at the same time.
_connecting = [threading.Lock() for _ in range(64)]


class MSSQLConnection(DatabaseConnection, ConfigurableComponent, ResourceManager):
    """A connection; statements have ``?`` for values, whatever the driver.

    Args:
        server: Host name or address.
        database: Which to begin in; by default the login's own.
        user: SQL Server login.
        password: Its password; in no ``repr``, log or error.
        authentication: Of Microsoft's drivers, such as ``ActiveDirectoryDefault``; needs one of those.
        driver: ``pymssql``, ``mssql-python``, ``python-tds`` or ``pyodbc``; any other name is that of an ODBC driver,
            which pyodbc loads. By default ``pymssql``, or ``mssql-python`` where ``authentication`` is given.
        port: By default 1433.
        config: The same by name, and what follows; arguments win over it.
        kwargs: ``encrypt`` (bool, True), ``trust_server_certificate`` (bool, False), ``ca_file`` (a PEM file for
            python-tds), ``login_timeout_seconds`` (15), ``application_name``, ``autocommit`` (bool, True).

    pymssql encrypts and checks no certificate, nor does FreeTDS's ODBC driver; mssql-python and pyodbc with Microsoft's
    check it, python-tds does with ``ca_file``.

    Raises:
        ConfigurationError: A setting cannot be used.
    """

    def __init__(
        self,
        server: str | None = None,
        database: str | None = None,
        user: str | None = None,
        password: str | None = None,
        authentication: str | None = None,
        driver: str | None = None,
        port: int | None = None,
        config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "server": server, "database": database, "user": user, "password": password,
            "authentication": authentication, "driver": driver, "port": port,
        }  # fmt: skip
        only(kwargs, "MSSQLConnection", *_OPTIONS)
        settings = {**(config or {}), **{name: value for name, value in given.items() if value is not None}, **kwargs}
        only(settings, "MSSQLConnection", *given, *_OPTIONS)
        self.connection: Any = None
        self._line: Line | None = None
        self._cursor: Any = None
        self._was_cut = False
        super().__init__(settings)

    @classmethod
    def of(cls, config: EngineConfig) -> MSSQLConnection:
        """As an address says: ``mssql://user@host:1433/database?encrypt=yes&driver=pymssql``.

        Raises:
            ConfigurationError: A setting cannot be used.
        """
        options = dict(config.options)
        renamed = {"TrustServerCertificate": "trust_server_certificate", "login_timeout": "login_timeout_seconds"}
        options = {renamed.get(name, name): value for name, value in options.items()}
        for name in ("encrypt", "trust_server_certificate", "autocommit"):
            if isinstance(options.get(name), str):
                if options[name].lower() not in _WORDS:
                    raise ConfigurationError(f"{name}={options[name]!r}: expected yes or no")
                options[name] = _WORDS[options[name].lower()]
        if isinstance(options.get("login_timeout_seconds"), str):
            try:
                options["login_timeout_seconds"] = float(options["login_timeout_seconds"])
            except ValueError:
                raise ConfigurationError(
                    f"login_timeout_seconds={options['login_timeout_seconds']!r}: expected a number"
                ) from None
        found = {"driver": options.pop("driver", None), "authentication": options.pop("authentication", None)}
        return cls(config.host, config.database, config.user, config.password, port=config.port, **found, **options)

    def __repr__(self) -> str:
        info = self.get_connection_info()
        return f"{type(self).__name__}({info['server']!r}, port={info['port']}, driver={info['driver']!r})"

    # ------------------------------------------------------------------ settings
    def validate_config(self) -> bool:
        """Whether the settings can be used.

        Raises:
            ConfigurationError: One cannot.
        """
        if not isinstance(self.config.get("server"), str) or not self.config["server"]:
            raise ConfigurationError("server: expected a host name, such as 'db1.example.org'")
        port = self.config.get("port", PORT)
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise ConfigurationError(f"port={port!r}: expected a number from 1 to 65535")
        for name in ("encrypt", "trust_server_certificate", "autocommit"):
            if not isinstance(self.config.get(name, True), bool):
                raise ConfigurationError(f"{name}={self.config[name]!r}: expected True or False")
        limit = self.config.get("login_timeout_seconds", LOGIN_TIMEOUT_SECONDS)
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 1:
            raise ConfigurationError(f"login_timeout_seconds={limit!r}: expected 1 or more")
        self._driver = self._driver_of(self.config.get("driver"))
        self.autocommit = bool(self.config.get("autocommit", True))
        if self.driver in ("pymssql", "python-tds") and self.config.get("authentication"):
            raise ConfigurationError(f"authentication: {self.driver} has none; use driver='mssql-python' or 'pyodbc'")
        if self.config.get("ca_file") and self.driver != "python-tds":
            use = "it checks no certificate" if self.driver == "pymssql" else "it uses the certificates of the system"
            raise ConfigurationError(f"ca_file: {self.driver} does not take it, {use}; use driver='python-tds'")
        return True

    @property
    def driver(self) -> str:
        """One of ``DRIVERS``."""
        return self._driver

    def _driver_of(self, given: str | None) -> str:
        if given is None:
            return "mssql-python" if self.config.get("authentication") else "pymssql"
        known = {"mssql_python": "mssql-python", "pytds": "python-tds"}
        return known.get(given, given if given in DRIVERS else "pyodbc")

    @property
    def password(self) -> str | None:
        """The password, so that engines keep it out of errors."""
        return self.config.get("password")

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self.config.get("port", PORT))

    # ------------------------------------------------------------------ open and close
    def connect(self) -> Any:
        """Connect, unless it is; the connection of the driver.

        Raises:
            DatabaseConnectionError: The server cannot be reached, or refuses.
            MissingExtraError: The driver is not installed.
        """
        if self.is_connected():
            return self.connection
        self.disconnect()
        module = driver_module(MODULES[self.driver], "mssql")
        if self.driver in ("pymssql", "python-tds") and not (self.config.get("user") and self.password is not None):
            raise ConfigurationError(f"user, password: {self.driver} needs both")
        failed: Exception | None = None
        addresses = self._addresses()
        # One at a time: the socket that is new then, and leads there, is this connection's.
        with _connecting[hash((self.config["server"], self.port)) % len(_connecting)]:
            before = sockets() if self.driver not in _TIMED else {}
            try:
                self.connection = OPENED[self.driver](module, self)
            except Exception as error:  # noqa: BLE001 - drivers have errors of their own, which may hold a password
                failed = self._refused(error)
            else:
                self._line = (
                    self._line_of(opened_since(before, self.port, addresses)) if self.driver not in _TIMED else None
                )
        if failed is not None:
            raise failed
        self._was_cut = False
        return self.connection

    def _addresses(self) -> frozenset[str]:
        """Where the server is, as the system finds it now; nothing where it does not, so that the driver may say so."""
        with suppress(OSError):
            found = socket.getaddrinfo(self.config["server"], self.port, type=socket.SOCK_STREAM)
            return frozenset(str(address[0]) for *_, address in found)
        return frozenset()

    def _line_of(self, found: dict[int, int]) -> Line | None:
        """The socket of this connection; None if it cannot be told from others that the program opened meanwhile."""
        if len(found) > 1 and self.autocommit:
            query = "SELECT client_tcp_port FROM sys.dm_exec_connections WHERE session_id = @@SPID"
            with suppress(Exception):  # the login may not look, or its port is another behind a proxy
                ours = {row[0] for row in self._fetched(query, None, True, False)}
                found = {number: port for number, port in found.items() if port in ours}
        return Line(next(iter(found))) if len(found) == 1 else None

    def _refused(self, error: Exception) -> Exception:
        if isinstance(error, ConfigurationError):
            return error
        tried = ""
        if isinstance(error, TimeoutError) and isinstance(error.__cause__, Exception):
            # python-tds tries again until its time is up, and then has what was wrong behind it.
            error = error.__cause__
            tried = f"; tried for {self.config.get('login_timeout_seconds', LOGIN_TIMEOUT_SECONDS):g} s"
        said, number = self._said(error), number_of(error)
        if number == REFUSED:
            said = (
                f"the server refused user {self.config.get('user')!r}; after a graver refusal in the same process "
                f"pymssql does not tell why, the error log of the server does. {said}"
            )
        if "certificate verify failed" in said and self.config.get("ca_file"):
            # The library knows which, and python-tds does not pass it on.
            said += f": it has expired, or nobody in ca_file={str(self.config['ca_file'])!r} vouches for it"
        found = DatabaseConnectionError(f"{self.config['server']}:{self.port}: {said}{tried}")
        vars(found)["number"] = number
        return found

    def disconnect(self) -> None:
        """Close; does nothing when it is closed."""
        connection, self.connection = self.connection, None
        line, self._line = self._line, None
        self._cursor = None
        if connection is not None:
            with suppress(Exception):  # the server may be gone, and there is nothing left to do about it
                connection.close()
        if line is not None:
            line.close()

    def is_connected(self) -> bool:
        """Whether it is open, as far as this side knows."""
        if self.connection is None or self._was_cut:
            return False
        raw = getattr(self.connection, "_conn", None) if self.driver == "pymssql" else None
        return bool(getattr(raw, "connected", True)) if raw is not None else True

    def initialize(self) -> None:
        """Connect."""
        self.connect()

    def cleanup(self) -> None:
        """Disconnect."""
        self.disconnect()

    def is_initialized(self) -> bool:
        """Whether it is connected."""
        return self.is_connected()

    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads: ``server``, ``port``, ``database``, ``user``, ``driver`` and whether it is ``connected``."""
        return {
            "server": self.config.get("server"),
            "port": self.port,
            "database": self.config.get("database"),
            "user": self.config.get("user"),
            "driver": self.driver,
            "connected": self.is_connected(),
        }

    # ------------------------------------------------------------------ statements
    def execute_query(
        self, query: str, params: tuple[Any, ...] | None = None, fetch_all: bool = True, return_dict: bool = False
    ) -> list[Any]:
        """Run a statement.

        Args:
            query: With ``?`` for values.
            params: The values.
            fetch_all: Whether to return its rows; without it they are left to the driver, and the list is empty.
            return_dict: Whether rows are dicts; else they are tuples.

        Raises:
            QueryError: The server refuses.
            DatabaseConnectionError: It is not connected, or not any more.
        """
        return self.run(query, params, fetch_all=fetch_all, return_dict=return_dict)

    def execute_query_dict(self, query: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        """As `execute_query`, with rows as dicts."""
        return self.run(query, params, return_dict=True)

    def run(
        self,
        query: str,
        params: tuple[Any, ...] | None = None,
        *,
        timeout_seconds: float | None = None,
        fetch_all: bool = True,
        return_dict: bool = False,
    ) -> list[Any]:
        """As `execute_query`, within a time.

        Raises:
            StatementTimeoutError: It took longer. Microsoft's drivers cancel it; with the others the connection ends
                with it, and the next statement opens a new one.
        """
        if self._was_cut:
            self.connect()
        if self.connection is None:
            raise DatabaseConnectionError(f"{self.config['server']}:{self.port}: not connected; call connect() first")
        try:
            if not timeout_seconds:
                return self._fetched(query, params, fetch_all, return_dict)
            if self._driver in _TIMED:
                with self._timed(timeout_seconds):
                    return self._fetched(query, params, fetch_all, return_dict)
            return within(timeout_seconds, self._cut, self._fetched, query, params, fetch_all, return_dict)
        except TookTooLong:
            failed: Exception = StatementTimeoutError(
                f"the statement was ended after {timeout_seconds:g} s, and its connection with it"
            )
        except Exception as error:  # noqa: BLE001 - as in connect
            failed = error_for(error, self._said(error))
        raise failed

    def _fetched(self, query: str, params: tuple[Any, ...] | None, fetch_all: bool, return_dict: bool) -> list[Any]:
        # A cursor of python-tds or ODBC that is left open keeps the connection from the next statement.
        self.close_active_cursor()
        cursor = self._cursor = self.connection.cursor()
        if not params:
            cursor.execute(query)
        elif self._driver == "pymssql":
            quote = driver_module("pymssql", "mssql")._mssql.substitute_params
            cursor.execute(spliced(query, tuple(params), quote))
        elif self._driver == "python-tds":
            cursor.execute(to_format(query), tuple(params))
        else:
            cursor.execute(query, tuple(params))
        if not fetch_all:
            return []
        rows: list[Any] = []
        while True:
            # The last result that has columns; and all of them are taken, or ODBC would cancel the rest of a batch.
            if cursor.description:
                names = [column[0] for column in cursor.description]
                rows = [tuple(row) for row in cursor.fetchall()]
                if return_dict:
                    rows = [dict(zip(names, row, strict=True)) for row in rows]
            if not cursor.nextset():
                break
        self.close_active_cursor()
        return rows

    @contextmanager
    def _timed(self, seconds: float) -> Iterator[None]:
        """The time of a driver that has one for each connection."""
        before, self.connection.timeout = self.connection.timeout, max(1, round(seconds))
        try:
            yield
        finally:
            with suppress(Exception):
                self.connection.timeout = before

    def cancel(self) -> None:
        """End what another thread is running on it, and the connection with it.

        Raises:
            ConfigurationError: The driver gives no way to.
        """
        if self._line is None:
            raise ConfigurationError(f"{self.driver}: gives no way to cancel a statement from another thread")
        self._cut()

    @property
    def can_be_cancelled(self) -> bool:
        """Whether `cancel` can be used."""
        return self._line is not None

    def _cut(self) -> None:
        if self._line is not None:
            self._was_cut = True
            self._line.cut()

    def close_active_cursor(self) -> None:
        """Give up the rows that were not read."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            with suppress(Exception):
                cursor.close()

    # ------------------------------------------------------------------ transactions
    def begin_transaction(self) -> None:
        """Begin a transaction."""
        self.run("BEGIN TRANSACTION")

    def commit(self) -> None:
        """Keep what the transaction did; nothing if there is none."""
        self._end("commit", "IF @@TRANCOUNT > 0 COMMIT TRANSACTION")

    def rollback(self) -> None:
        """Undo what the transaction did; nothing if there is none."""
        self._end("rollback", "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")

    def _end(self, how: str, statement: str) -> None:
        if self.autocommit or self.connection is None:
            self.run(statement)
        else:
            # The driver counts its own transactions.
            getattr(self.connection, how)()

    # ------------------------------------------------------------------ what there is
    def get_table_names(self, schema: str = "dbo") -> list[str]:
        """The tables of a schema of the database it is in."""
        query = "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME"
        return [row[0] for row in self.run(query, (schema,))]

    def get_column_info(self, table_name: str, schema: str = "dbo") -> list[dict[str, Any]]:
        """The columns of a table: ``COLUMN_NAME``, ``DATA_TYPE``, ``IS_NULLABLE``, ``COLUMN_DEFAULT``."""
        return self.run(
            "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, COLUMN_DEFAULT FROM INFORMATION_SCHEMA.COLUMNS"
            " WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            (schema, table_name),
            return_dict=True,
        )

    def _said(self, error: BaseException) -> str:
        secrets = Secrets()
        secrets.add(self.password)
        return secrets.redact(text_of(error))
