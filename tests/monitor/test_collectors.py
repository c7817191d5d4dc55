"""What every collector does, whatever it measures: on each platform's own stand-in."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from gds_cli._app import run as gds
from gds_database.errors import MissingExtraError
from gds_monitor.base import BaseMonitor
from gds_monitor.check import checked
from gds_monitor.packs.load import shipped_pack
from tests.monitor.cycles import cycle, grown, reasons, values
from tests.monitor.platforms import MongoDBPlatform, Platform, SnowflakePlatform, SQLServerPlatform
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer
from tests.services.snowflake import Snowflake

pytestmark = pytest.mark.anyio

CANARY = "c4nary-pa55word"


@pytest.fixture
def on_mongodb(mongodb: MongoDB) -> Platform:
    return MongoDBPlatform(mongodb)


@pytest.fixture
def on_mssql(sql_server: SqlServer) -> Platform:
    return SQLServerPlatform(sql_server)


@pytest.fixture
def on_snowflake(snowflake: Snowflake) -> Platform:
    return SnowflakePlatform(snowflake)


@pytest.fixture(params=["mongodb", "mssql", "snowflake"])
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    found: Platform = request.getfixturevalue(f"on_{request.param}")
    yield found
    found.close()


async def test_values_come_of_the_instance_and_of_each_database(platform: Platform) -> None:
    platform.make_things("shop", 3)
    platform.make_things("depot", 2)
    collector = platform.collector(databases=["shop", "depot"])
    try:
        first = await cycle(collector)
        assert first.success, first.outcomes
        expected = {("always", None), ("each", "shop"), ("each", "depot"), ("allowed", None)}
        assert reasons(first) == dict.fromkeys(expected, "")
        assert values(first, "each") == {("shop",): 3.0, ("depot",): 2.0}
        assert values(first, "always") == {(): 1.0}
        assert values(first, "monitor.up") == {(): 1.0}
        assert len(values(first, "monitor.collector.success")) == 4
        assert collector.get_metadata()["version"].split(".")[0].isdecimal()
        platform.make_things("shop", 1)
        second = await cycle(collector)
        assert values(second, "each")["shop",] == 4.0
        assert grown(second, "allowed") == grown(first, "allowed")
        assert (grown(first, "allowed") is not None) == platform.counts
    finally:
        await collector.close()


async def test_a_column_that_is_gone_drops_one_metric(platform: Platform) -> None:
    collector = platform.collector(databases=[])
    try:
        result = await cycle(collector)
        assert result.success, result.outcomes
        assert values(result, "always")
        assert not values(result, "gone")
    finally:
        await collector.close()


async def test_one_connection_stays_for_all_cycles(platform: Platform) -> None:
    collector = platform.collector()
    try:
        await cycle(collector)
        before = platform.knocks()
        for _ in range(3):
            await cycle(collector)
        assert platform.knocks() == before
        assert collector.session.connections == 1  # type: ignore[attr-defined]
    finally:
        await collector.close()


async def test_a_missing_privilege_is_told_and_what_check_prints_is_enough(platform: Platform) -> None:
    user = platform.make_watcher(CANARY)
    url = platform.url(user, CANARY)
    collector = platform.collector(url)
    try:
        result = await cycle(collector)
        assert reasons(result)["allowed", None] == "privilege"
        assert reasons(result)["always", None] == ""
        assert not values(result, "allowed")
        (report,) = await checked([platform.collector(url)])
        assert report.grants
        assert dict(report.missing)["allowed"].startswith("privilege")
        for grant in report.grants:
            platform.grant(grant)
        # Without a restart.
        await platform.noticed(collector)
        assert reasons(await cycle(collector))["allowed", None] == ""
        (report,) = await checked([platform.collector(url)])
        assert report.grants == []
    finally:
        await collector.close()


async def test_a_wrong_password_is_not_tried_again_at_once(platform: Platform) -> None:
    user = platform.make_watcher(CANARY)
    collector = platform.collector(platform.url(user, "wr0ng-pa55word"))
    try:
        assert set((await cycle(collector)).reasons) == {"authentication"}
        before = platform.knocks()
        for _ in range(3):
            result = await cycle(collector)
            assert set(result.reasons) == {"authentication_backoff"}
            assert values(result, "monitor.up") == {(): 0.0}
        assert platform.knocks() == before
    finally:
        await collector.close()


async def test_a_password_is_nowhere_to_be_found(
    platform: Platform, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    user = platform.make_watcher(CANARY)
    with caplog.at_level(logging.DEBUG):
        for password in (CANARY, f"wrong-{CANARY}"):
            collector = platform.collector(platform.url(user, password))
            try:
                result = await BaseMonitor(collector).run_monitoring_cycle()
            finally:
                await collector.close()
            shown = [repr(collector), str(vars(collector)), str(collector.get_metadata()), str(result)]
            shown += [json.dumps(asdict(metric), default=str) for metric in result.metrics]
            assert not [text for text in shown if CANARY in text]
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capsys.readouterr())


def test_without_its_driver_it_is_said_what_to_install(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'gds-database\[{platform.name}\]'"):
        platform.collector()
    assert gds(["monitor", "once", platform.url(password=CANARY)]) == 2
    printed = capsys.readouterr()
    assert f"gds-database[{platform.name}]" in printed.err
    assert CANARY not in printed.out + printed.err


def test_an_address_is_enough_for_everything_that_the_package_knows(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    gds(["monitor", "once", "--json", platform.url()])
    printed = capsys.readouterr()
    told = [json.loads(line) for line in printed.out.splitlines()]
    by_name: dict[str, list[Any]] = {}
    for each in told:
        by_name.setdefault(each["metric_name"], []).append(each)
    assert [each["value"] for each in by_name["monitor.up"]] == [1]
    found = {each["tags"]["collector"] for each in by_name["monitor.collector.success"]}
    assert found <= {each.name for each in shipped_pack(platform.name).collectors}
    assert gds(["monitor", "check", "--json", platform.url()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["error"] == ""
    assert report["grants"] == []
