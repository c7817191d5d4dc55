"""What keys do to what is shown, without a terminal; and how bytes of a terminal become keys."""

from __future__ import annotations

import pytest

from gds_cli.watch.screen import Keys
from gds_cli.watch.ui import VIEWS, Ui, activity, databases, statements, waiting
from tests.cli.watching import picture


def shown(ui: Ui) -> list[str]:
    return [each.id for each in activity(picture(), ui)]


def pressed(*keys: str) -> Ui:
    ui = Ui()
    for key in keys:
        assert ui.press(key, picture()) is None
    return ui


def test_sessions_that_do_something_come_first_the_longest_of_them_at_the_top() -> None:
    # Idle ones, the server's own, and that of the view are left out; who blocks others never is.
    assert shown(Ui()) == ["101", "103", "102", "100"]


def test_idle_sessions_and_those_of_the_server_are_shown_on_demand() -> None:
    assert "104" in shown(pressed("i"))
    assert "10" not in shown(pressed("i"))
    assert "10" in shown(pressed("b", "i"))
    assert "104" not in shown(pressed("i", "i"))


def test_the_time_is_that_of_statement_transaction_or_session() -> None:
    assert shown(pressed("T"))[0] == "100"
    assert pressed("T", "T", "T").duration == "statement"


def test_rows_are_sorted_by_another_column_and_the_other_way_round() -> None:
    ui = pressed("s")
    assert ui.sort_of("activity") == "user"
    assert shown(ui) == ["103", "100", "101", "102"]
    assert shown(pressed("s", "r")) == ["101", "102", "100", "103"]
    # It comes round.
    assert Ui().sort_of("activity") == pressed(*"ssssss").sort_of("activity") == "time"


def test_statements_and_space_have_orders_of_their_own() -> None:
    ui = pressed("4", "s", "s", "s")
    assert ui.sort_of("statements") == "mean"
    assert [each.id for each in statements(picture(), ui)] == ["2", "1"]
    assert [each.name for each in databases(picture(), pressed("6"), "table")] == ["public.orders", "public.stock"]
    assert [each.name for each in databases(picture(), pressed("6", "r"), "table")] == ["public.stock", "public.orders"]


def test_a_filter_leaves_rows_with_a_word_in_them() -> None:
    ui = pressed("/", *"REPORT")
    assert ui.typing
    assert shown(ui) == ["103"]
    # While one types, keys are letters.
    assert ui.press("q", picture()) is None
    assert ui.press("backspace", picture()) is None
    assert ui.press("enter", picture()) is None
    assert (ui.typing, ui.filter) == (False, "report")
    ui.press("escape", picture())
    assert ui.filter == ""
    assert pressed("/", "x", "escape").filter == ""


def test_views_are_chosen_by_number_and_in_turn() -> None:
    assert [pressed(str(number)).view for number in range(len(VIEWS))] == list(VIEWS)
    assert pressed("tab").view == "activity"
    assert pressed("back-tab").view == VIEWS[-1]
    few = picture(tells=frozenset({"activity"}))
    ui = Ui()
    ui.press("4", few)
    assert (ui.view, ui.said) == ("all", "postgresql does not tell of statements")
    ui.press("tab", few)
    ui.press("tab", few)
    assert ui.view == "all"


def test_the_selection_stays_on_a_session_when_others_come_and_go() -> None:
    ui = pressed("down", "down")
    assert ui.selected == "103"
    fewer = picture(sessions=tuple(each for each in picture().sessions if each.id != "101"))
    ui.press("up", fewer)
    assert ui.selected == "103"
    ui.press("end", fewer)
    assert ui.selected == "100"
    ui.press("page-up", fewer)
    assert ui.selected == "103"
    ui.press("down", picture(sessions=()))
    assert ui.selected == "103"


def test_one_looks_into_a_session_and_comes_back() -> None:
    ui = pressed("enter")
    assert (ui.inside, ui.selected) == (True, "101")
    ui.press("escape", picture())
    assert not ui.inside


@pytest.mark.parametrize(("key", "kind"), [("C", "cancel"), ("K", "terminate")])
def test_ending_a_session_needs_a_yes(key: str, kind: str) -> None:
    ui = pressed("down", key)
    assert ui.asked is not None
    request = ui.press("y", picture())
    assert request is not None
    assert (request.kind, request.session and request.session.id) == (kind, "101")
    assert ui.asked is None


@pytest.mark.parametrize("key", ["n", "enter", "escape", " ", "q", "K", "1"])
def test_any_other_key_ends_nothing(key: str) -> None:
    ui = pressed("down", "K", key)
    assert (ui.asked, ui.said) == (None, "nothing was done")


def test_the_one_that_was_asked_about_is_ended_although_others_moved_up() -> None:
    ui = pressed("down", "K")
    request = ui.press("y", picture(sessions=picture().sessions[2:]))
    assert request is not None
    assert request.session == picture().sessions[1]


def test_nothing_is_ended_without_a_selection() -> None:
    ui = pressed("K")
    assert (ui.asked, ui.said) == (None, "no session is selected; ↑ and ↓ select one")
    # A statement is nobody's session.
    assert pressed("4", "down", "K").asked is None


def test_pause_pace_refresh_and_quit_are_for_who_asks_the_server() -> None:
    ui = Ui()
    for key, kind in ((" ", "pause"), ("R", "refresh"), ("q", "quit"), ("ctrl-c", "quit")):
        request = ui.press(key, None)
        assert request is not None
        assert request.kind == kind
    assert ui.paused
    paces = [ui.press(key, None) for key in ("-", "-", "+", "+", "+", "+")]
    assert [each.seconds for each in paces if each is not None] == [2.0, 3.0, 2.0, 1.0, 0.5, 0.5]
    ui.press("-", None)
    for _ in range(20):
        ui.press("-", None)
    assert ui.interval_seconds == 60.0


def test_before_the_first_reading_only_that_can_be_pressed() -> None:
    ui = Ui()
    for key in ("C", "down", "enter", "1", "s", "escape", "tab", "i"):
        assert ui.press(key, None) is None
    assert ui == Ui()


def test_waiting_sessions_are_those_that_wait_in_the_middle_of_something() -> None:
    assert [each.id for each in waiting(picture(), Ui())] == ["101", "103", "102"]


# ------------------------------------------------------------------ bytes
@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", ["page-up", "page-down", "home", "end"]),
        (b"\x1bOP\x1b[15~", ["1", "5"]),
        (b"\r\t\x7f \x1b[Z", ["enter", "tab", "backspace", " ", "back-tab"]),
        ("ö日".encode(), ["ö", "日"]),
        # What nobody knows is nothing, and what follows is itself again.
        (b"\x1b[99;5~x\x00\x01y\xff", ["x", "y"]),
        (b"\x1bx", ["escape", "x"]),
    ],
)
def test_bytes_become_keys_however_they_are_cut(given: bytes, keys: list[str]) -> None:
    whole = Keys()
    assert list(whole.feed(given)) == keys
    cut = Keys()
    assert [key for byte in given for key in cut.feed(bytes([byte]))] == keys


def test_an_escape_alone_is_a_key_once_nothing_follows() -> None:
    keys = Keys()
    assert list(keys.feed(b"\x1b")) == []
    assert keys.waiting
    assert list(keys.end()) == ["escape"]
    assert not keys.waiting
