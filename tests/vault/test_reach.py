"""What the environment says of Vault means the same to each client, and to ``gds doctor``."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from gds_cli.checks import FAILED, OK, WARNING
from gds_cli.checks.vault import vault_steps
from gds_cli.doctor import Check, checked
from gds_vault import (
    AppRoleAuth,
    SecretCache,
    TokenAuth,
    UserpassAuth,
    VaultClient,
    VaultConfigurationError,
    VaultConnectionError,
)
from gds_vault._settings import resolve
from gds_vault.testing import VaultServer
from tests.helpers.certificates import Pki, make_pki
from tests.vault.conftest import Connect
from tests.vault.doubles import Driven


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("stranger"))


def folder_of(bundle: Path, folder: Path) -> Path:
    """A folder as OpenSSL looks into it."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(bundle)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(bundle.read_bytes())
    return folder


def serve(pki: Pki, **more: Any) -> VaultServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    if more.get("ask"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki.ca)
    return VaultServer(ssl_context=context)


@pytest.fixture
def secure(pki: Pki) -> Iterator[VaultServer]:
    with serve(pki) as server:
        server.put("app", {"a": "b"})
        yield server


Read = Callable[[VaultServer], Any]


@pytest.fixture(params=["client", "doctor"])
def read(request: pytest.FixtureRequest, connect: Connect) -> Read:
    """A read by a client of each kind, or what the doctor finds; raises or returns whether it went well."""

    def by_client(server: VaultServer) -> bool:
        return bool(connect(TokenAuth(server.root_token), vault_addr=server.url).get_secret("app") == {"a": "b"})

    def by_doctor(server: VaultServer) -> bool:
        found = doctor(server.url)
        if found["vault"].level == FAILED:
            raise VaultConnectionError(found["vault"].found)
        return found["vault"].level == OK

    return by_client if request.param == "client" else by_doctor


def doctor(url: str) -> dict[str, Check]:
    return {check.check: check for check in checked(vault_steps(url, 10.0), 10.0)}


BUNDLES = ["VAULT_SSL_CERT", "VAULT_CACERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]
FOLDERS = ["VAULT_CAPATH", "SSL_CERT_DIR", "VAULT_CACERT", "REQUESTS_CA_BUNDLE"]


@pytest.mark.parametrize("variable", BUNDLES)
def test_the_authority_is_named_by_any_variable(
    read: Read, secure: VaultServer, pki: Pki, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with pytest.raises(VaultConnectionError, match="TLS"):
        read(secure)
    monkeypatch.setenv(variable, str(pki.ca))
    assert read(secure)


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_folder_of_authorities_is_named_by_any_variable(
    read: Read, secure: VaultServer, pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(folder_of(pki.ca, tmp_path)))
    assert read(secure)


def test_a_certificate_for_another_name_is_not_trusted(
    read: Read, pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("vault.example.org", "10.0.0.1").configure_cert(context)
    monkeypatch.setenv("VAULT_CACERT", str(tmp_path / "ca.pem"))
    with VaultServer(ssl_context=context) as server, pytest.raises(VaultConnectionError, match="TLS"):
        read(server)


def test_vaults_own_variable_goes_before_that_of_the_machine(
    read: Read, secure: VaultServer, pki: Pki, stranger: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))
    monkeypatch.setenv("VAULT_CACERT", str(stranger.ca))
    with pytest.raises(VaultConnectionError, match="TLS"):
        read(secure)
    monkeypatch.setenv("VAULT_CACERT", str(pki.ca))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger.ca))
    assert read(secure)


def test_an_authority_that_is_not_there_is_an_error_at_once(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_CACERT", "/nowhere/ca.pem")
    with pytest.raises(VaultConfigurationError, match=r"VAULT_CACERT='/nowhere/ca.pem'"):
        resolve(vault_addr="https://127.0.0.1:1", auth=TokenAuth("x"))
    assert doctor("https://127.0.0.1:1")["vault"].level == FAILED
    assert resolve(vault_addr="http://127.0.0.1:1", auth=TokenAuth("x")).ssl_cert_path is None
    monkeypatch.setenv("VAULT_CACERT", str(pki.server_key))
    with pytest.raises(VaultConfigurationError, match="expected a CA bundle in PEM"):
        VaultClient("https://127.0.0.1:1", TokenAuth("x"))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # urllib3's own word on it
def test_skip_verify_trusts_everybody_and_says_so(
    connect: Connect, secure: VaultServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    assert connect(TokenAuth(secure.root_token), vault_addr=secure.url).get_secret("app") == {"a": "b"}
    assert f"verify_ssl=False: whoever is in between can read the secrets of {secure.url}" in caplog.text
    found = doctor(secure.url)["vault"]
    assert (found.level, "not checked" in found.found) == (WARNING, True)
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "0")
    with pytest.raises(VaultConnectionError, match="TLS"):
        connect(TokenAuth(secure.root_token), vault_addr=secure.url).get_secret("app")
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "perhaps")
    with pytest.raises(VaultConfigurationError, match="VAULT_SKIP_VERIFY='perhaps': expected true or false"):
        resolve(vault_addr=secure.url, auth=TokenAuth("x"))


