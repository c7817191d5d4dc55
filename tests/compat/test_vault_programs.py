"""Programs that were written for gds-vault 0.2, word for word as its users write them, on a real Vault."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from gds_vault._settings import VARIABLES
from tests.services.process import http_json
from tests.services.vault import Vault


@pytest.fixture(scope="module")
def folder(vault: Vault) -> str:
    """A folder with the secret ``app`` in both engines, and a policy for it."""
    name = f"old-{uuid4().hex[:8]}"
    vault.put(f"{name}/app", {"username": "ada", "password": "s3cret"})
    vault.put(f"{name}/app", {"username": "ada", "password": "newer"})
    vault.put_plain(f"{name}/app", {"password": "plain"})
    paths = (f"secret/data/{name}/*", f"secret/metadata/{name}/*", f"plain/{name}/*")
    vault.write_policy(name, {path: ["create", "read", "update", "delete", "list"] for path in paths})
    return name


@pytest.fixture(autouse=True)
def approle(monkeypatch: pytest.MonkeyPatch, vault: Vault, folder: str) -> tuple[str, str]:
    """The environment that such programs run in."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    role_id, secret_id = vault.add_approle(folder, policies=[folder])
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_ROLE_ID", role_id)
    monkeypatch.setenv("VAULT_SECRET_ID", secret_id)
    return role_id, secret_id


@pytest.fixture
def path(folder: str) -> str:
    return f"secret/data/{folder}/app"


NEWER = {"username": "ada", "password": "newer"}


def test_environment_and_context_manager(path: str) -> None:
    from gds_vault import VaultClient

    client = VaultClient()
    assert not client
    assert not client.is_authenticated
    assert client.get_secret(path) == NEWER
    assert client
    with VaultClient.from_environment() as client:
        assert client.is_initialized
        assert client.is_authenticated
        secret = client.get_secret(path)
        assert (secret["username"], len(client), path in client) == ("ada", 1, True)
        assert client.get_secret(path, version=1)["password"] == "s3cret"
        assert client.get_secret(path, use_cache=False) == NEWER
        assert client.cached_secret_count == 2
    assert (client.is_initialized, client.is_authenticated, len(client)) == (False, False, 0)
    assert client.get_secret(path) == NEWER, "it may be used again"


def test_any_mount_by_its_whole_path(folder: str) -> None:
    from gds_vault import VaultClient, VaultPermissionError, VaultSecretNotFoundError

    with VaultClient() as client:
        assert client.get_secret(f"plain/{folder}/app") == {"password": "plain"}
        assert client.get_secret(f"plain/{folder}/app", use_cache=False) == {"password": "plain"}
        assert client.list_secrets(f"secret/metadata/{folder}") == ["app"]
        assert client.list_secrets(f"plain/{folder}") == ["app"]
        with pytest.raises(VaultSecretNotFoundError):
            client.get_secret(f"secret/data/{folder}/nothing")
        with pytest.raises(VaultPermissionError):
            client.get_secret("secret/data/of-others/app")


