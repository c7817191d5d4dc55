"""``gds db``: databases from the command line; needs the extra ``cli``, for ``gds`` is a command of gds-telemetry."""

from gds_database.cli.app import app

__all__ = ["app"]
