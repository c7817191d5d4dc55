"""`KafkaLoggingHandler`: the records of `logging` as messages, without their secrets and without getting in the way.

    from gds_kafka import KafkaLoggingHandler

    logging.getLogger().addHandler(KafkaLoggingHandler(bootstrap_servers="localhost:9092", service="billing"))

Logging with it never raises, never waits for the network and never logs about itself through itself: what cannot be
sent is counted (`KafkaLoggingHandler.stats`), and said once, in the logger ``gds_kafka``, which is not shipped: where
no other handler hears that logger, its warnings go to stderr.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_kafka._encoder import LogEncoder
from gds_metrics._collector import Pinned
from gds_metrics._guard import ForkedLock
from gds_native._lib import ProducerCore

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Protocol

    class Sends(Protocol):
        """What a handler needs of a producer."""

        def send(self, topic: str, value: Any, key: Any = None) -> object:
            """Take a message."""


__all__ = ["KafkaLoggingHandler"]

FLUSH_SECONDS = 5.0
"""How long `flush` and `close` wait for a broker that does not answer."""

OWN_LOGGERS = ("gds_kafka",)
"""What this package says about itself; sending that would cause more of it."""

CLIENT_LOGGERS = ("aiokafka", "confluent_kafka", "kafka")
"""Loggers of the clients that a foreign producer may be built on, for the same reason."""

# Of `re`, by the letters that they have within an expression.
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}

_NEVER_WAITING = ("drop_newest", "drop_oldest")


_opening = ForkedLock()
"""Held while a handler is opened again."""


class KafkaLoggingHandler(Pinned, logging.Handler):
    """Sends each record to a topic, with the name of its logger as key.

    The message is JSON: ``timestamp``, ``logger``, ``level``, ``message``, ``path``, ``lineno``, and where there is
    something to say ``function``, ``process``, ``thread``, ``host``, ``service``, ``exception`` (``type``, ``message``,
    ``traceback``), ``stack``, ``extra``, ``trace_id``, ``span_id`` and ``flags``. A formatter is not used. Where a
    dict is logged, as by structlog's ``ProcessorFormatter.wrap_for_formatter``, its members are the ``extra``, before
    others of the same name, and its ``event`` (or ``message``, ``msg``) is the message.

    Secrets are taken out before anything leaves the process: tokens, credentials in headers and URLs, keys, and
    whatever stands under the name of a secret in ``extra``.

    It needs no lock to send, so no thread waits for another, and a fork finds none taken.

    Args:
        producer: Any object with ``send(topic, value, key=None)``; it stays the caller's to close. A
            `gds_kafka.KafkaProducerClient` is the fast way; others get the record as a dict.
        topic: Where to.
        bootstrap_servers: Instead of a producer: the handler makes its own and closes it in `close`. It connects when
            there is something to send, and drops what it has no room for.
        service: Name of the program, in every record.
        fields: Further constants of every record, by name.
        redact: Regular expressions of further secrets, as text or as ``re.compile`` makes them: the groups of each are
            taken out, or all of it if it has none. There is no look-around and no back-reference.
        level: Least level, as for every handler.
        config: Settings of the own producer, as for `gds_kafka.KafkaProducerClient`.

    Raises:
        ValueError: A setting makes no sense: neither or both of ``producer`` and ``bootstrap_servers``, a pattern that
            is none, a field that every record has, ``on_full`` that would wait or raise.
    """

    def __init__(
        self,
        producer: Sends | None = None,
        topic: str = "logs",
        *,
        bootstrap_servers: str | Sequence[str] | None = None,
        service: str | None = None,
        fields: Mapping[str, object] | None = None,
        redact: str | re.Pattern[str] | Iterable[str | re.Pattern[str]] = (),
        level: int | str = logging.NOTSET,
        **config: Any,
    ) -> None:
        self._counts = {"dropped": 0}
        self._warned = False
        self._closed = False
        self._emitting = threading.local()
        self.topic = topic
        self.service = service
        _check(producer, topic, bootstrap_servers, config)
        self._servers = bootstrap_servers
        self._config = config
        native = bootstrap_servers is not None or isinstance(producer, ProducerCore)
        self._own_loggers = OWN_LOGGERS if native else OWN_LOGGERS + CLIENT_LOGGERS
        self._encoder = LogEncoder(
            service,
            dict(fields or {}),
            _patterns(redact),
            host=socket.gethostname(),
            ignore=list(self._own_loggers),
        )
        self._producer: Any = producer
        self._owned: Any = None
        if bootstrap_servers is not None:
            self._producer = self._owned = _own_producer(bootstrap_servers, config)
        # Bound once: this is all that the usual way through `handle` does.
        self._send_record: Any = getattr(self._producer, "send_record", None) if native else None
        # Last, because from here on `logging.shutdown` knows of it.
        super().__init__(level)

    @property
    def producer(self) -> Sends:
        """What records are sent with: the one given, or the handler's own."""
        producer: Sends = self._producer
        return producer

    def createLock(self) -> None:  # noqa: N802 - the name is logging's
        """No lock: nothing here is changed by two threads in more than one step."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> Any:
        """Filter the record and send it; never raises and never waits."""
        if self.filters:
            try:
                passed: Any = self.filter(record)
            except Exception as error:  # noqa: BLE001 - a filter of the program must not break its logging
                self._failed(error)
                return False
            if not passed:
                return passed
            if isinstance(passed, logging.LogRecord):  # from Python 3.12 on a filter may replace it
                record = passed
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; never raises and never waits."""
        try:
            if self._closed and not self._opened_again(record):
                if not self._aloud(record):
                    self._failed(None, "the handler is closed; attach another one")
            elif self._send_record is not None:
                if not self._send_record(self.topic, self._encoder, record):
                    self._aloud(record)
            elif not self._send(record):
                self._aloud(record)
        except Exception as error:  # noqa: BLE001 - whatever a producer raises, the program goes on
            self._failed(error)

    def _send(self, record: logging.LogRecord) -> bool:
        """The way of producers that are not ours: they may log, and then come back here."""
        if getattr(self._emitting, "now", False):
            return False
        self._emitting.now = True
        try:
            message = self._encoder.encode_record(record)
            if message is None:
                return False
            value = json.loads(message)
            self._producer.send(self.topic, value, key=value["logger"])
            return True
        finally:
            self._emitting.now = False

    def _opened_again(self, record: logging.LogRecord) -> bool:
        """Whether the handler goes on after `logging.config` has closed it.

        It closes all handlers that there are, also those that stay attached to loggers which its new configuration does
        not name, and forgets them: by that such a closing can be told from one by the program, or at the end. The
        handlers of the standard library open again, too.
        """
        if self._is_own(record):
            return False
        with _opening.lock:
            if not self._closed:
                return True  # another thread was faster
            known: Iterable[weakref.ref[logging.Handler]] | None = getattr(logging, "_handlerList", None)
            if known is None or any(reference() is self for reference in known):
                return False
            if getattr(self._emitting, "opening", False):
                return False  # logged by the opening
            self._emitting.opening = True
            try:
                if self._owned is not None:
                    self._producer = self._owned = _own_producer(self._servers, self._config | {"lazy": True})
                    self._send_record = self._producer.send_record
            finally:
                self._emitting.opening = False
            self._closed = False
        # So that it is flushed and closed at the end.
        remember: Any = getattr(logging, "_addHandlerRef", None)
        if remember is not None:
            remember(self)
        return True

    def _is_own(self, record: logging.LogRecord) -> bool:
        return any(record.name == own or record.name.startswith(own + ".") for own in self._own_loggers)

    def _aloud(self, record: logging.LogRecord) -> bool:
        """Whether the record is of the client itself, which is not shipped.

        A warning of it goes where `logging` puts those of a program without handlers, unless another handler hears it:
        a message that was lost is never lost in silence.
        """
        if not self._is_own(record):
            return False
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level and self._hears_alone(record):
            logging.lastResort.handle(record)
        return True

    def _hears_alone(self, record: logging.LogRecord) -> bool:
        """Whether only handlers of this kind hear the record, and this one as the first."""
        handlers: list[logging.Handler] = []
        at: logging.Logger | None = logging.getLogger(record.name)
        while at is not None:
            handlers += at.handlers
            at = at.parent if at.propagate else None
        ours = [handler for handler in handlers if isinstance(handler, KafkaLoggingHandler)]
        others = [
            handler for handler in handlers if not isinstance(handler, (KafkaLoggingHandler, logging.NullHandler))
        ]
        return not others and ours[:1] in ([self], [])

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the name is logging's
        """Count the record as dropped; what `logging.raiseExceptions` prints elsewhere would be printed for each."""
        self._failed(None)

    def _failed(self, error: BaseException | None, reason: str = "an error") -> None:
        self._counts["dropped"] += 1
        if self._warned:
            return
        self._warned = True
        # The type only: the text of an error may have the record in it, and the record a secret.
        why = reason if error is None else type(error).__name__
        with suppress(Exception):
            logging.getLogger("gds_kafka").warning(
                "a log record was not sent to topic %s (%s); this is said once, and counted", self.topic, why
            )

    def stats(self) -> dict[str, int]:
        """How many records were sent on, skipped and dropped by this handler.

        Returns:
            ``encoded`` (made into messages and given to the producer), ``skipped`` (of the client's own loggers, or
            logged while sending), ``flagged`` (encoded, but something in it could not be written as it was) and
            ``dropped`` (given up here: the producer raised, a filter did, or the handler is closed). What became of
            the messages afterwards is in the producer's own ``stats()``.
        """
        encoded, skipped, flagged = self._encoder.counts()
        return {"encoded": encoded, "skipped": skipped, "flagged": flagged, **self._counts}

    def flush(self) -> None:
        """Have the producer deliver what it has, for 5 seconds at most; never raises."""
        flush = getattr(self._producer, "flush", None) if not self._closed else None
        if flush is None:
            return
        try:
            flush(timeout=FLUSH_SECONDS)
        except TypeError:
            # A producer that flushes without a bound is not waited for.
            return
        except Exception as error:  # noqa: BLE001 - logging.shutdown goes on to the next handler
            self._failed(error)

    def close(self) -> None:
        """Let go of the producer, and close it if the handler made it; may be called again.

        Records that come later are counted as dropped, which is said once. A handler that `logging.config` has closed
        and left attached opens again with the next record.
        """
        try:
            if not self._closed:
                self._closed = True
                if self._owned is not None:
                    self._owned.close(timeout=FLUSH_SECONDS)
        except Exception as error:  # noqa: BLE001 - logging.shutdown goes on to the next handler
            self._failed(error)
        finally:
            super().close()

    def __repr__(self) -> str:
        service = "" if self.service is None else f", service={self.service!r}"
        return f"{type(self).__name__}(topic={self.topic!r}{service}, level={logging.getLevelName(self.level)})"


