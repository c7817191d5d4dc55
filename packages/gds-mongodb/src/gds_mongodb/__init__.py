"""MongoDB by `gds_database`: the names of its engine, and nothing else."""

from gds_database.engines.mongodb import MongoDBConnection, MongoDBDatabase, MongoDBEngine

__all__ = ["MongoDBConnection", "MongoDBDatabase", "MongoDBEngine"]
