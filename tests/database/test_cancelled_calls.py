"""What becomes of a call in a thread whose task is cancelled: whatever it is about to do, and what it has begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gds_database import OperationResult, QueryError
from gds_database._calls import current, ended_by
from gds_database.aio import AsyncDatabaseEngine
from gds_database.engines._operation import operation
from gds_database.plan import Step
from gds_database.testing import InMemoryEngine

LONG_SECONDS = 60


class Halting(InMemoryEngine):
    """Halts where it is told to, in whatever thread, until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.leave = threading.Event(), threading.Event()
        self.done: list[str] = []

    def halt(self) -> None:
        self.entered.set()
        assert self.leave.wait(LONG_SECONDS)

    def reads(self) -> None:
        self.halt()
        self._query("ONE", columns=("a",))
        self.done.append("one")

    def reads_what_may_fail(self) -> None:
        for name in ("one", "two"):
            try:
                self._query(name, columns=("a",))
            except QueryError:  # noqa: PERF203 - as an engine leaves out what it may not read
                self.done.append(name)

    @operation
    def changes(self, before: Callable[[], object] = int) -> OperationResult:
        before()
        steps = [Step("one", self.halt), Step("two", lambda: self.done.append("two")), self._step("THREE")]
        return self._carry_out("changed it", steps)

    def fails(self) -> None:
        try:
            self._carry_out("failed", [Step("one", self.halt), self._step("FAIL")])
        except QueryError:
            self._execute("PUT BACK")


def cancelled(engine: Halting, ask: Callable[[], Any]) -> None:
    """Call it in a thread, cancel the task once it halts, and let it go on to its end."""

    async def use() -> None:
        twin = AsyncDatabaseEngine(engine)
        task = asyncio.create_task(twin._call(ask))
        assert await asyncio.to_thread(engine.entered.wait, LONG_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        engine.leave.set()
        await asyncio.to_thread(twin._threads.shutdown)

    asyncio.run(use())


def test_it_begins_no_statement() -> None:
    engine = Halting()
    cancelled(engine, engine.reads)
    assert (engine.server.statements, engine.done) == ([], [])


def test_it_begins_no_change() -> None:
    engine = Halting()
    cancelled(engine, lambda: engine.changes(before=engine.halt))
    assert (engine.server.statements, engine.done) == ([], [])


def test_a_change_that_has_begun_comes_to_its_end() -> None:
    engine = Halting()
    cancelled(engine, engine.changes)
    assert (engine.server.statements, engine.done) == (["THREE"], ["two"])


def test_what_failed_after_it_had_begun_is_put_back() -> None:
    engine = Halting()
    engine.server.failures = {"FAIL": QueryError("no")}
    cancelled(engine, engine.fails)
    assert engine.server.statements == ["FAIL", "PUT BACK"]


def test_what_it_runs_is_ended_and_nothing_is_asked_after_it() -> None:
    engine = Halting()

    def endable(statement: Any, params: Any, timeout_seconds: float) -> Any:
        def end() -> None:
            engine.leave.set()
            raise OSError("whatever it raises is ignored")

        with ended_by(end):
            engine.halt()
            raise QueryError(f"{statement} was ended by its caller")

    engine._run = endable  # type: ignore[method-assign]
    cancelled(engine, engine.reads_what_may_fail)
    assert engine.done == ["one"]


def test_waiting_for_a_turn_keeps_no_thread_and_hurts_nobody_else() -> None:
    engine = Halting()
    waiting = threading.Event()

    def waits() -> None:
        waiting.set()
        engine._query("NEVER", columns=("a",))

    def holds() -> None:
        with engine._turn():
            engine.halt()
            engine._query("HELD", columns=("a",))

    async def use() -> None:
        twin = AsyncDatabaseEngine(engine, threads=2)
        holding = asyncio.create_task(twin._call(holds))
        assert await asyncio.to_thread(engine.entered.wait, LONG_SECONDS)
        second = asyncio.create_task(twin._call(waits))
        assert await asyncio.to_thread(waiting.wait, LONG_SECONDS)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        # There are two threads, and one of them is held: this one runs in the other.
        await asyncio.wait_for(twin._call(int), LONG_SECONDS)
        engine.leave.set()
        await holding
        await twin.close()

    asyncio.run(use())
    assert engine.server.statements == ["HELD"]


def test_without_a_task_there_is_no_call() -> None:
    assert current() is None
    with ended_by(lambda: pytest.fail("there is nobody to end it")):
        pass
