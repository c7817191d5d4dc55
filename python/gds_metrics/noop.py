"""`NoOpMetrics`: the collector of a program that has none."""

from gds_native._lib import NoOpMetrics

__all__ = ["NoOpMetrics"]
