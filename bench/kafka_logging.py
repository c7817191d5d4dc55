"""What a log record costs the thread that logs it, redaction on, beside handlers that do less."""

from __future__ import annotations

import json
import logging
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from statistics import median

from bench.brokers import broker, fresh_topic
from bench.harness import AT_MOST, Bar, Call, Effort, Row, compare, expect, percentile, row
from gds_kafka import KafkaLoggingHandler, KafkaProducerClient
from tests.services.kafka import KafkaBroker

__all__ = ["logging_calls"]

_INFO = 'info("user %s logged in from %s", name, host)'
_NAMES = {"name": "ada", "host": "db-17.example.com"}


def _logger(name: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(f"bench.{name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    return logger


def _call(logger: logging.Logger) -> Call:
    return Call(_INFO, info=logger.info, **_NAMES)


def _check(kafka: KafkaBroker) -> None:
    topic = fresh_topic(kafka)
    handler = KafkaLoggingHandler(topic=topic, bootstrap_servers=kafka.bootstrap_servers)
    logger = _logger("check", handler)
    logger.info("user %s logged in from %s", *_NAMES.values())
    logger.info("token %s", secret := "hvs.CAESIJlWh0vD4sT1kqzmE0o8u1kXwWcQ")
    handler.close()
    bodies = [record.value or b"" for record in kafka.read(topic)]
    messages = [json.loads(body)["message"] for body in bodies]
    expect("records read back", messages[:1], ["user ada logged in from db-17.example.com"])
    expect("records read back", len(messages), 2)
    expect("the secret is in a message", any(secret.encode() in body for body in bodies), False)


def logging_calls(effort: Effort) -> list[Row]:
    """`logger.info` with two arguments, to a broker that is up."""
    with broker() as kafka:
        _check(kafka)
        # Large enough that nothing is dropped, which would be cheaper.
        producer = KafkaProducerClient(kafka.bootstrap_servers, on_full="drop_newest", buffer_memory=1 << 30)
        handler = KafkaLoggingHandler(producer, fresh_topic(kafka))
        ours = _call(_logger("ours", handler))
        ours.run(1_000)
        nothing = compare(ours, _call(_logger("nothing", logging.NullHandler())), effort)
        # As its documentation has it: with a listener in a thread, which does nothing more with the records.
        queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
        listener = QueueListener(queue, logging.NullHandler())
        listener.start()
        queued = compare(ours, _call(_logger("queue", QueueHandler(queue))), effort)
        listener.stop()
        expect("records left", producer.flush(), 0)
        expect("records dropped", (handler.stats()["dropped"], producer.stats()["dropped_total"]), (0, {}))
        handler.close()
        producer.close()
    more = [(a - b) / 1e3 for a, b in nothing]
    name = "logger.info through the handler, redaction on"
    return [
        Row(
            name=f"{name}: more than through NullHandler",
            ours=median(more),
            unit="us",
            bar=Bar(AT_MOST, 6),
            low=percentile(more, 10),
            high=percentile(more, 90),
        ),
        row(name, queued, unit="ns", against="logging.handlers.QueueHandler", bar=Bar(AT_MOST, 1)),
    ]
