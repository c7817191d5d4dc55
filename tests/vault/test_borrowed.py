"""Caches and transports of a program's own."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from gds_vault import NoOpCache, RotationAwareCache, TokenAuth, VaultClient, VaultConfigurationError
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect


class Mine(dict[str, dict[str, Any]]):
    """What most caches of programs are."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, dict[str, Any]] = {}

    def set(self, key: str, value: dict[str, Any], **kwargs: Any) -> None:
        self[key] = value
        self.told[key] = kwargs

    def remove(self, key: str) -> bool:
        return self.pop(key, None) is not None


def test_it_is_told_how_long_a_secret_lives(connect: Connect, server: VaultServer) -> None:
    server.lease("creds/app", {"password": "x"}, lease_seconds=100)
    cache = Mine()
    client = connect(cache=cache, mount_point="database")
    client.get_secret("creds/app")
    assert list(cache) == ["database/creds/app"]
    assert cache.told["database/creds/app"]["ttl"] in (89, 90)
    other = connect(cache=cache, mount_point="secret")
    other.get_secret("app/database")
    assert cache.told["secret/app/database"] == {}
    assert client.client.cache_stats == {"size": 2}
    schedule = {"last_rotation": "2026-01-01T00:00:00Z", "rotation_schedule": "0 2 * * *"}
    server.put("rotated", {"a": "b"}, custom_metadata=schedule)
    other.get_secret("rotated")
    assert cache.told["secret/rotated"] == {
        "rotation_metadata": {"last_rotation": "2026-01-01T00:00:00Z", "schedule": "0 2 * * *"}
    }


def test_what_is_written_or_denied_is_forgotten_with_its_versions(connect: Connect, server: VaultServer) -> None:
    cache = Mine()
    client = connect(cache=cache)
    client.get_secret("app/database")
    client.get_secret("app/database", version=1)
    assert set(cache) == {"app/database", "app/database:v1"}
    client.put_secret("secret/data/app/database", {"password": "new"})
    assert cache == {}
    client.get_secret("app/database")
    server.deny("app/")
    with pytest.raises(Exception, match="denies"):
        client.get_secret("app/database", use_cache=False)
    assert cache == {}


def test_callers_cannot_change_what_it_keeps(connect: Connect) -> None:
    cache = Mine()
    client = connect(cache=cache)
    client.get_secret("app/database")["password"] = "changed"
    assert client.get_secret("app/database")["password"] == "hunter2"


def test_one_that_raises_is_told_once_and_costs_nothing_but_reads(
    connect: Connect, server: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def _fail(self, *_: Any) -> Any:
            raise RuntimeError("hunter2")

        get = set = clear = remove = get_stats = __len__ = __contains__ = _fail

    client = connect(cache=Broken())
    for _ in range(2):
        assert client.get_secret("app/database")["password"] == "hunter2"
    client.put_secret("app/database", {"a": "b"})
    assert client.get_secret("app/database") == {"a": "b"}
    assert client.client.cached_secret_count == 0
    client.client.clear_cache()
    assert caplog.text.count("the cache raised RuntimeError") == 1
    assert "hunter2" not in caplog.text


def test_one_without_remove_is_cleared(connect: Connect) -> None:
    class Small:
        def __init__(self) -> None:
            self.kept: dict[str, Any] = {}
            self.get = self.kept.get
            self.clear = self.kept.clear

        def set(self, key: str, value: dict[str, Any]) -> None:
            self.kept[key] = value

    cache = Small()
    client = connect(cache=cache)
    client.get_secret("app/database")
    assert list(cache.kept) == ["app/database"]
    client.put_secret("other", {})
    assert cache.kept == {}


@pytest.mark.parametrize("cache", [{}, [], "cache", Mine, object()])
def test_what_is_no_cache_is_refused(cache: Any) -> None:
    with pytest.raises(VaultConfigurationError, match="cache: expected"):
        VaultClient("http://127.0.0.1:8200", TokenAuth("x"), cache=cache)


def test_a_cache_that_keeps_nothing_lets_each_read_ask(connect: Connect, server: VaultServer) -> None:
    client = connect(cache=NoOpCache())
    for _ in range(2):
        client.get_secret("app/database")
    assert [path for _, path in server.calls].count("secret/data/app/database") == 2


def test_a_rotation_by_a_schedule_is_read_ahead_of(connect: Connect, server: VaultServer) -> None:
    every_minute = {"last_rotation": "2026-01-01T00:00:00Z", "rotation_schedule": "* * * * *"}
    server.put("rotated", {"a": "b"}, custom_metadata=every_minute)
    cache = RotationAwareCache(buffer_minutes=0, fallback_ttl=10_000)
    client = connect(cache=cache)
    client.get_secret("rotated")
    assert cache.get_rotation_info("rotated") == {"last_rotation": "2026-01-01T00:00:00Z", "schedule": "* * * * *"}
    assert cache.force_refresh_check("rotated")
    assert 0 < cache.get_stats()["avg_remaining_ttl"] <= 60
    server.put("odd", {"a": "b"}, custom_metadata={"rotation_schedule": "when the moon is full"})
    assert client.get_secret("odd") == {"a": "b"}


# ------------------------------------------------------------------ transports
def test_a_transport_of_ones_own_carries_every_request(server: VaultServer) -> None:
    asked: list[tuple[str, str, bool]] = []

    class Mine:
        def get(self, url: str, **settings: Any) -> requests.Response:
            return self.request("GET", url, **settings)

        def post(self, url: str, **settings: Any) -> requests.Response:
            return self.request("POST", url, **settings)

        def request(self, method: str, url: str, **settings: Any) -> requests.Response:
            asked.append((method, url.removeprefix(server.url), settings["timeout"] > 0))
            return requests.request(method, url, allow_redirects=False, **settings)

    mine: Any = Mine()
    with VaultClient(server.url, TokenAuth(server.root_token), transport=mine) as client:
        client.put_secret("app", {"a": "b"})
        client.patch_secret("app", {"c": "d"})
        assert client.get_secret("app") == {"a": "b", "c": "d"}
        client.delete_secret("app")
    assert asked[0] == ("GET", "/v1/auth/token/lookup-self", True)
    assert [method for method, _, _ in asked[2:]] == ["POST", "PATCH", "GET", "DELETE"]
