"""Engines by their addresses, with credentials from Vault, and for asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import subprocess
import sys
import threading
import traceback
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from gds_database import ConfigurationError, Database, DatabaseConnectionError, DatabaseEngine, EngineConfig
from gds_database.aio import AsyncDatabase, AsyncDatabaseEngine
from gds_database.opening import GROUP, engines, open_engine, open_engine_async
from gds_database.testing import InMemoryEngine, InMemoryServer
from gds_vault.testing import VaultServer
from tests.vault.test_alone import BLOCKED


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "postgresql://u:p%40w@h:5/db?sslmode=verify-full",
            EngineConfig("postgresql", "h", 5, "u", "p@w", "db", {"sslmode": "verify-full"}, (("h", 5),), "postgresql"),
        ),
        (
            "mongodb+srv://h1:1,h2/x?replicaSet=r",
            EngineConfig(
                "mongodb", "h1", 1, None, None, "x", {"replicaSet": "r"}, (("h1", 1), ("h2", None)), "mongodb+srv"
            ),
        ),
        (
            "memory://h?password=a+b%20c&empty=&x",
            EngineConfig("memory", "h", None, None, "a+b c", None, {"empty": "", "x": ""}, (("h", None),), "memory"),
        ),
        ("pg:///d?host=/run&port=3", EngineConfig("postgresql", "/run", 3, None, None, "d", {}, (("/run", 3),), "pg")),
        ("memory://[::1]:7", EngineConfig("memory", "::1", 7, hosts=(("::1", 7),), scheme="memory")),
        (
            "memory://a@b:c@h",  # at the last @, as people write it
            EngineConfig("memory", "h", None, "a@b", "c", hosts=(("h", None),), scheme="memory"),
        ),
        (
            {"engine": "sqlserver", "host": "h", "username": "u", "encrypt": "on", "options": {"a": 1}},
            EngineConfig("mssql", "h", None, "u", None, None, {"encrypt": "on", "a": 1}, (("h", None),), "sqlserver"),
        ),
        (
            {"url": "postgres://h/d?a=b", "password": "p", "host": "other"},
            EngineConfig("postgresql", "other", None, None, "p", "d", {"a": "b"}, (("other", None),), "postgres"),
        ),
    ],
)
def test_an_address_or_a_dict_says_where_and_who(given: Any, expected: EngineConfig) -> None:
    assert EngineConfig.parse(given) == expected
    assert "password" not in repr(EngineConfig.parse(given))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("host canary-pw", "url: expected an address such as postgresql://user@host/database"),
        ("memory://h:canary-pw", "port: expected a number from 1 to 65535"),
        ({"host": "h"}, "config: expected 'engine', such as 'postgresql', or 'url'"),
        (7, "config: expected an address or a dict, got int"),
        ("memry://h", "engine='memry': expected one that is installed; did you mean memory?"),
        ("zzz://h", "engine='zzz': expected one that is installed; there are "),
    ],
)
def test_what_is_no_address_is_said_without_what_may_be_a_password(given: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_engine(given)
    assert str(caught.value).startswith(expected)
    assert "canary" not in str(caught.value)


def test_an_engine_is_opened_and_closed() -> None:
    assert engines()["memory"] == "gds_database.testing:InMemoryEngine"
    with open_engine("memory://box", timeout_seconds=3) as engine:
        assert isinstance(engine, InMemoryEngine)
        assert engine.connection.is_connected()
        assert (engine.name, engine.timeout_seconds) == ("box", 3)
    assert not engine.connection.is_connected()


class Recorded(InMemoryEngine):
    configs: list[EngineConfig] = []  # noqa: RUF012

    @classmethod
    def _open(cls, config: EngineConfig) -> Any:
        cls.configs.append(config)
        return super()._open(config)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[EngineConfig]:
    Recorded.configs = []
    monkeypatch.setattr("gds_database.opening._class", lambda name: Recorded)
    return Recorded.configs


def test_credentials_come_from_vault(recorded: list[EngineConfig]) -> None:
    class Vault:
        def get_secret(self, path: str) -> dict[str, Any]:
            return {"db/dba": {"password": "canary", "username": "dba"}}[path]

    address = "memory://vault%3A%2F%2Fdb%2Fdba%23username@h"
    engine = open_engine(address, password="vault://db/dba#password", vault=Vault())
    [config] = recorded
    assert (config.user, config.password) == ("dba", "canary")
    assert "canary" not in repr(engine) + repr(config)
    assert engine._secrets.redact("the canary sings") == "the ******** sings"  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="vault://db/dba#pin: the secret has no such field"):
        open_engine("memory://h", password="vault://db/dba#pin", vault=Vault())
    with pytest.raises(ConfigurationError, match="expected vault://path#field"):
        open_engine("memory://h", password="vault://db/dba", vault=Vault())


@pytest.mark.parametrize(
    ("address", "option"),
    [
        ("postgresql://dba@127.0.0.1:1/postgres", "connect_timeout"),
        ("postgresql://dba@127.0.0.1:1/postgres", "require_auth"),
        ("postgresql://dba@127.0.0.1:1/postgres", "sslpassword"),
        ("mssql://sa@127.0.0.1:1/master", "login_timeout_seconds"),
        ("mongodb://dba@127.0.0.1:1", "serverSelectionTimeoutMS"),
        ("snowflake://dba@account/", "login_timeout"),
        ("snowflake://dba@account/", "private_key_file_pwd"),
    ],
)
def test_what_an_option_has_from_vault_is_in_no_error_wherever_it_belongs(address: str, option: str) -> None:
    class Vault:
        def get_secret(self, _path: str) -> dict[str, Any]:
            return {"it": "canary-4711"}

    config = EngineConfig.parse(f"{address}?{option}=vault%3A%2F%2Fapp%23it")
    try:
        engine = open_engine(config, vault=Vault(), connect=False, timeout_seconds=1)
    except ConfigurationError as error:
        assert "canary-4711" not in "".join(traceback.format_exception(error))  # noqa: PT017 - it need not raise
        return
    assert "canary-4711" not in repr(engine)
    assert "canary-4711" not in engine._secrets.redact("got canary-4711")  # type: ignore[attr-defined]
    if not address.startswith("snowflake"):
        with pytest.raises(DatabaseConnectionError) as refused:
            engine.connect()
        assert "canary-4711" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "name",
    [
        *("sslpassword", "tlsCertificateKeyFilePassword", "private_key_file_pwd", "private_key", "passcode", "token"),
        "oauth_client_secret",
    ],
)
def test_options_that_are_secrets_are_not_in_its_repr(name: str) -> None:
    config = EngineConfig.parse(
        {"engine": "memory", "host": "h", "password": "hidden", name: "canary", "plain": "seen"}
    )
    assert config.secrets == ("hidden", "canary")
    assert "canary" not in repr(config)
    assert "hidden" not in repr(config)
    assert f"'{name}': '********', 'plain': 'seen'" in repr(config)


def test_an_option_that_only_says_whether_is_no_secret() -> None:
    config = EngineConfig.parse("snowflake://dba@account?passcode_in_password=true&token_file_path=/run/token")
    assert config.secrets == ()
    assert "'passcode_in_password': 'true', 'token_file_path': '/run/token'" in repr(config)


def test_a_vault_client_is_made_from_the_environment(
    recorded: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    with VaultServer() as server:
        server.add_approle("role", "secret-id")
        server.put("app/database", {"password": "from-vault"})
        monkeypatch.setenv("VAULT_ADDR", server.url)
        monkeypatch.setenv("VAULT_ROLE_ID", "role")
        monkeypatch.setenv("VAULT_SECRET_ID", "secret-id")
        open_engine({"engine": "memory", "host": "h", "password": "vault://app/database#password"})
    assert recorded[0].password == "from-vault"


def test_without_gds_vault_its_extra_is_named() -> None:
    program = (
        BLOCKED.format(blocked={"gds_vault", "hvac"})
        + """
