"""What a connection to MongoDB does with documents, for programs that use it without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gds_database.engines.mongodb._errors import translated
from gds_database.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Documents"]

T = TypeVar("T")


class _NoTransactionsError(QueryError, NotImplementedError):
    """The connection has none."""


class Documents:
    """Reading and writing documents of the database of a connection, by default ``test``.

    All methods connect first where that is needed.

    Raises:
        DatabaseConnectionError: The server cannot be reached or refuses the login.
        QueryError: It refuses what it was asked.
    """

    connect: Callable[[], Any]
    get_config: Callable[..., Any]
    _without_password: Callable[[str], str]

    def _in(self, collection: str, ask: Callable[[Any], T]) -> T:
        """What is done with a collection, with errors of ours."""
        found = self.connect()[self.get_config("database", "test")][collection]
        try:
            return ask(found)
        except Exception as error:  # noqa: BLE001 - the driver's own
            failed = translated(error, self._without_password)
        raise failed

    def execute_query(
        self,
        collection: str,
        filter_query: dict[str, Any] | None = None,
        projection: dict[str, Any] | None = None,
        limit: int = 0,
        skip: int = 0,
        sort: list[tuple[str, int]] | None = None,
    ) -> list[dict[str, Any]]:
        """The documents of a collection.

        Args:
            collection: Of the database of the connection.
            filter_query: Which documents.
            projection: Which of their fields.
            limit: How many; 0 is all.
            skip: How many to leave out before.
            sort: Names of fields with 1 or -1.
        """
        return self._in(
            collection,
            lambda found: list(found.find(filter_query or {}, projection, skip=skip, limit=limit, sort=sort)),
        )

    def execute_query_dict(self, collection: str, filter_query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The documents of a collection."""
        return self.execute_query(collection, filter_query)

    def insert_one(self, collection: str, document: dict[str, Any]) -> dict[str, Any]:
        """Insert a document; its ``inserted_id``."""
        return {"inserted_id": self._in(collection, lambda found: found.insert_one(document).inserted_id)}

    def insert_many(self, collection: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Insert documents in their order; their ``inserted_ids``."""
        return {"inserted_ids": self._in(collection, lambda found: found.insert_many(documents).inserted_ids)}

    def update_one(
        self, collection: str, filter_query: dict[str, Any], update: dict[str, Any], upsert: bool = False
    ) -> dict[str, Any]:
        """Change the first document that is found; ``matched_count``, ``modified_count`` and ``upserted_id``.

        Args:
            collection: Of the database of the connection.
            filter_query: Which document.
            update: Operators such as ``{"$set": {"a": 1}}``.
            upsert: Insert one if none is found.
        """
        return _updated(self._in(collection, lambda found: found.update_one(filter_query, update, upsert=upsert)))

    def update_many(
        self, collection: str, filter_query: dict[str, Any], update: dict[str, Any], upsert: bool = False
    ) -> dict[str, Any]:
        """As `update_one`, for all documents that are found."""
        return _updated(self._in(collection, lambda found: found.update_many(filter_query, update, upsert=upsert)))

    def delete_one(self, collection: str, filter_query: dict[str, Any]) -> dict[str, Any]:
        """Delete the first document that is found; ``deleted_count``."""
        return {"deleted_count": self._in(collection, lambda found: found.delete_one(filter_query).deleted_count)}

    def delete_many(self, collection: str, filter_query: dict[str, Any]) -> dict[str, Any]:
        """Delete all documents that are found; ``deleted_count``."""
        return {"deleted_count": self._in(collection, lambda found: found.delete_many(filter_query).deleted_count)}

    def get_collection_names(self) -> list[str]:
        """The collections of the database, by name."""
        return self._in("names", lambda found: sorted(found.database.list_collection_names()))

    def get_table_names(self, schema: str | None = None) -> list[str]:
        """As `get_collection_names`; MongoDB has no schemas."""
        del schema
        return self.get_collection_names()

    def get_column_info(self, collection: str, sample_size: int = 100) -> list[dict[str, Any]]:
        """The fields of some documents, by name: ``field_name``, ``data_type`` of the first value, ``count``.

        Args:
            collection: Of the database of the connection.
            sample_size: How many documents to look at.
        """
        fields: dict[str, dict[str, Any]] = {}
        for document in self.execute_query(collection, limit=sample_size):
            for name, value in document.items():
                known = {"field_name": name, "data_type": type(value).__name__, "count": 0}
                fields.setdefault(name, known)["count"] += 1
        return [fields[name] for name in sorted(fields)]

    def begin_transaction(self) -> None:
        """Always refused: a transaction of MongoDB belongs to a session of the driver, `pymongo` has those.

        Raises:
            QueryError: Also a ``NotImplementedError``.
        """
        raise _NoTransactionsError(
            "a connection to MongoDB has no transaction of its own; use connect().start_session() and its "
            "start_transaction(), on a replica set"
        )

    commit = rollback = begin_transaction


def _updated(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("matched_count", "modified_count", "upserted_id")}
