"""MongoDB's engine on a server that speaks its protocol: users, operations, backups, failures, what nobody may see."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote_plus

import bson
import pymongo
import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymongo import CursorType, monitoring

from gds_database import (
    BackupType,
    ConfigurationError,
    DatabaseConnection,
    DatabaseConnectionError,
    EngineConfig,
    OperationResult,
    open_engine,
    open_engine_async,
)
from gds_database.engines.mongodb import AsyncMongoDBEngine, MongoDBConnection, MongoDBEngine
from gds_database.engines.mongodb._commands import Command
from gds_database.errors import PrivilegeError, StatementTimeoutError
from tests.services.mongodb import MongoDB
from tests.services.process import LOOPBACK, wait_until
from tests.services.toxiproxy import Toxiproxy

CANARY = "Canary-93b1'\"\\%s$}{ä"
PRINTABLE = "".join(map(chr, range(32, 127)))


def connection_of(
    server: MongoDB, user: str | None = None, password: str | None = None, **more: Any
) -> MongoDBConnection:
    return MongoDBConnection(
        LOOPBACK,
        more.pop("port", server.port),
        username=user or server.user,
        password=password or server.password,
        directConnection=True,
        **more,
    )


@pytest.fixture
def engine(mongodb: MongoDB) -> Iterator[MongoDBEngine]:
    with MongoDBEngine(connection_of(mongodb)) as engine:
        yield engine


@contextmanager
def database_of(engine: MongoDBEngine, name: str) -> Iterator[Any]:
    """The driver's database of a name that is dropped before and after."""
    client = engine._client()
    client.drop_database(name)
    yield client[name]
    client.drop_database(name)


def done(result: OperationResult) -> dict[str, Any]:
    assert result.is_success(), result.to_dict()
    return result.data or {}


# ------------------------------------------------------------------ users
def test_a_user_may_what_its_roles_say_and_no_more(mongodb: MongoDB, engine: MongoDBEngine) -> None:
    with database_of(engine, "roles") as database:
        database["things"].insert_one({"_id": 1})
        done(engine.create_user("reader", CANARY, roles=["read@roles"]))
        try:
            with MongoDBEngine(connection_of(mongodb, "reader", CANARY)) as reader:
                assert reader._client()["roles"]["things"].find_one() == {"_id": 1}
                refused = reader.get_database("roles").drop()
                assert (refused.metadata or {})["error_type"] == "PrivilegeError"
                with pytest.raises(PrivilegeError):
                    reader.list_users()
        finally:
            done(engine.drop_user("reader"))
        with pytest.raises(DatabaseConnectionError, match="refuses the login"):
            connection_of(mongodb, "reader", CANARY).connect()


def test_users_of_another_database_are_told_apart(engine: MongoDBEngine) -> None:
    done(engine.create_user("local-user", CANARY, database="elsewhere", roles=["readWrite"]))
    assert "local-user" not in engine.list_users()
    assert engine.list_users(database="elsewhere") == ["local-user"]
    assert engine.drop_user("local-user").is_failure()
    done(engine.drop_user("local-user", database="elsewhere"))
    assert engine.list_users(database="elsewhere") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"valid_until": datetime(2030, 1, 1, tzinfo=timezone.utc)}, "do not expire"),
        ({"roles": [{"name": "read"}]}, "expected role and db"),
        ({"roles": [7]}, "expected names"),
        ({"rolls": []}, "did you mean roles"),
        ({"roles": ["no-such-role"]}, "role"),
    ],
)
def test_options_that_cannot_be_used_make_no_user(engine: MongoDBEngine, options: dict[str, Any], words: str) -> None:
    result = engine.create_user("refused", CANARY, **options)
    assert words in str(result.error)
    assert CANARY not in json.dumps(result.to_dict(), ensure_ascii=False)
    assert "refused" not in engine.list_users()


@settings(max_examples=15)
@example(name="printable", password=PRINTABLE)
@given(
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    password=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40),
)
def test_any_name_and_any_password_are_taken_as_they_are(mongodb: MongoDB, name: str, password: str) -> None:
    with MongoDBEngine(connection_of(mongodb)) as engine:
        before = engine.list_users()
        done(engine.create_user(name, password))
        try:
            assert sorted(engine.list_users()) == sorted([*before, name])
        finally:
            done(engine.drop_user(name))
        assert engine.list_users() == before


