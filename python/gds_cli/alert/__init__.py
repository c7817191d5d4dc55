"""``gds alert``: rules for alerts, watched for on a hub."""

from gds_cli.alert.app import app

__all__ = ["app"]
