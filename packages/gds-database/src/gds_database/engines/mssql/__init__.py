"""SQL Server 2016 and newer, by pymssql, mssql-python, python-tds or pyodbc. Importing it loads no driver."""

from __future__ import annotations

from gds_database.engines.mssql.connection import MSSQLConnection
from gds_database.engines.mssql.database import MSSQLDatabase
from gds_database.engines.mssql.engine import MSSQLEngine

__all__ = ["MSSQLConnection", "MSSQLDatabase", "MSSQLEngine"]
