"""What people do about alerts, through the API of a running ``gds alert run --listen``."""

from __future__ import annotations

import getpass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

import typer

from gds_cli._options import Json, line, table

if TYPE_CHECKING:
    from gds_cli.alert.client import Client

__all__ = ["app"]

app = typer.Typer()

Api = Annotated[
    str,
    typer.Option(
        envvar="GDS_ALERT_API",
        metavar="URL",
        help="Where gds alert run listens. GDS_ALERT_API_TOKEN, or _USER and _PASSWORD, say who asks.",
    ),
]
Cafile = Annotated[
    Path | None, typer.Option(envvar="GDS_ALERT_API_CAFILE", metavar="FILE", help="Whom to trust behind https.")
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of the alert, as gds alert list shows it.")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="For how long, such as 30m or 2h.")]
Comment = Annotated[str, typer.Option(help="Why.")]
Limit = Annotated[int, typer.Option(min=1, help="So many, the newest first.")]
DEFAULT_API = "http://127.0.0.1:9095"


def _client(api: str, cafile: Path | None) -> Client:
    # Other commands start without it.
    from gds_cli.alert.client import Client

    return Client(api, cafile)


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, timezone.utc).isoformat(timespec="seconds")


@app.command("list")
def show(api: Api = DEFAULT_API, cafile: Cafile = None, as_json: Json = False) -> None:
    """Show the alerts that are not over, and what mutes them."""
    alerts = _client(api, cafile).ask("GET", "/api/v1/alerts")
    if as_json:
        for alert in alerts:
            line(alert)
        return
    rows = (
        (each["key"], each["state"], each["severity"], each["value"], _time(each["started_at_ms"]), each["muted"])
        for each in alerts
    )
    table(("alert", "state", "severity", "value", "since", "muted by"), rows)


@app.command()
def ack(
    key: Key,
    lasts: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Until it is over, without this.")] = None,
    comment: Comment = "",
    api: Api = DEFAULT_API,
    cafile: Cafile = None,
) -> None:
    """Take an alert on: reminders and escalation end."""
    body: dict[str, object] = {"key": key, "by": _me(), "comment": comment}
    _client(api, cafile).ask("POST", "/api/v1/alerts/acknowledge", body | ({"for": lasts} if lasts else {}))
    print(f"{key} is acknowledged")


@app.command()
def resolve(key: Key, comment: Comment = "", api: Api = DEFAULT_API, cafile: Cafile = None) -> None:
    """Say that an alert is over."""
    body: dict[str, object] = {"key": key, "by": _me(), "comment": comment}
    _client(api, cafile).ask("POST", "/api/v1/alerts/resolve", body)
    print(f"{key} is resolved")


@app.command()
def silence(
    matchers: Annotated[list[str], typer.Argument(metavar="MATCHER...", help='As severity="warning" or db=~"a.+".')],
    lasts: For,
    comment: Comment = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only show what it would mute.")] = False,
    api: Api = DEFAULT_API,
    cafile: Cafile = None,
) -> None:
    """Have nobody told of some alerts for a while; ends of alerts are told all the same."""
    body: dict[str, object] = {"matchers": matchers, "for": lasts, "comment": comment, "by": _me(), "preview": preview}
    made = _client(api, cafile).ask("POST", "/api/v1/silences", body)
    if not preview:
        print(f"silence {made['id']}")
    print(f"mutes {len(made['mutes'])} alerts that are open{':' if made['mutes'] else ''}")
    for key in made["mutes"]:
        print(f"  {key}")


@app.command()
def silences(api: Api = DEFAULT_API, cafile: Cafile = None, as_json: Json = False) -> None:
    """Show the silences that are not over."""
    found = _client(api, cafile).ask("GET", "/api/v1/silences")
    if as_json:
        for each in found:
            line(each)
        return
    rows = (
        (each["id"], ", ".join(each["matchers"]), _time(each["ends_ms"]), each["by"], each["comment"]) for each in found
    )
    table(("silence", "matchers", "until", "by", "comment"), rows)


@app.command()
def unsilence(
    silence_id: Annotated[str, typer.Argument(metavar="ID")], api: Api = DEFAULT_API, cafile: Cafile = None
) -> None:
    """End a silence before its time."""
    _client(api, cafile).ask("DELETE", f"/api/v1/silences/{quote(silence_id, safe='')}")
    print(f"silence {silence_id} is over")


@app.command()
def history(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Of one alert only.")] = None,
    limit: Limit = 100,
    api: Api = DEFAULT_API,
    cafile: Cafile = None,
    as_json: Json = False,
) -> None:
    """Show what has become of alerts, the newest first."""
    asked = {"limit": str(limit)} | ({} if key is None else {"key": key})
    found = _client(api, cafile).ask("GET", f"/api/v1/history?{urlencode(asked)}")
    if as_json:
        for each in found:
            line(each)
        return
    rows = (
        (
            _time(each["at_ms"]),
            each["key"],
            f"{each['from']} -> {each['to']}",
            each["value"],
            each["reason"],
            each["by"],
        )
        for each in found
    )
    table(("when", "alert", "change", "value", "why", "by"), rows)


@app.command()
def audit(limit: Limit = 100, api: Api = DEFAULT_API, cafile: Cafile = None, as_json: Json = False) -> None:
    """Show what people did, the newest first."""
    found = _client(api, cafile).ask("GET", f"/api/v1/audit?limit={limit}")
    if as_json:
        for each in found:
            line(each)
        return
    rows = (
        (_time(each["at_ms"]), each["by"], each["action"], each["about"], each["detail"], each["refused"])
        for each in found
    )
    table(("when", "by", "what", "about", "comment", "refused because"), rows)
