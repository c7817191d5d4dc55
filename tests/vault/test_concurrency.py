"""Threads, tasks, cancellation, event loops and forks."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest
import requests
import uvloop
from hvac.adapters import JSONAdapter, RawAdapter  # type: ignore[import-untyped, unused-ignore]

from gds_vault import (
    AppRoleAuth,
    AsyncVaultClient,
    RetryPolicy,
    TokenAuth,
    VaultClient,
    VaultConfigurationError,
    VaultConnectionError,
    VaultError,
    VaultSecretNotFoundError,
)
from gds_vault.testing import VaultServer
from tests.vault.doubles import QUICK, Recorder

pytestmark = pytest.mark.timing

AUTH = AppRoleAuth("role", "secret-id")
MANY = 20


def asked(server: VaultServer, path: str) -> int:
    return [each for _, each in server.calls].count(path)


# ------------------------------------------------------------------ threads
def test_threads_share_one_login_and_one_fetch(server: VaultServer) -> None:
    metrics = Recorder()
    with VaultClient(server.url, AUTH, metrics=metrics) as client, ThreadPoolExecutor(MANY) as pool:
        server.hold()
        results = [pool.submit(client.get_secret, "app/database") for _ in range(MANY)]
        metrics.wait_for("vault.secret.miss", MANY)
        server.release()
        found = [result.result() for result in results]
    assert all(secret == {"username": "shop", "password": "hunter2"} for secret in found)
    assert len({id(secret) for secret in found}) == MANY
    assert asked(server, "auth/approle/login") == 1
    assert asked(server, "secret/data/app/database") == 1


def test_threads_that_want_different_secrets_share_one_login(server: VaultServer) -> None:
    for number in range(MANY):
        server.put(f"app/{number}", {"number": number})
    with VaultClient(server.url, AUTH) as client, ThreadPoolExecutor(MANY) as pool:
        found = list(pool.map(lambda number: client.get_secret(f"app/{number}")["number"], range(MANY)))
    assert found == list(range(MANY))
    assert asked(server, "auth/approle/login") == 1
    assert asked(server, "sys/internal/ui/mounts/secret") == 1


def test_threads_share_a_failure_and_each_has_an_exception_of_its_own(server: VaultServer) -> None:
    metrics = Recorder()
    with VaultClient(server.url, AUTH, metrics=metrics) as client, ThreadPoolExecutor(MANY) as pool:
        client.get_secret("app/database")
        server.hold()
        results = [pool.submit(client.get_secret, "nothing") for _ in range(MANY)]
        metrics.wait_for("vault.secret.miss", MANY + 1)
        server.release()
        errors = [result.exception() for result in results]
    assert all(isinstance(error, VaultSecretNotFoundError) and error.path == "nothing" for error in errors)
    assert len({id(error) for error in errors}) == MANY
    assert metrics.count("vault.secret.error", type="VaultSecretNotFoundError", path="nothing") == MANY
    assert asked(server, "secret/data/nothing") == 1


def test_a_token_that_died_under_many_threads_is_replaced_once(server: VaultServer) -> None:
    with VaultClient(server.url, AUTH) as client, ThreadPoolExecutor(MANY) as pool:
        client.get_secret("app/database")
        server.revoke_tokens()
        list(pool.map(lambda _: client.get_secret("app/database", use_cache=False), range(MANY)))
    assert asked(server, "auth/approle/login") == 2


def test_an_outage_is_not_waited_for_by_each_thread_in_turn(server: VaultServer) -> None:
    metrics = Recorder()
    with VaultClient(server.url, AUTH, metrics=metrics, retry_policy=QUICK) as client, ThreadPoolExecutor(MANY) as pool:
        server.hold()
        results = [pool.submit(client.get_secret, f"app/{number}") for number in range(MANY)]
        metrics.wait_for("vault.secret.miss", MANY)
        server.seal()
        server.release()
        errors = [result.exception() for result in results]
    assert all(isinstance(error, VaultConnectionError) for error in errors)
    assert len({getattr(error, "path", None) for error in errors}) == MANY, "each knows its own path"
    assert asked(server, "auth/approle/login") < 3 * MANY


def test_a_read_after_a_write_does_not_join_one_from_before(server: VaultServer) -> None:
    metrics = Recorder()
    with VaultClient(server.url, AUTH, metrics=metrics) as client, ThreadPoolExecutor(2) as pool:
        client.get_secret("app/database")
        client.delete_secret("app/database")
        server.put("app/database", {"password": "old"})
        server.hold()
        before = pool.submit(client.get_secret, "app/database")
        server.wait_until(lambda: asked(server, "secret/data/app/database") == 3)
        # Beyond the server that holds: what a write by this client does to its cache.
        client._core.cache.forget(client._core._scope, {"app/database"})
        after = pool.submit(client.get_secret, "app/database")
        server.wait_until(lambda: asked(server, "secret/data/app/database") == 4)
        server.release()
        assert before.result() == after.result() == {"password": "old"}


def test_who_is_interrupted_takes_nothing_from_the_others(server: VaultServer) -> None:
    class Interrupted(RawAdapter):  # type: ignore[misc, unused-ignore]
        """The first read ends as Ctrl-C would end it, once somebody else waits for it."""

        waiting = threading.Event()
        begun = threading.Event()

        def request(self, method: str, url: str, *arguments: Any, **settings: Any) -> Any:
            if url.endswith("app/database") and not Interrupted.begun.is_set():
                Interrupted.begun.set()
                Interrupted.waiting.wait(60)
                raise KeyboardInterrupt
            return super().request(method, url, *arguments, **settings)

    metrics = Recorder()
    with (
        VaultClient(server.url, AUTH, transport=Interrupted, metrics=metrics) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(client.get_secret, "app/database")
        assert Interrupted.begun.wait(60)
        second = pool.submit(client.get_secret, "app/database")
        metrics.wait_for("vault.secret.miss", 2)
        Interrupted.waiting.set()
        assert second.result()["password"] == "hunter2"
        assert isinstance(first.exception(), KeyboardInterrupt)


def test_a_collector_that_reads_the_same_secret_does_not_wait_for_itself(server: VaultServer) -> None:
    class Curious(Recorder):
        def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
            if len(seen) < 3:
                seen.append(name)
                client.get_secret("app/database")

    seen: list[str] = []
    with VaultClient(server.url, AUTH, metrics=Curious()) as client:
        assert client.get_secret("app/database")["password"] == "hunter2"
    assert seen


# ------------------------------------------------------------------ tasks
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    loop = new_loop()
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def arrival(server: VaultServer, of: str) -> None:
    """Wait for a request to come in."""
    await asyncio.to_thread(server.wait_until, lambda: asked(server, of) > 0)


@LOOPS
def test_tasks_share_one_login_and_one_fetch(new_loop: Any, server: VaultServer) -> None:
    async def main() -> None:
        async with AsyncVaultClient(server.url, AUTH) as client:
            found = await asyncio.gather(*(client.get_secret("app/database") for _ in range(100)))
        assert len({id(secret) for secret in found}) == 100
        assert found[0] == {"username": "shop", "password": "hunter2"}
        assert asked(server, "auth/approle/login") == asked(server, "secret/data/app/database") == 1

    run(new_loop, main())


@LOOPS
def test_who_is_cancelled_takes_nothing_from_the_others_tasks(new_loop: Any, server: VaultServer) -> None:
    async def main() -> None:
        async with AsyncVaultClient(server.url, AUTH) as client:
            server.hold()
            tasks = [asyncio.ensure_future(client.get_secret("app/database")) for _ in range(10)]
            await arrival(server, "sys/internal/ui/mounts/secret")
            for task in tasks[:5]:
                task.cancel()
            await asyncio.wait(tasks[:5])
            server.release()
            found = await asyncio.gather(*tasks[5:])
            assert all(task.cancelled() for task in tasks[:5])
            assert all(secret["password"] == "hunter2" for secret in found)
        assert asked(server, "secret/data/app/database") == 1

    run(new_loop, main())


@LOOPS
def test_a_fetch_that_all_have_left_ends_quietly(new_loop: Any, server: VaultServer) -> None:
    async def main() -> None:
        heard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        async with AsyncVaultClient(server.url, AUTH) as client:
            server.hold()
            task = asyncio.ensure_future(client.get_secret("nothing"))
            await arrival(server, "sys/internal/ui/mounts/secret")
            fetches = [flight.future for flight in client._flights.values()]
            task.cancel()
            await asyncio.wait([task])
            server.release()
            await asyncio.wait(fetches)
        gc.collect()
        assert heard == []

    run(new_loop, main())


@LOOPS
def test_closing_ends_what_is_under_way(new_loop: Any, server: VaultServer) -> None:
    async def main() -> None:
        client = AsyncVaultClient(server.url, AUTH)
        server.hold()
        task = asyncio.ensure_future(client.get_secret("app/database"))
        await arrival(server, "auth/approle/login")
        await client.aclose()
        with pytest.raises(VaultError, match="closed"):
            await task
        server.release()

    run(new_loop, main())


@LOOPS
def test_a_time_limit_of_the_callers_is_kept(new_loop: Any, server: VaultServer) -> None:
    async def main() -> None:
        async with AsyncVaultClient(server.url, AUTH) as client:
            server.hold()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.get_secret("app/database"), 0.05)
            server.release()
            assert (await client.get_secret("app/database"))["password"] == "hunter2"

    run(new_loop, main())


def test_a_client_may_outlive_its_event_loop(server: VaultServer) -> None:
    client = AsyncVaultClient(server.url, AUTH)

    async def read() -> str:
        return str((await client.get_secret("app/database", use_cache=False))["password"])

    async def last() -> str:
        async with client:
            return await read()

    # -W error would turn a session that nobody closed into a failure.
    assert asyncio.run(read()) == asyncio.run(read()) == asyncio.run(last()) == "hunter2"
    assert asked(server, "auth/approle/login") == 1


def test_two_event_loops_at_once_are_refused(server: VaultServer) -> None:
    async def main() -> None:
        async with AsyncVaultClient(server.url, AUTH) as client:
            await client.get_secret("app/database")
            with pytest.raises(VaultConfigurationError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, client.get_secret("app/database", use_cache=False))

    asyncio.run(main())


# ------------------------------------------------------------------ transports
def test_a_session_of_the_callers_is_used_and_left_open(server: VaultServer) -> None:
    with requests.Session() as session:
        session.headers["X-Mine"] = "yes"
        closed: list[str] = []
        session.close = lambda: closed.append("closed")  # type: ignore[method-assign]
        with VaultClient(server.url, AUTH, transport=session) as client:
            assert client.get_secret("app/database")["password"] == "hunter2"
        assert closed == []
        del session.close


@pytest.mark.parametrize("adapter", [RawAdapter, JSONAdapter])
def test_an_adapter_of_hvac_can_be_chosen(server: VaultServer, adapter: Any) -> None:
    with VaultClient(server.url, AUTH, transport=adapter) as client:
        client.put_secret("other", {"a": "b"})
        assert client.get_secret("other") == {"a": "b"}
        client.delete_secret("other")
        with pytest.raises(VaultSecretNotFoundError):
            client.get_secret("other")


def test_an_aiohttp_session_of_the_callers_is_used_and_left_open(server: VaultServer) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            async with AsyncVaultClient(server.url, AUTH, transport=session) as client:
                assert (await client.get_secret("app/database"))["password"] == "hunter2"
            assert not session.closed

    asyncio.run(main())


@pytest.mark.parametrize("transport", ["http", object(), requests.Session])
def test_another_transport_is_refused(server: VaultServer, transport: Any) -> None:
    for client in (VaultClient, AsyncVaultClient):
        with pytest.raises(VaultConfigurationError, match="transport: expected"):
            client(server.url, AUTH, transport=transport)


# ------------------------------------------------------------------ forks
PROGRAM = """
import asyncio, os, sys, threading, requests
from gds_vault import AppRoleAuth, AsyncVaultClient, VaultClient

