"""Collectors of sql_exporter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gds_monitor.packs.model import Collector, MetricDefinition, Pack, Query

if TYPE_CHECKING:
    from gds_monitor.packs.document import Document, Step

__all__ = ["read"]

MAX_ROWS = 10_000
"""It knows no bound. One there has to be."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


def read(document: Document, engine: str) -> Pack:
    """The one collector of a file.

    Raises:
        PackError: Something of it is wrong.
    """
    document.validate("sql_exporter")
    data = document.data
    statements: dict[str, str] = {}
    for index, query in enumerate(data.get("queries", ())):
        if query["query_name"] in statements:
            document.fail(("queries", index, "query_name"), "is the name of another, too; expected one of its own")
        statements[query["query_name"]] = query["query"]
    found: dict[tuple[str, str], list[MetricDefinition]] = {}
    for index, metric in enumerate(data["metrics"]):
        reference = metric.get("query_ref")
        if reference is not None and reference not in statements:
            names = ", ".join(sorted(statements)) or "none"
            document.fail(("metrics", index, "query_ref"), f"expected the name of one of queries ({names})")
        sql = metric["query"] if reference is None else statements[reference]
        name = _unused(metric["metric_name"], sql, found) if reference is None else reference
        found.setdefault((name, sql), []).extend(_definitions(document, metric, ("metrics", index)))
    queries = tuple(Query(name=name, sql=sql, metrics=tuple(metrics)) for (name, sql), metrics in found.items())
    interval = _seconds(data.get("min_interval", "0"))
    name = data["collector_name"]
    collector = Collector(name=name, interval_seconds=interval or None, max_rows=MAX_ROWS, queries=queries)
    return Pack(name=name, engine=engine, collectors=(collector,))


def _unused(name: str, sql: str, found: dict[tuple[str, str], list[MetricDefinition]]) -> str:
    taken = {other for other, statement in found if statement != sql}
    return next(each for each in (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3))) if each not in taken)


def _definitions(document: Document, data: dict[str, Any], path: tuple[Step, ...]) -> list[MetricDefinition]:
    values = data.get("values") or []
    constant = data.get("static_value")
    if bool(values) == (constant is not None):
        document.fail(path, "expected either values or static_value")
    label = data.get("value_label") or ""
    if len(values) > 1 and not label:
        document.fail((*path, "values"), "expected value_label, which tells several values apart")
    keys = data.get("key_labels") or []
    for index, key in enumerate(keys):
        if key in keys[:index] or key == label:
            document.fail((*path, "key_labels", index), f"{key!r} is a label twice; expected each once")
    common: dict[str, Any] = {
        "name": data["metric_name"],
        "type": data["type"].lower(),
        "description": data["help"],
        "labels": {key: key for key in keys},
        "timestamp": data.get("timestamp_value") or None,
    }
    static = {name: _text(value) for name, value in (data.get("static_labels") or {}).items()}
    if constant is not None:
        return [MetricDefinition(**common, static_labels=static, constant=float(constant))]
    return [
        MetricDefinition(**common, value=value, static_labels={**static, **({label: value} if label else {})})
        for value in values
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _seconds(text: str) -> float:
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([a-z]+)", text))
