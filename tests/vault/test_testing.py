"""The server for tests answers as Vault does, where hvac's own client looks."""

from __future__ import annotations

import threading

import hvac  # type: ignore[import-untyped, unused-ignore]
import pytest
import requests

from gds_vault.testing import VaultServer


@pytest.fixture
def client(server: VaultServer) -> hvac.Client:
    return hvac.Client(server.url, token=server.root_token)


def test_hvac_reads_writes_lists_and_deletes(client: hvac.Client) -> None:
    kv = client.secrets.kv.v2
    assert (
        kv.read_secret_version("app/database", raise_on_deleted_version=True)["data"]["data"]["password"] == "hunter2"
    )
    assert kv.create_or_update_secret("app/new", {"a": "b"})["data"]["version"] == 1
    assert kv.list_secrets("app")["data"]["keys"] == ["database", "new"]
    kv.update_metadata("app/new", custom_metadata={"owner": "shop"})
    found = kv.read_secret_version("app/new", raise_on_deleted_version=True)
    assert found["data"]["metadata"]["custom_metadata"] == {"owner": "shop"}
    kv.destroy_secret_versions("app/new", [1])
    with pytest.raises(hvac.exceptions.InvalidPath):
        kv.read_secret_version("app/new", raise_on_deleted_version=True)
    kv.delete_metadata_and_all_versions("app/new")
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set"):
        kv.create_or_update_secret("app/database", {}, cas=7)


def test_hvac_logs_in_looks_up_and_renews(server: VaultServer, client: hvac.Client) -> None:
    assert client.is_authenticated()
    client.auth.approle.login("role", "secret-id")
    assert client.token.startswith("hvs.")
    assert client.auth.token.lookup_self()["data"]["ttl"] in (299, 300)
    assert client.auth.token.renew_self()["auth"]["lease_duration"] == 300
    server.advance(301)
    assert not client.is_authenticated()
    server.add_user("bob", "hunter2")
    client.auth.userpass.login("bob", "hunter2")
    assert client.is_authenticated()


def test_its_health_is_what_vault_tells(server: VaultServer, client: hvac.Client) -> None:
    assert client.seal_status["sealed"] is False
    assert client.sys.read_health_status(method="GET")["sealed"] is False
    server.seal()
    assert client.sys.read_health_status(method="HEAD").status_code == 503
    with pytest.raises(hvac.exceptions.VaultDown, match="sealed"):
        client.secrets.kv.v2.read_secret_version("app/database", raise_on_deleted_version=True)


def test_an_outage_closes_connections_and_ends_on_the_same_port(server: VaultServer) -> None:
    with requests.Session() as session:
        session.headers["X-Vault-Token"] = server.root_token
        address = f"{server.url}/v1/secret/data/app/database"
        assert session.get(address, timeout=10).status_code == 200
        threads = threading.active_count()
        server.stop()
        server.stop()
        assert threading.active_count() < threads
        with pytest.raises(requests.ConnectionError):
            session.get(address, timeout=10)
        server.start()
        server.start()
        assert session.get(address, timeout=10).json()["data"]["data"]["password"] == "hunter2"


def test_it_fails_as_often_as_it_is_told(server: VaultServer) -> None:
    server.fail(1, 429, retry_after="7")
    server.fail(1, 500)
    answers = [requests.get(f"{server.url}/v1/sys/health", timeout=10) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 500, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert server.requests == 3
    server.fail(1, 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.url}/v1/sys/health", timeout=10)


def test_what_is_denied_can_be_allowed_again(server: VaultServer) -> None:
    token = {"X-Vault-Token": server.add_token()}
    address = f"{server.url}/v1/secret/data/app/database"
    server.deny("app/")
    assert requests.get(address, headers=token, timeout=10).status_code == 403
    assert requests.get(address, headers={"X-Vault-Token": server.root_token}, timeout=10).status_code == 200
    server.allow("app/")
    assert requests.get(address, headers=token, timeout=10).status_code == 200
    server.revoke_tokens()
    assert requests.get(address, headers=token, timeout=10).status_code == 403


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"7"])
def test_nonsense_is_answered(server: VaultServer, body: bytes) -> None:
    token = {"X-Vault-Token": server.root_token}
    for path in ("secret/data/x", "auth/approle/login", "nowhere/x", "secret", "", "secret/metadata/x"):
        answer = requests.post(f"{server.url}/v1/{path}", data=body, headers=token, timeout=10)
        assert 400 <= answer.status_code < 500
        assert "errors" in answer.json()
