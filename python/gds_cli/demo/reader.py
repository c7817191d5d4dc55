"""The other end of the topics: counts what arrived, shows log lines, and looks for what must not be there."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from gds_cli.demo.tally import ReportedMetric
from gds_cli.demo.workload import SAID
from gds_cli.live.sources import described

if TYPE_CHECKING:
    from gds_cli.live.model import Model
    from gds_kafka import KafkaConsumerClient

__all__ = ["Hub", "Reader"]

MARK = "[REDACTED]"
WAIT_SECONDS = 0.2
LAG_SECONDS = 0.5
JOIN_SECONDS = 10.0


class Hub(NamedTuple):
    """Where messages go."""

    servers: str
    metrics: str
    logs: str
    group: str


class Reader(threading.Thread):
    """Reads the metrics topic and the logs topic as a member of a group, and tells the model how far it is behind."""

    def __init__(self, consumer: KafkaConsumerClient, hub: Hub, canary: str, model: Model) -> None:
        super().__init__(name="gds-demo-reader", daemon=True)
        self._consumer, self._hub, self._canary, self._model = consumer, hub, canary.encode(), model
        self._stop_asked = threading.Event()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._totals: Counter[tuple[str, str]] = Counter()
        self.messages: Counter[str] = Counter()
        """How many came, by topic."""
        self.redacted = 0
        self.leaked = 0
        """Messages with the canary in them."""
        self.error = ""

    def run(self) -> None:
        """Read until `stop`; what goes wrong is in ``error``."""
        due = 0.0
        try:
            for batch in self._consumer.batches(1000, WAIT_SECONDS):
                for message in batch:
                    self._take(message)
                if time.monotonic() >= due:
                    now = time.monotonic()
                    self._model.group(self._hub.servers, self._hub.group, now, self._consumer.lag())
                    due = now + LAG_SECONDS
                if self._stop_asked.is_set():
                    break
            self._consumer.commit()
        except Exception as error:  # noqa: BLE001 - the summary says so, and the counts then differ
            self.error = described(error)

    def _take(self, message: dict[str, Any]) -> None:
        value: bytes = message["value"] or b""
        everything = [value, message["key"] or b"", *(header for _, header in message["headers"] if header)]
        self.leaked += any(self._canary in each for each in everything)
        record = json.loads(value)
        if message["topic"] == self._hub.metrics:
            key = (record["type"], record["name"])
            self._calls[key] += 1
            if record["type"] == "counter":
                self._totals[key] += record["value"]
        else:
            self.redacted += MARK in record["message"] and record["message"].startswith(SAID)
            self._model.log(record["timestamp"], record["level"], record["logger"], record["message"])
        self.messages[message["topic"]] += 1

    def reported(self) -> dict[str, ReportedMetric]:
        """What the metrics topic has, by name."""
        return {
            name: ReportedMetric(kind, calls, float(self._totals[kind, name]))
            for (kind, name), calls in self._calls.items()
        }

    def wait_for(self, metrics: int, logs: int, timeout_seconds: float) -> None:
        """Wait until as many messages came of each, or more never will."""
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end and self.is_alive():
            if self.messages[self._hub.metrics] >= metrics and self.messages[self._hub.logs] >= logs:
                return
            self.join(0.05)

    def stop(self) -> None:
        """End, commit, and close the consumer."""
        self._stop_asked.set()
        if self.ident is not None:
            self.join(JOIN_SECONDS)
        self._consumer.close(timeout=JOIN_SECONDS)
