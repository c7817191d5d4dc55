"""The parts of a view, each as rows and columns for the width there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gds_cli.live.layout import BAD, FAINT, GOOD, WARN, Section, clean, count, duration, rate, with_unit
from gds_cli.watch import ui as choice
from gds_cli.watch.text import clock, one_line, state_of, waited

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from gds_cli.watch.picture import Picture, Session
    from gds_cli.watch.ui import Ui

    Build: TypeAlias = Callable[[Picture, Ui, int], Section]

__all__ = [
    "OF",
    "activity",
    "alerts",
    "blocking",
    "databases",
    "metrics",
    "progress",
    "replicas",
    "statements",
    "tables",
    "waits_now",
]

GAP = 1
NOTHING = {
    "activity": "nobody does anything; i shows idle sessions",
    "waits": "nobody waits",
    "blocking": "nobody waits for a lock",
    "statements": "none yet",
    "replicas": "no other node",
    "space": "nothing yet",
    "progress": "no vacuum, index, copy or backup is running",
    "metrics": "none",
    "alerts": "none of this server is open",
}


def _nothing(picture: Picture, part: str, view: str) -> Text:
    why = picture.missing.get(part)
    return Text(clean(why), WARN) if why else Text(NOTHING[view], FAINT)


def _titled(picture: Picture, part: str, title: str) -> str:
    """A title, with what is missing although there are rows."""
    why = picture.missing.get(part)
    return f"{title}  {clean(why)}" if why else title


def _section(
    title: str,
    columns: Sequence[tuple[str, int, str]],
    rows: Sequence[Sequence[Text]],
    nothing: Text,
    selected: int | None = None,
) -> Section:
    """A section by its columns: name, width (0 is what is left, below 0 is not there), and `<` or `>`."""
    kept = [index for index, (_, size, _) in enumerate(columns) if size >= 0]
    return Section(
        tuple(columns[index][0] for index in kept),
        tuple(columns[index][1] for index in kept),
        [tuple(row[index] for index in kept) for row in rows],
        nothing,
        left=frozenset(at for at, index in enumerate(kept) if columns[index][2] == "<"),
        gap=GAP,
        selected=selected,
        title=title,
    )


def _sessions_of(title: str, sessions: Sequence[Session], ui: Ui, width: int, nothing: Text) -> Section:
    wide, wider = width >= 110, width >= 150
    number = max([7, *(len(each.id) for each in sessions)])
    columns = (
        ("ID", min(number, 14), ">"),
        ("DATABASE", 14 if wide else -1, "<"),
        ("USER", 12 if wide else 9, "<"),
        ("CLIENT", 21 if wider else -1, "<"),
        ("APPLICATION", 18 if wider else -1, "<"),
        ("STATE", 8, "<"),
        ({"statement": "TIME", "transaction": "XACT", "session": "CONN"}[ui.duration], 8, ">"),
        ("WAIT", 22 if wide else 13, "<"),
        ("STATEMENT", 0, "<"),
    )
    rows = []
    for each in sessions:
        faint = "" if each.running else FAINT
        spent = {
            # One that keeps a transaction open does so for that long, whatever it ran last.
            "statement": each.transaction_seconds if each.in_transaction else each.seconds,
            "transaction": each.transaction_seconds,
            "session": each.connected_seconds,
        }[ui.duration]
        late = spent is not None and each.running and spent > (300 if ui.duration == "transaction" else 30)
        rows.append(
            (
                Text(clean(each.id), faint),
                Text(clean(each.database), faint),
                Text(clean(each.user or each.kind), faint),
                Text(clean(each.client), FAINT),
                Text(clean(each.application), FAINT),
                state_of(each),
                Text("" if spent is None else clock(spent), WARN if late and ui.duration != "session" else faint),
                waited(each),
                Text(one_line(each.statement), faint),
            )
        )
    names = [each.id for each in sessions]
    selected = names.index(ui.selected) if ui.selected in names else None
    return _section(title, columns, rows, nothing, selected)


def activity(picture: Picture, ui: Ui, width: int) -> Section:
    """Sessions, as chosen."""
    sessions = choice.activity(picture, ui)
    nothing = _nothing(picture, "activity", "activity")
    order = "" if ui.sort_of("activity") == "time" else f" by {ui.sort_of('activity')}"
    return _sessions_of(_titled(picture, "activity", f"ACTIVITY{order}"), sessions, ui, width, nothing)


def _waiting(picture: Picture, ui: Ui, width: int) -> Section:
    sessions = choice.waiting(picture, ui)
    return _sessions_of("WHO WAITS", sessions, ui, width, _nothing(picture, "activity", "waits"))


def waits_now(picture: Picture, ui: Ui, width: int) -> Section:  # noqa: ARG001 - as all of them
    """What is waited for."""
    bars = 20 if width >= 60 else 0
    most = max((each.share for each in picture.waits), default=0.0)
    rows = [
        (
            Text(clean(each.event), "" if each.sessions else FAINT),
            Text("█" * round(each.share / most * bars) if most else "", "cyan"),
            Text(f"{each.share:.2f}"),
            Text(str(each.sessions), "" if each.sessions else FAINT),
        )
        for each in picture.waits
    ]
    columns = (("EVENT", 0, "<"), ("", bars or -1, "<"), ("AVERAGE", 8, ">"), ("NOW", 6, ">"))
    return _section("WAITS of the last readings", columns, rows, _nothing(picture, "waits", "waits"))


def blocking(picture: Picture, ui: Ui, width: int) -> Section:
    """Who blocks whom."""
    branches = choice.blocking(picture, ui)
    wide = width >= 110
    rows = []
    for lines, session, blocks in branches:
        lock = f"{session.lock.mode.removesuffix('Lock')} on {session.lock.target}" if session.lock else ""
        head = Text(lines, FAINT).append(clean(session.id), BAD if not session.blocked_by else "")
        holds = Text(f"blocks {blocks}", BAD if not session.blocked_by else WARN) if blocks else Text("")
        spent = session.seconds if session.blocked_by else session.transaction_seconds
        rows.append(
            (
                head,
                Text(clean(session.user), FAINT),
                state_of(session),
                Text("" if spent is None else clock(spent)),
                Text(clean(lock), WARN) if lock else holds,
                Text(one_line(session.statement)),
            )
        )
    deepest = max([9, *(each[0].cell_len for each in rows)])
    columns = (
        ("SESSION", min(deepest, 20), "<"),
        ("USER", 12 if wide else -1, "<"),
        ("STATE", 8, "<"),
        ("TIME", 8, ">"),
        ("LOCK", 36 if wide else 20, "<"),
        ("STATEMENT", 0, "<"),
    )
    names = [each.session.id for each in branches]
    selected = names.index(ui.selected) if ui.selected in names else None
    return _section("BLOCKING", columns, rows, _nothing(picture, "blocking", "blocking"), selected)


def statements(picture: Picture, ui: Ui, width: int) -> Section:
    """Statements, whoever ran them."""
    found = choice.statements(picture, ui)
    wide = width >= 110

    def each_second(value: float | None) -> Text:
        return Text(rate(value), "" if value else FAINT)

    rows = []
    for each in found:
        load = each.seconds_per_second
        blocks = each.hit_blocks + each.read_blocks
        rows.append(
            (
                Text("-" if load is None else f"{load * 100:.1f}%", "" if load else FAINT),
                each_second(each.calls_per_second),
                Text(duration(each.seconds / each.calls) if each.calls else "-"),
                each_second(each.rows_per_second),
                Text(f"{each.hit_blocks / blocks * 100:.1f}%" if blocks else "-", FAINT),
                Text(clock(each.seconds), FAINT),
                Text(clean(each.database), FAINT),
                Text(one_line(each.text)),
            )
        )
    columns = (
        ("LOAD", 7, ">"),
        ("CALLS", 9, ">"),
        ("MEAN", 8, ">"),
        ("ROWS", 9, ">") if width >= 70 else ("ROWS", -1, ">"),
        ("HITS", 6 if wide else -1, ">"),
        ("TOTAL", 8 if wide else -1, ">"),
        ("DATABASE", 12 if wide else -1, "<"),
        ("STATEMENT", 0, "<"),
    )
    names = [each.id for each in found]
    selected = names.index(ui.selected) if ui.selected in names else None
    title = _titled(picture, "statements", f"STATEMENTS by {ui.sort_of('statements')}") if found else "STATEMENTS"
    return _section(title, columns, rows, _nothing(picture, "statements", "statements"), selected)


def replicas(picture: Picture, ui: Ui, width: int) -> Section:  # noqa: ARG001
    """Other nodes, and how far they are behind."""
    rows = [
        (
            Text(clean(each.name)),
            Text(clean(each.role), FAINT),
            Text(clean(each.state), GOOD if each.state in ("streaming", "SECONDARY", "PRIMARY") else WARN),
            Text("" if each.sync_state == "unknown" else clean(each.sync_state), FAINT),
            Text("-" if each.lag_bytes is None else with_unit(each.lag_bytes, "bytes")),
            Text("-" if each.lag_seconds is None else clock(each.lag_seconds), WARN if each.lag_seconds else GOOD),
        )
        for each in picture.replicas
    ]
    columns = (
        ("NODE", 0, "<"),
        ("ROLE", 9, "<"),
        ("STATE", 12, "<"),
        ("SYNC", 8, "<") if width >= 60 else ("SYNC", -1, "<"),
        ("BEHIND", 10, ">"),
        ("TIME", 8, ">"),
    )
    return _section("REPLICATION", columns, rows, _nothing(picture, "replication", "replicas"))


def _growth(value: float | None) -> Text:
    if value is None:
        return Text("-", FAINT)
    if not value:
        return Text("", FAINT)
    sign = "+" if value > 0 else "-"
    return Text(f"{sign}{with_unit(abs(value), 'bytes')}/s", WARN if value > 0 else FAINT)


def databases(picture: Picture, ui: Ui, width: int) -> Section:  # noqa: ARG001
    """Databases and their sizes."""
    rows = [
        (
            Text(clean(each.name)),
            Text("-" if each.size_bytes is None else with_unit(each.size_bytes, "bytes")),
            _growth(each.growth_bytes_per_second),
        )
        for each in choice.databases(picture, ui, "database")
    ]
    columns = (("NAME", 0, "<"), ("SIZE", 10, ">"), ("GROWTH", 13, ">"))
    return _section("DATABASES", columns, rows, _nothing(picture, "space", "space"))


def tables(picture: Picture, ui: Ui, width: int) -> Section:
    """The largest tables of the database that is watched."""
    found = choice.databases(picture, ui, "table")
    # Only some platforms have rows that are dead.
    has_dead = any(each.dead_rows is not None for each in found)
    wide = width >= 100 and has_dead
    rows = []
    for each in found:
        dead = each.dead_rows or 0.0
        many = dead > 1000 and dead > 0.2 * (each.rows or 0.0)
        rows.append(
            (
                Text(clean(each.name)),
                Text("locked" if each.size_bytes is None else with_unit(each.size_bytes, "bytes")),
                _growth(each.growth_bytes_per_second),
                Text(count(each.rows or 0.0), FAINT),
                Text(count(dead), WARN if many else FAINT),
                Text(count(each.scans or 0.0), FAINT),
                Text("never" if each.vacuumed_seconds is None else f"{clock(each.vacuumed_seconds)} ago", FAINT),
            )
        )
    columns = (
        ("NAME", 0, "<"),
        ("SIZE", 10, ">"),
        ("GROWTH", 13 if width >= 70 else -1, ">"),
        ("ROWS", 11 if width >= 60 else -1, ">"),
        ("DEAD", 9 if has_dead else -1, ">"),
        ("SCANS", 9 if wide else -1, ">"),
        ("VACUUMED", 13 if wide else -1, ">"),
    )
    return _section("TABLES of this database", columns, rows, _nothing(picture, "space", "space"))


def progress(picture: Picture, ui: Ui, width: int) -> Section:  # noqa: ARG001
    """How far long commands are."""
    bars = 20 if width >= 70 else 10
    rows = []
    for each in picture.progress:
        done = 0.0 if each.done is None else each.done
        rows.append(
            (
                Text(clean(each.session)),
                Text(clean(each.command)),
                Text("█" * round(done * bars) + "░" * (bars - round(done * bars)), "cyan"),
                Text("-" if each.done is None else f"{done * 100:.1f}%"),
                Text(clean(f"{each.target}  {each.phase}")),
            )
        )
    columns = (("ID", 7, ">"), ("COMMAND", 14, "<"), ("", bars, "<"), ("DONE", 6, ">"), ("TABLE, PHASE", 0, "<"))
    return _section("PROGRESS", columns, rows, _nothing(picture, "progress", "progress"))


def metrics(picture: Picture, ui: Ui, width: int) -> Section:  # noqa: ARG001
    """What an engine measures, as it says it."""
    rows = []
    for each in picture.measures:
        name = Text(clean(each.name))
        name.append("".join(f"  {clean(label)}={clean(text)}" for label, text in each.labels.items()), FAINT)
        unit = each.unit if each.unit not in ("1", "By", "s") and not each.unit.startswith("{") else ""
        known = {"By": "bytes", "s": "seconds"}.get(each.unit, "")
        if ui.filter in name.plain.lower():
            rows.append((name, Text(with_unit(each.value, known, each.name)), Text(clean(unit), FAINT)))
    columns = (("NAME", 0, "<"), ("VALUE", 16, ">"), ("", 6, "<"))
    return _section("METRICS", columns, rows, _nothing(picture, "metrics", "metrics"))


def alerts(picture: Picture, ui: Ui, width: int) -> Section:  # noqa: ARG001
    """Alerts that are not over, the worst first."""
    wide = width >= 70
    rows = []
    for each in picture.alerts:
        colour = FAINT if not each.loud else BAD if each.severity in ("critical", "error") else WARN
        rows.append(
            (
                Text(clean(each.severity), colour),
                Text(clean("muted" if each.muted else each.state), FAINT if not each.loud else ""),
                Text(clock(each.seconds), FAINT),
                Text(clean(each.value), FAINT),
                Text(clean(f"{each.rule}  {one_line(each.text)}" if each.text else each.key)),
            )
        )
    columns = (
        ("SEVERITY", 9, "<"),
        ("STATE", 12 if wide else 8, "<"),
        ("SINCE", 8, ">"),
        ("VALUE", 10 if width >= 100 else -1, ">"),
        ("ALERT", 0, "<"),
    )
    return _section("ALERTS", columns, rows, _nothing(picture, "alerts", "alerts"))


def _of(*builds: Build) -> Callable[[Picture, Ui, int], list[Section]]:
    return lambda picture, ui, width: [build(picture, ui, width) for build in builds]


OF = {
    "activity": _of(activity),
    "waits": _of(waits_now, _waiting),
    "blocking": _of(blocking),
    "statements": _of(statements),
    "replicas": _of(replicas),
    "space": _of(databases, tables),
    "progress": _of(progress),
    "metrics": _of(metrics),
    "alerts": _of(alerts),
}
