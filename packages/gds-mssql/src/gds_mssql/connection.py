"""Where programs have always found `MSSQLConnection`."""

from gds_database.engines.mssql import MSSQLConnection

__all__ = ["MSSQLConnection"]
