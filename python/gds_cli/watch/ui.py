"""What somebody has chosen to see, what keys do to it, and which rows that are. Knows no terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from gds_cli.watch.trees import Branch, Trees

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gds_cli.watch.picture import Picture, Session, Space, Statement

__all__ = [
    "DURATIONS",
    "VIEWS",
    "Branch",
    "Request",
    "Ui",
    "activity",
    "blocking",
    "databases",
    "statements",
    "waiting",
]

VIEWS = ("all", "activity", "waits", "blocking", "statements", "replicas", "space", "progress", "metrics", "alerts")
PARTS = {"all": "activity", "replicas": "replication"}
"""What a view is called among the parts of a picture, where that differs."""

DURATIONS = ("statement", "transaction", "session")
INTERVALS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
PAGE = 10


class Request(NamedTuple):
    """What somebody wants that is not about what is shown."""

    kind: Literal["quit", "refresh", "cancel", "terminate", "interval", "pause"]
    session: Session | None = None
    seconds: float = 0.0


# ------------------------------------------------------------------ rows
def _spent(session: Session, duration: str) -> float:
    found = {
        "statement": session.seconds,
        "transaction": session.transaction_seconds,
        "session": session.connected_seconds,
    }[duration]
    return -1.0 if found is None else found


ACTIVITY_SORTS: dict[str, Callable[[Session, str], tuple[object, ...]]] = {
    "time": lambda each, duration: (-_spent(each, duration),),
    "user": lambda each, _: (each.user,),
    "database": lambda each, _: (each.database,),
    "client": lambda each, _: (each.client, each.application),
    "wait": lambda each, _: (each.wait is None, each.wait or ""),
    "session": lambda each, _: (len(each.id), each.id),
}
STATEMENT_SORTS: dict[str, Callable[[Statement], float]] = {
    "load": lambda each: each.seconds_per_second or 0.0,
    "calls": lambda each: each.calls_per_second or 0.0,
    "rows": lambda each: each.rows_per_second or 0.0,
    "mean": lambda each: each.seconds / each.calls if each.calls else 0.0,
    "total": lambda each: each.seconds,
    "reads": lambda each: each.read_blocks,
}
SPACE_SORTS: dict[str, Callable[[Space], float]] = {
    "size": lambda each: each.size_bytes or 0.0,
    "growth": lambda each: each.growth_bytes_per_second or 0.0,
    "dead": lambda each: each.dead_rows or 0.0,
    "scans": lambda each: each.scans or 0.0,
}
SORTS = {
    "all": tuple(ACTIVITY_SORTS),
    "activity": tuple(ACTIVITY_SORTS),
    "statements": tuple(STATEMENT_SORTS),
    "space": tuple(SPACE_SORTS),
}


def _matches(session: Session, word: str) -> bool:
    told = (session.id, session.user, session.database, session.client, session.application, session.statement)
    return any(word in each.lower() for each in (*told, session.state, session.wait or "", session.kind))


def activity(picture: Picture, ui: Ui) -> list[Session]:
    """Sessions as chosen: those that do something first, and in the order asked for."""
    needed = {blocker for each in picture.sessions for blocker in each.blocked_by}
    found = [
        each
        for each in picture.sessions
        if (ui.idle or each.running or each.blocked_by or each.id in needed)
        and (ui.background or not each.background)
        and not each.own
        and _matches(each, ui.filter)
    ]
    key = ACTIVITY_SORTS[ui.sort_of("activity")]
    found.sort(key=lambda each: (len(each.id), each.id))
    found.sort(key=lambda each: key(each, ui.duration), reverse=ui.reversed)
    return found


def waiting(picture: Picture, ui: Ui) -> list[Session]:
    """Sessions of clients that wait in the middle of something, and the server's where asked for."""
    idle = ("Activity:", "Client:ClientRead")
    found = [
        each
        for each in picture.sessions
        if each.wait and not each.own and not each.wait.startswith(idle) and _matches(each, ui.filter)
    ]
    return sorted(found, key=lambda each: (-(each.seconds or 0.0), len(each.id), each.id))


def blocking(picture: Picture, ui: Ui) -> list[Branch]:
    """The trees of who waits for whom. One that waits for several is shown below each, those below it only once."""
    rows = Trees(picture.sessions).rows()
    return [each for each in rows if _matches(each.session, ui.filter)] if ui.filter else rows


def statements(picture: Picture, ui: Ui) -> list[Statement]:
    """Statements as chosen."""
    key = STATEMENT_SORTS[ui.sort_of("statements")]
    found = [each for each in picture.statements if ui.filter in f"{each.text} {each.database}".lower()]
    return sorted(found, key=lambda each: (key(each), each.seconds), reverse=not ui.reversed)


def databases(picture: Picture, ui: Ui, kind: str) -> list[Space]:
    """Databases, or tables, as chosen."""
    key = SPACE_SORTS[ui.sort_of("space")]
    found = [each for each in picture.space if each.kind == kind and ui.filter in each.name.lower()]
    return sorted(found, key=key, reverse=not ui.reversed)


