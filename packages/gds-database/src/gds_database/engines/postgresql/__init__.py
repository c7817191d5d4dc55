"""PostgreSQL 12 and newer, by psycopg 3: ``pip install 'gds-database[postgresql]'``. Importing it loads no driver.

    from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine

    engine = PostgreSQLEngine(PostgreSQLConnection("db1", 5432, "postgres", "dba", secret))

It works over any connection that runs statements, those of older packages among them.
"""

from __future__ import annotations

from gds_database.engines.postgresql.aio import AsyncPostgreSQLEngine
from gds_database.engines.postgresql.connection import PostgreSQLConnection
from gds_database.engines.postgresql.database import PostgreSQLDatabase
from gds_database.engines.postgresql.engine import PostgreSQLEngine

__all__ = ["AsyncPostgreSQLEngine", "PostgreSQLConnection", "PostgreSQLDatabase", "PostgreSQLEngine"]
