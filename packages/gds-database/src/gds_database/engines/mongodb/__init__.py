"""MongoDB, by pymongo: ``pip install 'gds-database[mongodb]'``.

    from gds_database.engines.mongodb import MongoDBConnection, MongoDBEngine

    engine = MongoDBEngine(MongoDBConnection("db1", 27017, username="dba", password=secret))

It works over any connection whose ``connect()`` returns a ``pymongo.MongoClient``.
"""

from __future__ import annotations

from gds_database.engines.mongodb.aio import AsyncMongoDBEngine
from gds_database.engines.mongodb.connection import MongoDBConnection
from gds_database.engines.mongodb.database import MongoDBDatabase
from gds_database.engines.mongodb.engine import MongoDBEngine

__all__ = ["AsyncMongoDBEngine", "MongoDBConnection", "MongoDBDatabase", "MongoDBEngine"]
