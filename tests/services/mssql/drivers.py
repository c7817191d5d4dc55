"""The drivers of Python for SQL Server, connected to the one that stands in for it."""

from __future__ import annotations

from typing import Any

import pymssql
import pytds

from . import SqlServer

DRIVERS = ("pymssql", "pytds", "mssql_python")


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
    import mssql_python

    text = f"Server=127.0.0.1,{server.port};UID={user};PWD={{{password}}};Encrypt={'yes' if encrypted else 'no'};"
    connection = mssql_python.connect(text + "TrustServerCertificate=yes;", autocommit=autocommit)
    connection.timeout = timeout_seconds
    return connection