def _patterns(redact: str | re.Pattern[str] | Iterable[str | re.Pattern[str]]) -> list[str]:
    given: Any = [redact] if isinstance(redact, str) or hasattr(redact, "pattern") else list(redact)
    patterns = []
    for number, one in enumerate(given, 1):
        pattern = getattr(one, "pattern", one)
        if not isinstance(pattern, str):
            # Not what it is: it may be a secret.
            raise ValueError(  # noqa: TRY004 - as for a pattern that is none
                f"redact pattern {number} of {len(given)} is of type {type(pattern).__name__}; expected a str, or what "
                "re.compile makes of one"
            )
        flags = "".join(letter for letter, flag in _FLAGS.items() if getattr(one, "flags", 0) & flag)
        # On a line of its own, since a verbose pattern may end with a comment.
        end = "\n)" if "x" in flags else ")"
        patterns.append(f"(?{flags}:{pattern}{end}" if flags else pattern)
    return patterns


def _own_producer(bootstrap_servers: str | Sequence[str] | None, config: dict[str, Any]) -> Any:
    from gds_kafka.producer import KafkaProducerClient

    return KafkaProducerClient(bootstrap_servers or (), **{"lazy": True, "on_full": "drop_newest", **config})


def _check(
    producer: object, topic: object, bootstrap_servers: str | Sequence[str] | None, config: dict[str, Any]
) -> None:
    if not isinstance(topic, str) or not topic:
        raise ValueError(f"topic is {topic!r}; expected a name that is not empty")
    if (producer is None) == (bootstrap_servers is None):
        given = "neither" if producer is None else "both"
        raise ValueError(f"{given} of producer and bootstrap_servers given; expected one of them")
    if producer is not None and not callable(getattr(producer, "send", None)):
        raise ValueError(
            f"producer is of type {type(producer).__name__}; expected an object with send(topic, value, key=None)"
        )
    if producer is not None and config:
        raise ValueError(f"settings {sorted(config)} belong to a producer; with producer= they are given to that one")
    on_full = config.get("on_full", "drop_newest")
    if on_full not in _NEVER_WAITING:
        raise ValueError(
            f"on_full is {on_full!r}; expected one of {', '.join(_NEVER_WAITING)}, since logging never waits"
        )
