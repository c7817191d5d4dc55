"""Reading and writing secrets, with every kind of mount, by both clients."""

from __future__ import annotations

from contextlib import suppress

import pytest

from gds_vault import (
    TokenAuth,
    VaultConfigurationError,
    VaultConflictError,
    VaultConnectionError,
    VaultError,
    VaultPermissionError,
    VaultSecretNotFoundError,
)
from gds_vault.testing import VaultServer
from tests.vault.conftest import Connect


def test_a_secret_is_read(connect: Connect) -> None:
    assert connect().get_secret("app/database") == {"username": "shop", "password": "hunter2"}


def test_what_is_written_is_read_back_listed_and_deleted(connect: Connect) -> None:
    client = connect()
    client.put_secret("team/key", {"value": "a", "deep": {"list": [1, None, True]}})
    assert client.get_secret("team/key") == {"value": "a", "deep": {"list": [1, None, True]}}
    assert client.list_secrets("") == ["app/", "team/"]
    assert client.list_secrets("team") == ["key"]
    client.delete_secret("team/key")
    with pytest.raises(VaultSecretNotFoundError, match="version 1 was deleted") as raised:
        client.get_secret("team/key")
    assert (raised.value.path, raised.value.status) == ("team/key", 404)


def test_versions_are_read_by_their_number(connect: Connect, server: VaultServer) -> None:
    client = connect()
    server.put("app/database", {"password": "second"})
    assert client.get_secret("app/database", version=1)["password"] == "hunter2"
    assert client.get_secret("app/database", version=2) == client.get_secret("app/database") == {"password": "second"}
    with pytest.raises(VaultSecretNotFoundError, match="of version 3"):
        client.get_secret("app/database", version=3)
    server.delete("app/database")
    with pytest.raises(VaultSecretNotFoundError, match="version 2 was deleted"):
        client.get_secret("app/database", version=2, use_cache=False)


def test_check_and_set_lets_one_of_two_writers_win(connect: Connect, server: VaultServer) -> None:
    client = connect()
    assert client.put_secret("counted", {"n": 1}, cas=0) == 1
    with pytest.raises(VaultConflictError, match=r"did not match.*decide anew") as raised:
        client.put_secret("counted", {"n": 2}, cas=0)
    assert (raised.value.path, raised.value.status, raised.value.retriable) == ("counted", 400, False)
    assert (client.put_secret("counted", {"n": 2}, cas=1), client.put_secret("counted", {"n": 3})) == (2, 3)
    assert client.get_secret("counted") == {"n": 3}
    for wrong in (-1, True, "1", 1.0):
        with pytest.raises(VaultConfigurationError, match="cas"):
            client.put_secret("counted", {}, cas=wrong)


def test_a_patch_changes_what_it_names(connect: Connect, server: VaultServer) -> None:
    client = connect()
    assert client.get_secret("app/database")["password"] == "hunter2"
    assert client.patch_secret("app/database", {"password": "new", "extra": {"a": 1}}) == 2
    assert client.get_secret("app/database") == {"username": "shop", "password": "new", "extra": {"a": 1}}
    assert client.patch_secret("app/database", {"extra": None}, cas=2) == 3
    assert client.get_secret("app/database") == {"username": "shop", "password": "new"}
    with pytest.raises(VaultConflictError):
        client.patch_secret("app/database", {"password": "x"}, cas=2)
    with pytest.raises(VaultSecretNotFoundError):
        client.patch_secret("nothing", {"a": "b"})


def test_without_versions_there_is_no_patch_and_no_check(connect: Connect, server: VaultServer) -> None:
    server.mount("old", kv_version=1)
    client = connect(mount_point="old")
    assert client.put_secret("app", {"a": "b"}) is None
    with pytest.raises(VaultConfigurationError, match=r"patch_secret: the mount 'old' is not KV version 2"):
        client.patch_secret("app", {})
    with pytest.raises(VaultConfigurationError, match="cas=1: the mount 'old' is not KV version 2"):
        client.put_secret("app", {}, cas=1)
    assert client.get_secret("app") == {"a": "b"}


def test_version_1_of_kv_is_found_out(connect: Connect, server: VaultServer) -> None:
    server.mount("old", kv_version=1)
    server.put("app", {"password": "plain"}, mount="old")
    client = connect(mount_point="old")
    assert client.get_secret("app") == {"password": "plain"}
    client.put_secret("folder/more", {"a": "b"})
    assert client.get_secret("folder/more") == {"a": "b"}
    assert client.list_secrets("") == ["app", "folder/"]
    client.delete_secret("app")
    with pytest.raises(VaultSecretNotFoundError):
        client.get_secret("app")
    with pytest.raises(VaultConfigurationError, match="keeps no versions"):
        client.get_secret("folder/more", version=1)


def test_the_version_of_the_mount_is_asked_for_once(connect: Connect, server: VaultServer) -> None:
    client = connect()
    for path in ("app/database", "nothing", "none"):
        with suppress(VaultSecretNotFoundError):
            client.get_secret(path)
    assert [path for _, path in server.calls if "mounts" in path] == ["sys/internal/ui/mounts/secret"]


