"""JSON as the clients write and read it."""

from gds_native._lib import json_dumps as dumps
from gds_native._lib import json_loads as loads

__all__ = ["dumps", "loads"]
