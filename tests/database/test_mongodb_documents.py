"""What a connection to MongoDB does with documents, on the two servers that speak its protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gds_database import QueryError
from gds_database.engines.mongodb import MongoDBConnection


@pytest.fixture(params=["mongodb", "ferretdb"])
def connection(request: pytest.FixtureRequest) -> Iterator[MongoDBConnection]:
    server = request.getfixturevalue(request.param)
    with MongoDBConnection(connection_string=server.url, database="documents") as connection:
        connection.connect().drop_database("documents")
        yield connection
        connection.connect().drop_database("documents")


def test_documents_are_inserted_changed_and_deleted(connection: MongoDBConnection) -> None:
    assert connection.insert_one("things", {"_id": 1, "a": 1}) == {"inserted_id": 1}
    assert connection.insert_many("things", [{"_id": 2, "a": 1}, {"_id": 3, "a": 2}]) == {"inserted_ids": [2, 3]}
    assert connection.update_one("things", {"a": 1}, {"$set": {"a": 5}}) == {
        "matched_count": 1,
        "modified_count": 1,
        "upserted_id": None,
    }
    assert connection.update_many("things", {}, {"$set": {"b": 1}})["matched_count"] == 3
    assert connection.update_one("things", {"_id": 4}, {"$set": {"a": 9}}, upsert=True)["upserted_id"] == 4
    assert connection.delete_one("things", {"_id": 3}) == {"deleted_count": 1}
    assert connection.execute_query("things", {}, {"a": 1}, sort=[("_id", 1)]) == [
        {"_id": 1, "a": 5},
        {"_id": 2, "a": 1},
        {"_id": 4, "a": 9},
    ]
    assert connection.delete_many("things", {}) == {"deleted_count": 3}


def test_collections_and_fields_are_told(connection: MongoDBConnection) -> None:
    connection.insert_many("things", [{"_id": 1, "text": "x"}, {"_id": 2}])
    connection.insert_one("another", {"_id": 1})
    assert connection.get_collection_names() == connection.get_table_names() == ["another", "things"]
    assert connection.get_column_info("things") == [
        {"field_name": "_id", "data_type": "int", "count": 2},
        {"field_name": "text", "data_type": "str", "count": 1},
    ]
    assert [field["field_name"] for field in connection.get_column_info("things", sample_size=1)] == ["_id", "text"]
    assert connection.get_column_info("nothing") == []


def test_what_the_server_refuses_is_an_error_of_ours(connection: MongoDBConnection) -> None:
    connection.insert_one("things", {"_id": 1})
    with pytest.raises(QueryError, match="duplicate key"):
        connection.insert_one("things", {"_id": 1})
    with pytest.raises(QueryError):
        connection.execute_query("things", {"$nonsense": 1})
    for refused in (connection.begin_transaction, connection.commit, connection.rollback):
        with pytest.raises(QueryError, match="start_session") as caught:
            refused()
        assert isinstance(caught.value, NotImplementedError)