url = sys.argv[1]
session = requests.Session()
clients = [VaultClient(url, AppRoleAuth("role", "secret-id"), transport=each) for each in (None, session)]
for client in clients:
    client.get_secret("app/database")

def check(client):
    assert client.get_secret("app/database")["password"] == "hunter2"
    for _ in range(20):
        assert client.get_secret("app/database", use_cache=False)["password"] == "hunter2"

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child

def wait(children):
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

# Locks are held by threads that a child does not have.
stop = threading.Event()
def busy(client):
    while not stop.is_set():
        client.get_secret("app/database", use_cache=False)
threads = [threading.Thread(target=busy, args=(client,)) for client in clients[:1] for _ in range(4)]
for thread in threads:
    thread.start()
wait([in_child(lambda: check(clients[0])) for _ in range(8)])
stop.set()
for thread in threads:
    thread.join()
children = [in_child(lambda: check(clients[1])) for _ in range(2)]
check(clients[1])
wait(children)
for client in clients:
    client.close()

async def parent():
    client = AsyncVaultClient(url, AppRoleAuth("role", "secret-id"))
    await client.get_secret("app/database")
    return client
client = asyncio.run(parent())
async def child():
    async with client:
        assert (await client.get_secret("app/database", use_cache=False))["password"] == "hunter2"