def test_a_certificate_of_ones_own_is_shown(read: Read, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(pki, ask=True) as server:
        server.put("app", {"a": "b"})
        monkeypatch.setenv("VAULT_CACERT", str(pki.ca))
        with pytest.raises(VaultConnectionError):
            read(server)
        monkeypatch.setenv("VAULT_CLIENT_CERT", str(pki.client_cert))
        monkeypatch.setenv("VAULT_CLIENT_KEY", str(pki.client_key))
        assert read(server)


def test_half_a_certificate_is_an_error_at_once(pki: Pki, stranger: Pki) -> None:
    config: dict[str, Any] = {"token": "x", "vault_addr": "https://127.0.0.1:1", "client_key": str(pki.client_key)}
    with pytest.raises(VaultConfigurationError, match="client_cert: none was given beside client_key"):
        VaultClient(config=config)
    for key in (None, str(stranger.client_key)):
        wrong = {**config, "client_cert": str(pki.client_cert), "client_key": key}
        with pytest.raises(VaultConfigurationError, match="expected a certificate and its key"):
            VaultClient(config=wrong)
    with pytest.raises(VaultConfigurationError, match=r"client_cert='nowhere\.pem'"):
        VaultClient(config={**config, "client_cert": "nowhere.pem"})


# ------------------------------------------------------------------ sockets
def test_a_unix_socket_is_an_address(read: Read, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below pytest's folder: the path of a socket has at most 107 letters.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vault.sock")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with VaultServer(socket_path=path) as server:
            server.put("app", {"a": "b"})
            assert server.url == f"unix://{path}"
            assert read(server)
            client = connect(TokenAuth(server.root_token), vault_addr=server.url)
            client.put_secret("other", {"c": "d"})
            assert client.list_secrets("") == ["app", "other"]
            server.stop()
            with pytest.raises(VaultConnectionError, match=f"unix://{path}.*(refused|no such file)"):
                client.get_secret("app", use_cache=False)
            server.start()
            assert client.get_secret("app", use_cache=False) == {"a": "b"}
            server.redirect_to = "http://127.0.0.1:1{target}"
            with pytest.raises(VaultConnectionError, match="redirect that is not followed"):
                client.get_secret("app", use_cache=False)


@pytest.mark.parametrize("address", ["unix://", "unix://relative", "unix:///a\nb", "unix:/one/slash"])
def test_what_is_no_path_of_a_socket_is_refused(address: str) -> None:
    with pytest.raises(VaultConfigurationError, match="vault_addr"):
        resolve(vault_addr=address, auth=TokenAuth("x"))


# ------------------------------------------------------------------ what is between
def test_a_netrc_is_none_of_our_business(
    read: Read, connect: Connect, server: VaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.put("app", {"a": "b"})
    heard: list[str] = []
    server.on_headers = heard.extend
    assert read(server)
    assert connect(TokenAuth(server.root_token)).get_secret("app") == {"a": "b"}
    with requests.Session() as session, VaultClient(server.url, TokenAuth(server.root_token), transport=session) as one:
        assert one.get_secret("app") == {"a": "b"}
    assert "X-Vault-Token" in heard
    assert "Authorization" not in {name.title() for name in heard}


def test_a_proxy_of_the_environment_is_asked(
    read: Read, connect: Connect, server: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("app", {"a": "b"})
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    client = connect(TokenAuth(server.root_token), vault_addr="http://vault.invalid:8200")
    assert client.get_secret("app") == {"a": "b"}
    assert doctor("http://vault.invalid:8200")["vault"].level == OK
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert read(server), "which no_proxy takes out"


BARE = ["me@example.com", "a=b", "a+b", "a:b", "x(y)!,;"]
"""What a path may have without quotes, which Python writes and Vault does not."""


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, "{path}") for name in BARE), *((name, "{target}") for name in (*BARE, "a b", "käse", "100%", "a%2Fb"))],
)
def test_a_redirect_is_followed_whatever_it_quotes(connect: Connect, server: VaultServer, name: str, form: str) -> None:
    server.put(name, {"a": "b"})
    with VaultServer() as standby:
        standby.redirect_to = f"{server.url}{form}"
        client = connect(TokenAuth(server.root_token), vault_addr=standby.url)
        assert client.get_secret(name) == {"a": "b"}
        assert ("GET", f"secret/data/{name}") in server.calls


