"""What a collector and a log hear, and what they never hear."""

from __future__ import annotations

import gc
import logging
import secrets
import traceback
from typing import Any

import pytest

from gds_metrics import PrometheusMetrics
from gds_vault import AppRoleAuth, TokenAuth, UserpassAuth, VaultError, VaultPermissionError, VaultSecretNotFoundError
from gds_vault._report import OTHER
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect
from tests.vault.doubles import Broken, Recorder


def test_each_call_is_counted_once(connect: Connect, server: VaultServer) -> None:
    metrics = Recorder()
    server.deny("forbidden")
    client = connect(metrics=metrics)
    for path in ("app/database", "app/database", "/app/database/"):
        client.get_secret(path)
    for path, kind in (("nothing", VaultSecretNotFoundError), ("forbidden", VaultPermissionError)):
        with pytest.raises(kind):
            client.get_secret(path)
        assert metrics.count("vault.secret.error", type=kind.__name__, path=path) == 1
    client.get_secret("app/database", use_cache=False)
    assert metrics.count("vault.secret.hit", path="app/database") == 2
    paths = ("app/database", "nothing", "forbidden")
    assert [metrics.count("vault.secret.miss", path=path) for path in paths] == [1, 1, 1]
    fetched = [(name, labels["path"]) for name, _, labels in metrics.timings]
    assert fetched == [("vault.secret.fetch", path) for path in (*paths, "app/database")]
    assert all(0 < milliseconds < 60_000 for _, milliseconds, _ in metrics.timings)
    assert metrics.total("vault.secret.error") == 2
    assert metrics.count("vault.auth.success", method="approle") == 1


def test_prometheus_shows_them(connect: Connect) -> None:
    metrics = PrometheusMetrics(start_server=False)
    client = connect(metrics=metrics)
    client.get_secret("app/database")
    client.get_secret("app/database")
    page = metrics.render().decode()
    for line in (
        'gds_vault_secret_hit_total{path="app/database"} 1',
        'gds_vault_secret_miss_total{path="app/database"} 1',
        'gds_vault_auth_success_total{method="approle"} 1',
        'gds_vault_secret_fetch_count{path="app/database"} 1',
        "gds_vault_token_ttl_seconds ",
    ):
        assert line in page


