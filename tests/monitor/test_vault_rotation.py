"""Credentials in a real Vault that change while a real PostgreSQL is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gds_monitor.base import BaseMonitor, MonitoringResult
from gds_monitor.collectors.postgresql import PostgreSQLCollector
from gds_monitor.secrets import Credentials, SharedVault
from gds_vault import TokenAuth, VaultClient
from tests.monitor.postgresql import backends, unique
from tests.monitor.small_pack import small
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until
from tests.services.vault import Vault

pytestmark = pytest.mark.anyio

CANARY = "Hunter2-canary"


@pytest.fixture
def client(vault: Vault) -> Iterator[VaultClient]:
    with VaultClient(vault.url, TokenAuth(vault.root_token)) as client:
        yield client


def role_of(server: PostgreSQL, password: str) -> str:
    name = unique("rotated")
    server.ask(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    server.ask(f"GRANT pg_read_all_stats TO {name}")
    return name


def collector_of(server: PostgreSQL, client: VaultClient, **credentials: str) -> PostgreSQLCollector:
    address = f"postgresql://127.0.0.1:{server.port}/postgres"
    return PostgreSQLCollector(
        {"url": address, **credentials}, packs=[small()], databases=[], vault=SharedVault(client)
    )


async def cycle(collector: PostgreSQLCollector) -> MonitoringResult:
    result = await BaseMonitor(collector).run_monitoring_cycle()
    assert CANARY not in repr(result) + repr(collector.get_metadata())
    return result


async def test_a_rotated_password_is_read_when_the_old_one_is_refused_and_no_cycle_is_lost(
    postgresql: PostgreSQL, vault: Vault, client: VaultClient
) -> None:
    role, secret = role_of(postgresql, f"{CANARY}-1"), unique("rotation")
    vault.put(secret, {"password": f"{CANARY}-1"})
    collector = collector_of(postgresql, client, user=role, password=f"vault://{secret}#password")
    refusals = f'password authentication failed for user "{role}"'
    try:
        assert (await cycle(collector)).success
        for number in (2, 3):
            postgresql.ask(f"ALTER ROLE {role} PASSWORD '{CANARY}-{number}'")
            vault.put(secret, {"password": f"{CANARY}-{number}"})
            # Who is in stays in.
            assert (await cycle(collector)).success
            assert collector.session.connections == number - 1
            for pid, _ in backends(postgresql):
                postgresql.ask(f"SELECT pg_terminate_backend({pid})")
            wait_until(lambda: not backends(postgresql), what="the session to end")
            lost = await cycle(collector)
            result = lost if lost.success else await cycle(collector)
            assert result.success, result.reasons
            assert collector.session.connections == number
            # One try with what was in the cache; an account is not locked.
            assert postgresql.log().count(refusals) == number - 1
    finally:
        await collector.close()


async def test_a_password_that_nobody_rotated_in_vault_is_tried_no_more_until_it_is(
    postgresql: PostgreSQL, vault: Vault, client: VaultClient
) -> None:
    role, secret = role_of(postgresql, f"{CANARY}-new"), unique("rotation")
    vault.put(secret, {"password": f"{CANARY}-old"})
    collector = collector_of(postgresql, client, user=role, password=f"vault://{secret}#password")
    refusals = f'password authentication failed for user "{role}"'
    try:
        assert (await cycle(collector)).reasons == {"authentication": 1}
        assert (await cycle(collector)).reasons == {"authentication_backoff": 1}
        assert (await cycle(collector)).reasons == {"authentication_backoff": 1}
        assert postgresql.log().count(refusals) == 1
        assert f"{CANARY}-old" not in postgresql.log()
        vault.put(secret, {"password": f"{CANARY}-new"})
        assert (await cycle(collector)).success
        assert postgresql.log().count(refusals) == 1
    finally:
        await collector.close()


async def test_credentials_are_read_again_before_their_lease_ends_and_none_is_refused(
    postgresql: PostgreSQL, vault: Vault
) -> None:
    first, second = role_of(postgresql, f"{CANARY}-1"), role_of(postgresql, f"{CANARY}-2")
    secret = unique("leased")
    # Vault says of it that it is good for a second.
    vault.put_plain(secret, {"user": first, "password": f"{CANARY}-1", "ttl": "1s"})
    path = f"vault://{secret}"
    plain = VaultClient(vault.url, TokenAuth(vault.root_token), mount_point="plain")
    collector = collector_of(postgresql, plain, user=f"{path}#user", password=f"{path}#password")
    try:
        assert (await cycle(collector)).success

        def who() -> list[str]:
            found = postgresql.ask("SELECT usename FROM pg_stat_activity WHERE application_name = 'gds_monitor'")
            return [str(name) for (name,) in found]

        assert who() == [first]
        vault.put_plain(secret, {"user": second, "password": f"{CANARY}-2", "ttl": "1h"})

        async def changed() -> None:
            while collector.session.connections == 1:
                assert (await cycle(collector)).success

        await asyncio.wait_for(changed(), 60)
        wait_until(lambda: who() == [second], what="the connection with what is in Vault now")
        assert "authentication failed" not in "".join(
            line for line in postgresql.log().splitlines() if first in line or second in line
        )
    finally:
        await collector.close()
        plain.close()


async def test_user_and_password_of_credentials_made_for_each_who_asks_belong_together() -> None:
    class Making:
        """As Vault's engines for databases: whoever asks gets others."""

        asked = 0

        def get_secret(self, path: str, use_cache: bool = True) -> dict[str, Any]:
            self.asked += 1
            return {"username": f"user-{self.asked}", "password": f"password-{self.asked}"}

    path = "vault://database/creds/watcher"
    credentials = Credentials(
        {"url": "postgresql://db1/postgres", "user": f"{path}#username", "password": f"{path}#password"},
        SharedVault(Making()),
    )
    assert await credentials.current() == ("user-1", "password-1")
    assert await credentials.renewed()
    assert credentials.resolved().user == "user-2"
    assert credentials.resolved().password == "password-2"
