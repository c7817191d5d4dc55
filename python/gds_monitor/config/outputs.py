"""Outputs as ``monitor.yaml`` names them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gds_monitor.config.load import address_of
from gds_monitor.errors import MonitorConfigError
from gds_monitor.output import KafkaOutput, StdoutOutput

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_monitor.output import OutputHandler
    from gds_monitor.secrets import SharedVault

__all__ = ["make_output"]

_FILES = {"basic_auth_file", "bearer_token_file", "cafile", "certfile", "client_cafile", "keyfile"}
"""Settings whose paths begin at the folder of ``monitor.yaml``."""


def make_output(
    kind: str,
    given: Any,
    environment: str = "",
    *,
    folder: Path | None = None,
    vault: SharedVault | None = None,
    longest_interval_seconds: Callable[[], float] = float,
) -> OutputHandler:
    """The output.

    Args:
        kind: ``kafka``, ``prometheus``, ``otlp`` or ``stdout``.
        given: Its settings, or what it is named by: servers, an address, an endpoint. Values may be
            ``vault://path#field``.
        environment: A part of topics.
        folder: What the paths of files begin at.
        vault: A client of Vault.
        longest_interval_seconds: Says how rarely anything is measured.

    Raises:
        MonitorConfigError: A setting cannot be used, or a port is taken.
    """
    if kind == "stdout":
        return StdoutOutput(format="json")
    from gds_database.errors import ConfigurationError
    from gds_kafka.errors import KafkaConfigurationError

    try:
        settings = _output_settings(given, folder or Path(), vault)
        if kind == "kafka":
            return _kafka(settings, environment)
        from gds_monitor.collector_output import OtlpOutput, PrometheusOutput

        settings = {"longest_interval_seconds": longest_interval_seconds(), **settings}
        if kind == "otlp":
            return OtlpOutput(**({"endpoint": settings.pop("")} if "" in settings else {}), **settings)
        addr, port = address_of(settings.pop("listen" if "listen" in settings else ""))
        return PrometheusOutput(port, addr=addr, **settings)
    except (ConfigurationError, KafkaConfigurationError, OSError, TypeError, ValueError) as error:
        raise MonitorConfigError(f"outputs: {kind}: {error}") from None


def _kafka(settings: dict[str, Any], environment: str) -> KafkaOutput:
    servers = settings.pop("bootstrap_servers", None) or settings.pop("", None)
    if not servers:
        raise MonitorConfigError("expected bootstrap_servers, host:port or embedded:PATH")
    # Without an environment each instance has a topic of its own.
    where: dict[str, Any] = {"environment": environment} if environment else {"topic_by": "instance"}
    return KafkaOutput(servers, **where, **settings)


def _output_settings(given: Any, folder: Path, vault: SharedVault | None) -> dict[str, Any]:
    """Settings by name, what is named by one value under the empty name; secrets read, paths from the folder."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        given = {"": given}
    found = {name: _secret(value, vault) for name, value in given.items()}
    return {name: str(folder / value) if name in _FILES else value for name, value in found.items()}


def _secret(value: Any, vault: SharedVault | None) -> Any:
    from gds_database.opening import VAULT, from_vault

    if isinstance(value, dict):
        return {name: _secret(each, vault) for name, each in value.items()}
    return from_vault(value, vault) if isinstance(value, str) and value.startswith(VAULT) else value
