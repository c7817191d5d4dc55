"""The trace context by the name of the module that existing programs import it from; see `gds_metrics.trace`."""

from gds_metrics.trace import get_current_trace_context, with_trace_context

__all__ = ["get_current_trace_context", "with_trace_context"]
