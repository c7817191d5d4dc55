"""`GDSNotificationNotifier`: what is posted, and what its answers mean."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from gds_alerting import (
    Alert,
    AlertConfigurationError,
    AlertSeverity,
    AlertState,
    CircuitBreaker,
    CircuitState,
    Delivery,
    GDSNotificationNotifier,
)
from gds_monitor import Metric
from tests.alerting.answering import HANG, RESET, Answering, answering

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
CANARY = "c4n4ry-t0k3n"


@pytest.fixture
def service() -> Iterator[Answering]:
    with answering() as running:
        yield running


def alert(**fields: Any) -> Alert:
    known = {
        "id": "t1",
        "rule_id": "cpu_high",
        "severity": AlertSeverity.CRITICAL,
        "message": "cpu_usage of db-1 is 92 (> 80)",
        "metric": Metric("cpu_usage", 92, "db-1", "postgresql"),
        "timestamp": START,
        "key": "cpu_high:db-1:cpu_usage",
        "labels": {"instance_id": "db-1", "environment": "production"},
        "description": "The processor is <busy>",
        "runbook_url": "https://example.com/runbooks/cpu",
        "routing_key": "dba",
    }
    return Alert(**{**known, **fields})


def delivered(notifier: GDSNotificationNotifier, *alerts: Alert) -> list[Delivery]:
    async def deliver() -> list[Delivery]:
        try:
            return [await notifier.deliver(each) for each in alerts]
        finally:
            await notifier.close()

    return asyncio.run(deliver())


def test_a_message_is_what_the_service_takes(service: Answering) -> None:
    notifier = GDSNotificationNotifier(f"{service.url}/api/", timeout=30, db_instance_ids={"db-1": 17}, token=CANARY)
    assert asyncio.run(notifier.notify(alert())) is True
    [(path, headers, body)] = service.requests
    assert (path, headers["authorization"]) == ("/api/ingest", f"Bearer {CANARY}")
    text, html = body.pop("body_text"), body.pop("body_html")
    assert body == {
        "alert_name": "cpu_high",
        "db_instance_id": 17,
        "subject": "Alert: cpu_usage of db-1 is 92 (> 80)...",
        "message_id": "t1",
        "severity": "critical",
        "runbook_url": "https://example.com/runbooks/cpu",
        "labels": {"instance_id": "db-1", "environment": "production"},
        "routing_key": "dba",
    }
    for part in ("severity: critical", "runbook: https://example.com/runbooks/cpu", "environment=production"):
        assert part in text
    assert "The processor is &lt;busy&gt;" in html
    assert '<a href="https://example.com/runbooks/cpu">' in html


def test_subjects_are_cut_and_have_one_line_and_ids_are_cut() -> None:
    payload = GDSNotificationNotifier("http://localhost:1").payload(
        alert(message="Über\r\nBcc: boss@example.com " + "x" * 1200, id="i" * 500)
    )
    assert payload["subject"] == "Alert: " + ("Über Bcc: boss@example.com " + "x" * 1200)[:50] + "..."
    assert len(payload["message_id"]) == 200


@pytest.mark.parametrize(
    ("labels", "expected"),
    [({"db_instance_id": "23"}, 23), ({"db_instance_id": "db"}, None), ({}, None), ({"db_instance_id": "٣"}, None)],
)
def test_an_instance_is_a_number_or_null(labels: dict[str, str], expected: int | None) -> None:
    assert GDSNotificationNotifier("http://localhost:1").payload(alert(labels=labels))["db_instance_id"] == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (200, Delivery(delivered=True)),
        (202, Delivery(delivered=True)),
        (299, Delivery(delivered=True)),
        (302, Delivery(delivered=False, final=True, reason="status 302")),
        (422, Delivery(delivered=False, final=True, reason="status 422")),
        (401, Delivery(delivered=False, reason="status 401")),
        (500, Delivery(delivered=False, reason="status 500")),
        ((429, {"Retry-After": "7"}), Delivery(delivered=False, retry_after_seconds=7, reason="status 429")),
        ((503, {"Retry-After": "soon"}), Delivery(delivered=False, reason="status 503")),
        ((429, {"Retry-After": "999999"}), Delivery(delivered=False, retry_after_seconds=3600, reason="status 429")),
        (RESET, Delivery(delivered=False, reason="RemoteDisconnected: no answer")),
    ],
)
def test_what_an_answer_means(service: Answering, answer: Any, expected: Delivery) -> None:
    service.answers.append(answer)
    assert delivered(GDSNotificationNotifier(service.url), alert()) == [expected]


def test_retry_after_may_be_a_date(service: Answering) -> None:
    service.answers.append((429, {"Retry-After": format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90))}))
    [outcome] = delivered(GDSNotificationNotifier(service.url), alert())
    assert outcome.retry_after_seconds is not None
    assert 60 < outcome.retry_after_seconds <= 90


def test_a_service_that_hangs_is_given_up_in_time(service: Answering) -> None:
    service.answers.append(HANG)
    [outcome] = delivered(GDSNotificationNotifier(service.url, timeout=0.2), alert())
    service.goes_on.set()
    assert outcome == Delivery(delivered=False, reason="no answer within 0.2 s")


def test_a_service_that_fails_is_left_alone(service: Answering) -> None:
    breaker = CircuitBreaker(failure_threshold=2, timeout=60, success_threshold=1)
    service.answers.extend([500, 422, 500, 500])
    outcomes = delivered(GDSNotificationNotifier(service.url, circuit_breaker=breaker), *[alert()] * 5)
    # One that is refused for good is answered by a service that is well.
    assert [outcome.reason for outcome in outcomes[:4]] == ["status 500", "status 422", "status 500", "status 500"]
    assert breaker.state is CircuitState.OPEN
    assert outcomes[4].retry_after_seconds is not None
    assert len(service.requests) == 4


def test_a_service_that_is_away_is_said_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        notifier = GDSNotificationNotifier(f"http://127.0.0.1:1/{CANARY}", token=CANARY)
        [outcome] = delivered(notifier, alert())
    assert outcome.reason == "ConnectionRefusedError: Connection refused"
    assert CANARY not in repr(notifier) + repr(outcome) + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "notify.example.com",
        "ftp://a",
        f"http://u:{CANARY}@a",
        f"http://a?key={CANARY}",
        "http://a\r\nb",
        "http://a:b",
        7,
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: Any) -> None:
    with pytest.raises(AlertConfigurationError, match="notification_api_url: expected https://HOST") as refused:
        GDSNotificationNotifier(url)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [{"timeout": 0}, {"db_instance_ids": {"db-1": "17"}}, {"token": ""}, {"token": "a\nb"}, {"cafile": "/nowhere"}],
)
def test_other_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(AlertConfigurationError, match=next(iter(settings))):
        GDSNotificationNotifier("https://localhost", **settings)


def test_a_resolve_says_so_and_has_an_id_of_its_own() -> None:
    over = alert(id="t2", state=AlertState.RESOLVED, timestamp=START + timedelta(minutes=5), started_at=START)
    payload = GDSNotificationNotifier("http://localhost:1").payload(over)
    assert payload["message_id"] == "t2"
    for part in ("state: resolved", "since: 2026-03-01T12:00:00+00:00", "resolved: 2026-03-01T12:05:00+00:00"):
        assert part in payload["body_text"]
