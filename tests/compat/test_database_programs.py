"""Subclasses that packages have written against the lists of `gds_database` behave as they always did."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from abc import ABC
from datetime import datetime
from typing import Any, Protocol

import pytest

import gds_database
from gds_database.aio import AsyncDatabaseEngine
from gds_database.base import (
    AsyncDatabaseConnection,
    AsyncResourceManager,
    ConfigurableComponent,
    Connectable,
    ConnectionPool,
    DatabaseConnection,
    OperationResult,
    PerformanceMonitored,
    Queryable,
    QueryError,
    ResourceManager,
    RetryableOperation,
    TransactionalConnection,
)
from gds_database.database import Database
from gds_database.engine import DatabaseEngine
from gds_database.errors import ObjectNotFoundError
from gds_database.metadata import (
    BackupType,
    DatabaseMetadata,
    DatabaseType,
    EngineMetadata,
    LogEntry,
    Metric,
    ReplicationStatus,
)
from tests.compat.api_lists import LISTS, Kind, read


def now() -> datetime:
    return datetime.now()  # noqa: DTZ005 - as programs do


LISTED = {kind.name: kind for module in read(LISTS / "gds_database.txt") for kind in module.kinds}
ABSTRACT = {
    "AsyncDatabaseConnection": {"connect", "disconnect", "execute_query", "is_connected", "get_connection_info"},
    "AsyncResourceManager": {"initialize", "cleanup", "is_initialized"},
    "ConfigurableComponent": {"validate_config"},
    "ConnectionPool": {"get_connection", "release_connection", "close_all", "get_pool_status"},
    "Database": {"metadata", "exists", "create", "drop", "backup", "restore"},
    "DatabaseConnection": {"connect", "disconnect", "execute_query", "is_connected", "get_connection_info"},
    "DatabaseEngine": {
        "metadata",
        *(method.name for method in LISTED["DatabaseEngine"].methods if method.name != "__init__"),
    },
    "ResourceManager": {"initialize", "cleanup", "is_initialized"},
    "RetryableOperation": {"_execute"},
    "TransactionalConnection": {
        *("connect", "disconnect", "execute_query", "is_connected", "get_connection_info"),
        *("begin_transaction", "commit", "rollback", "in_transaction"),
    },
}


class Connection(DatabaseConnection, ConfigurableComponent, ResourceManager):
    """As the packages of the platforms have theirs."""

    def __init__(self, host: str, config: dict[str, Any] | None = None) -> None:
        self.open = False
        self.host = host
        ConfigurableComponent.__init__(self, config)

    def validate_config(self) -> bool:
        if self.config.get("port") == 0:
            raise ValueError("port")
        return True

    def connect(self) -> Any:
        self.open = True
        return self

    def disconnect(self) -> None:
        self.open = False

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None, fetch_all: bool = True) -> list[Any]:
        return [(query, params, fetch_all)]

    def is_connected(self) -> bool:
        return self.open

    def get_connection_info(self) -> dict[str, Any]:
        return {"host": self.host, "port": 5432}

    def initialize(self) -> None:
        self.connect()

    def cleanup(self) -> None:
        self.disconnect()

    def is_initialized(self) -> bool:
        return self.open


class OldDatabase(Database):
    created = False

    @property
    def metadata(self) -> DatabaseMetadata:
        if self._metadata is None:
            self._metadata = DatabaseMetadata(self.name, DatabaseType.POSTGRESQL)
        return self._metadata

    def exists(self) -> bool:
        return self.created

    def create(self, **options: Any) -> OperationResult:
        if options.get("fail"):
            return OperationResult.failure_result("not created", "no room")
        self.created = True
        return OperationResult.success_result("created", options)

    def drop(self, force: bool = False) -> OperationResult:
        return OperationResult.success_result("dropped", {"force": force})

    def backup(self, path: str, backup_type: BackupType = BackupType.FULL, **options: Any) -> OperationResult:
        return OperationResult.success_result("backed up", {"type": backup_type})

    def restore(self, path: str, **options: Any) -> OperationResult:
        return OperationResult.success_result("restored")


def engine_of(**more: Any) -> type[DatabaseEngine]:
    """A subclass with every method of the list, each with the list's parameters."""
    methods: dict[str, Any] = {}
    for method in LISTED["DatabaseEngine"].methods:
        if method.name == "__init__":
            continue
        parameters = ", ".join(
            each.name if each.default is None else f"{each.name}={each.default}" for each in method.parameters
        )
        names = ", ".join(each.name.lstrip("*") for each in method.parameters)
        scope: dict[str, Any] = {}
        exec(f"def {method.name}(self, {parameters}): return ({method.name!r}, {names})", scope)
        methods[method.name] = scope[method.name]
    methods["metadata"] = property(lambda self: EngineMetadata("old", "1"))
    methods["get_database"] = lambda self, name: OldDatabase(self, name)  # noqa: PLW0108 - a class is no method
    made: type[DatabaseEngine] = type("OldEngine", (DatabaseEngine,), methods | more)
    return made


