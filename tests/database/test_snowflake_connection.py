"""What a connection to Snowflake does for programs that use it without an engine; on what stands in for Snowflake."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest

from gds_database import ConfigurationError
from gds_database.config import EngineConfig
from gds_database.engines.snowflake import SnowflakeConnection
from tests.services.snowflake import Snowflake
from tests.services.toxiproxy import Toxiproxy

CANARY = "Canary-5n0w"


def connection_of(server: Snowflake, account: str | None = None, **more: object) -> SnowflakeConnection:
    given = {**server.arguments, **more}
    own = given.pop("account")
    return SnowflakeConnection(account or own, given.pop("user"), config={"password": CANARY, **given})


def test_connectivity_is_told_with_whose_session_it_is(snowflake: Snowflake) -> None:
    connection = connection_of(snowflake)
    told = connection.test_connectivity(20)
    assert (told["success"], told["error"]) == (True, None)
    assert told["response_time_ms"] > 0
    assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
    assert set(told["account_info"]) == {
        *("account_name", "current_user", "current_role", "current_warehouse", "current_database"),
        *("snowflake_version", "region"),
    }
    assert not connection.is_connected()


def test_account_that_cannot_be_reached_is_told_and_not_raised(snowflake: Snowflake, leased_port: int) -> None:
    told = connection_of(snowflake, port=leased_port).test_connectivity(2)
    assert told["success"] is False
    assert told["account_info"] == {}
    assert told["error"]
    assert CANARY not in str(told)


def test_another_account_is_connected_to_with_the_same_settings(snowflake: Snowflake) -> None:
    with connection_of(snowflake) as connection:
        first = connection.connect()
        second = connection.switch_account("another")
        assert second is connection.get_connection()
        assert second is not first
        assert (connection.account, second.account) == ("another", "another")
        assert connection.execute_query("SELECT 1") == [(1,)]
        with pytest.raises(ConfigurationError, match="account=''"):
            connection.switch_account("")


def test_a_cancel_that_reaches_nobody_raises_nothing(snowflake: Snowflake, toxiproxy: Toxiproxy) -> None:
    proxy = toxiproxy.proxy(snowflake.port)
    address = snowflake.url.replace(f":{snowflake.port}/", f":{proxy.port}/") + "&network_timeout=2"
    connection = SnowflakeConnection.of(EngineConfig.parse(address))
    raw = connection.connect()
    # What the connector's timer calls at the deadline of a statement, in a thread that nobody looks after.
    assert raw._cancel_query("SELECT 1", uuid.uuid4())["success"]
    proxy.cut()
    assert raw._cancel_query("SELECT 1", uuid.uuid4()) == {"success": False}
    proxy.restore()
    connection.disconnect()
