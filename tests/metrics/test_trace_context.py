from __future__ import annotations

import subprocess
import sys
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from gds_metrics import get_current_trace_context, with_trace_context

SPAN = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=0x1, is_remote=True, trace_flags=TraceFlags(0)))
IDS = {"trace_id": "00000000000000000000000000000abc", "span_id": "0000000000000001"}


def test_without_a_span_there_is_nothing() -> None:
    assert get_current_trace_context() == {}
    assert with_trace_context({"l": "v"}) == {"l": "v"}


def test_the_active_span_is_given_as_padded_hexadecimal_digits() -> None:
    with trace.use_span(SPAN):
        assert get_current_trace_context() == IDS
    assert get_current_trace_context() == {}


def test_a_span_of_the_sdk_is_read_like_its_own_formatting() -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner") as span:
        context = span.get_span_context()
        assert context is not None
        assert get_current_trace_context() == {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }


def test_an_invalid_span_is_no_span() -> None:
    with trace.use_span(trace.INVALID_SPAN):
        assert get_current_trace_context() == {}


def test_labels_are_copied_and_completed() -> None:
    labels = {"l": "v"}
    with trace.use_span(SPAN):
        assert with_trace_context(labels) == {"l": "v", **IDS}
        assert with_trace_context(MappingProxyType(labels)) == {"l": "v", **IDS}
        assert with_trace_context(None) == IDS
        assert with_trace_context(labels, include_trace_context=False) == labels
        assert with_trace_context(labels, include_trace_context=False) is not labels
        assert with_trace_context(None, include_trace_context=False) == {}
    assert labels == {"l": "v"}


def test_ids_among_the_labels_are_kept() -> None:
    with trace.use_span(SPAN):
        assert with_trace_context({"trace_id": "mine"}) == {**IDS, "trace_id": "mine"}


def test_a_tracer_that_fails_never_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("opentelemetry.trace.get_current_span", fail)
    assert get_current_trace_context() == {}
    assert with_trace_context({"l": "v"}) == {"l": "v"}


@pytest.mark.parametrize("labels", [5, "ab", [1, 2], object()])
def test_labels_that_are_no_mapping_count_as_none(labels: Any) -> None:
    assert with_trace_context(labels) == {}


def test_where_the_library_is_not_in_use_it_stays_so() -> None:
    program = (
        "import sys, gds_metrics\n"
        "assert gds_metrics.get_current_trace_context() == {}\n"
        "assert gds_metrics.with_trace_context({'l': 'v'}) == {'l': 'v'}\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