@pytest.mark.parametrize("asked", ["soon", "-5", "1e9", "²", "1.5", "9" * 400, "Wed, 99 Foo 99999 99:99:99 GMT", ""])
def test_a_retry_after_that_is_no_number_is_ignored(connect: Connect, server: VaultServer, asked: str) -> None:
    client = connect()
    client.get_secret("app/database")
    server.fail(1, status=429, retry_after=asked)
    assert client.get_secret("app/database", use_cache=False)["password"] == "hunter2"


# ------------------------------------------------------------------ line breaks
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_the_line_break_at_the_end_of_a_credential_is_no_part_of_it(
    connect: Connect, server: VaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    server.add_user("bob", "pass word")
    heard: list[str | None] = []
    server.on_headers = lambda headers: heard.append(headers.get("X-Vault-Namespace"))
    file = tmp_path / "secret"
    file.write_bytes(f"secret-id{end}".encode())
    ways: list[Any] = [
        TokenAuth(server.root_token + end),
        TokenAuth(lambda: server.root_token + end),
        AppRoleAuth("role" + end, "secret-id" + end),
        AppRoleAuth("role", file),
        UserpassAuth("bob", "pass word" + end),
    ]
    for way in ways:
        assert connect(way, namespace="team" + end, cache=SecretCache()).get_secret("app/database")
    for config in ({"token": server.root_token + end}, {"role_id": "role" + end, "secret_id": "secret-id" + end}):
        assert Driven("threads", server.url + end, config=config).get_secret("app/database")
    monkeypatch.setenv("VAULT_ADDR", server.url + end)
    monkeypatch.setenv("VAULT_TOKEN", server.root_token + end)
    monkeypatch.setenv("VAULT_NAMESPACE", "team" + end)
    assert VaultClient().get_secret("app/database")
    assert doctor(server.url)["vault token"].level == OK
    assert set(heard) == {"team", None}  # the seal is that of the whole server
    monkeypatch.setenv("VAULT_ROLE_ID", "role" + end)
    monkeypatch.setenv("VAULT_SECRET_ID", "secret-id" + end)
    assert VaultClient().get_secret("app/database")
    assert server.root_token not in repr(ways)


def test_a_line_break_within_a_credential_is_refused(server: VaultServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2\nX-Evil: 1\n")
    with pytest.raises(VaultConfigurationError, match="token: expected visible ASCII"):
        TokenAuth("hunter2\nX-Evil: 1")
    with pytest.raises(VaultConfigurationError, match=f"token in '{file}': expected visible ASCII") as raised:
        VaultClient(server.url, TokenAuth(file)).get_secret("app")
    assert "hunter2" not in str(raised.value)


def test_a_session_of_ones_own_is_told_of_trust(secure: VaultServer, pki: Pki) -> None:
    import asyncio

    auth = TokenAuth(secure.root_token)
    with requests.Session() as session:
        client = VaultClient(secure.url, auth, transport=session, ssl_cert_path=pki.ca)
        assert client.get_secret("app") == {"a": "b"}

    async def main() -> None:
        from gds_vault import AsyncVaultClient

        async with aiohttp.ClientSession() as session:
            client = AsyncVaultClient(secure.url, auth, transport=session, ssl_cert_path=pki.ca)
            assert await client.get_secret("app") == {"a": "b"}
            await client.aclose()

    asyncio.run(main())


def test_forked_children_trust_whom_their_parent_trusted(secure: VaultServer, pki: Pki, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(pki.ca.read_bytes())
    program = """
import os, sys
from gds_vault import TokenAuth, VaultClient

with VaultClient(sys.argv[1], TokenAuth(sys.argv[2]), ssl_cert_path=sys.argv[3]) as client:
    client.get_secret("app")
    os.unlink(sys.argv[3])
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            for _ in range(5):
                assert client.get_secret("app", use_cache=False) == {"a": "b"}
            os._exit(0)
        children.append(child)
    assert client.get_secret("app", use_cache=False) == {"a": "b"}
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
    command = [sys.executable, "-W", "error", "-c", program, secure.url, secure.root_token, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[0, 0, 0]\n", "")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_trust_can_be_changed_while_a_client_lives(
    connect: Connect, secure: VaultServer, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    client = connect(TokenAuth(secure.root_token), vault_addr=secure.url)
    with pytest.raises(VaultConnectionError, match="TLS"):
        client.get_secret("app")
    client.client.ssl_cert_path = pki.ca
    assert client.get_secret("app", use_cache=False) == {"a": "b"}
    client.client.ssl_cert_path = None
    with pytest.raises(VaultConnectionError, match="TLS"):
        client.get_secret("app", use_cache=False)
    client.client.verify_ssl = False
    assert client.get_secret("app", use_cache=False) == {"a": "b"}
    assert caplog.text.count("verify_ssl=False") == 1
