from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gds_metrics import timed
from tests.metrics.doubles import Broken, Recorder


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, milliseconds: float) -> None:
        self.seconds += milliseconds / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    # By its full name, because the package shows the class of that name where the module was.
    monkeypatch.setattr(sys.modules["gds_metrics._timed"], "perf_counter", clock)
    return clock


@pytest.fixture
def metrics() -> Recorder:
    return Recorder()


def durations(metrics: Recorder) -> list[int]:
    return [round(call.value) for call in metrics.calls]


def test_a_block_is_timed_in_milliseconds(metrics: Recorder, clock: Clock) -> None:
    with timed(metrics, "query", {"table": "users"}):
        clock.advance(250)
    [call] = metrics.calls
    assert (call.method, call.name, call.labels) == ("timing", "query", {"table": "users"})
    assert call.value == pytest.approx(250)


def test_without_labels_none_are_passed(metrics: Recorder) -> None:
    with timed(metrics, "query"):
        pass
    assert metrics.labels == [None]


@pytest.mark.parametrize("labels", [None, {"table": "users"}])
def test_a_block_that_fails_is_labelled_and_its_exception_goes_on(
    metrics: Recorder, labels: dict[str, str] | None
) -> None:
    error = KeyError("k")
    with pytest.raises(KeyError) as caught, timed(metrics, "query", labels):
        raise error
    assert caught.value is error
    assert metrics.labels == [{**(labels or {}), "error_type": "KeyError"}]
    assert labels in (None, {"table": "users"})


@pytest.mark.anyio
async def test_an_asynchronous_block_is_timed(metrics: Recorder, clock: Clock) -> None:
    async with timed(metrics, "query"):
        clock.advance(3)
    with pytest.raises(OSError, match="away"):
        async with timed(metrics, "query"):
            raise ConnectionError("away")
    assert durations(metrics) == [3, 0]
    assert metrics.labels == [None, {"error_type": "ConnectionError"}]


def test_a_function_is_timed_at_each_call(metrics: Recorder, clock: Clock) -> None:
    @timed(metrics, "double")
    def double(number: int) -> int:
        clock.advance(number)
        return 2 * number

    assert [double(2), double(number=3)] == [4, 6]
    assert durations(metrics) == [2, 3]


def test_a_function_that_fails_is_labelled(metrics: Recorder) -> None:
    @timed(metrics, "fail")
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert metrics.labels == [{"error_type": "ValueError"}]


def test_methods_are_decorated_like_functions(metrics: Recorder) -> None:
    class Shop:
        @timed(metrics, "own")
        def own(self) -> Shop:
            return self

        @staticmethod
        @timed(metrics, "static")
        def static() -> int:
            return 1

        @classmethod
        @timed(metrics, "of_class")
        def of_class(cls) -> type[Shop]:
            return cls

    shop = Shop()
    assert shop.own() is shop
    assert (shop.static(), shop.of_class()) == (1, Shop)
    assert [call.name for call in metrics.calls] == ["own", "static", "of_class"]


@pytest.mark.anyio
async def test_a_coroutine_function_is_timed_until_its_result(metrics: Recorder, clock: Clock) -> None:
    @timed(metrics, "fetch")
    async def fetch(milliseconds: int) -> int:
        await asyncio.sleep(0)
        clock.advance(milliseconds)
        return milliseconds

    coroutine = fetch(5)
    clock.advance(100)
    assert metrics.calls == []
    assert await coroutine == 5
    assert durations(metrics) == [5]
    assert inspect.iscoroutinefunction(fetch)


@pytest.mark.anyio
async def test_a_cancelled_coroutine_is_labelled(metrics: Recorder) -> None:
    started = asyncio.Event()

    @timed(metrics, "wait")
    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert metrics.labels == [{"error_type": "CancelledError"}]


@pytest.mark.anyio
async def test_callable_objects_and_partials_are_what_they_call(metrics: Recorder) -> None:
    class Fetch:
        async def __call__(self, number: int) -> int:
            await asyncio.sleep(0)
            return number

    for function in (Fetch(), functools.partial(Fetch().__call__)):
        decorated = timed(metrics, "fetch")(function)
        coroutine = decorated(1)
        assert metrics.calls == []
        assert await coroutine == 1
        metrics.calls.clear()