def test_mount_point(folder: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gds_vault import VaultClient, get_secret_from_vault

    client = VaultClient(mount_point="secret")
    assert client.mount_point == "secret"
    assert client.get_secret(f"data/{folder}/app") == client.get_secret(path) == client.get_secret(f"{folder}/app")
    assert all(name in client for name in (path, f"data/{folder}/app", f"{folder}/app"))
    assert f"{folder}/another" not in client
    assert client.list_secrets(f"metadata/{folder}") == ["app"]
    client.mount_point = "plain"
    assert client.get_secret(f"{folder}/app") == client.get_secret(f"plain/{folder}/app") == {"password": "plain"}
    client.mount_point = None
    assert client.get_secret(path) == NEWER
    assert get_secret_from_vault(path) == NEWER
    assert get_secret_from_vault(f"{folder}/app", mount_point="plain") == {"password": "plain"}
    monkeypatch.setenv("VAULT_MOUNT_POINT", "secret")
    assert get_secret_from_vault(f"data/{folder}/app") == NEWER


def test_tokens(vault: Vault, folder: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gds_vault import EnvironmentAuth, TokenAuth, VaultAuthError, VaultClient

    token = vault.make_token(policies=[folder])
    assert VaultClient.from_token(token).get_secret(path) == NEWER
    assert VaultClient.from_token(token=token, vault_addr=vault.url, timeout=5).timeout == 5
    client = VaultClient(vault.url, TokenAuth(token, 7200))
    assert client.authenticate()
    assert client.is_authenticated
    with pytest.raises(VaultAuthError):
        EnvironmentAuth()
    monkeypatch.setenv("VAULT_TOKEN", token)
    assert VaultClient(auth=EnvironmentAuth()).get_secret(path) == NEWER
    known, expiry = EnvironmentAuth(ttl=600).authenticate(vault.url, 10)
    assert known == token
    assert 0 < expiry - time.time() <= 600
    with pytest.raises(VaultAuthError):
        VaultClient(auth=TokenAuth("hvs.wrong")).get_secret(path)


def test_configuration(vault: Vault, path: str) -> None:
    from gds_vault import VaultClient, VaultConfigurationError

    config = {"vault_addr": vault.url, "timeout": 15, "max_retries": 5, "cache_max_size": 7, "environment": "prod"}
    client = VaultClient.from_config(config)
    assert (client.timeout, client.cache_stats["max_size"]) == (15, 7)
    assert client.get_config("environment") == "prod"
    assert client.get_config("nothing", 3) == 3
    client.set_config("pool", 4)
    everything = client.get_all_config()
    assert everything["pool"] == 4
    assert everything["retry_max_retries"] == 5
    assert (everything["auth_type"], everything["cache_type"]) == ("AppRoleAuth", "SecretCache")
    client.timeout = 20
    assert (client.timeout, client.vault_addr) == (20, vault.url)
    for wrong in (0, -5):
        with pytest.raises(ValueError, match="timeout"):
            client.timeout = wrong
    assert client.get_secret(path) == NEWER
    with pytest.raises(VaultConfigurationError):
        VaultClient(vault_addr="invalid-url")


def test_caches(path: str) -> None:
    from gds_vault import (
        NoOpCache,
        RetryPolicy,
        RotationAwareCache,
        SecretCache,
        TTLCache,
        VaultCacheError,
        VaultClient,
    )

    for cache in (SecretCache(50), TTLCache(max_size=20, default_ttl=120), RotationAwareCache(100, 15, 300)):
        client = VaultClient(cache=cache, retry_policy=RetryPolicy(max_retries=5))
        assert client.get_secret(path) == client.get_secret(path) == NEWER
        assert cache.get(path) == NEWER
        assert (len(cache), path in cache, len(client)) == (1, True, 1)
        stats = client.cache_stats
        assert (stats["size"], stats["hits"], stats["misses"], stats["keys"]) == (1, 2, 1, [path])
        assert client.remove_from_cache(path)
        assert not client.remove_from_cache(path)
        cache.set(path, {"password": "mine"})
        assert client.get_secret(path) == {"password": "mine"}
        client.clear_cache()
        assert client.cached_secret_count == 0
    client = VaultClient(cache=NoOpCache())
    assert client.get_secret(path) == client.get_secret(path) == NEWER
    assert (len(client), client.cache_stats["enabled"]) == (0, False)
    with pytest.raises(VaultCacheError):
        SecretCache(max_size=0)


def test_a_cache_of_ones_own(path: str) -> None:
    from gds_vault import VaultClient

    class Mine:
        """Words of a user's."""

        def __init__(self) -> None:
            self.kept: dict[str, Any] = {}

        def get(self, key: str) -> dict[str, Any] | None:
            return self.kept.get(key)

        def set(self, key: str, value: dict[str, Any], **kwargs: Any) -> None:
            self.kept[key] = value

        def clear(self) -> None:
            self.kept.clear()

        def __len__(self) -> int:
            return len(self.kept)

        def __contains__(self, key: str) -> bool:
            return key in self.kept

    cache = Mine()
    client = VaultClient(cache=cache)
    assert client.get_secret(path) == NEWER
    assert client.get_secret(path, version=1)["password"] == "s3cret"
    assert cache.kept == {path: NEWER, f"{path}:v1": {"username": "ada", "password": "s3cret"}}
    cache.kept[path] = {"password": "mine"}
    assert client.get_secret(path) == {"password": "mine"}
    assert path in client
    client.put_secret(path, NEWER)
    assert client.get_secret(path) == NEWER


def test_a_login_of_ones_own(vault: Vault, folder: str, path: str) -> None:
    from gds_vault import AuthStrategy, VaultClient

    asked: list[tuple[Any, ...]] = []

    class Mine(AuthStrategy):
        def authenticate(
            self, vault_addr: str, timeout: int, verify_ssl: bool = True, ssl_cert_path: str | None = None
        ) -> tuple[str, float]:
            asked.append((vault_addr, timeout, verify_ssl, ssl_cert_path))
            return vault.make_token(policies=[folder]), time.time() + 3600

    client = VaultClient(auth=Mine())
    assert client.get_secret(path) == client.get_secret(path, use_cache=False) == NEWER
    assert asked == [(vault.url, 10, True, None)]
    vault.revoke(client._core.tokens.handed_out()[0])
    assert client.get_secret(path, use_cache=False) == NEWER
    assert len(asked) == 2


def test_logins_by_themselves(vault: Vault, approle: tuple[str, str]) -> None:
    from gds_vault import AppRoleAuth, VaultAuthError
    from gds_vault.auth import AsyncAppRoleAuth

    for role in (AppRoleAuth(), AppRoleAuth(*approle), AppRoleAuth(role_id=approle[0], secret_id=approle[1])):
        token, expiry = role.authenticate(vault.url, timeout=10)
        assert vault.lookup(token)["policies"]
        assert 3000 < expiry - time.time() <= 3600
    token, _ = asyncio.run(AsyncAppRoleAuth().authenticate(vault.url, 10))
    assert vault.lookup(token)["policies"]
    with pytest.raises(VaultAuthError):
        AppRoleAuth(approle[0], "wrong").authenticate(vault.url, 10)


def test_asyncio(path: str) -> None:
    from gds_vault.async_client import AsyncVaultClient
    from gds_vault.auth import AsyncAppRoleAuth
    from gds_vault.cache import TTLCache

    async def main() -> None:
        async with AsyncVaultClient(auth=AsyncAppRoleAuth(), cache=TTLCache(10, 60)) as client:
            assert client.is_initialized
            assert client.is_authenticated
            assert await client.get_secret(path) == NEWER
            client.set_config("a", 1)
            assert client.get_config("a") == 1
        assert client.get_all_config()["a"] == 1
        client = AsyncVaultClient()
        await client.initialize()
        assert await client.authenticate()
        assert await client.get_secret(path, version=1) == {"username": "ada", "password": "s3cret"}
        await client.cleanup()

    asyncio.run(main())


def test_a_transport(path: str) -> None:
    from gds_vault import VaultClient
    from gds_vault.transport import VaultTransport

    with requests.Session() as session:
        transport = VaultTransport(session=session)
        assert transport.verify is True
        client = VaultClient(transport=transport)
        assert client.get_secret(path) == NEWER
        assert client.list_secrets(path.replace("/data/", "/metadata/").removesuffix("/app")) == ["app"]


def test_retries_of_ones_own() -> None:
    from gds_vault import RetryPolicy, retry_with_backoff
    from gds_vault.retry import retry_with_backoff as again

    calls: list[int] = []

    @retry_with_backoff(max_retries=3, initial_delay=0.0)
    def flaky(number: int) -> int:
        """A program's."""
        calls.append(number)
        if len(calls) < 3:
            raise requests.ConnectionError("away")
        return number

    assert again is retry_with_backoff
    assert flaky(7) == 7
    assert (calls, flaky.__name__, flaky.__doc__) == ([7, 7, 7], "flaky", "A program's.")
    calls.clear()

    def missing() -> str:
        calls.append(1)
        return os.environ["GDS_NOT_THERE"]

    policy = RetryPolicy(2, 0.0, 0.0, 2.0, (KeyError,))
    with pytest.raises(KeyError):
        policy.execute(missing)
    assert calls == [1, 1, 1]
    with pytest.raises(ValueError, match="at once"):
        policy.execute(lambda: (_ for _ in ()).throw(ValueError("at once")))


def test_the_first_two_clients(approle: tuple[str, str], path: str, vault: Vault) -> None:
    from gds_vault.enhanced_vault import EnhancedVaultClient, create_vault_client
    from gds_vault.legacy import VaultClient, get_secret_from_vault
    from gds_vault.legacy.vault import VaultClient as Same
    from gds_vault.legacy.vault import VaultError

    assert Same is VaultClient
    with pytest.raises(VaultError):
        VaultClient(vault.url, "wrong", "wrong").authenticate()
    with VaultClient() as client:
        assert client.get_cache_info()["has_token"] is False
        token = client.authenticate()
        assert vault.lookup(token)["policies"]
        assert client.get_secret(path) == NEWER
        info = client.get_cache_info()
        assert (info["token_valid"], info["cached_secret_paths"]) == (True, [path])
        client.clear_cache()
        assert client.get_cache_info()["has_token"] is False
    assert get_secret_from_vault(path) == NEWER
    enhanced = EnhancedVaultClient(vault.url, *approle, 15, {"a": 1}, max_retries=1)
    assert not enhanced.is_authenticated()
    assert enhanced.authenticate() is True
    assert enhanced.get_secret(path, use_cache=False, version=1)["password"] == "s3cret"
    enhanced.update_timeout(20)
    enhanced.update_retry_config(4, 3.0)
    known = enhanced.get_vault_config()
    assert (known["timeout"], known["max_retries"], known["backoff_factor"]) == (20, 4, 3.0)
    assert approle[1][:8] not in str(known)
    assert EnhancedVaultClient(vault.url, approle[0], "wrong", max_retries=0).authenticate() is False
    assert isinstance(create_vault_client(), EnhancedVaultClient)
    assert isinstance(create_vault_client(enhanced=False), VaultClient)


def test_providers_can_be_told_apart_and_written_anew(path: str) -> None:
    from gds_vault import Configurable, ResourceManager, SecretProvider, VaultClient

    client = VaultClient()
    for kind in (SecretProvider, ResourceManager, Configurable):
        assert isinstance(client, kind)
    assert client.get_secret(path, trace="x") == NEWER, "what another provider is told is ignored"

    class Files(SecretProvider):
        def get_secret(self, path: str, **kwargs: Any) -> dict[str, Any]:
            return {"path": path}

        def authenticate(self) -> bool:
            return True

        def is_authenticated(self) -> bool:
            return True

    assert Files().get_secret("x") == {"path": "x"}


def test_rotation() -> None:
    from datetime import datetime, timezone

    from gds_vault.rotation import (
        CronParser,
        calculate_rotation_ttl,
        parse_vault_rotation_metadata,
        should_refresh_secret,
    )

    # As programs do: the schedule has no zone either.
    monday = datetime(2026, 3, 2, 1, 30)  # noqa: DTZ001
    assert CronParser("0 2 * * *").next_run_time(monday) == monday.replace(hour=2, minute=0)
    assert calculate_rotation_ttl("2026-03-01T02:00:00", "0 2 * * *", 10, monday) == 20 * 60
    in_utc = monday.replace(tzinfo=timezone.utc)
    assert calculate_rotation_ttl("2026-03-01T02:00:00.123456789Z", "0 2 * * *", 10, in_utc) == 20 * 60
    assert not should_refresh_secret("2026-03-01T02:00:00", "0 2 * * *", 10, monday)
    assert should_refresh_secret("2026-03-01T02:00:00", "0 2 * * *", 30, monday)
    assert should_refresh_secret("2026-03-01T02:00:00Z", "nonsense", 30, monday)
    assert calculate_rotation_ttl(monday.timestamp() - 23.5 * 3600, "0 2 * * *", 0, monday) == 30 * 60
    with pytest.raises(ValueError, match="last_rotation"):
        calculate_rotation_ttl("soon", "0 2 * * *")
    found = parse_vault_rotation_metadata({"data": {"metadata": {"last_rotation": "x", "rotation_schedule": "y"}}})
    assert found == {"last_rotation": "x", "schedule": "y"}
    assert parse_vault_rotation_metadata({"data": {"data": {}}}) is None


@pytest.fixture(scope="module", autouse=True)
def _vault_is_as_it_was(vault: Vault) -> Iterator[None]:
    yield
    assert http_json(vault.port, "GET", "/v1/sys/seal-status")["sealed"] is False


def test_a_certificate_by_its_old_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gds_vault import VaultClient

    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("VAULT_SSL_CERT", str(tmp_path / "ca.pem"))
    assert VaultClient().ssl_cert_path == str(tmp_path / "ca.pem")
