"""What an engine of a platform has, its twin for asyncio has: every public method with every option."""

from __future__ import annotations

import asyncio
import copy
import inspect
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from gds_database import EngineConfig
from gds_database.aio import AsyncDatabaseEngine
from gds_database.engines.mongodb import AsyncMongoDBEngine, MongoDBEngine
from gds_database.engines.mssql import MSSQLEngine
from gds_database.engines.postgresql import AsyncPostgreSQLEngine, PostgreSQLEngine
from gds_database.engines.snowflake import SnowflakeEngine
from gds_database.testing import InMemoryEngine

ENGINES: dict[Any, str] = {
    PostgreSQLEngine: "postgresql://u@h/d",
    MongoDBEngine: "mongodb://h/d",
    MSSQLEngine: "mssql://u@h/d",
    SnowflakeEngine: "snowflake://u@account/d",
}
NATIVE: dict[Any, Any] = {PostgreSQLEngine: AsyncPostgreSQLEngine, MongoDBEngine: AsyncMongoDBEngine}
TWINS = [(kind, twin) for kind in ENGINES for twin in (AsyncDatabaseEngine, NATIVE.get(kind)) if twin]
# A native twin has these itself for their types' sake, and hands them to the engine.
HANDED_ON = {"backup", "restore"}
# The one waits for nothing, the other ends the threads.
APART = {"get_database", "close"}


def public(kind: type) -> list[str]:
    """The methods that instances have, those of bases among them."""
    names = (name for name in dir(kind) if not name.startswith("_"))
    return [name for name in names if isinstance(inspect.getattr_static(kind, name), FunctionType)]


def named(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Parameters that have a name, with how they are given and their defaults."""
    found = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default) for each in found if each.kind is not each.VAR_KEYWORD]


def made(kind: Any) -> Any:
    return kind.from_config(EngineConfig.parse(ENGINES[kind]))


async def hands_on(twin: Any, below: Any, name: str) -> None:
    """Whatever the method of an engine or database takes is given to its twin, and has to come out below."""
    signature = inspect.signature(getattr(below, name))
    got: list[dict[str, Any]] = []

    def take(*args: Any, **kwargs: Any) -> list[Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        got.append(bound.arguments)
        return []

    take.__signature__ = signature  # type: ignore[attr-defined]
    setattr(below, name, take)
    takes = signature.parameters.values()
    given = {each.name: object() for each in takes if each.kind is not each.VAR_KEYWORD}
    more = {each.name: {"an_option": object()} for each in takes if each.kind is each.VAR_KEYWORD}
    await getattr(twin, name)(**given, **{option: value for each in more.values() for option, value in each.items()})
    assert got.pop() == {**given, **more}, name
    # By position, and with the engine's defaults for the rest; a backup is told by an event of the twin's own.
    defaults = {each.name: each.default for each in takes if each.default is not each.empty}
    needed = {each: value for each, value in given.items() if each not in defaults}
    first = [each.name for each in takes if each.kind is each.POSITIONAL_OR_KEYWORD]
    for position in range(len(first) + 1):
        if set(first[position:]) <= defaults.keys():
            rest = {each: value for each, value in needed.items() if each not in first}
            await getattr(twin, name)(*(given[each] for each in first[:position]), **rest)
            found = got.pop()
            sent = {each: given[each] for each in first[:position]}
            expected = {**defaults, **rest, **sent, **{each: {} for each in more}}
            if "cancelled" in expected:
                assert isinstance(found["cancelled"], threading.Event)
                expected["cancelled"] = found["cancelled"]
            assert found == expected, name


@pytest.mark.parametrize(("kind", "twin"), TWINS)
def test_what_a_method_takes_its_twin_hands_on(kind: Any, twin: Any) -> None:
    native = set(vars(twin)) - HANDED_ON if twin is not AsyncDatabaseEngine else set()

    async def call() -> None:
        for name in public(kind):
            if name not in native | APART:
                engine = made(kind)
                awaited = twin(engine)
                await hands_on(awaited, engine, name)
                awaited._threads.shutdown()

    asyncio.run(call())


@pytest.mark.parametrize("kind", ENGINES)
def test_what_a_method_of_a_database_takes_its_twin_hands_on(kind: Any) -> None:
    async def call() -> None:
        for name in public(type(made(kind).get_database("d"))):
            twin = AsyncDatabaseEngine(made(kind))
            database = twin.get_database("d")
            await hands_on(database, database.database, name)
            twin._threads.shutdown()

    asyncio.run(call())


@pytest.mark.parametrize(("kind", "native"), NATIVE.items())
def test_a_native_method_has_the_parameters_of_the_engine(kind: Any, native: Any) -> None:
    own = [name for name in public(native) if name in vars(native) and name not in HANDED_ON]
    assert {"list_databases", "list_users", "list_processes", "get_setting"} <= set(own)
    for name in own:
        assert named(getattr(native, name)) == named(getattr(kind, name)), name


# ------------------------------------------------------------------ engines of others
class Further(InMemoryEngine):
    """One with more than the contract."""

    level = 3

    @property
    def load(self) -> float:
        raise AssertionError("asks the server")

    def vacuum(self, name: str, *, full: bool = False) -> tuple[str, bool, str]:
        """Make it smaller."""
        return name, full, threading.current_thread().name

    def list_users(self, *, prefix: str = "") -> list[str]:
        return [name for name in ("ada", "bob") if name.startswith(prefix)]


def test_what_an_engine_of_others_has_beyond_the_contract_is_awaited() -> None:
    twin = AsyncDatabaseEngine(Further())

    async def ask() -> None:
        assert await twin.vacuum("t", full=True) == ("t", True, "gds-database_0")
        assert await twin.list_users(prefix="a") == ["ada"]
        with pytest.raises(TypeError, match="no_such"):
            await twin.vacuum("t", no_such=1)
        await twin.close()

    asyncio.run(ask())
    assert (twin.vacuum.__name__, twin.vacuum.__doc__) == ("vacuum", "Make it smaller.")
    assert "vacuum" in dir(twin)
    assert not {"load", "level", "from_config"} & set(dir(twin))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("load", "; it is one of Further: .engine.load"),
        ("level", "; it is one of Further: .engine.level"),
        ("timeout_seconds", "; it is one of Further: .engine.timeout_seconds"),
        ("from_config", "; it is one of Further: .engine.from_config"),
        ("vacum", ", nor has Further such a method"),
        ("_secrets", ""),
    ],
)
def test_what_is_no_method_is_said_to_be_below_or_nowhere(name: str, says: str) -> None:
    twin = AsyncDatabaseEngine(Further())
    with pytest.raises(AttributeError) as caught:
        getattr(twin, name)
    assert str(caught.value) == f"'AsyncDatabaseEngine' object has no attribute '{name}'{says}"
    assert not hasattr(twin.get_database("d"), "vacuum")


def test_a_twin_of_a_database_is_copied_as_any_object() -> None:
    database = AsyncDatabaseEngine(Further()).get_database("d")
    assert copy.copy(database).database is database.database
