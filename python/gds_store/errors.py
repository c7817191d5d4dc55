"""What a store raises.

All of them are `GdsStoreError`; ``retriable`` says that trying the same again later may help.

| exception | says |
| --- | --- |
| `StoreConfigurationError` | a setting makes no sense, or the store is open for something else; also a `ValueError` |
| `StoreUnavailableError` | no room, another process has the folder, it is closed, or the system refuses |
| `StoreDamagedError` | a file is not what was written, or was written by a newer version |
| `StoreQueryError` | a query has no answer: it needs more than it may, or its data do not allow it |
| `StoreSyntaxError` | a text is no query; ``line``, ``column`` and ``end_column`` say where; also a `ValueError` |
| `StoreTimeoutError` | a query took longer than it may; also a `TimeoutError` |
"""

from gds_native._lib import (
    GdsStoreError,
    StoreConfigurationError,
    StoreDamagedError,
    StoreQueryError,
    StoreSyntaxError,
    StoreTimeoutError,
    StoreUnavailableError,
)

__all__ = [
    "GdsStoreError",
    "StoreConfigurationError",
    "StoreDamagedError",
    "StoreQueryError",
    "StoreSyntaxError",
    "StoreTimeoutError",
    "StoreUnavailableError",
]
