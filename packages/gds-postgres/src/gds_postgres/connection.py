"""Where programs have always found `PostgreSQLConnection`."""

from gds_database.engines.postgresql import PostgreSQLConnection

__all__ = ["PostgreSQLConnection"]
