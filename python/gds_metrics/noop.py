"""`NoOpMetrics`: the collector of a program that has none."""

from gds_native._lib import NoOpMetrics, empty_call

__all__ = ["NoOpMetrics", "empty_call"]
