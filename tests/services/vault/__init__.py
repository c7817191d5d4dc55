"""A Vault of its own for each who enters it: initialised, unsealed, with storage in files.

    with Vault() as vault:
        vault.put("app/database", {"password": "s3cret"})
        vault.write_policy("app", {"secret/data/app/*": ["read"]})
        role_id, secret_id = vault.add_approle("app", policies=["app"])

``secret/`` is a key/value engine of version 2, ``plain/`` one of version 1; AppRole and userpass are enabled, JWT and
Kubernetes can be. The binary is `vault` or `bao` from the path, or is built from the sources in this folder: Vault's
core and little else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.services.install import install
from tests.services.process import LOOPBACK, Server, http_json, http_ready, wait_until

__all__ = ["Vault"]


class Vault(Server):
    """One server. What it keeps survives ``restart`` and ``kill``; ``start`` unseals it."""

    name = "vault"

    def __init__(self) -> None:
        super().__init__()
        self._binary = install("vault")["vault"]
        self._port = 0
        self._unseal_key = ""
        self._root_token = ""

    @property
    def port(self) -> int:
        """The loopback port of its HTTP API."""
        return self._port

    @property
    def url(self) -> str:
        """``http://host:port``, without a final slash."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def root_token(self) -> str:
        """The token that may do everything, and does not expire."""
        return self._root_token

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, token: str | None = None
    ) -> Any:
        """One request below ``/v1/``, as root unless a token is given; raises ``ServerFailed`` for a refusal."""
        return http_json(self._port, method, f"/v1/{path}", body, {"X-Vault-Token": token or self._root_token})

    def put(self, path: str, data: Mapping[str, object]) -> int:
        """Write a secret below ``secret/``; returns its version, from 1."""
        version: int = self.call("POST", f"secret/data/{path}", {"data": data})["data"]["version"]
        return version

    def put_plain(self, path: str, data: Mapping[str, object]) -> None:
        """Write a secret below ``plain/``, which keeps no versions."""
        self.call("POST", f"plain/{path}", data)

    def write_policy(self, name: str, rules: Mapping[str, Sequence[str]]) -> None:
        """Make or replace a policy: path -> capabilities."""
        policy = {"path": {path: {"capabilities": list(granted)} for path, granted in rules.items()}}
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": json.dumps(policy)})

    def add_approle(
        self, name: str, *, policies: Sequence[str], token_ttl_seconds: int = 3600, token_max_ttl_seconds: int = 0
    ) -> tuple[str, str]:
        """Make a role; returns its role id and a secret id. A maximum of 0 is the server's own."""
        role = f"auth/approle/role/{name}"
        self.call("POST", role, _tokens(policies, token_ttl_seconds, token_max_ttl_seconds))
        role_id: str = self.call("GET", f"{role}/role-id")["data"]["role_id"]
        secret_id: str = self.call("POST", f"{role}/secret-id")["data"]["secret_id"]
        return role_id, secret_id

    def add_user(
        self,
        name: str,
        password: str,
        *,
        policies: Sequence[str],
        token_ttl_seconds: int = 3600,
        token_max_ttl_seconds: int = 0,
    ) -> None:
        """Make a user, or change one. A maximum of 0 is the server's own."""
        settings = _tokens(policies, token_ttl_seconds, token_max_ttl_seconds)
        self.call("POST", f"auth/userpass/users/{name}", {"password": password, **settings})

    def make_token(
        self, *, policies: Sequence[str], ttl_seconds: int = 3600, renewable: bool = True, max_ttl_seconds: int = 0
    ) -> str:
        """Make a token that expires unless it is renewed. A maximum of 0 is the server's own."""
        wanted = {
            "policies": list(policies),
            "ttl": f"{ttl_seconds}s",
            "renewable": renewable,
            "explicit_max_ttl": f"{max_ttl_seconds}s",
        }
        token: str = self.call("POST", "auth/token/create", wanted)["auth"]["client_token"]
        return token

    def lookup(self, token: str) -> dict[str, Any]:
        """What the server knows of a token; raises ``ServerFailed`` when it is not valid, or no longer."""
        known: dict[str, Any] = self.call("GET", "auth/token/lookup-self", token=token)["data"]
        return known

    def revoke(self, token: str) -> None:
        """End a token now."""
        self.call("POST", "auth/token/revoke", {"token": token})

    def revoke_logins(self, method: str) -> None:
        """End every token that was given to a login by ``approle`` or ``userpass``."""
        self.call("PUT", f"sys/leases/revoke-prefix/auth/{method}/login")

    def seal(self) -> None:
        """Have it answer 503 to all but its own state, until ``unseal``."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Have it answer again."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        # Both engines are set up after the seal is open.
        wait_until(lambda: http_ready(self._port, "/v1/sys/health"), what="the unsealed vault to be active")

    def wait_ready(self) -> None:
        super().wait_ready()
        if self._unseal_key:
            self.unseal()
        else:
            self._initialise()

    def _initialise(self) -> None:
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        [self._unseal_key] = made["keys"]
        self._root_token = made["root_token"]
        self.unseal()
        self.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self.call("POST", "sys/mounts/plain", {"type": "kv", "options": {"version": "1"}})
        for method in ("approle", "userpass"):
            self.call("POST", f"sys/auth/{method}", {"type": method})
        # Version 2 is prepared beside the answer, and refuses meanwhile.
        headers = {"X-Vault-Token": self._root_token}
        wait_until(lambda: http_ready(self._port, "/v1/secret/config", headers), what="the engine at secret/")

    def _prepare(self) -> None:
        self._port = self._lease_port()
        configuration = {
            "storage": {"file": {"path": str(self.folder / "data")}},
            "listener": [{"tcp": {"address": f"{LOOPBACK}:{self._port}", "tls_disable": True}}],
            "api_addr": self.url,
            # A lock on memory is not everybody's to take, and protects nothing here.
            "disable_mlock": True,
        }
        (self.folder / "vault.json").write_text(json.dumps(configuration))

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, "server", "-config=vault.json"]

    def _is_ready(self) -> bool:
        return http_ready(self._port, "/v1/sys/init")


def _tokens(policies: Sequence[str], ttl_seconds: int, max_ttl_seconds: int) -> dict[str, object]:
    return {
        "token_policies": list(policies),
        "token_ttl": f"{ttl_seconds}s",
        "token_max_ttl": f"{max_ttl_seconds}s",
    }
