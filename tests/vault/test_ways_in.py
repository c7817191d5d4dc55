"""Logins by a JWT, credentials that are asked for anew, wrapped ones, namespaces, and logins of a program's own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gds_vault import (
    AppRoleAuth,
    AsyncVaultClient,
    JwtAuth,
    KubernetesAuth,
    SecretCache,
    TokenAuth,
    UserpassAuth,
    VaultAuthError,
    VaultClient,
    VaultConfigurationError,
    VaultConnectionError,
    VaultCredentialsError,
    VaultPermissionError,
)
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect
from tests.vault.doubles import Clock, Driven, Recorder


def fresh(client: Driven) -> str:
    return str(client.get_secret("app/database", use_cache=False)["password"])


def count(server: VaultServer, path: str) -> int:
    return [asked for _, asked in server.calls].count(path)


# ------------------------------------------------------------------ JWT
@pytest.mark.parametrize(("kind", "mount"), [(KubernetesAuth, "kubernetes"), (JwtAuth, "jwt")])
def test_a_token_file_is_read_anew_at_each_login(
    connect: Connect, server: VaultServer, tmp_path: Path, kind: Any, mount: str
) -> None:
    file = tmp_path / "token"
    file.write_text("first.jwt.hunter2\n")
    server.add_jwt_role("shop", "first.jwt.hunter2", mount=mount)
    metrics = Recorder()
    auth = kind("shop", file)
    client = connect(auth, metrics=metrics)
    assert fresh(client) == "hunter2"
    # The cluster has renewed it, and Vault does not take the old one any more.
    file.write_text("second.jwt.hunter2\n")
    server.add_jwt_role("shop", "second.jwt.hunter2", mount=mount)
    server.revoke_tokens()
    assert fresh(client) == "hunter2"
    assert metrics.count("vault.auth.success", method=mount) == count(server, f"auth/{mount}/login") == 2
    assert repr(auth) == f"{kind.__name__}(role='shop', mount_point='{mount}')"
    file.unlink()
    server.revoke_tokens()
    with pytest.raises(VaultCredentialsError, match=rf"jwt: expected text in '{file}', got: no such file"):
        fresh(client)


def test_a_jwt_that_is_not_taken_is_final_and_not_shown(
    connect: Connect, server: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.add_jwt_role("shop", "right")
    for auth in (JwtAuth("shop", "wrong.hunter2"), JwtAuth(None, "wrong.hunter2"), JwtAuth("x", lambda: "no.hunter2")):
        with pytest.raises(VaultAuthError, match="jwt login at 'auth/jwt' was refused") as raised:
            connect(auth).get_secret("app/database")
        assert "hunter2" not in f"{raised.value!r} {auth!r} {caplog.text}"


def test_a_pod_reads_its_own_file_unless_another_is_named() -> None:
    assert KubernetesAuth("shop").jwt == Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert repr(KubernetesAuth("shop", mount_point="k8s/east")) == "KubernetesAuth(role='shop', mount_point='k8s/east')"
    with pytest.raises(VaultConfigurationError, match="role"):
        KubernetesAuth("")


# ------------------------------------------------------------------ files and functions
def test_a_secret_id_is_asked_of_a_function_at_each_login(connect: Connect, server: VaultServer) -> None:
    asked: list[int] = []

    def secret_id() -> str:
        asked.append(threading.get_ident())
        return "secret-id"

    client = connect(AppRoleAuth("role", secret_id))
    assert fresh(client) == "hunter2"
    server.revoke_tokens()
    assert fresh(client) == fresh(client) == "hunter2"
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [None, 7, "", b"hunter2"])
def test_a_function_that_gives_no_text_is_an_error(connect: Connect, answer: Any) -> None:
    with pytest.raises(VaultCredentialsError, match="password: expected a str"):
        fresh(connect(UserpassAuth("bob", lambda: answer)))


def test_a_function_that_raises_is_named_without_its_words(connect: Connect) -> None:
    def fails() -> str:
        raise RuntimeError("hunter2")

    with pytest.raises(VaultCredentialsError, match="secret_id: expected text, got: runtimeerror") as raised:
        fresh(connect(AppRoleAuth("role", fails)))
    assert raised.value.__cause__ is None
    assert "hunter2" not in repr(raised.value)


def test_a_token_of_a_file_is_read_again_when_it_is_dead(connect: Connect, server: VaultServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(server.add_token(60) + "\n")
    client = connect(TokenAuth(file))
    assert fresh(client) == "hunter2"
    server.revoke_tokens()
    file.write_text(server.add_token(60) + "\n")
    assert fresh(client) == "hunter2"
    server.revoke_tokens()
    with pytest.raises((VaultAuthError, VaultPermissionError)):
        fresh(client)


def test_a_token_of_a_file_is_looked_for_before_the_old_one_ends(
    connect: Connect, server: VaultServer, tmp_path: Path
) -> None:
    clock = Clock()
    file = tmp_path / "token"
    file.write_text(server.add_token(300, renewable=False))
    client = connect(TokenAuth(file), cache=SecretCache(clock=clock))
    fresh(client)
    for seconds in (201, 11, 11):
        clock.now += seconds
        server.advance(seconds)
        fresh(client)
        fresh(client)
    assert count(server, "auth/token/lookup-self") == 4, "once, and each ten seconds of the last third"
    file.write_text(newer := server.add_token(300, renewable=False))
    clock.now += 11
    server.advance(11)
    fresh(client)
    assert client.client._core.tokens.token.value == newer


# ------------------------------------------------------------------ wrapped, and elsewhere
def test_what_was_wrapped_is_unwrapped_once(connect: Connect, server: VaultServer) -> None:
    client = connect()
    token = server.wrap({"password": "hunter2"})
    assert client.call("unwrap", token + "\n") == {"password": "hunter2"}
    with pytest.raises(VaultAuthError, match=r"wrapping token is not accepted.*somebody else") as raised:
        client.call("unwrap", token)
    assert token not in str(raised.value)
    assert count(server, "auth/approle/login") == 0
    nested = {"data": {"a": "b"}, "metadata": {"version": 1}}
    assert client.call("unwrap", server.wrap(nested)) == {"a": "b"}


def test_an_unwrapping_that_vault_may_have_done_is_not_tried_again(connect: Connect, server: VaultServer) -> None:
    token = server.wrap({"password": "hunter2"})
    server.fail(1, status=0)
    with pytest.raises(VaultConnectionError):
        connect().call("unwrap", token)
    assert server.requests == 1


def test_a_wrapped_secret_id_is_unwrapped_at_the_first_login(connect: Connect, server: VaultServer) -> None:
    wrapping = server.wrap({"secret_id": "secret-id", "secret_id_accessor": "x"})
    client = connect(AppRoleAuth("role", wrapping, secret_id_wrapped=True))
    assert fresh(client) == "hunter2"
    server.revoke_tokens()
    assert fresh(client) == "hunter2"
    assert count(server, "sys/wrapping/unwrap") == 1
    assert count(server, "auth/approle/login") == 2
    with pytest.raises(VaultAuthError, match="expected a wrapped secret id"):
        fresh(connect(AppRoleAuth("role", server.wrap({"a": "b"}), secret_id_wrapped=True)))


@pytest.mark.parametrize(("where", "login"), [("/", None), ("team/a/", "team/a"), (None, "team")])
def test_a_login_may_be_in_a_namespace_of_its_own(
    connect: Connect, server: VaultServer, where: str | None, login: str | None
) -> None:
    seen: list[str | None] = []
    server.on_headers = lambda headers: seen.append(headers.get("X-Vault-Namespace"))
    client = connect(AppRoleAuth("role", "secret-id", where), namespace="team")
    assert fresh(client) == "hunter2"
    assert seen == [login, "team", "team"]
    server.deny("forbidden")
    seen.clear()
    with pytest.raises(VaultPermissionError):
        client.get_secret("forbidden")
    assert seen == ["team", login], "a token is looked up where it comes from"


# ------------------------------------------------------------------ a program's own
class Own:
    """Any object with the method will do."""

    def __init__(self, get: Callable[[], Any]) -> None:
        self._get = get
        self.threads: list[str] = []

    def authenticate(self, vault_addr: str, timeout: int, verify_ssl: bool, ssl_cert_path: str | None) -> Any:
        self.threads.append(threading.current_thread().name)
        return self._get()

    def __repr__(self) -> str:
        return "Own(hunter2)"


def test_a_login_of_ones_own_is_asked_again_before_and_after_its_end(connect: Connect, server: VaultServer) -> None:
    clock, metrics = Clock(), Recorder()
    own = Own(lambda: (server.add_token(10_000), time.time() + 300))
    client = connect(own, cache=SecretCache(clock=clock), metrics=metrics)
    assert fresh(client) == fresh(client) == "hunter2"
    assert len(own.threads) == 1
    clock.now += 201
    assert fresh(client) == fresh(client) == "hunter2"
    assert len(own.threads) == 2
    server.revoke_tokens()
    assert fresh(client) == "hunter2"
    assert len(own.threads) == metrics.count("vault.auth.success", method="Own") == 3
    assert "hunter2" not in repr(client.client)


def test_two_logins_of_ones_own_share_no_secrets(connect: Connect, server: VaultServer) -> None:
    cache = SecretCache()

    class Equal(Own):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    for _ in range(2):
        assert connect(Equal(lambda: (server.root_token, None)), cache=cache).get_secret("app/database")
    assert count(server, "secret/data/app/database") == 2


@pytest.mark.parametrize(
    ("raised", "expected", "kind"),
    [
        (RuntimeError("hunter2"), "own way to log in raised RuntimeError", VaultAuthError),
        (
            ConnectionRefusedError(111, "hunter2"),
            "own way to log in has failed: connection refused",
            VaultConnectionError,
        ),
        (VaultAuthError("theirs"), "theirs", VaultAuthError),
    ],
)
def test_a_login_of_ones_own_that_fails(connect: Connect, raised: Exception, expected: str, kind: type) -> None:
    def fails() -> None:
        raise raised

    own, metrics = Own(fails), Recorder()
    with pytest.raises(kind, match=expected) as error:
        fresh(connect(own, metrics=metrics))
    assert "hunter2" not in str(error.value)
    assert len(own.threads) == (3 if kind is VaultConnectionError else 1)
    assert metrics.count("vault.auth.failure", method="Own") == 1


@pytest.mark.parametrize("answer", [None, "hunter2", ("hunter2",), ("two\nlines", 1.0), (7, 1.0), ("hunter2", "soon")])
def test_a_login_of_ones_own_that_gives_no_token(connect: Connect, answer: Any) -> None:
    with pytest.raises(VaultAuthError, match=r"Own\.authenticate: expected a token and its end") as raised:
        fresh(connect(Own(lambda: answer)))
    assert "hunter2" not in str(raised.value)


def test_the_event_loop_does_not_wait_for_a_login_that_blocks(server: VaultServer) -> None:
    async def main() -> None:
        loop, begun, may_go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def block() -> tuple[str, None]:
            loop.call_soon_threadsafe(begun.set)
            assert may_go_on.wait(60)
            return server.root_token, None

        own: Any = Own(block)
        client = AsyncVaultClient(server.url, own)
        reading = asyncio.ensure_future(client.get_secret("app/database"))
        await begun.wait()
        may_go_on.set()  # by the loop, which the login does not hold up
        assert (await reading)["password"] == "hunter2"
        await client.aclose()
        assert "MainThread" not in own.threads

    asyncio.run(main())


def test_a_login_that_is_awaited_is_for_asyncio(server: VaultServer) -> None:
    class Awaited:
        async def authenticate(self, vault_addr: str, timeout: int, verify_ssl: bool, ssl_cert_path: Any) -> Any:
            await asyncio.sleep(0)
            return server.root_token, None

    awaited: Any = Awaited()

    async def main() -> None:
        async with AsyncVaultClient(server.url, awaited) as client:
            assert (await client.get_secret("app/database"))["password"] == "hunter2"

    asyncio.run(main())
    with pytest.raises(VaultConfigurationError, match="AsyncVaultClient does"):
        VaultClient(server.url, awaited).get_secret("app/database")
