"""`AlertingSystem`: metrics from the hub, rules, and whom to tell.

system = AlertingSystem({"bootstrap_servers": "embedded:hub", "group_id": "gds-alerting-dba"})
system.add_rule(ThresholdRule("cpu_usage", ">", 80, AlertSeverity.WARNING))
system.add_notifier(GDSNotificationNotifier("https://notify.example.com"))
system.start()
...
system.stop()
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_alerting.circuit import span_seconds
from gds_alerting.delivery import GRACE_SECONDS, Outbox
from gds_alerting.errors import AlertConfigurationError
from gds_alerting.evaluator import AlertEvaluator
from gds_alerting.keeping import load, save
from gds_alerting.notifier import AlertNotifier
from gds_kafka.errors import KafkaConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import timedelta
    from os import PathLike

    from typing_extensions import Self

    from gds_alerting.alert import Alert
    from gds_alerting.rules import AlertRule
    from gds_metrics import MetricsCollector

__all__ = ["AlertingSystem"]

logger = logging.getLogger("gds_alerting")

GROUP = "gds-alerting-default"
AT_ONCE = 500
POLL_SECONDS = 0.2
FIRST_TRY_SECONDS = 10.0
"""How long a start waits for the hub to be asked."""
PAUSE_SECONDS = 1.0
"""After the hub could not be read."""


class AlertingSystem:
    """Reads metrics of the hub as a consumer group, evaluates rules, and has notifiers told, until it is stopped.

    It runs in threads of its own, so it serves programs with and without an event loop; `start` and `stop` may be
    awaited. Whatever a rule, a notifier or the hub does, it raises nothing into the program: it is counted in `stats`,
    logged as ``gds_alerting``, and tried again where that may help.

    Args:
        consumer_config: ``bootstrap_servers`` (``"host:port"``, or ``"embedded:PATH"`` for a hub in a folder of this
            machine), ``group_id`` (``gds-alerting-default``), ``topics`` (all topics of metrics), and settings of
            `gds_kafka.KafkaConsumerClient`; or only the servers. A new group begins with the oldest message that there
            is, unless ``auto_offset_reset`` says ``"latest"``.
        rules: As for `add_rule`.
        notifiers: As for `add_notifier`.
        cooldown: As for `AlertEvaluator`.
        state: A file for what is open and not delivered yet: the next system goes on from there, and a resolve follows
            what was told before. Without one a restart begins with nothing.
        retry_for: Seconds (or a timedelta) for which an alert that a notifier does not take is tried again.
        most_waiting: Alerts that may wait for one notifier.
        metrics: Any `MetricsCollector`, told what is evaluated, fires and fails.

    Raises:
        AlertConfigurationError: A setting makes no sense, or ``state`` is no file of one.
    """

    def __init__(
        self,
        consumer_config: Mapping[str, Any] | str,
        *,
        rules: list[AlertRule] | tuple[AlertRule, ...] = (),
        notifiers: list[AlertNotifier] | tuple[AlertNotifier, ...] = (),
        cooldown: float | timedelta = 300.0,
        state: str | PathLike[str] | None = None,
        retry_for: float | timedelta = 86_400.0,
        most_waiting: int = 10_000,
        metrics: MetricsCollector | None = None,
    ) -> None:
        self._consumer = _consumer(consumer_config)
        self._retry_for = span_seconds("retry_for", retry_for)
        given: object = most_waiting
        if not isinstance(given, int) or given < 2:
            raise AlertConfigurationError(f"most_waiting={most_waiting!r}: expected a whole number, 2 or more")
        self._most_waiting = most_waiting
        self._file = None if state is None else Path(state)
        kept = load(self._file)
        self.evaluator = AlertEvaluator(rules, cooldown=cooldown, metrics=metrics, state=kept.engine)
        self._kept = kept.waiting
        self._outboxes: list[Outbox] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ends = threading.Event()
        self._tried = threading.Event()
        self._refused: Exception | None = None
        self._hub_errors = 0
        self._skipped: dict[str, int] = {}
        self._saved: str | None = None
        for notifier in notifiers:
            self.add_notifier(notifier)

    def add_rule(self, rule: AlertRule) -> None:
        """Evaluate one more rule, from now on.

        Raises:
            AlertConfigurationError: It makes no sense, or another has its name.
        """
        self.evaluator.add_rule(rule)

    def add_notifier(self, notifier: AlertNotifier) -> None:
        """Tell one more, from now on.

        Raises:
            AlertConfigurationError: It is no notifier.
        """
        if not isinstance(notifier, AlertNotifier):
            raise AlertConfigurationError(f"{notifier!r} is no notifier: expected a subclass of AlertNotifier")
        with self._lock:
            kind = type(notifier).__name__
            same = sum(type(each.notifier).__name__ == kind for each in self._outboxes)
            outbox = Outbox(kind if not same else f"{kind}#{same + 1}", notifier, self._retry_for, self._most_waiting)
            # What the system before it did not deliver any more.
            outbox.put(self._kept.pop(outbox.name, []))
            self._outboxes.append(outbox)
            if self._thread is not None:
                outbox.start()

    # ------------------------------------------------------------------ running
    def start(self) -> Ended:
        """Begin. A second call does nothing. A hub that is away is tried again.

        Without a running event loop it waits until the hub was asked; with one it returns, and may be awaited.

        Raises:
            KafkaConfigurationError: The hub, or a setting of the consumer, makes no sense.
        """
        with self._lock:
            if self._thread is None:
                self._ends.clear()
                self._tried.clear()
                for outbox in self._outboxes:
                    outbox.start()
                self._thread = threading.Thread(target=self._run, name="gds-alert-system", daemon=True)
                self._thread.start()
        return _now_or_awaited(self._has_begun)

    def _has_begun(self) -> None:
        self._tried.wait(FIRST_TRY_SECONDS)
        if (error := self._refused) is not None:
            self._refused = None
            self._end(self._leave())
            raise error

    def stop(self) -> Ended:
        """End: what is being delivered gets three seconds, the rest is kept in the file with the state.

        Without a running event loop it waits for the end; with one it asks for it, and is to be awaited.
        """
        thread = self._leave()
        return _now_or_awaited(lambda: self._end(thread))

    def _leave(self) -> threading.Thread | None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._ends.set()
            return thread

    def _end(self, thread: threading.Thread | None) -> None:
        if thread is None:
            return
        thread.join()
        for outbox in self._outboxes:
            outbox.stop()
        until = time.monotonic() + GRACE_SECONDS + 2.0
        for outbox in self._outboxes:
            outbox.join(until)
        self._save()
        left = sum(len(outbox.waiting) for outbox in self._outboxes)
        if left and self._file is None:
            logger.error("%s alerts were not delivered, and there is no file of state to keep them in", left)

    def __enter__(self) -> Self:
        self.start()  # type: ignore[unused-awaitable]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()  # type: ignore[unused-awaitable]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._reading())
        finally:
            self._tried.set()

    async def _reading(self) -> None:
        while await self._goes_on():
            self._tried.set()
            await asyncio.to_thread(self._ends.wait, PAUSE_SECONDS)

    async def _goes_on(self) -> bool:
        """Read until something is wrong with the hub; whether to try again."""
        try:
            await self._read()
        except KafkaConfigurationError as error:
            # Whoever starts it is told, and nobody else has to know where.
            self._refused = error
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes on
            self._hub_errors += 1
            logger.warning("the hub cannot be read: %s; it is tried again", error)
        return not self._ends.is_set()

    async def _read(self) -> None:
        from gds_monitor import MetricSubscriber

        # What was evaluated is committed once it is kept, and once the next is asked for.
        async with MetricSubscriber(**self._consumer) as subscriber:
            self._tried.set()
            reading = aiter(subscriber.batches(AT_ONCE, POLL_SECONDS))
            following: asyncio.Future[Any] | None = None
            try:
                while not self._ends.is_set():
                    following = following or asyncio.ensure_future(anext(reading, None))
                    await asyncio.wait([following], timeout=POLL_SECONDS)
                    metrics = []
                    if following.done():
                        metrics, following = following.result(), None
                        if metrics is None:
                            return
                    self._skipped = subscriber.skipped
                    # Rules of users may wait.
                    await asyncio.to_thread(self._evaluate, metrics)
            finally:
                if following is not None:
                    following.cancel()
                    await asyncio.wait([following])

    def _evaluate(self, metrics: list[Any]) -> None:
        alerts = self.evaluator.evaluate(metrics)
        with self._lock:
            outboxes = list(self._outboxes)
        for outbox in outboxes:
            outbox.put(alerts)
        if metrics or alerts:
            self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        waiting = {outbox.name: outbox.waiting for outbox in self._outboxes} | self._kept
        try:
            self._saved = save(self._file, self.evaluator.state, waiting, self._saved)
        except OSError as error:
            logger.warning("state cannot be kept: %s; it is tried again", error.strerror)

    # ------------------------------------------------------------------ to look at
    @property
    def active_alerts(self) -> dict[str, Alert]:
        """What is firing now, by its key."""
        return self.evaluator.active_alerts

    @property
    def stats(self) -> dict[str, Any]:
        """What was counted: ``evaluator``, ``failures`` of rules, ``skipped`` messages, ``notifiers``."""
        notifiers = {
            each.name: {
                "delivered": each.delivered,
                "retried": each.retried,
                "dropped": each.dropped,
                "waiting": len(each.waiting),
            }
            for each in self._outboxes
        }
        return {
            "evaluator": self.evaluator.counts,
            "failures": self.evaluator.failures,
            "skipped": dict(self._skipped),
            "hub_errors": self._hub_errors,
            "notifiers": notifiers,
        }

    @property
    def dead(self) -> list[tuple[str, Alert, str]]:
        """What was given up: the notifier, the alert, and why; the newest thousand of each notifier."""
        return [(outbox.name, alert, why) for outbox in self._outboxes for alert, why in list(outbox.dead)]

    def __repr__(self) -> str:
        return f"AlertingSystem({len(self.evaluator.rules)} rules, {len(self._outboxes)} notifiers)"


class Ended:
    """What `AlertingSystem.start` and `stop` return: it may be awaited."""

    def __init__(self, thread: threading.Thread | None = None, raised: list[BaseException] | None = None) -> None:
        self._thread = thread
        self._raised = [] if raised is None else raised

    def __await__(self) -> Generator[Any, None, None]:
        if self._thread is not None:
            yield from asyncio.to_thread(self._thread.join).__await__()
        if self._raised:
            raise self._raised[0]


def _now_or_awaited(work: Callable[[], None]) -> Ended:
    """Done here, or, where an event loop would stand still meanwhile, aside."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        work()
        return Ended()
    raised: list[BaseException] = []

    def aside() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - for whoever awaits it
            raised.append(error)

    thread = threading.Thread(target=aside, name="gds-alert-aside")
    thread.start()
    return Ended(thread, raised)


def _consumer(config: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(config, str):
        config = {"bootstrap_servers": config}
    if not isinstance(config, Mapping):
        raise AlertConfigurationError(f"consumer_config: expected a dict or host:port, got {type(config).__name__}")
    given = dict(config)
    hub = given.pop("bootstrap_servers", None)
    if not hub:
        raise AlertConfigurationError(
            "consumer_config: bootstrap_servers is missing; expected host:port, or embedded:PATH for a hub in a folder"
        )
    topics = given.pop("topics", None) or given.pop("topic", None)
    if "value_deserializer" in given or "key_deserializer" in given:
        raise AlertConfigurationError("consumer_config: deserializers are those of metrics; leave them out")
    found = {"hub": hub, "group_id": given.pop("group_id", None) or GROUP, **given}
    return {**found, "topics": topics} if topics else found
