"""Logging in, renewing, and doing so again when a token has died."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gds_vault import (
    AppRoleAuth,
    SecretCache,
    TokenAuth,
    UserpassAuth,
    VaultAuthError,
    VaultConnectionError,
    VaultPermissionError,
)
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect
from tests.vault.doubles import Clock, Driven, Recorder


def paths(server: VaultServer) -> list[str]:
    return [path for _, path in server.calls]


LOGIN, RENEW, LOOK_UP = "auth/approle/login", "auth/token/renew-self", "auth/token/lookup-self"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passes(server: VaultServer, clock: Clock) -> Callable[[float], None]:
    """Time passes, for the client and for the server."""

    def passes(seconds: float) -> None:
        clock.now += seconds
        server.advance(seconds)

    return passes


def fresh(client: Driven) -> str:
    return str(client.get_secret("app/database", use_cache=False)["password"])


def test_nothing_is_sent_before_the_first_use(connect: Connect, server: VaultServer) -> None:
    connect()
    assert server.requests == 0


def test_each_way_to_log_in(connect: Connect, server: VaultServer) -> None:
    server.add_user("bob", "pässword/?")
    metrics = Recorder()
    for auth in (
        AppRoleAuth("role", "secret-id"),
        UserpassAuth("bob", "pässword/?"),
        TokenAuth(server.root_token),
        TokenAuth(server.add_token(60)),
    ):
        assert fresh(connect(auth, metrics=metrics)) == "hunter2"
    assert metrics.count("vault.auth.success", method="approle") == 1
    assert metrics.count("vault.auth.success", method="userpass") == 1
    assert metrics.count("vault.auth.success", method="token") == 2
    assert metrics.total("vault.auth.failure") == 0


@pytest.mark.parametrize(
    ("auth", "method", "status"),
    [
        (AppRoleAuth("role", "wrong"), "approle", 400),
        (AppRoleAuth("role", "secret-id", mount_point="elsewhere"), "approle", 403),
        (UserpassAuth("nobody", "wrong"), "userpass", 400),
        (TokenAuth("hvs.wrong"), "token", 403),
    ],
)
def test_who_is_turned_away_hears_it(connect: Connect, auth: object, method: str, status: int) -> None:
    metrics = Recorder()
    with pytest.raises(VaultAuthError) as raised:
        connect(auth, metrics=metrics).get_secret("app/database")
    assert (raised.value.status, raised.value.path) == (status, "app/database")
    assert metrics.count("vault.auth.failure", method=method) == 1
    assert metrics.total("vault.auth.success") == 0


@pytest.mark.parametrize("words", ["invalid role ID", "invalid secret id", "invalid username or password"])
def test_wrong_credentials_are_final_even_if_vault_calls_them_its_own_failure(
    connect: Connect, server: VaultServer, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Seen of Vault 1.13.2."""
    asked: list[str] = []

    def answer(method: str, target: str, *_: object) -> tuple[int, dict[str, object], None]:
        asked.append(target)
        return 500, {"errors": [f"1 error occurred:\n\t* {words}\n\n"]}, None

    monkeypatch.setattr(server, "_answer", answer)
    with pytest.raises(VaultAuthError, match=words.lower()) as raised:
        connect().get_secret("app/database")
    assert raised.value.status == 500
    assert asked == ["/v1/auth/approle/login"]


def test_a_token_that_was_revoked_is_replaced_once(connect: Connect, server: VaultServer) -> None:
    client = connect()
    assert fresh(client) == "hunter2"
    server.revoke_tokens()
    assert fresh(client) == "hunter2"
    client.put_secret("other", {"a": "b"})
    assert paths(server).count(LOGIN) == 2


def test_a_write_survives_a_revoked_token_and_happens_once(connect: Connect, server: VaultServer) -> None:
    client = connect()
    fresh(client)
    server.revoke_tokens()
    client.put_secret("counted", {"a": "b"})
    assert client.get_secret("counted", version=1) == {"a": "b"}
    assert paths(server).count("secret/data/counted") == 3  # refused, taken, read


def test_a_token_of_ones_own_that_was_revoked_is_an_error(connect: Connect, server: VaultServer) -> None:
    metrics = Recorder()
    client = connect(TokenAuth(server.add_token(60)), metrics=metrics)
    fresh(client)
    server.revoke_tokens()
    with pytest.raises(VaultAuthError, match="a new one is needed"):
        fresh(client)
    assert metrics.count("vault.auth.failure", method="token") == 1


