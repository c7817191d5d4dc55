"""What is tried again, how often, and what is not."""

from __future__ import annotations

import math
import os
import socket
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import requests

from gds_vault import (
    RetryPolicy,
    TokenAuth,
    VaultClient,
    VaultConfigurationError,
    VaultConnectionError,
    VaultError,
    _exchange,
    retry,
    retry_with_backoff,
)
from gds_vault import client as client_module
from gds_vault._wire import reply
from gds_vault.testing import VaultServer
from tests.forks import fork
from tests.vault.conftest import Connect
from tests.vault.doubles import Clock


@pytest.mark.parametrize("status", [412, 429, 500, 502, 503, 504, 0])
def test_a_read_is_tried_again(connect: Connect, server: VaultServer, status: int) -> None:
    client = connect()
    client.get_secret("app/database")
    before = server.requests
    server.fail(2, status=status)
    assert client.get_secret("app/database", use_cache=False)["password"] == "hunter2"
    assert server.requests - before == 3


@pytest.mark.parametrize("status", [412, 429, 500, 502, 503, 504])
def test_it_is_given_up_after_the_last_attempt(connect: Connect, server: VaultServer, status: int) -> None:
    client = connect()
    client.get_secret("app/database")
    before = server.requests
    server.fail(10, status=status)
    with pytest.raises(VaultConnectionError, match=f"in 3 attempts: {status}") as raised:
        client.get_secret("app/database", use_cache=False)
    assert (raised.value.status, raised.value.path, raised.value.retriable) == (status, "app/database", True)
    assert server.requests - before == 3
    server.recover()


@pytest.mark.parametrize("status", [400, 404, 405])
def test_what_will_not_change_is_not_tried_again(connect: Connect, server: VaultServer, status: int) -> None:
    client = connect(mount_point="secret")
    client.get_secret("app/database")
    before = server.requests
    server.fail(1, status=status)
    with pytest.raises(VaultError):
        client.get_secret("app/database", use_cache=False)
    assert server.requests - before == 1


@pytest.mark.parametrize(("status", "attempts"), [(412, 3), (429, 3), (503, 3), (500, 1), (502, 1), (504, 1), (0, 1)])
def test_a_write_is_tried_again_only_where_vault_has_not_taken_it(
    connect: Connect, server: VaultServer, status: int, attempts: int
) -> None:
    client = connect()
    client.get_secret("app/database")
    before = server.requests
    server.fail(3, status=status)
    with pytest.raises(VaultConnectionError):
        client.put_secret("app/database", {"a": "b"})
    assert server.requests - before == attempts
    server.recover()
    assert client.get_secret("app/database") == {"username": "shop", "password": "hunter2"}


def test_a_sealed_vault_is_named_and_comes_back(connect: Connect, server: VaultServer) -> None:
    client = connect()
    server.seal()
    with pytest.raises(VaultConnectionError, match="vault is sealed") as raised:
        client.get_secret("app/database")
    assert raised.value.status == 503
    server.unseal()
    assert client.get_secret("app/database")["password"] == "hunter2"


def test_an_outage_ends(connect: Connect, server: VaultServer) -> None:
    client = connect()
    client.get_secret("app/database")
    server.stop()
    with pytest.raises(VaultConnectionError, match="connection refused"):
        client.get_secret("app/database", use_cache=False)
    server.start()
    assert client.get_secret("app/database", use_cache=False)["password"] == "hunter2"


