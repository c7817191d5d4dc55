"""Who is trusted, and where a token may go."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gds_vault import AppRoleAuth, TokenAuth, VaultClient, VaultConnectionError
from gds_vault.testing import VaultServer
from tests.helpers.certificates import Pki, make_pki
from tests.vault.conftest import Connect


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def secure(pki: Pki) -> Iterator[VaultServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    with VaultServer(ssl_context=context) as server:
        server.put("app", {"a": "b"})
        yield server


def test_a_server_of_an_authority_that_is_given_is_trusted(connect: Connect, secure: VaultServer, pki: Pki) -> None:
    client = connect(TokenAuth(secure.root_token), vault_addr=secure.url, ssl_cert_path=pki.ca)
    assert secure.url.startswith("https://")
    assert client.get_secret("app") == {"a": "b"}


def test_a_server_nobody_vouches_for_is_not_talked_to(connect: Connect, secure: VaultServer) -> None:
    client = connect(TokenAuth(secure.root_token), vault_addr=secure.url)
    with pytest.raises(VaultConnectionError, match=r"TLS: .*(self.signed|issuer).*see ssl_cert_path"):
        client.get_secret("app")
    assert secure.requests == 0


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # urllib3's own word on it
def test_not_checking_is_possible_and_said_once(
    connect: Connect, secure: VaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(TokenAuth(secure.root_token), vault_addr=secure.url, verify_ssl=False)
    for _ in range(3):
        assert client.get_secret("app", use_cache=False) == {"a": "b"}
    lines = [record.getMessage() for record in caplog.records if "verify_ssl" in record.getMessage()]
    assert lines == [f"verify_ssl=False: whoever is in between can read the secrets of {secure.url}"]
    assert [record.levelno for record in caplog.records if "verify_ssl" in record.getMessage()] == [logging.WARNING]


def test_a_server_without_tls_is_told_from_one_with(connect: Connect, server: VaultServer) -> None:
    client = connect(vault_addr=server.url.replace("http", "https"))
    with pytest.raises(VaultConnectionError, match="TLS"):
        client.get_secret("app")


def test_a_standby_is_followed_to_the_active_server(connect: Connect, server: VaultServer) -> None:
    with VaultServer() as standby:
        redirect(standby, server.url)
        client = connect(vault_addr=standby.url)
        assert client.get_secret("app/database")["password"] == "hunter2"
        client.put_secret("other", {"a": "b"})
        assert client.list_secrets("") == ["app/", "other"]


def test_a_token_does_not_leave_tls(connect: Connect, secure: VaultServer, server: VaultServer, pki: Pki) -> None:
    redirect(secure, server.url)
    client = connect(TokenAuth(server.root_token), vault_addr=secure.url, ssl_cert_path=pki.ca)
    with pytest.raises(VaultConnectionError, match="redirect that is not followed"):
        client.get_secret("app/database")
    assert server.requests == 0


@pytest.mark.parametrize("location", ["", "http://", "/elsewhere", "ftp://127.0.0.1/v1/x", "http://[::1/v1/x", "//x/y"])
def test_a_redirect_to_nowhere_is_an_error(connect: Connect, server: VaultServer, location: str) -> None:
    redirect(server, location, whole=True)
    with pytest.raises(VaultConnectionError, match=r"redirect|ValueError"):
        connect().get_secret("app/database")


def test_servers_that_send_us_in_a_circle_are_left(connect: Connect, server: VaultServer) -> None:
    redirect(server, server.url)
    with pytest.raises(VaultConnectionError, match=r"redirect|ValueError"):
        connect().get_secret("app/database")
    assert server.requests == 4


def redirect(standby: VaultServer, to: str, whole: bool = False) -> None:
    standby.redirect_to = to if whole else f"{to}{{target}}"


def test_a_folder_of_authorities_is_taken_too(secure: VaultServer, pki: Pki, tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "ca.pem").write_bytes(pki.ca.read_bytes())
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(pki.ca)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / f"{name}.0").symlink_to(tmp_path / "ca.pem")
    with VaultClient(secure.url, TokenAuth(secure.root_token), ssl_cert_path=tmp_path) as client:
        assert client.get_secret("app") == {"a": "b"}


def test_a_namespace_goes_with_each_request(connect: Connect, server: VaultServer) -> None:
    heard: list[str | None] = []
    server.on_headers = lambda headers: heard.append(headers.get("X-Vault-Namespace"))
    connect(AppRoleAuth("role", "secret-id"), namespace="team/a").get_secret("app/database")
    assert heard == ["team/a"] * 3
