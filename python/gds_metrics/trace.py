"""The active OpenTelemetry span, as text, for labels and exemplars.

A span can only be active where the program itself has imported ``opentelemetry.trace``, so nothing
is imported here: where that module is not loaded there is no trace.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gds_metrics.base import WarnOnce

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["get_current_trace_context", "with_trace_context"]

_warn = WarnOnce()


def get_current_trace_context() -> dict[str, str]:
    """The ids of the active span.

    Returns:
        ``trace_id`` (32 hexadecimal digits) and ``span_id`` (16), as in W3C Trace Context; empty
        when no valid span is active or OpenTelemetry is not in use. Never raises.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    try:
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return {}
        return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    except Exception as error:  # noqa: BLE001 - a tracer of someone else must not break a measurement
        _warn("span", "cannot read the active span (%s); reporting without it", type(error).__name__)
        return {}


def with_trace_context(labels: Mapping[str, str] | None = None, include_trace_context: bool = True) -> dict[str, str]:
    """A copy of the labels, with the ids of the active span.

    Every trace makes a series of its own this way. Prefer exemplars, which collectors attach by
    themselves, unless each trace really has to be a label.

    Args:
        labels: Labels to start from; None for none. What is no mapping counts as none. A
            ``trace_id`` or ``span_id`` already there is kept.
        include_trace_context: Whether to add the ids; False gives the mere copy.

    Returns:
        A new dict; the labels given are not changed. Never raises.
    """
    copy: dict[str, str] = {}
    try:
        copy.update(labels or {})
    except Exception as error:  # noqa: BLE001 - the caller is about to report, not to validate
        copy.clear()
        _warn("labels", "labels are no mapping (%s); going on without them", type(error).__name__)
    if include_trace_context:
        copy = {**get_current_trace_context(), **copy}
    return copy
