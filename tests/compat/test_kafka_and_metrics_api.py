"""`gds_metrics` and `gds_kafka` have every name, parameter and default that programs of their 0.x rely on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import gds_kafka
import gds_kafka.exceptions
import gds_metrics
import gds_metrics.context
from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from tests.compat.api_lists import LISTS, differences, read

# It has the four methods, which is all that `isinstance` and `issubclass` ask for.
NOT_INHERITED = "gds_kafka.metrics.KafkaMetrics: does not inherit from MetricsCollector"


@pytest.mark.parametrize(("package", "wanted"), [("gds_metrics", []), ("gds_kafka", [NOT_INHERITED])])
def test_everything_listed_is_there_with_its_parameters_and_defaults(package: str, wanted: list[str]) -> None:
    assert differences(read(LISTS / f"{package}.txt")) == wanted


def test_the_collectors_are_of_the_protocol() -> None:
    kinds = [gds_kafka.KafkaMetrics, gds_metrics.NoOpMetrics, gds_metrics.PrometheusMetrics]
    kinds += [gds_metrics.ConsoleMetrics, gds_metrics.CompositeMetrics, gds_metrics.OpenTelemetryMetrics]
    assert all(issubclass(kind, gds_metrics.MetricsCollector) for kind in kinds)


@pytest.mark.parametrize(
    ("old", "new"),
    [(gds_kafka.exceptions, gds_kafka), (gds_metrics.context, gds_metrics)],
    ids=["gds_kafka", "metrics"],
)
def test_the_older_names_of_modules_have_the_same_objects(old: Any, new: Any) -> None:
    assert [getattr(old, name) for name in old.__all__] == [getattr(new, name) for name in old.__all__]


def test_with_trace_context_needs_no_labels() -> None:
    assert gds_metrics.context.with_trace_context() == {}


def test_what_cannot_be_there_is_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text("utf-8")
    for kind, name in ((KafkaProducerClient, "producer"), (KafkaConsumerClient, "consumer")):
        assert not hasattr(kind, name)
        assert f"| `{name}.{name}` (" in document
    named = set(re.findall(r"`(?:producer|consumer)\.(\w+)\(", document))
    assert named
    assert all(hasattr(KafkaProducerClient, name) or hasattr(KafkaConsumerClient, name) for name in named)


# ------------------------------------------------------------------ the shape of measurements of databases
SCHEMA = json.loads((LISTS / "metrics-value.avsc").read_text("utf-8"))
PRIMITIVES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "double": (float, int),
    "int": (int,),
    "null": (type(None),),
}


def misfits(schema: Any, value: Any, at: str = "$") -> list[str]:
    """Where a JSON value is none of an Avro schema."""
    if isinstance(schema, list):
        return [] if any(not misfits(each, value) for each in schema) else [at]
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        if not isinstance(value, dict):
            return [at]
        fields = {field["name"]: field for field in schema["fields"]}
        missing = [f"{at}.{name}" for name, field in fields.items() if name not in value and "default" not in field]
        inner = [misfits(fields[name]["type"], each, f"{at}.{name}") for name, each in value.items() if name in fields]
        return missing + [line for lines in inner for line in lines]
    if kind == "map":
        members = value.items() if isinstance(value, dict) else [(at, None)]
        return [line for name, each in members for line in misfits(schema["values"], each, f"{at}.{name}")]
    return [] if isinstance(value, PRIMITIVES[kind]) and not isinstance(value, bool) else [at]
