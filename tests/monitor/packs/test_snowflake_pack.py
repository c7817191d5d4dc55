"""The values of the pack for Snowflake, on views of ACCOUNT_USAGE whose rows are known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.monitor.cycles import cycle, reasons, values
from tests.monitor.platforms import SnowflakePlatform
from tests.services.snowflake import Snowflake

pytestmark = [pytest.mark.anyio, pytest.mark.timing, pytest.mark.server]

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def ago(**time: float) -> str:
    return f"'{(NOW - timedelta(**time)).isoformat(' ')}'"


ROWS: dict[str, list[dict[str, Any]]] = {
    "QUERY_HISTORY": [
        {"query_id": f"'q{number}'", "warehouse_name": "'W1'", "execution_status": status, "start_time": ago(hours=2),
         "end_time": ago(hours=1), "total_elapsed_time": 1500, "queued_overload_time": 250, "bytes_scanned": 1000,
         "bytes_spilled_to_remote_storage": 10}
        for number, status in enumerate(("'SUCCESS'", "'SUCCESS'", "'FAIL'"))
    ] + [
        {"query_id": "'old'", "warehouse_name": "'W1'", "execution_status": "'SUCCESS'", "start_time": ago(days=3),
         "end_time": ago(days=3), "total_elapsed_time": 9e6, "bytes_scanned": 10**9},
    ],
    "WAREHOUSE_METERING_HISTORY": [
        {"warehouse_name": "'W1'", "start_time": ago(hours=hours), "end_time": ago(hours=hours - 1),
         "credits_used_compute": credits, "credits_used_cloud_services": credits / 10}
        for hours, credits in ((3, 1.5), (2, 0.5))
    ],
    "WAREHOUSE_LOAD_HISTORY": [
        {"warehouse_name": "'W1'", "start_time": ago(minutes=20), "end_time": ago(minutes=15), "avg_running": 2.5,
         "avg_queued_load": 0.25, "avg_blocked": 0.125},
    ],
    "LOGIN_HISTORY": [
        {"event_id": number, "event_timestamp": ago(hours=3), "is_success": success}
        for number, success in enumerate(("'YES'", "'YES'", "'NO'"))
    ],
    "STORAGE_USAGE": [
        {"usage_date": f"'{(NOW - timedelta(days=days)).date()}'", "storage_bytes": 100.0 / days, "stage_bytes": 7.0,
         "failsafe_bytes": 3.0}
        for days in (2, 1)
    ],
    "TASK_HISTORY": [
        {"name": "'t'", "database_name": "'SHOP'", "state": state, "completed_time": ago(hours=hours)}
        for state, hours in (("'SUCCEEDED'", 1), ("'SUCCEEDED'", 2), ("'FAILED'", 3), ("'FAILED'", 30))
    ],
    "REPLICATION_GROUP_REFRESH_HISTORY": [
        {"replication_group_name": "'FG'", "phase_name": "'COMPLETED'", "start_time": ago(hours=2),
         "end_time": ago(hours=1)},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def platform(snowflake: Snowflake) -> Iterator[SnowflakePlatform]:
    found = SnowflakePlatform(snowflake)
    for view, rows in ROWS.items():
        for row in rows:
            cells = ", ".join(map(str, row.values()))
            found._run(f"INSERT INTO SNOWFLAKE.ACCOUNT_USAGE.{view} ({', '.join(row)}) SELECT {cells}")
    yield found
    # Whose tests come next on this server find the account as these did: empty.
    for view in ROWS:
        found._run(f"DELETE FROM SNOWFLAKE.ACCOUNT_USAGE.{view}")
    found.close()


async def test_each_number_is_that_of_the_rows_and_has_the_time_that_it_is_of(platform: SnowflakePlatform) -> None:
    from gds_monitor.packs.load import shipped_pack

    collector = platform.collector(packs=[shipped_pack("snowflake")])
    try:
        result = await cycle(collector)
    finally:
        await collector.close()
    assert {key: why for key, why in reasons(result).items() if why} == {}

    # Tags stand in the order of their names: status before warehouse, type before warehouse.
    assert values(result, "snowflake.query.count") == {("FAIL", "W1"): 1, ("SUCCESS", "W1"): 2}
    assert values(result, "snowflake.query.time") == {("FAIL", "W1"): 1.5, ("SUCCESS", "W1"): 3.0}
    assert values(result, "snowflake.query.queued_time") == {("FAIL", "W1"): 0.25, ("SUCCESS", "W1"): 0.5}
    assert values(result, "snowflake.query.bytes_scanned") == {("FAIL", "W1"): 1000, ("SUCCESS", "W1"): 2000}
    assert values(result, "snowflake.query.bytes_spilled") == {("FAIL", "W1"): 10, ("SUCCESS", "W1"): 20}
    # The newest hour, not the sum of hours.
    assert values(result, "snowflake.warehouse.credits") == {("compute", "W1"): 0.5, ("cloud_services", "W1"): 0.05}
    assert values(result, "snowflake.warehouse.running") == {("W1",): 2.5}
    assert values(result, "snowflake.warehouse.queued") == {("W1",): 0.25}
    assert values(result, "snowflake.warehouse.blocked") == {("W1",): 0.125}
    assert values(result, "snowflake.login.count") == {("NO",): 1, ("YES",): 2}
    assert values(result, "snowflake.storage.size") == {("database",): 100, ("stage",): 7, ("failsafe",): 3}
    assert values(result, "snowflake.task.count") == {("SHOP", "FAILED"): 1, ("SHOP", "SUCCEEDED"): 2}
    ages = values(result, "snowflake.account_usage.age")
    # The other tests of this process may have taken long.
    hour = pytest.approx((datetime.now(timezone.utc) - NOW).total_seconds() + 3600, abs=60)
    assert ages == {("query_history",): hour, ("warehouse_metering_history",): hour}
    assert values(result, "snowflake.replication.refresh_age") == {("COMPLETED", "FG"): hour}
    times = {each.metric_name: each.timestamp for each in result.metrics}
    assert times["snowflake.query.count"] == NOW - timedelta(hours=1)
    assert times["snowflake.warehouse.running"] == NOW - timedelta(minutes=15)
    assert str(times["snowflake.storage.size"])[:10] == str(NOW - timedelta(days=1))[:10]
