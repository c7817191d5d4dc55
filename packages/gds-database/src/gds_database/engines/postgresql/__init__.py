"""PostgreSQL 12 and newer, by psycopg 3. Importing it loads no driver."""

from __future__ import annotations

from gds_database.engines.postgresql.connection import PostgreSQLConnection
from gds_database.engines.postgresql.database import PostgreSQLDatabase
from gds_database.engines.postgresql.engine import PostgreSQLEngine

__all__ = ["PostgreSQLConnection", "PostgreSQLDatabase", "PostgreSQLEngine"]
