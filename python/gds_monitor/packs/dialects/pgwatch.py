"""Metrics of pgwatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_monitor.packs.model import Collector, ColumnMetrics, Pack, Query, VersionRange

if TYPE_CHECKING:
    from gds_monitor.packs.document import Document

__all__ = ["read"]

MAX_ROWS = 10_000
PREFIX = "pgwatch"
TIME_COLUMN = "epoch_ns"


def read(document: Document, name: str) -> Pack:
    """The metrics of a file, and its presets.

    Raises:
        PackError: Something of it is wrong.
    """
    document.validate("pgwatch")
    data = document.data
    collectors = tuple(_collector(document, key, metric) for key, metric in data["metrics"].items())
    presets = {key: dict(preset["metrics"]) for key, preset in data.get("presets", {}).items()}
    for preset, chosen in presets.items():
        for metric in chosen:
            if metric not in data["metrics"]:
                document.fail(("presets", preset, "metrics", metric), "expected the name of a metric", key=True)
    return Pack(name=name, engine="postgresql", collectors=collectors, presets=presets)


def _collector(document: Document, key: str, data: dict[str, Any]) -> Collector:
    versions = sorted(data["sqls"], key=lambda text: [int(part) for part in text.split(".")])
    columns = ColumnMetrics(
        prefix=f"{PREFIX}_{data.get('storage_name') or key}_",
        tag_prefix="tag_",
        gauges=tuple(data.get("gauges") or ()),
        skip=(TIME_COLUMN,),
    )
    queries = tuple(
        Query(
            name=f"from {version}",
            sql=data["sqls"][version],
            # An empty one is for none.
            versions=VersionRange(f">={version}" + (f" <{following}" if following else "")),
            role=data.get("node_status") or "any",
            timestamp=TIME_COLUMN,
            column_metrics=columns,
            setup=data.get("init_sql", "").strip(),
        )
        for version, following in zip(versions, [*versions[1:], ""], strict=True)
        if data["sqls"][version].strip(" ;\n\t")
    )
    if not queries:
        document.fail(("metrics", key, "sqls"), "expected a statement for one version at least")
    return Collector(
        name=key,
        description=" ".join(data.get("description", "").split()),
        scope="instance" if data.get("is_instance_level") else "database",
        timeout_seconds=data.get("statement_timeout_seconds") or None,
        max_rows=MAX_ROWS,
        queries=queries,
    )
