from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gds_monitor.scheduler import MonitoringScheduler, splay
from tests.monitor.clock import FakeClock, settled
from tests.monitor.doubles import Counting, Kept

pytestmark = pytest.mark.anyio

INTERVAL = 30.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
def made(clock: FakeClock) -> Callable[..., MonitoringScheduler]:
    def make(**settings: Any) -> MonitoringScheduler:
        return MonitoringScheduler(clock=clock, **settings)

    return make


async def test_a_thousand_targets_keep_their_places_and_never_overlap(clock: FakeClock) -> None:
    begun: dict[str, list[float]] = {}

    class Noting(Counting):
        async def collect(self) -> list[Any]:
            begun.setdefault(self.instance_id, []).append(clock.time())
            return await super().collect()

    scheduler = MonitoringScheduler(clock=clock)
    collectors = [Noting(f"db{number}") for number in range(1000)]
    for collector in collectors:
        scheduler.schedule_job(collector.instance_id, collector, INTERVAL, [])
    await scheduler.start()
    await clock.advance(4 * INTERVAL)
    await scheduler.stop()
    assert {collector.most for collector in collectors} == {1}
    for instance, times in begun.items():
        # The first comes soon; further ones keep the place that the name has.
        assert times[0] <= 1000 + 1000 * 0.02
        assert {round((at - splay(instance) * INTERVAL) % INTERVAL, 6) % INTERVAL for at in times[1:]} == {0.0}
        assert all(later - at >= INTERVAL / 2 for at, later in itertools.pairwise(times))
    # No second of the interval has more than a few times its share of a thousand in thirty.
    seconds = [0] * 30
    for times in begun.values():
        seconds[int(times[-1] % INTERVAL)] += 1
    assert max(seconds) < 3 * 1000 / 30


