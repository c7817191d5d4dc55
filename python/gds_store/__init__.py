"""Time series in a folder of this machine, and PromQL over them.

    from gds_store import Store

    with Store("series") as store:
        store.append("requests_total", 42, {"job": "api"})
        for series in store.query("requests_total"):
            print(series["labels"], series["value"])

What a query answers is a table for everything that reads Arrow, too: ``polars.DataFrame(store.query(...))``.

Importing this package starts nothing: no thread, no socket, no logger.
"""

from __future__ import annotations

from gds_metrics import _lazy

TYPE_CHECKING = False  # `typing` is not imported for this: it would be most of the time this package takes to import

if TYPE_CHECKING:
    from gds_store.errors import (
        GdsStoreError,
        StoreConfigurationError,
        StoreDamagedError,
        StoreQueryError,
        StoreSyntaxError,
        StoreTimeoutError,
        StoreUnavailableError,
    )
    from gds_store.store import QueryResult, Store, restore

__all__ = [
    "GdsStoreError",
    "QueryResult",
    "Store",
    "StoreConfigurationError",
    "StoreDamagedError",
    "StoreQueryError",
    "StoreSyntaxError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "restore",
]

_HOME = {
    "GdsStoreError": "errors",
    "QueryResult": "store",
    "Store": "store",
    "StoreConfigurationError": "errors",
    "StoreDamagedError": "errors",
    "StoreQueryError": "errors",
    "StoreSyntaxError": "errors",
    "StoreTimeoutError": "errors",
    "StoreUnavailableError": "errors",
    "restore": "store",
}

# What a program does not use it does not load.
__getattr__, __dir__ = _lazy.exports(globals(), _HOME)
