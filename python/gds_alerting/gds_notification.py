"""`GDSNotificationNotifier`: ``POST {url}/ingest`` of the service `gds_notification`."""

from __future__ import annotations

import asyncio
import html
import http.client
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gds_alerting.alert import AlertState
from gds_alerting.circuit import CircuitBreaker, span_seconds
from gds_alerting.errors import AlertConfigurationError, CircuitOpenError
from gds_alerting.notifier import AlertNotifier, Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from gds_alerting.alert import Alert

__all__ = ["GDSNotificationNotifier"]

SUBJECT_CHARACTERS = 50
ID_CHARACTERS = 200
"""What the service keeps of a ``message_id``."""
AGAIN = frozenset({401, 403, 404, 407, 408, 421, 423, 425, 429})
"""Statuses that may be otherwise a moment later, besides those from 500 on."""
MOST_RETRY_AFTER_SECONDS = 3600.0


class GDSNotificationNotifier(AlertNotifier):
    """Hands alerts to `gds_notification`, which sends them on. The same alert has the same ``message_id``.

    Any status from 200 to 299 is success; 422 and most others below 500 are final; 429 and those from 500 on are tried
    again by the system that it is added to. What the service drops (severity, runbook, labels) stands in the body too.

    Args:
        notification_api_url: Where it is, without ``/ingest``. It is in no log and no error.
        timeout: Seconds for one request (or a timedelta).
        db_instance_ids: The numbers that the service knows instances by. Without one there, a tag ``db_instance_id``
            that is a whole number, or null.
        token: A bearer token, if the service wants one.
        cafile: A file with certificates of whom to trust behind https.
        circuit_breaker: What leaves the service alone after failures; one of its own unless given.

    Raises:
        AlertConfigurationError: The URL is none, or another setting makes no sense.
    """

    def __init__(
        self,
        notification_api_url: str,
        timeout: float = 30,
        *,
        db_instance_ids: Mapping[str, int] | None = None,
        token: str | None = None,
        cafile: str | PathLike[str] | None = None,
        circuit_breaker: CircuitBreaker | None = None,
    ) -> None:
        self.timeout = span_seconds("timeout", timeout)
        self.circuit_breaker = circuit_breaker or CircuitBreaker(failure_threshold=5, timeout=15, success_threshold=1)
        self._instances = dict(db_instance_ids or {})
        for name, number in self._instances.items():
            if isinstance(number, bool) or not isinstance(number, int):
                raise AlertConfigurationError(f"db_instance_ids[{name!r}]={number!r}: expected a whole number")
        self._host, self._port, self._path, secure = _parts(notification_api_url)
        try:
            self._tls = ssl.create_default_context(cafile=cafile) if secure else None
        except OSError as error:
            raise AlertConfigurationError(f"cafile={cafile!r}: {error}") from None
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token is not None:
            if not token or not token.isascii() or not token.isprintable():
                raise AlertConfigurationError("token: expected printable ASCII text that is not empty")
            self._headers["Authorization"] = f"Bearer {token}"
        self._threads: ThreadPoolExecutor | None = None

    async def notify(self, alert: Alert) -> bool:
        """Hand an alert over; whether the service has it."""
        return (await self.deliver(alert)).delivered

    async def deliver(self, alert: Alert) -> Delivery:
        """Hand an alert over; what became of it."""
        try:
            return await self.circuit_breaker.call(self._attempt, alert)  # type: ignore[no-any-return]
        except CircuitOpenError as error:
            return Delivery(delivered=False, retry_after_seconds=error.retry_after_seconds, reason=str(error))
        except _FailedError as error:
            return error.delivery

    def payload(self, alert: Alert) -> dict[str, Any]:
        """What is posted for an alert."""
        return {
            "alert_name": alert.rule_id,
            "db_instance_id": self._instance(alert),
            "subject": f"Alert: {_one_line(alert.message)[:SUBJECT_CHARACTERS]}...",
            "body_text": "".join(f"{name}: {value}\n" for name, value in _facts(alert)),
            "body_html": _html(alert),
            "message_id": alert.id[:ID_CHARACTERS],
            "severity": alert.severity.value,
            "runbook_url": alert.runbook_url,
            "labels": alert.labels,
            "routing_key": alert.routing_key,
        }

    def _instance(self, alert: Alert) -> int | None:
        if (number := self._instances.get(alert.instance_id)) is not None:
            return number
        tag = str(alert.labels.get("db_instance_id", ""))
        return int(tag) if tag.isascii() and tag.isdigit() else None

    async def _attempt(self, alert: Alert) -> Delivery:
        """What a circuit breaker looks at: it raises where the service is not well."""
        if self._threads is None:
            # Of its own: requests that hang keep no others of the program waiting.
            self._threads = ThreadPoolExecutor(4, "gds-notification")
        body = json.dumps(self.payload(alert)).encode()
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, self._post, body)
            status, retry_after = await asyncio.wait_for(asked, self.timeout)
        except (asyncio.TimeoutError, TimeoutError):
            raise _FailedError(Delivery(delivered=False, reason=f"no answer within {self.timeout:g} s")) from None
        except (OSError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {getattr(error, 'strerror', None) or 'no answer'}"
            raise _FailedError(Delivery(delivered=False, reason=reason)) from None
        if 200 <= status < 300:
            return Delivery(delivered=True)
        if status >= 500 or status in AGAIN:
            raise _FailedError(Delivery(delivered=False, retry_after_seconds=retry_after, reason=f"status {status}"))
        return Delivery(delivered=False, final=True, reason=f"status {status}")

    def _post(self, body: bytes) -> tuple[int, float | None]:
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self.timeout)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=self.timeout, context=self._tls)
        try:
            connection.request("POST", self._path, body, self._headers)
            answer = connection.getresponse()
            answer.read(65536)
            return answer.status, _retry_after(answer.getheader("Retry-After"))
        finally:
            connection.close()

    async def close(self) -> None:
        """Let go of its threads; requests under way end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def __repr__(self) -> str:
        return f"GDSNotificationNotifier({self._host!r}, timeout={self.timeout:g})"


class _FailedError(Exception):
    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery.reason)
        self.delivery = delivery


def _parts(url: str) -> tuple[str, int | None, str, bool]:
    # The URL may hold a key, so it stands in no message.
    expected = "notification_api_url: expected https://HOST or http://HOST:PORT/PATH, without credentials and query"
    if not isinstance(url, str):
        raise AlertConfigurationError(f"{expected}, got {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AlertConfigurationError(expected) from None
    wrong = parts.scheme not in {"http", "https"} or not parts.hostname
    if wrong or "@" in parts.netloc or parts.query or parts.fragment or not url.isascii() or not url.isprintable():
        raise AlertConfigurationError(expected)
    if " " in url:
        raise AlertConfigurationError(expected)
    return str(parts.hostname), port, parts.path.rstrip("/") + "/ingest", parts.scheme == "https"


def _retry_after(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        seconds = float(header) if header.strip().isdigit() else None
        if seconds is None:
            until = parsedate_to_datetime(header)
            seconds = (until - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_SECONDS)


def _one_line(text: str) -> str:
    return " ".join("".join(" " if not each.isprintable() else each for each in text).split())


def _facts(alert: Alert) -> list[tuple[str, str]]:
    began = alert.started_at or alert.timestamp
    labels = ", ".join(
        f"{name}={value}"
        for name, value in sorted(alert.labels.items())
        if name not in {"alertname", "severity", "page"}
    )
    over = alert.timestamp.isoformat() if alert.state is AlertState.RESOLVED else None
    facts = [
        ("message", alert.message),
        ("description", alert.description),
        ("alert", alert.key or alert.rule_id),
        ("state", alert.state.value),
        ("severity", alert.severity.value),
        ("value", alert.value),
        ("since", began.isoformat()),
        ("resolved", over),
        ("runbook", alert.runbook_url),
        ("routing key", alert.routing_key),
        ("labels", labels),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _html(alert: Alert) -> str:
    rows = []
    for name, value in _facts(alert):
        shown = html.escape(value).replace("\n", "<br>")
        if value.startswith(("https://", "http://")):
            shown = f'<a href="{shown}">{shown}</a>'
        rows.append(f'<tr><th align="left">{name}</th><td>{shown}</td></tr>\n')
    title = html.escape(_one_line(str(alert)))
    return f"<!DOCTYPE html><html><body><h2>{title}</h2>\n<table>\n{''.join(rows)}</table>\n</body></html>\n"
