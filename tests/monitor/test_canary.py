from __future__ import annotations

from datetime import datetime, timezone

from gds_monitor.base import MonitoringResult, Outcome
from gds_monitor.canary import Canary


def result(*outcomes: Outcome) -> MonitoringResult:
    return MonitoringResult("one", datetime.now(timezone.utc), "id", outcomes=list(outcomes), planned=len(outcomes))


def good(seconds: float = 0.01) -> Outcome:
    return Outcome("new", pack="tried", duration_seconds=seconds)


def test_a_part_of_the_instances_has_it_first_and_all_after_good_cycles() -> None:
    canary = Canary("tried", part=0.2, cycles=5)
    names = [f"db{number}" for number in range(500)]
    first = [name for name in names if canary.chosen(name)]
    assert 50 < len(first) < 150
    assert [canary.observe(result(good())) for _ in range(5)] == [False, False, False, False, True]
    assert canary.state == "promoted"
    assert all(map(canary.chosen, names))


def test_what_costs_too_much_is_taken_back() -> None:
    canary = Canary("tried", part=1, cycles=5, seconds=0.5)
    assert canary.observe(result(good(2.0)))
    assert canary.state == "rolled_back"
    assert canary.why == "a cycle costs 2.00 s, expected at most 0.5 s"
    assert not canary.chosen("one")


def test_what_fails_too_often_is_taken_back() -> None:
    canary = Canary("tried", part=1, cycles=10, errors=0.2)
    bad = Outcome("new", reason="missing_object", pack="tried")
    assert not canary.observe(result(good(), good()))
    assert canary.observe(result(good(), bad, bad))
    assert (canary.state, canary.why) == ("rolled_back", "40% of it fails, expected at most 20%")


def test_other_packs_and_servers_that_are_away_say_nothing_about_it() -> None:
    canary = Canary("tried", part=1, cycles=1)
    assert not canary.observe(result(Outcome("old", reason="error", pack="other")))
    assert not canary.observe(result(Outcome("new", reason="connection", pack="tried")))
    assert not canary.observe(result(Outcome("new", reason="role", pack="tried")))
    assert canary.state == "trying"
