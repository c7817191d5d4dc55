"""`AlertingSystem`: metrics of a hub, rules, and notifiers that are told."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from gds_alerting import (
    Alert,
    AlertConfigurationError,
    AlertingSystem,
    AlertNotifier,
    AlertRule,
    AlertSeverity,
    AlertState,
    Delivery,
    GDSNotificationNotifier,
    ThresholdRule,
)
from gds_kafka import KafkaConfigurationError, KafkaProducerClient
from tests.alerting.answering import answering
from tests.alerting.running import LONG_SECONDS, TOPIC, Measuring
from tests.services.fixtures import KafkaFactory

pytestmark = pytest.mark.timing

CPU = ThresholdRule("cpu_usage", ">", 80, AlertSeverity.WARNING, id="cpu_high")


class Telling(AlertNotifier):
    """Keeps what it is told, once it has done as it was told to."""

    def __init__(self, *first: Callable[[], bool]) -> None:
        self.told: Queue[Alert] = Queue()
        self.attempts = 0
        self._first = list(first)

    async def notify(self, alert: Alert) -> bool:
        self.attempts += 1
        if self._first and not self._first.pop(0)():
            return False
        self.told.put(alert)
        return True

    def next(self) -> Alert:
        return self.told.get(timeout=LONG_SECONDS)


def until(true: Callable[[], bool]) -> None:
    """Waits for what other threads do."""
    end = time.monotonic() + LONG_SECONDS
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


@pytest.fixture
def hub(tmp_path: Path) -> str:
    return f"embedded:{tmp_path / 'hub'}"


def begins_and_ends(hub: str) -> None:
    telling = Telling()
    system = AlertingSystem({"bootstrap_servers": hub, "group_id": "gds-alerting-dba"})
    system.add_rule(CPU)
    system.add_notifier(telling)
    with Measuring(hub) as measuring, system:
        measuring.measure("db-1", 92)
        fired = telling.next()
        assert list(system.active_alerts) == [fired.key]
        measuring.measure("db-1", 93)
        measuring.measure("db-2", 92)
        second = telling.next()
        measuring.measure("db-1", 10)
        over = telling.next()
    assert [alert.key for alert in (fired, second, over)] == [
        "cpu_high:db-1:cpu_usage",
        "cpu_high:db-2:cpu_usage",
        "cpu_high:db-1:cpu_usage",
    ]
    assert (fired.state, over.state) == (AlertState.FIRING, AlertState.RESOLVED)
    assert fired.labels["environment"] == "production"
    assert system.stats["notifiers"]["Telling"] == {"delivered": 3, "retried": 0, "dropped": 0, "waiting": 0}


def test_an_alert_begins_and_ends_on_a_hub_of_this_machine(hub: str) -> None:
    begins_and_ends(hub)


def test_an_alert_begins_and_ends_on_kafka(kafka_factory: KafkaFactory) -> None:
    # A new group begins at the oldest message.
    begins_and_ends(kafka_factory().bootstrap_servers)


def test_it_serves_programs_with_an_event_loop(hub: str) -> None:
    telling = Telling()

    async def main() -> Alert:
        system = AlertingSystem(hub, rules=[CPU], notifiers=[telling])
        await system.start()
        try:
            with Measuring(hub) as measuring:
                measuring.measure("db-1", 92)
                return await asyncio.to_thread(telling.next)
        finally:
            await system.stop()

    assert asyncio.run(main()).rule_id == "cpu_high"


def test_a_notifier_that_hangs_or_fails_delays_no_other(hub: str) -> None:
    goes_on = threading.Event()

    def hangs() -> bool:
        goes_on.wait(LONG_SECONDS)  # and with it its event loop
        return True

    def raises() -> bool:
        raise RuntimeError("c4n4ry")

    hanging, failing, well = Telling(hangs), Telling(raises, lambda: False), Telling()
    with AlertingSystem(hub, rules=[CPU], notifiers=[hanging, failing, well]) as system, Measuring(hub) as measuring:
        measuring.measure("db-1", 92)
        assert well.next().key == "cpu_high:db-1:cpu_usage"
        # What is refused or fails is tried again.
        assert failing.next().key == "cpu_high:db-1:cpu_usage"
        assert failing.attempts == 3
        assert hanging.told.empty()
        goes_on.set()
        assert hanging.next().key == "cpu_high:db-1:cpu_usage"
    assert set(system.stats["notifiers"]) == {"Telling", "Telling#2", "Telling#3"}


def test_what_is_refused_for_good_is_kept_to_be_looked_at(hub: str, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Telling):
        async def deliver(self, alert: Alert) -> Delivery:
            if alert.instance_id == "db-1":
                return Delivery(delivered=False, final=True, reason="status 422")
            return await super().deliver(alert)

    refusing = Refusing()
    with AlertingSystem(hub, rules=[CPU], notifiers=[refusing]) as system, Measuring(hub) as measuring:
        with caplog.at_level(logging.ERROR, "gds_alerting"):
            measuring.measure("db-1", 92)
            measuring.measure("db-2", 92)
            assert refusing.next().instance_id == "db-2"
        [(name, alert, why)] = system.dead
    assert (name, alert.key, why) == ("Refusing", "cpu_high:db-1:cpu_usage", "status 422")
    assert "was not delivered: status 422" in caplog.text


def test_a_rule_that_raises_stops_nothing(hub: str) -> None:
    class Failing(AlertRule):
        deadline_seconds = LONG_SECONDS

        def evaluate(self, metric: Any) -> bool:
            raise ValueError("no")

    telling = Telling()
    with AlertingSystem(hub, rules=[Failing(), CPU], notifiers=[telling]) as system, Measuring(hub) as measuring:
        measuring.measure("db-1", 92)
        assert telling.next().rule_id == "cpu_high"
        assert system.stats["failures"] == {"Failing": {"raised": 1}}


def test_messages_without_a_time_and_those_that_are_no_metrics(hub: str, caplog: pytest.LogCaptureFixture) -> None:
    telling = Telling()
    with AlertingSystem(hub, rules=[CPU], notifiers=[telling]) as system, KafkaProducerClient(hub) as producer:
        producer.send(TOPIC, {"no": "metric"})
        producer.send(TOPIC, {"instance_id": "db-1", "metric_name": "cpu_usage", "value": 92})
        alert = telling.next()
        assert sum(system.stats["skipped"].values()) == 1
    assert abs((datetime.now(timezone.utc) - alert.timestamp).total_seconds()) < 120


def test_gds_notification_is_told_until_it_takes_it(hub: str) -> None:
    with answering() as service, Measuring(hub) as measuring:
        service.answers.extend([500, (429, {"Retry-After": "0"})])
        notifier = GDSNotificationNotifier(service.url)
        with AlertingSystem(hub, rules=[CPU], notifiers=[notifier]) as system:
            measuring.measure("db-1", 92)
            bodies = service.wait_for(3)
            until(lambda: system.stats["notifiers"]["GDSNotificationNotifier"]["delivered"] == 1)
            measuring.measure("db-1", 10)
            over = service.wait_for(4)[3]
        assert {body["message_id"] for body in bodies} == {bodies[0]["message_id"]} != {over["message_id"]}
        assert bodies[0]["subject"] == "Alert: cpu_usage of db-1 is 92 (> 80)..."
        assert "state: resolved" in over["body_text"]


def test_what_is_open_and_not_delivered_survives_in_the_file(hub: str, tmp_path: Path) -> None:
    file = tmp_path / "alerting.json"
    away, back = Telling(*[lambda: False] * 1000), Telling()
    with AlertingSystem(hub, rules=[CPU], notifiers=[away], state=file) as first, Measuring(hub) as measuring:
        measuring.measure("db-1", 92)
        until(lambda: away.attempts > 0)
    assert first.stats["notifiers"]["Telling"]["waiting"] == 1
    assert file.stat().st_mode & 0o077 == 0
    with AlertingSystem(hub, rules=[CPU], notifiers=[back], state=file) as second, Measuring(hub) as measuring:
        assert list(second.active_alerts) == ["cpu_high:db-1:cpu_usage"]
        fired = back.next()
        measuring.measure("db-1", 10)
        over = back.next()
    assert (fired.state, fired.value) == (AlertState.FIRING, 92)
    assert (over.state, over.correlation_id) == (AlertState.RESOLVED, fired.correlation_id)


def test_rules_and_notifiers_come_while_it_runs(hub: str) -> None:
    with AlertingSystem(hub) as system, Measuring(hub) as measuring:
        telling = Telling()
        system.add_notifier(telling)
        system.add_rule(CPU)
        measuring.measure("db-1", 92)
        assert telling.next().rule_id == "cpu_high"


def test_a_setting_that_makes_no_sense_is_refused(hub: str, tmp_path: Path) -> None:
    system = AlertingSystem({"bootstrap_servers": hub, "auto_ofset_reset": "latest"})
    with pytest.raises(KafkaConfigurationError, match="auto_offset_reset"):
        system.start()  # type: ignore[unused-awaitable]
    with pytest.raises(AlertConfigurationError, match="bootstrap_servers is missing"):
        AlertingSystem({})
    with pytest.raises(AlertConfigurationError, match="consumer_config: expected a dict"):
        AlertingSystem(7)  # type: ignore[arg-type]
    with pytest.raises(AlertConfigurationError, match="is no notifier"):
        AlertingSystem(hub, notifiers=[print])  # type: ignore[list-item]
    with pytest.raises(AlertConfigurationError, match="most_waiting=1"):
        AlertingSystem(hub, most_waiting=1)
    file = tmp_path / "other.json"
    file.write_text('{"version": 7}')
    with pytest.raises(AlertConfigurationError, match="no state of an alerting system"):
        AlertingSystem(hub, state=file)
