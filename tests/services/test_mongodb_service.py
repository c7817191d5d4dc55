"""The stand-in for MongoDB: it asks who is there, and keeps what it is given."""

from __future__ import annotations

from typing import Any

import pymongo
import pytest
from pymongo.errors import OperationFailure

from tests.services.ferretdb import FerretDB
from tests.services.mongodb import MongoDB
from tests.services.process import LOOPBACK


def client_of(address: str) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(address)


def test_document_and_user_survive_a_restart() -> None:
    with MongoDB() as server:
        with client_of(server.url) as client:
            client["helper"]["kept"].insert_one({"_id": 1, "text": "ä"})
            client.admin.command("createUser", "reader", pwd="reader-pw", roles=[{"role": "read", "db": "helper"}])
        server.stop()
        server.start()
        address = f"mongodb://reader:reader-pw@{LOOPBACK}:{server.port}/?directConnection=true"
        with client_of(address) as client:
            assert client["helper"]["kept"].find_one() == {"_id": 1, "text": "ä"}


def test_stranger_is_refused(mongodb: MongoDB) -> None:
    stranger = f"mongodb://{LOOPBACK}:{mongodb.port}/?directConnection=true"
    with client_of(stranger) as client, pytest.raises(OperationFailure, match="authentication"):
        client.admin.command("usersInfo", 1)
    with client_of(mongodb.url) as client:
        assert client.admin.command("hello")["setName"] == MongoDB.replica_set


def test_second_opinion_keeps_what_it_is_given_and_asks_who_is_there(ferretdb: FerretDB) -> None:
    with client_of(ferretdb.url) as client:
        client["helper"]["kept"].insert_one({"_id": 1, "text": "ä"})
        assert client["helper"]["kept"].find_one() == {"_id": 1, "text": "ä"}
    stranger = f"mongodb://{LOOPBACK}:{ferretdb.port}/?directConnection=true"
    with client_of(stranger) as client, pytest.raises(OperationFailure, match=r"authentication|password|user"):
        client["helper"]["kept"].find_one()
