"""What a metrics collector is: any object with four methods.

Code that reports metrics takes such an object as ``metrics=`` and never asks what it is:

    def fetch(key: str, metrics: MetricsCollector) -> None:
        metrics.increment("vault.secret.fetch", labels={"result": "hit"})

A collector never raises into the program it observes and never makes it wait. What it cannot take
it drops, counts, and mentions once in the log ``gds_metrics``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gds_metrics._guard import guard

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["COLLECTOR_METHODS", "MetricsCollector"]

COLLECTOR_METHODS = ("increment", "gauge", "histogram", "timing")
"""The names of the four methods."""


@runtime_checkable
class MetricsCollector(Protocol):
    """Takes measurements; none of its methods raises, waits or returns anything.

    Names may hold any text (``vault.secret.fetch``). One name with different labels is one family
    of several series. Label values are text; None is taken as the empty string and other values as
    ``str(value)``.
    """

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        """Add to a counter.

        Args:
            name: The counter.
            value: What to add, zero or more; a negative number or NaN is dropped and counted.
            labels: Which series of the counter; none by default.
        """

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Set a gauge.

        Args:
            name: The gauge.
            value: What it shows from now on; NaN and infinities are values too.
            labels: Which series of the gauge; none by default.
        """

    def histogram(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Add one observation to a distribution.

        Args:
            name: The distribution.
            value: What was observed, in the unit of the distribution.
            labels: Which series of the distribution; none by default.
        """

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        """Add one duration to a distribution of durations.

        Args:
            name: The distribution.
            value_ms: The duration in milliseconds. Prometheus and OpenTelemetry show seconds.
            labels: Which series of the distribution; none by default.
        """


class WarnOnce:
    """Internal: logs each kind of trouble once, to ``gds_metrics``, whatever the log does.

    Kinds are remembered for the life of the object, so they must come from a small set: a method
    and a reason, never a value.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()

    def __call__(self, kind: Hashable, message: str, *arguments: object) -> None:
        """Log ``message % arguments`` if this is the first time of its kind; never raises."""
        with guard():
            if kind in self._seen:
                return
            self._seen.add(kind)
        try:
            # Here, because it is most of the time an import of this package would take.
            import logging

            logging.getLogger("gds_metrics").warning(message, *arguments)
        except Exception:  # noqa: BLE001, S110 - a broken log must not break what is observed
            pass
