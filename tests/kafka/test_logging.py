"""`KafkaLoggingHandler`: what it sends, what it does not, and that logging with it never fails."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gds_kafka.logging import KafkaLoggingHandler
from tests.forks import fork
from tests.kafka.doubles import BrokenProducer, RecordingProducer
from tests.kafka.schemas import problems


@pytest.fixture
def producer() -> RecordingProducer:
    return RecordingProducer()


@pytest.fixture
def handler(producer: RecordingProducer) -> Iterator[KafkaLoggingHandler]:
    made = KafkaLoggingHandler(producer)
    yield made
    made.close()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own, which keeps nothing after the test."""
    made = logging.Logger("app.billing")  # noqa: LOG001 - not to be found by others
    yield made
    for each in list(made.handlers):
        made.removeHandler(each)
        each.close()


@pytest.fixture
def app(logger: logging.Logger, handler: KafkaLoggingHandler) -> logging.Logger:
    logger.addHandler(handler)
    return logger


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_record_is_a_message_of_the_contract(app: logging.Logger, producer: RecordingProducer) -> None:
    before = time.time()
    app.info("paid %s of %d", "one", 2)
    [(topic, value, key)] = producer.sent
    assert (topic, key) == ("logs", "app.billing")
    assert before <= value.pop("timestamp") <= time.time()
    assert value.pop("lineno") > 0
    assert value == {
        "logger": "app.billing",
        "level": "INFO",
        "message": "paid one of 2",
        "path": __file__,
        "function": "test_a_record_is_a_message_of_the_contract",
        "process": os.getpid(),
        "thread": threading.current_thread().name,
        "host": socket.gethostname(),
    }


def test_messages_are_as_the_schema_says(producer: RecordingProducer, logger: logging.Logger) -> None:
    logger.addHandler(KafkaLoggingHandler(producer, "other", service="billing", fields={"region": "eu", "shard": 3}))
    logger.warning("plain")
    logger.warning("with extra", extra={"order": 7, "when": datetime(2026, 1, 2, tzinfo=timezone.utc), "a": {1, 2}})
    try:
        raise LookupError("not there")
    except LookupError:
        logger.exception("failed")
    logger.handle(logging.makeLogRecord({"msg": "made of nothing", "levelno": logging.INFO}))
    assert [problems("log.json", value) for value in producer.values] == [[], [], [], []]
    assert {value.get("service") for value in producer.values} == {"billing"}
    assert {(value["region"], value["shard"]) for value in producer.values} == {("eu", 3)}
    assert producer.values[1]["extra"] == {"order": 7, "when": "2026-01-02T00:00:00+00:00", "a": [1, 2]}
    exception = producer.values[2]["exception"]
    assert (exception["type"], exception["message"]) == ("LookupError", "not there")
    assert exception["traceback"].startswith("Traceback (most recent call last):")
    assert exception["traceback"].endswith("LookupError: not there")


