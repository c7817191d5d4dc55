"""The queries.yaml of postgres_exporter, with what pg_exporter added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_monitor.packs.model import Collector, ColumnMetrics, MetricDefinition, Pack, Query, Requirements, Role
from gds_monitor.packs.native import growing, version_range

if TYPE_CHECKING:
    from gds_monitor.packs.document import Document, Step

__all__ = ["read"]

MAX_ROWS = 10_000
DEFAULT_TIMEOUT_SECONDS = 0.1
"""Of pg_exporter, for a query without a timeout of its own."""

_OF_PG_EXPORTER = {
    "name", "desc", "ttl", "timeout", "min_version", "max_version", "fatal", "skip", "tags", "predicate_queries",
}  # fmt: skip
_COLUMNS_OF_PG_EXPORTER = {"rename", "default", "scale", "bucket"}
_ROLES: dict[str, Role] = {"primary": "primary", "master": "primary", "standby": "standby", "replica": "standby"}
_PREFIXED = {
    "dbname": "databases",
    "username": "users",
    "extension": "extensions",
    "schema": "schemas",
    "not": "not_tags",
}


def read(document: Document, name: str) -> Pack:
    """The queries of a file.

    Raises:
        PackError: Something of it is wrong.
    """
    document.validate("postgres_exporter")
    collectors = tuple(_collector(document, key, data) for key, data in document.data.items())
    return Pack(name=name, engine="postgresql", collectors=collectors)


def _collector(document: Document, key: str, data: dict[str, Any]) -> Collector:
    extended = bool(_OF_PG_EXPORTER & data.keys()) or any(
        _COLUMNS_OF_PG_EXPORTER & column.keys() for entry in data["metrics"] for column in entry.values()
    )
    namespace = data.get("name", key)
    role, requires = _tags(document, data, key)
    metrics: list[MetricDefinition] = []
    labels: dict[str, str] = {}
    listed: list[str] = []
    for index, entry in enumerate(data["metrics"]):
        for column, options in entry.items():
            path = (key, "metrics", index, column)
            usage = options["usage"].upper()
            listed.append(column)
            if usage == "LABEL":
                labels[options.get("rename", column)] = column
            elif usage != "DISCARD":
                metrics.append(_metric(document, options, path, namespace))
                if metrics[-1].histogram:
                    listed += [f"{column}{end}" for end in ("_bucket", "_sum", "_count")]
    # postgres_exporter shows columns that nobody listed, too; pg_exporter does not.
    rest = None if extended else ColumnMetrics(prefix=f"{namespace}_", gauges=("*",), skip=tuple(listed))
    if not metrics and rest is None:
        # Nothing but labels: it runs, and tells nothing.
        rest = ColumnMetrics(prefix=f"{namespace}_", skip=("*",))
    query = Query(
        name=namespace,
        sql=data["query"],
        versions=_versions(document, data, key),
        role=role,
        requires=requires,
        labels=labels,
        metrics=tuple(metrics),
        column_metrics=rest,
    )
    timeout = data.get("timeout", 0) or (DEFAULT_TIMEOUT_SECONDS if extended else -1)
    return Collector(
        name=key,
        description=data.get("desc", ""),
        interval_seconds=data.get("ttl") or data.get("cache_seconds") or None,
        timeout_seconds=timeout if timeout > 0 else None,
        max_rows=MAX_ROWS,
        enabled=not data.get("skip", False),
        fatal=data.get("fatal", False),
        queries=(query,),
    )


def _tags(document: Document, data: dict[str, Any], key: str) -> tuple[Role, Requirements]:
    role: Role = "any"
    found: dict[str, list[str]] = {}
    for index, tag in enumerate(data.get("tags") or ()):
        kind, colon, value = tag.partition(":")
        if tag in _ROLES:
            if role not in {"any", _ROLES[tag]}:
                document.fail((key, "tags", index), "expected one role, got primary and standby")
            role = _ROLES[tag]
        elif colon and kind in _PREFIXED:
            found.setdefault(_PREFIXED[kind], []).append(value)
        elif tag != "cluster":  # once for each server, as without it
            found.setdefault("tags", []).append(tag)
    predicates = tuple(each["predicate_query"] for each in data.get("predicate_queries", ()))
    tuples: dict[str, Any] = {name: tuple(values) for name, values in found.items()}
    return role, Requirements(**tuples, predicates=predicates)


def _versions(document: Document, data: dict[str, Any], key: str) -> Any:
    text = data.get("runonserver", "")
    bounds = [
        f"{operator}{_dotted(data[name])}"
        for operator, name in ((">=", "min_version"), ("<", "max_version"))
        if data.get(name)
    ]
    if text and bounds:
        text = " || ".join(" ".join([part, *bounds]) for part in text.split("||"))
    return version_range(document, text or " ".join(bounds), (key, "runonserver"))


def _dotted(number: int) -> str:
    major, rest = divmod(number, 10_000)
    return f"{major}.{rest}" if major >= 10 else f"{major}.{rest // 100}.{rest % 100}"


def _metric(document: Document, options: dict[str, Any], path: tuple[Step, ...], namespace: str) -> MetricDefinition:
    usage = options["usage"].upper()
    column = str(path[-1])
    if usage == "MAPPEDMETRIC" and not options.get("metric_mapping"):
        document.fail(path, "expected metric_mapping, with the number of each text")
    growing(document, tuple(options.get("bucket", ())), (*path, "bucket"))
    name = f"{namespace}_{options.get('rename', column)}"
    return MetricDefinition(
        name=f"{name}_milliseconds" if usage == "DURATION" else name,
        type="counter" if usage == "COUNTER" else "gauge",
        unit="ms" if usage == "DURATION" else None,
        description=options.get("description", ""),
        value=column,
        versions=version_range(document, options.get("pg_version", ""), (*path, "pg_version")),
        scale=_number(document, options, path, "scale", 1.0) or 1.0,
        default=_number(document, options, path, "default", None),
        mapping=options.get("metric_mapping", {}) if usage == "MAPPEDMETRIC" else {},
        duration=usage == "DURATION",
        buckets=tuple(options.get("bucket", ())) if usage == "HISTOGRAM" else (),
        histogram=usage == "HISTOGRAM" and "bucket" not in options,
    )


def _number(
    document: Document, options: dict[str, Any], path: tuple[Step, ...], key: str, otherwise: float | None
) -> float | None:
    value = options.get(key, otherwise)
    try:
        # PyYAML takes 1e-3 for text, as YAML 1.1 has it.
        number = None if value is None else float(value)
    except ValueError:
        number = float("nan")
    if number is not None and not abs(number) < 1e300:
        document.fail((*path, key), f"expected a number, got {str(value)[:40]!r}")
    return number
