"""One session, or one statement, with all there is to tell of it; and the help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.console import Group as Stack
from rich.text import Text

from gds_cli.live.layout import BAD, FAINT, NAME, WARN, clean, count, duration, rate
from gds_cli.watch.text import clock, one_line, state_of

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

    from gds_cli.watch.picture import Picture, Session, Statement
    from gds_cli.watch.ui import Ui

__all__ = ["HELP", "helped", "looked_into"]

NAMES = 17
HELP = (
    ("q, Ctrl-C", "quit"),
    ("0 to 9, Tab", "another view"),
    ("↑ ↓ j k", "select a row; PgUp, PgDn, Home and End too"),
    ("Enter, →", "look into the selected session or statement"),
    ("Esc, ←", "back; without the filter; without the selection"),
    ("space, p", "pause: the server is asked nothing meanwhile"),
    ("R", "read now, also in a pause"),
    ("+ -", "read more often, less often"),
    ("s, r", "sort by the next column; the other way round"),
    ("T", "time of the statement, the transaction, the session"),
    ("i, b", "show idle sessions; the server's own processes"),
    ("/", "only rows that have a word in them; Enter keeps it, Esc takes it away"),
    ("C", "cancel the statement of the selected session, after a yes"),
    ("K", "terminate the selected session, after a yes"),
    ("?, h", "this, and back"),
)


def helped(room: int, width: int) -> ConsoleRenderable:
    """What each key does."""
    lines = [Text("KEYS", NAME)]
    for keys, what in HELP:
        line = Text.assemble((f"{keys:<{NAMES}}", "bold"), what)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return Stack(*lines[:room])


def looked_into(picture: Picture, ui: Ui, room: int, width: int) -> ConsoleRenderable:
    """The selected one, in so many rows."""
    if ui.view == "statements":
        statement = next((each for each in picture.statements if each.id == ui.selected), None)
        lines = _statement(statement, width) if statement else [Text("it is not among the statements any more", WARN)]
    else:
        session = ui.session(picture)
        lines = _session(session, picture, width) if session else [Text(f"session {ui.selected} has ended", WARN)]
    return Stack(*lines[:room])


def _pairs(pairs: list[tuple[str, Text | str]], width: int) -> list[Text]:
    lines = []
    for name, value in pairs:
        text = Text(clean(value)) if isinstance(value, str) else value
        if text:
            line = Text.assemble((f"{name:<{NAMES}}", FAINT), text)
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
    return lines


def _wrapped(text: str, width: int) -> list[Text]:
    """A statement as its author arranged it, within the width."""
    lines: list[Text] = []
    console = Console(width=width)
    for each in text.expandtabs(4).splitlines():
        rest = Text(clean(each))
        lines += rest.wrap(console, width) if rest.cell_len > width else [rest]
    return lines


def _session(session: Session, picture: Picture, width: int) -> list[Text]:
    known = {each.id: each for each in picture.sessions}
    lock = f"{session.lock.mode} on {session.lock.target}" if session.lock else ""
    lines = [Text(f"SESSION {clean(session.id)}", NAME)]
    lines += _pairs(
        [
            ("user", session.user),
            ("database", session.database),
            ("client", session.client),
            ("application", session.application),
            ("kind", session.kind if session.kind != "client backend" else ""),
            ("state", state_of(session)),
            ("statement for", "" if session.seconds is None else clock(session.seconds)),
            ("transaction for", "" if session.transaction_seconds is None else clock(session.transaction_seconds)),
            ("connected for", "" if session.connected_seconds is None else clock(session.connected_seconds)),
            ("waits for", session.wait or ""),
            ("lock", Text(clean(lock), BAD) if lock else ""),
        ],
        width,
    )
    for title, others in (
        ("BLOCKED BY", [known.get(each) or each for each in session.blocked_by]),
        ("BLOCKS", [each for each in picture.sessions if session.id in each.blocked_by]),
    ):
        if not others:
            continue
        lines += [Text(""), Text(title, NAME)]
        for other in others:
            if isinstance(other, str):
                lines.append(Text(f"{clean(other)}  a prepared transaction" if other == "0" else clean(other), BAD))
                continue
            spent = other.transaction_seconds if other.transaction_seconds is not None else other.seconds
            line = Text.assemble((clean(other.id), BAD), f"  {clean(other.user)}  ", state_of(other))
            line.append("" if spent is None else f"  {clock(spent)}", WARN)
            line.append(f"  {one_line(other.statement)}")
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
    title = "STATEMENT" if session.running and not session.in_transaction else "LAST STATEMENT"
    return [*lines, Text(""), Text(title, NAME), *_wrapped(session.statement, width)]


def _statement(statement: Statement, width: int) -> list[Text]:
    blocks = statement.hit_blocks + statement.read_blocks
    lines = [Text("STATEMENT of everybody who ran it", NAME)]
    lines += _pairs(
        [
            ("database", statement.database),
            ("load", "-" if (load := statement.seconds_per_second) is None else f"{load * 100:.1f}% of a session"),
            ("calls", f"{rate(statement.calls_per_second)}  {count(statement.calls)} in all"),
            ("rows", f"{rate(statement.rows_per_second)}  {count(statement.rows)} in all"),
            ("mean", duration(statement.seconds / statement.calls) if statement.calls else "-"),
            ("total", clock(statement.seconds)),
            ("cache hits", f"{statement.hit_blocks / blocks * 100:.1f}% of {count(blocks)} blocks" if blocks else "-"),
        ],
        width,
    )
    return [*lines, Text(""), *_wrapped(statement.text, width)]