async def test_a_cycle_that_is_still_running_makes_the_next_be_skipped_and_counted(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    slow = Counting()
    slow.gate, slow.deaf = asyncio.Event(), True
    scheduler = made()
    job = scheduler.schedule_job("slow", slow, INTERVAL, [])
    await scheduler.start()
    await clock.advance(3 * INTERVAL)
    assert (slow.calls, slow.most) == (1, 1)
    assert slow.aborted
    assert job.skipped["deadline"] == job.skipped["aborted"] == 1
    assert job.skipped["still_running"] >= 2
    slow.gate.set()
    await settled()
    await clock.advance(INTERVAL)
    assert slow.calls == 2
    await scheduler.stop()


async def test_a_cycle_that_does_not_even_listen_gives_its_permit_back(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    stuck = Counting("stuck")
    stuck.gate, stuck.deaf = asyncio.Event(), True
    other = Counting("other")
    scheduler = made(concurrency=1)
    scheduler.schedule_job("stuck", stuck, INTERVAL, [])
    await scheduler.start()
    await clock.advance(1)
    scheduler.schedule_job("other", other, INTERVAL, [])
    await clock.advance(2 * INTERVAL)
    assert other.calls >= 1
    stuck.gate.set()
    await scheduler.stop()


async def test_platforms_do_not_take_each_other_s_room(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    slow = [Counting(f"slow{number}", "snowflake") for number in range(5)]
    for each in slow:
        each.gate = asyncio.Event()
    quick = Counting("quick", "postgresql")
    scheduler = made(concurrency={"snowflake": 2})
    for each in [*slow, quick]:
        scheduler.schedule_job(each.instance_id, each, INTERVAL, [])
    await scheduler.start()
    await clock.advance(INTERVAL * 0.5)
    assert sum(each.running for each in slow) == 2
    assert quick.calls == 1
    for each in slow:
        assert each.gate is not None
        each.gate.set()
    await settled()
    assert [each.calls for each in slow] == [1] * 5
    await scheduler.stop()


async def test_what_finds_no_room_until_its_deadline_is_skipped_and_counted(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    first, second = Counting("first"), Counting("second")
    first.gate = second.gate = asyncio.Event()
    first.deaf = second.deaf = True
    scheduler = made(concurrency=1)
    jobs = [scheduler.schedule_job(each.instance_id, each, INTERVAL, []) for each in (first, second)]
    await scheduler.start()
    await clock.advance(INTERVAL * 0.95)
    reasons = [job.skipped for job in jobs]
    assert {"no_room": 1} in reasons
    first.gate.set()
    await scheduler.stop()


async def test_a_late_event_loop_skips_and_counts_what_it_missed(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    collector = Counting()
    scheduler = made()
    job = scheduler.schedule_job("one", collector, INTERVAL, [])
    await scheduler.start()
    await clock.advance(INTERVAL)
    calls = collector.calls
    clock.now += 10 * INTERVAL  # nothing ran meanwhile
    await clock.advance(0)
    assert collector.calls == calls + 1
    assert job.skipped["late"] >= 9
    await scheduler.stop()


async def test_liveness_fails_when_cycles_stop_and_comes_back(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    collector = Counting()
    scheduler = made()
    assert scheduler.alive() == "not running"
    scheduler.schedule_job("one", collector, INTERVAL, [])
    await scheduler.start()
    await clock.advance(INTERVAL)
    assert scheduler.alive() == ""
    clock.now += 4 * INTERVAL
    assert "no cycle has ended for" in scheduler.alive()
    assert scheduler.stalled() == ["one"]
    await clock.advance(0)
    assert scheduler.alive() == ""
    await scheduler.stop()


async def test_a_cycle_that_fails_counts_as_one_that_ended(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    collector = Counting()
    collector.error = OSError("the server is away")
    scheduler = made()
    job = scheduler.schedule_job("one", collector, INTERVAL, [])
    await scheduler.start()
    await clock.advance(2 * INTERVAL)
    assert scheduler.alive() == ""
    assert job.last is not None
    assert job.last.error == "the server is away"
    await scheduler.stop()


async def test_a_new_collector_takes_over_between_two_cycles_and_none_is_lost(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    old, new, output = Counting(), Counting(), Kept()
    scheduler = made()
    job = scheduler.schedule_job("one", old, INTERVAL, [output])
    await scheduler.start()
    await clock.advance(INTERVAL)
    scheduler.schedule_job("one", new, INTERVAL, [output])
    await clock.advance(2 * INTERVAL)
    assert scheduler.jobs == {"one": job}
    assert (new.calls, job.cycles) == (2, old.calls + 2)
    assert len(output.metrics) == job.cycles
    await scheduler.stop()


async def test_trigger_runs_a_cycle_now_and_joins_one_that_runs(
    made: Callable[..., MonitoringScheduler], clock: FakeClock
) -> None:
    collector = Counting()
    scheduler = made()
    scheduler.schedule_job("one", collector, INTERVAL, [])
    result = await scheduler.trigger("one")
    assert (result.success, collector.calls) == (True, 1)
    collector.gate = asyncio.Event()
    both = asyncio.gather(scheduler.trigger("one"), scheduler.trigger("one"))
    await settled()
    collector.gate.set()
    first, second = await both
    assert first is second
    assert (collector.calls, collector.most) == (2, 1)
    with pytest.raises(KeyError):
        await scheduler.trigger("two")


async def test_stop_ends_what_does_not_end(made: Callable[..., MonitoringScheduler], clock: FakeClock) -> None:
    collector = Counting()
    collector.gate = asyncio.Event()
    scheduler = made()
    scheduler.schedule_job("one", collector, INTERVAL, [])
    await scheduler.start()
    await clock.advance(1)
    await scheduler.stop(timeout_seconds=0.01)
    assert collector.running == 0


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
def test_an_interval_that_is_none_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match=r"interval=.* of one: expected seconds, more than 0"):
        MonitoringScheduler().schedule_job("one", Counting(), interval, [])


def test_a_limit_that_lets_nothing_run_is_refused() -> None:
    with pytest.raises(ValueError, match="concurrency=0 of mongodb: expected 1 or more"):
        MonitoringScheduler(concurrency={"mongodb": 0})
