"""Redaction through the binding: the corpora in `corpus/` as log records, byte for byte as they would be sent."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from gds_kafka._encoder import LogEncoder

CORPUS = Path(__file__).parent / "corpus"
LONGEST_LEFT = 4
MARK = "[REDACTED]"


def lines(name: str) -> list[str]:
    text = (CORPUS / name).read_text("utf-8")
    return [line.replace("␤", "\n") for line in text.splitlines() if not line.startswith("# ")]


SECRETS = lines("secrets.txt")
INNOCENT = lines("innocent.txt")


def unmarked(line: str) -> str:
    return line.replace("«", "").replace("»", "")


def pieces(line: str) -> list[str]:
    """Every piece of a marked secret that is too long to be left."""
    found = [
        secret[at : at + LONGEST_LEFT + 1]
        for secret in re.findall(r"«(.*?)»", line, re.DOTALL)
        for at in range(len(secret) - LONGEST_LEFT)
    ]
    # The quotes of a list stand between its secrets.
    return [piece for piece in found if piece.strip() and '"' not in piece]


@pytest.fixture(scope="module")
def encoder() -> LogEncoder:
    return LogEncoder()


def record(message: object = "message", *arguments: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("app", logging.INFO, "/srv/app.py", 7, message, arguments, None, "run")
    # Digits of the clock are no part of a secret.
    made.created = 0.0
    made.process = 1
    made.__dict__.update(attributes)
    return made


def sent(encoder: LogEncoder, given: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    message = encoder.encode_record(given)
    assert message is not None
    value: dict[str, Any] = json.loads(message)
    # As text without JSON's escapes, so that a secret cannot hide behind them.
    return json.dumps(value, ensure_ascii=False) + "\n" + "\n".join(texts(value)), value


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for name, each in value.items() for text in [name, *texts(each)]]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_in_no_byte_sent(encoder: LogEncoder, line: str) -> None:
    assert pieces(line), "nothing is marked in this line"
    secret = unmarked(line)
    error = ValueError(secret)
    places = [
        record(secret),
        record("%s", secret),
        record("wrong arguments %d", secret),
        record("message", note=secret),
        record("message", deep={"list": [1, {"tuple": (secret,)}]}),
        record("message", **{secret: 1}),
        record("message", exc_info=(ValueError, error, None)),
        record("message", exc_text=secret),
        record("message", stack_info=secret),
        record("message", data=secret.encode()),
        record("message", threadName=secret),
        record("message", name=secret),
    ]
    for each in places:
        text, _ = sent(encoder, each)
        left = [piece for piece in pieces(line) if piece in text]
        assert not left, text


@pytest.mark.parametrize("line", INNOCENT)
def test_innocent_text_stays(encoder: LogEncoder, line: str) -> None:
    _, value = sent(encoder, record(line, note=line))
    assert value["message"] == line
    assert value["extra"] == {"note": line}


def test_the_corpora_are_large_enough() -> None:
    assert len(SECRETS) >= 80
    assert len(INNOCENT) >= 120


@pytest.mark.parametrize("value", ["hunter2", 918273, 1.5, True, b"\xff\x00", ["a", "b"], {"a": "b"}, object()])
@pytest.mark.parametrize(
    "name", ["password", "db_password", "X-Api-Key", "clientSecret", "PGPASSWORD", "session_token"]
)
def test_a_value_under_the_name_of_a_secret_is_replaced_whatever_it_is(
    encoder: LogEncoder, name: str, value: object
) -> None:
    _, message = sent(encoder, record("message", **{name: value}, nested={"list": [{name: value}]}))
    assert message["extra"] == {name: MARK, "nested": {"list": [{name: MARK}]}}


@pytest.mark.parametrize(
    "name", ["token_count", "password_policy", "tokenizer", "secret_name", "secret_path", "tokens"]
)
def test_a_value_under_a_name_about_secrets_stays(encoder: LogEncoder, name: str) -> None:
    _, message = sent(encoder, record("message", **{name: "value"}))
    assert message["extra"] == {name: "value"}


def test_that_there_is_no_secret_is_none(encoder: LogEncoder) -> None:
    _, message = sent(encoder, record("message", password=None))
    assert message["extra"] == {"password": None}


def test_extra_patterns_are_redacted_too() -> None:
    encoder = LogEncoder(redact=[r"EMP\d+", r"card (\d+)"])
    _, message = sent(encoder, record("EMP77 has card 4711"))
    assert message["message"] == f"{MARK} has card {MARK}"


def test_constant_fields_are_redacted() -> None:
    encoder = LogEncoder("billing", {"dsn": "postgres://app:hunter2@db/x", "api_key": "k"}, host="h")
    _, message = sent(encoder, record())
    assert message["dsn"] == f"postgres://app:{MARK}@db/x"
    assert message["api_key"] == MARK
    assert (message["service"], message["host"]) == ("billing", "h")


def test_a_bad_pattern_is_an_error_that_does_not_quote_it() -> None:
    with pytest.raises(ValueError, match=r"redact pattern 2 of 2: unclosed group") as raised:
        LogEncoder(redact=["fine", "hunter2("])
    assert "hunter2" not in str(raised.value)


def test_a_long_text_of_openings_takes_no_time_to_speak_of(encoder: LogEncoder) -> None:
    # A matcher that backtracks, or looks ahead from each opening to the end, is at it for hours.
    for opening in ("://a:b/", 'password="', "-eyJ", "Bearer ", '"token": [', "xoxb-"):
        sent(encoder, record(opening * 20_000))
