"""Engines by platform, ``gds_database.engines.postgresql`` and so on, and what an engine of your own is made of."""

from gds_database.engines._base import DatabaseBase, EngineBase, aware, driver, only, operation

__all__ = ["DatabaseBase", "EngineBase", "aware", "driver", "only", "operation"]
