"""Log records as messages, without their secrets; `gds_kafka.logging` sends them."""

from gds_native._lib import LogEncoder

__all__ = ["LogEncoder"]
