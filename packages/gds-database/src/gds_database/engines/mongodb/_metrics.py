"""The figures of ``serverStatus``, by OpenTelemetry's names where it has them; counters as they are, never as rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

from gds_database.metadata import Metric

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["metrics_of"]

# Where it is, what it is called, its unit, and what tells it apart.
_ONE: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("uptimeMillis", "mongodb.uptime", "ms", {}),
    ("connections.current", "mongodb.connection.count", "{connection}", {"type": "current"}),
    ("connections.available", "mongodb.connection.count", "{connection}", {"type": "available"}),
    ("connections.active", "mongodb.connection.count", "{connection}", {"type": "active"}),
    ("connections.totalCreated", "mongodb.connection.created", "{connection}", {}),
    ("connections.rejected", "mongodb.connection.rejected", "{connection}", {}),
    ("mem.resident", "mongodb.memory.usage", "MiBy", {"type": "resident"}),
    ("mem.virtual", "mongodb.memory.usage", "MiBy", {"type": "virtual"}),
    ("network.bytesIn", "mongodb.network.io.receive", "By", {}),
    ("network.bytesOut", "mongodb.network.io.transmit", "By", {}),
    ("network.numRequests", "mongodb.network.request.count", "{request}", {}),
    ("globalLock.totalTime", "mongodb.global_lock.time", "us", {}),
    ("globalLock.currentQueue.readers", "mongodb.global_lock.queue", "{operation}", {"type": "read"}),
    ("globalLock.currentQueue.writers", "mongodb.global_lock.queue", "{operation}", {"type": "write"}),
    ("globalLock.activeClients.readers", "mongodb.active.reads", "{operation}", {}),
    ("globalLock.activeClients.writers", "mongodb.active.writes", "{operation}", {}),
    ("metrics.cursor.open.total", "mongodb.cursor.count", "{cursor}", {}),
    ("metrics.cursor.open.noTimeout", "mongodb.cursor.no_timeout", "{cursor}", {}),
    ("metrics.cursor.timedOut", "mongodb.cursor.timeout.count", "{cursor}", {}),
    ("metrics.queryExecutor.scanned", "mongodb.query.scanned", "{key}", {}),
    ("metrics.queryExecutor.scannedObjects", "mongodb.query.scanned_documents", "{document}", {}),
    ("metrics.operation.scanAndOrder", "mongodb.query.sorted_in_memory", "{query}", {}),
    ("metrics.ttl.deletedDocuments", "mongodb.ttl.deleted", "{document}", {}),
    ("logicalSessionRecordCache.activeSessionsCount", "mongodb.session.count", "{session}", {}),
    ("transactions.currentOpen", "mongodb.transaction.open", "{transaction}", {}),
    ("transactions.currentActive", "mongodb.transaction.active", "{transaction}", {}),
    ("transactions.totalStarted", "mongodb.transaction.started", "{transaction}", {}),
    ("transactions.totalCommitted", "mongodb.transaction.committed", "{transaction}", {}),
    ("transactions.totalAborted", "mongodb.transaction.aborted", "{transaction}", {}),
    ("flowControl.isLaggedTimeMicros", "mongodb.flow_control.lagged_time", "us", {}),
    ("flowControl.timeAcquiringMicros", "mongodb.flow_control.wait_time", "us", {}),
    ("wiredTiger.cache.maximum bytes configured", "mongodb.cache.limit", "By", {}),
    ("wiredTiger.cache.bytes currently in the cache", "mongodb.cache.usage", "By", {}),
    ("wiredTiger.cache.tracked dirty bytes in the cache", "mongodb.cache.dirty", "By", {}),
    ("wiredTiger.cache.bytes read into cache", "mongodb.cache.read", "By", {}),
    ("wiredTiger.cache.bytes written from cache", "mongodb.cache.written", "By", {}),
    ("wiredTiger.cache.unmodified pages evicted", "mongodb.cache.evictions", "{page}", {"type": "clean"}),
    ("wiredTiger.cache.modified pages evicted", "mongodb.cache.evictions", "{page}", {"type": "dirty"}),
    ("wiredTiger.transaction.transaction checkpoint most recent time (msecs)", "mongodb.checkpoint.time", "ms", {}),
    ("wiredTiger.checkpoint.most recent time (msecs)", "mongodb.checkpoint.time", "ms", {}),
)
# A document of counters each: what each key is called in a label.
_EACH = (
    ("opcounters", "mongodb.operation.count", "{operation}", "operation"),
    ("opcountersRepl", "mongodb.operation.repl.count", "{operation}", "operation"),
    ("asserts", "mongodb.assert.count", "{assert}", "type"),
    ("metrics.document", "mongodb.document.operation.count", "{document}", "operation"),
)
# Tickets have moved: to queues.execution in 7.1.
_TICKETS = ("wiredTiger.concurrentTransactions", "queues.execution")
_TICKET = (("out", "in_use"), ("available", "available"), ("totalTickets", "limit"))


def metrics_of(status: Mapping[str, Any], timestamp: datetime, instance: str) -> list[Metric]:
    """Every figure that this version of the server has; one that is missing takes nothing else with it."""
    return [
        Metric(name, float(value), unit, timestamp, {"instance_id": instance, **labels})
        for name, value, unit, labels in _figures(status)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]


def _figures(status: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, dict[str, str]]]:
    seen = set()
    for path, name, unit, labels in _ONE:
        value = _at(status, path)
        key = (name, tuple(labels.items()))
        if value is not None and key not in seen:
            seen.add(key)
            yield name, value, unit, labels
    for path, name, unit, label in _EACH:
        for each, value in (_at(status, path) or {}).items():
            yield name, value, unit, {label: str(each)}
    for operation, found in (_at(status, "opLatencies") or {}).items():
        if isinstance(found, Mapping):
            yield "mongodb.operation.latency.time", found.get("latency"), "us", {"operation": str(operation)}
            yield "mongodb.operation.latency.count", found.get("ops"), "{operation}", {"operation": str(operation)}
    tickets: Any = next(filter(None, (_at(status, path) for path in _TICKETS)), {})
    for kind, (theirs, ours) in product(("read", "write"), _TICKET):
        yield f"mongodb.tickets.{ours}", _at(tickets, f"{kind}.{theirs}"), "{ticket}", {"type": kind}


def _at(found: Any, path: str) -> Any:
    """What is at a dotted path; None if a part of it is missing."""
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found