# ------------------------------------------------------------------ what is abstract, and how
@pytest.mark.parametrize("name", sorted(LISTED))
def test_what_a_subclass_has_to_have_is_what_it_always_was(name: str) -> None:
    kind = getattr(gds_database, name)
    assert set(getattr(kind, "__abstractmethods__", ())) == ABSTRACT.get(name, set())


@pytest.mark.parametrize("name", sorted(ABSTRACT))
def test_abstract_bodies_return_none(name: str) -> None:
    kind = getattr(gds_database, name)
    for method in ABSTRACT[name]:
        raw = vars(kind).get(method)
        if raw is None:
            continue  # inherited, and looked at there
        function: Any = raw.fget if isinstance(raw, property) else raw
        arguments = [None] * (function.__code__.co_argcount)
        found = function(*arguments)
        assert (asyncio.run(found) if asyncio.iscoroutine(found) else found) is None


@pytest.mark.parametrize("kind", LISTED.values(), ids=lambda kind: kind.name)
def test_classes_are_plain_ones(kind: Kind) -> None:
    made = getattr(gds_database, kind.name)
    for each in made.__mro__:
        if each not in {object, ABC, str, Protocol} and each.__module__.startswith("gds_database"):
            assert "__slots__" not in vars(each)


# ------------------------------------------------------------------ connections
def test_a_connection_of_three_bases_is_configured_opened_and_closed() -> None:
    connection = Connection("db", {"port": 5432})
    with connection as inside:
        assert inside is connection
        assert connection.is_initialized()
    assert not connection.is_connected()
    connection.set_config("port", 1)
    connection.update_config({"name": "x"})
    assert (connection.get_config("port"), connection.get_config("name"), connection.get_config("y", 2)) == (1, "x", 2)
    with pytest.raises(ValueError, match="port"):
        connection.set_config("port", 0)
    assert isinstance(connection, Connectable)
    assert isinstance(connection, Queryable)
    assert not isinstance(object(), Connectable)


def test_an_error_in_a_block_goes_on_and_the_resource_is_cleaned_up() -> None:
    connection = Connection("db")
    with pytest.raises(KeyError), connection:
        raise KeyError("x")
    assert not connection.open


def test_the_other_contracts_can_be_subclassed() -> None:
    class Transactional(TransactionalConnection):
        connect = disconnect = execute_query = is_connected = get_connection_info = lambda self, *_: None  # type: ignore[assignment]
        begin_transaction = commit = rollback = in_transaction = lambda self: None  # type: ignore[assignment, return-value]

    class Pool(ConnectionPool):
        get_connection = close_all = get_pool_status = lambda self: {}  # type: ignore[assignment]

        def release_connection(self, conn: DatabaseConnection) -> None: ...

    class Async(AsyncDatabaseConnection, AsyncResourceManager):
        async def connect(self) -> Any:
            return 1

        disconnect = execute_query = is_connected = initialize = cleanup = is_initialized = connect  # type: ignore[assignment]

        def get_connection_info(self) -> dict[str, Any]:
            return {}

    async def use() -> Any:
        async with Async() as inside:
            return await inside.connect()

    assert issubclass(Transactional, DatabaseConnection)
    Transactional().commit()
    assert Pool().get_pool_status() == {}
    assert asyncio.run(use()) == 1