# ------------------------------------------------------------------ operations
def test_a_running_operation_is_found_and_ended(engine: MongoDBEngine) -> None:
    with database_of(engine, "busy") as database:
        database.create_collection("things", capped=True, size=4096)
        database["things"].insert_one({"_id": 1})
        ended: list[BaseException] = []

        def work() -> None:
            try:
                # Waits for a document that nobody writes.
                list(database["things"].find(cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(300_000))
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            found = wait_until(
                lambda: (
                    [each for each in engine.list_processes() if each["operation"] == "getMore"]
                    or not thread.is_alive()
                ),
                what="the operation to be listed",
            )
            assert isinstance(found, list), ended
            assert "getMore" in found[0]["statement"]
            shown = done(engine.kill_process(found[0]["id"], dry_run=True))["statements"]
            assert shown == [f'db.adminCommand({{"killOp": 1, "op": {found[0]["id"]}}})']
            assert thread.is_alive()
            done(engine.kill_process(found[0]["id"]))
        finally:
            thread.join(60)
        assert not thread.is_alive()
        assert ended


# ------------------------------------------------------------------ backups
def documents() -> list[dict[str, Any]]:
    return [
        {
            "_id": bson.ObjectId(),
            "text": "naïve \0 ☃",
            "long": bson.Int64(2**40),
            "decimal": bson.Decimal128("1.10"),
            "binary": b"\0\xff",
            "when": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc),
            "stamp": bson.Timestamp(7, 8),
            "nested": {"list": [1, 2.5, None, True, {"a": {}}]},
            "pattern": bson.Regex("^a", "i"),
        }
        for _ in range(3)
    ]


def test_every_type_index_option_and_view_comes_back(engine: MongoDBEngine, tmp_path: Path) -> None:
    with database_of(engine, "full") as database, database_of(engine, "copy") as copy:
        raw = documents()
        database["every type"].insert_many(raw)
        database["every type"].create_index([("_id", 1), ("long", -1)], name="two", unique=True)
        database.create_collection("empty")
        database["a/b%c"].insert_one({"_id": 1})
        database.create_collection("seen", viewOn="every type", pipeline=[{"$match": {"text": {"$exists": True}}}])
        lines: list[str] = []
        told = done(engine.get_database("full").backup(str(tmp_path / "b"), progress=lines.append))
        assert (told["collections"], told["documents"]) == (4, 4)
        assert "every type: 3 documents" in lines
        assert {(tmp_path / "b").stat().st_mode & 0o777} | {
            file.stat().st_mode & 0o777 for file in (tmp_path / "b").iterdir()
        } == {0o700, 0o600}
        steps = done(engine.get_database("copy").restore(str(tmp_path / "b"), dry_run=True))["statements"]
        assert any("createIndexes" in step for step in steps)
        assert copy.list_collection_names() == []
        done(engine.get_database("copy").restore(str(tmp_path / "b")))
        assert sorted(copy.list_collection_names()) == ["a/b%c", "empty", "every type", "seen"]
        for name in ("every type", "a/b%c", "empty", "seen"):
            assert list(copy[name].find().sort("_id", 1)) == list(database[name].find().sort("_id", 1))
        assert copy["every type"].index_information()["two"]["unique"] is True

        again = engine.get_database("copy").restore(str(tmp_path / "b"))
        assert "replace=True" in str(again.error)
        copy["a/b%c"].insert_one({"_id": 2})
        done(engine.get_database("copy").restore(str(tmp_path / "b"), replace=True))
        assert list(copy["a/b%c"].find()) == [{"_id": 1}]


def test_however_many_collections_there_are_all_of_them_are_in_the_backup(
    engine: MongoDBEngine, tmp_path: Path
) -> None:
    # More than the first batch of a cursor has.
    with database_of(engine, "many") as database:
        for number in range(120):
            database.create_collection(f"c{number}")
        assert done(engine.get_database("many").backup(str(tmp_path / "b")))["collections"] == 120


