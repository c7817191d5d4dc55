"""Rules of users, each in a thread of its own: one that hangs or raises holds up nobody."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from gds_alerting.circuit import span_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gds_alerting.alert import Alert, MeasuredMetric
    from gds_alerting.rules import AlertRule

__all__ = ["RuleThread"]


class _Work:
    """Metrics that a rule is to look at, and what it has said of them so far."""

    def __init__(self, metrics: Sequence[MeasuredMetric]) -> None:
        self.metrics = metrics
        self.said: list[tuple[MeasuredMetric, Alert | bool | None]] = []
        self.failures: list[BaseException] = []
        self.done = 0
        self.since = time.monotonic()
        self.given_up = False
        self.finished = threading.Event()


class RuleThread:
    """Evaluates one rule.

    Args:
        rule: It.
        failed: Told of each metric that it was not evaluated for: why, and what was raised.
    """

    def __init__(self, rule: AlertRule, failed: Callable[[AlertRule, str, BaseException | None], None]) -> None:
        self.rule = rule
        self.deadline = span_seconds("deadline_seconds", rule.deadline_seconds)
        self._failed = failed
        self._todo: deque[_Work] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._busy: _Work | None = None

    def begin(self, metrics: Sequence[MeasuredMetric]) -> _Work | None:
        """Have it look at metrics; None where it has not come back from those before."""
        if self._process != os.getpid():
            # A forked child has no threads of its parent.
            self._thread, self._busy, self._process = None, None, os.getpid()
            self._wake = threading.Condition()
            self._todo.clear()
        if self._busy is not None and not self._busy.finished.is_set():
            for _ in metrics:
                self._failed(self.rule, "busy", None)
            return None
        work = self._busy = _Work(metrics)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gds-alert-rule", daemon=True)
            self._thread.start()
        with self._wake:
            self._todo.append(work)
            self._wake.notify()
        return work

    def end(self, work: _Work) -> list[tuple[MeasuredMetric, Alert | bool | None]]:
        """What it has said, once it has looked at all, or has taken too long for one."""
        while not work.finished.wait(max(0.0, work.since + self.deadline - time.monotonic())):
            if time.monotonic() >= work.since + self.deadline:
                work.given_up = True
                break
        for error in list(work.failures):
            self._failed(self.rule, "raised", error)
        if work.given_up:
            for _ in range(len(work.metrics) - work.done):
                self._failed(self.rule, "deadline", None)
        return list(work.said)

    def stop(self) -> None:
        """Let the thread end."""
        with self._wake:
            self._todo.append(_Work(()))
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._todo:
                    self._wake.wait()
                work = self._todo.popleft()
            if not work.metrics:
                return
            self._look(work)
            work.finished.set()

    def _look(self, work: _Work) -> None:
        for metric in work.metrics:
            work.since = time.monotonic()
            try:
                said = self.rule.evaluate(metric)
            except BaseException as error:  # noqa: BLE001 - whatever a rule raises, others go on
                if not work.given_up:
                    work.failures.append(error)
            else:
                if work.given_up:
                    return
                work.said.append((metric, said))
            if work.given_up:
                return
            work.done += 1