# ------------------------------------------------------------------ retries and times
class Flaky(RetryableOperation):
    def __init__(self, errors: list[Exception], **settings: Any) -> None:
        super().__init__(**settings)
        self.errors = errors

    def _execute(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_an_operation_is_repeated_after_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert Flaky([OSError(), OSError()]).execute_with_retry() == "done"
    assert waits == [1, 2]
    waits.clear()
    assert Flaky([OSError()] * 5, max_retries=5, backoff_factor=10).execute_with_retry() == "done"
    assert waits == [1, 10, 60, 60, 60]


def test_the_last_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    errors: list[Exception] = [OSError(str(number)) for number in range(4)]
    last = errors[-1]
    with pytest.raises(OSError, match="3") as caught:
        Flaky(errors).execute_with_retry()
    assert caught.value is last
    with pytest.raises(OSError, match="only"):
        Flaky([OSError("only")], max_retries=0).execute_with_retry()


def test_a_monitored_class_logs_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    class Base:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.given = (args, kwargs)

    class Monitored(PerformanceMonitored, Base):
        def work(self) -> None:
            with self._measure_time("work"):
                pass

    mine = logging.getLogger("mine")
    monitored = Monitored(1, logger=mine)
    assert monitored.given == ((1,), {"logger": mine})
    with caplog.at_level(logging.INFO, "mine"):
        monitored.work()
    assert [record.name for record in caplog.records] == ["mine"]
    assert caplog.messages[0].startswith("work took ")


# ------------------------------------------------------------------ results
def test_a_result_has_seven_keys_and_a_local_time() -> None:
    before = now()
    result = OperationResult.success_result("done", {"a": 1})
    assert result.timestamp is not None
    assert before <= result.timestamp <= now()
    assert (result.is_success(), result.is_failure(), result.error, result.metadata) == (True, False, None, None)
    assert result.to_dict() == {
        "success": True,
        "message": "done",
        "data": {"a": 1},
        "error": None,
        "duration_ms": 0.0,
        "timestamp": result.timestamp.isoformat(),
        "metadata": None,
    }
    json.dumps(result.to_dict())
    failed = OperationResult.failure_result("no", "why", {"k": "v"})
    assert (failed.success, failed.error, failed.metadata, failed.data) == (False, "why", {"k": "v"}, None)
    assert OperationResult(True, "m", {}, None, 1.5, before, {}).duration_ms == 1.5


# ------------------------------------------------------------------ engines and databases
def test_an_older_engine_has_what_is_new_without_a_change() -> None:
    connection = Connection("db")
    engine = engine_of()(connection)
    assert engine.connection is connection
    assert engine.name == "db:5432"
    engine.connect()
    assert connection.is_connected()
    assert engine.connect() is None
    assert len(engine.capabilities()) == 0
    assert engine.create_database("new", owner="me").exists()
    with pytest.raises(QueryError, match="no room"):
        engine.create_database("new", fail=True)


def test_an_older_engine_tells_one_setting_of_all_it_has_awaited_as_well() -> None:
    told: dict[str, Any] = {"port": 5432}
    engine = engine_of(get_configuration=lambda self: told)(Connection("db"))
    expected = {"name": "port", "value": 5432, "unit": "", "source": "", "restart_required": None}
    assert engine.get_setting("port") == expected
    with pytest.raises(ObjectNotFoundError, match="setting 'prot' does not exist on db:5432"):
        engine.get_setting("prot")

    async def ask() -> None:
        twin = AsyncDatabaseEngine(engine)
        assert await twin.get_setting("port") == expected
        database = twin.get_database("x")
        before = await database.metadata
        assert await database.metadata is before
        assert await database.refresh_metadata() is not before
        await twin.close()

    asyncio.run(ask())
    own = engine_of(get_setting=lambda self, name: {"own": name})(Connection("db"))
    assert own.get_setting("port") == {"own": "port"}


def test_an_older_engine_may_set_a_name_of_its_own() -> None:
    def init(self: Any, connection: DatabaseConnection) -> None:
        DatabaseEngine.__init__(self, connection)
        self.name = "mine"

    assert engine_of(__init__=init)(Connection("db")).name == "mine"
    assert engine_of(name="class")(Connection("db")).name == "class"


def test_a_name_is_there_when_the_connection_tells_nothing() -> None:
    class Silent(Connection):
        def get_connection_info(self) -> dict[str, Any]:
            raise RuntimeError("connect first")

    assert engine_of()(Silent("db")).name == "OldEngine"
    account = Connection("db")
    account.get_connection_info = lambda: {"account": "acme"}  # type: ignore[method-assign]
    assert engine_of()(account).name == "acme"


def test_an_older_engine_is_called_as_it_was() -> None:
    engine: Any = engine_of()(Connection("db"))
    at = now()
    assert engine.get_logs(at, at, level="x") == ("get_logs", at, at, {"level": "x"})
    assert engine.failover() == ("failover", None, {})
    assert engine.shutdown(True, wait=1) == ("shutdown", True, {"wait": 1})


def test_a_database_begins_without_metadata() -> None:
    database = OldDatabase(engine_of()(Connection("db")), "x")
    assert database._metadata is None
    assert database.metadata is database.metadata
    assert database.backup("p").data == {"type": BackupType.FULL}
    assert database.backup("p", BackupType("log")).data == {"type": BackupType.TRANSACTION_LOG}


# ------------------------------------------------------------------ what is known and reported
def test_other_names_of_the_same_values_can_be_read_and_set() -> None:
    at = now()
    database = DatabaseMetadata("x", DatabaseType.MSSQL, at, 1, "me")
    assert database.created_at == at
    database.created_at = None
    assert database.created is None
    database.set_attribute("k", 1)
    assert (database.get_attribute("k"), database.get_attribute("n", 2)) == (1, 2)
    assert EngineMetadata("x", "1", additional_attributes={"a": 1}).get_attribute("a") == 1

    metric = Metric("a.b", 1.0, "By", at)
    assert (metric.metric_name, metric.tags, metric.instance_id) == ("a.b", {}, None)
    metric.instance_id = "i"
    metric.tags["t"] = "1"
    metric.metric_name = "c"
    assert metric == Metric("c", 1.0, "By", at, {"instance_id": "i", "t": "1"})
    metric.tags = {}
    assert metric.labels == {}
    assert LogEntry(at, "ERROR", "m", "s").context == {}
    assert ReplicationStatus(True, "streaming", "primary") == ReplicationStatus(
        True, "streaming", "primary", 0.0, "unknown", []
    )


def test_kinds_are_texts_that_json_and_formats_take() -> None:
    assert json.dumps([BackupType.FULL, DatabaseType.MONGODB]) == '["full", "mongodb"]'
    assert BackupType("full") is BackupType.FULL
    assert isinstance(DatabaseType.SNOWFLAKE, str)
