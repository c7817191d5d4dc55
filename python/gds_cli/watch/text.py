"""Sessions in few words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from gds_cli.live.layout import BAD, FAINT, GOOD, WARN, clean

if TYPE_CHECKING:
    from gds_cli.watch.picture import Session

__all__ = ["clock", "one_line", "state_of", "waited"]

LINE_CHARACTERS = 1000

_STATES = {
    "active": ("active", GOOD),
    "running": ("running", GOOD),
    "idle": ("idle", FAINT),
    "idle in transaction": ("in xact", WARN),
    "idle in transaction (aborted)": ("aborted", BAD),
    "fastpath function call": ("call", GOOD),
    "disabled": ("unknown", FAINT),
    "prepared transaction": ("prepared", WARN),
}


def clock(seconds: float) -> str:
    """A time in eight cells at most: ``0.4 s``, ``5:07``, ``2:05:07``, ``3d 04h``."""
    if not math.isfinite(seconds):
        return str(seconds)
    whole = max(0.0, seconds)
    if whole < 59.95:
        return f"{whole:.1f} s" if whole else "0 s"
    minutes, rest = divmod(round(whole), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}:{rest:02d}"
    if hours < 24:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{hours // 24}d {hours % 24:02d}h"


def one_line(text: str) -> str:
    """The beginning of a statement, more than a line has room for, without what only arranges it."""
    return clean(" ".join(text[:LINE_CHARACTERS].split()))


def state_of(session: Session) -> Text:
    """Its state; one that waits for a lock is blocked, whatever else it is."""
    if session.blocked_by:
        return Text("blocked", BAD)
    name, colour = _STATES.get(session.state, (clean(session.state), FAINT if not session.running else ""))
    return Text(name, colour)


def waited(session: Session) -> Text:
    """What it waits for."""
    if not session.wait or session.wait.startswith("Activity:"):
        return Text("")
    return Text(clean(session.wait), BAD if session.blocked_by else WARN if session.running else FAINT)
