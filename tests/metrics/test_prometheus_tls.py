"""Who may see the page: TLS, client certificates, bearer tokens, users with passwords."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gds_metrics import PrometheusMetrics
from tests.helpers.certificates import Pki, make_pki
from tests.helpers.pages import read
from tests.helpers.web import fetch
from tests.services.process import wait_until

TOKEN = "s3cret-token"
Make = Callable[..., PrometheusMetrics]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def make() -> Iterator[Make]:
    with ExitStack() as opened:
        yield lambda **settings: opened.enter_context(PrometheusMetrics(port=0, addr="127.0.0.1", **settings))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---------------------------------------------------------------- TLS


def test_the_page_over_tls(make: Make, pki: Pki) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key)
    metrics.increment("n")
    answer = fetch(metrics.port, tls=pki.client())
    assert read(answer.text).value("gds_n_total") == 1


def test_certificate_and_key_may_be_in_one_file(make: Make, pki: Pki, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pki.server_key.read_bytes() + pki.server_cert.read_bytes())
    assert fetch(make(certfile=both).port, tls=pki.client()).status == 200


def test_a_client_that_does_not_know_the_authority_goes_away(make: Make, pki: Pki) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key)
    with pytest.raises(ssl.SSLCertVerificationError):
        fetch(metrics.port, tls=ssl.create_default_context())
    assert fetch(metrics.port, tls=pki.client()).status == 200


def test_plain_http_gets_nothing_from_a_tls_server(make: Make, pki: Pki) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key)
    with socket.create_connection(("127.0.0.1", metrics.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        try:
            while piece := client.recv(4096):
                received += piece
        except ConnectionResetError:
            pass
    assert b"gds_" not in received
    assert b"200" not in received


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_of_tls_are_spoken(make: Make, pki: Pki, version: ssl.TLSVersion) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key)
    context = pki.client()
    context.minimum_version = context.maximum_version = version
    assert fetch(metrics.port, tls=context).status == 200


def test_a_renewed_certificate_is_shown_without_a_restart(make: Make, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    first, second = make_pki(old), make_pki(new)
    metrics = make(certfile=first.server_cert, keyfile=first.server_key)
    assert fetch(metrics.port, tls=first.client()).status == 200
    shutil.copy(second.server_key, first.server_key)
    shutil.copy(second.server_cert, first.server_cert)

    def renewed() -> bool:
        try:
            return fetch(metrics.port, tls=second.client()).status == 200
        except ssl.SSLError:
            return False

    wait_until(renewed, what="the new certificate")


# ---------------------------------------------------------------- client certificates


def test_a_client_certificate_is_asked_for_and_checked(make: Make, pki: Pki) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key, client_cafile=pki.ca)
    assert fetch(metrics.port, tls=pki.known_client()).status == 200
    for context in (pki.client(), pki.stranger()):
        # TLS 1.3 tells a client after its handshake; what it sees then depends on who is faster.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            fetch(metrics.port, tls=context)
    assert fetch(metrics.port, tls=pki.known_client()).status == 200


def test_health_needs_the_client_certificate_too(make: Make, pki: Pki) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key, client_cafile=pki.ca)
    assert fetch(metrics.port, "/healthz", tls=pki.known_client()).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        fetch(metrics.port, "/healthz", tls=pki.client())


def test_client_certificate_and_token_are_both_asked_for(make: Make, pki: Pki, token_file: Path) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key, client_cafile=pki.ca, bearer_token_file=token_file)
    assert fetch(metrics.port, tls=pki.known_client()).status == 401
    assert fetch(metrics.port, tls=pki.known_client(), headers=bearer(TOKEN)).status == 200


# ---------------------------------------------------------------- tokens and passwords


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer(""),
        bearer(TOKEN + "x"),
        bearer(TOKEN[:-1]),
        bearer(TOKEN.upper()),
        {"Authorization": TOKEN},
        {"Authorization": f"Token {TOKEN}"},
        basic("", TOKEN),
        basic(TOKEN, ""),
    ],
)
def test_without_the_token_there_is_no_page(make: Make, token_file: Path, headers: dict[str, str]) -> None:
    metrics = make(bearer_token_file=token_file)
    metrics.increment("n")
    answer = fetch(metrics.port, headers=headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="metrics"')
    assert "gds_" not in answer.text
    assert TOKEN not in answer.text


@pytest.mark.parametrize("headers", [bearer(TOKEN), {"authorization": f"bearer {TOKEN}"}])
def test_with_the_token_there_is(make: Make, token_file: Path, headers: dict[str, str]) -> None:
    metrics = make(bearer_token_file=token_file)
    metrics.increment("n")
    assert read(fetch(metrics.port, headers=headers).text).value("gds_n_total") == 1


def test_health_asks_for_no_secret(make: Make, token_file: Path) -> None:
    assert fetch(make(bearer_token_file=token_file).port, "/healthz").status == 200


def test_a_rotated_token_counts_from_the_next_request(make: Make, token_file: Path) -> None:
    metrics = make(bearer_token_file=token_file)
    assert fetch(metrics.port, headers=bearer(TOKEN)).status == 200
    for number in range(3):
        fresh = f"fresh-{number}"
        next_file = token_file.with_suffix(".next")
        next_file.write_text(fresh)
        next_file.replace(token_file)
        assert fetch(metrics.port, headers=bearer(TOKEN)).status == 401
        assert fetch(metrics.port, headers=bearer(fresh)).status == 200


def test_a_token_file_that_goes_bad_admits_nobody_until_it_is_good(make: Make, token_file: Path) -> None:
    metrics = make(bearer_token_file=token_file)
    token_file.unlink()
    assert fetch(metrics.port, headers=bearer(TOKEN)).status == 401
    token_file.write_text("")
    assert fetch(metrics.port, headers=bearer("")).status == 401
    token_file.write_text(TOKEN)
    assert fetch(metrics.port, headers=bearer(TOKEN)).status == 200


USERS = "# users of the page\nalice:pa:ss wörd\nbob:b\n\n"


@pytest.mark.parametrize(("user", "password"), [("alice", "pa:ss wörd"), ("bob", "b")])
def test_a_user_of_the_file_sees_the_page(make: Make, tmp_path: Path, user: str, password: str) -> None:
    path = tmp_path / "users"
    path.write_text(USERS)
    assert fetch(make(basic_auth_file=path).port, headers=basic(user, password)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("alice", "b"),
        basic("bob", ""),
        basic("", "b"),
        basic("# users of the page", ""),
        bearer("b"),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic"},
    ],
)
def test_others_are_asked_for_a_user(make: Make, tmp_path: Path, headers: dict[str, str]) -> None:
    path = tmp_path / "users"
    path.write_text(USERS)
    answer = fetch(make(basic_auth_file=path).port, headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="metrics"')


def test_no_secret_is_shown(make: Make, token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = make(bearer_token_file=token_file)
    fetch(metrics.port, headers=bearer("wrong"))
    for text in (repr(metrics), str(metrics), metrics.render().decode(), caplog.text):
        assert TOKEN not in text


def test_credentials_of_a_shared_port_must_be_the_same(make: Make, token_file: Path, tmp_path: Path) -> None:
    metrics = make(bearer_token_file=token_file)
    settings: dict[str, Any] = {"port": metrics.port, "addr": "127.0.0.1"}
    PrometheusMetrics(bearer_token_file=token_file, **settings).increment("shared")
    assert metrics.sample("shared") == 1
    with pytest.raises(ValueError, match="the same bearer_token_file= as the collector of this process"):
        PrometheusMetrics(**settings)


def test_tls_of_a_shared_port_must_be_the_same(make: Make, pki: Pki) -> None:
    metrics = make(certfile=pki.server_cert, keyfile=pki.server_key)
    with pytest.raises(ValueError, match="the same certfile="):
        PrometheusMetrics(port=metrics.port, addr="127.0.0.1")