def test_a_backup_that_was_changed_is_not_restored(engine: MongoDBEngine, tmp_path: Path) -> None:
    with database_of(engine, "changed") as database:
        database["things"].insert_many([{"_id": number, "text": "x" * 50} for number in range(10)])
        done(engine.get_database("changed").backup(str(tmp_path / "b")))
        file = tmp_path / "b" / "things.bson"
        content = file.read_bytes()
        for damaged in (content[:-1], content.replace(b"xx", b"xy", 1), b""):
            file.write_bytes(damaged)
            result = engine.get_database("changed").restore(str(tmp_path / "b"), replace=True)
            assert "checksum" in str(result.error)
        assert database["things"].count_documents({}) == 10
        (tmp_path / "b" / "manifest.json").unlink()
        assert "expected a backup" in str(engine.get_database("changed").restore(str(tmp_path / "b")).error)


def test_a_manifest_does_not_lead_out_of_its_folder(engine: MongoDBEngine, tmp_path: Path) -> None:
    with database_of(engine, "outside") as database:
        database["things"].insert_one({"_id": 1})
        done(engine.get_database("outside").backup(str(tmp_path / "b")))
        manifest = tmp_path / "b" / "manifest.json"
        told = json.loads(manifest.read_text("utf-8"))
        told["collections"][0]["file"] = "../../etc/passwd"
        manifest.write_text(json.dumps(told), "utf-8")
        result = engine.get_database("outside").restore(str(tmp_path / "b"), replace=True)
        assert "outside" in str(result.error)


def test_a_backup_needs_a_folder_of_its_own_and_ends_when_told(engine: MongoDBEngine, tmp_path: Path) -> None:
    with database_of(engine, "ended") as database:
        database["things"].insert_one({"_id": 1})
        (tmp_path / "used").mkdir()
        (tmp_path / "used" / "file").touch()
        assert "empty" in str(engine.get_database("ended").backup(str(tmp_path / "used")).error)
        cancelled = threading.Event()
        cancelled.set()
        result = engine.get_database("ended").backup(str(tmp_path / "c"), cancelled=cancelled)
        assert "cancelled" in str(result.error)
        assert not (tmp_path / "c" / "manifest.json").exists()
        late = engine.get_database("ended").backup(str(tmp_path / "d"), timeout_seconds=1e-9)
        assert (late.metadata or {})["error_type"] == "StatementTimeoutError"
        result = engine.get_database("ended").backup(str(tmp_path / "e"), BackupType.LOG)
        assert "mongodump --oplog" in str(result.error)


# ------------------------------------------------------------------ replication
def test_a_set_of_one_does_not_fail_over_unless_it_is_forced() -> None:
    with MongoDB() as alone, MongoDBEngine(connection_of(alone)) as engine:
        status = engine.get_replication_status()
        assert (status.role, status.lag_seconds, status.partners) == ("primary", 0.0, [])
        refused = engine.failover()
        assert "there is no other member" in str(refused.error)
        assert engine.get_replication_status().role == "primary"
        shown = done(engine.failover(force=True, dry_run=True, step_down_seconds=20))["statements"]
        assert shown == ['db.adminCommand({"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 10, "force": true})']
        assert engine.get_replication_status().role == "primary"
        done(engine.failover(force=True, step_down_seconds=20))
        assert engine._command(Command("hello"))["isWritablePrimary"] is False


# ------------------------------------------------------------------ metrics and logs
def test_metrics_are_of_this_moment_only(engine: MongoDBEngine) -> None:
    now = datetime.now(timezone.utc)
    found = engine.get_metrics(now - timedelta(minutes=5), now + timedelta(minutes=5))
    names = {each.name for each in found}
    assert {"mongodb.uptime", "mongodb.operation.count", "mongodb.storage.size", "mongodb.oplog.window"} <= names
    assert {each.instance_id for each in found} == {engine.name}
    assert engine.get_metrics(now - timedelta(hours=2), now - timedelta(hours=1)) == []


def test_the_log_tells_what_the_server_did(engine: MongoDBEngine) -> None:
    now = datetime.now(timezone.utc)
    found = engine.get_logs(now - timedelta(hours=1), now + timedelta(minutes=1))
    assert any("connection accepted" in each.message for each in found)
    assert engine.get_logs(now - timedelta(hours=1), now + timedelta(minutes=1), level="fatal") == []
    with pytest.raises(ConfigurationError, match="did you mean level"):
        engine.get_logs(now, now, levle="x")


