"""Metrics as lines on standard output, one for each measurement.

    >>> metrics = ConsoleMetrics(prefix="app")
    >>> metrics.increment("requests", labels={"path": "/"})
    [COUNTER] app.requests: +1 {'path': '/'}

Names and labels are shown as given. Standard output that is closed, broken or unable to show a
character is no reason to fail: the line is counted in ``dropped``, or shown with escapes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gds_metrics._collector import DEFAULT_TIMEOUT_SECONDS, Collector
from gds_metrics._input import (
    BadInput,
    Drops,
    failure,
    shown,
    valid_increment,
    valid_labels,
    valid_name,
    valid_number,
    valid_observation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConsoleMetrics"]


class ConsoleMetrics(Collector):
    """Prints each measurement with ``print``.

    Args:
        prefix: Put before every name, joined by a dot; empty for none.

    Raises:
        TypeError: The prefix is no str.
    """

    __slots__ = ("_drops", "_prefix")

    def __init__(self, prefix: str = "") -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, got {shown(prefix)}; pass '' for none")
        self._prefix = prefix
        self._drops = Drops(type(self).__name__)

    @property
    def prefix(self) -> str:
        """What stands before every name, without the dot."""
        return self._prefix

    @property
    def dropped(self) -> dict[str, int]:
        """How many measurements were not printed, by reason.

        The reasons are ``invalid_name``, ``invalid_value``, ``invalid_labels``,
        ``negative_increment`` and ``output_failed``.
        """
        return self._drops.counts()

    def increment(self, name: str, value: float = 1, labels: Mapping[str, object] | None = None) -> None:
        """Print ``[COUNTER] name: +value {labels}``, the value as given."""
        self._show("increment", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, object] | None = None) -> None:
        """Print ``[GAUGE] name: value {labels}``, the value as a float."""
        self._show("gauge", name, value, labels)

    def gauge_add(self, name: str, delta: float, labels: Mapping[str, object] | None = None) -> None:
        """Print ``[GAUGE] name: +delta {labels}``, the change with its sign."""
        self._show("gauge_add", name, delta, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, object] | None = None) -> None:
        """Print ``[HISTOGRAM] name: value {labels}``, the value as a float."""
        self._show("histogram", name, value, labels)

    def timing(self, name: str, value_ms: float, labels: Mapping[str, object] | None = None) -> None:
        """Print ``[TIMING] name: valuems {labels}``, milliseconds with two decimals."""
        self._show("timing", name, value_ms, labels)

    def flush(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> bool:  # noqa: ARG002
        """Flush standard output; False when it cannot be."""
        try:
            # None under pythonw and in daemons that closed it before the interpreter started.
            if sys.stdout is not None:
                sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - standard output is whatever the program made it
            self._drops.add("flush", "output_failed", failure(error))
            return False
        return True

    def _show(self, method: str, name: object, value: object, labels: object) -> None:
        try:
            text = f"{self._full_name(valid_name(name))}: {_value_text(method, value)}"
            texts = valid_labels(labels)
            _print(f"{_TITLES[method]} {text} {texts}" if texts else f"{_TITLES[method]} {text}")
        except BadInput as refusal:
            self._drops.add(method, refusal.reason, refusal.explanation)
        except Exception as error:  # noqa: BLE001 - see flush
            self._drops.add(method, "output_failed", failure(error))

    def _full_name(self, name: str) -> str:
        return f"{self._prefix}.{name}" if self._prefix else name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prefix={self._prefix!r})"

    def __str__(self) -> str:
        return f"Console Metrics (prefix: {self._prefix or 'none'})"


_TITLES = {
    "increment": "[COUNTER]",
    "gauge": "[GAUGE]",
    "gauge_add": "[GAUGE]",
    "histogram": "[HISTOGRAM]",
    "timing": "[TIMING]",
}


def _value_text(method: str, value: object) -> str:
    if method == "increment":
        number = valid_increment(value)
        # As given: 1 stays 1. abs() takes the sign off a negative zero and makes True a 1.
        return f"+{abs(int(value) if isinstance(value, int) else number)}"
    if method == "gauge_add":
        return f"{valid_observation(value):+}"
    number = valid_number(value) if method == "gauge" else valid_observation(value)
    return f"{number:.2f}ms" if method == "timing" else f"{number}"


def _print(line: str) -> None:
    try:
        print(line)
    except UnicodeEncodeError as error:
        print(line.encode(error.encoding, "backslashreplace").decode(error.encoding))
