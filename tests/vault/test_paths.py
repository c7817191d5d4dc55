"""A path is found however it is written: within the mount, or as in Vault's API."""

from __future__ import annotations

import pytest

from gds_vault import RetryPolicy, SecretCache, VaultConfigurationError, VaultSecretNotFoundError
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect

MOUNTS = "sys/internal/ui/mounts/"


@pytest.fixture
def mounted(server: VaultServer) -> VaultServer:
    """Beside ``secret``: KV of both versions, one of them deep, and an engine with leases."""
    server.mount("team/kv", 2)
    server.put("app", {"from": "team/kv"}, mount="team/kv")
    server.mount("old", 1)
    server.put("app", {"from": "old"}, mount="old")
    server.lease("creds/app", {"from": "database"}, lease_seconds=60)
    server.put("app", {"from": "secret"})
    return server


def paths(server: VaultServer) -> list[str]:
    return [path for _, path in server.calls]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("app", "secret"),
        ("secret/data/app", "secret"),
        ("/secret/data/app/", "secret"),
        ("team/kv/data/app", "team/kv"),
        ("old/app", "old"),
        ("database/creds/app", "database"),
    ],
)
def test_a_path_leads_to_its_mount_where_none_was_named(
    connect: Connect, mounted: VaultServer, path: str, found: str
) -> None:
    client = connect()
    assert client.get_secret(path) == client.get_secret(path) == {"from": found}
    known = len([each for each in paths(mounted) if each.startswith(MOUNTS)])
    assert client.get_secret(path, use_cache=False) == {"from": found}
    assert len([each for each in paths(mounted) if each.startswith(MOUNTS)]) == known, "a mount is asked for once"


@pytest.mark.parametrize(
    ("mount", "written"),
    [
        ("secret", ["app", "data/app", "secret/data/app"]),
        ("team/kv", ["app", "data/app", "team/kv/data/app"]),
        ("old", ["app", "old/app"]),
        ("database", ["creds/app", "database/creds/app"]),
    ],
)
def test_a_path_may_repeat_the_mount_that_was_named(
    connect: Connect, mounted: VaultServer, mount: str, written: list[str]
) -> None:
    client = connect(mount_point=mount)
    assert [client.get_secret(path) for path in written] == [{"from": mount}] * len(written)
    assert [each for each in paths(mounted) if each.startswith(MOUNTS)] == [MOUNTS + mount]


@pytest.mark.parametrize("path", ["a/data/b", "data/x", "old/app/data/x", "metadata/y", "team/x", "secret/x"])
def test_what_only_looks_like_the_api_is_a_path_within_the_mount(
    connect: Connect, server: VaultServer, path: str
) -> None:
    client = connect()
    client.put_secret(path, {"a": "b"})
    assert ("POST", f"secret/data/{path}") in server.calls
    assert client.get_secret(path, use_cache=False) == {"a": "b"}


def test_a_secret_that_is_nowhere_is_asked_for_once_more_a_minute(connect: Connect, server: VaultServer) -> None:
    client = connect()
    for _ in range(3):
        with pytest.raises(VaultSecretNotFoundError, match=r"'app/nothing'.*in the mount 'secret'"):
            client.get_secret("app/nothing")
    assert paths(server).count(MOUNTS + "app/nothing") == 1


def test_a_folder_may_be_named_as_its_mount(connect: Connect, mounted: VaultServer) -> None:
    mounted.put("old/deep", {"from": "deep"}, mount="old")
    mounted.put("data/deep", {"from": "data"}, mount="team/kv")
    client = connect()
    assert client.get_secret("old/app") == {"from": "old"}
    assert client.get_secret("old/old/deep") == {"from": "deep"}
    assert client.get_secret("team/kv/data/data/deep") == {"from": "data"}


def test_a_question_that_fails_does_not_hide_what_is_wrong(connect: Connect, server: VaultServer) -> None:
    client = connect(retry_policy=RetryPolicy(attempts=1))
    client.get_secret("app/database")
    server.fail(1, 404)
    server.fail(1, 503)
    with pytest.raises(VaultSecretNotFoundError):
        client.get_secret("app/other")


def test_lists_are_found_by_any_name(connect: Connect, mounted: VaultServer) -> None:
    client = connect()
    assert client.list_secrets("") == client.list_secrets("secret/metadata") == ["app", "app/"]
    assert client.list_secrets("secret/metadata/app/") == client.list_secrets("app") == ["database"]
    assert client.list_secrets("team/kv/metadata") == ["app"]
    assert connect(mount_point="team/kv").list_secrets("metadata") == ["app"]
    assert connect(mount_point="old").list_secrets("") == ["app"]
    with pytest.raises(VaultSecretNotFoundError):
        client.list_secrets("nothing/here")


def test_a_write_by_one_name_is_seen_by_the_others(connect: Connect, mounted: VaultServer) -> None:
    cache = SecretCache()
    client = connect(cache=cache)
    names = ["app", "secret/data/app"]
    assert [client.get_secret(name) for name in names] == [{"from": "secret"}] * 2
    cache.set("secret/data/app", {"from": "a program"})
    for number, name in enumerate(names):
        client.put_secret(name, {"number": number})
        assert [client.get_secret(each) for each in names] == [{"number": number}] * 2
    client.client.clear_cache()
    for one, other in (names, reversed(names)):
        client.get_secret(one)
        assert client.client.cached_secret_count == 1
        assert client.client.remove_from_cache(other)
        assert not client.client.remove_from_cache(one)
    client.delete_secret("secret/data/app")
    for name in names:
        with pytest.raises(VaultSecretNotFoundError):
            client.get_secret(name)
    assert ("DELETE", "secret/data/app") in mounted.calls


@pytest.mark.parametrize("path", ["secret/data/", "team/kv/data"])
def test_a_mount_is_no_secret(connect: Connect, mounted: VaultServer, path: str) -> None:
    client = connect()
    client.get_secret("team/kv/data/app")
    for call in (client.get_secret, client.delete_secret):
        with pytest.raises((VaultConfigurationError, VaultSecretNotFoundError)):
            call(path)
    assert client.get_secret("team/kv/data/app", use_cache=False) == {"from": "team/kv"}
