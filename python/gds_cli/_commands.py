"""The commands, found by entry points, so that each package brings its own.

An entry point of the group ``gds_cli.commands`` names a `typer.Typer` or a function; its name is the command's. A
command is imported when it is run, and for the help, which lists all of them. One that cannot be imported stands there
with its error, and the others run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUILT_IN", "GROUP", "Commands", "Root"]

GROUP = "gds_cli.commands"
WHEEL = "gds-telemetry"

BUILT_IN = {
    "alert": "gds_cli.alert:app",
    "demo": "gds_cli.demo:demo",
    "doctor": "gds_cli.doctor:doctor",
    "kafka": "gds_cli.kafka:app",
    "monitor": "gds_cli.monitor:app",
    "query": "gds_cli.query.command:query",
    "store": "gds_cli.store.app:app",
    "top": "gds_cli.top:top",
    "watch": "gds_cli.watch:watch",
}
"""What the wheel declares, for where that is not to be read: a copy without metadata, which `gds doctor` tells of."""

UNUSABLE = 2


class Commands(Mapping[str, Any]):
    """Typer's commands by name. Metadata of other packages is read only for a name that is not built in."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        """What is left out, and why; complete once the names were asked for."""

    def __getitem__(self, name: str) -> Any:
        entry = self._built_in.get(name) or self._all[name]
        try:
            return _command(entry)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the other commands are of use
            return _unusable(entry, error)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _built_in(self) -> dict[str, EntryPoint]:
        declared: list[EntryPoint] = []
        with suppress(PackageNotFoundError):
            declared += distribution(WHEEL).entry_points.select(group=GROUP)
        known = (EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items())
        return {entry.name: entry for entry in declared or known}

    @cached_property
    def _all(self) -> dict[str, EntryPoint]:
        found = dict(self._built_in)
        try:
            declared = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _owner(entry)))
        except Exception as error:  # noqa: BLE001 - metadata of anybody's, which may be damaged
            self.notes.append(f"commands of other packages were not found: {_text(error)}")
            declared = []
        for entry in declared:
            first = found.setdefault(entry.name, entry)
            if first is not entry and first.value != entry.value:
                self.notes.append(
                    f"{entry.name} of {_owner(entry)} is left out: {_owner(first)} has a command of that name"
                )
        return dict(sorted(found.items()))


class Root(TyperGroup):
    """``gds`` itself."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._found = Commands()
        # Typer asks this for names that are like a mistyped one, too.
        self.commands: Any = self._found

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's
        """The names; nothing is imported for them."""
        return list(self._found)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Below the commands stands what is left out."""
        self.list_commands(ctx)
        self.epilog = _literal("\n\n".join(self._found.notes)) or None
        super().format_help(ctx, formatter)


def _command(entry: EntryPoint) -> Any:
    loaded = entry.load()
    holder = typer.Typer()
    if isinstance(loaded, typer.Typer):
        holder.add_typer(loaded, name=entry.name)
    elif callable(loaded):
        holder.command(entry.name)(loaded)
    else:
        raise TypeError(f"{entry.value}: expected a typer.Typer or a function, got {type(loaded).__name__}")
    return get_group(holder).commands[entry.name]


def _unusable(entry: EntryPoint, error: BaseException) -> Any:
    """A command that says why there is none."""
    why = f"cannot be imported: {_text(error)} ({entry.value}, of {_owner(entry)})"

    def refuse() -> int:
        print(f"gds: {entry.name} {why}", file=sys.stderr)
        return UNUSABLE

    holder = typer.Typer()
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    holder.command(entry.name, help=_literal(why), context_settings=anything)(refuse)
    return get_group(holder).commands[entry.name]


def _owner(entry: EntryPoint) -> str:
    return WHEEL if entry.dist is None else f"{entry.dist.metadata['Name']} {entry.dist.version}"


def _literal(text: str) -> str:
    """Text that is shown as it is, also where Typer takes it for markup."""
    return escape(text) if typer.Typer().rich_markup_mode == "rich" else text


def _text(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
