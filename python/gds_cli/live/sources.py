"""Who asks pages, hubs and topics, each in a thread of its own: one that hangs keeps nobody waiting.

What cannot be reached is said to the model, and asked again.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gds_cli._http import ask, without_password
from gds_cli.live.page import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gds_cli.live.model import Model
    from gds_kafka import KafkaConsumerClient
    from gds_native._lib import HubAdmin

__all__ = ["HubSource", "LogsSource", "PageSource", "Source", "checked_url", "described", "fetch", "quiet"]

INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 3.0
"""How long a source may take to answer before it counts as away."""

PAGE_BYTES = 64 << 20
LAST_LINES = 20
"""How many log lines of each partition are shown that were there before."""


class Source(threading.Thread):
    """Asks until it is told to stop; what fails is shown, and tried again."""

    def __init__(self, model: Model, kind: str, name: str, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__(name=f"gds-{kind}", daemon=True)
        self.model = model
        self.label = name
        self.asked = threading.Event()
        """Set after the first answer, or the first refusal."""
        self._interval_seconds = interval_seconds
        self._stop_asked = threading.Event()
        model.add(kind, name)

    def ask(self) -> None:
        """Ask once, and tell the model.

        Raises:
            Exception: There was no answer; its text is shown.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Let go of what is open."""

    def run(self) -> None:
        """Ask, at the same pace whatever an answer takes."""
        due = time.monotonic()
        while not self._stop_asked.is_set():
            try:
                self.ask()
                self.model.reached(self.label)
            except Exception as error:  # noqa: BLE001 - whatever a source does, the view goes on
                self.model.lost(self.label, described(error))
                self.release()
            self.asked.set()
            due = max(due + self._interval_seconds, time.monotonic())
            self._stop_asked.wait(due - time.monotonic())
        self.release()

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop."""
        return self._stop_asked.is_set()

    def stop(self) -> None:
        """Tell it to stop; `join` waits for that."""
        self._stop_asked.set()


class PageSource(Source):
    """A page of ``/metrics``."""

    def __init__(self, model: Model, url: str, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._url = checked_url(url)
        super().__init__(model, "page", without_password(self._url), interval_seconds)

    def ask(self) -> None:
        """Fetch it."""
        page = fetch(self._url)
        families = parse(page)
        if not families:
            raise ValueError("it answers, but not with metrics; expected Prometheus text")
        self.model.page(self.label, time.monotonic(), families)


class HubSource(Source):
    """The topics of a hub, and how far groups are behind in them."""

    def __init__(
        self,
        model: Model,
        servers: str,
        groups: Sequence[str] = (),
        given: Sequence[str] | None = None,
        *,
        only: Sequence[str] = (),
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._servers, self._groups, self._given, self._only = servers, groups, given, only
        self._admin: HubAdmin | None = None
        super().__init__(model, "hub", servers, interval_seconds)

    def ask(self) -> None:
        """Ask for end offsets and lag."""
        from gds_cli.kafka import admin
        from gds_kafka import KafkaMessageError

        if self._admin is None:
            self._admin = admin(self._servers, [f"connect_timeout_seconds={TIMEOUT_SECONDS}", *(self._given or ())])
        found = [
            topic
            for name in self._only or (None,)
            for topic in self._admin.topics(name, timeout=TIMEOUT_SECONDS)
            if not topic["name"].startswith("__")
        ]
        at_seconds = time.monotonic()
        ends = {topic["name"]: sum(part["end"] for part in topic["partitions"]) for topic in found}
        self.model.topics(self.label, at_seconds, ends)
        for group in self._groups:
            try:
                parts = self._admin.lag(group, timeout=TIMEOUT_SECONDS)
            except KafkaMessageError:
                parts = []  # it has committed nothing
            self.model.group(self.label, group, time.monotonic(), parts)

    def release(self) -> None:
        """Connect anew when it is asked again."""
        self._admin = None


class LogsSource(Source):
    """The last lines of a topic of log records, and those that come. Secrets are taken out of them here once more."""

    def __init__(self, model: Model, servers: str, topic: str, given: Sequence[str] | None = None) -> None:
        self._servers, self._topic, self._given = servers, topic, given
        self._consumer: KafkaConsumerClient | None = None
        self._sought = False
        super().__init__(model, "logs", f"{topic} at {servers}", 0.0)

    def ask(self) -> None:
        """Read what came within a quarter of a second."""
        from gds_cli._messages import raw
        from gds_cli._options import settings
        from gds_kafka import KafkaConsumerClient

        if self._consumer is None:
            config: dict[str, Any] = {"connect_timeout_seconds": TIMEOUT_SECONDS} | settings(self._given)
            self._consumer = KafkaConsumerClient(
                [self._topic], self._servers, value_deserializer=raw, key_deserializer=raw, **config
            )
            # Kept, since what a loop is left with comes again in the next one.
            self._batches = self._consumer.batches(500, 0.25)
            self._sought = False
        batch = next(self._batches)
        if not self._sought and self._consumer.assignment():
            self._seek_last(self._consumer)
            batch = next(self._batches)
        for message in batch:
            self.model.log(*_line(message))

    def _seek_last(self, consumer: KafkaConsumerClient) -> None:
        self._sought = True
        for part in consumer.lag():
            if part["end"] > 0:
                consumer.seek(part["topic"], part["partition"], max(0, part["end"] - LAST_LINES))

    def release(self) -> None:
        """Connect anew when it is asked again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(timeout=1.0)


def _line(message: dict[str, Any]) -> tuple[float, str, str, str]:
    """A message of `KafkaLoggingHandler` as its parts; of anything else, its value as text."""
    from gds_cli._options import shown
    from gds_native._lib import LogEncoder

    value = shown(message["value"])
    redact = LogEncoder().redact
    at_seconds = (message["timestamp"] or 0) / 1000
    if not isinstance(value, dict) or "message" not in value:
        return at_seconds, "", "", redact(str(value))
    stamp = value.get("timestamp")
    text = redact(str(value["message"]))
    return (
        float(stamp) if isinstance(stamp, (int, float)) else at_seconds,
        str(value.get("level", "")),
        str(value.get("logger", "")),
        text,
    )


def checked_url(url: str) -> str:
    """The URL of a page, with what people leave out.

    Raises:
        ValueError: It is none; the message does not have what may be a password.
    """
    full = url if "://" in url else f"http://{url}"
    parts = urlsplit(full)
    try:
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        port_is_one = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one:
        raise ValueError(
            f"{without_password(full)!r} is no URL of a page: expected one such as http://127.0.0.1:8080/metrics"
        )
    return full if parts.path.strip("/") or parts.query else parts._replace(path="/metrics").geturl()


def fetch(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """The text of a page.

    Raises:
        OSError: It was not reached, or refused.
    """
    accept = "text/plain;version=0.0.4, application/openmetrics-text;q=0.5, */*;q=0.1"
    body = ask(url, {"accept": accept}, timeout_seconds, PAGE_BYTES)
    return body.decode("utf-8", "replace")


def described(error: BaseException) -> str:
    """An error in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, BaseException) else error
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep loggers off the terminal, where the view says itself what cannot be reached."""
    handler = logging.NullHandler()
    before = [(logging.getLogger(name), logging.getLogger(name).propagate) for name in loggers]
    for logger, _ in before:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagates in before:
            logger.propagate = propagates
            logger.removeHandler(handler)