def test_a_generator_is_timed_until_it_is_exhausted(metrics: Recorder, clock: Clock) -> None:
    @timed(metrics, "read")
    def read(count: int) -> Iterator[int]:
        for number in range(count):
            clock.advance(10)
            yield number

    numbers = read(3)
    clock.advance(1000)
    assert next(numbers) == 0
    assert metrics.calls == []
    assert list(numbers) == [1, 2]
    assert durations(metrics) == [30]
    assert inspect.isgeneratorfunction(read)


def test_a_generator_still_takes_what_is_sent_and_thrown(metrics: Recorder) -> None:
    @timed(metrics, "talk")
    def talk() -> Generator[str, str, str]:
        heard = yield "ready"
        try:
            yield heard
        except KeyError:
            yield "caught"
        return "done"

    talking = talk()
    assert next(talking) == "ready"
    assert talking.send("hello") == "hello"
    assert talking.throw(KeyError("k")) == "caught"
    with pytest.raises(StopIteration) as end:
        next(talking)
    assert end.value.value == "done"
    assert metrics.labels == [None]


def test_a_generator_that_is_closed_early_did_not_fail(metrics: Recorder) -> None:
    @timed(metrics, "read")
    def read() -> Generator[int, None, None]:
        yield 1
        yield 2

    numbers = read()
    next(numbers)
    numbers.close()
    assert metrics.labels == [None]


def test_a_generator_that_fails_is_labelled(metrics: Recorder) -> None:
    @timed(metrics, "read")
    def read() -> Iterator[int]:
        yield 1
        raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        list(read())
    assert metrics.labels == [{"error_type": "OSError"}]


@pytest.mark.anyio
async def test_an_asynchronous_generator_is_timed_until_it_is_exhausted(metrics: Recorder, clock: Clock) -> None:
    @timed(metrics, "read")
    async def read(count: int) -> AsyncIterator[int]:
        for number in range(count):
            await asyncio.sleep(0)
            clock.advance(10)
            yield number

    numbers = read(3)
    clock.advance(1000)
    assert [number async for number in numbers] == [0, 1, 2]
    assert durations(metrics) == [30]
    assert inspect.isasyncgenfunction(read)


@pytest.mark.anyio
async def test_an_asynchronous_generator_still_takes_what_is_sent_and_thrown(
    metrics: Recorder,
) -> None:
    @timed(metrics, "talk")
    async def talk() -> AsyncGenerator[str, str]:
        heard = yield "ready"
        try:
            yield heard
        except KeyError:
            yield "caught"

    talking = talk()
    assert await talking.__anext__() == "ready"
    assert await talking.asend("hello") == "hello"
    assert await talking.athrow(KeyError("k")) == "caught"
    with pytest.raises(StopAsyncIteration):
        await talking.__anext__()
    assert metrics.labels == [None]


@pytest.mark.anyio
async def test_an_asynchronous_generator_that_is_closed_early_cleans_up(metrics: Recorder) -> None:
    cleaned: list[str] = []

    @timed(metrics, "read")
    async def read() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    numbers = read()
    await numbers.__anext__()
    await numbers.aclose()
    assert cleaned == ["up"]
    assert metrics.labels == [None]


@pytest.mark.anyio
async def test_an_asynchronous_generator_that_fails_is_labelled(metrics: Recorder) -> None:
    @timed(metrics, "read")
    async def read() -> AsyncIterator[int]:
        yield 1
        raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        [number async for number in read()]
    assert metrics.labels == [{"error_type": "OSError"}]


def test_metadata_is_kept(metrics: Recorder) -> None:
    def function(number: int, *, flag: bool = False) -> str:
        """Says it."""
        return f"{number}{flag}"

    decorated = timed(metrics, "a")(function)
    assert (decorated.__name__, decorated.__doc__) == ("function", "Says it.")
    assert inspect.signature(decorated) == inspect.signature(function)


@pytest.mark.parametrize("candidate", [Recorder, staticmethod(len), classmethod(type), 5, None])
def test_what_is_no_function_is_refused(metrics: Recorder, candidate: Any) -> None:
    with pytest.raises(TypeError, match=r"timed decorates functions, got .*decorate the function"):
        timed(metrics, "a")(candidate)


def test_a_recursive_function_is_timed_at_each_depth(metrics: Recorder, clock: Clock) -> None:
    @timed(metrics, "depth")
    def descend(depth: int) -> None:
        clock.advance(1)
        if depth > 1:
            descend(depth - 1)

    descend(3)
    assert durations(metrics) == [1, 2, 3]


