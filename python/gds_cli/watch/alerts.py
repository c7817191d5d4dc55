"""Alerts of the server that is watched, from a running ``gds alert run --listen``: `WithAlerts`."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from gds_cli.watch.picture import Alert

if TYPE_CHECKING:
    from gds_cli.alert.client import Client
    from gds_cli.watch.picture import Picture, Session
    from gds_cli.watch.source import WatchSource

__all__ = ["WithAlerts"]

SECONDS = 5.0
"""How often they are asked for."""

ORDER = ("critical", "error", "warning", "info")
"""Severities that have a place; others come behind, by their names."""


class WithAlerts:
    """A source whose pictures have the alerts of its instance, too.

    Whoever does not answer about alerts leaves them out, with the reason, and nothing else.

    Args:
        source: What is watched.
        client: The API that is asked.
        instance_id: What the monitor calls the server; None is where it is, which is what the monitor calls it, too,
            unless somebody gave it a name.
    """

    def __init__(self, source: WatchSource, client: Client, instance_id: str | None = None) -> None:
        self.name = source.name
        self.interval_seconds = source.interval_seconds
        self.instance_id = instance_id or source.name
        self._source, self._client = source, client
        self._known: tuple[float, tuple[Alert, ...], str] | None = None

    def read(self) -> Picture:
        """All there is to show, now."""
        picture = self._source.read()
        alerts, why = self._alerts()
        missing = {**picture.missing, "alerts": why} if why else picture.missing
        return dataclasses.replace(picture, alerts=alerts, missing=missing, tells=picture.tells | {"alerts"})

    def end(self, session: Session, *, cancel: bool) -> str:
        """End a session, or only its statement."""
        return self._source.end(session, cancel=cancel)

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()

    def _alerts(self) -> tuple[tuple[Alert, ...], str]:
        """Those that are not over, the worst first; or why they are not known."""
        now = time.monotonic()
        if self._known is None or now >= self._known[0] + SECONDS:
            alerts: tuple[Alert, ...] = ()
            why = ""
            try:
                answer = self._client.ask("GET", "/api/v1/alerts")
                alerts = tuple(sorted((self._alert(each) for each in answer if self._is_ours(each)), key=_worst))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                why = " ".join(str(error).split()) or type(error).__name__
            self._known = (now, alerts, why)
        return self._known[1:]

    def _is_ours(self, told: dict[str, Any]) -> bool:
        return bool(told["labels"].get("instance_id") == self.instance_id)

    def _alert(self, told: dict[str, Any]) -> Alert:
        texts = told.get("annotations") or {}
        return Alert(
            key=str(told["key"]),
            rule=str(told["rule"]),
            state=str(told["state"]),
            severity=str(told["severity"]),
            value=str(told["value"]),
            text=str(texts.get("summary") or texts.get("description") or ""),
            seconds=max(0.0, time.time() - float(told["started_at_ms"]) / 1000),
            muted=str(told["muted"]) if told.get("muted") else "",
        )


def _worst(alert: Alert) -> tuple[Any, ...]:
    known = ORDER.index(alert.severity) if alert.severity in ORDER else len(ORDER)
    return (alert.state == "pending", known, alert.severity, -alert.seconds, alert.key)
