"""Producers made for tests."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, NoReturn


class Sent(NamedTuple):
    topic: str
    value: Any
    key: Any


class RecordingProducer:
    """Keeps what it is sent: any object with `send` is a producer."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.flushed: list[float | None] = []
        self.arrived = threading.Condition()

    def send(self, topic: str, value: Any, key: Any = None) -> None:
        with self.arrived:
            self.sent.append(Sent(topic, value, key))
            self.arrived.notify_all()

    def flush(self, timeout: float | None = None) -> int:
        self.flushed.append(timeout)
        return 0

    @property
    def values(self) -> list[Any]:
        return [each.value for each in self.sent]


class BrokenProducer:
    """Raises whatever it is asked."""

    def _fail(self, *arguments: object, **settings: object) -> NoReturn:
        raise RuntimeError("hunter2 is broken on purpose")

    send = flush = _fail
