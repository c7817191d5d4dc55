"""Where programs have always found `MongoDBConnection`."""

from gds_database.engines.mongodb import MongoDBConnection

__all__ = ["MongoDBConnection"]
