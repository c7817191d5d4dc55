"""Models and other objects of classes that say what their fields are, and what the libraries have for none, as JSON."""

from __future__ import annotations

import datetime as dt
import enum
import json
import sys
import types
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
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


def test_a_struct_is_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    # As msgspec has them, which is no dependency of the tests.
    class Struct:
        __struct_fields__: tuple[str, ...] = ()

    class Point(Struct):
        __struct_fields__ = ("x", "y")

        def __init__(self) -> None:
            self.x, self.y = 1, [2]

    module = types.ModuleType("msgspec")
    module.Struct = Struct  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msgspec", module)
    assert dumps([Point()]) == b'[{"x":1,"y":[2]}]'


class NaTType(dt.datetime):
    """As pandas has it: a datetime that is none."""

    def isoformat(self, *_: object, **__: object) -> str:
        return "NaT"


class NAType:
    pass


def test_what_the_libraries_have_for_none_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = types.ModuleType("pandas._libs.missing")
    missing.NAType = NAType  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas._libs.missing", missing)
    nat = NaTType(2026, 1, 1)
    nothing = [nat, np.datetime64("NaT"), np.timedelta64("NaT"), NAType()]
    assert dumps(nothing) == b"[null,null,null,null]"
    assert dumps({nat: 1}) == b'{"null":1}'
    times = np.array(["2026-01-02", "NaT"], dtype="datetime64[D]")
    assert dumps({"t": times, "o": np.array([nat, 1], dtype=object)}) == b'{"t":["2026-01-02",null],"o":[null,1]}'


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
