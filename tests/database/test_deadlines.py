"""Calls that are ended from beside when they take too long, and at no other time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gds_database.engines import _deadlines
from gds_database.engines._deadlines import TookTooLong, within

LONG_SECONDS = 60.0
SHORT_SECONDS = 0.05


class Wait:
    """A call that fails when it is ended, as a driver does whose socket is shut down."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()

    def end(self) -> None:
        self.over.set()

    def __call__(self) -> None:
        self.begun.set()
        assert self.over.wait(LONG_SECONDS)
        raise OSError("the socket was shut down")


@pytest.fixture
def wait() -> Iterator[Wait]:
    wait = Wait()
    yield wait
    wait.end()


def unexpected() -> None:
    raise AssertionError("was ended")


def test_what_is_in_time_returns_or_raises_as_it_does() -> None:
    assert within(LONG_SECONDS, unexpected, lambda given: given + 1, 1) == 2
    with pytest.raises(ZeroDivisionError):
        within(LONG_SECONDS, unexpected, lambda: 1 / 0)
    assert _deadlines._under_way == {}


def test_what_takes_too_long_is_ended(wait: Wait) -> None:
    begin = time.monotonic()
    with pytest.raises(TookTooLong) as caught:
        within(SHORT_SECONDS, wait.end, wait)
    assert SHORT_SECONDS <= time.monotonic() - begin < LONG_SECONDS
    # What the driver said is no context of it: it may hold a password.
    assert caught.value.__context__ is None
    assert _deadlines._under_way == {}


def test_an_answer_that_came_after_all_is_the_answer() -> None:
    ended = threading.Event()
    assert within(SHORT_SECONDS, ended.set, lambda: ended.wait(LONG_SECONDS)) is True


def test_a_short_one_is_ended_in_its_time_beside_a_long_one(wait: Wait) -> None:
    patient = Wait()

    def be_patient() -> None:
        with pytest.raises(OSError, match="shut down"):
            within(LONG_SECONDS, unexpected, patient)

    thread = threading.Thread(target=be_patient)
    thread.start()
    assert patient.begun.wait(LONG_SECONDS)
    with pytest.raises(TookTooLong):
        within(SHORT_SECONDS, wait.end, wait)
    assert thread.is_alive()
    patient.end()
    thread.join()


def test_what_ends_one_may_fail_and_the_next_is_ended_all_the_same(wait: Wait) -> None:
    other = Wait()

    def fail() -> None:
        other.end()
        raise OSError("is closed already")

    for each, end in ((other, fail), (wait, wait.end)):
        with pytest.raises(TookTooLong):
            within(SHORT_SECONDS, end, each)


def test_it_is_not_over_while_it_is_being_ended() -> None:
    ending, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def end() -> None:
        ending.set()
        assert go_on.wait(LONG_SECONDS)
        ended.set()

    def call() -> None:
        assert ending.wait(LONG_SECONDS)
        threading.Timer(SHORT_SECONDS, go_on.set).start()

    within(SHORT_SECONDS, end, call)
    assert ended.is_set()


def test_many_threads_at_once_leave_nothing_behind() -> None:
    wrong: list[BaseException] = []

    def use(seconds: float) -> None:
        try:
            for _ in range(200):
                within(seconds, lambda: None, time.sleep, 0)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=use, args=(seconds,)) for seconds in (0.0, 0.001, 1.0, 60.0)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (wrong, _deadlines._under_way) == ([], {})


def test_the_thread_ends_when_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_deadlines, "_SLEEP_SECONDS", SHORT_SECONDS)
    watch = _deadlines._Watch()
    monkeypatch.setattr(_deadlines, "_watch", watch)
    threads: list[threading.Thread | None] = []
    within(LONG_SECONDS, unexpected, lambda: threads.append(watch._thread))
    [thread] = threads
    assert thread is not None
    thread.join(LONG_SECONDS)
    assert not thread.is_alive()
    # And there is another one for what comes then.
    wait = Wait()
    with pytest.raises(TookTooLong):
        within(SHORT_SECONDS, wait.end, wait)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_a_watch_of_its_own(wait: Wait) -> None:
    def in_child(check: Callable[[], bool]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if check() else 2
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def ends() -> bool:
        try:
            within(SHORT_SECONDS, wait.end, wait)
        except TookTooLong:
            return not _deadlines._under_way
        return False

    assert within(LONG_SECONDS, unexpected, in_child, ends) == 0
