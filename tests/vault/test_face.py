"""What a client shows and lets a program set while it lives."""

from __future__ import annotations

from typing import Any

import pytest

from gds_vault import AppRoleAuth, AsyncVaultClient, RetryPolicy, SecretCache, VaultClient, VaultConfigurationError
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect


def logins(server: VaultServer) -> int:
    return [path for _, path in server.calls].count("auth/approle/login")


def test_a_login_beforehand_is_one_attempt_and_no_condition(
    connect: Connect, server: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(retry_policy=RetryPolicy(attempts=5, base_delay_seconds=0, max_delay_seconds=0))
    server.fail(3)
    client.call("initialize")
    assert server.requests == 1
    assert "not logged in beforehand, the first use tries again" in caplog.text
    assert (client.client.is_initialized, client.client.is_authenticated) == (True, False)
    assert client.get_secret("app/database")["password"] == "hunter2"
    assert client.client.is_authenticated
    server.calls.clear()
    client.call("initialize")
    assert logins(server) == 0, "the token is good"
    client.call("authenticate")
    assert logins(server) == 1, "which was asked for"


def test_a_client_may_be_used_again_after_its_cleanup_and_not_after_its_close(
    connect: Connect, server: VaultServer
) -> None:
    cache = SecretCache()
    client = connect(cache=cache)
    for _ in range(2):
        assert client.get_secret("app/database")["password"] == "hunter2"
        client.call("cleanup")
        assert not client.client.is_authenticated
    assert logins(server) == 1, "the cache is the program's, and was not asked to forget"
    client.client.clear_cache()
    assert client.get_secret("app/database")["password"] == "hunter2"
    assert logins(server) == 2
    client.close()
    for method in ("initialize", "authenticate"):
        with pytest.raises(Exception, match="closed"):
            client.call(method)


def test_an_option_that_is_misspelt_is_an_error_and_another_one_is_not(connect: Connect) -> None:
    client = connect()
    assert client.get_secret("app/database", request_id="x")["password"] == "hunter2"
    with pytest.raises(VaultConfigurationError, match="'use_cahce' is not known; the nearest is 'use_cache'"):
        client.get_secret("app/database", use_cahce=False)


@pytest.mark.parametrize("kind", [VaultClient, AsyncVaultClient])
def test_what_is_set_is_checked_and_shown(kind: Any, server: VaultServer) -> None:
    client = kind(server.url, AppRoleAuth("role", "secret-id"), config={"mine": 1, "timeout": 3})
    assert (client.timeout, client.verify_ssl, client.ssl_cert_path, client.mount_point) == (3, True, None, None)
    for name, wrong in (("timeout", "x"), ("verify_ssl", 1), ("ssl_cert_path", "nowhere"), ("mount_point", "../x")):
        with pytest.raises(VaultConfigurationError, match=name):
            setattr(client, name, wrong)
    client.timeout = 7.5
    client.mount_point = "team/kv/"
    assert client.get_all_config() == {
        "vault_addr": server.url,
        "timeout": 7.5,
        "verify_ssl": True,
        "ssl_cert_path": None,
        "mount_point": "team/kv",
        "cache_type": "SecretCache",
        "auth_type": "AppRoleAuth",
        "retry_max_retries": 3,
        "mine": 1,
    } | {"timeout": 3}, "what a program keeps under a name goes before ours"
    assert "secret-id" not in repr(client)


def test_a_timeout_that_was_set_is_kept(connect: Connect, server: VaultServer) -> None:
    client = connect(retry_policy=RetryPolicy(attempts=1))
    client.get_secret("app/database")
    client.client.timeout = 0.05
    server.hold()
    with pytest.raises(Exception, match=r"no answer within 0\.05 s"):
        client.get_secret("app/database", use_cache=False)
    server.release()
    client.client.timeout = 60
    assert client.get_secret("app/database", use_cache=False)["password"] == "hunter2"
