"""Snowflake by `gds_database`: the names of its engine, and nothing else."""

from gds_database.engines.snowflake import SnowflakeConnection, SnowflakeDatabase, SnowflakeEngine

__all__ = ["SnowflakeConnection", "SnowflakeDatabase", "SnowflakeEngine"]