def test_a_token_that_may_not_look_itself_up_does_not_log_in_for_each_denied_path(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    server.deny(LOOK_UP)
    server.deny("forbidden")
    client = connect(cache=SecretCache(clock=clock))
    assert fresh(client) == "hunter2"
    for _ in range(5):
        with pytest.raises(VaultPermissionError):
            client.get_secret("forbidden")
    assert paths(server).count(LOGIN) == 2
    # It is no life sentence: a token that is revoked later is replaced.
    passes(61)
    server.revoke_tokens()
    assert fresh(client) == "hunter2"
    assert paths(server).count(LOGIN) == 3


def test_a_token_is_renewed_when_a_third_is_left(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    metrics = Recorder()
    client = connect(cache=SecretCache(clock=clock), metrics=metrics)
    fresh(client)
    assert metrics.gauges["vault.token.ttl_seconds"] == 300
    passes(199)
    fresh(client)
    assert RENEW not in paths(server)
    assert metrics.gauges["vault.token.ttl_seconds"] == 101
    for renewals, seconds in ((1, 2), (2, 201), (3, 201)):
        passes(seconds)
        fresh(client)
        fresh(client)
        assert paths(server).count(RENEW) == metrics.total("vault.token.renewed") == renewals
    assert metrics.gauges["vault.token.ttl_seconds"] == 300
    assert paths(server).count(LOGIN) == 1


def test_a_token_that_expired_unused_is_not_tried(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    client = connect(cache=SecretCache(clock=clock))
    fresh(client)
    passes(301)
    server.calls.clear()
    assert fresh(client) == "hunter2"
    assert paths(server) == [LOGIN, "secret/data/app/database"]


def test_a_token_at_its_maximum_is_replaced_before_it_ends(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    server.add_approle("short", "secret-id", token_ttl_seconds=300, token_max_ttl_seconds=350)
    client = connect(AppRoleAuth("short", "secret-id"), cache=SecretCache(clock=clock))
    fresh(client)
    passes(260)
    server.calls.clear()
    for _ in range(3):
        fresh(client)
    assert paths(server)[:2] == [RENEW, LOGIN]
    assert paths(server).count(RENEW) == paths(server).count(LOGIN) == 1


def test_a_token_that_cannot_be_renewed_is_replaced_before_it_ends(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    server.add_approle("batch", "secret-id", token_ttl_seconds=300, renewable=False)
    client = connect(AppRoleAuth("batch", "secret-id"), cache=SecretCache(clock=clock))
    fresh(client)
    passes(201)
    fresh(client)
    assert paths(server).count(LOGIN) == 2
    assert RENEW not in paths(server)


def test_a_renewal_that_fails_leaves_the_token_in_use(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    client = connect(cache=SecretCache(clock=clock))
    fresh(client)
    passes(201)
    server.fail(1)
    assert fresh(client) == "hunter2"
    assert paths(server).count(RENEW) == 1
    fresh(client)
    assert paths(server).count(RENEW) == 1, "not with each read"
    passes(11)
    fresh(client)
    assert paths(server).count(RENEW) == 2
    assert paths(server).count(LOGIN) == 1


def test_a_given_token_is_renewed_and_used_to_its_end(
    connect: Connect, server: VaultServer, clock: Clock, passes: Callable[[float], None]
) -> None:
    client = connect(TokenAuth(server.add_token(300)), cache=SecretCache(clock=clock))
    fresh(client)
    passes(201)
    fresh(client)
    assert paths(server).count(RENEW) == 1
    passes(301)
    with pytest.raises(VaultAuthError):
        fresh(client)


def test_root_is_never_renewed(connect: Connect, server: VaultServer, clock: Clock) -> None:
    metrics = Recorder()
    client = connect(TokenAuth(server.root_token), cache=SecretCache(clock=clock), metrics=metrics)
    fresh(client)
    clock.now += 1e9
    fresh(client)
    assert RENEW not in paths(server)
    assert metrics.gauges == {}


def test_a_login_is_tried_again_and_then_given_up(connect: Connect, server: VaultServer) -> None:
    metrics = Recorder()
    client = connect(metrics=metrics)
    server.fail(2)
    assert fresh(client) == "hunter2"
    other = connect(metrics=metrics)
    server.fail(3)
    with pytest.raises(VaultConnectionError, match="in 3 attempts: 503"):
        fresh(other)
    assert metrics.count("vault.auth.failure", method="approle") == 1
    assert fresh(other) == "hunter2"
