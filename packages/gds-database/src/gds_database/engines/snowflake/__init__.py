"""Snowflake, by its connector for Python: ``pip install 'gds-database[snowflake]'``.

    from gds_database.engines.snowflake import SnowflakeConnection, SnowflakeEngine

    engine = SnowflakeEngine(SnowflakeConnection("myorg-myaccount", "DBA", warehouse="ADMIN_WH", password=secret))

It works over any connection that has the connector's object, or an ``execute_query_dict``.
"""

from __future__ import annotations

from gds_database.engines.snowflake.connection import SnowflakeConnection
from gds_database.engines.snowflake.database import SnowflakeDatabase
from gds_database.engines.snowflake.engine import SnowflakeEngine

__all__ = ["SnowflakeConnection", "SnowflakeDatabase", "SnowflakeEngine"]
