"""JSON as Python objects: as the standard library reads it, as strict as orjson; errors say where and hold no value."""

from __future__ import annotations

import gc
import json
import math
import random
import re
import sys
import threading
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_kafka._json import dumps as json_dumps
from gds_kafka._json import loads as json_loads

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=30,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t", "\r\n"]))
def test_it_reads_as_the_standard_library_does(value: Any, escaped: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert repr(json_loads(text)) == repr(json.loads(text)) == repr(value)


@given(VALUES)
def test_what_was_written_is_read(value: Any) -> None:
    assert repr(json_loads(json_dumps(value))) == repr(value)


def accepted(loads: Any, text: bytes) -> tuple[bool, Any]:
    try:
        return True, loads(text)
    except ValueError:
        return False, None


def refused_constant(name: str) -> Any:
    raise ValueError(name)


def strict(text: bytes) -> Any:
    """The standard library, without what it takes beyond JSON."""
    value = json.loads(text.decode("utf-8"), parse_constant=refused_constant)
    json.dumps(value, ensure_ascii=False).encode()  # lone surrogates
    return value


WORDS = rb"""
" \ \u d800 dc00 \ud800\udc00 { } [ ] , : - + . e E5 0 00 12 true false null NaN Infinity / ' "a" {"a": [1,
"""
BYTES = [b" ", b"\n", b"\t", b"\x0b", b"\x00", b"\x7f", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf"]
PIECES = st.sampled_from([*WORDS.split(), *BYTES])


@given(st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=12))
def test_it_takes_and_refuses_the_same_texts(text: bytes) -> None:
    ours = accepted(json_loads, text)
    assert repr(ours) == repr(accepted(strict, text))
    if b"e" not in text.lower():  # orjson refuses what is beyond the range of floats
        assert ours[0] == accepted(orjson.loads, text)[0]


@given(VALUES, st.data())
def test_damaged_texts_are_taken_and_refused_as_by_orjson(value: Any, data: st.DataObject) -> None:
    text = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode())
    at = data.draw(st.integers(0, len(text)))
    match data.draw(st.sampled_from(["cut", "insert", "delete", "replace"])):
        case "cut":
            del text[at:]
        case "insert":
            text[at:at] = data.draw(PIECES)
        case "delete":
            del text[at : at + 1]
        case _:
            text[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    ours = accepted(json_loads, bytes(text))
    assert repr(ours) == repr(accepted(strict, bytes(text)))
    theirs = accepted(orjson.loads, bytes(text))
    assert theirs[0] <= ours[0]


def test_every_cut_of_a_document_is_refused() -> None:
    text = b'{"a": [1, -2.5e+3, true, false, null, "\\u00e9\\n\xc3\xa9"], "b": {"c": {}}}'
    assert json_loads(text) == json.loads(text)
    for end in range(len(text)):
        with pytest.raises(ValueError, match="no JSON at byte"):
            json_loads(text[:end])


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        (b"", 0, "a value"),
        (b"  ", 2, "a value"),
        (b"\xef\xbb\xbf1", 0, "a value"),
        (b"[1,]", 3, "a value"),
        (b"[1 2]", 3, "',' or ']'"),
        (b'{"a":1,}', 7, "a key in '\"'"),
        (b"{a:1}", 1, "a key in '\"'"),
        (b'{"a" 1}', 5, "':' after the key"),
        (b'{"a":1', 6, "',' or '}'"),
        (b"1 x", 2, "the end of the text"),
        (b"tru", 0, "a value"),
        (b"NaN", 0, "a value"),
        (b"01", 1, "no digit after a leading 0"),
        (b"-", 1, "a digit"),
        (b"1.", 2, "a digit"),
        (b"1e+", 3, "a digit"),
        (b'"abc', 4, "'\"' at the end of the string"),
        (b'"a\nb"', 2, "no bare control character in a string"),
        (b'"\\x"', 2, "one of \"\\/bfnrtu after '\\'"),
        (b'"\\u12g4"', 5, "four hexadecimal digits after '\\u'"),
        (b'"\\ud800"', 7, "a pair of surrogates before this"),
        (b'"\\ud800\\u0041"', 13, "a pair of surrogates before this"),
        (b'"a\xff"', 2, "UTF-8"),
    ],
)
def test_an_error_says_where_and_what_was_expected(text: bytes, at: int, expected: str) -> None:
    message = f"no JSON at byte {at}: expected {expected}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        json_loads(text)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_an_error_holds_no_value(before: bytes, after: bytes) -> None:
    taken, _ = accepted(json_loads, text := before + b"hunter2" + after)
    if not taken:
        with pytest.raises(ValueError, match="no JSON at byte") as caught:
            json_loads(text)
        assert "hunter2" not in repr(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", [b"[", b'{"a":', b"[[],", b'{"a":{"b":1},"a":'])
def test_depth_is_an_error_and_not_a_crash(text: bytes) -> None:
    with pytest.raises(ValueError, match="expected at most 256 levels of objects and arrays"):
        json_loads(text * 1_000_000)


def test_the_limit_of_levels() -> None:
    assert json_loads(b"[" * 256 + b"]" * 256) is not None
    with pytest.raises(ValueError, match="at byte 256: expected at most 256 levels"):
        json_loads(b"[" * 257 + b"]" * 257)

    def thread() -> None:
        json_loads(b'{"a":' * 256 + b"1" + b"}" * 256)

    # A small stack has room for it, too.
    before = threading.stack_size(256 * 1024)
    try:
        small = threading.Thread(target=thread)
        small.start()
        small.join()
    finally:
        threading.stack_size(before)


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"))
def test_numbers_are_rounded_as_python_rounds_them(text: str) -> None:
    assert repr(json_loads(text.encode())) == repr(json.loads(text))


# Hard cases of rounding: halfway between two floats, at the ends of the range, subnormal. And integers of many sizes.
EDGES = """
9007199254740993.0 9007199254740992.999999999999999999999 2.2250738585072011e-308 2.2250738585072014e-308
4.9406564584124654e-324 2.4703282292062327e-324 1.7976931348623157e308 1.7976931348623159e308 1e400 -1e400 1e-400
-0 -0.0 0e0 1E5 123456789012345678 -123456789012345678 999999999999999999 1000000000000000000
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551616
"""


@pytest.mark.parametrize("text", [*EDGES.split(), "1" * 4000, "-" + "9" * 4000])
def test_numbers_at_the_edges(text: str) -> None:
    assert repr(json_loads(text.encode())) == repr(json.loads(text))


def test_more_digits_than_python_takes_are_refused() -> None:
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0
    if not limit:
        pytest.skip("this Python has no limit")
    with pytest.raises(ValueError, match=r"expected no more digits than sys\.get_int_max_str_digits\(\)"):
        json_loads(b"1" * (limit + 1))


def test_of_equal_keys_the_last_one_counts() -> None:
    assert json_loads(b'{"a": 1, "b": 2, "a": 3, "\\u0061": 4}') == {"a": 4, "b": 2}


def test_keys_are_told_apart_however_many_there_are() -> None:
    chance = random.Random(1)
    letters = "abé\U0001f600\x00"
    for _ in range(20):
        keys = {"".join(chance.choices(letters, k=chance.randrange(60))): number for number in range(500)}
        keys |= {f"{'k' * (number % 50)}{number}": number for number in range(3_000)}
        assert json_loads(json.dumps(keys).encode()) == keys


@given(st.lists(TEXT, max_size=5), st.lists(TEXT, max_size=5))
def test_keys_seen_before_are_the_same_text(first: list[str], second: list[str]) -> None:
    for keys in (first, second, first + second):
        value = dict.fromkeys(keys, 1)
        assert json_loads(json.dumps(value, ensure_ascii=False).encode()) == value


def test_threads_read_at_once() -> None:
    documents = [json.dumps([{f"key {n} {m}": m for m in range(20)}] * 50).encode() for n in range(8)]
    wrong: list[int] = []

    def read(number: int) -> None:
        expected = json.loads(documents[number])
        wrong.extend(number for _ in range(50) if json_loads(documents[number]) != expected)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(documents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_finalizer_may_read_in_the_middle_of_a_reading() -> None:
    reads: list[Any] = []

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            reads.append(json_loads(b'{"a": {"b": [1]}}'))

    text = json.dumps([{"a": {"b": [number]}} for number in range(2_000)]).encode()
    before = gc.get_threshold()
    try:
        for _ in range(20):
            for _ in range(50):
                Cycle()
            gc.set_threshold(5, 1, 1)
            assert json_loads(text) == [{"a": {"b": [number]}} for number in range(2_000)]
            gc.set_threshold(*before)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert len(reads) == 20 * 50
    assert all(read == {"a": {"b": [1]}} for read in reads)


def test_nothing_is_left_behind() -> None:
    good = json.dumps({"a": [1.5, 10**30, "text é", None, {"b": [[], {}]}], "long" * 20: "x" * 500}).encode()
    texts = [good] + [good[:end] for end in range(0, len(good), 7)] + [b'["a", {"b": "\\ud800"}]', b"[1, 2, \xff]"]

    def once() -> None:
        for text in texts:
            accepted(json_loads, text)

    once()
    tracemalloc.start()
    try:
        once()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            once()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_infinities_come_from_numbers_only() -> None:
    assert json_loads(b"[1e999, -1e999]") == [math.inf, -math.inf]
