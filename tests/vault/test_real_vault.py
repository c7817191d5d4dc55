"""Both clients against a real Vault: what it grants, refuses, lets expire, and how it is away."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import pytest
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gds_vault import (
    AppRoleAuth,
    AsyncVaultClient,
    JwtAuth,
    KubernetesAuth,
    RetryPolicy,
    TokenAuth,
    UserpassAuth,
    VaultAuthError,
    VaultClient,
    VaultConflictError,
    VaultConnectionError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)
from tests.metrics.doubles import Recorder
from tests.services.process import ServerFailed, http_json, wait_until
from tests.services.vault import Vault

T = TypeVar("T")

ONCE = RetryPolicy(attempts=1)


class LongRetryPolicy(RetryPolicy):
    """Tries for longer than any restart takes, and shows when it began to."""

    def __init__(self) -> None:
        super().__init__(attempts=100, base_delay_seconds=0.05, max_delay_seconds=0.2)
        self.began = threading.Event()

    def delay_seconds(self, attempt: int, retry_after_seconds: float | None = None) -> float:
        self.began.set()
        return super().delay_seconds(attempt, retry_after_seconds)


class CountingRecorder(Recorder):
    """A collector that can be asked how often a counter was incremented."""

    def count(self, name: str) -> float:
        return sum(call.value for call in list(self.calls) if call.name == name)


class Client(Protocol):
    """A client of either kind, called as the synchronous one is."""

    told: CountingRecorder

    def get(self, path: str, **options: Any) -> dict[str, Any]: ...
    def list(self, path: str) -> list[str]: ...
    def put(self, path: str, data: dict[str, Any]) -> None: ...
    def delete(self, path: str) -> None: ...
    def call(self, method: str, *arguments: Any, **settings: Any) -> Any: ...
    def until(self, check: Callable[[], object], what: str) -> None: ...
    def close(self) -> None: ...


class Blocking:
    """`VaultClient`."""

    def __init__(self, **settings: Any) -> None:
        self.told = CountingRecorder()
        self.client = VaultClient(metrics=self.told, **settings)

    def get(self, path: str, **options: Any) -> dict[str, Any]:
        return self.client.get_secret(path, **options)

    def list(self, path: str) -> list[str]:
        return self.client.list_secrets(path)

    def put(self, path: str, data: dict[str, Any]) -> None:
        self.client.put_secret(path, data)

    def delete(self, path: str) -> None:
        self.client.delete_secret(path)

    def call(self, method: str, *arguments: Any, **settings: Any) -> Any:
        return getattr(self.client, method)(*arguments, **settings)

    def until(self, check: Callable[[], object], what: str) -> None:
        wait_until(check, what=what)

    def close(self) -> None:
        self.client.close()


class Awaiting:
    """`AsyncVaultClient` on a loop of its own."""

    def __init__(self, **settings: Any) -> None:
        self.told = CountingRecorder()
        self.loop = asyncio.new_event_loop()

        async def make() -> AsyncVaultClient:
            return AsyncVaultClient(metrics=self.told, **settings)

        try:
            self.client = self._run(make())
        except BaseException:
            self.loop.close()
            raise

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def get(self, path: str, **options: Any) -> dict[str, Any]:
        return self._run(self.client.get_secret(path, **options))

    def list(self, path: str) -> list[str]:
        return self._run(self.client.list_secrets(path))

    def put(self, path: str, data: dict[str, Any]) -> None:
        self._run(self.client.put_secret(path, data))

    def delete(self, path: str) -> None:
        self._run(self.client.delete_secret(path))

    def call(self, method: str, *arguments: Any, **settings: Any) -> Any:
        return self._run(getattr(self.client, method)(*arguments, **settings))

    def until(self, check: Callable[[], object], what: str) -> None:
        # Between two looks the loop does what the client has to do by itself.
        def looked() -> object:
            self._run(asyncio.sleep(0))
            return check()

        wait_until(looked, what=what)

    def close(self) -> None:
        self._run(self.client.aclose())
        self.loop.close()


class Opener(Protocol):
    """Makes a client of the kind the test is about, closed when the test ends."""

    def __call__(self, auth: object, **settings: Any) -> Client: ...


@pytest.fixture(params=[Blocking, Awaiting], ids=["sync", "async"])
def open_client(request: pytest.FixtureRequest, vault: Vault) -> Iterator[Opener]:
    opened: list[Client] = []

    def make(auth: object, **settings: Any) -> Client:
        client: Client = request.param(vault_addr=vault.url, auth=auth, **{"retry_policy": ONCE, **settings})
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def room(vault: Vault) -> str:
    """A folder nobody else has, and a policy of its name that may do all in it, in both engines."""
    name = f"room-{uuid4().hex[:8]}"
    everything = ["create", "read", "update", "patch", "delete", "list"]
    paths = (f"secret/data/{name}/*", f"secret/metadata/{name}/*", f"plain/{name}/*")
    vault.write_policy(name, dict.fromkeys(paths, everything))
    return name


def approle(vault: Vault, room: str, **settings: int) -> AppRoleAuth:
    role_id, secret_id = vault.add_approle(room, policies=[room], **settings)
    return AppRoleAuth(role_id, secret_id)


def userpass(vault: Vault, room: str) -> UserpassAuth:
    vault.add_user(room, password := uuid4().hex, policies=[room])
    return UserpassAuth(room, password)


def token(vault: Vault, room: str) -> TokenAuth:
    return TokenAuth(vault.make_token(policies=[room]))


@pytest.mark.parametrize("way", [approle, userpass, token])
def test_who_is_let_in_reads_what_the_policy_grants(
    vault: Vault, room: str, open_client: Opener, way: Callable[[Vault, str], object]
) -> None:
    vault.put(f"{room}/db", secret := {"user": "ada", "password": "p", "ports": [1, 2], "none": None})
    client = open_client(way(vault, room))
    assert client.get(f"{room}/db") == client.get(f"{room}/db") == secret
    assert (client.told.count("vault.secret.miss"), client.told.count("vault.secret.hit")) == (1, 1)


@pytest.mark.parametrize("method", ["approle", "userpass", "token"])
def test_wrong_credentials_are_refused_and_not_told(
    vault: Vault, room: str, open_client: Opener, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = uuid4().hex
    role_id, _ = vault.add_approle(room, policies=[room])
    vault.add_user(room, uuid4().hex, policies=[room])
    auth = {
        "approle": AppRoleAuth(role_id, wrong),
        "userpass": UserpassAuth(room, wrong),
        "token": TokenAuth(f"hvs.{wrong}"),
    }[method]
    with pytest.raises(VaultAuthError) as raised:
        open_client(auth).get(f"{room}/db")
    for said in (str(raised.value), repr(raised.value), repr(auth), caplog.text):
        assert wrong not in said


def test_versions_are_read_one_by_one(vault: Vault, room: str, open_client: Opener) -> None:
    client = open_client(approle(vault, room))
    path = f"{room}/versions"
    for number in (1, 2, 3):
        client.put(path, {"n": number})
    assert [client.get(path, version=number)["n"] for number in (1, 2, 3)] == [1, 2, 3]
    assert client.get(path) == {"n": 3}
    with pytest.raises(VaultSecretNotFoundError):
        client.get(path, version=4)
    vault.call("POST", f"secret/delete/{path}", {"versions": [2]})
    vault.call("PUT", f"secret/destroy/{path}", {"versions": [1]})
    for gone in (1, 2):
        with pytest.raises(VaultSecretNotFoundError):
            client.get(path, version=gone, use_cache=False)
    client.delete(path)
    with pytest.raises(VaultSecretNotFoundError) as raised:
        client.get(path)
    assert raised.value.path == path


def test_one_of_two_writers_wins_and_a_patch_leaves_the_rest(vault: Vault, room: str, open_client: Opener) -> None:
    client = open_client(approle(vault, room))
    path = f"{room}/counted"
    assert client.call("put_secret", path, {"n": 1, "kept": True}, cas=0) == 1
    with pytest.raises(VaultConflictError) as raised:
        client.call("put_secret", path, {"n": 2}, cas=0)
    assert (raised.value.path, raised.value.status) == (path, 400)
    assert client.call("patch_secret", path, {"n": 2}, cas=1) == 2
    assert client.get(path) == {"n": 2, "kept": True}
    with pytest.raises(VaultConflictError):
        client.call("patch_secret", path, {"n": 3}, cas=1)
    assert client.call("patch_secret", f"secret/data/{path}", {"kept": None}) == 3
    assert client.get(path) == {"n": 2}
    with pytest.raises(VaultSecretNotFoundError):
        client.call("patch_secret", f"{room}/nothing", {"n": 1})


def test_what_vault_wrapped_is_unwrapped_once(vault: Vault, room: str, open_client: Opener) -> None:
    def wrapped(method: str, path: str) -> str:
        headers = {"X-Vault-Token": vault.root_token, "X-Vault-Wrap-TTL": "60s"}
        token: str = http_json(vault.port, method, f"/v1/{path}", None, headers)["wrap_info"]["token"]
        return token

    vault.put(f"{room}/db", {"n": 1})
    role_id, _ = vault.add_approle(room, policies=[room])
    client = open_client(AppRoleAuth(role_id, "not needed"))
    once = wrapped("GET", f"secret/data/{room}/db")
    assert client.call("unwrap", once) == {"n": 1}
    with pytest.raises(VaultAuthError) as raised:
        client.call("unwrap", once)
    assert once not in repr(raised.value)
    secret_id = wrapped("POST", f"auth/approle/role/{room}/secret-id")
    by_wrapped = open_client(AppRoleAuth(role_id, secret_id, secret_id_wrapped=True))
    assert by_wrapped.get(f"{room}/db") == {"n": 1}
    vault.revoke_logins("approle")
    assert by_wrapped.get(f"{room}/db", use_cache=False) == {"n": 1}


def test_a_secret_id_is_read_from_its_file_at_each_login(
    vault: Vault, room: str, open_client: Opener, tmp_path: Path
) -> None:
    vault.put(f"{room}/db", {"n": 1})
    role_id, first = vault.add_approle(room, policies=[room])
    file = tmp_path / "secret-id"
    file.write_text(first + "\n")
    client = open_client(AppRoleAuth(role_id, file))
    assert client.get(f"{room}/db") == {"n": 1}
    vault.call("POST", f"auth/approle/role/{room}/secret-id/destroy", {"secret_id": first})
    vault.revoke_logins("approle")
    with pytest.raises(VaultAuthError):
        client.get(f"{room}/db", use_cache=False)
    file.write_text(vault.add_approle(room, policies=[room])[1] + "\n")
    assert client.get(f"{room}/db", use_cache=False) == {"n": 1}


class Issuer:
    """Signs tokens as an identity provider or a cluster does."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_key = public.decode()

    def sign(self, claims: Mapping[str, object], lifetime_seconds: float = 600) -> str:
        now = int(time.time())
        parts: list[object] = [{"alg": "ES256", "typ": "JWT"}, {"iat": now, "exp": now + lifetime_seconds, **claims}]
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return (signed + b"." + _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture
def mount(vault: Vault, room: str) -> Iterator[str]:
    """Where a login of one's own can be mounted."""
    yield room
    vault.call("DELETE", f"sys/auth/{room}")


def test_a_jwt_is_read_from_its_file_at_each_login(
    vault: Vault, room: str, mount: str, open_client: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issuer, stranger = Issuer(), Issuer()
    shop = {"sub": "shop", "aud": "vault"}
    vault.put(f"{room}/db", {"n": 1})
    vault.call("POST", f"sys/auth/{mount}", {"type": "jwt"})
    vault.call("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [issuer.public_key]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": [room]}
    vault.call("POST", f"auth/{mount}/role/shop", role)
    file = tmp_path / "token"
    file.write_text(issuer.sign(shop) + "\n")
    auth = JwtAuth("shop", file, mount_point=mount)
    client = open_client(auth)
    assert client.get(f"{room}/db") == {"n": 1}
    refused = [
        stranger.sign(shop),
        issuer.sign({**shop, "aud": "others"}),
        issuer.sign(shop, -3600),
    ]
    for jwt in refused:
        file.write_text(jwt)
        vault.call("POST", f"sys/leases/revoke-prefix/auth/{mount}")
        with pytest.raises(VaultAuthError, match=f"jwt login at 'auth/{mount}' was refused") as raised:
            client.get(f"{room}/db", use_cache=False)
        assert jwt not in f"{raised.value!r} {auth!r} {caplog.text}"
    file.write_text(issuer.sign(shop))
    assert client.get(f"{room}/db", use_cache=False) == {"n": 1}


def test_a_pod_logs_in_with_the_token_of_its_service_account(
    vault: Vault, room: str, mount: str, open_client: Opener, tmp_path: Path
) -> None:
    """Vault asks the cluster who it is: here one that knows a single token."""
    orders = {"namespace": "shop", "serviceaccount": {"name": "orders", "uid": "1"}}
    claims = {"sub": "system:serviceaccount:shop:orders", "kubernetes.io": orders}
    jwt = Issuer().sign(claims)

    class Cluster(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = self.path == "/apis/authentication.k8s.io/v1/tokenreviews" and asked["spec"]["token"] == jwt
            user = {"username": "system:serviceaccount:shop:orders", "uid": "1"}
            body = json.dumps({**asked, "status": {"authenticated": known, "user": user}}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    vault.put(f"{room}/db", {"n": 1})
    file = tmp_path / "token"
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Cluster) as cluster:
        cluster.socket = context.wrap_socket(cluster.socket, server_side=True)
        thread = threading.Thread(target=cluster.serve_forever)
        thread.start()
        try:
            vault.call("POST", f"sys/auth/{mount}", {"type": "kubernetes"})
            settings = {
                "kubernetes_host": f"https://127.0.0.1:{cluster.server_port}",
                "kubernetes_ca_cert": ca.cert_pem.bytes().decode(),
                "disable_local_ca_jwt": True,
            }
            vault.call("POST", f"auth/{mount}/config", settings)
            bound = {"bound_service_account_names": ["orders"], "bound_service_account_namespaces": ["shop"]}
            vault.call("POST", f"auth/{mount}/role/shop", {**bound, "token_policies": [room]})
            file.write_text(Issuer().sign(claims))
            client = open_client(KubernetesAuth("shop", file, mount_point=mount))
            with pytest.raises(VaultAuthError, match=f"kubernetes login at 'auth/{mount}' was refused"):
                client.get(f"{room}/db")
            file.write_text(jwt)
            assert client.get(f"{room}/db") == {"n": 1}
        finally:
            cluster.shutdown()
            thread.join()


def test_what_this_client_wrote_is_not_read_old(vault: Vault, room: str, open_client: Opener) -> None:
    client = open_client(approle(vault, room))
    client.put(f"{room}/mine", {"n": 1})
    assert client.get(f"{room}/mine") == {"n": 1}
    client.put(f"{room}/mine", {"n": 2})
    assert client.get(f"{room}/mine") == {"n": 2}


def test_engine_without_versions_is_found_out(vault: Vault, room: str, open_client: Opener) -> None:
    client = open_client(approle(vault, room), mount_point="plain")
    client.put(f"{room}/db", {"n": 1, "data": {"n": 2}})
    assert vault.call("GET", f"plain/{room}/db")["data"] == {"n": 1, "data": {"n": 2}}
    assert client.get(f"{room}/db") == {"n": 1, "data": {"n": 2}}
    client.delete(f"{room}/db")
    with pytest.raises(VaultSecretNotFoundError):
        client.get(f"{room}/db")


@pytest.mark.parametrize("mount_point", ["secret", "plain"])
def test_listing_shows_names_and_folders(vault: Vault, room: str, open_client: Opener, mount_point: str) -> None:
    client = open_client(approle(vault, room), mount_point=mount_point)
    for name in ("b", "a", "deep/c"):
        client.put(f"{room}/{name}", {"n": 1})
    assert sorted(client.list(room)) == ["a", "b", "deep/"]
    assert client.list(f"{room}/deep/") == ["c"]
    with pytest.raises(VaultSecretNotFoundError):
        client.list(f"{room}/nothing")


def test_policy_that_denies_is_told_as_such(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put("elsewhere/db", {"n": 1})
    vault.put(f"{room}/db", {"n": 2})
    client = open_client(approle(vault, room))
    with pytest.raises(VaultPermissionError) as raised:
        client.get("elsewhere/db")
    assert (raised.value.path, raised.value.status, raised.value.retriable) == ("elsewhere/db", 403, False)
    with pytest.raises(VaultPermissionError):
        client.put("elsewhere/db", {"n": 3})
    # The token is good, so there was no reason to get another one.
    assert client.told.count("vault.auth.success") == 1
    assert client.get(f"{room}/db") == {"n": 2}
    assert vault.call("GET", "secret/data/elsewhere/db")["data"]["data"] == {"n": 1}


def test_token_is_renewed_before_it_expires(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room, token_ttl_seconds=2))

    def renewed() -> bool:
        assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
        return client.told.count("vault.token.renewed") >= 2

    client.until(renewed, "the second renewal")
    assert client.told.count("vault.auth.success") == 1


def test_token_past_its_greatest_age_is_replaced(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room, token_ttl_seconds=1, token_max_ttl_seconds=1))

    def replaced() -> bool:
        assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
        return client.told.count("vault.auth.success") >= 3

    client.until(replaced, "the third login")
    assert client.told.count("vault.secret.error") == 0


def test_token_that_ended_unseen_costs_one_login(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room))
    client.get(f"{room}/db")
    vault.revoke_logins("approle")
    assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
    assert client.told.count("vault.auth.success") == 2
    assert client.told.count("vault.secret.error") == 0


def test_dead_token_that_cannot_be_had_anew_is_told_and_not_shown(
    vault: Vault, room: str, open_client: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vault.put(f"{room}/db", {"n": 1})
    given = vault.make_token(policies=[room], ttl_seconds=1, renewable=False)
    client = open_client(TokenAuth(given))
    assert client.get(f"{room}/db") == {"n": 1}
    client.until(lambda: is_dead(vault, given), "the end of the token")
    with pytest.raises(VaultAuthError) as raised:
        client.get(f"{room}/db", use_cache=False)
    for said in (str(raised.value), repr(raised.value), caplog.text):
        assert given not in said


def is_dead(vault: Vault, given: str) -> bool:
    try:
        vault.lookup(given)
    except ServerFailed:
        return True
    return False


def test_sealed_vault_is_told_and_the_cache_goes_on(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room))
    client.get(f"{room}/db")
    vault.seal()
    try:
        with pytest.raises(VaultConnectionError) as raised:
            client.get(f"{room}/db", use_cache=False)
        assert (raised.value.status, raised.value.retriable) == (503, True)
        assert client.get(f"{room}/db") == {"n": 1}
        with pytest.raises(VaultConnectionError):
            open_client(approle_known(room)).get(f"{room}/db")
    finally:
        vault.unseal()
    assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
    assert client.told.count("vault.auth.success") == 1


def approle_known(room: str) -> AppRoleAuth:
    """Whoever logs in while the vault is sealed: nobody looks at the credentials."""
    return AppRoleAuth(room, "any")


def after(began: threading.Event, do: Callable[[], None]) -> threading.Thread:
    """Does it in a thread once the event is set."""

    def wait_and_do() -> None:
        began.wait()
        do()

    thread = threading.Thread(target=wait_and_do)
    thread.start()
    return thread


def test_retries_outlast_a_seal(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room), retry_policy=(policy := LongRetryPolicy()))
    client.get(f"{room}/db")
    vault.seal()
    opener = after(policy.began, vault.unseal)
    try:
        assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
    finally:
        policy.began.set()
        opener.join()


def test_restart_is_an_outage_and_no_new_login(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room))
    client.get(f"{room}/db")
    vault.stop()
    try:
        with pytest.raises(VaultConnectionError) as raised:
            client.get(f"{room}/db", use_cache=False)
        assert raised.value.retriable
        assert client.get(f"{room}/db") == {"n": 1}
    finally:
        vault.start()
    assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
    assert client.told.count("vault.auth.success") == 1


def test_retries_outlast_a_crash(vault: Vault, room: str, open_client: Opener) -> None:
    vault.put(f"{room}/db", {"n": 1})
    client = open_client(approle(vault, room), retry_policy=(policy := LongRetryPolicy()))
    client.get(f"{room}/db")
    vault.kill()
    starter = after(policy.began, vault.start)
    try:
        assert client.get(f"{room}/db", use_cache=False) == {"n": 1}
    finally:
        policy.began.set()
        starter.join()
    assert client.told.count("vault.secret.error") == 0
    assert client.told.count("vault.auth.success") == 1