wait([in_child(lambda: asyncio.run(child()))])
asyncio.run(child())
print("done", len(threading.enumerate()))
"""


def test_forked_children_go_on_with_connections_of_their_own(server: VaultServer) -> None:
    # From Python 3.12 on a fork beside threads is warned of; that it works all the same is what is tried here.
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", PROGRAM]
    done = subprocess.run([*command, server.url], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("done 1\n", "")
    # Children go on with the token of their parent.
    assert asked(server, "auth/approle/login") == 3


def test_nothing_is_left_when_the_interpreter_ends_without_close(server: VaultServer) -> None:
    program = """
import asyncio, sys
from gds_vault import TokenAuth, VaultClient
client = VaultClient(sys.argv[1], TokenAuth(sys.argv[2]))
print(client.get_secret("app/database")["password"])
"""
    command = [sys.executable, "-W", "error", "-c", program, server.url, server.root_token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hunter2\n", "")


def test_a_pause_is_left_at_once_by_who_is_cancelled(server: VaultServer) -> None:
    async def main() -> None:
        policy = RetryPolicy(base_delay_seconds=600, max_delay_seconds=600, max_total_seconds=3600, jitter=False)
        async with AsyncVaultClient(server.url, TokenAuth(server.root_token), retry_policy=policy) as client:
            server.fail(1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.put_secret("a", {}), 0.2)

    asyncio.run(main())
