"""Pictures that are known, drawn: they fit the terminal, columns stand below each other, nothing wraps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.cells import cell_len

from gds_cli.watch.picture import Picture, Session
from gds_cli.watch.ui import VIEWS, Ui
from gds_cli.watch.view import Away
from tests.cli.watching import SESSIONS, column_of, drawn, picture

SIZES = [(80, 24), (200, 50), (120, 30), (40, 12), (20, 6)]


def crowded() -> Picture:
    """More of everything than there is room for, and text that would wreck a terminal."""
    nasty = "日本語 \x1b[31mred\r\n\ttab \x07 " + "long " * 50
    sessions = tuple(
        Session(
            str(number),
            nasty,
            nasty,
            "active",
            nasty,
            seconds=float(number),
            client=nasty,
            application=nasty,
            wait=nasty,
            blocked_by=(str(number + 1),) if number % 3 else (),
        )
        for number in range(120)
    )
    known = picture()
    return picture(
        name=nasty,
        version=nasty,
        sessions=sessions,
        statements=tuple(dataclasses.replace(known.statements[0], id=str(n), text=nasty) for n in range(100)),
        replicas=tuple(dataclasses.replace(known.replicas[0], name=nasty) for _ in range(50)),
        space=tuple(dataclasses.replace(each, name=nasty) for each in known.space for _ in range(50)),
        waits=tuple(dataclasses.replace(known.waits[0], event=nasty + str(n)) for n in range(50)),
        progress=tuple(dataclasses.replace(known.progress[0], target=nasty) for _ in range(50)),
        missing=dict.fromkeys(known.tells, nasty),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("inside", [False, True])
def test_it_is_never_wider_or_higher_than_the_terminal(size: tuple[int, int], view: str, inside: bool) -> None:
    width, height = size
    selected = "1" if inside else None
    for shown in (picture(), crowded(), picture(sessions=(), statements=(), replicas=(), space=(), waits=())):
        lines = drawn(shown, Ui(view=view, inside=inside, selected=selected), width, height)
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width
        assert not any(each in "".join(lines) for each in "\x1b\x07\r\t")


@pytest.mark.parametrize("size", SIZES)
def test_before_the_first_reading_and_while_the_server_is_away_it_fits_too(size: tuple[int, int]) -> None:
    for shown in (None, picture()):
        for ui in (Ui(), Ui(help=True), Ui(typing=True, filter="x" * 500)):
            lines = drawn(shown, ui, *size, away=Away(65.0, "connection refused " * 20))
            assert len(lines) <= size[1]
            assert max(map(cell_len, lines)) <= size[0]


def test_the_keys_stand_in_the_last_line_of_the_terminal() -> None:
    for width, height in ((80, 24), (200, 50)):
        lines = drawn(picture(), Ui(), width, height)
        assert len(lines) == height
        assert lines[-1].startswith("q quit  ? help")


def test_at_80_columns_everything_of_importance_is_there() -> None:
    known = picture()
    lines = drawn(picture(tells=known.tells - {"metrics", "alerts"}), Ui(), 80, 50)
    text = "\n".join(lines)
    assert lines[0].startswith("db1.example.org:5432/orders  PostgreSQL 15.20  primary")
    assert lines[1] == "6 of 100 sessions  3 active  2 blocked  1 idle in transaction  oldest xact 2:05"
    assert lines[2] == "commits 1,234/s  cache hits 99.2%  WAL 2.4 MiB/s  deadlocks 1  size -"
    assert lines[3] == "0 all 1 activity 2 waits 3 blocking 4 statements 5 replicas 6 space 7 progress"
    for title in ("ACTIVITY", "BLOCKING", "STATEMENTS by load", "WAITS", "REPLICATION", "PROGRESS", "DATABASES"):
        assert title in text


def test_at_200_columns_two_sections_stand_side_by_side() -> None:
    lines = drawn(picture(), Ui(), 200, 50)
    [first] = [line for line in lines if line.startswith("ACTIVITY")]
    assert "WAITS of the last readings" in first
    assert column_of(first, "WAITS") == 121
    assert "REPLICATION" in "\n".join(lines)


@pytest.mark.parametrize("width", [80, 200])
def test_columns_stand_below_their_names_whatever_is_in_them(width: int) -> None:
    wide = dataclasses.replace(SESSIONS[0], user="日本語の名前", database="データベース", wait="Lock:日本")
    lines = drawn(picture(sessions=(wide, *SESSIONS[1:])), Ui(view="activity"), width, 30)
    [head] = [line for line in lines if "USER" in line]
    [row] = [line for line in lines if line.lstrip().startswith("100 ")]
    assert column_of(row, "日本語") == column_of(head, "USER")
    assert column_of(row, "in xact") == column_of(head, "STATE")
    assert column_of(row, "Lock:日本") == column_of(head, "WAIT")
    assert column_of(row, "UPDATE") == column_of(head, "STATEMENT")
    [other] = [line for line in lines if line.lstrip().startswith("101 ")]
    assert column_of(other, "UPDATE") == column_of(head, "STATEMENT")


def test_only_wide_terminals_show_where_sessions_come_from() -> None:
    narrow = "\n".join(drawn(picture(), Ui(view="activity"), 80, 30))
    wide = "\n".join(drawn(picture(), Ui(view="activity"), 200, 30))
    assert "10.0.0.1:5000" not in narrow
    assert "10.0.0.1:5000" in wide
    assert "批处理" in wide


def test_who_blocks_whom_is_a_tree() -> None:
    lines = drawn(picture(), Ui(view="blocking"), 80, 20)
    begin = next(index for index, line in enumerate(lines) if line.startswith("SESSION"))
    first, second, third = lines[begin + 1 : begin + 4]
    assert first.split()[0] == "100"
    assert "blocks 2" in first
    assert second.startswith("└ 101")
    assert "Share on transactio" in second
    assert third.startswith("  └ 102")
    assert "Exclusive on stock" in third
    # A statement of several lines is one row.
    assert second.endswith("UPDATE stock SET left = left -…")


def test_sessions_that_wait_in_a_circle_end_where_it_is_closed() -> None:
    one = dataclasses.replace(SESSIONS[1], id="1", blocked_by=("2",))
    two = dataclasses.replace(SESSIONS[1], id="2", blocked_by=("1",))
    lines = drawn(picture(sessions=(one, two)), Ui(view="blocking"), 80, 20)
    begin = next(index for index, line in enumerate(lines) if line.startswith("SESSION"))
    assert [line.lstrip(" └")[0] for line in lines[begin + 1 : begin + 4]] == ["2", "1", "2"]
    assert lines[begin + 4] == ""


def test_a_lock_of_a_prepared_transaction_has_a_name() -> None:
    waiter = dataclasses.replace(SESSIONS[1], blocked_by=("0",))
    text = "\n".join(drawn(picture(sessions=(waiter,)), Ui(view="blocking"), 80, 20))
    assert "prepared" in text


def test_looking_into_a_session_tells_what_there_is() -> None:
    text = "\n".join(drawn(picture(), Ui(inside=True, selected="101"), 80, 40))
    for told in (
        "SESSION 101",
        "application      web-1",
        "statement for    1:01",
        "waits for        Lock:transactionid",
        "lock             ShareLock on transaction 4711",
        "BLOCKED BY\n100  shop  in xact  2:05",
        "BLOCKS\n102  web  blocked",
        # As its author arranged it.
        "STATEMENT\nUPDATE stock\n   SET left = left - 2\n WHERE id = 7",
    ):
        assert told in text


def test_a_session_that_has_ended_is_told_as_such() -> None:
    assert "session 9 has ended" in "\n".join(drawn(picture(), Ui(inside=True, selected="9"), 80, 20))


def test_rates_are_dashes_before_there_are_two_readings() -> None:
    first = dataclasses.replace(
        picture().statements[0], calls_per_second=None, seconds_per_second=None, rows_per_second=None
    )
    lines = drawn(picture(statements=(first,)), Ui(view="statements"), 80, 20)
    [row] = [line for line in lines if "SELECT" in line]
    assert row.split()[:2] == ["-", "-"]


def test_what_could_not_be_read_says_why() -> None:
    shown = picture(statements=(), missing={"statements": "pg_stat_statements is not in this database"})
    assert "pg_stat_statements is not" in "\n".join(drawn(shown, Ui(view="statements"), 80, 20))


def test_a_server_that_is_away_is_said_in_the_first_line_and_the_last_picture_stays() -> None:
    lines = drawn(picture(), Ui(), 80, 40, away=Away(65.0, "connection refused"))
    assert lines[0].endswith("disconnected 1:05, trying again")
    assert lines[1] == "connection refused"
    assert "SELECT * FROM orders" in "\n".join(lines)


def test_the_picture_in_the_documentation_is_what_is_drawn() -> None:
    text = (Path(__file__).parents[2] / "docs" / "watch.md").read_text("utf-8")
    known = picture(tells=picture().tells - {"metrics", "alerts"})
    # Without the first line, in which there is a time of day.
    assert "\n".join(drawn(known, Ui(), 80, 34)[1:]) in text
