"""What an engine tells its collector, and spans. Whatever they raise goes no further.

Names are OpenTelemetry's (semantic conventions for database clients): ``db.client.operation.duration`` with
``db.system.name``, ``db.namespace``, ``db.operation.name``, ``server.address``, ``server.port`` and, of what failed,
``error.type``. No text of a statement is in them.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Metrics", "Report", "logger"]

logger = logging.getLogger("gds_database")

DURATION = "db.client.operation.duration"
_MAX_LABEL_SETS = 1000

T = TypeVar("T")


@runtime_checkable
class Metrics(Protocol):
    """The part of a collector that is needed here; any collector of ``gds_metrics`` has it."""

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> object:
        """Add one duration, in milliseconds."""


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

    def observe(self, operation: str, namespace: str, run: Callable[..., T], *given: Any) -> T:
        """What a call returns, or raises; it is timed, and is a span where spans are recorded.

        Args:
            operation: Such as ``SELECT`` or ``replSetGetStatus``.
            namespace: The database; empty if it is none.
            run: What is called.
            given: With what.
        """
        labels = self._labels.get((operation, namespace)) or self._label(operation, namespace)
        span = _span(labels)
        started = perf_counter()
        try:
            found = run(*given)
        except BaseException as error:
            self._ended(perf_counter() - started, labels, span, error)
            raise
        self._ended(perf_counter() - started, labels, span)
        return found

    async def observe_async(self, operation: str, namespace: str, awaited: Awaitable[T]) -> T:
        """As `observe`, for what is awaited."""
        labels = self._labels.get((operation, namespace)) or self._label(operation, namespace)
        span = _span(labels)
        started = perf_counter()
        try:
            found = await awaited
        except BaseException as error:
            self._ended(perf_counter() - started, labels, span, error)
            raise
        self._ended(perf_counter() - started, labels, span)
        return found

    def _label(self, operation: str, namespace: str) -> dict[str, str]:
        """The labels of a kind of statement; the same dict again the next time, unless there are very many kinds."""
        found = {**self._attributes, "db.operation.name": operation}
        if namespace:
            found["db.namespace"] = namespace
        if len(self._labels) < _MAX_LABEL_SETS:
            self._labels[operation, namespace] = found
        return found

    def _ended(self, seconds: float, labels: dict[str, str], span: Any, error: BaseException | None = None) -> None:
        if error is not None:
            labels = {**labels, "error.type": _error_type(error)}
        if self._metrics is not None:
            try:
                self._metrics.timing(DURATION, seconds * 1000, labels)
            except Exception as broken:  # noqa: BLE001 - a broken collector must not break what it observes
                self._failed(broken)
        if span is not None:
            with suppress(Exception):
                if error is not None:
                    from opentelemetry.trace import StatusCode

                    span.set_attribute("error.type", labels["error.type"])
                    span.set_status(StatusCode.ERROR)
                span.end()

    def _failed(self, error: Exception) -> None:
        """The collector raised."""
        if not self._broke:
            self._broke = True
            with suppress(Exception):  # nor must a broken log
                # Its text may be anything, so only its class is named.
                logger.warning(
                    "the collector raised %s; further failures of it are not mentioned", type(error).__name__
                )


def _error_type(error: BaseException) -> str:
    """The code that the server gave, else the class."""
    for name in ("sqlstate", "pgcode", "code", "errno", "number"):
        code = getattr(error, name, None)
        if isinstance(code, (str, int)) and code:
            return str(code)
    return type(error).__qualname__


_provider: Any = None
_tracer: Any = None


def _span(labels: dict[str, str]) -> Any:
    """A span that has begun; None if nobody records any."""
    global _provider, _tracer
    trace = sys.modules.get("opentelemetry.trace")  # who records spans has imported it
    if trace is None:
        return None
    with suppress(Exception):
        provider = trace.get_tracer_provider()
        if provider is not _provider:
            proxy = isinstance(provider, trace.ProxyTracerProvider)  # nobody has set one
            _provider, _tracer = provider, None if proxy else provider.get_tracer("gds_database")
        if _tracer is not None:
            name = " ".join(filter(None, (labels["db.operation.name"], labels.get("db.namespace"))))
            return _tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=labels)
    return None
