"""The package by itself: without gds-telemetry, without aiohttp, and when it is merely imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gds_vault
from gds_vault.testing import VaultServer

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_both_clients_work_without_gds_telemetry(server: VaultServer) -> None:
    program = (
        BLOCKED.format(blocked={"gds_metrics", "gds_kafka", "gds_native", "gds_cli"})
        + """
import asyncio
from gds_vault import AppRoleAuth, AsyncVaultClient, VaultClient

with VaultClient(sys.argv[1], AppRoleAuth("role", "secret-id")) as client:
    print(client.get_secret("app/database")["password"])

async def main():
    async with AsyncVaultClient(sys.argv[1], AppRoleAuth("role", "secret-id")) as client:
        print((await client.get_secret("app/database"))["password"])

asyncio.run(main())
assert not {"gds_metrics", "gds_kafka", "gds_native"} & set(sys.modules)
"""
    )
    done = run(program, server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hunter2\nhunter2\n", "")


def test_without_aiohttp_the_other_client_works_and_this_one_says_what_to_install(server: VaultServer) -> None:
    program = (
        BLOCKED.format(blocked={"aiohttp", "yarl"})
        + """
from gds_vault import *

with VaultClient(sys.argv[1], AppRoleAuth("role", "secret-id")) as client:
    print(client.get_secret("app/database")["password"])
try:
    AsyncVaultClient(sys.argv[1], AppRoleAuth("role", "secret-id"))
except ImportError as error:
    print(error)
"""
    )
    done = run(program, server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "hunter2\nAsyncVaultClient needs aiohttp; pip install 'gds-vault[async]'\n"


def test_an_import_loads_no_client_and_starts_nothing() -> None:
    program = """
import sys, threading
import gds_vault
assert not {"hvac", "requests", "aiohttp", "asyncio", "logging"} & set(sys.modules), sys.modules.keys()
assert threading.active_count() == 1
assert set(gds_vault.__all__) <= set(dir(gds_vault))
"""
    assert run(program).stderr == ""


def test_every_public_name_is_there_and_documented() -> None:
    for name in gds_vault.__all__:
        assert getattr(gds_vault, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Vault'"):
        _ = gds_vault.Vault