from gds_database.opening import open_engine
try:
    open_engine("memory://h", password="vault://a#b")
except ImportError as error:
    print(error)
"""
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "vault://: gds-vault is not installed; run: pip install 'gds-database[vault]'\n"


def test_an_engine_that_cannot_be_made_from_an_address_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("plain", "gds_database.engine:DatabaseEngine", GROUP)
    monkeypatch.setattr("gds_database.opening.entry_points", lambda group: [entry])
    with pytest.raises(ConfigurationError, match=r"expected gds_database.engine:DatabaseEngine to have from_config\("):
        open_engine("plain://h")


# ------------------------------------------------------------------ for asyncio
@pytest.mark.parametrize(("plain", "awaited"), [(DatabaseEngine, AsyncDatabaseEngine), (Database, AsyncDatabase)])
def test_the_awaited_twin_has_every_name_with_the_same_parameters(plain: type, awaited: type) -> None:
    names = {name for name in vars(plain) if not name.startswith("_")}
    assert names <= set(dir(awaited))
    for name in names - {"name", "metadata"}:
        wanted, mine = (inspect.signature(getattr(kind, name)).parameters for kind in (plain, awaited))
        given = [each for each in mine.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        expected = [each for each in wanted.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        assert [(each.name, each.default) for each in given] == [(each.name, each.default) for each in expected]


def test_awaited_it_does_the_same() -> None:
    async def use() -> None:
        async with await open_engine_async("memory://box", threads=2) as engine:
            assert engine.name == "box"
            database = await engine.create_database("a")
            assert (database.name, await database.exists(), (await database.metadata).name) == ("a", True, "a")
            assert (await database.create()).is_failure()
            assert [each.name for each in await engine.list_databases()] == ["a"]
            assert (await database.drop(dry_run=True)).data == {"statements": ["DROP DATABASE 'a'"], "dry_run": True}
            assert (await database.drop()).is_success()
            assert (await engine.create_user("u", "password", roles=["r"])).is_success()
            assert await engine.list_users() == ["u"]
            assert (await engine.drop_user("u")).is_success()
            assert (await engine.capabilities()).supports("failover")
            assert (await engine.failover()).is_failure()
            assert (await engine.shutdown()).is_success()
            with pytest.raises(DatabaseConnectionError):
                await engine.get_version()
            assert (await engine.startup()).is_success()

    asyncio.run(use())


def test_the_event_loop_goes_on_while_an_engine_waits_and_the_context_goes_along() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    entered, leave = threading.Event(), threading.Event()

    class Slow(InMemoryEngine):
        def get_version(self) -> str:
            entered.set()
            assert leave.wait(60)
            return f"{variable.get()} {threading.current_thread().name}"

    async def use() -> str:
        variable.set("set")
        engine = AsyncDatabaseEngine(Slow(), threads=1)
        waiting = asyncio.create_task(engine.get_version())
        assert await asyncio.to_thread(entered.wait, 60)
        leave.set()  # set by the loop, which is not blocked
        version = await waiting
        await engine.close()
        return version

    assert asyncio.run(use()) == "set gds-database_0"


def test_a_cancelled_backup_is_told_to_end() -> None:
    began = threading.Event()
    told: list[bool] = []

    class Slow(InMemoryEngine):
        pass

    engine = AsyncDatabaseEngine(Slow())
    database = engine.get_database("a")

    def backup(path: str, backup_type: Any, *, cancelled: threading.Event) -> None:
        began.set()
        told.append(cancelled.wait(60))

    database.database.backup = backup  # type: ignore[method-assign, assignment]

    async def use() -> None:
        task = asyncio.create_task(database.backup("x"))
        assert await asyncio.to_thread(began.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.close()

    asyncio.run(use())
    engine._threads.shutdown(wait=True)
    assert told == [True]


def test_a_server_that_refuses_leaves_no_thread() -> None:
    class Stopped(InMemoryEngine):
        @classmethod
        def _open(cls, config: EngineConfig) -> Any:
            connection = super()._open(config)
            connection.server = InMemoryServer(running=False)
            return connection

    async def use() -> None:
        with pytest.raises(DatabaseConnectionError, match="not running"):
            await open_engine_async("memory://h")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gds_database.opening._class", lambda name: Stopped)
        asyncio.run(use())
    for thread in threading.enumerate():
        if thread.name.startswith("gds-database"):
            thread.join(60)
            assert not thread.is_alive()


def test_a_native_engine_is_preferred() -> None:
    class Native(InMemoryEngine):
        @classmethod
        async def open_async(cls, config: EngineConfig, **settings: Any) -> AsyncDatabaseEngine:
            return AsyncDatabaseEngine(cls.from_config(config), threads=7, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gds_database.opening._class", lambda name: Native)
        engine = asyncio.run(open_engine_async("memory://h"))
    assert engine._threads._max_workers == 7
    with pytest.raises(ConfigurationError, match="threads=0: expected 1 or more"):
        AsyncDatabaseEngine(InMemoryEngine(), threads=0)