# ------------------------------------------------------------------ keys
@dataclass
class Ui:
    """What is chosen. `press` is all that changes it."""

    view: str = "all"
    interval_seconds: float = 1.0
    paused: bool = False
    reversed: bool = False
    idle: bool = False
    background: bool = False
    duration: str = DURATIONS[0]
    filter: str = ""
    typing: bool = False
    """Whether keys are letters of the filter."""

    selected: str | None = None
    """The id of a session or a statement."""

    inside: bool = False
    """Whether the selected one is looked into."""

    help: bool = False
    asked: Request | None = None
    """What waits for a yes."""

    said: str = ""
    trouble: bool = False
    sorts: dict[str, str] = field(default_factory=dict)

    def sort_of(self, view: str) -> str:
        """What the rows of a view are in the order of."""
        view = "activity" if view == "all" else view
        return self.sorts.get(view) or SORTS[view][0]

    def say(self, text: str, *, trouble: bool = False) -> None:
        """A word in the last line, until the next key."""
        self.said, self.trouble = text, trouble

    def rows(self, picture: Picture) -> Sequence[Session | Statement]:
        """What can be selected in the view."""
        if self.view in ("all", "activity"):
            return activity(picture, self)
        if self.view == "waits":
            return waiting(picture, self)
        if self.view == "blocking":
            return [each.session for each in blocking(picture, self)]
        return statements(picture, self) if self.view == "statements" else ()

    def session(self, picture: Picture) -> Session | None:
        """The selected session, if there is one."""
        return next((each for each in picture.sessions if each.id == self.selected), None)

    def views(self, picture: Picture | None) -> tuple[str, ...]:
        """Those that the platform can tell of."""
        if picture is None:
            return VIEWS[:1]
        return tuple(each for each in VIEWS if PARTS.get(each, each) in picture.tells)

    def press(self, key: str, picture: Picture | None) -> Request | None:
        """Do what a key says; what is wanted beyond that."""
        self.said = ""
        if key == "ctrl-c":
            return Request("quit")
        if self.asked is not None:
            asked, self.asked = self.asked, None
            if key in ("y", "Y"):
                return asked
            self.say("nothing was done")
            return None
        if self.typing:
            self._type(key)
            return None
        return self._pressed(key, picture)

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.typing = False
            self.filter = "" if key == "escape" else self.filter
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1:
            self.filter += key.lower()

    def _pressed(self, key: str, picture: Picture | None) -> Request | None:
        if key == "q":
            return Request("quit")
        if key in (" ", "p"):
            self.paused = not self.paused
            return Request("pause")
        if key == "R":
            return Request("refresh")
        if key in ("+", "-"):
            return self._faster(key == "+")
        if picture is None:
            return None
        if key in ("C", "K"):
            self._ask(key, picture)
        elif key in ("escape", "backspace", "left"):
            self._back()
        elif key in ("up", "down", "page-up", "page-down", "home", "end", "j", "k"):
            self._move({"j": "down", "k": "up"}.get(key, key), picture)
        elif key in ("enter", "right"):
            self._enter(picture)
        else:
            self._choose(key, picture)
        return None

    def _faster(self, faster: bool) -> Request:
        known = [
            each for each in INTERVALS if (each < self.interval_seconds if faster else each > self.interval_seconds)
        ]
        if known:
            self.interval_seconds = known[-1] if faster else known[0]
        return Request("interval", seconds=self.interval_seconds)

    def _ask(self, key: str, picture: Picture) -> None:
        session = self.session(picture)
        if session is None:
            self.say("no session is selected; ↑ and ↓ select one")
        else:
            self.asked = Request("cancel" if key == "C" else "terminate", session)

    def _back(self) -> None:
        if self.inside or self.help:
            self.inside = self.help = False
        elif self.filter:
            self.filter = ""
        else:
            self.selected = None

    def _move(self, key: str, picture: Picture) -> None:
        rows = self.rows(picture)
        if not rows:
            return
        names = [each.id for each in rows]
        here = names.index(self.selected) if self.selected in names else None
        last = len(names) - 1
        if here is None:
            there = last if key == "end" else 0
        else:
            moves = {"up": here - 1, "down": here + 1, "page-up": here - PAGE, "page-down": here + PAGE}
            there = moves.get(key, 0 if key == "home" else last)
        self.selected = names[min(max(0, there), last)]

    def _enter(self, picture: Picture) -> None:
        names = [each.id for each in self.rows(picture)]
        if not names:
            return
        if self.selected not in names:
            self.selected = names[0]
        self.inside = True

    def _choose(self, key: str, picture: Picture) -> None:
        if key.isdecimal() or key in ("tab", "back-tab"):
            self._turn(key, picture)
        elif key in ("?", "h"):
            self.help = not self.help
        elif key == "/":
            self.typing = True
        elif key == "r":
            self.reversed = not self.reversed
        elif key == "s" and self.view in SORTS:
            names = SORTS[self.view]
            view = "activity" if self.view == "all" else self.view
            self.sorts[view] = names[(names.index(self.sort_of(view)) + 1) % len(names)]
            self.say(f"sorted by {self.sorts[view]}")
        elif key == "T":
            self.duration = DURATIONS[(DURATIONS.index(self.duration) + 1) % len(DURATIONS)]
            self.say(f"the time is that of the {self.duration}")
        elif key in ("i", "b"):
            self._toggle(key)

    def _toggle(self, key: str) -> None:
        if key == "i":
            self.idle = not self.idle
        else:
            self.background = not self.background
        what, is_shown = ("idle sessions", self.idle) if key == "i" else ("the server's own processes", self.background)
        self.say(f"{what} are {'shown' if is_shown else 'left out'}")

    def _turn(self, key: str, picture: Picture) -> None:
        views = self.views(picture)
        if not key.isdecimal():
            here = views.index(self.view) if self.view in views else 0
            self._show(views[(here + (1 if key == "tab" else -1)) % len(views)])
        elif int(key) < len(VIEWS):
            name = VIEWS[int(key)]
            if name in views:
                self._show(name)
            else:
                untold = f"{picture.system} does not tell of {name}"
                self.say("--alerts URL says where alerts are" if name == "alerts" else untold)

    def _show(self, view: str) -> None:
        self.view, self.inside, self.help = view, False, False
