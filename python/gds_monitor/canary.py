"""A pack that is tried on a part of the instances, and taken back when it costs or fails too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gds_monitor.scheduler import splay

if TYPE_CHECKING:
    from gds_monitor.base import MonitoringResult

__all__ = ["Canary"]


class Canary:
    """What is known of a pack so far.

    Args:
        pack: The name of the pack.
        part: Of the instances that have it first.
        cycles: After so many of its cycles within the budget all have it.
        seconds: What a cycle of it may cost on average.
        errors: The part of its outcomes that may be failures.
    """

    def __init__(
        self, pack: str, *, part: float = 0.1, cycles: int = 20, seconds: float = 1.0, errors: float = 0.05
    ) -> None:
        self.pack = pack
        self.state: Literal["trying", "promoted", "rolled_back"] = "trying"
        self.why = ""
        self._part, self._wanted, self._seconds, self._errors = part, cycles, seconds, errors
        self._cycles = self._outcomes = self._failed = 0
        self._cost = 0.0

    def chosen(self, instance_id: str) -> bool:
        """Whether an instance has the pack now; the same ones in each process."""
        return self.state == "promoted" or (self.state == "trying" and splay(f"canary {instance_id}") < self._part)

    def observe(self, result: MonitoringResult) -> bool:
        """Take a result into account; whether that has decided."""
        own = [each for each in result.outcomes if each.pack == self.pack and not each.skipped]
        # A server that is away says nothing about the pack.
        if self.state != "trying" or not own or all(each.reason == "connection" for each in own):
            return False
        self._cycles += 1
        self._outcomes += len(own)
        self._failed += sum(not each.ok for each in own)
        self._cost += sum(each.duration_seconds for each in own)
        # One bad cycle is none of the pack's business; a fifth of the trial is.
        if self._cycles >= max(1, self._wanted // 5):
            cost, failed = self._cost / self._cycles, self._failed / self._outcomes
            if cost > self._seconds:
                self.state, self.why = (
                    "rolled_back",
                    f"a cycle costs {cost:.2f} s, expected at most {self._seconds:g} s",
                )
            elif failed > self._errors:
                self.state, self.why = "rolled_back", f"{failed:.0%} of it fails, expected at most {self._errors:.0%}"
            elif self._cycles >= self._wanted:
                self.state = "promoted"
        return self.state != "trying"
