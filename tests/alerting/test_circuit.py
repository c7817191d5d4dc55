"""`CircuitBreaker`: what fails again and again is left alone for a while."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gds_alerting import AlertConfigurationError, CircuitBreaker, CircuitOpenError, CircuitState


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def fails() -> None:
    raise OSError("away")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(failure_threshold=3, timeout=60, success_threshold=2, clock=clock)


def opened(breaker: CircuitBreaker) -> None:
    for _ in range(breaker.failure_threshold):
        with pytest.raises(OSError, match="away"):
            breaker.call(fails)
    assert breaker.state is CircuitState.OPEN


def test_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            breaker.call(fails)
    assert breaker.call(lambda: 7) == 7
    assert breaker.failure_count == 0
    opened(breaker)
    with pytest.raises(CircuitOpenError) as refused:
        breaker.call(pytest.fail)
    assert refused.value.retry_after_seconds == 60


def test_so_many_successes_close_it(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.seconds = 60
    states = [breaker.state]
    for _ in range(2):
        breaker.call(lambda: None)
        states.append(breaker.state)
    assert states == [CircuitState.HALF_OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED]


def test_one_failure_opens_it_again(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.seconds = 60
    with pytest.raises(OSError, match="away"):
        breaker.call(fails)
    assert breaker.state is CircuitState.OPEN
    clock.seconds = 119
    with pytest.raises(CircuitOpenError):
        breaker.call(pytest.fail)


def test_one_call_at_a_time_tries(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.seconds = 60
    with breaker.guard(), pytest.raises(CircuitOpenError):
        breaker.call(pytest.fail)


def test_coroutines_are_calls_too_and_one_that_is_cancelled_counts_for_nothing(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    async def answers(value: int) -> int:
        return value

    async def hangs(entered: asyncio.Event) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def main() -> None:
        entered = asyncio.Event()
        assert await breaker.call(answers, 7) == 7
        opened(breaker)
        clock.seconds = 60
        probe = asyncio.ensure_future(breaker.call(hangs, entered))
        await entered.wait()
        with pytest.raises(CircuitOpenError):
            await breaker.call(answers, 7)
        probe.cancel()
        await asyncio.wait([probe])
        assert await breaker.call(answers, 7) == 7

    asyncio.run(main())


def test_it_can_be_closed_by_hand(breaker: CircuitBreaker) -> None:
    opened(breaker)
    breaker.reset()
    assert repr(breaker).endswith("state='closed')")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"failure_threshold": 0}, "failure_threshold=0: expected a whole number, 1 or more"),
        ({"success_threshold": True}, "success_threshold=True"),
        ({"timeout": -1}, "timeout=-1: expected seconds"),
        ({"timeout": timedelta(0)}, "timeout=datetime.timedelta(0)"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AlertConfigurationError) as refused:
        CircuitBreaker(**settings)
    assert message in str(refused.value)
