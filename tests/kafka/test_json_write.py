"""Python objects as JSON: read back by the standard library and by orjson; what cannot be written says where it is."""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import json
import math
import pathlib
import sys
import types
import uuid
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_kafka._json import dumps as json_dumps

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
"""Without surrogates, which UTF-8 cannot carry."""

# Numbers that orjson reads back as they are: beyond 64 bits it makes floats.
INT64 = st.integers(-(2**63), 2**64 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | FINITE | TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner) | st.tuples(inner, inner).map(list),
        max_leaves=30,
    )


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(enum.Enum):
    PAIR = ("a", 1)


class Order(NamedTuple):
    number: int
    item: str


@dataclasses.dataclass
class Person:
    name: str
    born: dt.date
    tags: list[str] = dataclasses.field(default_factory=list)
    kind: str = dataclasses.field(default="person", init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Whole(int):
    def __repr__(self) -> str:
        return "something else"


class Ratio(float):
    pass


class Rows(list[Any]):
    pass


class Backwards(dict[str, Any]):
    def items(self) -> Any:
        return [(key, self[key]) for key in reversed(list(self))]


class Odd:
    pass


@given(values(st.integers()))
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert repr(json.loads(json_dumps(value))) == repr(value)


@given(values(INT64))
def test_orjson_reads_the_same(value: Any) -> None:
    assert orjson.loads(json_dumps(value)) == value


@given(TEXT)
def test_text_is_escaped_as_little_as_orjson_does(text: str) -> None:
    assert json_dumps(text) == orjson.dumps(text)
    assert json_dumps({text: text}) == orjson.dumps({text: text})


@pytest.mark.parametrize("special", ['"', "\\", "\n", "\x00", "\x1f", "\x7f", "é", "\U0001f600"])
def test_a_character_that_needs_care_is_found_at_any_place(special: str) -> None:
    for length in range(70):
        for at in range(length + 1):
            text = "a" * at + special + "b" * (length - at)
            assert json_dumps(text) == orjson.dumps(text)


@given(FINITE)
def test_floats_are_the_shortest_that_read_back(number: float) -> None:
    written = json_dumps(number)
    assert math.copysign(1, json.loads(written)) == math.copysign(1, number)
    assert float(written) == number
    assert isinstance(json.loads(written), float)
    digits = repr(number).replace("-", "").split("e")[0].replace(".", "").strip("0")
    assert written.decode().replace("-", "").split("e")[0].replace(".", "").strip("0") == digits


@pytest.mark.parametrize(
    "number",
    [0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e15, 1e16, 1e17, 1e21, 1e22, 0.1, 1e-5],
)
def test_floats_at_the_edges(number: float) -> None:
    assert repr(json.loads(json_dumps(number))) == repr(number)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**100, -(10**4000)])
def test_integers_have_all_their_digits(number: int) -> None:
    assert json_dumps([number]) == b"[%d]" % number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan"), np.timedelta64("NaT", "s")])
def test_what_is_no_number_is_null(number: Any) -> None:
    assert json_dumps({"a": number, "b": [number]}) == b'{"a":null,"b":[null]}'


@given(st.text())
def test_lone_surrogates_are_replaced(text: str) -> None:
    expected = "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)
    assert orjson.loads(json_dumps({text: [text]})) == {expected: [expected]}
    assert orjson.loads(json_dumps([Text(text), Point(1, 2), text])) == [expected, {"x": 1, "y": 2}, expected]


