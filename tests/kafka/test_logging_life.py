"""`KafkaLoggingHandler` that is closed: by `logging.config`, which leaves it attached, and by the program."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gds_kafka import KafkaConsumerClient, KafkaLoggingHandler
from tests.kafka.doubles import RecordingProducer
from tests.metrics.programs import run
from tests.services.kafka import KafkaBroker

pytestmark = pytest.mark.timing


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.Logger("app.life")  # noqa: LOG001 - not to be found by others
    yield made
    for each in list(made.handlers):
        made.removeHandler(each)
        each.close()


def messages(folder: Path) -> list[str]:
    with KafkaConsumerClient(
        "logs", f"embedded:{folder}", auto_offset_reset="earliest", consumer_timeout_ms=1000
    ) as consumer:
        return sorted(message["value"]["message"] for message in consumer)


CONFIGURE = 'logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})'
CONFIGURE_FILE = "logging.config.fileConfig(io.StringIO(FILE), disable_existing_loggers=False)"


@pytest.mark.parametrize("configure", [CONFIGURE, CONFIGURE_FILE], ids=["dictConfig", "fileConfig"])
def test_an_attached_handler_goes_on_after_logging_is_configured(tmp_path: Path, configure: str) -> None:
    run(
        f"""
import io, logging, logging.config, os, sys, threading
from gds_kafka import KafkaLoggingHandler
FILE = "[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n[formatters]\\nkeys=\\n[logger_root]\\nhandlers=\\n"
logger = logging.getLogger("shop")
logger.addHandler(KafkaLoggingHandler(bootstrap_servers="embedded:" + sys.argv[1] + "/hub"))
logger.warning("before")
for _ in range(2):
    {configure}
    threads = [threading.Thread(target=logger.warning, args=("after",)) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
{configure}
child = os.fork()
if child == 0:
    logger.warning("child")
    logging.shutdown()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
logger.warning("last")
assert logger.handlers[0].stats()["dropped"] == 0
""",
        tmp_path,
    )
    assert messages(tmp_path / "hub") == ["after"] * 16 + ["before", "child", "last"]


def test_a_handler_with_a_spool_takes_it_up_again(kafka: KafkaBroker, tmp_path: Path) -> None:
    topic = f"life-{uuid4().hex[:8]}"
    kafka.create_topic(topic)
    run(
        f"""
import logging, logging.config, sys
from gds_kafka import KafkaLoggingHandler
logging.getLogger("gds_kafka").setLevel(logging.ERROR)  # a broker that has just started is not ready at once
handler = KafkaLoggingHandler(topic=sys.argv[1], bootstrap_servers=sys.argv[2], spool_dir=sys.argv[3])
logging.getLogger("shop").addHandler(handler)
for number in range(3):
    logging.getLogger("shop").warning("message %d", number)
    {CONFIGURE}
assert handler.stats()["dropped"] == 0
""",
        topic,
        kafka.bootstrap_servers,
        tmp_path / "spool",
    )
    values = [json.loads(record.value or b"") for record in kafka.read(topic)]
    # At least once: what was under way when the handler was closed may come twice.
    assert list(dict.fromkeys(value["message"] for value in values)) == ["message 0", "message 1", "message 2"]


def test_a_handler_with_a_producer_of_the_program_goes_on_and_is_flushed_at_the_end(logger: logging.Logger) -> None:
    producer = RecordingProducer()
    handler = KafkaLoggingHandler(producer)
    logger.addHandler(handler)
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    logger.warning("after")
    flushed = len(producer.flushed)
    logging.shutdown()
    assert [value["message"] for value in producer.values] == ["after"]
    assert len(producer.flushed) == flushed + 1
    logger.warning("after the end")
    assert handler.stats()["dropped"] == 1


def test_what_a_closed_handler_gets_is_said_once(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    handler = KafkaLoggingHandler(RecordingProducer())
    logger.addHandler(handler)
    handler.close()
    for _ in range(3):
        logger.warning("hunter2")
    assert handler.stats()["dropped"] == 3
    [said] = caplog.records
    assert said.name == "gds_kafka"
    assert "the handler is closed" in said.getMessage()
    assert "hunter2" not in said.getMessage()


def test_what_opens_the_handler_again_may_log(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Talking(RecordingProducer):
        def __init__(self) -> None:
            logger.warning("opening")
            super().__init__()
            opened.append(self)

        def send_record(self, _topic: str, encoder: object, record: logging.LogRecord) -> bool:
            del encoder
            self.send("logs", record.getMessage())
            return True

        def close(self, timeout: float | None = None) -> None:
            del timeout

    monkeypatch.setattr("gds_kafka.logging._own_producer", lambda _servers, _config: Talking())
    handler = KafkaLoggingHandler(bootstrap_servers="nobody:1")
    logger.addHandler(handler)
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    logger.warning("after")
    assert [producer.values for producer in opened] == [[], ["after"]]