class Collector:
    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        self.seen.append((name, labels or {}))


def test_commands_are_timed_under_the_names_of_opentelemetry(mongodb: MongoDB) -> None:
    collector = Collector()
    with MongoDBEngine(connection_of(mongodb), metrics=collector) as engine:
        engine.get_version()
        engine.set_configuration("no_such_setting", 1)
    operations = {labels["db.operation.name"] for _, labels in collector.seen}
    assert {"buildInfo", "getParameter"} <= operations
    name, labels = collector.seen[0]
    assert name == "db.client.operation.duration"
    assert labels["db.system.name"] == "mongodb"
    assert labels["server.port"] == str(mongodb.port)


class Sent(monitoring.CommandListener):
    """Every command that a client sends."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append((event.command_name, event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def test_every_command_has_its_time_on_the_server(mongodb: MongoDB) -> None:
    sent, now = Sent(), datetime.now(timezone.utc)
    connection = OlderConnection(mongodb.url)
    connection._mongo = pymongo.MongoClient(mongodb.url, event_listeners=[sent])
    engine = MongoDBEngine(connection, timeout_seconds=7)
    for ask in (
        lambda: [each.metadata for each in engine.list_databases()],
        lambda: (engine.get_version(), engine.metadata, engine.get_server_time()),
        lambda: (engine.list_users(), engine.list_processes(), engine.get_configuration()),
        lambda: engine.get_metrics(now - timedelta(hours=1), now + timedelta(hours=1)),
        lambda: engine.get_logs(now - timedelta(hours=1), now),
        engine.get_replication_status,
        lambda: engine.set_configuration("logLevel", 0),
        lambda: (engine.get_database("timed").create(), engine.get_database("timed").drop()),
    ):
        ask()
    connection.disconnect()
    assert len(sent.commands) > 15
    # What the driver says by itself: its login, bounded by timeouts of sockets, and its goodbye.
    own = {"saslStart", "saslContinue", "endSessions"}
    limits = {name: command.get("maxTimeMS", 0) for name, command in sent.commands if name not in own}
    assert {name: limit for name, limit in limits.items() if not 0 < limit <= 7000} == {}


# ------------------------------------------------------------------ connections
class OlderConnection(DatabaseConnection):
    """As the package gds_mongodb has it: ``connect()`` returns the client, which it keeps under a name of its own."""

    def __init__(self, url: str) -> None:
        self.config = {"connection_string": url}
        self._mongo: Any = None

    def connect(self) -> Any:
        if self._mongo is None:
            self._mongo = pymongo.MongoClient(self.config["connection_string"])
        return self._mongo

    def disconnect(self) -> None:
        if self._mongo is not None:
            self._mongo.close()

    def execute_query(self, collection: str, filter_query: Any = None) -> list[Any]:
        raise AssertionError("has nothing to do with commands")

    def is_connected(self) -> bool:
        return self._mongo is not None

    def get_connection_info(self) -> dict[str, Any]:
        return {"host": LOOPBACK, "database": "test"}


def test_a_connection_of_the_older_package_is_used_and_left_open(mongodb: MongoDB) -> None:
    connection = OlderConnection(mongodb.url)
    client = connection.connect()
    with MongoDBEngine(connection) as engine:
        assert engine.get_version() == client.admin.command("buildInfo")["version"]
        done(engine.get_database("older").create())
        done(engine.get_database("older").drop())
    assert client.admin.command("ping")["ok"] == 1
    connection.disconnect()


def test_a_connection_reads_documents_as_the_older_one_did(mongodb: MongoDB, engine: MongoDBEngine) -> None:
    with database_of(engine, "reading") as database:
        database["things"].insert_many([{"_id": number, "even": number % 2 == 0} for number in range(10)])
        with connection_of(mongodb, database="reading") as connection:
            found = connection.execute_query("things", {"even": True}, {"_id": 1}, limit=2, skip=1, sort=[("_id", -1)])
            assert found == [{"_id": 6}, {"_id": 4}]
            assert connection.execute_query_dict("things", {"_id": 3}) == [{"_id": 3, "even": False}]
        assert not connection.is_connected()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MongoDBConnection(port=0), "port=0"),
        (lambda: MongoDBConnection(password="x"), "expected username="),
        (lambda: MongoDBConnection(connection_string="http://x"), "expected an address"),
        (lambda: MongoDBConnection(connection_string=f"mongodb://u:{CANARY}/@:h"), "urllib.parse.quote_plus"),
        (lambda: MongoDBConnection(config=7), "config: expected"),
        (lambda: MongoDBConnection(tlsCAFiel="x").connect(), "tlsCAFiel"),
        (
            lambda: MongoDBEngine._open(EngineConfig.parse("mongodb://h/?replicaset=a&conectTimeoutMS=1")),
            "Did you mean one of (connecttimeoutms",
        ),
    ],
)
def test_bad_settings_are_refused_with_words_and_without_the_password(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert words in str(caught.value)
    assert "Canary" not in str(caught.value)


def test_an_address_becomes_what_it_says() -> None:
    config = EngineConfig.parse("mongodb://dba:pw%40x@a:1,b/shop?replicaSet=rs0&tls=false&authSource=admin")
    connection = MongoDBEngine._open(config)
    assert connection.password == "pw@x"
    assert connection.get_connection_info()["host"] == "a:1,b:27017"
    assert connection.get_connection_info()["database"] == "shop"
    arguments = connection.arguments()
    assert (arguments["replicaset"], arguments["tls"], arguments["username"]) == ("rs0", False, "dba")
    assert "pw@x" not in repr(connection)
    assert MongoDBEngine(connection).name == "a:1,b:27017"


def test_a_config_of_the_older_package_is_taken_with_what_it_says_for_people(mongodb: MongoDB) -> None:
    class OlderConfig:
        """As its MongoDBConnectionConfig: the settings are in the dict ``config``."""

        config: ClassVar[dict[str, Any]] = {
            "host": LOOPBACK,
            "port": mongodb.port,
            "username": mongodb.user,
            "password": mongodb.password,
            "instance_name": "prod",
            "tags": ["a"],
            "directConnection": True,
        }

    connection = MongoDBConnection(config=OlderConfig())
    with MongoDBEngine(connection) as engine:
        assert engine.get_version()
    assert connection.get_config("instance_name") == "prod"
    assert mongodb.password not in f"{connection!r}{vars(connection)['config']}"


# ------------------------------------------------------------------ failures
def test_nobody_there_is_an_error_in_bounded_time(leased_port: int) -> None:
    connection = MongoDBConnection(LOOPBACK, leased_port, serverSelectionTimeoutMS=200)
    with pytest.raises(DatabaseConnectionError, match="no server answers"):
        MongoDBEngine(connection).connect()
    assert not connection.is_connected()


def test_a_network_that_is_cut_or_swallows_is_an_error_in_bounded_time(mongodb: MongoDB, toxiproxy: Toxiproxy) -> None:
    proxy = toxiproxy.proxy(mongodb.port)
    with MongoDBEngine(connection_of(mongodb, port=proxy.port), timeout_seconds=2) as engine:
        assert engine.get_version()
        proxy.half_open()
        began = time.monotonic()
        with pytest.raises((StatementTimeoutError, DatabaseConnectionError)):
            engine.get_version()
        proxy.reset()
        proxy.cut()
        with pytest.raises((StatementTimeoutError, DatabaseConnectionError)):
            engine.get_version()
        assert time.monotonic() - began < 60
        proxy.restore()
        assert engine.get_version()


def test_a_certificate_that_has_expired_or_that_nobody_vouches_for_is_an_error(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime.now(timezone.utc) - timedelta(days=1)
    for name, ca in (("ca", authority), ("stranger", stranger)):
        ca.cert_pem.write_to_path(tmp_path / name)
    for certificate, trusted, words in (
        (authority.issue_cert(LOOPBACK), "ca", None),
        (authority.issue_cert(LOOPBACK), "stranger", "certificate verify failed"),
        (authority.issue_cert(LOOPBACK, not_before=past - timedelta(days=9), not_after=past), "ca", "expired"),
    ):
        with MongoDB(certificate.private_key_and_cert_chain_pem.bytes()) as server:
            options: dict[str, Any] = {
                "tls": True,
                "tlsCAFile": str(tmp_path / trusted),
                "serverSelectionTimeoutMS": 5000,
            }
            engine = MongoDBEngine(connection_of(server, **options))
            if words is None:
                with engine:
                    assert engine.get_version()
            else:
                with pytest.raises(DatabaseConnectionError, match=words):
                    engine.connect()


def test_the_password_is_nowhere(
    mongodb: MongoDB, engine: MongoDBEngine, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[object] = [engine.create_user("canary", CANARY, roles=["root"])]
    try:
        url = f"mongodb://canary:{quote_plus(CANARY)}@{LOOPBACK}:{mongodb.port}/?directConnection=true"
        secret = open_engine(url)
        assert isinstance(secret, MongoDBEngine)
        with secret:
            told += [repr(secret), repr(secret.connection), secret.metadata, secret.list_processes()]
            told += [secret.connection.get_connection_info(), secret.capabilities().to_dict()]
            now = datetime.now(timezone.utc)
            told += [secret.get_logs(now - timedelta(hours=1), now + timedelta(minutes=1))]
            told += [secret.create_user("canary", CANARY), secret.set_configuration(CANARY, 1)]
            told += [secret.get_database(CANARY).create(), secret.create_user("canary2", CANARY, roles=[CANARY])]
        for wrong in (f"{CANARY}x", f"x{CANARY}"):
            with pytest.raises(DatabaseConnectionError) as caught:
                connection_of(mongodb, "canary", wrong).connect()
            told.append(caught.value)
    finally:
        told.append(engine.drop_user("canary"))
    everything = "".join(f"{each!r}{each}" for each in told) + caplog.text + mongodb.log()
    assert "Canary-93b1" not in everything


# ------------------------------------------------------------------ for asyncio
def test_awaited_it_is_native_and_gives_the_same_answers(mongodb: MongoDB, engine: MongoDBEngine) -> None:
    async def ask() -> None:
        twin = await open_engine_async(mongodb.url)
        assert isinstance(twin, AsyncMongoDBEngine)
        async with twin:
            assert await twin.get_version() == engine.get_version()
            assert (await twin.metadata).version == engine.get_version()
            assert (await twin.get_server_time()).tzinfo is not None
            assert await twin.list_users() == engine.list_users()
            assert await twin.list_users(database=None) == engine.list_users(database=None) != engine.list_users()
            assert await twin.list_users(database="none") == []
            for ask in (twin.list_databases, twin.list_users, twin.list_processes):
                with pytest.raises(ConfigurationError, match=f"{ask.__name__}: there is no option 'databse'"):
                    await ask(databse=None)
            assert (await twin.get_configuration()).keys() == engine.get_configuration().keys()
            assert await twin.get_setting("logLevel") == engine.get_setting("logLevel")
            assert isinstance((await twin.list_processes())[0]["id"], str)
            names = {each.name for each in await twin.list_databases()}
            assert names == {each.name for each in engine.list_databases()}
            now = datetime.now(timezone.utc)
            names = {each.name for each in await twin.get_metrics(now - timedelta(minutes=1), now)}
            assert names == {each.name for each in engine.get_metrics(now - timedelta(minutes=1), now)}
            assert await twin.get_metrics(now - timedelta(hours=9), now - timedelta(hours=8)) == []
            assert await twin.get_logs(now - timedelta(hours=1), now, level="info")
            assert (await twin.get_replication_status()).role == "primary"
            # None of this began a thread: the client is pymongo's own for asyncio.
            assert not [each for each in threading.enumerate() if each.name.startswith("gds-database")]
            created = await twin.create_database("awaited")
            assert await created.exists()
            assert (await created.drop()).is_success()

    asyncio.run(ask())


def test_awaited_errors_are_ours(mongodb: MongoDB) -> None:
    async def ask() -> None:
        wrong = mongodb.url.replace(mongodb.password, "wrong")
        with pytest.raises(DatabaseConnectionError, match="refuses the login"):
            await open_engine_async(wrong)
        with pytest.raises(ConfigurationError, match="AsyncDatabaseEngine takes any"):
            AsyncMongoDBEngine(MongoDBEngine(OlderConnection(mongodb.url)))

    asyncio.run(ask())
