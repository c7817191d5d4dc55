"""`OpenTelemetryMetrics`: counts in Rust and exports OTLP, or reports to the program's own MeterProvider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gds_metrics._collector import Managed, Pinned
from gds_metrics._exit import close_at_exit, is_closed
from gds_metrics._observable import Observes
from gds_metrics._settings import (
    DEFAULT_BUCKETS,
    checked_buckets,
    described,
    log_failure,
    path,
    seconds,
    secret_pairs,
    text,
    whole,
)
from gds_native._lib import OtlpCore

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from opentelemetry.metrics import MeterProvider

    from gds_metrics._meter import MeterCollector
    from gds_metrics._observable import Callback

__all__ = ["OpenTelemetryMetrics"]

_DEFAULT_SERVICE_NAME = "gds_service"
_DEFAULT_SERVICE_VERSION = "1.0.0"


class OpenTelemetryMetrics(Observes, Managed, Pinned, OtlpCore):
    """Exports to an OpenTelemetry receiver over OTLP, from Rust, without the OpenTelemetry SDK.

    Totals are kept in memory and exported periodically and when the collector is closed. While the receiver is away
    nothing is queued: the next export that gets through carries the totals. Failed exports are retried with exponential
    backoff and jitter. What is not given here is taken from the standard ``OTEL_*`` variables, then from the defaults
    of the specification. A forked child counts from zero and exports by itself, as a service instance of its own.

    With ``meter_provider`` the measurements go to that provider's instruments instead, whose readers export them; the
    settings of OTLP then have no effect.

    Args:
        service_name: ``service.name`` of the resource. The default gives way to ``OTEL_SERVICE_NAME``.
        service_version: ``service.version`` of the resource. The default gives way to resource attributes.
        include_trace_context: Whether counters and distributions carry the active trace as exemplar.
        endpoint: The receiver's URL, used as it is: ``http://host:4317`` for gRPC, ``http://host:4318/v1/metrics`` for
            HTTP.
        protocol: ``grpc`` or ``http/protobuf``.
        headers: Sent with every export; for credentials.
        cafile: PEM certificates to trust instead of the system's.
        certfile: PEM certificate chain to present.
        keyfile: PEM key of that certificate.
        insecure: For a gRPC endpoint without a scheme: whether it is plain text.
        interval_seconds: Time between two exports, 60 by default.
        timeout_seconds: How long one request may take, 10 by default.
        temporality: ``cumulative``, ``delta`` or ``lowmemory``.
        resource_attributes: Further attributes of the resource.
        compression: ``gzip`` or ``none``.
        buckets: Upper bounds of distributions that `describe` gives none, ascending, without infinity.
        max_series: Series of one name before the rest goes to the one labelled ``overflow="true"``.
        meter_provider: What ``opentelemetry.metrics.get_meter_provider()`` gives, where the program has set one up.
    """

    __slots__ = ("_meter", "_observables", "_service_name")
    _meter: MeterCollector
    _service_name: str

    def __init__(
        self,
        service_name: str = _DEFAULT_SERVICE_NAME,
        service_version: str = _DEFAULT_SERVICE_VERSION,
        include_trace_context: bool = True,
        *,
        endpoint: str | None = None,
        protocol: str | None = None,
        headers: Mapping[str, str] | None = None,
        cafile: str | os.PathLike[str] | None = None,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        insecure: bool | None = None,
        interval_seconds: float | None = None,
        timeout_seconds: float | None = None,
        temporality: str | None = None,
        resource_attributes: Mapping[str, object] | None = None,
        compression: str | None = None,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
        max_series: int = 10_000,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._service_name = text("service_name", service_name)
        if meter_provider is not None:
            from gds_metrics._meter import MeterCollector

            self._meter = MeterCollector(meter_provider, version=text("service_version", service_version))
            self.__class__ = _over_meter_provider(type(self))
            return
        text("service_version", service_version)
        self._open(
            {
                "endpoint": None if endpoint is None else _secret_text("endpoint", endpoint),
                "protocol": None if protocol is None else text("protocol", protocol),
                "headers": secret_pairs("headers", headers),
                "cafile": None if cafile is None else path("cafile", cafile),
                "certfile": None if certfile is None else path("certfile", certfile),
                "keyfile": None if keyfile is None else path("keyfile", keyfile),
                "insecure": _flag("insecure", insecure),
                "interval_seconds": None if interval_seconds is None else seconds("interval_seconds", interval_seconds),
                "timeout_seconds": None if timeout_seconds is None else seconds("timeout_seconds", timeout_seconds),
                "temporality": None if temporality is None else text("temporality", temporality),
                "resource_attributes": secret_pairs("resource_attributes", resource_attributes),
                "compression": None if compression is None else text("compression", compression),
                "service_name": None if service_name == _DEFAULT_SERVICE_NAME else service_name,
                "service_version": None if service_version == _DEFAULT_SERVICE_VERSION else service_version,
                "buckets": checked_buckets(buckets),
                "max_series": whole("max_series", max_series, 1, 100_000_000, "how many series one name may have"),
                "exemplars": bool(include_trace_context),
            }
        )
        close_at_exit(self)

    def describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        max_series: int | None = None,
        **_settings: object,
    ) -> None:
        """Tell about a metric, before it is first reported.

        Args:
            name: The name as it is reported.
            help: One sentence about it.
            unit: What its values are in: ``seconds``, ``bytes`` or a unit of UCUM. Timings are in seconds anyway.
            buckets: Upper bounds of a distribution, ascending, without infinity; seconds for timings.
            max_series: Series before the rest goes to the one labelled ``overflow="true"``.

        Raises:
            ValueError: A setting makes no sense, or comes after values that were counted another way.
        """
        self._describe(
            text("name", name),
            **described(help, unit, buckets, max_series),
        )

    def stats(self) -> dict[str, Any]:
        """What the exporter has done: ``exports``, ``failed_attempts``, ``rejected_points``, ``last_error``."""
        return self._stats()

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Export now.

        Args:
            timeout_seconds: How long to wait at most.

        Returns:
            Whether the receiver took it. If not, the next export carries the same totals; `stats` tells why.
        """
        try:
            self._flush(seconds("timeout_seconds", timeout_seconds))
        except OSError:
            return False
        return True

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Export a last time and stop; may be called again. What is reported afterwards is not exported.

        Args:
            timeout_seconds: How long to wait at most. A failure of that export is mentioned in the log.
        """
        try:
            self._close(seconds("timeout_seconds", timeout_seconds))
        except OSError as error:
            log_failure("the last metrics were not exported: %s", error)
        finally:
            is_closed(self)

    def __repr__(self) -> str:
        return f"OpenTelemetryMetrics(service_name={self._service_name!r})"

    def __str__(self) -> str:
        return f"OpenTelemetry Metrics ({self._service_name})"


class _OverMeterProvider(OpenTelemetryMetrics):
    """The same to its user, but every measurement goes to the program's MeterProvider."""

    __slots__ = ()

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        self._meter.increment(name, value, labels)

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        self._meter.gauge(name, value, labels)

    def histogram(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        self._meter.histogram(name, value, labels)

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        self._meter.timing(name, value_ms, labels)

    def gauge_add(self, name: str, delta: float, labels: dict[str, str] | None = None) -> None:
        self._meter.gauge_add(name, delta, labels)

    def remove(self, name: str, labels: dict[str, str] | None = None) -> bool:  # noqa: ARG002
        return False  # OpenTelemetry's API has no way to

    def observable_gauge(self, name: str, callback: Callback, labels: Mapping[str, str] | None = None) -> None:
        self._meter.observable_gauge(name, callback, labels)

    def observable_counter(self, name: str, callback: Callback, labels: Mapping[str, str] | None = None) -> None:
        self._meter.observable_counter(name, callback, labels)

    def describe(self, name: str, **settings: Any) -> None:
        self._meter.describe(name, **settings)

    def stats(self) -> dict[str, Any]:
        return {"dropped": self._meter.dropped}

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        return self._meter.flush(timeout_seconds)

    def close(self, timeout_seconds: float = 5.0) -> None:
        self._meter.flush(timeout_seconds)


# As its user knows it.
_OverMeterProvider.__name__ = _OverMeterProvider.__qualname__ = OpenTelemetryMetrics.__name__


def _over_meter_provider(kind: type[OpenTelemetryMetrics]) -> type[OpenTelemetryMetrics]:
    if kind is OpenTelemetryMetrics:
        return _OverMeterProvider
    # A subclass keeps its own methods; what they leave to `super()` goes to the provider.
    attributes = {"__slots__": (), "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind, _OverMeterProvider), attributes)


def _flag(setting: str, value: bool | None) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{setting}={value!r}: expected True or False; leave it out for the environment's")
    return value


def _secret_text(setting: str, value: str) -> str:
    """Text that is not to be shown even where it is no text."""
    if not isinstance(value, str):
        raise TypeError(f"{setting}: expected a str, got {type(value).__name__}")
    return value
