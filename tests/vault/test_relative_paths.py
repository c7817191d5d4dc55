"""A path is what it named when it was given, wherever the program goes later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gds_vault import AppRoleAuth, JwtAuth, TokenAuth, UserpassAuth, VaultClient
from gds_vault.testing import VaultServer
from gds_vault.transport import VaultTransport
from tests.helpers.certificates import Pki, make_pki
from tests.vault.conftest import Connect
from tests.vault.test_reach import folder_of, serve


@pytest.fixture
def leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go from the folder ``here`` to another one, where files of the same names hold something else."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "credential").write_text("wrong")
    make_pki(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "here")
    return lambda: monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def pki(leave: object, tmp_path: Path) -> Pki:
    pki = make_pki(tmp_path / "here")
    folder_of(pki.ca, tmp_path / "here")
    return pki


@pytest.fixture
def secure(pki: Pki) -> Iterator[VaultServer]:
    """A Vault that asks for a certificate."""
    with serve(pki, ask=True) as server:
        server.put("app", {"a": "b"})
        yield server


OWN = {"client_cert": "client.pem", "client_key": "client.key"}


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        ({"ssl_cert_path": "ca.pem", "config": OWN}, {}),
        ({"config": {"ssl_cert_path": Path(), **OWN}}, {}),
        ({}, {"VAULT_CACERT": "ca.pem", "VAULT_CLIENT_CERT": "client.pem", "VAULT_CLIENT_KEY": "client.key"}),
        ({"config": OWN}, {"VAULT_CAPATH": "."}),
    ],
)
def test_certificates_stay_where_they_were(
    connect: Connect,
    secure: VaultServer,
    leave: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = connect(TokenAuth(secure.root_token), vault_addr=secure.url, **settings)
    leave()
    assert client.get_secret("app") == {"a": "b"}


@pytest.mark.parametrize("path", ["ca.pem", "."])
def test_authorities_that_are_named_later_stay_where_they_were(
    connect: Connect, secure: VaultServer, leave: Callable[[], None], path: str
) -> None:
    client = connect(TokenAuth(secure.root_token), vault_addr=secure.url, config=OWN)
    client.client.ssl_cert_path = path
    leave()
    assert client.get_secret("app") == {"a": "b"}


def test_certificates_of_the_program_s_own_session_stay_where_they_were(
    secure: VaultServer, leave: Callable[[], None]
) -> None:
    with requests.Session() as session:
        settings: dict[str, Any] = {"ssl_cert_path": "ca.pem", "config": OWN, "transport": session}
        with VaultClient(secure.url, TokenAuth(secure.root_token), **settings) as client:
            leave()
            assert client.get_secret("app", use_cache=False) == {"a": "b"}


def test_authorities_of_a_transport_stay_where_they_were(pki: Pki, leave: Callable[[], None]) -> None:
    with serve(pki) as server:
        server.put("app", {"a": "b"})
        transport: Any = VaultTransport(ssl_cert_path="ca.pem")
        client = VaultClient(server.url, TokenAuth(server.root_token), transport=transport)
        leave()
        assert client.get_secret("app") == {"a": "b"}
        assert transport.verify == str(pki.ca)


@pytest.mark.parametrize(
    "make",
    [
        lambda file: AppRoleAuth("role", file),
        lambda file: UserpassAuth("bob", file),
        lambda file: JwtAuth("shop", file),
        TokenAuth,
    ],
)
def test_credentials_are_read_where_they_were(
    connect: Connect, server: VaultServer, leave: Callable[[], None], tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    token = server.root_token
    server.add_approle("role", token)
    server.add_user("bob", token)
    server.add_jwt_role("shop", token)
    client = connect(make(Path("credential")))
    leave()
    (tmp_path / "here" / "credential").write_text(token)
    assert client.get_secret("app/database")["password"] == "hunter2"
