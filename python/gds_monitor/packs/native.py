"""Our own form of packs: from YAML, and to it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gds_monitor.packs.model import (
    Collector,
    ColumnMetrics,
    EventText,
    MetricDefinition,
    Pack,
    Query,
    Requirements,
    TopN,
    VersionRange,
)

if TYPE_CHECKING:
    from gds_monitor.packs.document import Document, Step


ENGINES = ("postgresql", "mongodb", "mssql", "snowflake")


Path = tuple["Step", ...]


def read(document: Document) -> Pack:
    """A pack of our own form.

    Raises:
        PackError: Something of it is wrong.
    """
    document.validate("pack")
    data = document.data
    pack = Pack(
        name=data["pack"],
        engine=data["engine"],
        description=data.get("description", ""),
        collectors=tuple(
            _collector(document, each, ("collectors", index)) for index, each in enumerate(data["collectors"])
        ),
        presets=data.get("presets", {}),
    )
    _unique(document, [each.name for each in pack.collectors], ("collectors",))
    names = {each.name for each in pack.collectors}
    for preset, chosen in pack.presets.items():
        for name in chosen:
            if name not in names:
                document.fail(("presets", preset, name), "expected the name of a collector", key=True)
    return pack


def _unique(document: Document, names: list[str], path: Path) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            document.fail((*path, index, "name"), f"{name!r} is the name of another, too; expected one of its own")


def _collector(document: Document, data: dict[str, Any], path: Path) -> Collector:
    queries = tuple(_query(document, each, (*path, "queries", index)) for index, each in enumerate(data["queries"]))
    _unique(document, [each.name for each in queries], (*path, "queries"))
    return Collector(**{**data, "queries": queries})


def _query(document: Document, data: dict[str, Any], path: Path) -> Query:
    fields = dict(data)
    fields["versions"] = version_range(document, data.get("versions", ""), (*path, "versions"))
    fields["privileges"] = tuple(data.get("privileges", ()))
    if "requires" in data:
        fields["requires"] = Requirements(**_tuples(data["requires"]))
    if "column_metrics" in data:
        fields["column_metrics"] = ColumnMetrics(**_tuples(data["column_metrics"]))
    if "top" in data:
        fields["top"] = TopN(**_tuples(data["top"]))
    if "event" in data:
        fields["event"] = EventText(**data["event"])
        if "{keys}" not in fields["event"].sql:
            document.fail((*path, "event", "sql"), "expected {keys} in it, where the keys go that are new")
    fields["metrics"] = tuple(
        _metric(document, each, (*path, "metrics", index)) for index, each in enumerate(data.get("metrics", ()))
    )
    query = Query(**fields)
    _sense(document, query, path)
    return query


def _sense(document: Document, query: Query, path: Path) -> None:
    if not query.metrics and query.column_metrics is None and query.event is None:
        document.fail(path, "expected metrics, column_metrics or event")
    if "{columns}" in query.sql:
        if not any(metric.value for metric in query.metrics):
            document.fail((*path, "sql"), "expected metrics with a value for {columns}")
    elif query.view or any(metric.expression for metric in query.metrics):
        place = "view" if query.view else "sql"
        document.fail((*path, place), "expected {columns} in the statement, where the columns go")
    if query.top is not None:
        _sense_of_top(document, query, query.top, path)
    for index, metric in enumerate(query.metrics):
        if metric.histogram and not isinstance(metric.value, str):
            document.fail((*path, "metrics", index, "value"), "expected one column for a histogram")


def _sense_of_top(document: Document, query: Query, top: TopN, path: Path) -> None:
    if top.by not in {column for metric in query.metrics for column in metric.columns}:
        document.fail((*path, "top", "by"), f"expected the value of one of the metrics, got {top.by!r}")
    for index, key in enumerate(top.key):
        if key not in query.labels.values():
            document.fail((*path, "top", "key", index), f"expected a column that is a label, got {key!r}")
    if query.event is not None and query.event.key not in top.key:
        document.fail((*path, "event", "key"), f"expected one of the key of top, got {query.event.key!r}")


def _metric(document: Document, data: dict[str, Any], path: Path) -> MetricDefinition:
    fields = _tuples(data)
    fields["versions"] = version_range(document, data.get("versions", ""), (*path, "versions"))
    metric = MetricDefinition(**fields)
    growing(document, metric.buckets, (*path, "buckets"))
    return metric


def growing(document: Document, buckets: tuple[float, ...], path: Path) -> None:
    """Refuse bounds that do not grow."""
    for index, (low, high) in enumerate(itertools.pairwise(buckets)):
        if not low < high:
            document.fail((*path, index + 1), f"expected a bound above {low}, got {high}")


def version_range(document: Document, text: str, path: Path) -> VersionRange:
    """The versions that a text says."""
    try:
        return VersionRange(text)
    except ValueError as error:
        document.fail(path, str(error))


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """Lists become what the model has."""

    def settled(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        return {name: settled(each) for name, each in value.items()} if isinstance(value, dict) else value

    return {name: settled(value) for name, value in data.items()}


def dump(pack: Pack) -> str:
    """A pack as YAML; what is as it is by default is left out."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Statements stay readable, and nothing becomes an alias."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's
            return True

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value and not any(line != line.rstrip() for line in value.split("\n")) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    plain = _plain(pack)
    ordered = {"pack": plain.pop("name"), **plain}
    return yaml.dump(ordered, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def _plain(value: Any) -> Any:
    if isinstance(value, VersionRange):
        return value.text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
