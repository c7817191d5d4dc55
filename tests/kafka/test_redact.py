"""Redaction through the binding: the corpora in `corpus/` as log records, byte for byte as they would be sent."""

from __future__ import annotations

import json
import logging
import re
import string
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gds_kafka._encoder import LogEncoder
from tests.kafka.corpus import INNOCENT, SECRETS

LONGEST_LEFT = 4
MARK = "[REDACTED]"
FIELDS = ("timestamp", "message", "function", "exception", "traceback", "MainThread")


def by_family(lines: dict[str, list[str]]) -> list[Any]:
    return [pytest.param(family, id=family) for family in lines]


def unmarked(line: str) -> str:
    return line.replace("«", "").replace("»", "")


def pieces(line: str) -> list[str]:
    """Every piece of a marked secret that is too long to be left."""
    found = [
        secret[at : at + LONGEST_LEFT + 1]
        for secret in re.findall(r"«(.*?)»", line, re.DOTALL)
        for at in range(len(secret) - LONGEST_LEFT)
    ]
    # The quotes of a list stand between its secrets; the names of a record's fields are always there.
    return [
        piece for piece in found if piece.strip() and '"' not in piece and not any(piece in name for name in FIELDS)
    ]


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


@pytest.mark.parametrize("family", by_family(SECRETS))
def test_a_secret_is_in_no_byte_sent(encoder: LogEncoder, family: str) -> None:
    for line in SECRETS[family]:
        assert pieces(line), f"nothing is marked in this line: {line}"
        secret = unmarked(line)
        error = ValueError(secret)
        places = [
            record(secret),
            record("%s", secret),
            record("wrong arguments %d", secret),
            record("message", note=secret),
            record("message", deep={"list": [1, {"tuple": (secret,)}]}),
            record("message", several=["GET", secret]),
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


@pytest.mark.parametrize("family", by_family(SECRETS))
def test_what_stands_around_a_secret_stays(encoder: LogEncoder, family: str) -> None:
    for line in SECRETS[family]:
        expected = re.sub(r"«.*?»", lambda _: MARK, line, flags=re.DOTALL)
        assert encoder.redact(unmarked(line)) == expected


@pytest.mark.parametrize("family", by_family(INNOCENT))
def test_innocent_text_stays(encoder: LogEncoder, family: str) -> None:
    for line in INNOCENT[family]:
        _, value = sent(encoder, record(line, note=line))
        assert value["message"] == line
        assert value["extra"] == {"note": line}


def test_the_corpora_are_large_enough() -> None:
    assert sum(map(len, SECRETS.values())) >= 2_200
    assert sum(map(len, INNOCENT.values())) >= 2_250


# What no line of the corpora has: names, values and the text around are put together anew in each run.
SERVICES = ("", "db", "app", "billing", "legacy", "prod", "etl", "shop")
KINDS = ("password", "passwd", "api_key", "access_token", "client_secret", "secret_key", "passphrase")
STYLES = (
    str.lower,
    str.upper,
    lambda name: name.replace("_", "-"),
    lambda name: name.replace("_", "."),
    lambda name: re.sub(r"_(\w)", lambda match: match.group(1).upper(), name),
)
CONTEXTS = (
    "NAME=VALUE",
    "NAME = 'VALUE'",
    'NAME: "VALUE"',
    '{"user": "bob", "NAME": "VALUE"}',
    "{'NAME': 'VALUE', 'user': 'bob'}",
    '{"name": "NAME", "value": "VALUE"}',
    '<property name="NAME" value="VALUE"/>',
    "<setting><name>NAME</name><value>VALUE</value></setting>",
    "- name: NAME\n  value: VALUE",
    "run --NAME VALUE --verbose",
    "run --NAME=VALUE",
    "?user=bob&NAME=VALUE&page=2",
    "user=bob;NAME=VALUE;host=db",
    "user=bob NAME=VALUE host=db",
    'connect(user="bob", NAME="VALUE")',
    "('NAME', 'VALUE')",
    "CREATE USER bob IDENTIFIED BY 'VALUE'",
    "ALTER ROLE bob WITH LOGIN PASSWORD 'VALUE'",
    "INSERT INTO t (id, NAME) values (1, 'VALUE')",
    "postgresql://bob:VALUE@db:5432/shop",
    "bob:VALUE@tcp(db:3306)/shop",
    "mysql -u bob -pVALUE shop",
    "curl -u bob:VALUE https://db.example.com",
    "Authorization: Bearer VALUE0VALUE",
)

names = st.builds(
    lambda service, kind, style: style("_".join(filter(None, (service, kind)))),
    *(st.sampled_from(choices) for choices in (SERVICES, KINDS, STYLES)),
)
values = st.builds(
    lambda head, body, digit: f"{head}{body}{digit}",
    st.sampled_from(string.ascii_letters),
    st.text(string.ascii_letters + string.digits, min_size=6, max_size=30),
    st.sampled_from(string.digits),
)
befores = st.sampled_from(("", "2026-01-01 12:00:00 INFO app: ", "[worker-7] ", "failed: ", "cannot run "))
afters = st.sampled_from(("", " ", "\n", " (attempt 2 of 3)", " took 12 ms"))


@settings(max_examples=400, deadline=None)
@given(before=befores, context=st.sampled_from(CONTEXTS), name=names, value=values, after=afters)
def test_secrets_are_found_in_contexts_of_chance(before: str, context: str, name: str, value: str, after: str) -> None:
    text = before + context.replace("NAME", name).replace("VALUE", value) + after
    redacted = LogEncoder().redact(text)
    assert value not in redacted, text
    assert redacted.startswith(before)
    assert redacted.endswith(after)


HARMLESS = (
    "****",
    "<redacted>",
    "${SECRET}",
    "$1",
    "%s",
    "?",
    ":value",
    "null",
    "None",
    "missing",
    "expired",
    "invalid",
)


@settings(max_examples=400, deadline=None)
@given(
    before=befores,
    context=st.sampled_from(
        ("NAME=VALUE", "NAME: VALUE", "NAME = VALUE", "user=bob NAME=VALUE host=db", "--NAME VALUE")
    ),
    name=names,
    value=st.sampled_from(HARMLESS),
    after=afters,
)
def test_what_stands_for_a_secret_stays_in_contexts_of_chance(
    before: str, context: str, name: str, value: str, after: str
) -> None:
    text = before + context.replace("NAME", name).replace("VALUE", value) + after
    assert LogEncoder().redact(text) == text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("password", "hunter2"), ["password", MARK]),
        (["db_password", 918273], ["db_password", MARK]),
        ([("user", "bob"), ("api_key", "k-17")], [["user", "bob"], ["api_key", MARK]]),
        ((b"x-api-key", b"k-17"), ["x-api-key", MARK]),
        ({"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "DB_PASSWORD", "value": MARK}),
        ([{"key": "API_KEY", "value": 17}], [{"key": "API_KEY", "value": MARK}]),
        (["mysql", "-u", "bob", "-phunter2"], ["mysql", "-u", "bob", f"-p{MARK}"]),
        (["curl", "-u", "bob:hunter2", "https://db"], ["curl", "-u", f"bob:{MARK}", "https://db"]),
        (["run", "--token", "abc-17"], ["run", "--token", MARK]),
    ],
)
def test_the_name_of_a_secret_may_be_in_another_place(encoder: LogEncoder, given: object, expected: object) -> None:
    _, message = sent(encoder, record("message", it=given))
    assert message["extra"] == {"it": expected}


