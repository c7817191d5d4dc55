"""Models and other objects of classes that say what their fields are, and what the libraries have for none, as JSON."""

from __future__ import annotations

import datetime as dt
import enum
import json
import sys
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import numpy as np
import pandas as pd
import pydantic
import pytest

from gds_kafka._json import dumps
from gds_kafka._json import loads as json_loads


class Colour(enum.Enum):
    RED = "red"


AT = dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)


class Item(pydantic.BaseModel):
    name: str
    price: Decimal


class Order(pydantic.BaseModel):
    id: int
    at: dt.datetime
    colour: Colour
    items: list[Item]
    secret: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    hidden: str = pydantic.Field(default="x", exclude=True)

    @pydantic.field_serializer("id", when_used="json")
    def as_text(self, number: int) -> str:
        return f"#{number}"


class Numbers(pydantic.RootModel[list[float]]):
    pass


ORDER = Order(id=7, at=AT, colour=Colour.RED, items=[Item(name="a", price=Decimal("12.50"))])


def test_a_pydantic_model_is_what_it_says_itself() -> None:
    assert json.loads(dumps(ORDER)) == json.loads(ORDER.model_dump_json())
    assert json.loads(dumps({"orders": [ORDER]})) == {"orders": [json.loads(ORDER.model_dump_json())]}
    assert dumps(Numbers([1.5, float("nan")])) == b"[1.5,null]"


def test_a_pydantic_model_of_version_1() -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("pydantic.v1 is not for this interpreter")
    from pydantic import v1

    class Old(v1.BaseModel):
        at: dt.datetime
        colour: Colour
        secret: v1.SecretStr

        class Config:
            json_encoders = {Colour: lambda colour: colour.name}  # noqa: RUF012 - as version 1 has it

    Old.update_forward_refs(v1=v1)
    old = Old(at=AT, colour=Colour.RED, secret=v1.SecretStr("hunter2"))
    assert json.loads(dumps([old])) == [{"at": "2026-01-02T00:00:00+00:00", "colour": "RED", "secret": "**********"}]


def test_a_model_that_fails_says_where() -> None:
    class Failing(pydantic.BaseModel):
        x: int

        @pydantic.field_serializer("x")
        def fail(self, _: int) -> int:
            raise RuntimeError("hunter2")

    with pytest.raises(
        ValueError, match=r'^value\["a"\]: expected an object that can be converted, got a .*Failing'
    ) as e:
        dumps({"a": Failing(x=1)})
    assert "hunter2" not in str(e.value)


def test_a_pydantic_dataclass_is_its_fields() -> None:
    @pydantic.dataclasses.dataclass
    class Point:
        x: int
        y: int = 2

    assert dumps(Point(x=1)) == b'{"x":1,"y":2}'


def test_an_attrs_object_is_its_fields() -> None:
    @attrs.define
    class Point:
        x: int
        at: dt.datetime

    @attrs.frozen(slots=False)
    class Far(Point):
        z: Any = None

    assert json.loads(dumps(Point(1, AT))) == {"x": 1, "at": AT.isoformat()}
    assert json.loads(dumps(Far(1, AT, Point(2, AT)))) == {
        "x": 1,
        "at": AT.isoformat(),
        "z": {"x": 2, "at": AT.isoformat()},
    }


class Point(msgspec.Struct):
    x: int
    y: Any = None


class Shape(Point, tag="shape", rename="camel", omit_defaults=True, array_like=True):
    all_points: list[Point] = []


def test_a_struct_is_its_fields() -> None:
    assert dumps([Point(1, [2])]) == b'[{"x":1,"y":[2]}]'
    # By the names that the program has for them, whatever msgspec is told of its own JSON.
    assert dumps({"s": Shape(1, AT, [Point(2)])}) == (
        b'{"s":{"x":1,"y":"2026-01-02T00:00:00+00:00","all_points":[{"x":2,"y":null}]}}'
    )


def test_what_the_libraries_have_for_none_is_null() -> None:
    nothing = [pd.NaT, np.datetime64("NaT", "s"), np.timedelta64("NaT", "s"), pd.NA]
    assert dumps(nothing) == b"[null,null,null,null]"
    assert [dumps({key: 1}) for key in (pd.NaT, pd.NA)] == [b'{"null":1}'] * 2
    times = np.array(["2026-01-02", "NaT"], dtype="datetime64[D]")
    assert dumps({"t": times, "o": np.array([pd.NaT, 1], dtype=object)}) == b'{"t":["2026-01-02",null],"o":[null,1]}'


def test_records_of_a_data_frame() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.Series([AT, None], dtype="datetime64[ns, UTC]"),
            "took": pd.to_timedelta([1.5, None], unit="s"),
            "n": pd.array([1, None], dtype="Int64"),
            "x": [0.5, float("nan")],
        }
    )
    assert json.loads(dumps(frame.to_dict("records"))) == [
        {"at": AT.isoformat(), "took": 1.5, "n": 1, "x": 0.5},
        {"at": None, "took": None, "n": None, "x": None},
    ]


@pytest.mark.parametrize("raw", [b"\x00abc", bytearray(b"\x00abc"), memoryview(b"\x00abc")])
def test_whatever_is_bytes_is_base64_within_a_value(raw: Any) -> None:
    assert dumps([raw]) == b'["AGFiYw=="]'


def test_bytes_that_cannot_be_had_say_so() -> None:
    released = memoryview(b"abc")
    released.release()
    with pytest.raises(ValueError, match=r"^value\[0\]: expected an object that can be converted"):
        dumps([released])


def test_what_can_be_written_can_be_read() -> None:
    lists: Any = 1
    dicts: Any = {"a": 1}
    for _ in range(256):
        lists = [lists]
    for _ in range(255):
        dicts = {"a": dicts}
    assert json_loads(dumps(lists)) == lists
    assert json_loads(dumps(dicts)) == dicts
    for deeper in ([lists], {"a": dicts}, [dicts]):
        with pytest.raises(ValueError, match="at most 256 levels"):
            dumps(deeper)