def test_one_object_can_be_entered_while_it_is_entered(metrics: Recorder, clock: Clock) -> None:
    timer = timed(metrics, "nested")
    with timer:
        clock.advance(10)
        with timer:
            clock.advance(1)
    with timer:
        clock.advance(7)
    assert durations(metrics) == [1, 11, 7]


def test_different_objects_nest(metrics: Recorder, clock: Clock) -> None:
    outer, inner = timed(metrics, "outer"), timed(metrics, "inner")
    with outer:
        clock.advance(10)
        with inner:
            clock.advance(1)
    assert [(call.name, round(call.value)) for call in metrics.calls] == [
        ("inner", 1),
        ("outer", 11),
    ]


def test_threads_that_share_an_object_find_their_own_begin(metrics: Recorder, clock: Clock) -> None:
    timer = timed(metrics, "shared")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with timer:
            entered.set()
            assert leave.wait(60)

    thread = threading.Thread(target=hold)
    with timer:
        clock.advance(100)
        thread.start()
        assert entered.wait(60)
        clock.advance(10)
    leave.set()
    thread.join()
    assert durations(metrics) == [110, 10]


@pytest.mark.anyio
async def test_tasks_that_share_an_object_find_their_own_begin(metrics: Recorder, clock: Clock) -> None:
    timer = timed(metrics, "shared")
    first_entered, second_entered, first_left = (asyncio.Event() for _ in range(3))

    async def first() -> None:
        async with timer:
            first_entered.set()
            await second_entered.wait()
            clock.advance(10)
        first_left.set()

    async def second() -> None:
        await first_entered.wait()
        clock.advance(100)
        async with timer:
            second_entered.set()
            await first_left.wait()
            clock.advance(1)

    async with timer:
        await asyncio.gather(first(), second())
    assert durations(metrics) == [110, 11, 111]


def test_an_exit_in_another_context_is_timed_too(metrics: Recorder, clock: Clock) -> None:
    stack = ExitStack()
    contextvars.copy_context().run(stack.enter_context, timed(metrics, "elsewhere"))
    clock.advance(5)
    contextvars.copy_context().run(stack.close)
    assert durations(metrics) == [5]


def test_an_exit_without_an_entry_reports_nothing(metrics: Recorder) -> None:
    timed(metrics, "never").__exit__(None, None, None)
    assert metrics.calls == []


def test_labels_are_read_when_the_block_ends(metrics: Recorder) -> None:
    labels = {"result": "unknown"}
    with timed(metrics, "query", labels):
        labels["result"] = "found"
    assert metrics.labels == [{"result": "found"}]


def test_what_is_reported_is_a_copy_of_the_labels(metrics: Recorder) -> None:
    labels = {"result": "found"}
    with timed(metrics, "query", labels):
        pass
    assert metrics.labels[0] is not labels


def test_no_collector_is_no_failure() -> None:
    @timed(None, "a")
    def function() -> int:
        return 1

    with timed(None, "a"):
        assert function() == 1


def test_any_object_with_timing_will_do(clock: Clock) -> None:
    taken: list[tuple[str, float, dict[str, str] | None]] = []

    class TimingsOnly:
        def timing(self, what: str, how_long: float, marks: dict[str, str] | None) -> None:
            taken.append((what, how_long, marks))

    with timed(TimingsOnly(), "a"):
        pass
    assert taken == [("a", 0, None)]


def test_a_collector_that_fails_is_mentioned_once_and_never_reaches_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Broken):
        pass

    for _ in range(2):
        with timed(Failing(), "a"):
            pass
    with pytest.raises(ValueError, match="the caller's own"), timed(Failing(), "a"):
        raise ValueError("the caller's own")
    [record] = caplog.records
    assert record.name == "gds_metrics"
    assert "a timing for Failing failed: RuntimeError" in record.getMessage()


@pytest.mark.parametrize("collector", [object(), 5])
def test_what_is_no_collector_never_reaches_the_caller(collector: Any) -> None:
    with timed(collector, "a"):
        pass


def test_labels_that_are_none_never_reach_the_caller(metrics: Recorder) -> None:
    labels: Any = 5
    with timed(metrics, "a", labels):
        pass
    with pytest.raises(ValueError, match="no"), timed(metrics, "a", labels):
        raise ValueError("no")
