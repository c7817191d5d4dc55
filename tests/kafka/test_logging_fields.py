"""What `KafkaLoggingHandler` makes of dicts, of named arguments and of exceptions."""

from __future__ import annotations

import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import structlog

from gds_kafka.logging import KafkaLoggingHandler
from tests.kafka.doubles import RecordingProducer
from tests.kafka.schemas import problems


@pytest.fixture
def producer() -> RecordingProducer:
    return RecordingProducer()


@pytest.fixture
def app(producer: RecordingProducer) -> Iterator[logging.Logger]:
    made = logging.Logger("app.fields")  # noqa: LOG001 - not to be found by others
    handler = KafkaLoggingHandler(producer)
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["event", "message", "msg"])
def test_a_dict_is_logged_as_fields(app: logging.Logger, producer: RecordingProducer, kind: Any, name: str) -> None:
    app.info(kind({name: "paid", "order": 7, "db": {"password": "hunter2", "host": "h"}, "token": "hunter2"}))
    [value] = producer.values
    assert problems("log.json", value) == []
    assert value["message"] == "paid"
    assert value["extra"] == {"order": 7, "db": {"password": "[REDACTED]", "host": "h"}, "token": "[REDACTED]"}


def test_a_dict_without_a_message_is_text_too(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info({"order": 7, "pin_code": 1, "password": 471147})
    app.info({})
    app.info({"event": 7})
    first, second, third = producer.values
    assert "471147" not in str(first)
    assert first["extra"] == {"order": 7, "pin_code": 1, "password": "[REDACTED]"}
    assert "'order': 7" in first["message"]
    assert (second["message"], "extra" in second) == ("{}", False)
    assert (third["message"], third["extra"]) == ("{'event': 7}", {"event": 7})


def test_fields_stand_before_extra_of_the_same_name(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info({"event": "paid", "order": 7}, extra={"order": 8, "shop": "s"})
    assert producer.values[0]["extra"] == {"order": 7, "shop": "s"}


def test_a_dict_with_arguments_is_formatted(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info({"event": "%s"}, "x")
    assert producer.values[0]["message"] == "{'event': 'x'}"


def test_structlog_through_the_formatter_of_logging(app: logging.Logger, producer: RecordingProducer) -> None:
    log: Any = structlog.wrap_logger(
        app,
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
    ).bind(request="r-1")
    log.info("paid %s", "now", order=7, api_key="hunter2")
    try:
        raise LookupError("not there")
    except LookupError:
        log.exception("failed", password="hunter2")
    paid, failed = producer.values
    assert [problems("log.json", value) for value in producer.values] == [[], []]
    assert (paid["message"], paid["level"]) == ("paid now", "INFO")
    assert paid["extra"] == {"request": "r-1", "order": 7, "api_key": "[REDACTED]", "level": "info"}
    assert (failed["message"], failed["level"]) == ("failed", "ERROR")
    assert failed["extra"] == {"request": "r-1", "password": "[REDACTED]", "level": "error"}
    assert (failed["exception"]["type"], failed["exception"]["message"]) == ("LookupError", "not there")
    assert failed["exception"]["traceback"].endswith("LookupError: not there")


def test_structlog_as_extra(app: logging.Logger, producer: RecordingProducer) -> None:
    log: Any = structlog.wrap_logger(
        app, wrapper_class=structlog.stdlib.BoundLogger, processors=[structlog.stdlib.render_to_log_kwargs]
    )
    log.warning("paid", order=7, password="hunter2")
    [value] = producer.values
    assert (value["message"], value["extra"]) == ("paid", {"order": 7, "password": "[REDACTED]"})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("%(user)s / %(password)s", "bob / [REDACTED]"),
        ("%(password)-20.3s|%(pin)d|%(user)r", "[REDACTED]|4|'bob'"),
        ("%(db_password)d and 100%%", "[REDACTED] and 100%"),
        ("%(password)", "[REDACTED]"),
        ("100%% of %(a(b))s %(password)s", "100% of nested [REDACTED]"),
        ("größe %(password)sß", "größe [REDACTED]ß"),
        ("plain", "plain"),
    ],
)
def test_arguments_under_names_of_secrets_are_redacted(
    app: logging.Logger, producer: RecordingProducer, message: str, expected: str
) -> None:
    arguments = {"user": "bob", "password": "swordfish", "db_password": 471147, "pin": 4, "a(b)": "nested"}
    app.info(message, arguments)
    app.info(message, MappingProxyType(arguments))
    assert [value["message"] for value in producer.values] == [expected] * 2
    assert arguments["password"] == "swordfish"


def test_arguments_that_do_not_fit_are_redacted(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info("%(user)d %(missing)s", {"user": 1, "password": ("swordfish", 471147)})
    [value] = producer.values
    assert value["flags"] == ["unformatted"]
    assert "swordfish" not in value["message"]
    assert "471147" not in value["message"]


def test_a_record_with_a_way_of_its_own_is_not_told_secrets(app: logging.Logger, producer: RecordingProducer) -> None:
    class Braced(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802 - the name is logging's
            return str(self.msg).format(**self.args)  # type: ignore[arg-type]

    record = Braced("app", logging.INFO, __file__, 1, "{user}:{password}", ({"user": "u", "password": "sword"},), None)
    app.handle(record)
    assert producer.values[0]["message"] == "u:[REDACTED]"
    assert record.args == {"user": "u", "password": "sword"}


class Login(NamedTuple):
    user: str
    password: str


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (("password", "swordfish"), ["password", "[REDACTED]"]),
        ([("user", "u"), ["api_key", "swordfish"]], [["user", "u"], ["api_key", "[REDACTED]"]]),
        ({"name": "DB_PASSWORD", "value": "swordfish"}, {"name": "DB_PASSWORD", "value": "[REDACTED]"}),
        ([{"key": "token", "value": "swordfish"}], [{"key": "token", "value": "[REDACTED]"}]),
        ({"name": "DB_HOST", "value": "h"}, {"name": "DB_HOST", "value": "h"}),
        (Login("u", "swordfish"), {"user": "u", "password": "[REDACTED]"}),
        (("password", "a0000PW0"), ["password", "[REDACTED]"]),
        (("password", "api_key"), ["password", "api_key"]),
        (("password", None), ["password", None]),
        (("user", "password", "host"), ["user", "password", "host"]),
        ({"auth": ("u", "swordfish")}, {"auth": ["u", "[REDACTED]"]}),
        ({"auth": ["u", b"swordfish"]}, {"auth": ["u", "[REDACTED]"]}),
        ({"auth": "u:swordfish"}, {"auth": "[REDACTED]"}),
        ({"auth": "dTpzd29yZGZpc2g="}, {"auth": "[REDACTED]"}),
        ({"auth": ["userpass", "approle", "token"]}, {"auth": ["userpass", "approle", "token"]}),
        ({"auth": "approle"}, {"auth": "approle"}),
        ({"auth": ("u", None)}, {"auth": ["u", None]}),
    ],
)
def test_pairs_in_extra_are_redacted(
    app: logging.Logger, producer: RecordingProducer, extra: object, expected: object
) -> None:
    app.info("x", extra={"it": extra})
    assert producer.values[0]["extra"] == {"it": expected}


def test_what_is_bytes_and_what_is_no_time(app: logging.Logger, producer: RecordingProducer) -> None:
    raw = [b"\xff"[:0] + b"abc", bytearray(b"abc"), memoryview(b"abc")]
    app.info("x", extra={"raw": raw, "no_utf8": bytearray(b"\xff"), "nat": [pd.NaT, np.datetime64("NaT", "s"), pd.NA]})
    extra = producer.values[0]["extra"]
    assert extra == {"raw": ["abc"] * 3, "no_utf8": "b'\\xff'", "nat": [None, None, None]}


def test_text_that_utf8_cannot_carry_is_flagged(app: logging.Logger, producer: RecordingProducer) -> None:
    app.info("file \udcff", extra={"ok": 1})
    app.info("fine", extra={"\udcff": 1})
    app.handle(logging.makeLogRecord({"levelno": 20, "msg": "fine", "pathname": "/x/\udcff.py"}))
    app.info("fine")
    assert [value.get("flags") for value in producer.values] == [["lone_surrogate"]] * 3 + [None]
    assert producer.values[0]["message"] == "file \ufffd"


def test_the_traceback_is_of_the_exception_not_of_another_formatter(
    app: logging.Logger, producer: RecordingProducer
) -> None:
    class Short(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
            return f"oops {ei[0].__name__}"

    try:
        raise LookupError("not there")
    except LookupError:
        record = app.makeRecord("app", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    Short().format(record)
    assert record.exc_text == "oops LookupError"
    app.handle(record)
    record.exc_info = None  # as in a record of another process
    app.handle(record)
    own, cached = (value["exception"] for value in producer.values)
    assert own["traceback"].startswith("Traceback (most recent call last):")
    assert own["traceback"].endswith("LookupError: not there")
    assert cached == {"traceback": "oops LookupError"}
    assert [problems("log.json", value) for value in producer.values] == [[], []]


def test_an_exception_alone_is_an_exc_info(app: logging.Logger, producer: RecordingProducer) -> None:
    app.handle(logging.makeLogRecord({"levelno": 20, "msg": "failed", "exc_info": LookupError("not there")}))
    app.handle(logging.makeLogRecord({"levelno": 20, "msg": "fine", "exc_info": (None, None, None)}))
    failed, fine = producer.values
    assert failed["exception"] == {
        "type": "LookupError",
        "message": "not there",
        "traceback": "LookupError: not there",
    }
    assert "exception" not in fine


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (re.compile(r"emp\d+", re.IGNORECASE), "by [REDACTED]"),
        (re.compile("emp  # the number\n \\d+ # at the end", re.VERBOSE | re.IGNORECASE), "by [REDACTED]"),
        (re.compile(r"^by (EMP\d+)$", re.MULTILINE), "by [REDACTED]"),
        ([re.compile(r"EMP\d"), r"\d\d$"], "by [REDACTED]"),
        (re.compile("emp"), "by EMP123"),
    ],
)
def test_patterns_may_be_compiled(pattern: Any, text: str) -> None:
    producer = RecordingProducer()
    handler = KafkaLoggingHandler(producer, redact=pattern if isinstance(pattern, list) else [pattern])
    handler.handle(logging.makeLogRecord({"msg": "by EMP123"}))
    assert re.sub(r"(\[REDACTED\])+", "[REDACTED]", producer.values[0]["message"]) == text


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (re.compile(r"(?<=x)hunter2"), "redact pattern 2 of 2: .*without look-around"),
        (re.compile(rb"hunter2"), "redact pattern 2 of 2 is of type bytes; expected a str"),
        (7, "redact pattern 2 of 2 is of type int"),
    ],
)
def test_a_pattern_that_is_none_is_named_by_its_number(pattern: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        KafkaLoggingHandler(RecordingProducer(), redact=["fine", pattern])
    assert "hunter2" not in str(caught.value)
