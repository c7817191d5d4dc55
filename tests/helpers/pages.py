"""Pages as `prometheus_client` reads them, which is not this project's code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as _read_text

from gds_metrics import PrometheusMetrics

__all__ = ["Page", "dropped", "openmetrics_page", "read", "text_page"]


class Page:
    """The families of a page by name, and its samples by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families: dict[str, Metric] = {}
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], Any] = {}
        for family in families:
            # The parser takes `_total` off, and other programs have a gauge `x` beside a counter `x_total`.
            same_name = self.families.setdefault(family.name, family)
            assert same_name is family or same_name.type != family.type, f"{family.name} is there twice"
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self._samples, f"{sample} is there twice"
                self._samples[key] = sample

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """The value of one sample, or None."""
        sample = self._samples.get((name, frozenset((labels or {}).items())))
        return None if sample is None else float(sample.value)

    def exemplar(self, name: str, labels: Mapping[str, str] | None = None) -> Any:
        """The exemplar of one sample, or None."""
        return self._samples[name, frozenset((labels or {}).items())].exemplar

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of every sample of a name."""
        return [dict(labels) for found, labels in self._samples if found == name]

    @property
    def names(self) -> set[str]:
        """The name of every sample."""
        return {name for name, _ in self._samples}


def read(page: str, *, openmetrics: bool = False) -> Page:
    """Read a page of either format."""
    return Page(_read_openmetrics(page) if openmetrics else _read_text(page))  # type: ignore[no-untyped-call]


def text_page(metrics: PrometheusMetrics) -> Page:
    """The collector's page in text 0.0.4."""
    return read(metrics.render().decode())


def openmetrics_page(metrics: PrometheusMetrics) -> Page:
    """The collector's page in OpenMetrics 1.0."""
    return read(metrics.render(openmetrics=True).decode(), openmetrics=True)


def dropped(metrics: PrometheusMetrics) -> dict[str, float]:
    """What the collector's page says about dropped updates, by reason."""
    family = text_page(metrics).families.get("gds_metrics_dropped")
    return {} if family is None else {sample.labels["reason"]: sample.value for sample in family.samples}
