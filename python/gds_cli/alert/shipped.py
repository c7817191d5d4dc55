"""``gds alert rules``: the rules that come with this package."""

from __future__ import annotations

import re
import sys
from importlib import resources
from typing import Annotated

import typer

from gds_cli._options import Json, line, table

__all__ = ["app"]

app = typer.Typer()

HEAD = """\
version: 1
routing:
  default_channel: terminal
  channels:
    terminal: {type: log}
# Programs have a client_id and no instance.
alert_key_template: "{{ rule.id }}:{{ tags.instance_id or tags.client_id }}:{{ metric }}"
rules:
"""
RUNBOOKS = "docs/runbooks"
"""Where runbooks are, in the rules as they come."""

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Platforms; without one, what there is for each.")
]
Runbooks = Annotated[
    str | None, typer.Option(metavar="URL", help=f"Where you have put {RUNBOOKS}, for the links of alerts.")
]


def shipped() -> dict[str, str]:
    """The files by their names."""
    folder = resources.files("gds_alerting") / "shipped"
    files = (each for each in folder.iterdir() if each.name.endswith(".yaml"))
    return {each.name.removesuffix(".yaml"): each.read_text("utf-8") for each in sorted(files, key=lambda f: f.name)}


@app.command("rules")
def rules(names: Names = None, runbooks: Runbooks = None, as_json: Json = False) -> None:
    """List the rules that come with this package, or print those of platforms as a file to begin with."""
    files = shipped()
    unknown = [name for name in names or () if name not in files]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]}: expected one of {', '.join(files)}")
    if names:
        base = None if runbooks is None else runbooks.rstrip("/")
        sys.stdout.write(HEAD + "\n".join(_rules(files[name], base) for name in dict.fromkeys(names)))
        return
    found = [(name, *each) for name, text in files.items() for each in _described(text)]
    if as_json:
        for name, rule, severity, about in found:
            line({"platform": name, "rule": rule, "severity": severity, "description": about})
        return
    table(("platform", "rule", "severity", "tells that"), found)


def _rules(text: str, runbooks: str | None) -> str:
    rules = text.partition("\nrules:\n")[2]
    return rules if runbooks is None else rules.replace(f"runbook_url: {RUNBOOKS}/", f"runbook_url: {runbooks}/")


def _described(text: str) -> list[tuple[str, str, str]]:
    """Id, severity and description: our own files, so that no reader of YAML is needed for them."""
    found = re.findall(r"^  - id: (.+)\n    description: (.+)\n(?:    .*\n)*?    severity: (.+)$", text, re.MULTILINE)
    return [(rule, severity, about) for rule, about, severity in found]
