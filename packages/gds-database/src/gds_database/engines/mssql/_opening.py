"""What each of the drivers is told to open a connection with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gds_database.engines.mssql.connection import MSSQLConnection

__all__ = ["LOGIN_TIMEOUT_SECONDS", "OPENED"]

LOGIN_TIMEOUT_SECONDS = 15


def _by_pymssql(module: Any, connection: MSSQLConnection) -> Any:
    config = connection.config
    return module.connect(
        server=config["server"],
        user=config["user"],
        password=config["password"],
        database=config.get("database") or "",
        port=str(connection.port),
        login_timeout=int(config.get("login_timeout_seconds", LOGIN_TIMEOUT_SECONDS)),
        appname=_application(config),
        autocommit=connection.autocommit,
        encryption="require" if _encrypts(config) else "off",
    )


def _by_python_tds(module: Any, connection: MSSQLConnection) -> Any:
    config = connection.config
    ca_file = config.get("ca_file")
    if _encrypts(config) and not ca_file:
        raise ConfigurationError("encrypt: python-tds needs ca_file for it, a PEM file with who vouches for the server")
    return module.connect(
        config["server"],
        database=config.get("database"),
        user=config["user"],
        password=config["password"],
        port=connection.port,
        login_timeout=config.get("login_timeout_seconds", LOGIN_TIMEOUT_SECONDS),
        appname=_application(config),
        autocommit=connection.autocommit,
        cafile=ca_file if _encrypts(config) else None,
        validate_host=not config.get("trust_server_certificate", False),
    )


def _by_odbc(module: Any, connection: MSSQLConnection) -> Any:
    config = connection.config
    parts = {
        "Server": f"{config['server']},{connection.port}",
        "Database": config.get("database"),
        "UID": config.get("user"),
        "PWD": config.get("password"),
        "Authentication": config.get("authentication"),
        "Encrypt": "yes" if _encrypts(config) else "no",
        "TrustServerCertificate": "yes" if config.get("trust_server_certificate") else "no",
        "APP": _application(config),
    }
    limit = int(config.get("login_timeout_seconds", LOGIN_TIMEOUT_SECONDS))
    if connection.driver == "pyodbc":
        given = config.get("driver")
        name = str(given) if given not in (None, "pyodbc") else "ODBC Driver 18 for SQL Server"
        parts = {"Driver": name, **parts}
        if re.search(r"freetds|tdsodbc", name, re.IGNORECASE):
            # What it has for Encrypt, which it passes over.
            parts["Encryption"] = "require" if _encrypts(config) else "off"
    else:
        parts.pop("APP")  # it has its own
    text = "".join(f"{name}={_braced(str(value))};" for name, value in parts.items() if value is not None)
    return module.connect(text, autocommit=connection.autocommit, timeout=limit)


OPENED: dict[str, Callable[[Any, MSSQLConnection], Any]] = {
    "pymssql": _by_pymssql,
    "python-tds": _by_python_tds,
    "mssql-python": _by_odbc,
    "pyodbc": _by_odbc,
}
"""A connection of each driver, by its module and ours."""


def _encrypts(config: Mapping[str, Any]) -> bool:
    return bool(config.get("encrypt", True))


def _application(config: Mapping[str, Any]) -> str:
    return str(config.get("application_name") or "gds-database")


def _braced(value: str) -> str:
    """A value of an ODBC connection string, whatever is in it."""
    return "{" + value.replace("}", "}}") + "}"
