"""`Metric`: one measurement of a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from typing import Literal

__all__ = ["Metric"]


@dataclass(slots=True)
class Metric:
    """One measurement of one database.

    Nothing is checked here, since a monitor makes many of them: an output refuses and counts what it cannot take.

    Attributes:
        metric_name: What was measured, in dotted style: ``postgresql.backends``.
        value: The number, in ``unit``. Integers and decimals keep all their digits on the hub.
        instance_id: Which instance it was measured of. Metrics of one instance keep their order.
        database_type: ``postgresql``, ``mongodb``, ``mssql`` or ``snowflake``; any other name is taken, too.
        timestamp: When, with its time zone; None is the time at which it is written.
        tags: Attributes that tell series of one name apart.
        unit: In UCUM: ``By``, ``s``, ``1``, ``{connection}``.
        metric_type: ``counter`` is a sum since ``start_timestamp``, never a rate.
        start_timestamp: From when on a counter counts, with its time zone; None where nobody knows.
        collection_duration_ms: How long it took to collect, in milliseconds.
        version: Of the form of the message.
        correlation_id: What else belongs to it: that of the cycle.
    """

    metric_name: str
    value: float | int | Decimal
    instance_id: str
    database_type: str
    timestamp: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
    unit: str | None = None
    metric_type: Literal["gauge", "counter"] = "gauge"
    start_timestamp: datetime | None = None
    collection_duration_ms: float = 0.0
    version: str = "1.0"
    correlation_id: str | None = None
