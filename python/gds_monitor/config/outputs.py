"""Outputs as ``monitor.yaml`` names them."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from gds_monitor.errors import MonitorConfigError
from gds_monitor.output import KafkaOutput, WriteResult
from gds_native._lib import LogEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gds_monitor.metric import Metric
    from gds_monitor.output import OutputHandler

__all__ = ["Lines", "fields_of", "make_output"]


def make_output(kind: str, given: Any, environment: str = "") -> OutputHandler:
    """The output.

    Args:
        kind: ``kafka`` or ``stdout``.
        given: Of ``kafka``: the servers as text, or ``bootstrap_servers`` and settings of `KafkaOutput`.
        environment: A part of topics.

    Raises:
        MonitorConfigError: A setting cannot be used.
    """
    if kind == "stdout":
        return Lines()
    from gds_kafka.errors import KafkaConfigurationError

    settings = {"bootstrap_servers": given} if isinstance(given, str) else dict(given)
    try:
        # Without an environment each instance has a topic of its own.
        where: dict[str, Any] = {"environment": environment} if environment else {"topic_by": "instance"}
        return KafkaOutput(settings.pop("bootstrap_servers"), **where, **settings)
    except KeyError:
        raise MonitorConfigError("outputs: kafka: expected bootstrap_servers, host:port or embedded:PATH") from None
    except (KafkaConfigurationError, MonitorConfigError, TypeError) as error:
        raise MonitorConfigError(f"outputs: kafka: {error}") from None


def fields_of(metric: Metric) -> dict[str, Any]:
    """A metric as the hub has it."""
    value = metric.value
    return {
        "timestamp": None if metric.timestamp is None else metric.timestamp.isoformat(),
        "database_type": metric.database_type,
        "instance_id": metric.instance_id,
        "metric_name": metric.metric_name,
        "value": value if isinstance(value, (int, float)) else float(value),
        "tags": metric.tags,
        "unit": metric.unit,
        "metric_type": metric.metric_type,
        "start_timestamp": None if metric.start_timestamp is None else metric.start_timestamp.isoformat(),
        "metadata": {
            "collection_duration_ms": round(metric.collection_duration_ms),
            "version": metric.version,
            "correlation_id": metric.correlation_id,
        },
    }


class Lines:
    """Metrics on standard output, one JSON object a line, without secrets in their tags."""

    def __init__(self) -> None:
        self._scrub = LogEncoder().redact

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Print them."""
        text = "".join(f"{json.dumps(self._clean(each), ensure_ascii=False)}\n" for each in metrics)
        await asyncio.to_thread(_print, text)
        return WriteResult(published=len(metrics))

    def _clean(self, metric: Metric) -> dict[str, Any]:
        tags = {name: self._scrub(str(value)) for name, value in metric.tags.items()}
        return {**fields_of(metric), "tags": tags}

    async def close(self) -> None:
        """Nothing is left to be printed."""


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
