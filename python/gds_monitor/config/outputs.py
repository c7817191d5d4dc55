"""Outputs as ``monitor.yaml`` names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_monitor.errors import MonitorConfigError
from gds_monitor.output import KafkaOutput, StdoutOutput

if TYPE_CHECKING:
    from gds_monitor.output import OutputHandler

__all__ = ["make_output"]


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
        return StdoutOutput(format="json")
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
