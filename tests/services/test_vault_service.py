"""The helper around Vault: what it makes works, and what it keeps survives."""

from __future__ import annotations

import pytest

from tests.services.process import ServerFailed, http_json
from tests.services.vault import Vault


def test_secret_is_read_back_by_version(vault: Vault) -> None:
    assert [vault.put("helper/versions", {"n": number}) for number in (1, 2)] == [1, 2]
    assert vault.call("GET", "secret/data/helper/versions?version=1")["data"]["data"] == {"n": 1}
    vault.put_plain("helper/plain", {"n": 3})
    assert vault.call("GET", "plain/helper/plain")["data"] == {"n": 3}


def test_policy_is_all_that_a_login_may(vault: Vault) -> None:
    vault.put("helper/open", {"n": 1})
    vault.put("helper/shut", {"n": 2})
    vault.write_policy("helper", {"secret/data/helper/open": ["read"]})
    role_id, secret_id = vault.add_approle("helper", policies=["helper"])
    vault.add_user("helper", "pass", policies=["helper"])
    for path, proof in [
        ("auth/approle/login", {"role_id": role_id, "secret_id": secret_id}),
        ("auth/userpass/login/helper", {"password": "pass"}),
    ]:
        token = http_json(vault.port, "POST", f"/v1/{path}", proof)["auth"]["client_token"]
        assert vault.call("GET", "secret/data/helper/open", token=token)["data"]["data"] == {"n": 1}
        with pytest.raises(ServerFailed, match="403"):
            vault.call("GET", "secret/data/helper/shut", token=token)


def test_revoked_token_is_refused(vault: Vault) -> None:
    token = vault.make_token(policies=["default"], ttl_seconds=60)
    assert vault.lookup(token)["ttl"] <= 60
    vault.revoke(token)
    with pytest.raises(ServerFailed, match="403"):
        vault.lookup(token)


def test_sealed_vault_answers_nothing_but_that(vault: Vault) -> None:
    vault.seal()
    try:
        with pytest.raises(ServerFailed, match=r"503.*sealed"):
            vault.lookup(vault.root_token)
    finally:
        vault.unseal()
    assert vault.lookup(vault.root_token)["policies"] == ["root"]


def test_secrets_and_tokens_survive_a_crash(vault: Vault) -> None:
    vault.put("helper/kept", {"n": 1})
    token = vault.make_token(policies=["root"])
    url = vault.url
    vault.kill()
    vault.start()
    assert vault.url == url
    assert vault.call("GET", "secret/data/helper/kept", token=token)["data"]["data"] == {"n": 1}
