"""SQL Server by `gds_database`: the names of its engine, and nothing else."""

from gds_database.engines.mssql import MSSQLConnection, MSSQLDatabase, MSSQLEngine

__all__ = ["MSSQLConnection", "MSSQLDatabase", "MSSQLEngine"]
