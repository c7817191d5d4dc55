"""What is kept, and that nothing is handed out which may be old."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest

from gds_vault import AppRoleAuth, SecretCache, TokenAuth, VaultConfigurationError, VaultConnectionError, VaultError
from gds_vault._lifetime import Lifetime, duration_seconds, lifetime, moment
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect
from tests.vault.doubles import Clock, Recorder


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reads(server: VaultServer, path: str = "app/database") -> int:
    return [asked for _, asked in server.calls].count(f"secret/data/{path}")


def test_a_secret_is_read_once_until_it_is_old(connect: Connect, server: VaultServer, clock: Clock) -> None:
    metrics = Recorder()
    client = connect(cache=SecretCache(ttl_seconds=100, clock=clock), metrics=metrics)
    client.get_secret("app/database")
    clock.now += 99.9
    server.put("app/database", {"password": "new"})
    assert client.get_secret("app/database")["password"] == "hunter2"
    clock.now += 0.1
    assert client.get_secret("app/database")["password"] == "new"
    assert reads(server) == 2
    assert metrics.count("vault.secret.hit", path="app/database") == 1
    assert metrics.count("vault.secret.miss", path="app/database") == 2


def test_use_cache_false_asks_vault_and_keeps_the_answer(connect: Connect, server: VaultServer) -> None:
    client = connect()
    client.get_secret("app/database")
    server.put("app/database", {"password": "new"})
    assert client.get_secret("app/database", use_cache=False)["password"] == "new"
    assert client.get_secret("app/database")["password"] == "new"
    assert reads(server) == 2


def test_a_cache_of_no_time_keeps_nothing(connect: Connect, server: VaultServer) -> None:
    cache = SecretCache(ttl_seconds=0)
    client = connect(cache=cache)
    client.get_secret("app/database")
    client.get_secret("app/database")
    assert reads(server) == 2
    assert len(cache) == 0


def test_an_expired_secret_is_not_handed_out_in_an_outage(connect: Connect, server: VaultServer, clock: Clock) -> None:
    client = connect(cache=SecretCache(ttl_seconds=100, clock=clock))
    client.get_secret("app/database")
    server.stop()
    assert client.get_secret("app/database")["password"] == "hunter2"
    clock.now += 100
    with pytest.raises(VaultConnectionError):
        client.get_secret("app/database")
    server.start()
    assert client.get_secret("app/database")["password"] == "hunter2"


def test_a_lease_ends_before_the_cache_does(connect: Connect, server: VaultServer, clock: Clock) -> None:
    server.lease("creds/app", {"password": "first"}, lease_seconds=60)
    client = connect(mount_point="database", cache=SecretCache(ttl_seconds=1000, clock=clock))
    assert client.get_secret("creds/app") == {"password": "first"}
    server.lease("creds/app", {"password": "second"}, lease_seconds=60)
    clock.now += 53
    assert client.get_secret("creds/app") == {"password": "first"}
    clock.now += 1  # a tenth is left: time to use it
    assert client.get_secret("creds/app") == {"password": "second"}


def test_a_lease_goes_with_the_token_it_was_given_to(connect: Connect, server: VaultServer, clock: Clock) -> None:
    server.lease("creds/app", {"password": "first"}, lease_seconds=10_000)
    client = connect(mount_point="database", cache=SecretCache(ttl_seconds=5000, clock=clock))
    assert client.get_secret("creds/app") == {"password": "first"}
    server.lease("creds/app", {"password": "second"}, lease_seconds=10_000)
    clock.now += 300  # the token's end, which revokes the lease
    server.advance(300)
    assert client.get_secret("creds/app") == {"password": "second"}
    server.revoke_tokens()
    server.lease("creds/app", {"password": "third"}, lease_seconds=10_000)
    with pytest.raises(VaultError):
        client.get_secret("nothing")  # finds out, logs in
    assert client.get_secret("creds/app") == {"password": "third"}


def test_a_ttl_of_version_1_is_honoured(connect: Connect, server: VaultServer, clock: Clock) -> None:
    server.mount("old", kv_version=1)
    server.put("app", {"password": "first", "ttl": 30}, mount="old")
    client = connect(mount_point="old", cache=SecretCache(clock=clock))
    client.get_secret("app")
    server.put("app", {"password": "second", "ttl": 30}, mount="old")
    clock.now += 29
    assert client.get_secret("app")["password"] == "first"
    clock.now += 1
    assert client.get_secret("app")["password"] == "second"


def test_a_version_that_vault_will_delete_is_dropped_then(connect: Connect, server: VaultServer, clock: Clock) -> None:
    server.put("brief", {"a": "b"}, delete_after_seconds=60)
    client = connect(cache=SecretCache(clock=clock))
    client.get_secret("brief")
    clock.now += 50
    server.advance(50)
    client.get_secret("brief")
    assert reads(server, "brief") == 1
    clock.now += 10
    server.advance(10)
    with pytest.raises(VaultError, match="was deleted"):
        client.get_secret("brief")


@pytest.mark.parametrize("rotation", [True, False])
def test_a_static_role_is_read_again_once_it_rotates(
    connect: Connect, server: VaultServer, clock: Clock, rotation: bool
) -> None:
    role = {"username": "app", "last_vault_rotation": "2026-01-01T00:00:00.123456789Z", "rotation_period": 3600}
    server.lease("static-creds/app", {**role, "ttl": 40, "password": "first"}, lease_seconds=0)
    client = connect(mount_point="database", cache=SecretCache(clock=clock, rotation=rotation))
    client.get_secret("static-creds/app")
    server.lease("static-creds/app", {**role, "ttl": 3600, "password": "second"}, lease_seconds=0)
    clock.now += 39
    assert client.get_secret("static-creds/app")["password"] == "first"
    clock.now += 1
    assert client.get_secret("static-creds/app")["password"] == ("second" if rotation else "first")


def later(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize("name", ["next_rotation", "rotation_period", "ttl"])
def test_custom_metadata_tells_of_a_rotation(connect: Connect, server: VaultServer, clock: Clock, name: str) -> None:
    server.advance(3600)  # its clock counts, not ours
    custom = {"next_rotation": later(3600 + 60), "rotation_period": "1m", "ttl": "60"}
    server.put("app/database", {"password": "first"}, custom_metadata={name: custom[name]})
    client = connect(cache=SecretCache(clock=clock))
    client.get_secret("app/database")
    clock.now += 30
    client.get_secret("app/database")
    assert reads(server) == 1
    clock.now += 31
    client.get_secret("app/database")
    assert reads(server) == 2


def test_a_forgotten_rotation_does_not_switch_the_cache_off(
    connect: Connect, server: VaultServer, clock: Clock
) -> None:
    server.put("app/database", {"password": "first", "next_rotation": "2020-01-01T00:00:00Z"})
    client = connect(cache=SecretCache(clock=clock))
    client.get_secret("app/database")
    clock.now += 9
    client.get_secret("app/database")
    assert reads(server) == 1
    clock.now += 1
    client.get_secret("app/database")
    assert reads(server) == 2


def test_a_write_and_a_deletion_are_seen_at_once(connect: Connect) -> None:
    client = connect()
    client.get_secret("app/database")
    client.get_secret("app/database", version=1)
    client.put_secret("app/database", {"password": "new"})
    assert client.get_secret("app/database") == {"password": "new"}
    client.delete_secret("app/database")
    with pytest.raises(VaultError, match="was deleted"):
        client.get_secret("app/database")


def test_a_secret_that_is_denied_now_is_not_kept_from_before(connect: Connect, server: VaultServer) -> None:
    client = connect()
    client.get_secret("app/database")
    server.deny("app/")
    for use_cache in (False, True):
        with pytest.raises(VaultError, match="denies"):
            client.get_secret("app/database", use_cache=use_cache)


def test_the_least_used_leaves_first(connect: Connect, server: VaultServer) -> None:
    for name in "abc":
        server.put(name, {"name": name})
    cache = SecretCache(max_entries=2)
    client = connect(cache=cache)
    for name in ("a", "b", "a", "c", "a"):
        client.get_secret(name)
    assert len(cache) == 2
    assert [reads(server, name) for name in "abc"] == [1, 1, 1]
    client.get_secret("b")
    assert reads(server, "b") == 2


def test_a_shared_cache_hands_nothing_to_who_may_not_see_it(connect: Connect, server: VaultServer) -> None:
    server.add_approle("other", "secret-id")
    cache = SecretCache()
    mine = connect(cache=cache)
    same = connect(cache=cache)
    other = connect(AppRoleAuth("other", "secret-id"), cache=cache)
    for client in (mine, same, other, connect(TokenAuth(server.root_token), cache=cache)):
        client.get_secret("app/database")
    assert reads(server) == 3
    same.put_secret("app/database", {"password": "new"})
    assert mine.get_secret("app/database") == {"password": "new"}


def named(path: str, version: int | None) -> str:
    return f"secret/{path}" if version is None else f"secret/{path}:v{version}"


def test_a_read_that_began_before_a_write_is_not_kept_after_it() -> None:
    cache = SecretCache()
    ticket = cache.begin("scope", "path", None, "secret/path")
    cache.forget("scope", {"path"})
    cache.keep(ticket, {"old": True}, Lifetime())
    cache.end(ticket)
    assert cache.find("scope", "path", None, named) is None
    ticket = cache.begin("scope", "path", None, "secret/path")
    cache.forget("scope", {"another"})
    cache.keep(ticket, {"old": False}, Lifetime())
    cache.end(ticket)
    assert cache.find("scope", "path", None, named) == {"old": False}


def test_time_counts_from_when_the_secret_was_asked_for(clock: Clock) -> None:
    cache = SecretCache(clock=clock)
    ticket = cache.begin("scope", "path", None, "secret/path")
    clock.now += 30
    cache.keep(ticket, {"a": "b"}, Lifetime(seconds=60))
    clock.now += 29
    assert cache.find("scope", "path", None, named) is not None
    clock.now += 1
    assert cache.find("scope", "path", None, named) is None


@pytest.mark.parametrize(
    "settings",
    [{"ttl_seconds": -1}, {"ttl_seconds": "5"}, {"ttl_seconds": math.nan}, {"max_entries": 0}, {"max_entries": 1.5}],
)
def test_a_cache_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(VaultConfigurationError, match=next(iter(settings))):
        SecretCache(**settings)  # type: ignore[arg-type]


def test_a_cache_shows_no_secret(connect: Connect) -> None:
    cache = SecretCache()
    connect(cache=cache).get_secret("app/database")
    assert repr(cache) == "SecretCache(ttl_seconds=300, max_entries=100, rotation=True)"
    assert bool(SecretCache())
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((60, 60), ("60", 60), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800), (" 10s ", 10), (0, 0)),
        *((None, None), ("", None), ("soon", None), ("-1", None), (-1, None), (True, None), ([], None)),
        *((math.inf, None), ("1h soon", None)),
    ],
)
def test_durations(text: object, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, timezone.utc)),
        ("2026-01-02T03:04:05.1Z", datetime(2026, 1, 2, 3, 4, 5, 100000, timezone.utc)),
        ("2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=timezone.utc)),
        ("0", datetime(1970, 1, 1, tzinfo=timezone.utc)),
        (86_400, datetime(1970, 1, 2, tzinfo=timezone.utc)),
        *(("", None), (None, None), ("soon", None), (True, None), (1e300, None), ("9" * 40, None), (math.nan, None)),
    ],
)
def test_moments(text: object, expected: datetime | None) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    "nonsense", [None, "x", [], -1, 10**40, 10**400, "9" * 400, {"a": 1}], ids=lambda each: repr(each)[:9]
)
def test_an_answer_of_nonsense_has_a_lifetime_all_the_same(nonsense: object) -> None:
    fields = {"next_rotation": nonsense, "ttl": nonsense, "last_vault_rotation": nonsense, "rotation_period": nonsense}
    metadata = {**fields, "custom_metadata": fields, "created_time": nonsense, "deletion_time": nonsense}
    body = {"lease_id": nonsense, "lease_duration": nonsense}
    found = lifetime(body, fields, metadata, "no date", math.inf)
    assert not math.isnan(min(found.seconds, found.rotation_seconds))
