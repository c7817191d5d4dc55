"""The exceptions by the name of the module that existing programs import them from; see `gds_kafka.errors`."""

from gds_kafka import errors
from gds_kafka.errors import *  # noqa: F403 - all of them, by their other name

__all__: list[str] = []
__all__ += errors.__all__
