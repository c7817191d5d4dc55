"""``gds monitor``: databases watched, once or all the time."""

from gds_cli.monitor.app import app

__all__ = ["app"]
