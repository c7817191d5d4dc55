"""Who waits for whom, as trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gds_cli.watch.picture import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Branch", "Trees"]


class Branch(NamedTuple):
    """A row of a tree."""

    lines: str
    session: Session
    blocks: int
    """How many wait for it, those that wait for these among them."""


class Trees:
    """The trees of some sessions: at the top who waits for nobody, below each who waits for it."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._known = {each.id: each for each in sessions}
        self._waiters: dict[str, list[Session]] = {}
        for each in sorted(sessions, key=lambda each: -(each.seconds or 0.0)):
            for blocker in each.blocked_by:
                self._waiters.setdefault(blocker, []).append(each)

    def rows(self) -> list[Branch]:
        """All of them, the one that holds up most first."""
        tops = [each for each in self._waiters if each not in self._known or not self._known[each].blocked_by]
        rows: list[Branch] = []
        seen: set[str] = set()
        # What is left after these waits in a circle, until the server ends one of it.
        for name in (*sorted(tops, key=lambda each: (-self._blocks(each), each)), *self._waiters):
            if name not in seen:
                self._grow(name, "", "", rows, seen)
        return rows

    def _grow(self, name: str, own: str, further: str, rows: list[Branch], seen: set[str]) -> None:
        rows.append(Branch(own, self._known.get(name) or _unknown(name), self._blocks(name)))
        if name in seen:
            return
        seen.add(name)
        waiters = self._waiters.get(name, ())
        for number, each in enumerate(waiters, 1):
            last = number == len(waiters)
            self._grow(each.id, further + ("└ " if last else "├ "), further + ("  " if last else "│ "), rows, seen)

    def _blocks(self, name: str) -> int:
        """How many sessions go on only after this one, each counted once."""
        found: set[str] = set()
        looked_at = [name]
        while looked_at:
            for each in self._waiters.get(looked_at.pop(), ()):
                if each.id not in found:
                    found.add(each.id)
                    looked_at.append(each.id)
        return len(found - {name})


def _unknown(name: str) -> Session:
    # PostgreSQL's way to say that a prepared transaction holds the lock.
    return Session(name, state="prepared transaction" if name == "0" else "not seen", kind="unknown")