UTC = dt.timezone.utc
AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (AT, "2026-01-02T03:04:05.000678+05:30"),
        (AT.replace(tzinfo=None, microsecond=0), "2026-01-02T03:04:05"),
        (dt.datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.time(3, 4, 5, 6, tzinfo=UTC), "03:04:05.000006+00:00"),
        (dt.timedelta(days=1, milliseconds=-500), 86399.5),
        (ID, str(ID)),
        (decimal.Decimal("1.10"), "1.10"),
        (decimal.Decimal("1E+400"), "1E+400"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Plain.PAIR, ["a", 1]),
        (Order(1, "tea"), [1, "tea"]),
        (
            Person("Ann", dt.date(1990, 1, 2), ["x"]),
            {"name": "Ann", "born": "1990-01-02", "tags": ["x"], "kind": "person"},
        ),
        (Point(1, 2), {"x": 1, "y": 2}),
        (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        (b"", ""),
        (bytearray(b"abc"), "YWJj"),
        (memoryview(b"abcdef")[::2], base64.b64encode(b"ace").decode()),
        ({1}, [1]),
        (frozenset({"a"}), ["a"]),
        (set(), []),
        ((1, (2,), []), [1, [2], []]),
        (pathlib.PurePosixPath("/tmp/x"), "/tmp/x"),
        (Text("text"), "text"),
        (Whole(7), 7),
        (Whole(10**30), 10**30),
        (Ratio(1.5), 1.5),
        (Rows([1, 2]), [1, 2]),
        (collections.OrderedDict(a=1, b=2), {"a": 1, "b": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (np.int64(3), 3),
        (np.uint8(255), 255),
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.5, math.nan]), [1.5, None]),
        (np.array(5), 5),
        (np.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456789"),
        (np.datetime64("NaT", "s"), None),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.array(["2026-01-02", "NaT"], "datetime64[ns]"), ["2026-01-02T00:00:00.000000000", None]),
        (np.array([1500, 2], "timedelta64[ms]"), [1.5, 0.002]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types(value: Any, expected: Any) -> None:
    # Twice: the second time, the type is known.
    for _ in range(2):
        assert json.loads(json_dumps(value)) == expected
        assert json.loads(json_dumps({"a": [value], "b": value})) == {"a": [expected], "b": expected}


def test_a_subclass_of_dict_has_its_own_order() -> None:
    assert json_dumps(Backwards(a=1, b=2)) == b'{"b":2,"a":1}'
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert json_dumps(ordered) == b'{"b":2,"a":1}'


@given(st.dictionaries(st.none() | st.booleans() | st.integers() | st.floats() | TEXT, st.integers()))
def test_keys_of_json_dumps_are_written_as_there(mapping: dict[Any, int]) -> None:
    assert json_dumps(mapping) == json.dumps(mapping, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, "3"),
        (AT, AT.isoformat()),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (ID, str(ID)),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("/x"), "/x"),
        (np.int64(3), "3"),
        (np.float64(1e16), "1e+16"),
        (Text("text"), "text"),
        (Whole(7), "7"),
        (10**30, str(10**30)),
    ],
    ids=lambda key: type(key).__name__,
)
def test_other_keys(key: Any, expected: str) -> None:
    assert json.loads(json_dumps({key: 1, "last": 2})) == {expected: 1, "last": 2}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Odd(), "value: "),
        ({"a": [1, 2, 3, {"b": Odd()}]}, 'value["a"][3]["b"]: '),
        ({"a": Point(1, Odd())}, 'value["a"].y: '),  # type: ignore[arg-type]
        ({5: (Odd(),)}, "value[5][0]: "),
        (collections.OrderedDict(a=Odd()), 'value["a"]: '),
        ({"a" * 100: Odd()}, f'value["{"a" * 40}"...]: '),
        ({'quote"': Odd()}, 'value["quote\\""]: '),
        ([[[[[[[[[[[[[[Odd()]]]]]]]]]]]]]], "value[0][0][0][0][0][0][0][0]...[0][0][0][0]: "),
    ],
)
def test_what_cannot_be_written_says_where_it_is(value: Any, place: str) -> None:
    with pytest.raises(TypeError) as caught:
        json_dumps(value)
    assert str(caught.value).startswith(f"{place}expected a dict, list, tuple, set, str, int")
    assert str(caught.value).endswith(f"got <class '{__name__}.Odd'>")


@pytest.mark.parametrize("key", [(1, 2), b"bytes", Odd(), frozenset()], ids=lambda key: type(key).__name__)
def test_a_key_of_another_type_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=r'^value\["a"\]: expected keys that are str, int, .*got <class'):
        json_dumps({"a": {key: 1}})


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_the_limit_of_levels() -> None:
    assert json_dumps(nested(256)) == b"[" * 256 + b"]" * 256
    with pytest.raises(ValueError, match=r"expected at most 256 levels within each other, got more$"):
        json_dumps(nested(257))
    with pytest.raises(ValueError, match="at most 3 levels"):
        json_dumps({"a": {"b": {"c": {}}}}, max_depth=3)
    assert json_dumps(1, max_depth=0) == b"1"
    # However many are asked for, the stack is not used up.
    with pytest.raises(ValueError, match="at most 256 levels"):
        json_dumps(nested(1_000_000 if sys.version_info >= (3, 11) else 10_000), max_depth=10**9)


def test_what_contains_itself_is_named() -> None:
    inner: dict[str, Any] = {}
    inner["list"] = [1, inner]
    with pytest.raises(
        ValueError, match=r'^value\["a"\].*: expected an object that ends, got one that contains itself$'
    ):
        json_dumps({"a": inner})
    with pytest.raises(ValueError, match="contains itself"):
        json_dumps(Odd(), default=lambda given: given)