@pytest.mark.parametrize(
    "given",
    [
        ("password", "token"),
        ["password", None],
        ["password", "token", "secret"],
        {"name": "PORT", "value": "8080"},
        {"name": "DB_PASSWORD", "type": "string"},
        ["docker", "run", "-p", "8080:80"],
        ["it's", 'a "list"', "of `words`", "'\"`"],
    ],
)
def test_lists_without_secrets_stay(encoder: LogEncoder, given: object) -> None:
    _, message = sent(encoder, record("message", it=given))
    assert message["extra"] == {"it": list(given) if isinstance(given, tuple) else given}


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


OPENINGS = (
    *("://a:b/", 'password="', "-eyJ", "Bearer ", '"token": [', "xoxb-", "mysql -p", "curl -u ", "IDENTIFIED BY '"),
    *("(password,", '"name":"password",', "password: |\n ", "a:b@", "db:5432:", "MIIE", "setPassword(", "<password a="),
    *("INSERT INTO t (password) VALUES ('a'),", "PWD={", "%22password%22%3A%22", "| password | ", "SET PASSWORD FOR "),
)


@pytest.mark.parametrize("opening", OPENINGS)
def test_time_grows_with_the_length_of_a_text_and_with_nothing_else(encoder: LogEncoder, opening: str) -> None:
    # A matcher that backtracks, or looks ahead from each opening to the end, takes 16 times as long for a text that is
    # 4 times as long; and hours for this one.
    def seconds(length: int) -> float:
        text = opening * (length // len(opening))
        began = time.thread_time()
        encoder.redact(text)
        return time.thread_time() - began

    short, long = (min(seconds(length) for _ in range(3)) for length in (50_000, 200_000))
    assert long < 12 * short + 0.05