def test_a_mount_that_does_not_tell_is_taken_for_version_2(connect: Connect, server: VaultServer) -> None:
    server.deny("sys/internal")
    client = connect()
    assert client.get_secret("app/database")["username"] == "shop"
    assert client.get_secret("app/database", use_cache=False)["username"] == "shop"
    assert [path for _, path in server.calls if "mounts" in path] == ["sys/internal/ui/mounts/secret"]


def test_the_version_of_the_mount_can_be_set(connect: Connect, server: VaultServer) -> None:
    server.mount("old", kv_version=1)
    server.put("app", {"password": "plain"}, mount="old")
    assert connect(mount_point="old", config={"kv_version": 1}).get_secret("app") == {"password": "plain"}
    assert not [path for _, path in server.calls if "mounts" in path]


def test_other_engines_are_read_too(connect: Connect, server: VaultServer) -> None:
    server.lease("creds/app", {"username": "v-1", "password": "x"}, lease_seconds=60, mount="database")
    assert connect(mount_point="database").get_secret("creds/app") == {"username": "v-1", "password": "x"}


def test_a_denied_path_says_so_and_leads_to_no_login(connect: Connect, server: VaultServer) -> None:
    server.deny("forbidden/")
    server.put("forbidden/x", {"a": "b"})
    client = connect()
    for _ in range(3):
        with pytest.raises(VaultPermissionError) as raised:
            client.get_secret("forbidden/x")
        assert (raised.value.path, raised.value.status, raised.value.retriable) == ("forbidden/x", 403, False)
    assert [path for _, path in server.calls].count("auth/approle/login") == 1


@pytest.mark.parametrize(
    "path", ["", "/", "a//b", "../sys/seal", "a/../b", "a/./b", "a\nb", "a\x00", 7, None, [], "x" * 600]
)
def test_a_path_that_cannot_be_is_refused_before_anything_is_sent(
    connect: Connect, server: VaultServer, path: object
) -> None:
    client = connect()
    for call in (client.get_secret, client.delete_secret, lambda path: client.put_secret(path, {})):
        with pytest.raises(VaultConfigurationError, match="path"):
            call(path)
    assert server.requests == 0


@pytest.mark.parametrize("path", ["with space", "käse/brot", "a?b=c", "a#b", "a%2Fb", "a+b&c", "/slashes/at/ends/"])
def test_unusual_paths_arrive_as_they_are(connect: Connect, server: VaultServer, path: str) -> None:
    client = connect()
    client.put_secret(path, {"a": "b"})
    assert ("POST", f"secret/data/{path.strip('/')}") in server.calls
    assert client.get_secret(path) == {"a": "b"}


@pytest.mark.parametrize("data", [None, [], "text", {"a": float("nan")}, {"a": object()}, {"a": b"bytes"}])
def test_what_json_cannot_hold_is_refused_and_not_shown(connect: Connect, server: VaultServer, data: object) -> None:
    with pytest.raises(VaultConfigurationError, match="data: expected") as raised:
        connect().put_secret("app", data)
    assert "object at" not in str(raised.value)
    assert server.requests == 0


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0])
def test_a_version_that_cannot_be_is_refused(connect: Connect, version: object) -> None:
    with pytest.raises(VaultConfigurationError, match="version"):
        connect().get_secret("app/database", version=version, use_cache=False)


def test_what_is_handed_out_is_the_callers_own(connect: Connect) -> None:
    client = connect()
    client.put_secret("deep", {"list": [{"a": 1}]})
    for _ in range(3):
        secret = client.get_secret("deep")
        assert secret == {"list": [{"a": 1}]}
        secret["list"][0]["a"] = 2
        secret["list"].append("more")


def test_a_refusal_that_has_no_other_name_is_a_vault_error(connect: Connect, server: VaultServer) -> None:
    client = connect(TokenAuth(server.root_token))
    client.get_secret("app/database")
    server.fail(1, status=405)
    with pytest.raises(VaultError, match="refused with 405") as raised:
        client.get_secret("app/database", use_cache=False)
    assert type(raised.value) is VaultError
    assert raised.value.status == 405


def test_a_closed_client_says_so(connect: Connect) -> None:
    client = connect()
    client.get_secret("app/database")
    client.close()
    client.close()
    for use_cache in (True, False):
        with pytest.raises(VaultError, match="closed"):
            client.get_secret("app/database", use_cache=use_cache)
    with pytest.raises(VaultError, match="closed"):
        client.put_secret("app/database", {})


def test_what_is_no_vault_is_told_from_one(connect: Connect) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as page:
        thread = threading.Thread(target=page.serve_forever)
        thread.start()
        try:
            client = connect(TokenAuth("hvs.x"), vault_addr=f"http://127.0.0.1:{page.server_port}")
            with pytest.raises(VaultConnectionError, match="something else"):
                client.get_secret("app")
        finally:
            page.shutdown()
            thread.join()