def test_default_is_asked_for_what_is_unknown() -> None:
    asked: list[Any] = []

    def default(given: Any) -> Any:
        asked.append(given)
        return {"class": type(given).__name__}

    odd = Odd()
    assert json_dumps([odd, 1, dt.date(2026, 1, 2)], default=default) == b'[{"class":"Odd"},1,"2026-01-02"]'
    assert asked == [odd]


def test_an_exception_on_the_way_is_the_cause() -> None:
    def default(_given: Any) -> Any:
        raise LookupError("on purpose")

    with pytest.raises(ValueError, match=r'^value\["a"\]\[0\]: expected .* that failed$') as caught:
        json_dumps({"a": [Odd()]}, default=default)
    assert isinstance(caught.value.__cause__, LookupError)
    assert "on purpose" not in str(caught.value)


def test_ctrl_c_on_the_way_stays_what_it_is() -> None:
    def default(_given: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        json_dumps([Odd()], default=default)


def test_more_digits_than_python_gives_are_refused() -> None:
    limit = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0
    if not limit:
        pytest.skip("this Python has no limit")
    with pytest.raises(ValueError, match=r'^value\["a"\]: expected an int of no more digits'):
        json_dumps({"a": 10**limit})


@pytest.mark.parametrize("change", ["clear", "grow", "replace"])
@pytest.mark.parametrize("shape", ["dict", "list"])
def test_a_container_that_changes_meanwhile_is_no_danger(shape: str, change: str) -> None:
    outer: Any = {} if shape == "dict" else []

    numbers = iter(range(1_000_000))

    def fill() -> None:
        for number in itertools.islice(numbers, 50):
            item = [Odd()] if number % 2 else "text" * 10 + str(number)
            if shape == "dict":
                outer[f"key {number}"] = item
            else:
                outer.append(item)

    def default(_given: Any) -> str:
        if change in ("clear", "replace"):
            outer.clear()
        if change in ("grow", "replace"):
            fill()
        return "written"

    fill()
    if change == "replace":
        # As many as before, all of them new: nothing is seen of it, and nothing that is gone is touched.
        assert json.loads(json_dumps(outer, default=default))
    else:
        with pytest.raises(ValueError, match=f"expected a {shape} that stays as it is, got one that changed"):
            json_dumps(outer, default=default)


def test_a_type_is_judged_by_what_it_is_and_not_by_what_it_says() -> None:
    class Liar:
        @property
        def __class__(self) -> Any:
            return dict

        @__class__.setter
        def __class__(self, given: Any) -> None: ...

    with pytest.raises(TypeError, match="Liar"):
        json_dumps(Liar())


def test_types_that_come_and_go_are_not_kept_for_ever() -> None:
    import gc
    import weakref

    first = type("First", (), {})
    gone = weakref.ref(first)
    assert json_dumps(first(), default=lambda _given: 1) == b"1"
    del first
    for number in range(1_100):
        made = dataclasses.make_dataclass(f"Made{number}", ["field"])
        assert json_dumps(made(number)) == b'{"field":%d}' % number
    gc.collect()
    assert gone() is None


def test_no_reference_is_kept_or_lost() -> None:
    leaves: list[Any] = [10**20, "text" * 20, "\ud800", 1.25, b"bytes", AT, ID, Colour.RED, Odd(), np.arange(3), ("t",)]
    shapes: list[Any] = [
        {"dict": leaves},
        leaves,
        tuple(leaves),
        {f"key {index}": leaf for index, leaf in enumerate(leaves)},
        collections.OrderedDict(a=leaves),
        types.SimpleNamespace(),
        [[[[{"deep": leaves}]]]],
    ]

    def default(given: Any) -> Any:
        return [given] if isinstance(given, types.SimpleNamespace) else None

    def once() -> None:
        for shape in shapes:
            for asked in (default, None):
                with contextlib.suppress(TypeError, ValueError):
                    json_dumps(shape, default=asked)

    once()
    before = [sys.getrefcount(leaf) for leaf in leaves + shapes + [None, True, False]]
    for _ in range(100):
        once()
    after = [sys.getrefcount(leaf) for leaf in leaves + shapes + [None, True, False]]
    # The interpreter's own use of None and the like comes and goes by a few.
    assert all(abs(now - then) < 20 for now, then in zip(after, before, strict=True))
