"""PostgreSQL by `gds_database`: the names of its engine, and nothing else."""

from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLDatabase, PostgreSQLEngine

__all__ = ["PostgreSQLConnection", "PostgreSQLDatabase", "PostgreSQLEngine"]
