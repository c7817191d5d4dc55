"""What an engine tells its collector, and spans. Whatever they raise goes no further.

Names are OpenTelemetry's (semantic conventions for database clients): ``db.client.operation.duration`` with
``db.system.name``, ``db.namespace``, ``db.operation.name``, ``server.address``, ``server.port`` and, of what failed,
``error.type``. No text of a statement is in them.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["Metrics", "Report", "logger"]

logger = logging.getLogger("gds_database")

DURATION = "db.client.operation.duration"
_MAX_LABEL_SETS = 1000


@runtime_checkable
class Metrics(Protocol):
    """The part of a collector that is needed here; any collector of ``gds_metrics`` has it."""

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> object:
        """Add one duration, in milliseconds."""


class _Nothing:
    """Observes nothing."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *what: object) -> None:
        pass


_NOTHING = _Nothing()


class Report:
    """Tells of the statements of one engine.

    Args:
        metrics: Any collector; None is none.
        attributes: What is true of all of them: system and server.
    """

    def __init__(self, metrics: Metrics | None, attributes: Mapping[str, str]) -> None:
        if metrics is not None and not callable(getattr(metrics, "timing", None)):
            raise ConfigurationError(
                f"metrics: expected a collector with the method timing, got {type(metrics).__name__}"
            )
        self._metrics = metrics
        self._attributes = dict(attributes)
        self._labels: dict[tuple[str, str], dict[str, str]] = {}
        self._broke = False

    def observed(self, operation: str, namespace: str) -> _Observed | _Nothing:
        """A block that is timed, and is a span where spans are recorded.

        Args:
            operation: Such as ``SELECT`` or ``replSetGetStatus``.
            namespace: The database; empty if it is none.
        """
        tracer = _tracer()
        if self._metrics is None and tracer is None:
            return _NOTHING
        return _Observed(self, self._of(operation, namespace), tracer)

    def _of(self, operation: str, namespace: str) -> dict[str, str]:
        found = self._labels.get((operation, namespace))
        if found is None:
            found = {**self._attributes, "db.operation.name": operation}
            if namespace:
                found["db.namespace"] = namespace
            if len(self._labels) < _MAX_LABEL_SETS:
                self._labels[operation, namespace] = found
        return found

    def took(self, milliseconds: float, labels: dict[str, str]) -> None:
        """A statement ended."""
        if self._metrics is None:
            return
        try:
            self._metrics.timing(DURATION, milliseconds, labels)
        except Exception as error:  # noqa: BLE001 - a broken collector must not break what it observes
            if not self._broke:
                self._broke = True
                with suppress(Exception):  # nor must a broken log
                    # Its text may be anything, so only its class is named.
                    logger.warning(
                        "the collector raised %s; further failures of it are not mentioned", type(error).__name__
                    )


class _Observed:
    """A statement under way."""

    __slots__ = ("_labels", "_report", "_span", "_started", "_tracer")

    def __init__(self, report: Report, labels: dict[str, str], tracer: Any) -> None:
        self._report = report
        self._labels = labels
        self._tracer = tracer
        self._span: Any = None
        self._started = 0.0

    def __enter__(self) -> None:
        if self._tracer is not None:
            with suppress(Exception):
                labels = self._labels
                name = " ".join(filter(None, (labels["db.operation.name"], labels.get("db.namespace"))))
                self._span = self._tracer.start_span(name, kind=_client_kind(), attributes=labels)
        self._started = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        milliseconds = (time.perf_counter() - self._started) * 1000
        labels = self._labels
        if error is not None:
            labels = {**labels, "error.type": _error_type(error)}
        self._report.took(milliseconds, labels)
        if self._span is not None:
            with suppress(Exception):
                if error is not None:
                    from opentelemetry.trace import StatusCode

                    self._span.set_attribute("error.type", labels["error.type"])
                    self._span.set_status(StatusCode.ERROR)
                self._span.end()


def _error_type(error: BaseException) -> str:
    """The code that the server gave, else the class."""
    for name in ("sqlstate", "pgcode", "code", "errno", "number"):
        code = getattr(error, name, None)
        if isinstance(code, (str, int)) and code:
            return str(code)
    return type(error).__qualname__


_provider: Any = None
_found_tracer: Any = None


def _tracer() -> Any:
    """Where spans go, None if nobody records any."""
    global _provider, _found_tracer
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # who records spans has imported it
        return None
    with suppress(Exception):
        provider = trace.get_tracer_provider()
        if provider is not _provider:
            proxy = isinstance(provider, trace.ProxyTracerProvider)  # nobody has set one
            _provider, _found_tracer = provider, None if proxy else provider.get_tracer("gds_database")
        return _found_tracer
    return None


def _client_kind() -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind.CLIENT