def test_a_broken_collector_breaks_nothing_and_is_named_once(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(metrics=Broken())
    for _ in range(3):
        assert client.get_secret("app/database")["password"] == "hunter2"
    with pytest.raises(VaultError):
        client.get_secret("nothing")
    assert [record.getMessage() for record in caplog.records if "collector" in record.getMessage()] == [
        "the collector raised RuntimeError; further failures of it are not mentioned"
    ]


def test_a_broken_log_breaks_nothing(connect: Connect) -> None:
    class Breaks(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("broken on purpose")

    log = logging.getLogger("gds_vault")
    broken = Breaks()
    log.addFilter(broken)
    log.setLevel(logging.DEBUG)
    try:
        client = connect()
        assert client.get_secret("app/database") == client.get_secret("app/database")
    finally:
        log.removeFilter(broken)
        log.setLevel(logging.NOTSET)


def test_the_labels_of_paths_are_bounded(connect: Connect) -> None:
    metrics = Recorder()
    client = connect(metrics=metrics, config={"max_path_labels": 2})
    token = "hvs." + "A" * 24
    for path in ("a", token, "x" * 300, "b", "c", "d", "a"):
        with pytest.raises(VaultError):
            client.get_secret(path)
    labels = {dict(labels)["path"] for name, labels in metrics.counts if name.startswith("vault.secret")}
    assert labels == {"a", "b", OTHER}
    assert metrics.count("vault.secret.miss", path=OTHER) == 4
    assert metrics.count("vault.secret.miss", path="a") == 2


def test_the_log_tells_of_logins_renewals_and_repetitions(
    connect: Connect, server: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gds_vault")
    client = connect()
    client.get_secret("app/database")
    client.get_secret("app/database")
    server.fail(1)
    client.get_secret("app/database", use_cache=False)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "gds_vault"]
    assert lines == [
        ("DEBUG", "'app/database' is not in the cache"),
        ("INFO", f"logged in to {server.url} with approle; the token lives for 300 s"),
        ("DEBUG", "'app/database' is in the cache"),
        ("WARNING", f"attempt 1 of 3 at {server.url}: 503; again in 0.00 s"),
    ]


# ------------------------------------------------------------------ canaries
def everything(error: BaseException) -> str:
    """All that a program might print of an exception, also what it would not."""
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    inner = error.__context__ or error.__cause__
    return text + (everything(inner) if inner is not None else "")


def test_no_secret_and_no_token_is_in_a_log_a_repr_an_exception_or_a_label(
    connect: Connect, server: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # of everybody: urllib3, aiohttp and asyncio too
    canaries = {
        name: f"canary-{name}-{secrets.token_hex(8)}" for name in ("role", "secret_id", "password", "value", "put")
    }
    server.add_approle(canaries["role"], canaries["secret_id"], token_ttl_seconds=300)
    server.add_user("bob", canaries["password"])
    server.put("app/canary", {"value": canaries["value"]})
    server.deny("forbidden")
    own = server.add_token(60)
    metrics = Recorder()
    said: list[str] = []

    def attempt(call: Any, *arguments: Any, **settings: Any) -> None:
        try:
            call(*arguments, **settings)
        except VaultError as error:
            said.append(everything(error))

    auths = [
        AppRoleAuth(canaries["role"], canaries["secret_id"]),
        UserpassAuth("bob", canaries["password"]),
        TokenAuth(own),
        TokenAuth(server.root_token),
        AppRoleAuth(canaries["role"], canaries["value"]),
        UserpassAuth("bob", canaries["value"]),
    ]
    for auth in auths:
        client = connect(auth, metrics=metrics)
        for status in (200, 400, 403, 404, 405, 429, 500, 503, 0):
            for call, arguments in (
                (client.get_secret, ("app/canary",)),
                (client.put_secret, ("app/other", {"value": canaries["put"]})),
                (client.put_secret, ("app/other", {"value": [canaries["put"], object()]})),
                (client.delete_secret, ("app/none",)),
                (client.list_secrets, ("app",)),
                (client.get_secret, ("forbidden",)),
            ):
                if status != 200:
                    server.fail(3, status)
                attempt(call, *arguments)
                server.recover()
        server.revoke_tokens()
        attempt(client.get_secret, "app/canary", use_cache=False)
        server.stop()
        attempt(client.get_secret, "app/canary", use_cache=False)
        server.start()
        said.append(repr(client.client) + repr(client.client._core.cache) + repr(client.client._core.tokens.token))
        said.append(repr(client.client._core.settings))
    gc.collect()
    heard = "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records)
    tokens = set(canaries.values()) | {own, server.root_token, "hvs."}
    assert len(said) > 200
    assert "logged in" in heard
    for place in (heard, "\n".join(said), repr(metrics.counts) + repr(metrics.timings) + repr(metrics.gauges)):
        assert [token for token in tokens if token in place] == []
    # The search can find: a secret is in what was read.
    assert canaries["value"] in repr(connect(TokenAuth(server.root_token)).get_secret("app/canary"))


def test_what_a_server_repeats_of_us_is_not_shown(connect: Connect, server: VaultServer) -> None:
    """A server, or a proxy before it, may write into its error what it was sent."""
    client = connect()
    client.get_secret("app/database")
    echo = {"errors": ["permission denied for token hvs.abcdefgh and value hunter2"]}
    for status in (400, 403, 404, 500):
        server._failures.extend([(status, None)] * 3)
        original = server._answer
        server._answer = lambda *_, status=status: (status, echo, None)  # type: ignore[method-assign]
        with pytest.raises(VaultError) as raised:
            client.get_secret("app/database", use_cache=False)
        server._answer = original  # type: ignore[method-assign]
        server.recover()
        assert "hvs." not in everything(raised.value)
        assert "hunter2" not in everything(raised.value)
