"""The thread that asks: when it does, when it does not, and what it does when nobody answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from gds_cli.watch.picture import Picture, Session
from gds_cli.watch.ui import Request
from gds_cli.watch.watcher import Watcher
from gds_database import DatabaseConnectionError, QueryError
from tests.cli.watching import SESSIONS, picture

DEADLINE_SECONDS = 60.0
LONG_SECONDS = 3600.0


class Played:
    """A source that answers when the test says so."""

    name = "played"
    interval_seconds = 1.0

    def __init__(self) -> None:
        self.asked: SimpleQueue[int] = SimpleQueue()
        """Each time a reading begins."""
        self.answers: SimpleQueue[Picture | Exception] = SimpleQueue()
        self.ended: list[tuple[str, bool]] = []
        self.closed = 0
        self.readings = 0

    def read(self) -> Picture:
        self.readings += 1
        self.asked.put(self.readings)
        answer = self.answers.get(timeout=DEADLINE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self, session: Session, *, cancel: bool) -> str:
        if session.id == "gone":
            raise QueryError("session gone has ended meanwhile")
        self.ended.append((session.id, cancel))
        return f"ended {session.id}"

    def close(self) -> None:
        self.closed += 1


Start = Callable[[float], Watcher]


@pytest.fixture
def changes() -> SimpleQueue[None]:
    return SimpleQueue()


@pytest.fixture
def source() -> Played:
    return Played()


@pytest.fixture
def start(source: Played, changes: SimpleQueue[None]) -> Iterator[Start]:
    started: list[Watcher] = []

    def begin(interval_seconds: float) -> Watcher:
        watcher = Watcher(source, interval_seconds, lambda: changes.put(None))
        started.append(watcher)
        watcher.start()
        return watcher

    yield begin
    for watcher in started:
        watcher.stop()
        for _ in range(10):
            source.answers.put(picture())
        watcher.join(DEADLINE_SECONDS)
        assert not watcher.is_alive()
    assert source.closed >= len(started)


def test_the_first_reading_is_shown_before_there_is_a_second(
    start: Start, source: Played, changes: SimpleQueue[None]
) -> None:
    watcher = start(0.01)
    source.answers.put(picture(readings=1))
    changes.get(timeout=DEADLINE_SECONDS)
    # The second one has begun, or not; it does not end before the test says so.
    assert watcher.picture is not None
    assert watcher.picture.readings == 1
    assert watcher.away is None


def test_it_asks_at_once_when_told_to_and_not_before_its_time(
    start: Start, source: Played, changes: SimpleQueue[None]
) -> None:
    watcher = start(LONG_SECONDS)
    source.answers.put(picture())
    changes.get(timeout=DEADLINE_SECONDS)
    watcher.refresh()
    source.answers.put(picture(readings=2))
    changes.get(timeout=DEADLINE_SECONDS)
    assert source.readings == 2
    assert source.asked.qsize() == 2


def test_while_it_is_paused_it_asks_nothing_unless_told_to(
    start: Start, source: Played, changes: SimpleQueue[None]
) -> None:
    watcher = start(0.001)
    source.asked.get(timeout=DEADLINE_SECONDS)
    watcher.pace(0.001, paused=True)
    source.answers.put(picture())
    changes.get(timeout=DEADLINE_SECONDS)
    watcher.refresh()
    # Were it not paused, the reading that begins now would not be the one that was asked for, but one more.
    source.asked.get(timeout=DEADLINE_SECONDS)
    source.answers.put(picture())
    changes.get(timeout=DEADLINE_SECONDS)
    watcher.end(Request("cancel", SESSIONS[1]))
    changes.get(timeout=DEADLINE_SECONDS)
    assert source.ended == [("101", True)]
    watcher.pace(0.001, paused=False)
    source.asked.get(timeout=DEADLINE_SECONDS)
    assert watcher.said() == ("ended 101", False)


def test_one_reading_at_a_time_and_late_ones_are_left_out(
    start: Start, source: Played, changes: SimpleQueue[None]
) -> None:
    start(0.001)
    source.asked.get(timeout=DEADLINE_SECONDS)
    # Many intervals pass while it waits for the answer.
    threading.Event().wait(0.05)
    assert source.readings == 1
    source.answers.put(picture())
    changes.get(timeout=DEADLINE_SECONDS)
    source.asked.get(timeout=DEADLINE_SECONDS)
    # The next one has begun, and none of those that were left out is made up for.
    assert source.readings == 2


def found_again(watcher: Watcher) -> Picture:
    assert watcher.picture is not None
    return watcher.picture


def test_a_server_that_is_away_is_told_asked_again_and_found_again(
    start: Start, source: Played, changes: SimpleQueue[None]
) -> None:
    watcher = start(LONG_SECONDS)
    source.answers.put(picture(readings=1))
    changes.get(timeout=DEADLINE_SECONDS)
    watcher.refresh()
    source.answers.put(DatabaseConnectionError("server closed the connection"))
    changes.get(timeout=DEADLINE_SECONDS)
    away = watcher.away
    assert away is not None
    assert away.error == "server closed the connection"
    assert source.closed == 1
    assert watcher.picture is not None
    watcher.refresh()
    source.answers.put(picture(readings=5))
    changes.get(timeout=DEADLINE_SECONDS)
    assert (watcher.away, watcher.error) == (None, "")
    assert found_again(watcher).readings == 5


def test_attempts_get_further_apart_but_never_too_far() -> None:
    watcher = Watcher(Played(), 1.0, lambda: None)
    pauses = []
    for failures in (1, 2, 3, 4, 5, 500):
        watcher._failures = failures
        now = time.monotonic()
        pauses.append(int(watcher._next(now, now) - now))
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_the_pace_is_kept_and_readings_that_would_be_late_are_left_out() -> None:
    watcher = Watcher(Played(), 2.0, lambda: None)
    assert watcher._next(100.0, 100.5) == 102.0
    assert watcher._next(100.0, 102.5) == 104.5


def test_what_cannot_be_ended_is_told(start: Start, source: Played, changes: SimpleQueue[None]) -> None:
    watcher = start(LONG_SECONDS)
    source.answers.put(picture())
    changes.get(timeout=DEADLINE_SECONDS)
    watcher.end(Request("terminate", Session("gone")))
    changes.get(timeout=DEADLINE_SECONDS)
    assert watcher.said() == ("session gone has ended meanwhile", True)
    assert watcher.said() is None


def test_it_begins_at_once_however_often_it_is_started(
    start: Start, source: Played, changes: SimpleQueue[None]
) -> None:
    # What is due now has no time to wait left: with the queue of CPython 3.10 one of a few hundred never began.
    for _ in range(1000):
        watcher = start(LONG_SECONDS)
        source.asked.get(timeout=DEADLINE_SECONDS)
        watcher.stop()
        source.answers.put(picture())
        changes.get(timeout=DEADLINE_SECONDS)
        watcher.join(DEADLINE_SECONDS)