def test_a_server_that_does_not_answer_is_given_up(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = connect(vault_addr=f"http://127.0.0.1:{port}", timeout=0.05, retry_policy=RetryPolicy(attempts=1))
        with pytest.raises(VaultConnectionError, match=r"no answer within 0\.05 s"):
            client.get_secret("app")


def test_all_attempts_together_are_bounded(
    connect: Connect, server: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(_exchange, "time", SimpleNamespace(monotonic=clock))

    class Slow(RetryPolicy):
        def delay_seconds(self, attempt: int, retry_after_seconds: float | None = None) -> float:
            clock.now += 0.2
            return 0.0

    client = connect(retry_policy=Slow(attempts=100, max_total_seconds=0.5))
    server.stop()
    with pytest.raises(VaultConnectionError, match="in 3 attempts"):
        client.get_secret("app/database")


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [
        (None, 4),
        (RetryPolicy(3), 4),
        (RetryPolicy(max_retries=8, max_total_seconds=60), 2),
        (RetryPolicy(attempts=4), 2),
        (RetryPolicy(attempts=4, max_total_seconds=600), 4),
    ],
)
def test_a_server_that_hangs_is_asked_as_often_as_was_said(
    policy: RetryPolicy | None, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (_exchange, client_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock, sleep=clock.sleep))

    class Hanging:
        def get(self, *_: object, timeout: float, **__: object) -> NoReturn:
            clock.sleep(timeout)
            raise requests.ReadTimeout

        post = request = get

    transport: Any = Hanging()
    hung = VaultClient("http://vault", TokenAuth("t"), retry_policy=policy, timeout=30, transport=transport)
    with pytest.raises(VaultConnectionError, match=f"in {attempts} attempts"):
        hung.get_secret("app")


def test_an_unknown_host_is_named_as_such(connect: Connect) -> None:
    client = connect(vault_addr="http://nowhere.invalid:8200")
    with pytest.raises(VaultConnectionError, match=r"name|resolution|address"):
        client.get_secret("app")


# ------------------------------------------------------------------ the policy by itself
def test_pauses_double_up_to_a_bound() -> None:
    policy = RetryPolicy(attempts=9, base_delay_seconds=0.5, max_delay_seconds=3, jitter=False)
    assert [policy.delay_seconds(attempt) for attempt in (1, 2, 3, 4, 90)] == [0.5, 1, 2, 3, 3]


def test_jitter_makes_a_pause_longer_by_up_to_a_half() -> None:
    policy = RetryPolicy(base_delay_seconds=1, max_delay_seconds=8)
    pauses = [policy.delay_seconds(3) for _ in range(1000)]
    assert 4 <= min(pauses) < 4.5
    assert 5.5 < max(pauses) <= 6


def test_forked_children_do_not_wait_in_step() -> None:
    policy = RetryPolicy(base_delay_seconds=1000, max_delay_seconds=1000)
    policy.delay_seconds(1)
    drawn = set()
    for _ in range(3):
        ours, theirs = os.pipe()
        child = fork()
        if child == 0:
            os.write(theirs, repr(policy.delay_seconds(1)).encode())
            os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            drawn.add(pipe.read())
        os.waitpid(child, 0)
    assert len(drawn | {repr(policy.delay_seconds(1))}) == 4


@pytest.mark.parametrize(
    ("settings", "attempts", "seconds"),
    [
        ({"max_retries": 6}, 7, 63),
        ({"max_retries": 8}, 9, 127),
        ({"max_retries": 200, "max_delay": 7200, "backoff_factor": 1}, 201, 200),
        ({"max_retries": 8, "max_total_seconds": 60}, 6, 31),
        ({"attempts": 9}, 6, 31),
        ({"attempts": 9, "max_total_seconds": 600}, 9, 127),
    ],
)
def test_only_what_was_asked_for_bounds_all_attempts_together(
    settings: dict[str, Any], attempts: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, calls = Clock(), []
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=clock, sleep=clock.sleep))

    def away() -> NoReturn:
        calls.append(clock.now)
        raise requests.ConnectionError

    with pytest.raises(requests.ConnectionError):
        RetryPolicy(**settings, jitter=False).execute(away)
    assert (len(calls), calls[-1] - calls[0]) == (attempts, seconds)


def test_the_decorator_tries_as_often_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(), []
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=clock, sleep=clock.sleep))

    @retry_with_backoff(max_retries=8)
    def away() -> NoReturn:
        calls.append(clock.now)
        raise requests.ConnectionError

    with pytest.raises(requests.ConnectionError):
        away()
    assert len(calls) == 9
    assert calls[-1] - calls[0] >= 127


def test_retry_after_is_waited_for_within_bounds() -> None:
    policy = RetryPolicy(base_delay_seconds=0.1, max_delay_seconds=5, jitter=False)
    assert [policy.delay_seconds(1, asked) for asked in (None, 0, 2, 100)] == [0.1, 0.1, 2, 5]


def test_retry_after_is_read_in_both_forms() -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    asked = {
        "Date": format_datetime(now, usegmt=True),
        "Retry-After": format_datetime(now + timedelta(seconds=7), usegmt=True),
    }
    assert reply(429, asked, b"").retry_after_seconds == 7
    assert reply(429, {"Retry-After": "12"}, b"").retry_after_seconds == 12
    for nonsense in ("", "soon", "-1", "1e9", "Wed, 99 Foo 2026"):
        assert reply(429, {"Retry-After": nonsense}, b"").retry_after_seconds in {None, 0.0}


def test_retry_after_of_a_server_is_used(
    connect: Connect, server: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(retry_policy=RetryPolicy(base_delay_seconds=0, max_delay_seconds=0.01, jitter=False))
    client.get_secret("app/database")
    server.fail(1, status=429, retry_after="3600")
    client.get_secret("app/database", use_cache=False)
    assert "429; again in 0.01 s" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"base_delay_seconds": -1},
        {"max_delay_seconds": math.inf},
        {"max_total_seconds": 0},
        {"max_retries": -1},
        {"backoff_factor": 0.5},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(VaultConfigurationError, match=next(iter(settings))):
        RetryPolicy(**settings)  # type: ignore[arg-type]
