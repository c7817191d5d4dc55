from __future__ import annotations

import io
import logging
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gds_metrics import ConsoleMetrics, MetricsCollector
from tests.metrics.doubles import METHODS, Unprintable, any_labels, anything


class Color(str, Enum):
    RED = "red"


@pytest.fixture
def metrics() -> ConsoleMetrics:
    return ConsoleMetrics()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_is_a_collector(metrics: ConsoleMetrics) -> None:
    assert isinstance(metrics, MetricsCollector)


def test_each_method_prints_one_line_of_its_kind(metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"path": "/"}
    metrics.increment("a", labels=labels)
    metrics.gauge("b", 42, labels)
    metrics.histogram("c", 0.5, labels)
    metrics.timing("d", 123.456, labels)
    assert lines(capsys) == [
        "[COUNTER] a: +1 {'path': '/'}",
        "[GAUGE] b: 42.0 {'path': '/'}",
        "[HISTOGRAM] c: 0.5 {'path': '/'}",
        "[TIMING] d: 123.46ms {'path': '/'}",
    ]


@pytest.mark.parametrize("labels", [None, {}])
def test_without_labels_the_line_ends_with_the_value(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str], labels: dict[str, str] | None
) -> None:
    metrics.increment("a", 2, labels)
    metrics.timing("b", 1, labels)
    assert capsys.readouterr().out == "[COUNTER] a: +2\n[TIMING] b: 1.00ms\n"


def test_prefix_is_joined_by_a_dot(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleMetrics(prefix="app").increment("a")
    assert lines(capsys) == ["[COUNTER] app.a: +1"]


@pytest.mark.parametrize("name", ["vault.secret.fetch", "with-dash", "with space", "größe", "名前", "a{b}"])
def test_names_are_shown_as_given(metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str], name: str) -> None:
    metrics.increment(name)
    assert lines(capsys) == [f"[COUNTER] {name}: +1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "+1"),
        (0, "+0"),
        (2.5, "+2.5"),
        (1.0, "+1.0"),
        (-0.0, "+0.0"),
        (True, "+1"),
        (Decimal("1.50"), "+1.5"),
        (Fraction(1, 4), "+0.25"),
        (math.inf, "+inf"),
    ],
)
def test_increment_is_shown_as_given(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str], value: Any, text: str
) -> None:
    metrics.increment("a", value)
    assert lines(capsys) == [f"[COUNTER] a: {text}"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(42, "42.0"), (True, "1.0"), (-1, "-1.0"), (-math.inf, "-inf")],
)
def test_gauge_and_histogram_show_any_number_as_float(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str], value: float, text: str
) -> None:
    metrics.gauge("a", value)
    metrics.histogram("b", value)
    assert lines(capsys) == [f"[GAUGE] a: {text}", f"[HISTOGRAM] b: {text}"]


def test_an_observation_of_nan_is_dropped_and_counted(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.gauge("a", math.nan)
    metrics.histogram("b", math.nan)
    metrics.timing("c", math.nan)
    assert lines(capsys) == ["[GAUGE] a: nan"]
    assert metrics.dropped == {"invalid_value": 2}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (False, "false"), (7, "7"), (1.5, "1.5"), (Color.RED, "red")],
)
def test_label_values_become_text(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str], value: object, text: str
) -> None:
    metrics.increment("a", labels={"l": value})
    assert lines(capsys) == [f"[COUNTER] a: +1 {{'l': '{text}'}}"]


def test_labels_keep_their_order(metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str]) -> None:
    labels: Mapping[str, str] = MappingProxyType({"z": "1", "a": "2"})
    metrics.increment("a", labels=labels)
    assert lines(capsys) == ["[COUNTER] a: +1 {'z': '1', 'a': '2'}"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value", "labels", "reason"),
    [
        (None, 1, None, "invalid_name"),
        (7, 1, None, "invalid_name"),
        (b"a", 1, None, "invalid_name"),
        ("", 1, None, "invalid_name"),
        ("a", "1", None, "invalid_value"),
        ("a", b"1", None, "invalid_value"),
        ("a", None, None, "invalid_value"),
        ("a", 1j, None, "invalid_value"),
        ("a", [1], None, "invalid_value"),
        ("a", 10**400, None, "invalid_value"),
        ("a", Unprintable(), None, "invalid_value"),
        ("a", 1, [("l", "v")], "invalid_labels"),
        ("a", 1, "l=v", "invalid_labels"),
        ("a", 1, {1: "v"}, "invalid_labels"),
        ("a", 1, {"l": Unprintable()}, "invalid_labels"),
    ],
)
def test_bad_input_is_dropped_counted_and_mentioned_once(
    metrics: ConsoleMetrics,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    method: str,
    name: Any,
    value: Any,
    labels: Any,
    reason: str,
) -> None:
    for _ in range(3):
        getattr(metrics, method)(name, value, labels)
    assert capsys.readouterr().out == ""
    assert metrics.dropped == {reason: 3}
    [record] = caplog.records
    assert record.name == "gds_metrics"
    assert record.levelno == logging.WARNING
    assert f"ConsoleMetrics.{method} dropped a measurement ({reason})" in record.getMessage()


