"""``gds monitor pack run`` on every platform: the same output, the same budgets, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gds_cli._app import run as gds
from tests.monitor.packs.test_pack_command import pack
from tests.monitor.platforms import MongoDBPlatform, Platform, SnowflakePlatform, SQLServerPlatform
from tests.services.fixtures import require_service
from tests.services.mongodb import MongoDB
from tests.services.mssql import SqlServer
from tests.services.snowflake import Snowflake

pytestmark = [pytest.mark.timing, pytest.mark.server]


def _on_mongodb() -> Platform:
    require_service("mongodb")
    return MongoDBPlatform(MongoDB())


def _on_snowflake() -> Platform:
    require_service("snowflake")
    return SnowflakePlatform(Snowflake())


_MAKERS = {"mongodb": _on_mongodb, "mssql": lambda: SQLServerPlatform(SqlServer()), "snowflake": _on_snowflake}
SECRET = "wr0ng-c4nary"


@pytest.fixture(scope="module", params=list(_MAKERS))
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """One with a server of its own."""
    found = _MAKERS[request.param]()
    with found.server:
        yield found
        found.close()


def rows(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    code, out, _ = pack("run", *map(str, arguments), "--json")
    return code, [json.loads(each) for each in out.splitlines()]


def test_each_query_tells_its_metrics_in_each_database(platform: Platform, tmp_path: Path) -> None:
    platform.make_things("tried", 3)
    file = tmp_path / "contract.yaml"
    file.write_text(platform.pack)
    code, told = rows(file, platform.url())
    found = {(each["query"], each["database"]): each for each in told}
    assert code == (0 if all(each["status"] != "failed" for each in told) else 1)
    (always,) = [each for (query, _), each in found.items() if query == "always"]
    assert (always["status"], [each["name"] for each in always["metrics"]]) == ("success", ["always"])
    assert found["each", "tried"]["metrics"][0]["value"] == 3
    assert found["each", "tried"]["metrics"][0]["tags"]["db.namespace"] == "tried"
    code, out, _ = pack("run", file, platform.url(), "-c", "always")
    assert code == 0
    assert "always/always" in out
    assert "each/each" not in out


def test_what_comes_with_the_package_runs(platform: Platform) -> None:
    code, told = rows(platform.name, platform.url())
    assert {each["status"] for each in told} <= {"success", "skipped", "failed"}
    assert sum(each["status"] == "success" for each in told) >= 3
    for each in told:
        if each["status"] != "success":
            assert each["reason"], each
    assert code == any(each["status"] == "failed" for each in told)


def test_a_server_that_refuses_is_one_line_without_the_password(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    user = platform.make_watcher("R1ght-one")
    code = gds(["monitor", "pack", "run", platform.name, platform.url(user, SECRET)])
    printed = capsys.readouterr()
    assert code == 1
    assert printed.err.startswith("gds: authentication: ")
    assert SECRET not in printed.out + printed.err


def test_a_pack_for_another_platform_is_refused(platform: Platform) -> None:
    code, _, err = pack("run", "postgresql", platform.url())
    assert code == 2
    assert f"expected a pack for {platform.name}, got one for postgresql" in err


def test_a_server_that_is_away_is_told_within_its_time(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    options = {
        "mongodb": "?connectTimeoutMS=2000",
        "mssql": "?login_timeout_seconds=1",
        "snowflake": "&login_timeout=2",
    }
    platform.server.kill()
    try:
        code = gds(["monitor", "pack", "run", platform.name, platform.url() + options[platform.name]])
    finally:
        platform.server.start()
    assert code == 1
    assert capsys.readouterr().err.startswith("gds: connection: ")


def test_an_address_of_nobody_is_refused() -> None:
    from gds_cli.monitor.pack import app

    done = CliRunner().invoke(app, ["run", "postgresql", "memory://box"])
    assert done.exit_code == 2
    assert "memory://: expected a platform that is monitored: mongodb, mssql, postgresql" in " ".join(
        done.stderr.replace("│", "").split()
    )


def test_a_predicate_that_says_neither_yes_nor_no_fails_its_query_alone(tmp_path: Path) -> None:
    with SqlServer() as server:
        file = tmp_path / "wrong.yaml"
        file.write_text(
            "pack: wrong\nengine: mssql\ncollectors:\n- name: odd\n  queries:\n"
            "  - {name: odd, sql: SELECT 1 AS n, requires: {predicates: [SELECT 2 AS n]},"
            " metrics: [{name: odd, value: n}]}\n"
            "- name: fine\n  queries:\n  - {name: fine, sql: SELECT 1 AS n, metrics: [{name: fine, value: n}]}\n"
        )
        code, told = rows(file, SQLServerPlatform(server).url())
    assert code == 1
    by_name = {each["query"]: each for each in told}
    assert by_name["odd"]["reason"] == "error"
    assert "expected one row with true or false" in by_name["odd"]["detail"]
    assert by_name["fine"]["status"] == "success"
