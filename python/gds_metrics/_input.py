"""What the collectors written in Python accept, and how they count what they do not.

Each ``valid_*`` function returns the accepted form of what it is given or raises `BadInput`, which
the collector hands to its `Drops`: counted by reason, mentioned once for each method and reason.
Explanations name types and not values, which may be secrets passed by mistake. The collectors that
count in Rust follow the same table there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gds_metrics._guard import guard
from gds_metrics.base import WarnOnce

if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    InputReason: TypeAlias = Literal["invalid_name", "invalid_value", "invalid_labels", "negative_increment"]

__all__ = [
    "BadInput",
    "Drops",
    "failure",
    "shown",
    "valid_increment",
    "valid_labels",
    "valid_name",
    "valid_number",
    "valid_observation",
]

_SHOWN_CHARACTERS = 60


class BadInput(Exception):  # noqa: N818 - never leaves a collector; an outcome, not an error
    """A measurement that a collector drops.

    Attributes:
        reason: What it is counted as.
        explanation: What came, what was expected.
    """

    def __init__(self, reason: InputReason, explanation: str) -> None:
        super().__init__(explanation)
        self.reason = reason
        self.explanation = explanation


class Drops:
    """Counts what a collector could not take, and warns once for each method and reason."""

    __slots__ = ("_collector", "_counts", "_warn")

    def __init__(self, collector: str) -> None:
        self._collector = collector
        self._counts: dict[str, int] = {}
        self._warn = WarnOnce()

    def add(self, method: str, reason: str, explanation: str) -> None:
        """Count one; never raises."""
        self.count(reason)
        self._warn(
            (method, reason),
            "%s.%s dropped a measurement (%s): %s; further ones are only counted",
            self._collector,
            method,
            reason,
            explanation,
        )

    def count(self, reason: str) -> None:
        """Count one that is mentioned elsewhere."""
        with guard():
            self._counts[reason] = self._counts.get(reason, 0) + 1

    def counts(self) -> dict[str, int]:
        """How many were dropped so far, by reason; a copy."""
        with guard():
            return dict(self._counts)


def valid_name(name: object) -> str:
    """The name of a metric: text that is not empty."""
    if not isinstance(name, str):
        raise BadInput("invalid_name", f"name is {_typename(name)}; expected a str")
    if not name:
        raise BadInput("invalid_name", "name is empty; expected some text")
    return _plain(name)


def valid_number(value: object) -> float:
    """A real number as a float: what ``float()`` takes, without the text it also takes."""
    # Numbers answer one of these two; str, bytes and other buffers answer neither.
    kind = type(value)
    if not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        raise BadInput("invalid_value", f"value is {_typename(value)}; expected a number")
    try:
        return float(value)  # type: ignore[arg-type]
    except Exception as error:
        raise BadInput("invalid_value", f"float() of a {_typename(value)} failed with {_typename(error)}") from error


def valid_observation(value: object) -> float:
    """What a distribution can take: a number that is not NaN, which would make its sum NaN for good."""
    number = valid_number(value)
    if number == number:  # only NaN is not itself
        return number
    raise BadInput("invalid_value", "value is nan; expected a number")


def valid_increment(value: object) -> float:
    """What a counter can be raised by: zero or more, not NaN."""
    number = valid_number(value)
    if number >= 0:
        return number
    raise BadInput(
        "negative_increment",
        f"increment is {number}; expected zero or more, a gauge is for what also falls",
    )


def valid_labels(labels: object) -> dict[str, str]:
    """Labels as text, in the order given; None is no labels."""
    if labels is None:
        return {}
    if type(labels) is dict:
        for label, value in labels.items():
            if type(label) is not str or type(value) is not str:
                break
        else:
            return labels.copy()  # as nearly all are
    if not isinstance(labels, Mapping):
        raise BadInput("invalid_labels", f"labels are {_typename(labels)}; expected a dict of str to str")
    texts = {}
    try:
        for label, value in labels.items():
            if not isinstance(label, str):
                raise BadInput("invalid_labels", f"a label name is {_typename(label)}; expected a str")
            texts[_plain(label)] = _label_text(label, value)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            "invalid_labels", f"labels of type {_typename(labels)} failed with {_typename(error)}"
        ) from error
    return texts


def _label_text(label: str, value: object) -> str:
    if isinstance(value, str):
        return _plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value)
    except Exception as error:
        raise BadInput(
            "invalid_labels",
            f"str() of label {label!r}, a {_typename(value)}, failed with {_typename(error)}",
        ) from error


def _plain(text: str) -> str:
    # The text itself, also of an enum member that is a str and prints as something else.
    return text if type(text) is str else str.__str__(text)


def shown(value: object) -> str:
    """A setting and its type for a message: short, and never an exception."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken repr is one more bad input
        return f"of type {_typename(value)}"
    if len(text) > _SHOWN_CHARACTERS:
        text = text[:_SHOWN_CHARACTERS] + "..."
    return f"{text} ({_typename(value)})"


def failure(error: BaseException) -> str:
    """An exception and where it arose, without its text, which may hold what was reported."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return _typename(error)
    file = last.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{_typename(error)} at {file}:{last.tb_lineno}"


def _typename(value: object) -> str:
    return type(value).__name__
