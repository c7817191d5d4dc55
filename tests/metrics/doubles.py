"""Collectors and values made for tests."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from hypothesis import strategies as st


class Call(NamedTuple):
    method: str
    name: str
    value: float
    labels: dict[str, str] | None


class Recorder:
    """Keeps every call it gets."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        self.calls.append(Call("increment", name, value, labels))

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        self.calls.append(Call("gauge", name, value, labels))

    def histogram(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        self.calls.append(Call("histogram", name, value, labels))

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        self.calls.append(Call("timing", name, value_ms, labels))

    @property
    def labels(self) -> list[dict[str, str] | None]:
        return [call.labels for call in self.calls]


class Broken:
    """Raises whatever it is asked."""

    def _fail(self, *arguments: object, **settings: object) -> NoReturn:
        raise RuntimeError("broken on purpose")

    increment = gauge = histogram = timing = describe = flush = close = _fail


class Unprintable:
    """Neither text nor number, and fails when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __float__(self) -> float:
        raise RuntimeError("no number")


METHODS = ("increment", "gauge", "histogram", "timing")

# Whatever a caller might pass by mistake.
anything: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.text(),
    st.binary(),
    st.just(10**400),
    st.builds(Unprintable),
    st.lists(st.integers(), max_size=3),
)
any_labels: st.SearchStrategy[Any] = st.one_of(
    anything, st.dictionaries(st.one_of(st.text(), st.integers()), anything, max_size=4)
)
