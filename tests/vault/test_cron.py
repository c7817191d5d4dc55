"""When a schedule is due, as cron itself has it."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from gds_vault.rotation import CronParser

FROM = datetime(2026, 2, 27, 23, 59, 30, tzinfo=timezone.utc)  # a Friday


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("* * * * *", "2026-02-28 00:00"),
        ("*/15 * * * *", "2026-02-28 00:00"),
        ("7-59/20 3 * * *", "2026-02-28 03:07"),
        ("30 2 * * 0", "2026-03-01 02:30"),
        ("30 2 * * 7", "2026-03-01 02:30"),
        ("0 12 * * 1-5", "2026-03-02 12:00"),
        ("0 0 1,15 * *", "2026-03-01 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("5 4 13 * 5", "2026-03-06 04:05"),  # the 13th, or a Friday
        ("59 23 31 12 *", "2026-12-31 23:59"),
    ],
)
def test_the_next_time_is_found(expression: str, due: str) -> None:
    assert f"{CronParser(expression).next_run_time(FROM):%Y-%m-%d %H:%M}" == due


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "x * * * *"),
        *("*/0 * * * *", "5-1 * * * *", "1- * * * *", "-1 * * * *", "1,,2 * * * *", "/5 * * * *", "² * * * *"),
        "1/2/3 * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="cron_expression="):
        CronParser(expression)


def test_a_day_that_never_comes_is_told() -> None:
    with pytest.raises(ValueError, match="never due"):
        CronParser("0 0 30 2 *").next_run_time(FROM)
