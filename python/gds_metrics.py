"""Read only where ``gds_metrics/__init__.py`` is missing: see `gds_native._spare`."""

from gds_native._spare import load

load(__name__)