@pytest.mark.parametrize("value", [-1, -0.001, -math.inf, math.nan])
def test_increments_that_are_not_zero_or_more_are_dropped(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    metrics.increment("a", value)
    assert capsys.readouterr().out == ""
    assert metrics.dropped == {"negative_increment": 1}


def test_each_kind_of_bad_input_is_mentioned_once(metrics: ConsoleMetrics, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        metrics.increment("a", -1)
        metrics.increment("", 1)
        metrics.gauge("", 1)
    assert len(caplog.records) == 3
    assert metrics.dropped == {"negative_increment": 2, "invalid_name": 4}


def test_warnings_hold_no_value(metrics: ConsoleMetrics, caplog: pytest.LogCaptureFixture) -> None:
    secret: Any = "hunter2"
    metrics.gauge("a", secret)
    metrics.histogram(secret.encode(), 1)
    metrics.timing("a", 1, secret)
    assert len(caplog.records) == 3
    assert "hunter2" not in caplog.text


def test_dropped_is_a_copy(metrics: ConsoleMetrics) -> None:
    metrics.dropped["invalid_name"] = 7
    assert metrics.dropped == {}


def test_a_log_handler_that_raises_does_not_reach_the_caller(metrics: ConsoleMetrics) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken on purpose")

    logger = logging.getLogger("gds_metrics")
    handler = Failing()
    logger.addHandler(handler)
    try:
        metrics.increment("a", -1)
    finally:
        logger.removeHandler(handler)
    assert metrics.dropped == {"negative_increment": 1}


FORK = """
import os, sys, threading
from gds_metrics import ConsoleMetrics
from gds_metrics._guard import guard

metrics = ConsoleMetrics()
metrics.increment("a", -1)
held, done = threading.Event(), threading.Event()

def hold():
    with guard():
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    metrics.increment("a", -1)
    os._exit(0 if metrics.dropped == {"negative_increment": 2} else 1)
_, status = os.waitpid(child, 0)
done.set()
thread.join()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_goes_on_counting_whatever_was_locked_when_it_was_forked() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60)


class Refusing(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("reader is gone")

    def flush(self) -> None:
        raise BrokenPipeError("reader is gone")


def test_closed_and_broken_output_is_counted(metrics: ConsoleMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    metrics.increment("a")
    monkeypatch.setattr(sys, "stdout", Refusing())
    metrics.gauge("a", 1)
    assert not metrics.flush()
    metrics.close()
    assert metrics.dropped == {"output_failed": 4}


def test_no_output_at_all_is_no_failure(metrics: ConsoleMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    metrics.increment("a")
    assert metrics.flush()
    assert metrics.dropped == {}


def test_characters_that_the_output_cannot_show_are_escaped(
    metrics: ConsoleMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii", newline="\n"))
    metrics.increment("größe", labels={"l": "\ud800"})
    assert metrics.flush()
    assert buffer.getvalue() == b"[COUNTER] gr\\xf6\\xdfe: +1 {'l': '\\ud800'}\n"
    assert metrics.dropped == {}


def test_prints_with_print(metrics: ConsoleMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr("builtins.print", printed.append)
    metrics.increment("a")
    assert printed == ["[COUNTER] a: +1"]


def test_describe_flush_and_close_have_nothing_to_do(
    metrics: ConsoleMetrics, capsys: pytest.CaptureFixture[str]
) -> None:
    with metrics as entered:
        assert entered is metrics
        metrics.describe("a", help="A.", unit="s", buckets=[1], max_series=5)
        assert metrics.flush(timeout_seconds=1)
    metrics.close(timeout_seconds=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("prefix", "shown", "spoken"),
    [
        ("app", "ConsoleMetrics(prefix='app')", "Console Metrics (prefix: app)"),
        ("", "ConsoleMetrics(prefix='')", "Console Metrics (prefix: none)"),
    ],
)
def test_repr_names_the_settings_and_str_is_for_people(prefix: str, shown: str, spoken: str) -> None:
    metrics = ConsoleMetrics(prefix)
    assert repr(metrics) == shown
    assert str(metrics) == spoken
    assert bool(metrics)


def test_prefix_that_is_no_text_is_refused() -> None:
    prefix: Any = 5
    with pytest.raises(TypeError, match=r"prefix must be a str, got 5 \(int\); pass '' for none"):
        ConsoleMetrics(prefix)


@given(st.sampled_from(METHODS), anything, anything, any_labels)
def test_nothing_raises_and_everything_is_printed_or_counted(method: str, name: Any, value: Any, labels: Any) -> None:
    output = io.StringIO()
    metrics = ConsoleMetrics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        getattr(metrics, method)(name, value, labels)
    assert bool(output.getvalue()) != bool(metrics.dropped)
