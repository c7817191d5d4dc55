"""The drivers of Python for SQL Server, connected to the one that stands in for it."""

from __future__ import annotations

import ctypes
import functools
import importlib
from typing import Any

import pymssql
import pytds

from tests.services.install import install

from . import SqlServer

DRIVERS = ("pymssql", "pytds", "mssql_python", "pyodbc")


@functools.cache
def odbc_driver() -> str:
    """The file of FreeTDS's ODBC driver, which pyodbc is given for its name; pyodbc can be imported from then on."""
    libraries = install("odbc")["odbcinst"].parents[1] / "lib"
    # What is loaded already is not looked for on this machine, which may well not have it.
    for name in ("libltdl.so.7", "libodbcinst.so.2", "libodbc.so.2"):
        ctypes.CDLL(str(libraries / name))
    return str(libraries / "odbc" / "libtdsodbc.so")


def connect(
    driver: str,
    server: SqlServer,
    *,
    user: str = "sa",
    password: str | None = None,
    encrypted: bool = False,
    autocommit: bool = True,
    timeout_seconds: int = 0,
) -> Any:
    """A connection of this driver, with the certificate checked where the driver can."""
    password = server.password if password is None else password
    if driver == "pymssql":
        encryption = "require" if encrypted else "off"
        return pymssql.connect(
            "127.0.0.1",
            user,
            password,
            port=str(server.port),
            autocommit=autocommit,
            encryption=encryption,
            timeout=timeout_seconds,
        )
    if driver == "pytds":
        authority = str(server.certificate_authority) if encrypted else None
        return pytds.connect(
            "127.0.0.1",
            database="master",
            user=user,
            password=password,
            port=server.port,
            autocommit=autocommit,
            cafile=authority,
            validate_host=False,
            timeout=timeout_seconds or None,
        )
    if driver == "pyodbc":
        name = odbc_driver()
        pyodbc: Any = importlib.import_module("pyodbc")
        text = f"Driver={name};Server=127.0.0.1,{server.port};UID={user};PWD={{{password}}};"
        text += f"Encryption={'require' if encrypted else 'off'};"
        connection: Any = pyodbc.connect(text, autocommit=autocommit)
        connection.timeout = timeout_seconds
        return connection
    import mssql_python

    text = f"Server=127.0.0.1,{server.port};UID={user};PWD={{{password}}};Encrypt={'yes' if encrypted else 'no'};"
    connection = mssql_python.connect(text + "TrustServerCertificate=yes;", autocommit=autocommit)
    connection.timeout = timeout_seconds
    return connection
