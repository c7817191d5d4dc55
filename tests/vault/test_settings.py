"""Where settings come from, and what is said of those that make no sense."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gds_vault import (
    AppRoleAuth,
    AsyncVaultClient,
    SecretCache,
    TokenAuth,
    UserpassAuth,
    VaultClient,
    VaultConfigurationError,
)
from gds_vault._settings import Settings, resolve

NOTHING: dict[str, Any] = {
    "vault_addr": "http://127.0.0.1:8200",
    "auth": None,
    "timeout": 10,
    "config": None,
    "verify_ssl": True,
    "ssl_cert_path": None,
    "mount_point": None,
    "namespace": None,
}


def settled(**given: Any) -> Settings:
    return resolve(**{**NOTHING, **given})


def test_an_argument_goes_before_config_and_config_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    for name, value in {
        "ADDR": "http://environment",
        "TOKEN": "environment",
        "NAMESPACE": "environment",
        "MOUNT_POINT": "environment",
        "SSL_CERT": str(bundle),
    }.items():
        monkeypatch.setenv(f"VAULT_{name}", value)
    found = settled(vault_addr=None)
    assert found.vault_addr == "http://environment"
    assert (found.namespace, found.mount_point, found.ssl_cert_path) == ("environment", "environment", str(bundle))
    assert found.auth == TokenAuth("environment")
    config = {
        "vault_addr": "http://config",
        "token": "config",
        "namespace": "config",
        "timeout": 3,
        "verify_ssl": False,
    }
    found = settled(vault_addr=None, config=config)
    assert (found.vault_addr, found.namespace, found.mount_point) == ("http://config", "config", "environment")
    assert (found.auth, found.timeout_seconds, found.verify_ssl) == (TokenAuth("config"), 3, False)
    found = settled(
        vault_addr="http://argument", auth=TokenAuth("argument"), config=config, timeout=4, namespace="a/b/"
    )
    assert (found.vault_addr, found.auth) == ("http://argument", TokenAuth("argument"))
    assert (found.timeout_seconds, found.namespace) == (4, "a/b")


def test_an_approle_of_the_environment_is_preferred_to_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "token")
    monkeypatch.setenv("VAULT_ROLE_ID", "role")
    assert settled().auth == TokenAuth("token")
    monkeypatch.setenv("VAULT_SECRET_ID", "secret")
    assert settled().auth == AppRoleAuth("role", "secret")
    # What is in config is one way to log in, whatever else is around.
    assert settled(config={"token": "mine"}).auth == TokenAuth("mine")
    assert settled(config={"role_id": "mine"}).auth == AppRoleAuth("mine", "secret")
    assert settled(config={"username": "bob", "password": "x", "auth_mount_point": "ldap"}).auth == UserpassAuth(
        "bob", "x", "ldap"
    )


def test_a_dataclass_is_a_config_too() -> None:
    @dataclass
    class Config:
        token: str = "hvs.x"
        mount_point: str | None = None

    found = settled(config=Config())
    assert (found.auth, found.mount_point) == (TokenAuth("hvs.x"), "secret")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vault_addr": None}, "VAULT_ADDR"),
        ({"vault_addr": "vault:8200"}, "http:// or https://"),
        ({"vault_addr": "https://user:hunter2@vault"}, "without a user"),
        ({"vault_addr": "https://vault:99999"}, "port from 1 to 65535"),
        ({"vault_addr": "https://vault/?token=hunter2"}, "a query"),
        ({"vault_addr": 7}, "vault_addr: expected a str, got int"),
        ({"auth": "hunter2"}, "auth: expected AppRoleAuth.* got str"),
        ({"auth": None}, "VAULT_ROLE_ID"),
        ({"config": {"vault_adr": "hunter2"}}, "'vault_adr' is not known; the nearest is 'vault_addr'"),
        ({"config": "hunter2"}, "config: expected a mapping or a dataclass, got str"),
        ({"config": {"role_id": "hunter2"}}, "secret_id: none was given beside role_id.*VAULT_SECRET_ID"),
        ({"config": {"password": "hunter2"}}, "username: none was given beside password"),
        ({"config": {"token": "hunter2", "role_id": "hunter2"}}, "one way to log in, got token and role_id"),
        ({"config": {"token": "hunter2 \n"}}, "token: expected visible ASCII"),
        ({"config": {"token": "hunter2", "kv_version": 3}}, "kv_version=3: expected a whole number from 1 to 2"),
        ({"config": {"token": "hunter2", "max_path_labels": -1}}, "max_path_labels"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": "10"}, "timeout='10'"),
        ({"verify_ssl": "no"}, "verify_ssl='no'"),
        ({"ssl_cert_path": "nowhere.pem"}, "ssl_cert_path='nowhere.pem'"),
        ({"ssl_cert_path": 7}, "ssl_cert_path=7"),
        ({"mount_point": "../auth"}, "mount_point='../auth'"),
        ({"namespace": "a b"}, "namespace"),
    ],
)
def test_what_makes_no_sense_is_refused_and_no_secret_is_shown(given: dict[str, Any], message: str) -> None:
    with_auth = {"auth": TokenAuth("hvs.x"), **given} if "config" not in given else given
    with pytest.raises(VaultConfigurationError, match=message) as raised:
        settled(**with_auth)
    assert isinstance(raised.value, ValueError)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("client", [VaultClient, AsyncVaultClient])
@pytest.mark.parametrize(
    ("name", "value"), [("cache", {}), ("retry_policy", 3), ("metrics", object()), ("metrics", "hunter2")]
)
def test_the_parts_of_a_client_are_checked(client: Any, name: str, value: object) -> None:
    with pytest.raises(VaultConfigurationError, match=f"{name}: expected"):
        client("http://127.0.0.1:8200", TokenAuth("hvs.x"), **{name: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: AppRoleAuth("", "x"),
        lambda: AppRoleAuth("x", None),
        lambda: UserpassAuth("../x", "x"),
        lambda: UserpassAuth("x", ""),
        lambda: TokenAuth("hunter2 and more"),
        lambda: TokenAuth("hunter2\r\nX-Evil: 1"),
        lambda: AppRoleAuth("x", "hunter2", mount_point=""),
    ],
)
def test_credentials_that_cannot_be_are_refused_and_not_shown(make: Any) -> None:
    with pytest.raises(VaultConfigurationError) as raised:
        make()
    assert "hunter2" not in str(raised.value)


def test_no_repr_shows_a_secret() -> None:
    auths: list[Any] = [AppRoleAuth("hunter2", "hunter2"), UserpassAuth("bob", "hunter2"), TokenAuth("hunter2")]
    assert [repr(auth) for auth in auths] == [
        "AppRoleAuth(mount_point='approle')",
        "UserpassAuth(username='bob', mount_point='userpass')",
        "TokenAuth()",
    ]
    for auth in auths:
        for client in (VaultClient, AsyncVaultClient):
            made = client("http://127.0.0.1:8200/", auth, namespace="team", cache=SecretCache())
            assert repr(made) == (
                f"{client.__name__}('http://127.0.0.1:8200', auth={auth!r}, mount_point='secret', namespace='team')"
            )
    assert "hunter2" not in repr(settled(auth=auths[0]))
