"""A server for each test, and clients of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gds_vault import AppRoleAuth
from gds_vault._settings import VARIABLES
from gds_vault.testing import VaultServer
from tests.vault.doubles import KINDS, QUICK, Driven

Connect = Callable[..., Driven]


@pytest.fixture(autouse=True)
def _no_vault_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(leased_port: int) -> Iterator[VaultServer]:
    """A Vault with one secret and one AppRole; its port stays its own while it is stopped."""
    with VaultServer(port=leased_port) as server:
        server.put("app/database", {"username": "shop", "password": "hunter2"})
        server.add_approle("role", "secret-id", token_ttl_seconds=300)
        yield server


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest, server: VaultServer) -> Iterator[Connect]:
    """Makes clients of one kind; each test runs with all of them."""
    made: list[Driven] = []

    def connect(auth: Any = None, **settings: Any) -> Driven:
        settings = {"vault_addr": server.url, "retry_policy": QUICK, **settings}
        made.append(Driven(request.param, auth=auth or AppRoleAuth("role", "secret-id"), **settings))
        return made[-1]

    yield connect
    for each in made:
        each.dispose()
