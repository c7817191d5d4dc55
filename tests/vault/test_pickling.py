"""Clients and caches belong to their process, and say so; what they are made of does not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from gds_vault import (
    AppRoleAuth,
    AsyncVaultClient,
    NoOpCache,
    RetryPolicy,
    RotationAwareCache,
    SecretCache,
    TokenAuth,
    TTLCache,
    VaultClient,
)
from gds_vault.enhanced_vault import EnhancedVaultClient
from gds_vault.legacy.vault import VaultClient as FirstVaultClient

ADDRESS = "http://127.0.0.1:9"


class OwnClient(VaultClient):
    """Of a program."""


PINNED: dict[str, Callable[[], Any]] = {
    "VaultClient": lambda: VaultClient(ADDRESS, TokenAuth("hunter2")),
    "OwnClient": lambda: OwnClient(ADDRESS, TokenAuth("hunter2")),
    "AsyncVaultClient": lambda: AsyncVaultClient(ADDRESS, TokenAuth("hunter2")),
    "EnhancedVaultClient": lambda: EnhancedVaultClient(ADDRESS, "role", "hunter2"),
    "SecretCache": SecretCache,
    "TTLCache": TTLCache,
    "RotationAwareCache": RotationAwareCache,
}


@pytest.mark.parametrize("name", PINNED)
@pytest.mark.parametrize("send", [pickle.dumps, copy.deepcopy])
def test_what_belongs_to_its_process_says_so(name: str, send: Callable[[Any], Any]) -> None:
    with pytest.raises(
        TypeError, match=f"^cannot pickle {name}: it belongs to the process that made it; make one in each"
    ):
        send(PINNED[name]())


def test_the_first_client_says_so_too() -> None:
    with pytest.raises(TypeError, match=r"^cannot pickle VaultClient: it belongs to the process"):
        pickle.dumps(FirstVaultClient(ADDRESS, "role", "hunter2"))


@pytest.mark.parametrize("one", [NoOpCache(), RetryPolicy(2), TokenAuth("hunter2"), AppRoleAuth("role", "hunter2")])
def test_what_a_client_is_made_of_is_sent(one: Any) -> None:
    assert type(pickle.loads(pickle.dumps(one))) is type(one)