def test_wrong_arguments_arrive_unformatted(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info("%d files", "many")
    [value] = producer.values
    assert value["message"] == "%d files ('many',)"
    assert value["flags"] == ["unformatted"]


def test_a_record_with_a_way_of_its_own_to_format_is_asked(
    handler: KafkaLoggingHandler, producer: RecordingProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Braced(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802 - the name is logging's
            return str(self.msg).format(*self.args)  # type: ignore[misc]

    handler.handle(Braced("app", logging.INFO, __file__, 1, "{} of {}", (1, 2), None))
    monkeypatch.setattr(logging.LogRecord, "getMessage", lambda record: f"patched {record.msg}")
    handler.handle(logging.makeLogRecord({"msg": "for all"}))
    monkeypatch.undo()
    handler.handle(logging.makeLogRecord({"msg": "%(a)s and 100%%", "args": {"a": "by name"}}))
    handler.handle(logging.makeLogRecord({"msg": "100%", "args": ()}))
    messages = [value["message"] for value in producer.values]
    assert messages == ["1 of 2", "patched for all", "by name and 100%", "100%"]


def test_what_has_no_json_arrives_as_text(app: logging.Logger, producer: RecordingProducer) -> None:
    loop: list[Any] = []
    loop.append(loop)
    app.info(Unprintable(), extra={"broken": Unprintable(), "nan": float("nan"), "huge": 2**70, "loop": loop})
    [value] = producer.values
    assert value["message"] == "<unprintable Unprintable>"
    assert value["extra"]["broken"] == "<unprintable Unprintable>"
    assert value["extra"]["nan"] is None
    assert value["extra"]["huge"] == str(2**70)
    assert "..." in json.dumps(value["extra"]["loop"])
    assert value["flags"] == ["non_finite", "truncated", "unformatted", "unserialisable"]


@pytest.mark.parametrize("message", ["\ud800 lone", 'quotes " and \\ and \x00\x1f\n', "größe ☕ 数据库", ""])
def test_any_text_arrives(app: logging.Logger, producer: RecordingProducer, message: str) -> None:
    app.info(message)
    [value] = producer.values
    assert value["message"] == message.replace("\ud800", "\ufffd")


def test_a_record_of_any_size_fits_into_a_message(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info("x" * 5_000_000, extra={"list": ["y" * 1000] * 5000})
    [value] = producer.values
    assert len(json.dumps(value)) < 1_000_000
    assert value["flags"] == ["truncated"]


def test_the_record_is_left_as_it_was(app: logging.Logger, handler: KafkaLoggingHandler) -> None:
    record = app.makeRecord("app", logging.INFO, __file__, 1, "%s", ("a",), None, extra={"password": "hunter2"})
    before = dict(record.__dict__)
    handler.handle(record)
    assert record.__dict__ == before


def test_the_active_span_is_named(app: logging.Logger, producer: RecordingProducer) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    for sampled in (0, 1):
        context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(sampled))
        with trace.use_span(trace.NonRecordingSpan(context)):
            app.info("within")
    app.info("without")
    within = {(value.get("trace_id"), value.get("span_id")) for value in producer.values[:2]}
    assert within == {(f"{0xABC:032x}", f"{0xDEF:016x}")}
    assert "trace_id" not in producer.values[2]


def test_level_and_filters_are_those_of_logging(producer: RecordingProducer, logger: logging.Logger) -> None:
    handler = KafkaLoggingHandler(producer, level="WARNING")
    handler.addFilter(lambda record: "skip" not in record.getMessage())
    logger.addHandler(handler)
    logger.info("too low")
    logger.error("skip this")
    logger.error("take this")
    assert [value["message"] for value in producer.values] == ["take this"]


def test_records_of_the_clients_themselves_are_not_sent(
    handler: KafkaLoggingHandler, producer: RecordingProducer
) -> None:
    for name in ("gds_kafka", "gds_kafka.producer", "kafka.conn", "aiokafka", "confluent_kafka"):
        handler.handle(logging.makeLogRecord({"name": name, "msg": "about itself"}))
    handler.handle(logging.makeLogRecord({"name": "gds_kafkaesque", "msg": "about something else"}))
    assert [value["logger"] for value in producer.values] == ["gds_kafkaesque"]
    assert handler.stats()["skipped"] == 5


def test_a_producer_that_logs_does_not_recurse(logger: logging.Logger) -> None:
    class Talking(RecordingProducer):
        def send(self, topic: str, value: Any, key: Any = None) -> None:
            logger.info("about to send")
            super().send(topic, value, key)

    producer = Talking()
    logger.addHandler(KafkaLoggingHandler(producer))
    logger.info("once")
    assert [value["message"] for value in producer.values] == ["once"]


def test_a_value_that_logs_while_it_is_written_does_not_recurse(
    app: logging.Logger, producer: RecordingProducer
) -> None:
    class Talking:
        def __str__(self) -> str:
            app.info("while writing")
            return "text"

    app.info("outer %s", Talking())
    assert [value["message"] for value in producer.values] == ["outer text"]


def test_a_producer_that_raises_is_counted_and_mentioned_once(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = KafkaLoggingHandler(BrokenProducer())
    logger.addHandler(handler)
    for _ in range(3):
        logger.info("message with hunter2")
    assert handler.stats()["dropped"] == 3
    [warning] = caplog.records
    assert warning.name == "gds_kafka"
    assert "RuntimeError" in warning.getMessage()
    assert "hunter2" not in warning.getMessage()
    assert capfd.readouterr().err == ""


def test_ctrl_c_while_a_value_is_written_belongs_to_the_program(
    app: logging.Logger, producer: RecordingProducer
) -> None:
    class Interrupted:
        def __str__(self) -> NoReturn:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        app.info("%s", Interrupted())
    app.info("goes on")
    assert [value["message"] for value in producer.values] == ["goes on"]


def test_threads_log_at_once(app: logging.Logger, producer: RecordingProducer) -> None:
    def talk() -> None:
        for number in range(500):
            app.info("message %d", number)

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(producer.sent) == 2000


def test_tasks_log_at_once(app: logging.Logger, producer: RecordingProducer) -> None:
    async def task() -> None:
        for number in range(50):
            app.info("message %d", number)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(task() for _ in range(10)))

    asyncio.run(main())
    assert len(producer.sent) == 500


def test_flush_is_bounded_and_close_leaves_a_given_producer_open(
    handler: KafkaLoggingHandler, app: logging.Logger, producer: RecordingProducer
) -> None:
    handler.flush()
    assert producer.flushed == [5.0]
    handler.close()
    handler.close()
    app.info("too late")
    assert producer.sent == []
    assert handler.stats()["dropped"] == 1
    producer.send("still", "open")


def test_shutdown_of_logging_flushes_and_closes(producer: RecordingProducer) -> None:
    handler = KafkaLoggingHandler(producer)
    import weakref

    logging.shutdown([weakref.ref(handler)])
    assert producer.flushed == [5.0]
    handler.handle(logging.makeLogRecord({"msg": "late"}))
    assert handler.stats()["dropped"] == 1


def test_dictconfig_takes_a_producer_by_its_path_and_reloads(producer: RecordingProducer) -> None:
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "given": {"producer": producer},
        "handlers": {
            "kafka": {
                "class": "gds_kafka.logging.KafkaLoggingHandler",
                "producer": "cfg://given.producer",
                "topic": "audit",
                "level": "WARNING",
                "redact": [r"EMP\d+"],
            }
        },
        "loggers": {"configured": {"handlers": ["kafka"], "level": "INFO", "propagate": False}},
    }
    logger = logging.getLogger("configured")
    try:
        for round_ in range(2):
            logging.config.dictConfig(config)
            [handler] = logger.handlers
            logger.info("too low")
            logger.warning("round %d of EMP12", round_)
            assert handler.stats()["encoded"] == 1  # type: ignore[attr-defined]
    finally:
        for each in list(logger.handlers):
            logger.removeHandler(each)
            each.close()
    assert [(each.topic, each.value["message"]) for each in producer.sent] == [
        ("audit", "round 0 of [REDACTED]"),
        ("audit", "round 1 of [REDACTED]"),
    ]


def test_a_forked_child_logs_while_the_parent_is_logging(app: logging.Logger, producer: RecordingProducer) -> None:
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            app.info("from the parent")

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for _ in range(20):
            read, write = os.pipe()
            child = fork()
            if child == 0:
                # Without the recorder's lock, which the talking thread may hold.
                producer.arrived = threading.Condition()
                del producer.sent[:]
                app.info("from the child")
                messages = {value["message"] for value in producer.values}
                os.write(write, b"y" if messages == {"from the child"} else b"n")
                os._exit(0)
            os.close(write)
            with os.fdopen(read, "rb") as answer:
                assert answer.read() == b"y"
            os.waitpid(child, 0)
    finally:
        stop.set()
        talker.join()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "neither of producer and bootstrap_servers"),
        ({"producer": RecordingProducer(), "bootstrap_servers": "h:1"}, "both of producer and bootstrap_servers"),
        ({"producer": object()}, "of type object; expected an object with send"),
        ({"producer": RecordingProducer(), "topic": ""}, "topic is ''"),
        ({"producer": RecordingProducer(), "linger_ms": 5}, "settings .'linger_ms'. belong to a producer"),
        (
            {"bootstrap_servers": "h:1", "on_full": "block"},
            "on_full is 'block'; expected one of drop_newest, drop_oldest",
        ),
        ({"producer": RecordingProducer(), "redact": ["("]}, "redact pattern 1 of 1: unclosed group"),
        ({"producer": RecordingProducer(), "fields": {"level": 1}}, 'field "level" is one of every record'),
    ],
)
def test_settings_that_make_no_sense_are_an_error(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KafkaLoggingHandler(**settings)


def test_repr_has_no_secret(producer: RecordingProducer) -> None:
    handler = KafkaLoggingHandler(producer, service="billing", redact=["hunter2"], fields={"password": "hunter2"})
    assert repr(handler) == "KafkaLoggingHandler(topic='logs', service='billing', level=NOTSET)"


def test_what_the_client_says_is_heard_once_if_no_other_handler_hears_it(
    producer: RecordingProducer, capsys: pytest.CaptureFixture[str]
) -> None:
    own = logging.getLogger("gds_kafka.test")
    own.propagate = False
    first, second = KafkaLoggingHandler(producer), KafkaLoggingHandler(producer)
    elsewhere = logging.StreamHandler(io.StringIO())
    try:
        own.addHandler(first)
        own.addHandler(second)
        own.warning("3 messages were dropped")
        own.info("nothing to worry about")
        assert capsys.readouterr().err == "3 messages were dropped\n"
        first.close()
        own.warning("at the end")
        assert capsys.readouterr().err == "at the end\n"
        own.addHandler(elsewhere)
        own.warning("heard there")
        assert capsys.readouterr().err == ""
        assert elsewhere.stream.getvalue() == "heard there\n"
    finally:
        for handler in (first, second, elsewhere):
            own.removeHandler(handler)
            handler.close()
    assert producer.sent == []
    assert first.stats()["dropped"] == 0


def test_what_is_lost_at_the_end_is_said_on_stderr_if_nobody_else_says_it() -> None:
    from tests.metrics.programs import run_aloud

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        said = run_aloud(
            """
import logging, sys
from gds_kafka import KafkaLoggingHandler
handler = KafkaLoggingHandler(bootstrap_servers=f"127.0.0.1:{sys.argv[1]}")
logging.getLogger().addHandler(handler)
logging.getLogger("app").warning("never arrives")
handler._owned.close(timeout=0.1)
""",
            nobody.getsockname()[1],
        )
    assert "1 messages were not delivered before the client was closed: dropped" in said
    assert "never arrives" not in said


def test_records_reach_kafka_from_dictconfig_alone(kafka: Any, tmp_path: Path) -> None:
    from tests.metrics.programs import run

    topic = f"logs-{os.getpid()}"
    kafka.create_topic(topic)
    run(
        """
import logging, logging.config, os, sys
config = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"kafka": {"class": "gds_kafka.KafkaLoggingHandler", "bootstrap_servers": sys.argv[1],
                           "topic": sys.argv[2], "service": "billing"}},
    "root": {"handlers": ["kafka"], "level": "INFO"},
    # A broker that has just started is not ready at once, which the client warns of.
    "loggers": {"gds_kafka": {"level": "ERROR"}},
}
logging.config.dictConfig(config)
logging.getLogger("app").info("before reload, password=%s", "hunter2")
logging.config.dictConfig(config)
logging.getLogger("app").info("after reload", extra={"db_password": "hunter2"})
child = os.fork()
if child == 0:
    logging.getLogger("app.child").info("from the child")
    logging.shutdown()
    os._exit(0)
os.waitpid(child, 0)
logging.getLogger("app").info("last words")
""",
        kafka.bootstrap_servers,
        topic,
    )
    records = kafka.read(topic)
    assert not [record for record in records if b"hunter2" in record.value]
    values = [json.loads(record.value) for record in records]
    assert [problems("log.json", value) for value in values] == [[]] * 4
    assert sorted((record.key, value["message"]) for record, value in zip(records, values, strict=True)) == [
        (b"app", "after reload"),
        (b"app", "before reload, password=[REDACTED]"),
        (b"app", "last words"),
        (b"app.child", "from the child"),
    ]
