"""Where programs have always found `SnowflakeConnection`."""

from gds_database.engines.snowflake import SnowflakeConnection

__all__ = ["SnowflakeConnection"]
